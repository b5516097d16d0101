//! The hand-off: events from many producers to one consumer, and back to nobody; the ready list; the publication cell.
//!
//! [`HandOff`] is what a recorder is built on. Its producer half takes events and kicks; its consumer half, the *seat*, is
//! claimed by whoever drains, together with the actor that sits in it.

pub(crate) mod locked;
pub(crate) mod published;
pub(crate) mod ready;
pub(crate) mod ring;
pub(crate) mod run;
mod segment;
#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests;
pub(crate) mod word;

use crate::queue::locked::Locked;
use crate::queue::ring::Abandoned;
use crate::queue::ring::Commit;
use crate::queue::ring::Cursor;
use crate::queue::ring::Door;
use crate::queue::ring::Refused;
use crate::queue::ring::Ring;
use crate::queue::run::Run;
use crate::sync::Exclusive;
use crate::sync::assert_unlocked;
use crate::sync::fetch;
use crate::sync::fork::Birth;
use std::collections::VecDeque;
use std::fmt;

/// Which queue stands between the producers and the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The ring: a full queue refuses the new event.
    Ring,
    /// The lock: a full queue refuses the new event. The ring's twin in tests.
    #[cfg_attr(not(test), allow(dead_code, reason = "the twin is only chosen by tests"))]
    LockedNewest,
    /// The lock: a full queue pushes the oldest waiting event out.
    LockedOldest,
}

/// What a successful hand-off leaves for its caller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Handed {
    /// Nothing: the recorder is on its way to be drained.
    Done,
    /// The recorder was idle: the caller puts it on the ready list.
    Schedule,
}

/// The state of the consumer after it found nothing more to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The queue is idle; the next event or kick schedules the recorder.
    Idle,
    /// Something came meanwhile: look again.
    Busy,
    /// A position is reserved and its event not written yet: come back later.
    Stalled,
}

/// Events from many producers to one consumer, and the seat of that consumer.
///
/// In this order in memory: what producers write, what stands `between`, what the consumer writes. See [`Door`].
#[repr(C)]
pub(crate) struct HandOff<E, A, B = Gap> {
    door: Door<E>,
    /// The queue under a lock, in the place of the ring; that stays empty then.
    locked: Option<Box<Locked<E>>>,
    between: B,
    commit: Commit,
    seat: Exclusive<Seat<E, A>>,
}

