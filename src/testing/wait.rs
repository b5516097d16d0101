//! Waiting for a condition, with a deadline.

use crate::model::event::MetricEvent;
use crate::recorder::handle::Recorder;
use crate::recorder::view::Snapshot;
use crate::testing::expectations::Told;
use std::fmt;
use std::time::Duration;
use std::time::Instant;

/// How long `until` rests between two looks.
const PAUSE: Duration = Duration::from_micros(200);

/// Waits until `condition` holds, at most `timeout`; whether it came to hold.
///
/// For what a test cannot flush: another process, a real server, a thread of somebody else's.
///
/// # Examples
///
/// ```
/// use mvx_metrics::testing::until;
/// use std::time::Duration;
///
/// let worker = std::thread::spawn(|| 1 + 1);
/// assert!(until(Duration::from_secs(5), || worker.is_finished()));
/// assert!(!until(Duration::ZERO, || false));
/// ```
pub fn until(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    until_some(timeout, || condition().then_some(())).is_some()
}

/// Waits until a snapshot of `recorder` is as `condition` wants it, at most `timeout`, and gives that snapshot.
///
/// Where the test knows which events were stated,
/// [`flush_and_snapshot`](crate::Recorder::flush_and_snapshot) is quicker; this is for events that others state in their own time.
///
/// # Errors
///
/// [`NotInTime`], with the last snapshot there was.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::testing::until_snapshot;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
/// let server = recorder.clone();
/// std::thread::spawn(move || server.register_event(Saved));
///
/// let saved = |snapshot: &Snapshot| snapshot.total("document.saves") >= Some(1);
/// let snapshot = until_snapshot(&recorder, Duration::from_secs(5), saved)?;
/// assert_eq!(snapshot.accounts().processed, 1);
///
/// let late = until_snapshot(&recorder, Duration::ZERO, |snapshot| snapshot.total("document.saves") > Some(1)).unwrap_err();
/// assert_eq!(late.snapshot().total("document.saves"), Some(1));
/// assert!(late.to_string().contains("document.saves {{}: Counter(1)}"), "{late}");
/// # Ok(())
/// # }
/// ```
pub fn until_snapshot<E: MetricEvent>(
    recorder: &Recorder<E>,
    timeout: Duration,
    mut condition: impl FnMut(&Snapshot) -> bool,
) -> Result<Snapshot, NotInTime> {
    let mut last = None;
    let found = until_some(timeout, || {
        let snapshot = recorder.snapshot();
        if condition(&snapshot) {
            return Some(snapshot);
        }
        last = Some(snapshot);
        None
    });
    let late = |snapshot| NotInTime { snapshot: Box::new(snapshot), waited: timeout };
    found.ok_or_else(|| late(last.unwrap_or_else(|| recorder.snapshot())))
}

/// A condition did not come to hold in time. Says what the last snapshot showed, the same for `{}` and `{:?}`.
#[derive(Clone)]
pub struct NotInTime {
    snapshot: Box<Snapshot>,
    waited: Duration,
}

impl NotInTime {
    /// The last snapshot there was.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl fmt::Display for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = &self.snapshot;
        let (id, state, version) = (last.id(), last.state(), last.version());
        write!(
            f,
            "recorder {id} did not come to show it within {:?}; last seen, {state}, at version {version}:",
            self.waited
        )?;
        for metric in last.metrics() {
            write!(f, "\n  {:?}", metric.family())?;
        }
        write!(f, "\n  accounts: {}", Told(last.accounts()))
    }
}

impl fmt::Debug for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NotInTime {}

fn until_some<T>(timeout: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if started.elapsed() >= timeout {
            return None;
        }
        crate::sync::nap(PAUSE);
    }
}
