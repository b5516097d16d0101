//! The actor half of a recorder: drains, dispatches, publishes, obeys. One thread at a time sits here.

use crate::metric::Scratch;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::event::MetricEvent;
use crate::model::heap;
use crate::model::incident::IncidentKind;
use crate::model::limits;
use crate::model::verdict::Context;
use crate::queue::Consumer;
use crate::queue::Rest;
use crate::queue::published::Shared;
use crate::queue::run::Run;
use crate::recorder::calls::Call;
use crate::recorder::core::Core;
use crate::recorder::core::too_many_waiting;
use crate::recorder::dispatch::Slot;
use crate::recorder::dynamic::event::DynamicEvent;
use crate::recorder::hooks::HookFuture;
use crate::recorder::hooks::Hooks;
use crate::recorder::hooks::Phase;
use crate::recorder::hosted::Desk;
use crate::recorder::hosted::Next;
use crate::recorder::hosted::Turned;
use crate::recorder::identity::Identity;
use crate::recorder::mailbox::Asked;
use crate::recorder::mailbox::Command;
use crate::recorder::mailbox::Owes;
use crate::recorder::mailbox::Spent;
use crate::recorder::memory;
use crate::recorder::memory::Beside;
use crate::recorder::observers::Change;
use crate::recorder::observers::Observers;
use crate::recorder::operation::Completer;
use crate::recorder::quarantine::Quarantined;
use crate::recorder::report;
use crate::recorder::state::RecorderState;
use crate::recorder::view::Cut;
use crate::recorder::view::MetricCut;
use crate::recorder::view::MetricCuts;
use crate::sync::fetch_all;
use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

/// A chunk that took no longer than this may be twice as long next time.
const QUICK_CHUNK: Duration = Duration::from_micros(100);

/// As many as there are in a turn.
const MOST_IN_CHUNK: u8 = limits::TURN_EVENTS as u8;

const _: () = assert!(limits::TURN_EVENTS <= 127, "a chunk is doubled in eight bits");

mod changes;

pub(crate) struct Actor<E> {
    slots: Vec<Slot<E>>,
    /// What most recorders do without.
    extras: Option<Box<Extras<E>>>,
    dispatched: u64,
    /// Publications so far; the next cut has the number after it.
    version: u64,
    /// The time of the last cut; that of no later one is before it.
    published_at: Timestamp,
    /// The cut before the last: refreshed in place if no reader holds it any more.
    spare: Option<Shared<Cut>>,
    last_turn: Timestamp,
    /// Starts run, of as many as have begun; those beyond them are due.
    started: u32,
    /// Events in the next chunk: grows while chunks are quick, so that slow metrics are found one event at a time.
    chunk: u8,
    /// The hook that is due or under way.
    hook: Option<Phase>,
    launched: bool,
    /// Whether a start was begun: only then is there something for the stop hook to close.
    began: bool,
    /// Between the end of a start and the end of its stop: only then are events dispatched.
    open: bool,
    dirty: bool,
    /// Whether the worker was told that there is something to publish.
    told: bool,
    /// Whether the last publication was the first after a rest.
    rested: bool,
    /// Whether the worker was told that there is memory to release.
    fed: bool,
    /// Whether metrics have given up series that are in the published cut: nobody but this actor publishes another.
    resting: bool,
    /// What is owed to those who wait in the mailbox.
    owes: Owes,
}

/// What an actor has of observers, hooks, changes of its metrics, and failures. Made with the first of these.
struct Extras<E> {
    observers: Observers<E>,
    hooks: Hooks,
    /// What removed metrics leave behind, if their series were kept.
    kept: Vec<MetricCut>,
    /// Rises when metrics come or go.
    composition: u32,
    /// Of a start that failed: the events up to this number are not to be dispatched. 0 when that is over.
    doomed: u64,
    /// How it ended, until the turn that takes note.
    hook_ended: Option<Result<(), Error>>,
    /// The error of the stop that was just completed.
    stop_error: Option<Error>,
    /// When a publication was last told to inspection, if any is.
    inspected: Timestamp,
}

