//! The part of a recorder that its handles, its worker and its registry share.

use crate::model::accounts::Accounts;
use crate::model::accounts::Dropped;
use crate::model::accounts::Rejected;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::published::Published;
use crate::queue::published::Shared;
use crate::queue::ready::Erase;
use crate::queue::ready::Node;
use crate::queue::ring::Refused;
use crate::recorder::actor::Actor;
use crate::recorder::actor::Command;
use crate::recorder::dispatch::Slot;
use crate::recorder::hosted::Abandonment;
use crate::recorder::hosted::Desk;
use crate::recorder::hosted::Hosted;
use crate::recorder::hosted::Turned;
use crate::recorder::hub::Hub;
use crate::recorder::identity::Identity;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::recorder::operation::would_deadlock;
use crate::recorder::state::RecorderState;
use crate::recorder::state::StateCell;
use crate::recorder::view::Cut;
use crate::recorder::view::Snapshot;
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;
use crate::sync::own_thread;
use std::any::Any;
use std::sync::Arc;

/// A recorder in its allocation, with the link by which it stands on its worker's ready list.
pub(crate) type CoreNode<E> = Node<Core<E>, dyn Hosted>;

/// What handles, worker and registry share. The actor sits inside the hand-off's seat.
pub(crate) struct Core<E> {
    pub(crate) queue: HandOff<E, Actor<E>>,
    pub(crate) cut: Published<Cut>,
    pub(crate) state: StateCell,
    identity: Arc<Identity>,
    hub: Arc<Hub>,
    mailbox: Mutex<Mailbox<E>>,
    door: Mutex<Door>,
    refusals: Refusals,
    given_up: GivenUp,
}

/// Commands on their way to the actor, and answers it owes; shut when there is nobody left to obey them.
///
/// The answers stand here and not with the actor, so that they can be given when user code holds the actor for ever.
struct Mailbox<E> {
    open: bool,
    commands: Vec<Command<E>>,
    flushes: Vec<(u64, Completer)>,
    stops: Vec<Completer>,
}

/// Held while the door and the state that tells of it change together: a stop and a start at once leave them agreed.
#[derive(Default)]
struct Door {
    /// Shut by a removal or a shutdown: no start opens it again.
    for_good: bool,
}

/// Events refused at the door. Written by producers on their slow path only.
#[derive(Default)]
struct Refusals {
    full: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
}

/// Events given up with the queue: written once, by the one who abandoned it.
#[derive(Default)]
struct GivenUp {
    deadline: AtomicU64,
    removed: AtomicU64,
}

impl<E: MetricEvent> Core<E> {
    pub(crate) fn new(
        identity: Arc<Identity>,
        hub: Arc<Hub>,
        kind: Kind,
        capacity: u64,
        slots: Vec<Slot<E>>,
        now: Timestamp,
    ) -> Self {
        let actor = Actor::new(slots);
        let cut = actor.first_cut(&identity, now);
        Self {
            queue: HandOff::new(kind, capacity, actor),
            cut: Published::new(Shared::new(cut)),
            state: StateCell::new(),
            identity,
            hub,
            mailbox: Mutex::new(Mailbox {
                open: true,
                commands: Vec::new(),
                flushes: Vec::new(),
                stops: Vec::new(),
            }),
            door: Mutex::new(Door::default()),
            refusals: Refusals::default(),
            given_up: GivenUp::default(),
        }
    }

    /// Counts an event that was refused. The state only chooses the word for it; the door decided.
    #[cold]
    #[inline(never)]
    pub(crate) fn count_refusal(&self, refused: Refused, count: u64) {
        let counter = match refused {
            Refused::Full => &self.refusals.full,
            Refused::Closed if self.state.get() == RecorderState::Failed => &self.refusals.failed,
            Refused::Closed => &self.refusals.closed,
        };
        counter.fetch_add(count, Ordering::Release);
    }

