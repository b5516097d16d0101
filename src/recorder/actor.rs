//! The actor half of a recorder: drains, dispatches, publishes, obeys. One thread at a time sits here.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::model::limits;
use crate::model::snapshot::Family;
use crate::model::verdict::Context;
use crate::queue::Consumer;
use crate::queue::Rest;
use crate::queue::published::Shared;
use crate::queue::run::Run;
use crate::recorder::catalogue::conflict_within;
use crate::recorder::core::Core;
use crate::recorder::dispatch::Slot;
use crate::recorder::hooks::HookFuture;
use crate::recorder::hooks::Hooks;
use crate::recorder::hooks::Phase;
use crate::recorder::hosted::Desk;
use crate::recorder::hosted::Next;
use crate::recorder::hosted::Turned;
use crate::recorder::identity::Identity;
use crate::recorder::observers::Change;
use crate::recorder::observers::ObserverFn;
use crate::recorder::observers::ObserverId;
use crate::recorder::observers::Observers;
use crate::recorder::operation::Completer;
use crate::recorder::state::RecorderState;
use crate::recorder::view::Cut;
use crate::recorder::view::MetricCut;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A chunk that took no longer than this may be twice as long next time.
const QUICK_CHUNK: Duration = Duration::from_micros(100);

/// What a handle asks of the actor.
pub(crate) enum Command<E> {
    /// Answer when the first `ticket` events are settled and published.
    Flush { ticket: u64, done: Completer },
    /// Take another metric; the answer is an error if one of its name is there.
    Register { slot: Slot<E>, done: Completer },
    /// Answer when everything accepted is settled; the door is shut already.
    Stop { done: Completer },
    /// Open the door (again).
    Start { done: Completer },
    /// Tell an observer of every change from now on.
    Observe { id: ObserverId, observer: ObserverFn<E>, done: Completer },
    /// Stop telling an observer.
    Unobserve { id: ObserverId, done: Completer },
    /// The hook under way has ended.
    HookDone { result: Result<(), Error> },
    /// Answer when there is room for an event, or never will be.
    Room { done: Completer },
}

impl<E> Command<E> {
    /// Ends the command with a result that its sender did not ask the actor for.
    pub(crate) fn answer(self, result: Result<(), Error>) {
        match self {
            Self::Flush { done, .. }
            | Self::Register { done, .. }
            | Self::Stop { done }
            | Self::Start { done }
            | Self::Observe { done, .. }
            | Self::Unobserve { done, .. }
            | Self::Room { done } => done.complete(result),
            Self::HookDone { .. } => {}
        }
    }
}

pub(crate) struct Actor<E> {
    slots: Vec<Slot<E>>,
    observers: Observers<E>,
    hooks: Hooks,
    /// The hook that is due or under way.
    hook: Option<Phase>,
    launched: bool,
    /// How it ended, until the turn that takes note.
    hook_ended: Option<Result<(), Error>>,
    dispatched: u64,
    /// Publications so far; the next cut has the number after it.
    version: u64,
    dirty: bool,
    /// Whether the worker was told that there is something to publish.
    told: bool,
    /// The cut before the last: refreshed in place if no reader holds it any more.
    spare: Option<Shared<Cut>>,
    /// Events in the next chunk: grows while chunks are quick, so that slow metrics are found one event at a time.
    chunk: u64,
    last_turn: Timestamp,
    /// Whether the worker was told that there is memory to release.
    fed: bool,
    waiting: Vec<(u64, Completer)>,
    stops: Vec<Completer>,
    /// How the stop that was just completed ended.
    stop_result: Option<Result<(), Error>>,
    /// Starts that wait for a start hook, or for a stop under way.
    starts: Vec<Completer>,
    /// Producers that wait for room, the longest first.
    room: VecDeque<Completer>,
}

impl<E: MetricEvent> Actor<E> {
    pub(crate) fn new(slots: Vec<Slot<E>>, observers: Observers<E>, hooks: Hooks) -> Self {
        Self {
            slots,
            observers,
            hooks,
            hook: None,
            launched: false,
            hook_ended: None,
            dispatched: 0,
            version: 0,
            dirty: false,
            told: false,
            spare: None,
            chunk: 1,
            last_turn: Timestamp::default(),
            fed: false,
            waiting: Vec::new(),
            stops: Vec::new(),
            stop_result: None,
            starts: Vec::new(),
            room: VecDeque::new(),
        }
    }

    /// What readers see before the first event.
    pub(crate) fn first_cut(&self, identity: &Arc<Identity>, now: Timestamp) -> Cut {
        let metrics = self.slots.iter().map(empty_cut).collect();
        Cut {
            identity: Arc::clone(identity),
            version: 0,
            sequence: 0,
            taken_at: now,
            metrics,
            quarantined_observers: 0,
        }
    }