impl<E: MetricEvent> Default for Extras<E> {
    fn default() -> Self {
        Self {
            observers: Observers::new(),
            hooks: Hooks::none(),
            kept: Vec::new(),
            composition: 0,
            doomed: 0,
            hook_ended: None,
            stop_error: None,
            inspected: Timestamp::default(),
        }
    }
}

/// What is the user's of a recorder, for whoever drops it.
pub(crate) type Remains<E> = (Vec<Slot<E>>, Observers<E>, Hooks);

impl<E: MetricEvent> Actor<E> {
    pub(crate) fn new(mut slots: Vec<Slot<E>>, observers: Observers<E>, hooks: Hooks) -> Self {
        slots.shrink_to_fit();
        let wanted = !observers.is_empty() || hooks.are_any();
        let extras = wanted.then(|| Box::new(Extras { observers, hooks, ..Extras::default() }));
        Self {
            slots,
            extras,
            started: 0,
            dispatched: 0,
            version: 0,
            published_at: Timestamp::default(),
            spare: None,
            last_turn: Timestamp::default(),
            chunk: 1,
            hook: None,
            launched: false,
            began: false,
            open: false,
            dirty: false,
            told: false,
            rested: false,
            fed: false,
            resting: false,
            owes: Owes::default(),
        }
    }

    pub(crate) fn slots(&self) -> &[Slot<E>] {
        &self.slots
    }

    fn extras(&mut self) -> &mut Extras<E> {
        self.extras.get_or_insert_default()
    }

    fn kept(&self) -> &[MetricCut] {
        self.extras.as_ref().map_or(&[], |extras| &extras.kept)
    }

    fn composition(&self) -> u32 {
        self.extras.as_ref().map_or(0, |extras| extras.composition)
    }

    /// Metrics have come or gone.
    fn recompose(&mut self) {
        let extras = self.extras();
        extras.composition = extras.composition.wrapping_add(1);
    }

