//! The hand-off queue under a lock: serves `DropOldest`, and is the test twin of the ring.
//!
//! Every operation is one short critical section in which no user code runs. A producer that is suspended inside it delays the
//! others, which is why the ring is the default; evicting the oldest event under a lock-free ring would make every
//! producer a second consumer.

use crate::queue::ring::Abandoned;
use crate::queue::ring::Refused;
use crate::queue::run::Run;
use crate::sync::Mutex;
use crate::sync::seeded;
use std::collections::VecDeque;

pub(crate) struct Locked<E> {
    state: Mutex<State<E>>,
    capacity: u64,
    evicts: bool,
}

struct State<E> {
    waiting: VecDeque<E>,
    /// Events the consumer has taken out and not finished.
    taken: u64,
    accepted: u64,
    committed: u64,
    evicted: u64,
    /// `evicted` when the consumer last took events out: evictions since then hit events behind those.
    evicted_before_taken: u64,
    closed: bool,
    idle: bool,
    kicked: bool,
    abandoned: bool,
}

/// What a successful push did beside taking the event.
pub(crate) struct Pushed<E> {
    pub(crate) schedule: bool,
    /// The event that was pushed out, to be dropped by the caller, outside the lock.
    pub(crate) evicted: Option<E>,
}

/// What pushing many events at once did.
pub(crate) struct PushedMany {
    /// How many events were accepted.
    pub(crate) count: usize,
    pub(crate) schedule: bool,
    /// How many pushed-out events stand at the front of the caller's vector.
    pub(crate) evicted: usize,
    pub(crate) refused: Option<Refused>,
}

