//! Which user code a recorder is in: written by whoever runs it, read by whoever wonders why nothing moves.
//!
//! A call cannot be interrupted, so one that does not return is at least named. The notes are relaxed stores, some for a turn
//! and one for each metric and chunk of events, and relaxed reads: they are hints for people, and decide nothing.

use crate::model::clock::Clock;
use crate::model::clock::Timestamp;
use crate::model::name::MetricName;
use crate::recorder::hooks::BoxError;
use crate::recorder::hooks::HookFuture;
use crate::recorder::hooks::Phase;
use crate::recorder::hosted::Hosted;
use crate::sync::atomic::AtomicU8;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

/// What kind of user code a recorder is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserCall {
    /// A metric handles events, its closures for labels, values and filters included. No name: it was registered so recently
    /// that no cut shows it yet.
    Metric(Option<MetricName>),
    /// A metric writes its state down for the next cut.
    Snapshot(Option<MetricName>),
    /// An observer of changes.
    Observer,
    /// The lifecycle hook of this name.
    Hook(&'static str),
    /// The destructor of an event.
    EventDrop,
    /// Obeying commands and giving answers: destructors of what was removed, and wakers of those who wait.
    Commands,
}

impl fmt::Display for UserCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metric(Some(name)) => write!(f, "metric {name}"),
            Self::Metric(None) => f.write_str("a metric registered just now"),
            Self::Snapshot(Some(name)) => write!(f, "the snapshot of metric {name}"),
            Self::Snapshot(None) => f.write_str("the snapshot of a metric registered just now"),
            Self::Observer => f.write_str("an observer"),
            Self::Hook(name) => write!(f, "the hook {name}"),
            Self::EventDrop => f.write_str("the destructor of an event"),
            Self::Commands => f.write_str("commands and answers"),
        }
    }
}

/// A note of the call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Commands,
    Metric(usize),
    Snapshot(usize),
    Observer,
    Hook(Phase),
    EventDrop,
}

/// The notes of one recorder.
#[derive(Debug)]
pub(crate) struct Calls {
    /// The call, as [`code`] writes it; 0 outside of any.
    what: AtomicU64,
    /// The start of its turn, in nanoseconds; a turn has a bound, so a call that is stuck began hardly later.
    since: AtomicU64,
}

/// The hook between its launch and its end, whether or not it is being polled.
#[derive(Debug, Default)]
pub(crate) struct HookUnderWay(AtomicU8);

impl HookUnderWay {
    pub(crate) fn set(&self, phase: Option<Phase>) {
        self.0.store(phase.map_or(0, |phase| code(Call::Hook(phase)) as u8), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<Phase> {
        match call_of(u64::from(self.0.load(Ordering::Relaxed))) {
            Some(Call::Hook(phase)) => Some(phase),
            _ => None,
        }
    }
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self { what: AtomicU64::new(0), since: AtomicU64::new(0) }
    }

    /// User code may run from now on.
    pub(crate) fn enter(&self, call: Call, now: Timestamp) {
        self.since.store(now.unix_nanos(), Ordering::Relaxed);
        self.at(call);
    }

    #[inline]
    pub(crate) fn at(&self, call: Call) {
        self.what.store(code(call), Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.what.store(0, Ordering::Relaxed);
    }

    /// The call under way, and since when; a call that begins or ends meanwhile may be missed.
    pub(crate) fn now(&self) -> Option<(Call, Timestamp)> {
        let call = call_of(self.what.load(Ordering::Relaxed))?;
        Some((call, Timestamp::from_unix_nanos(self.since.load(Ordering::Relaxed))))
    }
}

const KINDS: u64 = 8;

fn code(call: Call) -> u64 {
    let (kind, index) = match call {
        Call::Commands => (1, 0),
        Call::Metric(index) => (2, index),
        Call::Snapshot(index) => (3, index),
        Call::Observer => (4, 0),
        Call::Hook(Phase::Starting) => (5, 0),
        Call::Hook(Phase::Stopped) => (6, 0),
        Call::EventDrop => (7, 0),
    };
    index as u64 * KINDS + kind
}

fn call_of(code: u64) -> Option<Call> {
    let index = (code / KINDS) as usize;
    match code % KINDS {
        1 => Some(Call::Commands),
        2 => Some(Call::Metric(index)),
        3 => Some(Call::Snapshot(index)),
        4 => Some(Call::Observer),
        5 => Some(Call::Hook(Phase::Starting)),
        6 => Some(Call::Hook(Phase::Stopped)),
        7 => Some(Call::EventDrop),
        _ => None,
    }
}

/// A hook's future that notes when it is polled, and whose destructor, which is the user's, ends nobody.
pub(crate) struct Watched {
    pub(crate) hook: Option<HookFuture>,
    pub(crate) phase: Phase,
    pub(crate) recorder: Arc<dyn Hosted>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Future for Watched {
    type Output = Result<(), BoxError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let calls = this.recorder.calls();
        calls.enter(Call::Hook(this.phase), this.clock.now());
        let _left = Left(calls);
        match &mut this.hook {
            Some(hook) => hook.as_mut().poll(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        crate::queue::drop_quietly(self.hook.take());
    }
}

/// Notes the end of a call, also of one that panics.
struct Left<'a>(&'a Calls);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_as_it_was_written() {
        let calls = Calls::new();
        assert_eq!(calls.now(), None);
        let all = [
            Call::Commands,
            Call::Metric(0),
            Call::Metric(77),
            Call::Snapshot(1 << 40),
            Call::Observer,
            Call::Hook(Phase::Starting),
            Call::Hook(Phase::Stopped),
            Call::EventDrop,
        ];
        for call in all {
            calls.enter(call, Timestamp::from_unix_nanos(9));
            assert_eq!(calls.now(), Some((call, Timestamp::from_unix_nanos(9))));
        }
        calls.leave();
        let hook = HookUnderWay::default();
        assert_eq!((calls.now(), hook.get()), (None, None));
        hook.set(Some(Phase::Stopped));
        assert_eq!(hook.get(), Some(Phase::Stopped));
        hook.set(None);
        assert_eq!(hook.get(), None);
    }
}
