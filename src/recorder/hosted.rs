//! What a worker and a registry know of a recorder, whatever its event type.

use crate::model::accounts::Accounts;
use crate::model::clock::Clock;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::incident::IncidentKind;
use crate::recorder::calls::Calls;
use crate::recorder::calls::UserCall;
use crate::recorder::hooks::Phase;
use crate::recorder::identity::Identity;
use crate::recorder::journal::Untold;
use crate::recorder::memory::RecorderMemory;
use crate::recorder::observers::ObserverId;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::recorder::state::RecorderState;
use crate::recorder::view::Snapshot;
use std::any::Any;
use std::sync::Arc;

/// The worker's own things, lent to a recorder for its turn.
pub(crate) struct Desk {
    pub(crate) clock: Arc<dyn Clock>,
    /// The time of this turn's first batch.
    pub(crate) now: Timestamp,
    /// Whether no other recorder waits: then a turn may go on past its events, up to its time.
    pub(crate) alone: bool,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turned {
    pub(crate) next: Next,
    /// Something is to be published, and the worker was not told of it before.
    pub(crate) newly_dirty: bool,
    /// There is memory to be released, and the worker was not told of it before.
    pub(crate) newly_fed: bool,
}

impl Turned {
    pub(crate) const fn idle() -> Self {
        Self { next: Next::Idle, newly_dirty: false, newly_fed: false }
    }
}

/// Who owns the duty to give the next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nobody: the next event or command puts the recorder on the list again.
    Idle,
    /// The worker, after the others that wait.
    More,
    /// The worker, after a moment: a producer has not finished writing.
    Stalled,
    /// The hook that the worker is to launch: when it ends, the recorder is scheduled.
    Hook(Phase),
    /// A hook that is under way.
    Parked,
}

/// Steps of pointers from a recorder to what its turn touches.
pub(crate) const FETCHES: usize = 6;

/// A recorder, seen from outside.
pub(crate) trait Hosted: Send + Sync {
    fn identity(&self) -> &Arc<Identity>;
    fn accounts(&self) -> Accounts;
    fn state(&self) -> RecorderState;
    fn snapshot(&self) -> Snapshot;

    /// What it takes in memory, as far as it is its own.
    fn memory(&self) -> RecorderMemory;

    /// Dispatches what is ready, obeys commands, ends in one of the ways of [`Turned`].
    fn turn(&self, desk: &mut Desk) -> Turned;

    /// Asks the processor for the memory that the next turn and publication will touch, one step of its pointers at a time: [`FETCHES`] steps.
    fn fetch(&self, step: usize);

    /// Asks the processor for what a [`snapshot`](Self::snapshot) will touch, and nothing more.
    fn fetch_for_reading(&self);

    /// Runs a lifecycle hook beside the drain loop.
    fn launch(self: Arc<Self>, phase: Phase, clock: &Arc<dyn Clock>);

    /// Notes of the user code that it is in.
    fn calls(&self) -> &Calls;

    /// The user code that it is in, and when that had not begun yet.
    fn call(&self) -> Option<(UserCall, Timestamp)>;

    /// The hook that is under way, or that a stop under way still owes.
    fn owed_hook(&self) -> Option<Phase>;

    /// Why it has failed for good, if its worker was lost.
    fn lost(&self) -> Option<Error>;

    /// Publishes a cut, if something changed.
    fn publish(&self, now: Timestamp);

    /// Gives the memory of the queue back if it has been idle since `before`; false if the worker is to ask again later.
    fn release(&self, before: Timestamp) -> bool;

    /// Somebody is about to remove it: true for the first who is.
    fn begin_leaving(&self) -> bool;

    /// Stops it for good on this thread, if it is idle, everything accepted is shown and nobody has asked for anything: then the worker has
    /// nothing to do for it. False otherwise: then a stop is to be asked for.
    fn stop_idle(self: Arc<Self>) -> bool;

    /// Whether it was retired and holds no event: nothing comes of it any more.
    fn is_gone(&self) -> bool;

    /// Stops telling a subscription, and forgets it.
    fn unsubscribe(self: Arc<Self>, id: ObserverId);

    /// Shuts the door and schedules the end; `done` is told when everything accepted is settled.
    fn stop(self: Arc<Self>, done: Completer);

    /// Shuts the door until the next start, unless there was nothing yet to stop.
    fn halt(self: Arc<Self>, done: Completer);

    /// A flush, if anything is accepted that the published cut does not show yet.
    fn show(self: Arc<Self>) -> Option<Operation>;

    /// Shuts the door and gives up what is pending: for deadlines, and for a worker that is not there. How many were given up.
    fn abandon(&self, reason: Abandonment) -> u64;

    /// Shuts the door for good if the recorder has stopped, or has failed and was to stop: true if nothing starts it any more.
    fn conclude(&self) -> bool;

    /// After the worker's end: answers what nobody will answer any more.
    fn retire(&self);

    /// After its retirement: drops its metrics, observers and hooks, unless it is being drained at this moment. What was published stays.
    fn let_go(&self);

    /// After its retirement: what is still to be told of a loss, which nobody will see end any more.
    fn last_look(&self) -> Vec<Untold>;

    /// Tells of an incident that is about this recorder.
    fn note(&self, kind: IncidentKind);

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Why pending events were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abandonment {
    Deadline,
    Removed,
    WorkerLost,
}
