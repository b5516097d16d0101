//! Lifting a quarantine: what has panicked sees events again.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::recorder::core::Asks;
use crate::recorder::handle::Recorder;
use crate::recorder::mailbox::Command;
use crate::recorder::observers::ObserverId;
use crate::recorder::operation::Operation;

/// Who is to be reinstated.
pub(crate) enum Quarantined {
    Metric(Box<str>),
    Observer(ObserverId),
}

impl Quarantined {
    pub(crate) fn unknown(&self) -> Error {
        let message = match self {
            Self::Metric(name) => {
                format!("the recorder has no metric {name:?}; `describe_metrics` lists those it has")
            }
            Self::Observer(_) => {
                "there is no such observer; it was removed before, or is another recorder's".to_owned()
            }
        };
        Error::new(ErrorKind::NotFound, message)
    }
}

impl<E: MetricEvent> Recorder<E> {
    /// Lifts the quarantine of a metric that has panicked: it sees the events dispatched from the end of the operation on.
    ///
    /// Its state is as the panic left it. Its tally keeps what it missed as `quarantined` and the panic as `panicked`, so it goes on
    /// adding up to the events dispatched. A metric that was not quarantined stays as it is, and the operation succeeds. A start
    /// after a stop lifts every quarantine of the recorder.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::NotFound`] if the recorder has no metric of this name, and in
    /// [`ErrorKind::InvalidState`] if it was removed or its runtime is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the operation cancels nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    ///
    /// struct Saved(u64);
    /// impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let patience = Duration::from_secs(5);
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime
    ///     .recorder::<Saved>("storage")
    ///     .counter("document.saves", |c| c.keep(|Saved(bytes)| 100 / bytes > 0)) // panics on 0 bytes
    ///     .create()?;
    /// [1, 0, 2].map(|bytes| recorder.register_event(Saved(bytes)));
    /// let snapshot = recorder.flush_and_snapshot(patience)?;
    /// let metric = snapshot.metric("document.saves").unwrap();
    /// assert!(metric.is_quarantined());
    /// assert_eq!((metric.tally().panicked, metric.tally().quarantined), (1, 1));
    ///
    /// recorder.reinstate("document.saves").wait(patience)?;
    /// recorder.register_event(Saved(3));
    /// let snapshot = recorder.flush_and_snapshot(patience)?;
    /// assert!(!snapshot.metric("document.saves").unwrap().is_quarantined());
    /// assert_eq!(snapshot.counter("document.saves", &[]), Some(2)); // the first, and the one after
    /// # Ok(())
    /// # }
    /// ```
    pub fn reinstate(&self, metric_name: &str) -> Operation {
        self.lift(Quarantined::Metric(metric_name.into()))
    }

    /// Lifts the quarantine of an observer that has panicked: it is told of changes from the end of the operation on.
    ///
    /// What it holds is as the panic left it. An observer that was not quarantined stays as it is, and the operation succeeds.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::NotFound`] if there is no such observer, and in
    /// [`ErrorKind::InvalidState`] if the recorder was removed or its runtime is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the operation cancels nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// use std::time::Duration;
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let patience = Duration::from_secs(5);
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
    /// let (sender, told) = std::sync::mpsc::channel();
    /// let (observer, added) = recorder.on_metric_changed(move |change| {
    ///     assert_ne!(change.sequence(), 1, "not ready yet");
    ///     let _ = sender.send(change.sequence());
    /// });
    /// added.wait(patience)?;
    /// recorder.register_event(Saved);
    /// assert_eq!(recorder.flush_and_snapshot(patience)?.quarantined_observers(), 1);
    ///
    /// recorder.reinstate_observer(observer).wait(patience)?;
    /// recorder.register_event(Saved);
    /// assert_eq!(recorder.flush_and_snapshot(patience)?.quarantined_observers(), 0);
    /// assert_eq!(told.try_iter().collect::<Vec<_>>(), [2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reinstate_observer(&self, id: ObserverId) -> Operation {
        self.lift(Quarantined::Observer(id))
    }

    fn lift(&self, whom: Quarantined) -> Operation {
        let (operation, done) = Operation::new(None);
        if let Err(command) = self.node.post(Command::Reinstate { whom, done }) {
            self.node.answer_unheard(command);
        }
        operation
    }
}