    fn is_doomed(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.doomed > 0)
    }

    fn has_hook(&self, phase: Phase) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.hooks.has(phase))
    }

    /// Gives up everything that is the user's, when nothing comes any more: a metric, an observer or a hook may hold a handle of this very
    /// recorder, and nobody else would ever break that ring.
    pub(crate) fn let_go(&mut self) -> Remains<E> {
        // What was published last stays.
        self.dirty = false;
        self.spare = None;
        let extras = self.extras.take().map(|extras| *extras).unwrap_or_default();
        (std::mem::take(&mut self.slots), extras.observers, extras.hooks)
    }

    /// What the actor has on the heap, without its metrics, what they own, and cuts.
    pub(crate) fn heap_bytes(&self) -> usize {
        let extras = self.extras.as_ref().map_or(0, |extras| {
            let own = extras.observers.heap_bytes() + extras.hooks.heap_bytes();
            size_of_val(&**extras) + heap::vec(&extras.kept) + own
        });
        heap::vec(&self.slots) + extras
    }

    /// What readers see before the first event: of `shown`, what recorders of equal metrics have in common, if they have.
    pub(crate) fn first_cut(
        &self,
        identity: &Arc<Identity>,
        shown: Option<Arc<[MetricCut]>>,
        now: Timestamp,
    ) -> Cut {
        let own = || self.slots.iter().map(first_shown).chain(self.kept().iter().cloned());
        Cut {
            identity: Arc::clone(identity),
            version: 0,
            sequence: 0,
            taken_at: now,
            metrics: shown.map_or_else(|| own().collect(), MetricCuts::Shared),
            composition: self.composition(),
            quarantined_observers: 0,
        }
    }

    /// One turn: commands, then events until there are no more or the turn is over, then the answers that are due.
    pub(crate) fn turn(&mut self, core: &Core<E>, mut consumer: Consumer<'_, E>, desk: &mut Desk) -> Turned {
        self.wake(core);
        if consumer.take_kick() {
            self.obey(core, desk.now);
        }
        let next = self.advance(core, &mut consumer, desk);
        self.last_turn = desk.now;
        let newly_dirty = self.dirty && !std::mem::replace(&mut self.told, self.dirty);
        let newly_fed = !std::mem::replace(&mut self.fed, true);
        Turned { next, newly_dirty, newly_fed }
    }

    fn advance(&mut self, core: &Core<E>, consumer: &mut Consumer<'_, E>, desk: &mut Desk) -> Next {
        if let Some(result) = self.extras.as_mut().and_then(|extras| extras.hook_ended.take()) {
            self.end_hook(core, result);
        }
        if self.hook.is_some() && self.launched {
            return Next::Parked;
        }
        self.begin_due_start(core);
        if let Some(phase) = self.hook {
            self.launched = true;
            return Next::Hook(phase);
        }
        let drained = match self.discard(core, consumer) {
            Drained::Empty if self.open && !self.is_doomed() => self.drain(core, consumer, desk),
            Drained::Empty if core.queue.is_abandoned() => Drained::Abandoned,
            // Events of a start that is not over wait; what came for one not seen yet is found when the queue does not rest.
            other => other,
        };
        let observers = self.extras.as_mut().map(|extras| &mut extras.observers);
        report::turn_made(core, &mut self.slots, observers, desk.now);
        self.answer(core, consumer, desk.now);
        if let Some(phase) = self.hook {
            self.launched = true;
            return Next::Hook(phase);
        }
        match drained {
            // What is still owed is answered by whoever gave the queue up.
            Drained::Abandoned => Next::Idle,
            Drained::TurnOver => Next::More,
            Drained::Empty => match consumer.rest() {
                Rest::Idle => Next::Idle,
                Rest::Busy => Next::More,
                Rest::Stalled => Next::Stalled,
            },
        }
    }

    /// Begins the start that is due, if one is: the first turn's own, one that was asked for, or the one that a recorder shut down
    /// before its first turn owes to the events it accepted.
    fn begin_due_start(&mut self, core: &Core<E>) {
        if !self.began && core.queue.counts().accepted > 0 && core.state.get() == RecorderState::Created {
            // Not begun? Then somebody else has begun it, or shut the door: both show below.
            let _ = core.begin_start();
        }
        if self.is_start_due(core) {
            self.run_start(core);
        }
    }

    fn is_start_due(&self, core: &Core<E>) -> bool {
        let owed = || core.state.get() == RecorderState::Stopping && core.queue.counts().accepted > 0;
        core.starts_begun() != self.started || !self.began && owed()
    }

    /// Runs the start hook, if there is one; events wait for its end.
    fn run_start(&mut self, core: &Core<E>) {
        self.started = core.starts_begun();
        self.began = true;
        self.dirty = true;
        self.reinstate_all();
        if self.has_hook(Phase::Starting) {
            self.hook = Some(Phase::Starting);
        } else {
            self.end_start(core, Ok(()));
        }
    }

    fn end_start(&mut self, core: &Core<E>, result: Result<(), Error>) {
        match &result {
            Ok(()) => core.end_start(),
            Err(error) => {
                self.extras().doomed = core.fail(error.clone());
                core.turn_away();
            }
        }
        self.open = result.is_ok();
        self.dirty = true;
        core.tell(match &result {
            Ok(()) => IncidentKind::RecorderStarted,
            Err(error) => IncidentKind::RecorderStartFailed { error: error.clone() },
        });
        answer_starts(core, &result);
        if result.is_err() && self.has_hook(Phase::Stopped) {
            // Whatever a failed start has opened is to be closed, too.
            self.hook = Some(Phase::Stopped);
        }
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

    /// Ends the stop of a recorder that was idle, on the thread that removes it; false, and nothing done, if that takes a turn.
    pub(crate) fn stop_idle(&mut self, core: &Core<E>, consumer: &mut Consumer<'_, E>) -> bool {
        let hooks = self.hook.is_some() || self.began && self.has_hook(Phase::Stopped);
        let owes = self.owes.answers || self.owes.room;
        if self.dirty || hooks || owes || self.is_start_due(core) {
            return false;
        }
        self.end_stop(core, Ok(()));
        // Idle again, or the worker would wait for its memory for ever. Whoever asks for something now is answered when the mailbox is shut.
        while consumer.rest() == Rest::Busy && consumer.take_kick() {}
        true
    }

    fn end_stop(&mut self, core: &Core<E>, result: Result<(), Error>) {
        if !core.end_stop(&result) {
            // After a failed start the recorder stays failed, with the start's error.
            return;
        }
        self.open = false;
        self.dirty = true;
        core.tell(match &result {
            Ok(()) => IncidentKind::RecorderStopped { accounts: core.accounts_now() },
            Err(error) => IncidentKind::RecorderStopFailed { error: error.clone() },
        });
        match result {
            Err(error) => self.extras().stop_error = Some(error),
            Ok(()) => self.extras.iter_mut().for_each(|extras| extras.stop_error = None),
        }
    }

    /// Drops what was accepted for a start that failed, undispatched and counted; not what came for a later start.
    fn discard(&mut self, core: &Core<E>, consumer: &mut Consumer<'_, E>) -> Drained {
        while let Some(extras) = self.extras.as_mut().filter(|extras| extras.doomed > 0) {
            let left = extras.doomed.saturating_sub(consumer.settled());
            if left == 0 {
                extras.doomed = 0;
                break;
            }
            let count = consumer.run(limits::TURN_EVENTS.min(left)).len() as u64;
            if count == 0 {
                return Drained::Empty;
            }
            core.calls.at(Call::EventDrop);
            let finished = consumer.finish(count);
            core.calls.at(Call::Commands);
            if finished.is_err() {
                return Drained::Abandoned;
            }
            core.count_discarded(count);
        }
        Drained::Empty
    }

    /// The future of a hook, and how long it may take.
    pub(crate) fn make_hook(&mut self, phase: Phase) -> Option<(HookFuture, Duration)> {
        let hooks = &mut self.extras.as_mut()?.hooks;
        Some((hooks.make(phase)?, hooks.deadline()))
    }

    fn drain(&mut self, core: &Core<E>, consumer: &mut Consumer<'_, E>, desk: &mut Desk) -> Drained {
        if core.queue.is_abandoned() {
            return Drained::Abandoned;
        }
        let started = desk.now;
        let (mut done, mut timed) = (0, 0);
        loop {
            let mut limit = u64::from(self.chunk);
            if is_dynamic::<E>() {
                // An event may be the first of its metric, which was posted before it.
                limit = consumer.run(limit).len() as u64;
                if consumer.is_kicked() {
                    self.obey_changes(core, desk.now);
                }
            }
            let run = consumer.run(limit);
            let count = run.len() as u64;
            if count == 0 {
                return Drained::Empty;
            }
            let context = Context::new(desk.now, self.version + 1);
            if self.extras.as_ref().is_none_or(|extras| extras.observers.is_empty()) {
                let mut scratch = Scratch::default();
                for (index, slot) in self.slots.iter_mut().enumerate() {
                    core.calls.at(Call::Metric(index));
                    slot.handle(&run, &mut scratch, &context);
                }
            } else {
                self.dispatch_observed(core, &run, &context);
            }
            core.calls.at(Call::EventDrop);
            let finished = consumer.finish(count);
            core.calls.at(Call::Commands);
            if finished.is_err() {
                return Drained::Abandoned;
            }
            self.dispatched += count;
            self.dirty = true;
            if self.owes.room {
                make_room(core, count);
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
    fn dispatch_observed(&mut self, core: &Core<E>, run: &Run<'_, E>, context: &Context) {
        let Some(extras) = &mut self.extras else { return };
        for (index, event) in run.iter().enumerate() {
            let one = run.only(index);
            let sequence = self.dispatched + index as u64 + 1;
            for (number, slot) in self.slots.iter_mut().enumerate() {
                let before = slot.tally.accepted;
                core.calls.at(Call::Metric(number));
                slot.handle(&one, &mut Scratch::default(), context);
                if slot.tally.accepted != before {
                    core.calls.at(Call::Observer);
                    extras.observers.tell(&Change::new(slot, event, sequence));
                }
            }
        }
    }

    fn obey(&mut self, core: &Core<E>, now: Timestamp) {
        let (commands, owes) = core.mailbox().take();
        self.owes = owes;
        for command in commands {
            match command {
                Command::Observe { id, observer, done } => {
                    self.extras().observers.add(id, observer);
                    done.complete(Ok(()));
                }
                Command::Unobserve { id, done } => {
                    let removed = self.extras.as_mut().and_then(|extras| extras.observers.remove(id));
                    // If it was quarantined, one fewer is.
                    self.dirty |= removed.is_some();
                    let unknown = || Quarantined::Observer(id).unknown();
                    done.complete(removed.as_ref().map(|_| ()).ok_or_else(unknown));
                    crate::queue::drop_quietly(removed);
                }
                Command::Unsubscribe { id } => {
                    let removed = self.extras.as_mut().and_then(|extras| extras.observers.remove(id));
                    crate::queue::drop_quietly(removed);
                }
                Command::Reinstate { whom, done } => done.complete(self.reinstate(&whom)),
                change @ (Command::Register { .. } | Command::Replace { .. } | Command::Remove { .. }) => {
                    self.change(core, change, now);
                }
                Command::Start { done, asked } => self.start(core, done, asked),
                Command::HookDone { result } => self.extras().hook_ended = Some(result),
                // Noted by the mailbox itself.
                Command::Flush { .. } | Command::Stop { .. } | Command::Room { .. } => {}
            }
        }
    }

    fn reinstate(&mut self, whom: &Quarantined) -> Result<(), Error> {
        let found = match whom {
            Quarantined::Metric(name) => {
                let slot = self.slots.iter_mut().find(|slot| slot.descriptor().name() == &**name);
                slot.map(|slot| slot.reinstate(self.version + 1)).is_some()
            }
            Quarantined::Observer(id) => {
                self.extras.as_mut().is_some_and(|extras| extras.observers.reinstate(*id))
            }
        };
        self.dirty |= found;
        if found { Ok(()) } else { Err(whom.unknown()) }
    }

    /// A start lifts every quarantine: whoever starts again asks for all of it.
    fn reinstate_all(&mut self) {
        let cut = self.version + 1;
        self.slots.iter_mut().for_each(|slot| slot.reinstate(cut));
        self.extras.iter_mut().for_each(|extras| extras.observers.reinstate_all());
    }

    /// Ends the flushes whose events are settled, and the stop if everything is.
    fn answer(&mut self, core: &Core<E>, consumer: &mut Consumer<'_, E>, now: Timestamp) {
        let settled = consumer.settled();
        // The door before the number: behind a shut door the number is final.
        let closed = core.queue.is_closed();
        let all = settled == core.queue.counts().accepted;
        if self.owes.room && (all || closed) {
            // One who was told may have gone away without using the place. So nobody is left waiting once nothing is pending (no
            // turn would follow to tell them) or the door is shut (they wait in vain).
            make_room(core, u64::MAX);
            self.owes.room = false;
        }
        if closed && all && core.state.get() == RecorderState::Stopping {
            if self.began && self.has_hook(Phase::Stopped) {
                self.hook = Some(Phase::Stopped);
            } else {
                self.end_stop(core, Ok(()));
            }
        }
        let stopped = all && self.hook.is_none();
        if self.owes.answers && core.mailbox().is_due(settled, stopped) {
            self.give_answers(core, settled, stopped, now);
        }
        let over = matches!(core.state.get(), RecorderState::Stopped | RecorderState::Failed);
        if self.owes.answers && stopped && over {
            // Starts that came while it was stopping.
            self.begin_start_if_owed(core);
        }
    }

    fn give_answers(&mut self, core: &Core<E>, settled: u64, stopped: bool, now: Timestamp) {
        self.publish(core, now);
        let (flushes, stops, owes) = core.mailbox().take_due(settled, stopped);
        self.owes = owes;
        for done in flushes {
            // Given up meanwhile: then nothing is published any more, and what the last cut shows decides.
            done.complete(if self.dirty { core.flushed_or_lost() } else { Ok(()) });
        }
        if !stops.is_empty() {
            let error = self.extras.as_mut().and_then(|extras| extras.stop_error.take());
            let result = error.map_or(Ok(()), Err);
            stops.into_iter().for_each(|done| done.complete(result.clone()));
        }
    }

    fn begin_start_if_owed(&mut self, core: &Core<E>) {
        let starts = core.mailbox().take_restarts();
        if starts.is_empty() {
            return;
        }
        match core.begin_start() {
            Ok(_) => {
                starts.into_iter().for_each(|done| owe_start(core, done, Asked::Joined));
                self.run_start(core);
            }
            Err(error) => starts.into_iter().for_each(|done| done.complete(Err(error.clone()))),
        }
    }

    /// Joins the start under way or due, or waits for the stop under way.
    fn start(&mut self, core: &Core<E>, done: Completer, asked: Asked) {
        let starting = core.starts_begun() != self.started || self.hook == Some(Phase::Starting);
        let state = core.state.get();
        let asked = match state {
            // The stop is over, and somebody else has started it again.
            RecorderState::Starting | RecorderState::Running => Asked::Joined,
            _ => asked,
        };
        if asked == Asked::Joined && !starting {
            // It is over, whatever came after it.
            let failed = state == RecorderState::Failed;
            return done.complete(core.last_error().filter(|_| failed).map_or(Ok(()), Err));
        }
        self.owes.answers = true;
        owe_start(core, done, asked);
    }

    /// Makes what has changed visible.
    pub(crate) fn publish(&mut self, core: &Core<E>, now: Timestamp) {
        self.told = false;
        if !self.dirty || core.queue.is_abandoned() {
            return;
        }
        // What changes without a turn is its state alone, and the next cut is written from what metrics have.
        self.wake(core);
        self.expire(core, now);
        if self.dirty {
            let rested = self.spare.is_none();
            let next = self.next_cut(core, now);
            let last = core.cut.replace(next);
            self.note_bytes(core, &last, rested);
            self.spare = Some(last);
        }
        report::quarantined(core, &mut self.slots);
        let (now, what) = (self.published_at, (self.version, self.dispatched));
        let extras = &mut self.extras;
        report::published(core, move || &mut extras.get_or_insert_default().inspected, now, what);
    }

    /// Notes what the actor has in memory, its spare cut included: the one of before the rest, then one that is like the published.
    fn note_bytes(&mut self, core: &Core<E>, spare: &Cut, rested: bool) {
        if rested {
            core.memory.note(self.heap_bytes() + memory::cut_bytes(spare), Beside::Nothing);
        } else if self.rested {
            core.memory.note(self.heap_bytes(), Beside::Spare);
        }
        self.rested = rested;
    }

    /// The state as it is now, to be swapped in.
    fn next_cut(&mut self, core: &Core<E>, now: Timestamp) -> Shared<Cut> {
        self.dirty = false;
        // Whatever the clock does, a later cut is not an earlier one.
        let now = now.max(self.published_at);
        self.published_at = now;
        let mut spare = self.spare.take();
        let composition = self.composition();
        let same = |cut: &&mut Cut| cut.composition == composition;
        let next = match spare.as_mut().and_then(Shared::get_mut).filter(same) {
            Some(cut) => {
                self.refresh(core, cut, now);
                spare
            }
            None => None,
        };
        // Some reader still holds the old one, it has other metrics, or there is none yet: a new one, written from scratch.
        next.unwrap_or_else(|| {
            let mut cut = self.first_cut(core.identity_arc(), None, now);
            self.refresh(core, &mut cut, now);
            Shared::new(cut)
        })
    }

    fn refresh(&mut self, core: &Core<E>, cut: &mut Cut, now: Timestamp) {
        let since = cut.version;
        self.version += 1;
        cut.version = self.version;
        cut.sequence = self.dispatched;
        cut.taken_at = now;
        for (index, (slot, metric)) in self.slots.iter_mut().zip(cut.metrics.own()).enumerate() {
            if slot.changed_at > since {
                core.calls.at(Call::Snapshot(index));
                let series = metric.family.len();
                slot.refresh(&mut metric.family, since, self.version);
                if metric.family.len() != series || !metric.family.descriptor().kind().is_flat() {
                    metric.metric_bytes = slot.heap_bytes();
                    metric.spared_bytes = u32::try_from(slot.spared_bytes()).unwrap_or(u32::MAX);
                }
            }
            metric.tally = slot.tally;
            metric.quarantined = slot.quarantined;
        }
        core.calls.at(Call::Commands);
        cut.quarantined_observers = self.extras.as_ref().map_or(0, |extras| extras.observers.quarantined());
    }

    /// See [`Hosted::fetch`](crate::recorder::hosted::Hosted::fetch); the steps after that of the recorder itself.
    pub(crate) fn fetch(&self, consumer: &Consumer<'_, E>, step: usize) {
        let Some(beyond) = step.checked_sub(1) else {
            fetch_all(&*self.slots);
            consumer.fetch();
            return self.spare.iter().for_each(|spare| fetch_all(&**spare));
        };
        self.slots.iter().for_each(|slot| slot.fetch(beyond));
        if let Some(spare) = &self.spare {
            match beyond.checked_sub(1) {
                None => fetch_all(&*spare.metrics),
                Some(beyond) => spare.metrics.iter().for_each(|metric| metric.family.fetch(beyond)),
            }
        }
    }

    /// Lets metrics give up what is in the published cut as well.
    fn rest(&mut self, core: &Core<E>) {
        let cut = core.cut.load();
        if self.dirty || self.resting || cut.composition != self.composition() {
            return;
        }
        for (slot, shown) in self.slots.iter_mut().zip(&*cut.metrics) {
            self.resting |= slot.rest(&shown.family);
        }
    }

    /// Gives metrics back what they have given up.
    #[inline]
    fn wake(&mut self, core: &Core<E>) {
        if self.resting {
            self.wake_metrics(core);
        }
    }

    #[cold]
    fn wake_metrics(&mut self, core: &Core<E>) {
        self.resting = false;
        let cut = core.cut.load();
        for (slot, shown) in self.slots.iter_mut().zip(&*cut.metrics) {
            slot.wake(&shown.family, cut.version);
        }
    }

    /// Gives up the memory that only speed needs, if the last turn was before `before`; false if it was not.
    pub(crate) fn release(
        &mut self,
        core: &Core<E>,
        mut consumer: Consumer<'_, E>,
        before: Timestamp,
    ) -> bool {
        if self.last_turn > before {
            // By a clock that was set back since, it has been idle from now on.
            self.last_turn = self.last_turn.min(before.saturating_add(limits::RELEASE_AFTER));
            return false;
        }
        // A loss under way is looked at again until it is over.
        self.fed = core.look_when_idle(before);
        self.spare = None;
        self.rest(core);
        core.memory.note(self.heap_bytes(), if self.resting { Beside::Less } else { Beside::Nothing });
        core.mailbox().release();
        consumer.release();
        !self.fed
    }
}

/// Whether events name their metrics, which come with them. A constant of each event type.
fn is_dynamic<E: MetricEvent>() -> bool {
    TypeId::of::<E>() == TypeId::of::<DynamicEvent>()
}

fn answer_starts<E: MetricEvent>(core: &Core<E>, result: &Result<(), Error>) {
    let starts = core.mailbox().take_starts();
    starts.into_iter().for_each(|done| done.complete(result.clone()));
}

fn owe_start<E: MetricEvent>(core: &Core<E>, done: Completer, asked: Asked) {
    let mut spent = Spent::new();
    let (unheard, open) = {
        let mut mailbox = core.mailbox();
        (mailbox.owe_start(done, asked, &mut spent).err(), mailbox.is_open())
    };
    drop(spent);
    if let Some(done) = unheard {
        done.complete(Err(if open { too_many_waiting() } else { core.gone() }));
    }
}

/// Tells as many waiting producers as places came free.
fn make_room<E: MetricEvent>(core: &Core<E>, places: u64) {
    let told = core.mailbox().take_room(places);
    told.into_iter().for_each(|done| done.complete(Ok(())));
}

/// How draining ended.
enum Drained {
    Empty,
    TurnOver,
    Abandoned,
}

/// A metric before its first event.
pub(crate) fn first_shown<E: MetricEvent>(slot: &Slot<E>) -> MetricCut {
    let (tally, quarantined) = (slot.tally, slot.quarantined);
    let (family, metric_bytes) = (slot.at_first(), slot.own_bytes());
    MetricCut { family, tally, quarantined, removed: false, spared_bytes: 0, metric_bytes }
}

/// The length of the next chunk: doubles while chunks are quick, falls back to one event after a slow one.
fn next_chunk(chunk: u8, took: Duration) -> u8 {
    if took <= QUICK_CHUNK {
        (chunk * 2).min(MOST_IN_CHUNK)
    } else if took >= limits::TURN_TIME {
        1
    } else {
        chunk
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
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
