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
use crate::recorder::hooks::Executor;
use crate::recorder::hooks::Hooks;
use crate::recorder::hooks::Phase;
use crate::recorder::hosted::Abandonment;
use crate::recorder::hosted::Desk;
use crate::recorder::hosted::Hosted;
use crate::recorder::hosted::Turned;
use crate::recorder::hub::Hub;
use crate::recorder::identity::Identity;
use crate::recorder::observers::ObserverId;
use crate::recorder::observers::Observers;
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
    refusals: Refusals,
    given_up: GivenUp,
    observer_ids: AtomicU64,
    /// Committed without having been dispatched: accepted for a start that failed.
    discarded: AtomicU64,
    last_error: Mutex<Option<Error>>,
}

/// Commands on their way to the actor; shut when there is nobody left to obey them.
struct Mailbox<E> {
    open: bool,
    commands: Vec<Command<E>>,
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
        (slots, observers, hooks): (Vec<Slot<E>>, Observers<E>, Hooks),
        now: Timestamp,
    ) -> Self {
        let actor = Actor::new(slots, observers, hooks);
        let cut = actor.first_cut(&identity, now);
        Self {
            queue: HandOff::new(kind, capacity, actor),
            cut: Published::new(Shared::new(cut)),
            state: StateCell::new(),
            identity,
            hub,
            mailbox: Mutex::new(Mailbox { open: true, commands: Vec::new() }),
            refusals: Refusals::default(),
            given_up: GivenUp::default(),
            observer_ids: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            last_error: Mutex::new(None),
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

    pub(crate) fn take_commands(&self) -> Vec<Command<E>> {
        std::mem::take(&mut self.mailbox.lock().commands)
    }

    pub(crate) fn next_observer_id(&self) -> ObserverId {
        // Odd numbers: the builder has given the even ones.
        ObserverId(self.observer_ids.fetch_add(2, Ordering::Relaxed) + 1)
    }

    /// Counts events that were committed without having been dispatched; after their commit, so that no reading has them twice.
    pub(crate) fn count_discarded(&self, count: u64) {
        self.discarded.fetch_add(count, Ordering::Release);
    }

    pub(crate) fn note_error(&self, error: Error) {
        *self.last_error.lock() = Some(error);
    }

    pub(crate) fn last_error(&self) -> Option<Error> {
        self.last_error.lock().clone()
    }

    pub(crate) fn executor(&self) -> Option<&Arc<dyn Executor>> {
        self.hub.executor()
    }

    /// Enters a metric of this recorder in the runtime's catalogue.
    pub(crate) fn declare(&self, slot: &Slot<E>) -> Result<(), Error> {
        self.hub.catalogue.declare(&self.identity.id, &[Arc::clone(slot.descriptor())])
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
        let discarded = self.discarded.load(Ordering::Acquire);
        let counts = self.queue.counts();
        let rejected = Rejected {
            full: self.refusals.full.load(Ordering::Acquire),
            closed: self.refusals.closed.load(Ordering::Acquire),
            failed: self.refusals.failed.load(Ordering::Acquire),
            forked: 0,
        };
        let dropped = Dropped { evicted: counts.evicted, deadline, removed, start_failed: discarded };
        Accounts::new(counts.accepted, rejected, counts.committed - discarded, dropped)
    }
}

/// What a handle asks of the shared part; in need of the node, because scheduling hands the node over.
pub(crate) trait Asks<E: MetricEvent> {
    fn schedule(&self, handed: Handed);
    fn post(&self, command: Command<E>) -> Result<(), Command<E>>;
    fn flush(&self) -> Operation;
    fn stop_with(&self, done: Completer);
    fn stop_if_begun(&self, done: Completer);
    fn start_with(&self, done: Completer);
    fn room(&self) -> Operation;
    fn unpark(&self, command: Command<E>);
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

    fn flush(&self) -> Operation {
        if own_thread::is_own() {
            return Operation::done(Err(would_deadlock()));
        }
        let accounts = self.accounts_now();
        let ticket = accounts.accepted;
        if !self.hub.is_attended() && !accounts.is_settled() {
            let error = Error::new(ErrorKind::InvalidState, "no worker drains this recorder; start its runtime first")
                .with_states("Created", "Running")
                .with_pending(accounts.pending());
            return Operation::done(Err(error));
        }
        let weak = Arc::downgrade(self);
        let pending = move || weak.upgrade().map_or(0, |node| node.accounts_now().pending());
        let (operation, done) = Operation::new(Some(Box::new(pending)));
        match self.post(Command::Flush { ticket, done }) {
            Err(command) => command.answer(self.settled_or_lost()),
            Ok(()) => {}
        }
        operation
    }

    fn stop_with(&self, done: Completer) {
        for from in [RecorderState::Created, RecorderState::Starting, RecorderState::Running] {
            if self.state.pass(from, RecorderState::Stopping) {
                break;
            }
        }
        let (_, handed) = self.queue.close();
        self.schedule(handed);
        match self.post(Command::Stop { done }) {
            Err(command) => command.answer(self.settled_or_lost()),
            Ok(()) => {}
        }
    }

    /// For a handle: a recorder that has seen nothing yet has nothing to stop, and stays as it is.
    fn stop_if_begun(&self, done: Completer) {
        if self.state.get() == RecorderState::Created && self.queue.counts().accepted == 0 {
            return done.complete(Ok(()));
        }
        self.stop_with(done);
    }

    /// The end of a hook: the recorder stands on no list and is not idle, so whoever ends the hook schedules it.
    fn unpark(&self, command: Command<E>) {
        {
            let mut mailbox = self.mailbox.lock();
            if !mailbox.open {
                return;
            }
            mailbox.commands.push(command);
        }
        let _ = self.queue.kick();
        self.hub.schedule(Arc::clone(self));
        self.hub.hurry();
    }

    /// Ends when there may be room, or never will be: whoever waits tries again then.
    fn room(&self) -> Operation {
        let (operation, done) = Operation::new(None);
        if let Err(command) = self.post(Command::Room { done }) {
            command.answer(Err(self.gone()));
        }
        operation
    }

    fn start_with(&self, done: Completer) {
        match self.post(Command::Start { done }) {
            Err(command) => command.answer(Err(self.gone())),
            Ok(()) => {}
        }
    }
}

impl<E: MetricEvent> Core<E> {
    /// The answer to "is everything accepted so far settled?" when no worker is there to make it so.
    fn settled_or_lost(&self) -> Result<(), Error> {
        let accounts = self.accounts_now();
        if accounts.is_settled() {
            return Ok(());
        }
        let message = "the worker is gone; what was accepted is in the accounts";
        Err(Error::new(ErrorKind::WorkerLost, message).with_pending(accounts.pending()))
    }

    pub(crate) fn give_up(&self, reason: Abandonment) -> u64 {
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

    fn launch(self: Arc<Self>, phase: Phase) {
        let made = self.queue.sit(|_, actor| actor.make_hook(phase)).flatten();
        let node = Arc::clone(&self);
        let done = Box::new(move |result| node.unpark(Command::HookDone { result }));
        match (made, self.executor()) {
            (Some((hook, deadline)), Some(executor)) => executor.run(hook, phase, deadline, done),
            _ => done(Ok(())),
        }
    }

    fn publish(&self, now: Timestamp) {
        self.queue.sit(|_, actor| actor.publish(self, now));
    }

    fn release(&self, before: Timestamp) -> bool {
        self.queue.sit(|consumer, actor| actor.release(consumer, before)).unwrap_or(true)
    }

    fn stop(self: Arc<Self>, done: Completer) {
        self.stop_with(done);
    }

    fn abandon(&self, reason: Abandonment) -> u64 {
        self.give_up(reason)
    }

    fn retire(&self) {
        let left = {
            let mut mailbox = self.mailbox.lock();
            mailbox.open = false;
            std::mem::take(&mut mailbox.commands)
        };
        for command in left {
            command.answer(self.settled_or_lost());
        }
        let tickets = self.queue.sit(|_, actor| actor.take_waiting()).unwrap_or_default();
        for done in tickets {
            done.complete(self.settled_or_lost());
        }
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
