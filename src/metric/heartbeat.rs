//! The time since the last event.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::at_rest::AtRest;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::measure::Amount;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::snapshot::Beat;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::GaugeFold;
use crate::model::snapshot::Kind;
use crate::model::unit::Unit;
use crate::model::verdict::Context;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long ago the last event was, in seconds: it rises while nothing happens.
///
/// It keeps the time of the last event (that of its batch) and is evaluated when it is read, [at a time](crate::Snapshot::at); exporters show it as a
/// gauge. Before the first event there is no series: neither 0 nor for ever. Recorders that are folded show the shortest silence,
/// or with [`longest`](HeartbeatBuilder::longest) the longest. A recorder that is removed takes its heartbeat with it.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Family, FamilyWriter, Heartbeat, Metric, Timestamp};
/// use std::time::Duration;
///
/// let mut silence = Heartbeat::<()>::builder("poller.silence").build()?;
/// let start = Timestamp::from_unix_nanos(1_000);
/// let _ = silence.handle_event(&(), &Context::new(start, 1));
/// let mut family = Family::new(silence.descriptor().clone());
/// silence.snapshot(&mut FamilyWriter::whole(&mut family));
/// let later = family.at(start.saturating_add(Duration::from_millis(1_500)));
/// assert_eq!(later.find(&[]).and_then(|series| series.value().gauge()), Some(1.5));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct Heartbeat<E> {
    intake: Intake<E>,
    series: Series<E, Vec<Beat>>,
}

/// Collects what a [`Heartbeat`] is.
pub type HeartbeatBuilder<E> = InstrumentBuilder<E, Heartbeat<E>>;

impl<E: 'static> Heartbeat<E> {
    /// Starts a heartbeat of this name, in seconds.
    pub fn builder(name: &str) -> HeartbeatBuilder<E> {
        let mut builder = InstrumentBuilder::new(name, Kind::Heartbeat).unit(Unit::Seconds);
        builder.descriptor = builder.descriptor.gauge_fold(GaugeFold::Min);
        builder
    }
}

impl<E: 'static> HeartbeatBuilder<E> {
    /// Where recorders are folded, shows the longest silence of them instead of the shortest: for "each of them must be alive".
    pub fn longest(mut self) -> Self {
        self.descriptor = self.descriptor.gauge_fold(GaugeFold::Max);
        self
    }

    /// Checks everything and makes the heartbeat.
    ///
    /// # Errors
    ///
    /// The first mistake, as [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(self) -> Result<Heartbeat<E>, Error> {
        let (intake, series) = self.into_parts()?.into_series();
        Ok(Heartbeat { intake, series })
    }
}

impl<E: 'static> Metric<E> for Heartbeat<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests()
    }

    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        if self.intake.take(event, Amount::Unsigned(1)).is_none() {
            return Verdict::Ignored;
        }
        let row = self.series.row(event, context);
        if let Some(beat) = self.series.column_mut().get_mut(row) {
            *beat = Beat(context.now().max(beat.0));
        }
        Verdict::Accepted
    }

    fn reshape(&mut self, descriptor: &Arc<Descriptor>) -> bool {
        self.series.reshape(descriptor, &mut self.intake.descriptor)
    }

    fn fetch(&self, step: usize) {
        self.series.fetch(step);
    }

    fn heap_bytes(&self) -> usize {
        self.intake.heap_bytes() + self.series.heap_bytes()
    }

    fn expiry(&self) -> Option<Duration> {
        self.series.expiry()
    }

    fn expire(&mut self, context: &Context) -> Option<Family> {
        self.series.expire(context)
    }

    fn at_rest(&mut self) -> Option<&mut dyn AtRest> {
        Some(&mut self.series)
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        self.series.snapshot(writer);
    }
}

impl<E> fmt::Debug for Heartbeat<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").field("intake", &self.intake).field("series", &self.series).finish()
    }
}
