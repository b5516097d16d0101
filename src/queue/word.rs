//! The reservation word: one atomic that says how many events were accepted, and in which condition the door is.
//!
//! ```text
//!   63 .............................. 4   3     2     1     0
//!   position (events ever accepted)     LANE  KICK  IDLE  CLOSED
//! ```
//!
//! | bit | set by | cleared by | while it is set |
//! |---|---|---|---|
//! | CLOSED | `close` | `reopen` | no event is accepted: closing and accepting are decided by one read-modify-write |
//! | IDLE | the consumer, when everything accepted is committed | the producer or kicker that will schedule the recorder | the recorder is in no ready list, and nobody but a clearer may put it there |
//! | KICK | `kick`, `close` | the consumer, at the start of a turn | there is something to do besides events, so the consumer cannot go idle |
//! | LANE | the consumer, when it retires the memory of an idle recorder | likewise | events go to the second of the two lanes |
//!
//! Every transition is a compare-exchange on the whole word with acquire and release. What a winner's exchange makes visible:
//! the consumer's `rest` releases all its reads of slots and lanes to the next reservation; a reservation that clears
//! IDLE releases the event to the consumer through the ready list; `kick` releases the command that was queued before it.
//! The model `hand_off` fails if `rest` is a plain store (an event is stranded), if `close` is decided apart from the
//! reservation (an event is accepted and forgotten), and if `kick` leaves the word alone when it is not idle (a flush is stranded).

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;
use crate::sync::seeded;

const CLOSED: u64 = 1;
const IDLE: u64 = 1 << 1;
const KICK: u64 = 1 << 2;
const LANE: u64 = 1 << 3;
const SHIFT: u32 = 4;
const ONE: u64 = 1 << SHIFT;

/// One reading of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading(u64);

impl Reading {
    /// The same with the door shut, if `shut` is 1 and not 0.
    #[inline(always)]
    pub(crate) const fn shut_if(self, shut: u64) -> Self {
        Self(self.0 | (CLOSED * shut))
    }

    #[inline(always)]
    pub(crate) fn position(self) -> u64 {
        self.0 >> SHIFT
    }

    #[inline(always)]
    pub(crate) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    #[inline(always)]
    pub(crate) fn is_idle(self) -> bool {
        self.0 & IDLE != 0
    }

    #[inline(always)]
    pub(crate) fn is_kicked(self) -> bool {
        self.0 & KICK != 0
    }

    #[inline(always)]
    pub(crate) fn lane(self) -> usize {
        ((self.0 & LANE) / LANE) as usize
    }
}

/// The word; see the module page for its bits.
#[derive(Debug)]
pub(crate) struct Word(AtomicU64);

impl Word {
    /// Open, idle, nothing accepted.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(IDLE))
    }

    #[inline(always)]
    pub(crate) fn read(&self) -> Reading {
        Reading(self.0.load(Ordering::Acquire))
    }

    /// Takes the position after `seen` and clears IDLE. `Err` is what stands there now; it may fail without reason.
    #[inline(always)]
    pub(crate) fn reserve(&self, seen: Reading) -> Result<(), Reading> {
        self.reserve_many(seen, 1)
    }

    /// Takes `count` positions after `seen` and clears IDLE.
    #[inline(always)]
    pub(crate) fn reserve_many(&self, seen: Reading, count: u64) -> Result<(), Reading> {
        let next = (seen.0 + ONE * count) & !IDLE;
        if seeded("close_apart_from_reservation") {
            // Seeded: the closed bit was looked at in `seen`, and the position is taken whether or not it stands there now.
            const APART: u64 = CLOSED | KICK;
            let now = self.read();
            let next = next & !APART | now.0 & APART;
            if (now.0 ^ seen.0) & !APART != 0 {
                return Err(now);
            }
            return self
                .0
                .compare_exchange(now.0, next, Ordering::AcqRel, Ordering::Acquire)
                .map(|_| ())
                .map_err(Reading);
        }
        self.0
            .compare_exchange_weak(seen.0, next, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(Reading)
    }

    /// Shuts the door; true if it was open. `.1` is true if the caller must now schedule the recorder.
    pub(crate) fn close(&self) -> (bool, bool) {
        let old = self.update(|word| (word | CLOSED | KICK) & !IDLE);
        (!old.is_closed(), old.is_idle())
    }

    /// Opens the door again; only sensible when everything accepted before is settled.
    pub(crate) fn reopen(&self) {
        if seeded("reopen_by_store") {
            // Seeded: a kick between the look and the store is lost.
            self.0.store(self.read().0 & !CLOSED, Ordering::Release);
            return;
        }
        self.update(|word| word & !CLOSED);
    }

    /// Makes sure that the consumer takes another look after this call; true if the caller must schedule the recorder.
    pub(crate) fn kick(&self) -> bool {
        // Seeded: a consumer that is just about to rest is not told.
        if seeded("kick_only_the_idle") && !self.read().is_idle() {
            return false;
        }
        self.update(|word| (word | KICK) & !IDLE).is_idle()
    }

    /// The consumer takes note of a kick: what was queued before it is visible now.
    pub(crate) fn take_kick(&self) -> bool {
        self.read().is_kicked() && self.update(|word| word & !KICK).is_kicked()
    }

    /// The consumer goes idle, if `head` is still the last position and nobody kicked. `Err` is what stands there instead.
    pub(crate) fn rest(&self, head: u64) -> Result<(), Reading> {
        let mut seen = self.read();
        loop {
            // Seeded: without the look at KICK, whoever kicked is not told before the next event.
            if seen.position() != head || seen.is_kicked() && !seeded("rest_over_a_kick") {
                return Err(seen);
            }
            if seeded("rest_by_store") {
                // Seeded: what came between the look and the store is overwritten.
                self.0.fetch_or(IDLE, Ordering::AcqRel);
                return Ok(());
            }
            match self.0.compare_exchange(seen.0, seen.0 | IDLE, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => seen = Reading(now),
            }
        }
    }

    /// The consumer sends later events to the other lane, if the recorder is idle at `head`. From a success on, no
    /// producer can reach the lane used before: everything reserved in it was written, read and committed.
    pub(crate) fn switch_lane(&self, head: u64) -> bool {
        let seen = self.read();
        if seen.position() != head || !seen.is_idle() {
            return false;
        }
        if seeded("switch_unseen") {
            // Seeded: a position taken since the look is in the lane that will be freed.
            self.0.fetch_xor(LANE, Ordering::AcqRel);
            return true;
        }
        self.0.compare_exchange(seen.0, seen.0 ^ LANE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn update(&self, change: impl Fn(u64) -> u64) -> Reading {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            match self.0.compare_exchange_weak(seen, change(seen), Ordering::AcqRel, Ordering::Acquire) {
                Ok(old) => return Reading(old),
                Err(now) => seen = now,
            }
        }
    }
}
