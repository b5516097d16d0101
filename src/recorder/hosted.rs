//! What a worker and a registry know of a recorder, whatever its event type.

use crate::model::accounts::Accounts;
use crate::model::clock::Clock;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::recorder::identity::Identity;
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

/// How a turn ended, and with that who owns the duty to give the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// Nothing left; the next event or command puts the recorder on the list again.
    Idle,
    /// There is more: the worker gives it another turn after the others.
    More,
    /// A producer has not finished writing: the worker comes back after a moment.
    Stalled,
}

/// A recorder, seen from outside.
pub(crate) trait Hosted: Send + Sync {
    fn identity(&self) -> &Arc<Identity>;
    fn accounts(&self) -> Accounts;
    fn state(&self) -> RecorderState;
    fn snapshot(&self) -> Snapshot;

    /// Dispatches what is ready, obeys commands, ends in one of the ways of [`Turned`].
    fn turn(&self, desk: &mut Desk) -> Turned;

    /// Whether something changed since the last publication.
    fn is_dirty(&self) -> bool;

    /// Publishes a cut, if something changed.
    fn publish(&self, now: Timestamp);

    /// Gives the memory of an idle queue back.
    fn release(&self) -> bool;

    /// Shuts the door and schedules the end; `done` is told when everything accepted is settled.
    fn stop(self: Arc<Self>, done: flume::Sender<Result<(), Error>>);

    /// Shuts the door and gives up what is pending: for deadlines, and for a worker that is not there. How many were given up.
    fn abandon(&self, reason: Abandonment) -> u64;

    /// After the worker's end: answers what nobody will answer any more.
    fn retire(&self);

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Why pending events were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abandonment {
    Deadline,
    Removed,
}