    /// The commands to obey now, and whether answers are owed; flushes and stops are noted among those.
    pub(crate) fn take_commands(&self) -> (Vec<Command<E>>, bool) {
        let mut mailbox = self.mailbox.lock();
        let mut obeyed = Vec::new();
        for command in std::mem::take(&mut mailbox.commands) {
            match command {
                Command::Flush { ticket, done } => mailbox.flushes.push((ticket, done)),
                Command::Stop { done } => mailbox.stops.push(done),
                other => obeyed.push(other),
            }
        }
        (obeyed, !mailbox.flushes.is_empty() || !mailbox.stops.is_empty())
    }

    /// Whether an answer is due when the first `settled` events are settled and, perhaps, all of them.
    pub(crate) fn owes(&self, settled: u64, all: bool) -> bool {
        let mailbox = self.mailbox.lock();
        mailbox.flushes.iter().any(|(ticket, _)| *ticket <= settled) || all && !mailbox.stops.is_empty()
    }

    /// The flushes and the stops that are due, and whether others remain.
    pub(crate) fn take_due(&self, settled: u64, all: bool) -> (Vec<Completer>, Vec<Completer>, bool) {
        let mut mailbox = self.mailbox.lock();
        let flushes = std::mem::take(&mut mailbox.flushes);
        let (due, later) = flushes.into_iter().partition::<Vec<_>, _>(|(ticket, _)| *ticket <= settled);
        mailbox.flushes = later;
        let stops = if all { std::mem::take(&mut mailbox.stops) } else { Vec::new() };
        let remain = !mailbox.flushes.is_empty() || !mailbox.stops.is_empty();
        (due.into_iter().map(|(_, done)| done).collect(), stops, remain)
    }

    /// Opens the door (again), unless it was shut for good.
    pub(crate) fn open(&self) -> Result<(), Error> {
        let door = self.door.lock();
        if self.queue.is_abandoned() {
            let message = "events of this recorder were given up at a deadline; remove it and create it again";
            return Err(Error::new(ErrorKind::InvalidState, message).with_states(self.state.get().name(), "Stopped"));
        }
        if door.for_good {
            return Err(self.gone());
        }
        if !self.state.pass(RecorderState::Created, RecorderState::Running) && self.queue.is_closed() {
            self.state.set(RecorderState::Running);
            self.queue.reopen();
        }
        Ok(())
    }

    /// Shuts the door, and says so in the state.
    fn shut(&self, for_good: bool) -> Handed {
        let mut door = self.door.lock();
        door.for_good |= for_good;
        for from in [RecorderState::Created, RecorderState::Starting, RecorderState::Running] {
            if self.state.pass(from, RecorderState::Stopping) {
                break;
            }
        }
        self.queue.close().1
    }

    /// What a command gets that nobody will obey.
    pub(crate) fn gone(&self) -> Error {
        let message = "the recorder was removed or its runtime is gone; create it again";
        Error::new(ErrorKind::InvalidState, message).with_states(self.state.get().name(), "Created, Running or Stopped")
    }

    fn accounts_now(&self) -> Accounts {
        // What settles events is read before what accepts them, so accepted >= processed + dropped in every reading.
        let deadline = self.given_up.deadline.load(Ordering::Acquire);
        let removed = self.given_up.removed.load(Ordering::Acquire);
        let counts = self.queue.counts();
        let rejected = Rejected {
            full: self.refusals.full.load(Ordering::Acquire),
            closed: self.refusals.closed.load(Ordering::Acquire),
            failed: self.refusals.failed.load(Ordering::Acquire),
            forked: 0,
        };
        let dropped = Dropped { evicted: counts.evicted, deadline, removed, start_failed: 0 };
        Accounts::new(counts.accepted, rejected, counts.committed, dropped)
    }
}

