//! The part of a recorder that its handles, its worker and its registry share.

use crate::model::accounts::Accounts;
use crate::model::accounts::Dropped;
use crate::model::accounts::Rejected;
use crate::model::clock::Clock;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::model::heap;
use crate::model::incident::IncidentKind;
use crate::model::incident::Loss;
use crate::model::limits;
use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::published::Published;
use crate::queue::published::Shared;
use crate::queue::ready::Erase;
use crate::queue::ready::Node;
use crate::queue::ring::Refused;
use crate::recorder::actor::Actor;
use crate::recorder::calls::Call;
use crate::recorder::calls::Calls;
use crate::recorder::calls::HookUnderWay;
use crate::recorder::calls::UserCall;
use crate::recorder::calls::Watched;
use crate::recorder::catalogue::Owner;
use crate::recorder::dispatch::Slot;
use crate::recorder::hooks::Hooks;
use crate::recorder::hooks::Phase;
use crate::recorder::hosted::Abandonment;
use crate::recorder::hosted::Desk;
use crate::recorder::hosted::Hosted;
use crate::recorder::hosted::Turned;
use crate::recorder::hub::Hub;
use crate::recorder::identity::Identity;
use crate::recorder::journal::LoggedFrom;
use crate::recorder::journal::Untold;
use crate::recorder::loss::Look;
use crate::recorder::loss::LossWatch;
use crate::recorder::mailbox::Asked;
use crate::recorder::mailbox::Command;
use crate::recorder::mailbox::Mailbox;
use crate::recorder::mailbox::Spent;
use crate::recorder::memory;
use crate::recorder::memory::ActorBytes;
use crate::recorder::memory::Beside;
use crate::recorder::memory::RecorderMemory;
use crate::recorder::observers::ObserverFn;
use crate::recorder::observers::ObserverId;
use crate::recorder::observers::Observers;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::recorder::operation::would_deadlock;
use crate::recorder::remains::drop_in_turn;
use crate::recorder::state::RecorderState;
use crate::recorder::state::StateCell;
use crate::recorder::subscription::Ending;
use crate::recorder::view::Cut;
use crate::recorder::view::Snapshot;
use crate::sync::Mutex;
use crate::sync::MutexGuard;
use crate::sync::OnNeed;
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;
use crate::sync::fetch;
use crate::sync::fetch_all;
use crate::sync::fetch_for_write;
use crate::sync::own_thread;
use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

/// Makes a command of metrics.
pub(crate) type Ask<E> = fn(Vec<Slot<E>>, Completer) -> Command<E>;

/// A recorder in its allocation, with the link by which it stands on its worker's ready list.
pub(crate) type CoreNode<E> = Node<Core<E>, dyn Hosted>;

/// What handles, worker and registry share. The actor sits inside the hand-off's seat, and what is [`Common`] stands between the halves of the queue.
///
/// In this order in memory: what producers write, what is seldom written, what the worker writes, what readers write.
#[repr(C)]
pub(crate) struct Core<E> {
    pub(crate) queue: HandOff<E, Actor<E>, Common<E>>,
    pub(crate) calls: Calls,
    /// What the actor has on the heap, as it last said.
    pub(crate) memory: ActorBytes,
    pub(crate) cut: Published<Cut>,
}

/// What is read by many and seldom written.
pub(crate) struct Common<E> {
    pub(super) hub: Arc<Hub>,
    identity: Arc<Identity>,
    mailbox: Mutex<Mailbox<E>>,
    door: Mutex<Door>,
    refusals: Refusals,
    rare: OnNeed<Rare>,
    /// Starts begun. Raised before the door opens, so whoever finds an event of a start finds the start.
    begun: AtomicU64,
    pub(crate) state: StateCell,
    /// Whether somebody removes it.
    leaving: AtomicBool,
    has_stop_hook: bool,
    hook: HookUnderWay,
    pub(crate) logged_from: LoggedFrom,
}