    /// One turn: commands, then events until there are no more or the turn is over, then the answers that are due.
    pub(crate) fn turn(&mut self, core: &Core<E>, mut consumer: Consumer<'_, E>, desk: &mut Desk) -> Turned {
        if consumer.take_kick() {
            self.obey(core);
        }
        let next = self.advance(core, &mut consumer, desk);
        self.last_turn = desk.now;
        let newly_dirty = self.dirty && !std::mem::replace(&mut self.told, self.dirty);
        let newly_fed = !std::mem::replace(&mut self.fed, true);
        Turned { next, newly_dirty, newly_fed }
    }

    fn advance(&mut self, core: &Core<E>, consumer: &mut Consumer<'_, E>, desk: &mut Desk) -> Next {
        if let Some(result) = self.hook_ended.take() {
            self.end_hook(core, result);
        }
        if self.hook.is_some() && self.launched {
            return Next::Parked;
        }
        if core.state.get() == RecorderState::Created {
            self.begin_start(core);
        }
        if let Some(phase) = self.hook {
            self.launched = true;
            return Next::Hook(phase);
        }
        let drained = match core.state.get() {
            RecorderState::Failed => self.discard(core, consumer),
            _ => self.drain(consumer, desk),
        };
        self.answer(core, consumer, desk.now);
        if let Some(phase) = self.hook {
            self.launched = true;
            return Next::Hook(phase);
        }
        match drained {
            Drained::Abandoned => {
                for done in self.take_waiting() {
                    done.complete(Err(abandoned()));
                }
                Next::Idle
            }
            Drained::TurnOver => Next::More,
            Drained::Empty => match consumer.rest() {
                Rest::Idle => Next::Idle,
                Rest::Busy => Next::More,
                Rest::Stalled => Next::Stalled,
            },
        }
    }

    /// Opens the door and runs the start hook, if there is one; events wait for its end.
    fn begin_start(&mut self, core: &Core<E>) {
        core.state.set(RecorderState::Starting);
        core.queue.reopen();
        self.dirty = true;
        if self.hooks.on_starting.is_some() {
            self.hook = Some(Phase::Starting);
        } else {
            self.end_start(core, Ok(()));
        }
    }

    fn end_start(&mut self, core: &Core<E>, result: Result<(), Error>) {
        match &result {
            // Stopped meanwhile? Then the stop goes on: the door is shut, and what was accepted is dispatched first.
            Ok(()) => drop(core.state.pass(RecorderState::Starting, RecorderState::Running)),
            Err(error) => self.fail(core, error.clone()),
        }
        for done in self.starts.drain(..) {
            done.complete(result.clone());
        }
        if result.is_err() && self.hooks.on_stopped.is_some() {
            // Whatever a failed start has opened is to be closed, too.
            self.hook = Some(Phase::Stopped);
        }
    }

    fn fail(&mut self, core: &Core<E>, error: Error) {
        let _ = core.queue.close();
        core.note_error(error);
        core.state.set(RecorderState::Failed);
        self.dirty = true;
    }

    /// Takes note of the end of a hook.
    fn end_hook(&mut self, core: &Core<E>, result: Result<(), Error>) {
        self.launched = false;
        match self.hook.take() {
            Some(Phase::Starting) => self.end_start(core, result),
            Some(Phase::Stopped) => self.end_stop(core, result),
            None => {}
        }
    }

    fn end_stop(&mut self, core: &Core<E>, result: Result<(), Error>) {
        if !core.state.pass(RecorderState::Stopping, RecorderState::Stopped) {
            // After a failed start the recorder stays failed, with the start's error.
            return;
        }
        self.dirty = true;
        if let Err(error) = &result {
            self.fail(core, error.clone());
        }
        self.stop_result = Some(result);
    }

    /// Drops what was accepted for a start that failed, undispatched and counted.
    fn discard(&mut self, core: &Core<E>, consumer: &mut Consumer<'_, E>) -> Drained {
        loop {
            let count = consumer.run(limits::TURN_EVENTS).len() as u64;
            if count == 0 {
                return Drained::Empty;
            }
            if consumer.finish(count).is_err() {
                return Drained::Abandoned;
            }
            core.count_discarded(count);
        }
    }

    /// The future of a hook, and how long it may take.
    pub(crate) fn make_hook(&mut self, phase: Phase) -> Option<(HookFuture, Duration)> {
        Some((self.hooks.make(phase)?, self.hooks.deadline))
    }