/// What a handle asks of the shared part; in need of the node, because scheduling hands the node over.
pub(crate) trait Asks<E: MetricEvent> {
    fn schedule(&self, handed: Handed);
    fn post(&self, command: Command<E>) -> Result<(), Command<E>>;
    fn register(&self, slot: Slot<E>) -> Operation;
    fn flush(&self) -> Operation;
    fn stop_with(&self, done: Completer, for_good: bool);
    fn start_with(&self, done: Completer);
}

impl<E: MetricEvent> Asks<E> for Arc<CoreNode<E>> {
    #[inline(always)]
    fn schedule(&self, handed: Handed) {
        if handed == Handed::Schedule {
            self.hub.schedule(Arc::clone(self));
        }
    }

    /// Puts a command into the mailbox and makes the worker look; gives it back if nobody will.
    fn post(&self, command: Command<E>) -> Result<(), Command<E>> {
        {
            let mut mailbox = self.mailbox.lock();
            if !mailbox.open {
                return Err(command);
            }
            mailbox.commands.push(command);
        }
        // After the command: the kick's release makes it visible to the turn that takes the kick.
        self.schedule(self.queue.kick());
        self.hub.hurry();
        Ok(())
    }

    /// Declares the metric and posts it, or does neither.
    fn register(&self, slot: Slot<E>) -> Operation {
        let (operation, done) = Operation::new(None);
        let descriptor = [Arc::clone(slot.descriptor())];
        let mut unheard = None;
        let declared = self.hub.catalogue.declare(&self.identity.id, &descriptor, || {
            self.post(Command::Register { slot, done }).map_err(|command| {
                unheard = Some(command);
                self.gone()
            })
        });
        // Outside the catalogue's lock: it drops the user's metric.
        drop(unheard);
        match declared {
            Ok(()) => operation,
            Err(error) => Operation::done(Err(error)),
        }
    }

    fn flush(&self) -> Operation {
        if own_thread::is_own() {
            return Operation::done(Err(would_deadlock()));
        }
        let accounts = self.accounts_now();
        let ticket = accounts.accepted;
        if !self.hub.is_attended() {
            if accounts.is_settled() {
                return Operation::done(Ok(()));
            }
            let error = Error::new(ErrorKind::InvalidState, "no worker drains this recorder; start its runtime first")
                .with_states("Created", "Running")
                .with_pending(accounts.pending());
            return Operation::done(Err(error));
        }
        let weak = Arc::downgrade(self);
        let pending = move || weak.upgrade().map_or(0, |node| node.accounts_now().pending());
        let (operation, done) = Operation::new(Some(Box::new(pending)));
        if let Err(command) = self.post(Command::Flush { ticket, done }) {
            self.answer_unheard(command);
        }
        operation
    }

    fn stop_with(&self, done: Completer, for_good: bool) {
        self.schedule(self.shut(for_good));
        if let Err(command) = self.post(Command::Stop { done }) {
            self.answer_unheard(command);
        }
    }

    fn start_with(&self, done: Completer) {
        if let Err(command) = self.post(Command::Start { done }) {
            self.answer_unheard(command);
        }
    }
}

impl<E: MetricEvent> Core<E> {
    /// Answers a command that no worker will obey.
    pub(crate) fn answer_unheard(&self, command: Command<E>) {
        match command {
            Command::Flush { done, .. } => done.complete(self.flushed_or_lost()),
            Command::Stop { done } => done.complete(self.settled_or_lost()),
            Command::Register { done, .. } | Command::Start { done } => done.complete(Err(self.gone())),
        }
    }

    /// The answer to "is everything accepted so far settled?" when no worker is there to make it so.
    fn settled_or_lost(&self) -> Result<(), Error> {
        let accounts = self.accounts_now();
        if accounts.is_settled() {
            return Ok(());
        }
        let message = "the worker is gone; what was accepted is in the accounts";
        Err(Error::new(ErrorKind::WorkerLost, message).with_pending(accounts.pending()))
    }