/// What of most recorders never happens. Whoever reads it and finds nothing reads zeros.
#[derive(Default)]
struct Rare {
    given_up: GivenUp,
    observer_ids: AtomicU64,
    /// Committed without having been dispatched: accepted for a start that failed.
    discarded: AtomicU64,
    last_error: Mutex<Option<Error>>,
    losses: LossWatch,
}

impl<E> Deref for Core<E> {
    type Target = Common<E>;

    #[inline(always)]
    fn deref(&self) -> &Common<E> {
        self.queue.between()
    }
}

/// Held while the door and the state that tells of it change together: a stop and a start at once leave them agreed.
#[derive(Default)]
struct Door {
    /// Shut by a removal or a shutdown: no start opens it again.
    for_good: bool,
    /// Whether a stop was asked for since the last start.
    stop_asked: bool,
}

/// Events refused at the door. Written by producers on their slow path only.
#[derive(Default)]
struct Refusals {
    full: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
    forked: AtomicU64,
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
        logged_from: LoggedFrom,
    ) -> Self {
        let has_stop_hook = hooks.on_stopped.is_some();
        let actor = Actor::new(slots, observers, hooks);
        let cut = actor.first_cut(&identity, hub.catalogue.shown_at_first(actor.slots()), now);
        let memory = ActorBytes::default();
        memory.note(actor.heap_bytes(), Beside::Nothing);
        let common = Common {
            hub,
            identity,
            mailbox: Mutex::new(Mailbox::new()),
            door: Mutex::new(Door::default()),
            refusals: Refusals::default(),
            rare: OnNeed::new(),
            begun: AtomicU64::new(0),
            state: StateCell::new(),
            leaving: AtomicBool::new(false),
            has_stop_hook,
            hook: HookUnderWay::default(),
            logged_from,
        };
        Self {
            queue: HandOff::around(common, kind, capacity, actor),
            calls: Calls::new(),
            memory,
            cut: Published::new(Shared::new(cut)),
        }
    }

    /// Counts an event that was refused. The state only chooses the word for it; the door decided.
    #[cold]
    #[inline(never)]
    pub(crate) fn count_refusal(&self, refused: Refused, count: u64) {
        let counter = match refused {
            Refused::Full => &self.refusals.full,
            Refused::Closed if self.queue.is_forked() => &self.refusals.forked,
            Refused::Closed if self.state.get() == RecorderState::Failed => &self.refusals.failed,
            Refused::Closed => &self.refusals.closed,
        };
        counter.fetch_add(count, Ordering::Release);
    }

    /// The mailbox; never locked across user code.
    pub(crate) fn mailbox(&self) -> MutexGuard<'_, Mailbox<E>> {
        self.mailbox.lock()
    }

    /// Opens the door (again) and begins a start, unless the door was shut for good; false if somebody else has.
    pub(crate) fn begin_start(&self) -> Result<bool, Error> {
        let mut door = self.door.lock();
        if self.queue.is_abandoned() {
            let message =
                "events of this recorder were given up at a deadline; remove it and create it again";
            return Err(
                Error::new(ErrorKind::InvalidState, message).with_states(self.state.get().name(), "Stopped")
            );
        }
        if door.for_good {
            return Err(self.gone());
        }
        door.stop_asked = false;
        let from = [RecorderState::Created, RecorderState::Stopped, RecorderState::Failed];
        let begins = from.contains(&self.state.get());
        if begins {
            // Before the state: whoever joins a start that it has read of there is answered by an actor that knows of it, too.
            self.begun.fetch_add(1, Ordering::Release);
            self.state.set(RecorderState::Starting);
            self.queue.reopen();
        }
        Ok(begins)
    }

    /// How many starts were begun: what the actor has not run yet of them is due.
    ///
    /// They are compared for equality alone, so that as many bits as a recorder can be started between two looks are enough.
    pub(crate) fn starts_begun(&self) -> u32 {
        self.begun.load(Ordering::Acquire) as u32
    }

    /// Ends a start. Stopped meanwhile? Then the state stays, and the stop goes on: what was accepted is dispatched first.
    pub(crate) fn end_start(&self) {
        let _door = self.door.lock();
        self.state.pass(RecorderState::Starting, RecorderState::Running);
    }

    /// Ends a stop in `Stopped`, or in `Failed` if its hook failed; false if there was none (any more).
    pub(crate) fn end_stop(&self, result: &Result<(), Error>) -> bool {
        let _door = self.door.lock();
        let Err(error) = result else {
            return self.state.pass(RecorderState::Stopping, RecorderState::Stopped);
        };
        let failed = self.state.pass(RecorderState::Stopping, RecorderState::Failed);
        if failed {
            *self.rare.make().last_error.lock() = Some(error.clone());
        }
        failed
    }

    /// Shuts the door after a failed start, and says how many events were accepted before: none of them is to be dispatched.
    pub(crate) fn fail(&self, error: Error) -> u64 {
        let _door = self.door.lock();
        *self.rare.make().last_error.lock() = Some(error);
        // Before the door shuts: whoever is refused is told the right reason.
        self.state.set(RecorderState::Failed);
        let _ = self.queue.close();
        self.queue.counts().accepted
    }

    /// Shuts the door, and says so in the state.
    fn shut(&self, for_good: bool) -> Handed {
        let mut door = self.door.lock();
        door.for_good |= for_good;
        door.stop_asked = true;
        for from in [RecorderState::Created, RecorderState::Starting, RecorderState::Running] {
            if self.state.pass(from, RecorderState::Stopping) {
                break;
            }
        }
        self.queue.close().1
    }

    pub(crate) fn next_observer_id(&self) -> ObserverId {
        // Odd numbers: the builder has given the even ones.
        ObserverId(self.rare.make().observer_ids.fetch_add(2, Ordering::Relaxed) + 1)
    }

    /// Counts events that were committed without having been dispatched; after their commit, so that no reading has them twice.
    pub(crate) fn count_discarded(&self, count: u64) {
        self.rare.make().discarded.fetch_add(count, Ordering::Release);
    }

    pub(crate) fn last_error(&self) -> Option<Error> {
        self.rare.get()?.last_error.lock().clone()
    }

    /// What a command gets that nobody will obey.
    pub(crate) fn gone(&self) -> Error {
        let message = "the recorder was removed or its runtime is gone; create it again";
        Error::new(ErrorKind::InvalidState, message)
            .with_states(self.state.get().name(), "Created, Running or Stopped")
    }

    pub(crate) fn accounts_now(&self) -> Accounts {
        // What settles events is read before what accepts them, so accepted >= processed + dropped in every reading.
        let (deadline, removed, discarded) = self.rare.get().map_or((0, 0, 0), |rare| {
            let deadline = rare.given_up.deadline.load(Ordering::Acquire);
            let removed = rare.given_up.removed.load(Ordering::Acquire);
            (deadline, removed, rare.discarded.load(Ordering::Acquire))
        });
        let counts = self.queue.counts();
        let rejected = Rejected {
            full: self.refusals.full.load(Ordering::Acquire),
            closed: self.refusals.closed.load(Ordering::Acquire),
            failed: self.refusals.failed.load(Ordering::Acquire),
            forked: self.refusals.forked.load(Ordering::Acquire),
        };
        let dropped = Dropped { evicted: counts.evicted, deadline, removed, start_failed: discarded };
        Accounts::new(counts.accepted, rejected, counts.committed - discarded, dropped)
    }
}