/// Keeps the halves of a queue apart where nobody has other words to put between them.
///
/// With the words of either half that are seldom written these are 128 bytes: x86 fetches lines in pairs, and some ARM cores have lines of that size.
pub(crate) struct Gap(#[allow(dead_code, reason = "it is there to be there")] [u64; GAP / 8]);

/// How many bytes there are to be between the halves of a queue.
pub(crate) const GAP: usize = 96;

impl Default for Gap {
    fn default() -> Self {
        Self([0; GAP / 8])
    }
}

/// The queue that events go through.
enum Queue<'q, E> {
    Ring(Ring<'q, E>),
    Locked(&'q Locked<E>),
}

struct Seat<E, A> {
    cursor: Cursor<E>,
    /// What the consumer has taken out of a queue under a lock, if it is one.
    #[allow(clippy::box_collection, reason = "one word, because most queues are no such")]
    hand: Option<Box<VecDeque<E>>>,
    actor: A,
}

impl<E, A> HandOff<E, A> {
    pub(crate) fn new(kind: Kind, capacity: u64, actor: A) -> Self {
        Self::around(Gap::default(), kind, capacity, actor)
    }
}

impl<E, A, B> HandOff<E, A, B> {
    /// A queue that has something between its halves: seldom written, and [`GAP`] bytes of it at least.
    pub(crate) fn around(between: B, kind: Kind, capacity: u64, actor: A) -> Self {
        const { assert!(size_of::<B>() >= GAP, "the halves of a queue would share cache lines") };
        let locked = match kind {
            Kind::Ring => None,
            Kind::LockedNewest => Some(Box::new(Locked::new(capacity, false))),
            Kind::LockedOldest => Some(Box::new(Locked::new(capacity, true))),
        };
        let door = Door::new(capacity);
        let seat = Exclusive::new(Seat { cursor: Cursor::at(&door), hand: None, actor });
        Self { door, locked, between, commit: Commit::new(), seat }
    }

    /// What stands between the halves.
    #[inline(always)]
    pub(crate) fn between(&self) -> &B {
        &self.between
    }

    #[inline(always)]
    fn queue(&self) -> Queue<'_, E> {
        match &self.locked {
            None => Queue::Ring(Ring::of(&self.door, &self.commit)),
            Some(locked) => Queue::Locked(locked),
        }
    }

    /// Whether this is a child of the process that the queue was made in: then its door is shut, for every event.
    ///
    /// No reason of its own for a refusal: with a third one the compiler passes every event by memory.
    pub(crate) fn is_forked(&self) -> bool {
        self.door.born().is_elsewhere()
    }

    /// Hands one event over, or gives it back with the reason.
    #[inline(always)]
    pub(crate) fn push(&self, event: E) -> Result<Handed, (Refused, E)> {
        match &self.locked {
            None => Ring::of(&self.door, &self.commit).push(event),
            // As what a refusal gives back, which is built on this branch alone: the event itself, or a tuple of it alone, would be put into memory for both.
            Some(locked) => push_locked(locked, (Refused::Closed, event), self.door.born()),
        }
    }

    /// The ring itself: for tests of producers that are suspended half-way.
    #[cfg(all(test, not(mvx_loom)))]
    pub(crate) fn ring(&self) -> Ring<'_, E> {
        match self.queue() {
            Queue::Ring(ring) => ring,
            Queue::Locked(_) => unreachable!("a push under a lock has no half"),
        }
    }

    /// Hands over the events at the front that there is room for: how many, what is left to do, and why it stopped short.
    pub(crate) fn push_many(&self, events: &mut Vec<E>) -> (usize, Handed, Option<Refused>) {
        if self.door.born().is_elsewhere() {
            return (0, Handed::Done, (!events.is_empty()).then_some(Refused::Closed));
        }
        match self.queue() {
            Queue::Ring(ring) => {
                let (count, schedule, refused) = ring.push_many(events);
                (count, handed(schedule), refused)
            }
            Queue::Locked(locked) => push_many_locked(locked, events),
        }
    }

    /// Shuts the door. `.0` is true if it was open.
    pub(crate) fn close(&self) -> (bool, Handed) {
        let (was_open, schedule) = match self.queue() {
            Queue::Ring(ring) => ring.word().close(),
            Queue::Locked(locked) => locked.close(),
        };
        (was_open, handed(schedule))
    }

    /// Opens the door again, when everything accepted before is settled.
    pub(crate) fn reopen(&self) {
        match self.queue() {
            Queue::Ring(ring) => ring.word().reopen(),
            Queue::Locked(locked) => locked.reopen(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self.queue() {
            Queue::Ring(ring) => ring.word().read().is_closed(),
            Queue::Locked(locked) => locked.is_closed(),
        }
    }

    /// Makes sure that the consumer takes another look after this call.
    pub(crate) fn kick(&self) -> Handed {
        handed(match self.queue() {
            Queue::Ring(ring) => ring.word().kick(),
            Queue::Locked(locked) => locked.kick(),
        })
    }

    /// Accepted, committed and evicted events. The committed are read first, so they never exceed the accepted.
    pub(crate) fn counts(&self) -> Counts {
        match self.queue() {
            Queue::Ring(ring) => {
                let committed = ring.committed();
                Counts { accepted: ring.accepted(), committed, evicted: 0 }
            }
            Queue::Locked(locked) => {
                // A child reads zeros if it was forked off in the middle of a hand-off: it has not got the thread that would end it.
                let forked = self.door.born().is_elsewhere();
                let counts = if forked { locked.try_counts() } else { Some(locked.counts()) };
                let (accepted, committed, evicted) = counts.unwrap_or_default();
                Counts { accepted, committed, evicted }
            }
        }
    }

    /// Asks for the memory that [`counts`](Self::counts) reads of a ring.
    pub(crate) fn fetch_counts(&self) {
        fetch(&self.door);
        fetch(&self.commit);
    }

    /// Gives up everything not committed, for ever: how much was committed, or `None` if that was done before.
    pub(crate) fn abandon(&self) -> Option<u64> {
        match self.queue() {
            Queue::Ring(ring) => ring.abandon(),
            Queue::Locked(locked) => locked.abandon(),
        }
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        match self.queue() {
            Queue::Ring(ring) => ring.is_abandoned(),
            Queue::Locked(locked) => locked.is_abandoned(),
        }
    }

    pub(crate) fn capacity(&self) -> u64 {
        match self.queue() {
            Queue::Ring(ring) => ring.capacity(),
            Queue::Locked(locked) => locked.capacity(),
        }
    }

    /// Bytes of slots now allocated.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self.queue() {
            Queue::Ring(_) => self.door.heap_bytes(),
            Queue::Locked(locked) => locked.heap_bytes(),
        }
    }

    /// What a queue under a lock takes beside: the lock's box, and what the consumer takes events out into.
    pub(crate) fn box_bytes(&self) -> usize {
        self.locked.as_ref().map_or(0, |locked| size_of_val(&**locked) + size_of::<VecDeque<E>>())
    }

    /// Takes the consumer's seat, if nobody sits in it, and shows what it sees to `shift`.
    pub(crate) fn sit<R>(&self, shift: impl FnOnce(Consumer<'_, E>, &mut A) -> R) -> Option<R> {
        let mut seat = self.seat.claim()?;
        let Seat { cursor, hand, actor } = &mut *seat;
        let consumer = match self.queue() {
            Queue::Ring(ring) => Consumer::Ring(ring, cursor),
            Queue::Locked(locked) => Consumer::Locked(locked, hand.get_or_insert_default()),
        };
        Some(shift(consumer, actor))
    }
}

/// Where a queue's events stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) committed: u64,
    pub(crate) evicted: u64,
}

