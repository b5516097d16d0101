//! The states of a recorder.

use crate::sync::atomic::AtomicU8;
use crate::sync::atomic::Ordering;
use std::fmt;

/// Where a recorder is in its life.
///
/// | state | `register_event` | leaves by |
/// |---|---|---|
/// | `Created` | accepted; the first event starts it | the first event, `start` |
/// | `Starting` | accepted; dispatched when the start hook is over | the end of the start hook, `stop` |
/// | `Running` | accepted | `stop`, shutdown |
/// | `Stopping` | rejected(closed) | having settled every accepted event |
/// | `Stopped` | rejected(closed); no lazy restart | `start`, unless it was removed or its runtime is gone |
/// | `Failed` | rejected(failed) | `start`, unless its worker was lost |
///
/// Reading snapshots and accounts works in every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecorderState {
    /// Made, and no event yet.
    Created,
    /// A start is under way.
    Starting,
    /// Takes events and dispatches them.
    Running,
    /// Takes no more events, and dispatches those it has.
    Stopping,
    /// Everything accepted is settled; metrics and accounts are kept.
    Stopped,
    /// A start or stop failed, or the worker was lost.
    Failed,
}

impl RecorderState {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Failed => "Failed",
        }
    }
}

impl fmt::Display for RecorderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The state as readers see it. What is accepted is decided by the reservation word alone; this follows it.
#[derive(Debug)]
pub(crate) struct StateCell(AtomicU8);

const ALL: [RecorderState; 6] = [
    RecorderState::Created,
    RecorderState::Starting,
    RecorderState::Running,
    RecorderState::Stopping,
    RecorderState::Stopped,
    RecorderState::Failed,
];

impl StateCell {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(RecorderState::Created as u8))
    }

    pub(crate) fn get(&self) -> RecorderState {
        ALL[usize::from(self.0.load(Ordering::Acquire)) % ALL.len()]
    }

    pub(crate) fn set(&self, state: RecorderState) {
        self.0.store(state as u8, Ordering::Release);
    }

    /// From one state to another, if it is still in the first.
    pub(crate) fn pass(&self, from: RecorderState, to: RecorderState) -> bool {
        self.0.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
