//! Notices when a recorder begins to lose events, and when it has stopped: two incidents a loss, however many events.
//!
//! Nobody who offers an event takes part in it. Whoever looks reads the accounts: the worker at the end of a turn and when it
//! finds the recorder idle, and the one who retires the recorder for the last time.

use crate::model::clock::Timestamp;
use crate::model::incident::IncidentKind;
use crate::model::incident::Loss;
use crate::model::limits;
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;

/// Stands in [`LossWatch::calm`] while a loss is under way: no total is as large.
const UNDER_WAY: u64 = u64::MAX;

/// One recorder's watch over its losses.
#[derive(Default)]
pub(crate) struct LossWatch {
    /// The number of events ever lost at which there is nothing to report. A hint by which most looks end without the lock.
    calm: AtomicU64,
    episode: Mutex<Episode>,
}

#[derive(Default)]
struct Episode {
    /// What had been lost before this loss began.
    before: Loss,
    /// What has been lost by the last look.
    now: Loss,
    /// When it was first and last found to grow; `None` between losses.
    grew: Option<(Timestamp, Timestamp)>,
    /// The last look was made.
    over: bool,
}

/// How a look is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// There will be others.
    Passing,
    /// Nobody will look again: a loss under way ends.
    Last,
}

impl LossWatch {
    /// Whether a loss is under way, so that somebody has to come and look again.
    pub(crate) fn is_under_way(&self) -> bool {
        self.calm.load(Ordering::Acquire) == UNDER_WAY
    }

    /// What there is to report, in order.
    pub(crate) fn look(&self, lost: Loss, now: Timestamp, look: Look) -> [Option<IncidentKind>; 2] {
        if self.calm.load(Ordering::Acquire) == lost.total() {
            return [None, None];
        }
        let mut episode = self.episode.lock();
        if episode.over {
            return [None, None];
        }
        let began = episode.grow(lost, now);
        let ended = episode.end(now, look);
        episode.over = look == Look::Last;
        let calm = if episode.grew.is_some() { UNDER_WAY } else { episode.now.total() };
        self.calm.store(calm, Ordering::Release);
        [began, ended]
    }
}

impl Episode {
    /// Takes note of what has been lost by now; the beginning of a loss is to be reported.
    fn grow(&mut self, lost: Loss, now: Timestamp) -> Option<IncidentKind> {
        if lost.total() <= self.now.total() {
            return None;
        }
        self.now = lost;
        let (began, last) = self.grew.unwrap_or((now, now));
        // The last look has no clock of its own, and comes with an older time.
        let is_new = self.grew.replace((began, last.max(now))).is_none();
        is_new.then(|| IncidentKind::LossBegan { loss: lost.since(self.before) })
    }

    /// Ends a loss that has not grown for long enough, or will not be looked at again.
    fn end(&mut self, now: Timestamp, look: Look) -> Option<IncidentKind> {
        let (began, last) = self.grew?;
        if look == Look::Passing && now.saturating_since(last) < limits::LOSS_QUIET {
            return None;
        }
        self.grew = None;
        let loss = self.now.since(self.before);
        self.before = self.now;
        Some(IncidentKind::LossEnded { loss, lasted: last.saturating_since(began) })
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::model::accounts::Dropped;
    use crate::model::accounts::Rejected;
    use std::time::Duration;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_unix_nanos(1_000_000_000).saturating_add(Duration::from_millis(millis))
    }

    /// What a look says, as `began 3` or `ended 5 in 10ms`.
    fn say(watch: &LossWatch, full: u64, evicted: u64, millis: u64, look: Look) -> Vec<String> {
        let rejected = Rejected { full, ..Rejected::default() };
        let dropped = Dropped { evicted, ..Dropped::default() };
        let said = watch.look(Loss { rejected, dropped }, at(millis), look);
        let say = |kind| match kind {
            IncidentKind::LossBegan { loss } => format!("began {}", loss.total()),
            IncidentKind::LossEnded { loss, lasted } => format!("ended {} in {lasted:?}", loss.total()),
            other => format!("{other:?}"),
        };
        said.into_iter().flatten().map(say).collect()
    }

    const QUIET: u64 = limits::LOSS_QUIET.as_millis() as u64;

    #[test]
    fn a_loss_is_reported_when_it_begins_and_when_it_has_not_grown_for_a_while() {
        let watch = LossWatch::default();
        let nothing: [String; 0] = [];
        assert_eq!(say(&watch, 0, 0, 0, Look::Passing), nothing);
        assert_eq!(say(&watch, 3, 0, 10, Look::Passing), ["began 3"]);
        assert_eq!(say(&watch, 4, 1, 20, Look::Passing), nothing);
        assert_eq!(say(&watch, 4, 1, 20 + QUIET - 1, Look::Passing), nothing);
        assert!(watch.is_under_way());
        assert_eq!(say(&watch, 4, 1, 20 + QUIET, Look::Passing), ["ended 5 in 10ms"]);
        assert!(!watch.is_under_way());
        assert_eq!(say(&watch, 4, 1, 9_000, Look::Passing), nothing);
        // The next one counts from where the last one ended.
        assert_eq!(say(&watch, 4, 3, 9_000, Look::Passing), ["began 2"]);
        assert_eq!(say(&watch, 4, 3, 9_001, Look::Last), ["ended 2 in 0ns"]);
        assert_eq!(say(&watch, 9, 9, 9_002, Look::Passing), nothing);
    }

    #[test]
    fn what_is_found_by_the_last_look_begins_and_ends_at_once() {
        let watch = LossWatch::default();
        assert_eq!(say(&watch, 0, 7, 0, Look::Last), ["began 7", "ended 7 in 0ns"]);
    }
}