/// The consumer's side of the queue, for as long as it sits.
pub(crate) enum Consumer<'a, E> {
    Ring(Ring<'a, E>, &'a mut Cursor<E>),
    Locked(&'a Locked<E>, &'a mut VecDeque<E>),
}

impl<E> Consumer<'_, E> {
    /// Takes note of a kick; what was queued before it is visible now.
    pub(crate) fn take_kick(&self) -> bool {
        match self {
            Self::Ring(ring, _) => ring.word().take_kick(),
            Self::Locked(locked, _) => locked.take_kick(),
        }
    }

    /// Whether there is a kick that nobody has taken note of. Every kick that its thread gave before it queued an event is seen with the event.
    pub(crate) fn is_kicked(&self) -> bool {
        match self {
            Self::Ring(ring, _) => ring.word().read().is_kicked(),
            Self::Locked(locked, _) => locked.is_kicked(),
        }
    }

    /// Up to `limit` events that stand ready, oldest first.
    pub(crate) fn run(&mut self, limit: u64) -> Run<'_, E> {
        match self {
            Self::Ring(ring, cursor) => ring.run(cursor, limit),
            Self::Locked(locked, hand) => locked.run(hand, limit),
        }
    }

    /// Ends the first `count` events of the last run: drops them and commits.
    pub(crate) fn finish(&mut self, count: u64) -> Result<(), Abandoned> {
        match self {
            Self::Ring(ring, cursor) => ring.finish(cursor, count),
            Self::Locked(locked, hand) => locked.finish(hand, count),
        }
    }

    /// Asks for the memory of the next event.
    pub(crate) fn fetch(&self) {
        if let Self::Ring(ring, cursor) = self {
            ring.fetch(cursor);
        }
    }

    /// How many events, from the first on, have met their fate: committed, or evicted. A flush whose ticket is the number
    /// accepted before it is over when this has reached the ticket.
    pub(crate) fn settled(&self) -> u64 {
        match self {
            Self::Ring(ring, _) => ring.committed(),
            Self::Locked(locked, _) => locked.settled(),
        }
    }

    /// Goes idle, if there is nothing more. After `Idle` another thread may take the seat: the caller must leave it.
    pub(crate) fn rest(&mut self) -> Rest {
        match self {
            Self::Ring(ring, cursor) => match ring.word().rest(ring.head(cursor)) {
                Ok(()) => Rest::Idle,
                Err(seen) if seen.is_kicked() => Rest::Busy,
                Err(_) if ring.is_ready(cursor) => Rest::Busy,
                Err(_) => Rest::Stalled,
            },
            Self::Locked(locked, _) if locked.rest() => Rest::Idle,
            Self::Locked(..) => Rest::Busy,
        }
    }

    /// Frees the memory of an idle queue; false if there is nothing to free.
    pub(crate) fn release(&mut self) -> bool {
        match self {
            Self::Ring(ring, cursor) => ring.release(cursor),
            Self::Locked(locked, hand) => locked.release(hand),
        }
    }
}

#[inline(always)]
fn handed(schedule: bool) -> Handed {
    if schedule { Handed::Schedule } else { Handed::Done }
}

#[inline(never)]
fn push_locked<E>(locked: &Locked<E>, closed: (Refused, E), born: &Birth) -> Result<Handed, (Refused, E)> {
    if born.is_elsewhere() {
        return Err(closed);
    }
    let pushed = locked.push(closed.1)?;
    if let Some(evicted) = pushed.evicted {
        drop_quietly(evicted);
    }
    Ok(handed(pushed.schedule))
}

fn push_many_locked<E>(locked: &Locked<E>, events: &mut Vec<E>) -> (usize, Handed, Option<Refused>) {
    let pushed = locked.push_many(events);
    for evicted in events.drain(..pushed.evicted) {
        drop_quietly(evicted);
    }
    (pushed.count, handed(pushed.schedule), pushed.refused)
}

/// Runs user code: what it panics with comes back, and no lock of ours is held meanwhile.
#[inline(always)]
pub(crate) fn call_user<T>(code: impl FnOnce() -> T) -> std::thread::Result<T> {
    assert_unlocked();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(code))
}

/// Drops a value whose destructor may panic: user code, which must end neither the worker nor a caller.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = call_user(|| drop(value)) {
        // The payload may panic when dropped, too. What that panic carries is leaked, or there would be no end to it.
        std::mem::forget(call_user(|| drop(payload)));
    }
}

impl<E, A, B> Drop for HandOff<E, A, B> {
    fn drop(&mut self) {
        let Some(seat) = self.seat.claim() else { return };
        // SAFETY: `&mut self`: both halves are this call's alone, and nobody comes after it.
        unsafe { Ring::of(&self.door, &self.commit).end(&seat.cursor) };
    }
}

impl<E, A, B> fmt::Debug for HandOff<E, A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandOff").field("counts", &self.counts()).field("capacity", &self.capacity()).finish()
    }
}