    fn drain(&mut self, consumer: &mut Consumer<'_, E>, desk: &mut Desk) -> Drained {
        let started = desk.now;
        let (mut done, mut timed) = (0, 0);
        loop {
            let run = consumer.run(self.chunk);
            let count = run.len() as u64;
            if count == 0 {
                return Drained::Empty;
            }
            let context = Context::new(desk.now, self.version + 1);
            if self.observers.is_empty() {
                for slot in &mut self.slots {
                    slot.handle(&run, &context);
                }
            } else {
                self.dispatch_observed(&run, &context);
            }
            if consumer.finish(count).is_err() {
                return Drained::Abandoned;
            }
            self.dispatched += count;
            self.dirty = true;
            if !self.room.is_empty() {
                self.make_room(count);
            }
            done += count;
            let chunk_started = desk.now;
            // A lone event after quick ones is not worth a look at the clock; a stream of lone ones is.
            if count > 1 || self.chunk == 1 || done >= timed + limits::TURN_EVENTS {
                desk.now = desk.clock.now();
                timed = done;
            }
            self.chunk = next_chunk(self.chunk, desk.now.saturating_since(chunk_started));
            let late = desk.now.saturating_since(started) >= limits::TURN_TIME;
            if late || (done >= limits::TURN_EVENTS && !desk.alone) {
                return Drained::TurnOver;
            }
        }
    }

    /// Event by event instead of metric by metric, because observers see changes in the order of events.
    fn dispatch_observed(&mut self, run: &Run<'_, E>, context: &Context) {
        for (index, event) in run.iter().enumerate() {
            let one = run.only(index);
            let sequence = self.dispatched + index as u64 + 1;
            for slot in &mut self.slots {
                let before = slot.tally.accepted;
                slot.handle(&one, context);
                if slot.tally.accepted != before {
                    self.observers.tell(&Change::new(slot, event, sequence));
                }
            }
        }
    }

    /// Tells as many waiting producers as places came free.
    fn make_room(&mut self, freed: u64) {
        let mut left = freed;
        while left > 0 {
            let Some(done) = self.room.pop_front() else { return };
            left -= u64::from(done.is_awaited());
            done.complete(Ok(()));
        }
    }

    fn obey(&mut self, core: &Core<E>) {
        for command in core.take_commands() {
            match command {
                Command::Flush { ticket, done } => self.waiting.push((ticket, done)),
                Command::Stop { done } => self.stops.push(done),
                Command::Observe { id, observer, done } => {
                    self.observers.add(id, observer);
                    done.complete(Ok(()));
                }
                Command::Unobserve { id, done } => {
                    let removed = self.observers.remove(id);
                    done.complete(removed.as_ref().map(|_| ()).ok_or_else(no_observer));
                    crate::queue::drop_quietly(removed);
                }
                Command::Room { done } => self.room.push_back(done),
                Command::Register { slot, done } => done.complete(self.add(slot)),
                Command::Start { done } => self.start(core, done),
                Command::HookDone { result } => self.hook_ended = Some(result),
            }
        }
    }

    fn add(&mut self, slot: Slot<E>) -> Result<(), Error> {
        let name = slot.descriptor().name();
        if let Some(present) = self.slots.iter().find(|present| present.descriptor().name() == name) {
            // The same shape is the same metric: the first definition stays.
            return conflict_within(present.descriptor(), slot.descriptor()).map_or(Ok(()), Err);
        }
        self.slots.push(slot);
        self.dirty = true;
        Ok(())
    }

    /// Ends the flushes whose events are settled, and the stop if everything is.
    fn answer(&mut self, core: &Core<E>, consumer: &mut Consumer<'_, E>, now: Timestamp) {
        let settled = consumer.settled();
        if self.waiting.iter().any(|(ticket, _)| *ticket <= settled) {
            self.publish(core, now);
            for (_, done) in self.waiting.extract_if_settled(settled) {
                done.complete(Ok(()));
            }
        }
        let accepted = core.queue.counts().accepted;
        // One who was told may have gone away without using the place. So nobody is left waiting once nothing is pending (no
        // turn would follow to tell them) or the door is shut (they wait in vain).
        if settled == accepted || core.queue.is_closed() {
            self.make_room(u64::MAX);
        }
        if settled != accepted {
            return;
        }
        if core.state.get() == RecorderState::Stopping {
            if self.hooks.on_stopped.is_some() {
                self.hook = Some(Phase::Stopped);
                return;
            }
            self.end_stop(core, Ok(()));
        }
        if !self.stops.is_empty() {
            self.publish(core, now);
            let result = self.stop_result.take().unwrap_or(Ok(()));
            for done in self.stops.drain(..) {
                done.complete(result.clone());
            }
        }
        if !self.starts.is_empty() {
            // They came while it was stopping.
            self.begin_start(core);
        }
    }