/// What a handle asks of the shared part; in need of the node, because scheduling hands the node over.
pub(crate) trait Asks<E: MetricEvent> {
    fn schedule(&self, handed: Handed);
    fn post(&self, command: Command<E>) -> Result<(), Command<E>>;
    fn look(&self);
    fn take_metrics(&self, slots: Vec<Slot<E>>, ask: Ask<E>) -> Operation;
    fn flush(&self) -> Operation;
    fn stop_with(&self, done: Completer, for_good: bool);
    fn stop_if_begun(&self, done: Completer);
    fn start_with(&self, done: Completer);
    fn room(&self) -> Operation;
    fn unpark(&self, command: Command<E>);
    fn subscribe(&self, ending: Ending, observer: ObserverFn<E>) -> Operation;
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
        if self.hub.is_forked() {
            return Err(command);
        }
        let mut spent = Spent::new();
        let put = self.mailbox.lock().put(command, &mut spent);
        // Unlocked: dropping an answer that nobody waits for may run a foreign waker.
        drop(spent);
        put?;
        self.look();
        Ok(())
    }

    /// Makes the worker look into the mailbox. After the command: the kick's release makes it visible to the turn that takes the kick.
    fn look(&self) {
        self.schedule(self.queue.kick());
        self.hub.hurry();
    }

    /// Declares metrics and posts what `ask` makes of them, or does neither.
    fn take_metrics(&self, slots: Vec<Slot<E>>, ask: Ask<E>) -> Operation {
        if self.hub.is_forked() {
            return Operation::done(Err(Error::forked()));
        }
        let (operation, done) = Operation::new(None);
        let descriptors: Vec<_> = slots.iter().map(|slot| Arc::clone(slot.descriptor())).collect();
        let command = ask(slots, done);
        let mut unheard = None;
        let declared =
            self.hub.catalogue.declare(&Owner::Recorder(self.identity.id.clone()), &descriptors, || {
                let mut mailbox = self.mailbox.lock();
                // Nothing is ever spent by a metric.
                mailbox.put(command, &mut Spent::new()).map_err(|command| {
                    unheard = Some(command);
                    if mailbox.is_open() { too_many_commands() } else { self.gone() }
                })
            });
        // Outside the catalogue's lock: it drops the user's metrics.
        drop(unheard);
        match declared {
            Ok(()) => {
                // Outside the catalogue's lock, because it may run a foreign waker.
                self.look();
                operation
            }
            Err(error) => {
                for descriptor in descriptors {
                    let metric = descriptor.name().clone();
                    self.tell(IncidentKind::MetricRefused { metric, error: error.clone() });
                }
                Operation::done(Err(error))
            }
        }
    }

    fn flush(&self) -> Operation {
        if self.hub.is_forked() {
            return Operation::done(Err(Error::forked()));
        }
        if own_thread::is_own() {
            return Operation::done(Err(would_deadlock()));
        }
        let accounts = self.accounts_now();
        let ticket = accounts.accepted;
        if !self.hub.is_attended() {
            if accounts.is_settled() {
                return Operation::done(Ok(()));
            }
            let error = Error::new(
                ErrorKind::InvalidState,
                "no worker drains this recorder; start its runtime first",
            )
            .with_states(self.hub.unattended_state(), "Running")
            .with_pending(accounts.pending());
            return Operation::done(Err(error));
        }
        let same = self.mailbox.lock().join_flush(ticket);
        if let Some(same) = same {
            // Its caller may have been suspended before its kick. Unlocked, because it may run a foreign waker.
            self.look();
            return same;
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
        if self.hub.is_forked() {
            return done.complete(Err(Error::forked()));
        }
        let handed = self.shut(for_good);
        self.turn_away();
        let mut spent = Spent::new();
        let put = self.mailbox.lock().put(Command::Stop { done, for_good }, &mut spent);
        match put {
            Ok(()) => {
                self.schedule(handed);
                self.look();
            }
            // Not scheduled where nobody will look: on a list that nobody takes, the recorder would keep itself alive.
            Err(command) => {
                if self.mailbox.lock().is_open() {
                    self.schedule(handed);
                }
                self.answer_unheard(command);
            }
        }
    }

    /// For a handle: a recorder that has seen nothing yet has nothing to stop, and stays as it is.
    fn stop_if_begun(&self, done: Completer) {
        if !self.hub.is_forked()
            && self.state.get() == RecorderState::Created
            && self.queue.counts().accepted == 0
        {
            return done.complete(Ok(()));
        }
        self.stop_with(done, false);
    }

    /// Ends when there may be room, or never will be: whoever waits tries again then.
    fn room(&self) -> Operation {
        let (operation, done) = Operation::new(None);
        if let Err(command) = self.post(Command::Room { done }) {
            self.answer_unheard(command);
        }
        if self.queue.is_closed() {
            // Whoever shut the door may have looked for those who wait before this one came.
            self.turn_away();
        }
        operation
    }

    /// The end of a hook: the recorder stands on no list and is not idle, so whoever ends the hook schedules it.
    fn unpark(&self, command: Command<E>) {
        self.hook.set(None);
        // Nothing is ever spent by the end of a hook.
        if self.mailbox.lock().put(command, &mut Spent::new()).is_err() {
            return;
        }
        let _ = self.queue.kick();
        self.hub.schedule(Arc::clone(self));
        self.hub.hurry();
    }

    fn subscribe(&self, ending: Ending, observer: ObserverFn<E>) -> Operation {
        let (operation, done) = Operation::new(None);
        if self.hub.is_forked() {
            return Operation::done(Err(Error::forked()));
        }
        let observe = Command::Observe { id: ending.id(), observer, done };
        let mut ending = Some(ending);
        let unheard = self.mailbox.lock().subscribe(observe, &mut ending);
        match unheard {
            Ok(()) => self.look(),
            Err(command) => self.answer_unheard(command),
        }
        // Still here if nobody obeys: the other half ends with it, outside the lock.
        drop(ending);
        operation
    }

    fn start_with(&self, done: Completer) {
        if self.hub.is_forked() {
            return done.complete(Err(Error::forked()));
        }
        // The state changes at once, so that a stop that comes next has something to stop; the actor does the rest.
        let asked = match self.state.get() {
            RecorderState::Created | RecorderState::Stopped | RecorderState::Failed => {
                match self.begin_start() {
                    Ok(_) => Asked::Joined,
                    Err(error) => {
                        self.tell(IncidentKind::StartRefused { error: error.clone() });
                        return done.complete(Err(error));
                    }
                }
            }
            RecorderState::Starting | RecorderState::Running => Asked::Joined,
            RecorderState::Stopping => Asked::AfterStop,
        };
        if let Err(command) = self.post(Command::Start { done, asked }) {
            self.answer_unheard(command);
        }
    }
}

