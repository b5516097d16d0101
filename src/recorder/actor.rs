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
use crate::recorder::core::Core;
use crate::recorder::dispatch::Slot;
use crate::recorder::hosted::Desk;
use crate::recorder::hosted::Next;
use crate::recorder::hosted::Turned;
use crate::recorder::identity::Identity;
use crate::recorder::operation::Completer;
use crate::recorder::state::RecorderState;
use crate::recorder::view::Cut;
use crate::recorder::view::MetricCut;
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
}

pub(crate) struct Actor<E> {
    slots: Vec<Slot<E>>,
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
    /// Whether somebody waits in the mailbox for an answer.
    owes: bool,
}

impl<E: MetricEvent> Actor<E> {
    pub(crate) fn new(slots: Vec<Slot<E>>) -> Self {
        Self {
            slots,
            dispatched: 0,
            version: 0,
            dirty: false,
            told: false,
            spare: None,
            chunk: 1,
            last_turn: Timestamp::default(),
            fed: false,
            owes: false,
        }
    }

    /// What readers see before the first event.
    pub(crate) fn first_cut(&self, identity: &Arc<Identity>, now: Timestamp) -> Cut {
        let metrics = self.slots.iter().map(empty_cut).collect();
        Cut { identity: Arc::clone(identity), version: 0, sequence: 0, taken_at: now, metrics }
    }

    /// One turn: commands, then events until there are no more or the turn is over, then the answers that are due.
    pub(crate) fn turn(&mut self, core: &Core<E>, mut consumer: Consumer<'_, E>, desk: &mut Desk) -> Turned {
        if consumer.take_kick() {
            self.obey(core);
        }
        core.state.pass(RecorderState::Created, RecorderState::Running);
        let drained = self.drain(core, &mut consumer, desk);
        self.answer(core, &mut consumer, desk.now);
        let next = match drained {
            // What is still owed is answered by whoever gave the queue up.
            Drained::Abandoned => Next::Idle,
            Drained::TurnOver => Next::More,
            Drained::Empty => match consumer.rest() {
                Rest::Idle => Next::Idle,
                Rest::Busy => Next::More,
                Rest::Stalled => Next::Stalled,
            },
        };
        self.last_turn = desk.now;
        let newly_dirty = self.dirty && !std::mem::replace(&mut self.told, self.dirty);
        let newly_fed = !std::mem::replace(&mut self.fed, true);
        Turned { next, newly_dirty, newly_fed }
    }

    fn drain(&mut self, core: &Core<E>, consumer: &mut Consumer<'_, E>, desk: &mut Desk) -> Drained {
        if core.queue.is_abandoned() {
            return Drained::Abandoned;
        }
        let started = desk.now;
        let mut done = 0;
        loop {
            let run = consumer.run(self.chunk);
            let count = run.len() as u64;
            if count == 0 {
                return Drained::Empty;
            }
            let context = Context::new(desk.now, self.version + 1);
            for slot in &mut self.slots {
                self.dirty |= slot.handle(&run, &context);
            }
            if consumer.finish(count).is_err() {
                return Drained::Abandoned;
            }
            self.dispatched += count;
            self.dirty = true;
            done += count;
            let chunk_started = desk.now;
            if count > 1 || self.chunk == 1 {
                desk.now = desk.clock.now();
            }
            self.chunk = next_chunk(self.chunk, desk.now.saturating_since(chunk_started));
            let late = desk.now.saturating_since(started) >= limits::TURN_TIME;
            if late || (done >= limits::TURN_EVENTS && !desk.alone) {
                return Drained::TurnOver;
            }
        }
    }

    fn obey(&mut self, core: &Core<E>) {
        let (commands, owes) = core.take_commands();
        self.owes = owes;
        for command in commands {
            match command {
                Command::Register { slot, done } => done.complete(self.add(slot)),
                Command::Start { done } => done.complete(core.open()),
                // Noted by the mailbox itself.
                Command::Flush { .. } | Command::Stop { .. } => {}
            }
        }
    }

    fn add(&mut self, slot: Slot<E>) -> Result<(), Error> {
        let name = slot.descriptor().name();
        if self.slots.iter().any(|present| present.descriptor().name() == name) {
            let message = format!("the recorder has a metric {name} already; give this one another name");
            return Err(Error::new(ErrorKind::MetricConflict, message));
        }
        self.slots.push(slot);
        self.dirty = true;
        Ok(())
    }

    /// Ends the flushes whose events are settled, and the stop if everything is.
    fn answer(&mut self, core: &Core<E>, consumer: &mut Consumer<'_, E>, now: Timestamp) {
        let settled = consumer.settled();
        // The door before the number: behind a shut door the number is final.
        let closed = core.queue.is_closed();
        let all = settled == core.queue.counts().accepted;
        if closed && all && core.state.pass(RecorderState::Stopping, RecorderState::Stopped) {
            self.dirty = true;
        }
        if !self.owes || !core.owes(settled, all) {
            return;
        }
        self.publish(core, now);
        let (flushes, stops, remain) = core.take_due(settled, all);
        self.owes = remain;
        for done in flushes {
            // Given up meanwhile: then nothing is published any more, and what the last cut shows decides.
            done.complete(if self.dirty { core.flushed_or_lost() } else { Ok(()) });
        }
        stops.into_iter().for_each(|done| done.complete(Ok(())));
    }

    /// Makes what has changed visible.
    pub(crate) fn publish(&mut self, core: &Core<E>, now: Timestamp) {
        self.told = false;
        if !self.dirty || core.queue.is_abandoned() {
            return;
        }
        self.dirty = false;
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