    /// Starts now, or joins the start under way, or waits for the stop under way.
    fn start(&mut self, core: &Core<E>, done: Completer) {
        match core.state.get() {
            RecorderState::Running => done.complete(Ok(())),
            RecorderState::Starting | RecorderState::Stopping => self.starts.push(done),
            _ if core.queue.is_abandoned() => done.complete(Err(abandoned_for_good(core.state.get()))),
            // A failed start's stop hook is under way: start when it is over.
            _ if self.hook.is_some() => self.starts.push(done),
            RecorderState::Created => self.starts.push(done),
            RecorderState::Stopped | RecorderState::Failed => {
                self.starts.push(done);
                self.begin_start(core);
            }
        }
    }

    /// Makes what has changed visible.
    pub(crate) fn publish(&mut self, core: &Core<E>, now: Timestamp) {
        self.told = false;
        if !std::mem::take(&mut self.dirty) || core.queue.is_abandoned() {
            return;
        }
        let mut spare = self.spare.take();
        let next = match spare.as_mut().and_then(Shared::get_mut) {
            Some(cut) => {
                self.refresh(cut, now);
                spare
            }
            None => None,
        };
        // Some reader still holds the old one, or there is none yet: a new one, written from scratch.
        let next = next.unwrap_or_else(|| {
            let mut cut = self.first_cut(core.identity_arc(), now);
            self.refresh(&mut cut, now);
            Shared::new(cut)
        });
        self.spare = Some(core.cut.replace(next));
    }

    fn refresh(&mut self, cut: &mut Cut, now: Timestamp) {
        let since = cut.version;
        self.version += 1;
        cut.version = self.version;
        cut.sequence = self.dispatched;
        cut.taken_at = now;
        cut.metrics.extend(self.slots[cut.metrics.len()..].iter().map(empty_cut));
        for (slot, metric) in self.slots.iter_mut().zip(&mut cut.metrics) {
            if slot.changed_at > since {
                slot.refresh(&mut metric.family, since, self.version);
            }
            metric.tally = slot.tally;
            metric.quarantined = slot.quarantined;
        }
        cut.quarantined_observers = self.observers.quarantined();
    }

    /// Gives up the memory that only speed needs, if the last turn was before `before`; false if it was not.
    pub(crate) fn release(&mut self, mut consumer: Consumer<'_, E>, before: Timestamp) -> bool {
        if self.last_turn > before {
            return false;
        }
        self.fed = false;
        self.spare = None;
        consumer.release();
        true
    }

    /// The answers still owed, when nobody will turn this actor again.
    pub(crate) fn take_waiting(&mut self) -> Vec<Completer> {
        let flushes = self.waiting.drain(..).map(|(_, done)| done);
        flushes.chain(self.stops.drain(..)).chain(self.starts.drain(..)).chain(self.room.drain(..)).collect()
    }
}

fn abandoned_for_good(state: RecorderState) -> Error {
    let message = "events of this recorder were given up at a deadline; remove it and create it again";
    Error::new(ErrorKind::InvalidState, message).with_states(state.name(), "Stopped")
}

fn no_observer() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such observer; it was removed before, or has panicked")
}

fn abandoned() -> Error {
    Error::new(ErrorKind::Timeout, "the deadline of a shutdown or removal came first; what was given up is in the accounts")
}

/// How draining ended.
enum Drained {
    Empty,
    TurnOver,
    Abandoned,
}

fn empty_cut<E: MetricEvent>(slot: &Slot<E>) -> MetricCut {
    MetricCut { family: Family::new(Arc::clone(slot.descriptor())), tally: slot.tally, quarantined: slot.quarantined }
}

/// The length of the next chunk: doubles while chunks are quick, falls back to one event after a slow one.
fn next_chunk(chunk: u64, took: Duration) -> u64 {
    if took <= QUICK_CHUNK {
        (chunk * 2).min(limits::TURN_EVENTS)
    } else if took >= limits::TURN_TIME {
        1
    } else {
        chunk
    }
}

/// Takes the flushes out whose ticket is settled, in their order.
trait ExtractIfSettled {
    fn extract_if_settled(&mut self, settled: u64) -> Vec<(u64, Completer)>;
}

impl ExtractIfSettled for Vec<(u64, Completer)> {
    fn extract_if_settled(&mut self, settled: u64) -> Vec<(u64, Completer)> {
        let (due, later) = std::mem::take(self).into_iter().partition(|(ticket, _)| *ticket <= settled);
        *self = later;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_while_quick_and_start_over_after_a_slow_one() {
        let micros = Duration::from_micros;
        assert_eq!(next_chunk(1, micros(1)), 2);
        assert_eq!(next_chunk(64, micros(1)), 64);
        assert_eq!(next_chunk(16, micros(500)), 16);
        assert_eq!(next_chunk(16, micros(1_000)), 1);
    }
}