impl<E: MetricEvent> Core<E> {
    /// Tells those who wait for room behind a shut door: the actor may stand at a hook for long before it comes to that.
    pub(crate) fn turn_away(&self) {
        let told = self.mailbox.lock().take_room(u64::MAX);
        told.into_iter().for_each(|done| done.complete(Ok(())));
    }

    /// Answers a command that found no place, or that no worker will obey.
    pub(crate) fn answer_unheard(&self, command: Command<E>) {
        if self.hub.is_forked() {
            return command.into_done().into_iter().for_each(|done| done.complete(Err(Error::forked())));
        }
        let open = self.mailbox.lock().is_open();
        match command {
            Command::Flush { done, .. } | Command::Stop { done, .. } | Command::Start { done, .. }
                if open =>
            {
                done.complete(Err(too_many_waiting()));
            }
            Command::Flush { done, .. } => done.complete(self.flushed_or_lost()),
            Command::Stop { done, .. } => done.complete(self.settled_or_lost()),
            Command::Register { done, .. }
            | Command::Replace { done, .. }
            | Command::Remove { done, .. }
            | Command::Start { done, .. }
            | Command::Observe { done, .. }
            | Command::Unobserve { done, .. }
            | Command::Reinstate { done, .. }
            | Command::Room { done } => {
                done.complete(Err(if open { too_many_commands() } else { self.gone() }));
            }
            Command::Unsubscribe { .. } | Command::HookDone { .. } => {}
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

    fn starts_or_stops(&self) -> bool {
        !matches!(self.state.get(), RecorderState::Created | RecorderState::Running)
    }

    /// Whether it shows so little that any thread may add it to its group.
    fn is_small(&self) -> bool {
        let cut = self.cut.load();
        cut.metrics.iter().map(|metric| metric.family.len()).sum::<usize>() <= limits::SERIES_OF_ANY_THREAD
    }

    pub(crate) fn give_up(&self, reason: Abandonment) -> u64 {
        let _door = self.door.lock();
        let _ = self.queue.close();
        let Some(committed) = self.queue.abandon() else { return 0 };
        let counts = self.queue.counts();
        let given_up = counts.accepted - committed - counts.evicted;
        if given_up > 0 {
            let to = &self.rare.make().given_up;
            let counter = match reason {
                Abandonment::Deadline => &to.deadline,
                Abandonment::Removed | Abandonment::WorkerLost => &to.removed,
            };
            counter.store(given_up, Ordering::Release);
        }
        if reason == Abandonment::WorkerLost {
            let message = "the worker was lost by a panic outside of metrics and hooks; build another runtime, and mend what panicked (its clock?)";
            *self.rare.make().last_error.lock() =
                Some(Error::new(ErrorKind::WorkerLost, message).with_pending(given_up));
        }
        self.state.set(match reason {
            Abandonment::WorkerLost => RecorderState::Failed,
            Abandonment::Deadline | Abandonment::Removed => RecorderState::Stopped,
        });
        given_up
    }
}

fn too_many_commands() -> Error {
    let message = format!(
        "{} changes wait for this recorder's next turn already; wait for the operations before asking for more",
        limits::MAX_COMMANDS
    );
    Error::new(ErrorKind::LimitReached, message)
}

/// What was asked for goes on; its caller is not told of the end.
pub(crate) fn too_many_waiting() -> Error {
    let message = format!(
        "{} callers wait for the same of this recorder already; it goes on without telling this one: wait for fewer at a time, or share an operation by `clone`",
        limits::MAX_WAITING
    );
    Error::new(ErrorKind::LimitReached, message)
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

    fn memory(&self) -> RecorderMemory {
        let snapshot = self.snapshot();
        let rare = self.rare.get().map_or(0, size_of_val);
        let own = heap::arc(self) + self.identity.heap_bytes() + rare + self.queue.box_bytes();
        if self.hub.is_forked() {
            // Locks may be held for ever.
            return memory::of(&snapshot, own, 0, &self.memory, None);
        }
        let own = own + self.mailbox.lock().heap_bytes();
        memory::of(&snapshot, own, self.queue.heap_bytes(), &self.memory, Some(&self.hub.catalogue))
    }

    fn turn(&self, desk: &mut Desk) -> Turned {
        self.calls.enter(Call::Commands, desk.now);
        let turned = self.queue.sit(|consumer, actor| actor.turn(self, consumer, desk));
        self.calls.leave();
        // Nobody else takes the seat of a hosted recorder; were it taken, the other would be the one to go on.
        turned.unwrap_or(Turned::idle())
    }

    fn fetch(&self, step: usize) {
        if let Some(step) = step.checked_sub(1) {
            self.cut.fetch();
            self.queue.sit(|consumer, actor| actor.fetch(&consumer, step));
        } else {
            fetch_all(self);
        }
    }

    fn fetch_for_reading(&self) {
        self.queue.fetch_counts();
        fetch(&self.refusals);
        fetch(&self.rare);
        fetch(&self.state);
        fetch_for_write(&self.cut);
    }

    fn launch(self: Arc<Self>, phase: Phase, clock: &Arc<dyn Clock>) {
        self.calls.enter(Call::Hook(phase), clock.now());
        let made = self.queue.sit(|_, actor| actor.make_hook(phase)).flatten();
        self.calls.leave();
        self.hook.set(Some(phase));
        let node = Arc::clone(&self);
        let done = Box::new(move |result| node.unpark(Command::HookDone { result }));
        match (made, self.hub.executor().map(Arc::clone)) {
            (Some((hook, deadline)), Some(executor)) => {
                let watched = Watched { hook: Some(hook), phase, recorder: self, clock: Arc::clone(clock) };
                executor.run(Box::pin(watched), phase, deadline, done);
            }
            _ => done(Ok(())),
        }
    }

    fn calls(&self) -> &Calls {
        &self.calls
    }

    fn call(&self) -> Option<(UserCall, Timestamp)> {
        let (call, since) = self.calls.now()?;
        let cut = self.cut.load();
        // Those that were removed stand behind those that see events.
        let live = |index: usize| cut.metrics.get(index).filter(|metric| !metric.removed);
        let name = |index: usize| Some(live(index)?.family.name().clone());
        let call = match call {
            Call::Commands => UserCall::Commands,
            Call::Metric(index) => UserCall::Metric(name(index)),
            Call::Snapshot(index) => UserCall::Snapshot(name(index)),
            Call::Observer => UserCall::Observer,
            Call::Hook(phase) => UserCall::Hook(phase.name()),
            Call::EventDrop => UserCall::EventDrop,
        };
        Some((call, since))
    }

    fn owed_hook(&self) -> Option<Phase> {
        let stops =
            self.state.get() == RecorderState::Stopping && self.has_stop_hook && self.starts_begun() > 0;
        self.hook.get().or(stops.then_some(Phase::Stopped))
    }

    fn lost(&self) -> Option<Error> {
        self.last_error().filter(|error| error.kind() == ErrorKind::WorkerLost)
    }

    fn publish(&self, now: Timestamp) {
        self.calls.enter(Call::Commands, now);
        self.queue.sit(|_, actor| actor.publish(self, now));
        self.calls.leave();
    }

    fn release(&self, before: Timestamp) -> bool {
        let over = self.queue.sit(|consumer, actor| actor.release(self, consumer, before)).unwrap_or(true);
        if over && self.is_gone() {
            self.let_go();
        }
        over
    }

    fn begin_leaving(&self) -> bool {
        !self.leaving.swap(true, Ordering::AcqRel)
    }

    fn is_gone(&self) -> bool {
        !self.mailbox.lock().is_open() && self.accounts_now().is_settled()
    }

    fn unsubscribe(self: Arc<Self>, id: ObserverId) {
        if self.hub.is_forked() {
            return;
        }
        let ending = self.mailbox.lock().unsubscribe(id);
        drop(ending);
        // Removed meanwhile? Then the actor tells nobody any more.
        drop(self.post(Command::Unsubscribe { id }));
    }

    fn stop(self: Arc<Self>, done: Completer) {
        self.stop_with(done, true);
    }

    fn stop_idle(self: Arc<Self>) -> bool {
        if self.hub.is_forked() || self.starts_or_stops() {
            return false;
        }
        let handed = self.shut(true);
        // It was idle, and the duty to give it a turn is this thread's: nobody else will, until it is scheduled.
        let over = handed == Handed::Schedule
            && self.mailbox.lock().is_quiet()
            && self.is_small()
            && self.queue.sit(|mut consumer, actor| actor.stop_idle(&self, &mut consumer)).unwrap_or(false);
        if !over {
            self.schedule(handed);
        }
        over
    }

    fn halt(self: Arc<Self>, done: Completer) {
        self.stop_if_begun(done);
    }

    fn show(self: Arc<Self>) -> Option<Operation> {
        // Settled and shown: no visit to the worker, which may have very many idle recorders.
        self.flushed_or_lost().err().map(|_| self.flush())
    }

    fn abandon(&self, reason: Abandonment) -> u64 {
        self.give_up(reason)
    }

    fn conclude(&self) -> bool {
        let mut door = self.door.lock();
        let over = match self.state.get() {
            RecorderState::Stopped => true,
            RecorderState::Failed => door.stop_asked,
            _ => false,
        };
        door.for_good |= over;
        over
    }

    fn retire(&self) {
        let (commands, mut owed, endings) = self.mailbox.lock().shut();
        drop(endings);
        commands.into_iter().for_each(|command| self.answer_unheard(command));
        owed.flushes.take_all().for_each(|done| done.complete(self.flushed_or_lost()));
        owed.stops.take_all().for_each(|done| done.complete(self.settled_or_lost()));
        owed.starts
            .take_all()
            .chain(owed.restarts.take_all())
            .chain(owed.room.take_all())
            .for_each(|done| done.complete(Err(self.gone())));
    }

    fn let_go(&self) {
        // Out of the seat: how they are dropped is the user's, and may come back to this recorder.
        let remains = self.queue.sit(|_, actor| {
            let remains = actor.let_go();
            self.memory.note(actor.heap_bytes(), Beside::Less);
            remains
        });
        drop_in_turn(remains);
    }

    fn last_look(&self) -> Vec<Untold> {
        self.last_losses()
    }

    fn note(&self, kind: IncidentKind) {
        self.tell(kind);
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<E: MetricEvent> Core<E> {
    /// What there is to report of losses, in order.
    pub(crate) fn losses(
        &self,
        accounts: &Accounts,
        now: Timestamp,
        look: Look,
    ) -> [Option<IncidentKind>; 2] {
        let lost = Loss { rejected: accounts.rejected, dropped: accounts.dropped };
        match self.rare.get() {
            // Nothing is lost, and nothing ever was.
            None if lost.total() == 0 => [None, None],
            _ => self.rare.make().losses.look(lost, now, look),
        }
    }

    /// Whether a loss is under way, so that somebody has to come and look again.
    pub(crate) fn is_losing(&self) -> bool {
        self.rare.get().is_some_and(|rare| rare.losses.is_under_way())
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn identity_arc(&self) -> &Arc<Identity> {
        &self.identity
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::recorder::handle::Recorder;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Weak;
    use std::sync::mpsc;
    use std::task::Context;
    use std::task::Wake;
    use std::task::Waker;

    struct Step;

    impl MetricEvent for Step {
        fn event_type(&self) -> &'static str {
            "step"
        }
    }

    /// Says whether the mailbox was free when it was woken.
    struct Probe {
        node: Weak<CoreNode<Step>>,
        free: mpsc::Sender<bool>,
    }

    impl Wake for Probe {
        fn wake(self: Arc<Self>) {
            let node = self.node.upgrade().unwrap();
            self.free.send(node.mailbox.try_lock().is_some()).unwrap();
        }
    }

    #[test]
    fn a_flush_that_joins_another_wakes_outside_the_lock() {
        let (recorder, task) = Recorder::<Step>::detached("storage").create().unwrap();
        let (free, was_free) = mpsc::channel();
        let waker = Waker::from(Arc::new(Probe { node: Arc::downgrade(recorder.node()), free }));
        let mut task = pin!(task);
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        // Its caller is suspended before it has kicked.
        let (first, done) = Operation::new(None);
        let put = recorder.node().mailbox.lock().put(Command::Flush { ticket: 0, done }, &mut Spent::new());
        assert!(put.is_ok());
        let second = recorder.flush();
        assert_eq!(was_free.try_iter().collect::<Vec<_>>(), [true]);
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(first.result().unwrap().is_ok() && second.result().unwrap().is_ok());
    }
}