    /// The same for "and published?": at a deadline the last batches may have been processed and never shown.
    pub(crate) fn flushed_or_lost(&self) -> Result<(), Error> {
        self.settled_or_lost()?;
        if self.cut.load().sequence >= self.accounts_now().processed {
            return Ok(());
        }
        let message = "a deadline came before the last events were published; they are in the accounts, not in the snapshot";
        Err(Error::new(ErrorKind::WorkerLost, message).with_pending(0))
    }

    pub(crate) fn give_up(&self, reason: Abandonment) -> u64 {
        let _door = self.door.lock();
        let _ = self.queue.close();
        let Some(committed) = self.queue.abandon() else { return 0 };
        let counts = self.queue.counts();
        let given_up = counts.accepted - committed - counts.evicted;
        let counter = match reason {
            Abandonment::Deadline => &self.given_up.deadline,
            Abandonment::Removed | Abandonment::WorkerLost => &self.given_up.removed,
        };
        counter.store(given_up, Ordering::Release);
        self.state.set(match reason {
            Abandonment::WorkerLost => RecorderState::Failed,
            Abandonment::Deadline | Abandonment::Removed => RecorderState::Stopped,
        });
        given_up
    }
}

/// Events that were given up are dropped one by one, so that a panic in the destructor of one ends neither the thread that
/// lets the last handle go nor, being the second of two, the process.
impl<E> Drop for Core<E> {
    fn drop(&mut self) {
        self.queue.sit(|mut consumer, _| {
            loop {
                let count = consumer.run(u64::MAX).len() as u64;
                if count == 0 {
                    break;
                }
                // Abandoned or not: they are out of the queue, and nobody counts any more.
                let _ = consumer.finish(count);
            }
        });
    }
}

impl<E: MetricEvent> Erase<dyn Hosted> for Core<E> {
    fn erase(node: Arc<CoreNode<E>>) -> Arc<dyn Hosted> {
        node
    }
}

impl<E: MetricEvent> Hosted for CoreNode<E> {
    fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    fn accounts(&self) -> Accounts {
        self.accounts_now()
    }

    fn state(&self) -> RecorderState {
        self.state.get()
    }

    fn snapshot(&self) -> Snapshot {
        // The cut first: the accounts are then at least as far as it.
        let cut = self.cut.load();
        Snapshot { cut, accounts: self.accounts_now(), state: self.state.get() }
    }

    fn turn(&self, desk: &mut Desk) -> Turned {
        let turned = self.queue.sit(|consumer, actor| actor.turn(self, consumer, desk));
        // Nobody else takes the seat of a hosted recorder; were it taken, the other would be the one to go on.
        turned.unwrap_or(Turned::idle())
    }

    fn publish(&self, now: Timestamp) {
        self.queue.sit(|_, actor| actor.publish(self, now));
    }

    fn release(&self, before: Timestamp) -> bool {
        self.queue.sit(|consumer, actor| actor.release(consumer, before)).unwrap_or(true)
    }

    fn stop(self: Arc<Self>, done: Completer) {
        self.stop_with(done, true);
    }

    fn abandon(&self, reason: Abandonment) -> u64 {
        self.give_up(reason)
    }

    fn retire(&self) {
        let (commands, flushes, stops) = {
            let mut mailbox = self.mailbox.lock();
            mailbox.open = false;
            let owed = (std::mem::take(&mut mailbox.flushes), std::mem::take(&mut mailbox.stops));
            (std::mem::take(&mut mailbox.commands), owed.0, owed.1)
        };
        commands.into_iter().for_each(|command| self.answer_unheard(command));
        flushes.into_iter().for_each(|(_, done)| done.complete(self.flushed_or_lost()));
        stops.into_iter().for_each(|done| done.complete(self.settled_or_lost()));
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<E: MetricEvent> Core<E> {
    pub(crate) fn identity_arc(&self) -> &Arc<Identity> {
        &self.identity
    }
}