impl<E> Locked<E> {
    pub(crate) fn new(capacity: u64, evicts: bool) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            taken: 0,
            accepted: 0,
            committed: 0,
            evicted: 0,
            evicted_before_taken: 0,
            closed: false,
            idle: true,
            kicked: false,
            abandoned: false,
        };
        Self { state: Mutex::new(state), capacity, evicts }
    }

    /// Hands one event over. With every pending event in the consumer's hands there is nothing to evict, and the event is refused.
    pub(crate) fn push(&self, event: E) -> Result<Pushed<E>, (Refused, E)> {
        let mut state = self.state.lock();
        if state.closed {
            return Err((Refused::Closed, event));
        }
        let mut evicted = None;
        if state.waiting.len() as u64 + state.taken >= self.capacity {
            evicted = if self.evicts { state.waiting.pop_front() } else { None };
            if evicted.is_none() {
                return Err((Refused::Full, event));
            }
            state.evicted += u64::from(!seeded("evicted_counted_late"));
        }
        state.waiting.push_back(event);
        state.accepted += 1;
        if evicted.is_some() && seeded("evicted_counted_late") {
            // Seeded: between the two locks one event more is pending than there are places.
            let schedule = std::mem::take(&mut state.idle);
            drop(state);
            self.state.lock().evicted += 1;
            return Ok(Pushed { schedule, evicted });
        }
        Ok(Pushed { schedule: std::mem::take(&mut state.idle), evicted })
    }

    /// Hands over, under one lock, the events at the front that there is room for; evicting makes room for all of them,
    /// unless the consumer has every place in its hands.
    ///
    /// `events` keeps its allocation: what was pushed out stands at its front afterwards, to be dropped by the caller,
    /// outside the lock, and what was refused behind that.
    pub(crate) fn push_many(&self, events: &mut Vec<E>) -> PushedMany {
        let mut state = self.state.lock();
        if state.closed {
            return PushedMany { count: 0, schedule: false, evicted: 0, refused: Some(Refused::Closed) };
        }
        let places = self.capacity.saturating_sub(state.taken) as usize;
        let room = places.saturating_sub(state.waiting.len());
        let count = if self.evicts && places > 0 { events.len() } else { room.min(events.len()) };
        let refused = (count < events.len()).then_some(Refused::Full);
        // The oldest go: those that waited, then events of this very call. They are at most `count`, because those that
        // waited had places; so they find room in `events` itself.
        let evicted = count.saturating_sub(room);
        let of_this_call = evicted.saturating_sub(state.waiting.len());
        for event in &mut events[of_this_call..evicted] {
            if let Some(oldest) = state.waiting.pop_front() {
                state.waiting.push_back(std::mem::replace(event, oldest));
            }
        }
        state.waiting.extend(events.drain(evicted..count));
        state.accepted += count as u64;
        state.evicted += evicted as u64;
        let schedule = count > 0 && std::mem::take(&mut state.idle);
        PushedMany { count, schedule, evicted, refused }
    }

    pub(crate) fn close(&self) -> (bool, bool) {
        let mut state = self.state.lock();
        state.kicked = true;
        (!std::mem::replace(&mut state.closed, true), std::mem::take(&mut state.idle))
    }

    pub(crate) fn reopen(&self) {
        self.state.lock().closed = false;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(crate) fn kick(&self) -> bool {
        let mut state = self.state.lock();
        state.kicked = true;
        std::mem::take(&mut state.idle)
    }

    pub(crate) fn is_kicked(&self) -> bool {
        self.state.lock().kicked
    }

    pub(crate) fn take_kick(&self) -> bool {
        std::mem::take(&mut self.state.lock().kicked)
    }

    /// The consumer goes idle if nothing waits; false otherwise.
    pub(crate) fn rest(&self) -> bool {
        let mut state = self.state.lock();
        state.idle = state.waiting.is_empty() && state.taken == 0 && !state.kicked;
        state.idle
    }

    /// Accepted, committed and evicted events at one instant.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let state = self.state.lock();
        (state.accepted, state.committed, state.evicted)
    }

    /// The same, unless somebody is at work here.
    pub(crate) fn try_counts(&self) -> Option<(u64, u64, u64)> {
        let state = self.state.try_lock()?;
        Some((state.accepted, state.committed, state.evicted))
    }

    /// How many events, from the first on, were committed or evicted; only the consumer may ask.
    pub(crate) fn settled(&self) -> u64 {
        let state = self.state.lock();
        // What was evicted while the consumer holds events stands behind them and seals no prefix yet.
        state.committed + if state.taken == 0 { state.evicted } else { state.evicted_before_taken }
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.state.lock().abandoned
    }

    /// See [`Ring::abandon`](crate::queue::ring::Ring::abandon).
    pub(crate) fn abandon(&self) -> Option<u64> {
        let mut state = self.state.lock();
        (!std::mem::replace(&mut state.abandoned, true)).then_some(state.committed)
    }

    /// Takes up to `limit` events into `hand`, and shows what `hand` holds.
    pub(crate) fn run<'a>(&'a self, hand: &'a mut VecDeque<E>, limit: u64) -> Run<'a, E> {
        if hand.is_empty() {
            let mut state = self.state.lock();
            let count = state.waiting.len().min(limit as usize);
            hand.extend(state.waiting.drain(..count));
            state.taken = hand.len() as u64;
            state.evicted_before_taken = state.evicted;
        }
        let stretch = hand.make_contiguous();
        Run::of(&stretch[..stretch.len().min(limit as usize)])
    }

    /// Ends the first `count` events of `hand`.
    pub(crate) fn finish(&self, hand: &mut VecDeque<E>, count: u64) -> Result<(), Abandoned> {
        let count = count.min(hand.len() as u64);
        for event in hand.drain(..count as usize) {
            crate::queue::drop_quietly(event);
        }
        let mut state = self.state.lock();
        state.taken = hand.len() as u64;
        if state.abandoned {
            return Err(Abandoned);
        }
        state.committed += count;
        Ok(())
    }

    /// Frees the memory of an idle queue; false if there is nothing to free.
    pub(crate) fn release(&self, hand: &mut VecDeque<E>) -> bool {
        let mut state = self.state.lock();
        let idle = state.idle && state.waiting.is_empty() && hand.is_empty();
        if !idle || state.waiting.capacity() + hand.capacity() == 0 {
            return false;
        }
        state.waiting = VecDeque::new();
        *hand = VecDeque::new();
        true
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.state.lock().waiting.capacity() * size_of::<E>()
    }
}
