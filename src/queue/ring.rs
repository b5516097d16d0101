//! The hand-off queue: many producers, one consumer, segmented, exactly bounded, with memory proportional to its load.
//!
//! A producer takes a position by one compare-exchange on the [reservation word](crate::queue::word), writes the event into
//! the slot of that position and stamps the slot. The consumer reads stamped slots in the order of positions, and commits
//! what it has dispatched by one exchange on the commit word. `pending = position - committed` is at most `capacity`.
//!
//! ```text
//!   word:   position | LANE KICK IDLE CLOSED          commit: committed positions | ABANDONED
//!   lane 0: base, first block (8 slots), table of blocks (64 slots each)      one lane is in use, the other is empty
//!   lane 1: the same
//! ```
//!
//! **Slots.** Position `p` is slot `p - base` of the lane in use: the first eight in a small block, the rest in blocks of 64
//! that a table holds at `(number of the block) % (length of the table)`. Blocks and the table are allocated by the first producer
//! that needs them. A block that the consumer has emptied moves to the next free place ahead of the producers, so a queue
//! allocates nothing within its high-water mark.
//!
//! - S1 (safety) A slot is written by the one producer that reserved its position, and read by the consumer from its stamp to
//!   its commit.
//! - S2 A block is taken out of its place only when all its positions are dispatched, and *before* they are committed. A producer
//!   gets into the next lap's block of the same place only after that commit, because the table is longer than the capacity
//!   by at least a block: it can never meet a block that is about to be taken.
//! - S3 A lane's memory is freed only after the word was switched to the other lane at a moment when every position was
//!   committed: no producer that uses the old lane exists then, and later ones use the other.
//! - L1 (liveness) A consumer that meets a reserved slot without a stamp stops there; it never waits for the producer.
//! - L2 The queue is idle (IDLE set) or some thread owns the duty to schedule or drain it.
//!
//! The model `hand_off` checks S1 to S3 and L2; the test twin is [`Locked`](crate::queue::locked::Locked).

use crate::queue::Handed;
use crate::queue::drop_quietly;
use crate::queue::handed;
use crate::queue::run::Run;
use crate::queue::segment::BlockCell;
use crate::queue::segment::LARGE;
use crate::queue::segment::SMALL;
use crate::queue::segment::Slot;
use crate::queue::segment::block_bytes;
use crate::queue::segment::free_block;
use crate::queue::word::Reading;
use crate::queue::word::Word;
use crate::sync::atomic::AtomicPtr;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering;
use crate::sync::fetch_for_write;
use crate::sync::fork::Birth;
use crate::sync::pause;
use crate::sync::seeded;
use std::ptr;

const ABANDONED: u64 = 1;

/// Pauses of a producer that lost its exchange to another, and twice as many if it loses again: time for some hundred events
/// of the winner.
const PAUSES: u32 = 256;

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// The producers' half of a ring: what they write, and next to it what they read for every event.
///
/// Whoever owns both halves puts at least a pair of cache lines of other words between them: what the consumer writes then slows no producer. The words of
/// a half may share lines, as they are written by the same threads or by nobody; so a half needs no alignment, which would cost more memory than it takes.
#[repr(C)]
pub(crate) struct Door<E> {
    word: Word,
    /// A position below which there is room, as far as somebody has looked: spares producers the consumer's cache line.
    limit: AtomicU64,
    born: Birth,
    capacity: u32,
    mask: u32,
    lanes: [Lane<E>; 2],
    /// What blocks and tables of both lanes take. Kept apart, because they may be freed under anybody who walked them to find out. Whoever
    /// allocates adds before it stamps, so before the consumer can free.
    bytes: AtomicUsize,
}

/// The consumer's half of a ring: committed positions, and ABANDONED. Its own place is a [`Cursor`].
pub(crate) struct Commit(AtomicU64);

/// A ring, seen by whoever has both of its halves.
pub(crate) struct Ring<'q, E> {
    door: &'q Door<E>,
    commit: &'q Commit,
}

impl<E> Clone for Ring<'_, E> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Ring<'_, E> {}

struct Lane<E> {
    /// The position of the lane's first slot. Written while the lane is not in use.
    base: AtomicU64,
    first: BlockCell<E>,
    table: AtomicPtr<BlockCell<E>>,
}

/// What a producer must know of the lane in use to find a slot.
struct Aim<'a, E> {
    door: &'a Door<E>,
    lane: &'a Lane<E>,
    base: u64,
    /// Null where nobody needed it yet, as far as this producer saw.
    table: *mut BlockCell<E>,
}

/// The consumer's own place in the ring. There is one, and the seat that holds it makes it exclusive.
///
/// It has its own copies of what it needs of the lane in use for each run: those of the door stand next to the producers' word, and each look at them would
/// take that cache line from the producers.
pub(crate) struct Cursor<E> {
    head: u64,
    /// The position of the lane's first slot.
    base: u64,
    /// The table of the lane; null until a run has met one.
    table: *mut BlockCell<E>,
    /// The block number from which a spare block has not been placed yet.
    spare_from: u64,
    mask: u32,
    /// Events from the head on whose stamps `run` has seen: as many as `finish` may end. A run lies in one block.
    ready: u16,
    lane: u16,
}

const _: () = assert!(LARGE <= u16::MAX as u64, "a run is counted in sixteen bits");

// SAFETY: the pointer is the lane's own, which any consumer may follow (S3), one at a time: as sending the events, so `E: Send`.
unsafe impl<E: Send> Send for Cursor<E> {}

impl<E> Cursor<E> {
    /// At the beginning of a ring that was never used.
    pub(crate) fn at(door: &Door<E>) -> Self {
        Self { head: 0, base: 0, table: ptr::null_mut(), spare_from: 0, mask: door.mask, ready: 0, lane: 0 }
    }

    fn mask(&self) -> u64 {
        u64::from(self.mask)
    }

    fn lane<'q>(&self, ring: Ring<'q, E>) -> &'q Lane<E> {
        &ring.door.lanes[usize::from(self.lane)]
    }

    /// The table of the lane, as far as there is one.
    fn table(&self, lane: &Lane<E>) -> *mut BlockCell<E> {
        if self.table.is_null() { lane.table.load(Ordering::Acquire) } else { self.table }
    }

    /// The cell of the block that holds the slot at the head, the slot's place in it, and the block's number of slots.
    #[inline(always)]
    fn block<'q>(&self, ring: Ring<'q, E>) -> (Option<&'q BlockCell<E>>, u64, u64) {
        let lane = self.lane(ring);
        lane.block_of(|| self.table(lane), self.head - self.base, self.mask())
    }
}

// SAFETY: S1: every event is moved in by one thread and read by one thread, with a release/acquire pair in between; that is
// sending, so `E: Send` is what it takes.
unsafe impl<E: Send> Send for Door<E> {}

// SAFETY: as above; `&Door` lets threads send events to the consumer and never share one.
unsafe impl<E: Send> Sync for Door<E> {}

impl Commit {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl<E> Door<E> {
    pub(crate) fn new(capacity: u64) -> Self {
        // S2: one block more than the capacity can touch. Seeded: without it.
        let spare = u64::from(!seeded("table_without_spare"));
        let blocks = (capacity.div_ceil(LARGE) + spare).next_power_of_two();
        Self {
            word: Word::new(),
            limit: AtomicU64::new(capacity),
            born: Birth::here(),
            // The builder has looked that it is at most `MAX_CAPACITY`, which is of 32 bits.
            capacity: capacity as u32,
            mask: (blocks - 1) as u32,
            lanes: [Lane::empty(), Lane::empty()],
            bytes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn born(&self) -> &Birth {
        &self.born
    }

    fn mask(&self) -> u64 {
        u64::from(self.mask)
    }

    /// Bytes of blocks and tables now allocated; a figure for reports, exact when no producer is in flight.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl<'q, E> Ring<'q, E> {
    #[inline(always)]
    pub(crate) fn of(door: &'q Door<E>, commit: &'q Commit) -> Self {
        Self { door, commit }
    }

    /// Hands one event over. In a forked child the door is shut.
    ///
    /// A refusal for `Full` means that `capacity` events were pending when the commit word was read.
    #[inline(always)]
    pub(crate) fn push(self, event: E) -> Result<Handed, (Refused, E)> {
        // By a bit: a branch of its own would split the way, and the event would go by memory on it.
        let mut seen = self.door.word.read().shut_if(self.door.born.elsewhere());
        let mut lost = false;
        // The rare ways, too, stay in this loop: a function out of line would take the event by memory, and then the fast way
        // writes it there as well, and waits to read it back.
        loop {
            if seen.is_closed() {
                return Err((Refused::Closed, event));
            }
            if seen.position() >= self.door.limit.load(Ordering::Acquire) && !self.find_room(seen) {
                return Err((Refused::Full, event));
            }
            let aim = self.aim(seen);
            match self.door.word.reserve(seen) {
                Ok(()) => {
                    self.write(aim, seen.position(), event);
                    return Ok(handed(seen.is_idle()));
                }
                // Lost to no producer: to the worker's flags, or for no reason, as weak exchanges may be.
                Err(now) if now.position() == seen.position() => seen = now,
                Err(_) => seen = self.step_aside(std::mem::replace(&mut lost, true)),
            }
        }
    }

    /// After an exchange lost to another producer: leaves the word to it for a while, and looks again.
    ///
    /// Producers that take turns event by event pay for the word's and the slot's cache lines each time; one that lets the other
    /// go on for a while pays once. Bounded and in user space, so nobody waits for a producer that is suspended; the price is
    /// this call's own latency, some microseconds in one of several hundred calls of producers that meet.
    #[cold]
    #[inline(never)]
    fn step_aside(self, again: bool) -> Reading {
        pause(PAUSES << u32::from(again));
        self.door.word.read()
    }

    /// Whether the next push is to schedule the recorder: for tests.
    #[cfg(all(test, not(mvx_loom)))]
    pub(crate) fn is_idle(self) -> bool {
        self.door.word.read().is_idle()
    }

    /// The first half of a push: for tests of producers that are suspended between the two.
    #[cfg(all(test, not(mvx_loom)))]
    pub(crate) fn begin_push(self) -> Begun {
        loop {
            let seen = self.door.word.read();
            assert!(!seen.is_closed() && (seen.position() < self.committed() + self.capacity()), "no place");
            if self.door.word.reserve(seen).is_ok() {
                return Begun(seen);
            }
        }
    }

    /// The second half; true makes the caller schedule the recorder.
    #[cfg(all(test, not(mvx_loom)))]
    pub(crate) fn end_push(self, Begun(seen): Begun, event: E) -> bool {
        self.write(self.aim(seen), seen.position(), event);
        seen.is_idle()
    }

    /// Hands over as many events from the front of `events` as there is room for, with one reservation.
    pub(crate) fn push_many(self, events: &mut Vec<E>) -> (usize, bool, Option<Refused>) {
        let mut seen = self.door.word.read();
        let (count, refused) = loop {
            if seen.is_closed() {
                return (0, false, Some(Refused::Closed));
            }
            let committed = self.committed();
            let room = (committed + self.capacity()).saturating_sub(seen.position());
            let count = room.min(events.len() as u64);
            if count == 0 {
                return (0, false, (!events.is_empty()).then_some(Refused::Full));
            }
            match self.door.word.reserve_many(seen, count) {
                Ok(()) => break (count, (count < events.len() as u64).then_some(Refused::Full)),
                Err(now) => seen = now,
            }
        };
        let first = seen.position();
        for (position, event) in (first..).zip(events.drain(..count as usize)) {
            self.write(self.aim(seen), position, event);
        }
        (count as usize, seen.is_idle(), refused)
    }

    /// The slow half of the capacity check: reads the consumer's word and lifts the limit. False when the queue is full.
    #[cold]
    #[inline(never)]
    fn find_room(self, seen: Reading) -> bool {
        // `seen` was read before the commit word, so at this load at least `position - committed` events are pending.
        let limit = self.committed() + self.capacity();
        if seen.position() >= limit {
            return false;
        }
        // A late store of a lower limit costs another producer this call, nothing more. Release: whoever trusts the limit
        // must also see that the consumer is done with the slots of the lap before.
        self.door.limit.store(limit, Ordering::Release);
        true
    }

    /// Looks up where the positions after `seen` go.
    ///
    /// Done before the exchange, because no load can pass it and the slot's address waits for these. It is good after an exchange
    /// of `seen`: a lane is switched and freed only from its own word, and never twice at one position.
    #[inline(always)]
    fn aim(self, seen: Reading) -> Aim<'q, E> {
        // A branch, not an index: it is predicted, so the loads from the lane need not wait for the word.
        let lane = if seen.lane() == 0 { &self.door.lanes[0] } else { self.second_lane() };
        Aim {
            door: self.door,
            lane,
            base: lane.base.load(Ordering::Relaxed),
            table: lane.table.load(Ordering::Acquire),
        }
    }

    #[inline(always)]
    fn write(self, aim: Aim<'_, E>, position: u64, event: E) {
        let slot = aim.slot_for_write(position);
        // SAFETY: the reading that was aimed by was exchanged for a word with this position taken, so it is this call's alone. The
        // slot's earlier position was committed, by the capacity check, and with that the consumer was done with it (S2).
        unsafe { Slot::write(slot, position, event) };
    }

    /// Apart only so that the compiler keeps the branch in `write`.
    #[inline(never)]
    fn second_lane(self) -> &'q Lane<E> {
        &self.door.lanes[1]
    }

    pub(crate) fn word(self) -> &'q Word {
        &self.door.word
    }

    pub(crate) fn accepted(self) -> u64 {
        self.door.word.read().position()
    }

    pub(crate) fn committed(self) -> u64 {
        self.commit.0.load(Ordering::Acquire) >> 1
    }

    pub(crate) fn capacity(self) -> u64 {
        u64::from(self.door.capacity)
    }

    /// Whether the watchdog gave the rest of this queue up.
    pub(crate) fn is_abandoned(self) -> bool {
        self.commit.0.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// Gives everything not yet committed up, for ever; the number of positions committed until then, or `None` if it was
    /// abandoned before. Decided on the word by which the consumer commits: a batch is on one side or the other.
    pub(crate) fn abandon(self) -> Option<u64> {
        let old = self.commit.0.fetch_or(ABANDONED, Ordering::AcqRel);
        (old & ABANDONED == 0).then_some(old >> 1)
    }

    /// Up to `limit` events that stand ready, in order, in one stretch of memory; empty when the next slot has no stamp.
    pub(crate) fn run<'a>(self, cursor: &'a mut Cursor<E>, limit: u64) -> Run<'a, E>
    where
        'q: 'a,
    {
        if cursor.head - cursor.base >= SMALL {
            cursor.table = cursor.table(cursor.lane(self));
        }
        let run = self.look(cursor, limit);
        cursor.ready = run.len() as u16;
        run
    }

    fn look(self, cursor: &Cursor<E>, limit: u64) -> Run<'q, E> {
        let (block, offset, slots) = cursor.block(self);
        let block = block.map_or(ptr::null_mut(), BlockCell::get);
        if block.is_null() {
            return Run::empty();
        }
        let most = limit.min(slots - offset);
        // SAFETY: `offset < slots`, and the block lives: only this consumer takes blocks out, and it does so in `finish`.
        let first = unsafe { block.add(offset as usize) };
        let mut len = 0;
        // SAFETY: `offset + len < slots` while `len < most`.
        while len < most && unsafe { (*first.add(len as usize)).holds(cursor.head + len) } {
            len += 1;
        }
        if len == 0 {
            return Run::empty();
        }
        #[cfg(all(test, mvx_loom))]
        for i in 0..len {
            // SAFETY: as above. Tells the model that these are read now.
            let _ = unsafe { (*first.add(i as usize)).event() };
        }
        // Not through a reference to the slot: the address must stay good for the whole block.
        #[cfg(not(all(test, mvx_loom)))]
        // SAFETY: the first slot is in bounds.
        let events = unsafe { Slot::event_of(first) };
        #[cfg(all(test, mvx_loom))]
        // SAFETY: the first slot is in bounds.
        let events = unsafe { (*first).event() };
        // SAFETY: `len` slots from `first` on hold stamped events that are this consumer's until it finishes the run (S1); each
        // starts one slot after the one before.
        unsafe { Run::strided(events, size_of::<Slot<E>>(), len as usize) }
    }

    /// Asks for the slot at the cursor.
    pub(crate) fn fetch(self, cursor: &Cursor<E>) {
        let (block, offset, _) = cursor.block(self);
        // There may be none: an address is all that is made of it.
        fetch_for_write(
            block.map_or(ptr::null_mut(), BlockCell::get).wrapping_add(offset as usize).cast_const(),
        );
    }

    /// The consumer's position: everything before it was finished.
    pub(crate) fn head(self, cursor: &Cursor<E>) -> u64 {
        cursor.head
    }

    /// Whether the event at the cursor stands ready.
    pub(crate) fn is_ready(self, cursor: &Cursor<E>) -> bool {
        self.look(cursor, 1).len() == 1
    }

    /// Ends the first `count` events of the last run (at most all of them): drops them, takes emptied blocks out and commits. `Err` when the queue was
    /// abandoned meanwhile: then they are the watchdog's in the books.
    pub(crate) fn finish(self, cursor: &mut Cursor<E>, count: u64) -> Result<(), Abandoned> {
        let count = count.min(u64::from(cursor.ready));
        cursor.ready -= count as u16;
        if count > 0 {
            // A run lies in one block.
            let (block, offset, _) = cursor.block(self);
            let block = block.map_or(ptr::null_mut(), BlockCell::get);
            debug_assert!(!block.is_null(), "a finished event has a block");
            for index in offset..offset + count {
                // SAFETY: `run` has seen the stamp of this position, and it was not finished before: the block lives, and the
                // event is there, this consumer's until the commit below (S1).
                let slot = unsafe { &*block.add(index as usize) };
                if std::mem::needs_drop::<E>() || cfg!(all(test, mvx_loom)) {
                    // SAFETY: as above.
                    unsafe { drop_in_slot(slot.event_mut()) };
                }
                slot.wipe();
            }
        }
        let (old, new) = (cursor.head, cursor.head + count);
        self.retire(cursor, new);
        cursor.head = new;
        self.publish_commit(old, new)
    }

    /// Takes out the blocks that lie wholly between the head and `to` or end there, and places them ahead of the producers.
    fn retire(self, cursor: &mut Cursor<E>, to: u64) {
        let (from, to) = (cursor.head - cursor.base, to - cursor.base);
        // The small first block stays in its place until the lane is released: a few hundred bytes.
        if to < SMALL + LARGE || (to - SMALL) / LARGE == (from.max(SMALL) - SMALL) / LARGE {
            return;
        }
        let (lane, mask) = (cursor.lane(self), cursor.mask());
        let cell = |number| lane.cell(cursor.table(lane), number, mask);
        let done = (to - SMALL) / LARGE - 1;
        let block = cell(done).map_or(ptr::null_mut(), BlockCell::take);
        if block.is_null() {
            return;
        }
        let used_to = (self.accepted() - cursor.base).saturating_sub(SMALL) / LARGE;
        let mut place = (used_to + 1).max(cursor.spare_from);
        let mut placed = false;
        while place <= done + mask + 1 && !placed {
            placed = cell(place).is_some_and(|cell| cell.install(block).is_ok());
            place += 1;
        }
        cursor.spare_from = place;
        if !placed {
            self.door.bytes.fetch_sub(block_bytes::<E>(LARGE), Ordering::Relaxed);
            // SAFETY: taken out above with every event consumed (S2); no place ahead is free, so nobody else has it.
            unsafe { free_block(block, LARGE) };
        }
    }

    fn publish_commit(self, old: u64, new: u64) -> Result<(), Abandoned> {
        if seeded("commit_by_store") {
            // Seeded: a batch that was given up in between is counted a second time.
            let abandoned = self.commit.0.load(Ordering::Acquire) & ABANDONED;
            self.commit.0.store(new << 1 | abandoned, Ordering::Release);
            return Ok(());
        }
        self.commit
            .0
            .compare_exchange(old << 1, new << 1, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(|_| Abandoned)
    }

    /// Frees the memory of an idle queue; false if it is not idle (or if there is nothing to free).
    pub(crate) fn release(self, cursor: &mut Cursor<E>) -> bool {
        if cursor.head == cursor.base || self.is_abandoned() {
            return false;
        }
        let (old, other) = (cursor.lane(self), 1 - usize::from(cursor.lane));
        // The other lane is not in use (S3), so this races with nobody; the switch releases it to the producers.
        self.door.lanes[other].base.store(cursor.head, Ordering::Relaxed);
        if !self.door.word.switch_lane(cursor.head) {
            return false;
        }
        // SAFETY: S3: every position was committed and the word now sends producers to the other lane.
        unsafe { old.free(self.door) };
        *cursor =
            Cursor { head: cursor.head, base: cursor.head, lane: other as u16, ..Cursor::at(self.door) };
        true
    }
}

/// A place in the queue that is taken and not written.
#[cfg(all(test, not(mvx_loom)))]
#[must_use]
pub(crate) struct Begun(Reading);

/// The watchdog gave the queue up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

impl<E> Ring<'_, E> {
    /// Drops every event that is still there, and frees all memory.
    ///
    /// # Safety
    ///
    /// Both halves are the caller's alone, as in a destructor, and are not used again.
    pub(crate) unsafe fn end(self, cursor: &Cursor<E>) {
        // No producer or consumer is left. What is stamped and was not consumed is dropped here; a position that
        // was reserved and never stamped cannot exist, because its producer would hold the queue. The cursor, because a consumer under
        // whose hands the queue was abandoned came further than it could commit.
        let consumed = cursor.head;
        let (lane, mask) = (&self.door.lanes[self.door.word.read().lane()], self.door.mask());
        let (base, table) = (lane.base.load(Ordering::Relaxed), || lane.table.load(Ordering::Acquire));
        for position in consumed..self.accepted() {
            let (block, offset, _) = lane.block_of(table, position - base, mask);
            let block = block.map_or(ptr::null_mut(), BlockCell::get);
            if block.is_null() {
                continue;
            }
            // SAFETY: in bounds; exclusive, by the caller's promise.
            let slot = unsafe { &*block.add(offset as usize) };
            if slot.holds(position) {
                // SAFETY: the stamp says that the event is there, and the caller that it is ours.
                unsafe { drop_in_slot(slot.event_mut()) };
            }
        }
        for lane in &self.door.lanes {
            // SAFETY: exclusive, and every event was dropped above or by the consumer.
            unsafe { lane.free(self.door) };
        }
    }
}

/// Drops the event in a slot.
///
/// # Safety
///
/// An event stands there, the caller owns it, and it is not touched again.
unsafe fn drop_in_slot<E>(event: *mut E) {
    // SAFETY: by the caller's promise.
    drop_quietly(unsafe { event.read() });
}

impl<E> Aim<'_, E> {
    /// How many slots ahead of its own a producer asks for: four cache lines, and one slot at least.
    ///
    /// The consumer wrote these lines a lap ago, so they are in another core's cache, and the next exchange waits until the event before it is
    /// written: without asking ahead, a producer waits for each line.
    const AHEAD: u64 = {
        let slots = 256 / size_of::<Slot<E>>() as u64;
        if slots == 0 {
            1
        } else if slots > LARGE / 2 {
            LARGE / 2
        } else {
            slots
        }
    };

    /// For a position that was reserved after the aim was taken.
    #[inline(always)]
    fn slot_for_write(&self, position: u64) -> *const Slot<E> {
        let (lane, mask, bytes) = (self.lane, self.door.mask(), &self.door.bytes);
        let relative = position - self.base;
        let (block, offset) = if relative < SMALL {
            (lane.first.get_or_allocate(SMALL, bytes), relative)
        } else {
            let number = (relative - SMALL) / LARGE;
            let table = if self.table.is_null() { lane.allocate_table(self.door) } else { self.table };
            // SAFETY: the table has `mask + 1` cells and lives as long as a producer uses the lane (S3).
            let cell = |number: u64| unsafe { &*table.add((number & mask) as usize) };
            let (block, offset) = (cell(number).get_or_allocate(LARGE, bytes), (relative - SMALL) % LARGE);
            // Left out of the models, whose executions the look at the next block would multiply.
            if !cfg!(all(test, mvx_loom)) {
                let ahead = offset + Self::AHEAD;
                // The next block may be missing, or on its way elsewhere: an address is all that is made of it.
                let there = if ahead < LARGE { block } else { cell(number + 1).get() };
                fetch_for_write(there.cast_const().wrapping_add((ahead % LARGE) as usize));
            }
            (block, offset)
        };
        // SAFETY: `offset` is below the block's number of slots.
        unsafe { block.add(offset as usize) }
    }
}

impl<E> Lane<E> {
    fn empty() -> Self {
        Self { base: AtomicU64::new(0), first: BlockCell::empty(), table: AtomicPtr::new(ptr::null_mut()) }
    }

    #[cold]
    #[inline(never)]
    fn allocate_table(&self, door: &Door<E>) -> *mut BlockCell<E> {
        let mask = door.mask();
        let fresh: Box<[BlockCell<E>]> = (0..=mask).map(|_| BlockCell::empty()).collect();
        let fresh = Box::into_raw(fresh).cast::<BlockCell<E>>();
        match self.table.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                door.bytes.fetch_add(table_bytes::<E>(mask), Ordering::Relaxed);
                fresh
            }
            Err(winner) => {
                // SAFETY: made above, never published.
                unsafe { free_table(fresh, mask) };
                winner
            }
        }
    }

    /// The cell of the block that holds slot `relative`, the slot's place in it, and the block's number of slots.
    #[inline(always)]
    fn block_of(
        &self,
        table: impl Fn() -> *mut BlockCell<E>,
        relative: u64,
        mask: u64,
    ) -> (Option<&BlockCell<E>>, u64, u64) {
        if relative < SMALL {
            return (Some(&self.first), relative, SMALL);
        }
        let number = (relative - SMALL) / LARGE;
        (self.cell(table(), number, mask), (relative - SMALL) % LARGE, LARGE)
    }

    /// A cell of the lane's table, if it has one.
    #[inline(always)]
    fn cell(&self, table: *mut BlockCell<E>, number: u64, mask: u64) -> Option<&BlockCell<E>> {
        if table.is_null() {
            return None;
        }
        // SAFETY: the table has `mask + 1` cells, and only the consumer, who is calling, frees it.
        Some(unsafe { &*table.add((number & mask) as usize) })
    }

    /// Frees blocks and table.
    ///
    /// # Safety
    ///
    /// Nobody else uses the lane, and it holds no live event.
    unsafe fn free(&self, door: &Door<E>) {
        let mask = door.mask();
        // What is freed, and no more: producers may have begun to fill the other lane.
        let freed = |bytes| door.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let first = self.first.take();
        if !first.is_null() {
            freed(block_bytes::<E>(SMALL));
            // SAFETY: by the caller's promise; first blocks have SMALL slots.
            unsafe { free_block(first, SMALL) };
        }
        let table = self.table.swap(ptr::null_mut(), Ordering::AcqRel);
        if table.is_null() {
            return;
        }
        for index in 0..=mask {
            // SAFETY: in bounds, and the table is still allocated.
            let block = unsafe { (*table.add(index as usize)).take() };
            if !block.is_null() {
                freed(block_bytes::<E>(LARGE));
                // SAFETY: by the caller's promise; blocks of a table have LARGE slots.
                unsafe { free_block(block, LARGE) };
            }
        }
        freed(table_bytes::<E>(mask));
        // SAFETY: taken out of the lane above, its cells are empty.
        unsafe { free_table(table, mask) };
    }
}

/// What a table takes.
fn table_bytes<E>(mask: u64) -> usize {
    (mask as usize + 1) * size_of::<BlockCell<E>>()
}

/// # Safety
///
/// `table` was made by `allocate_table` with the same mask and nobody else can reach it.
unsafe fn free_table<E>(table: *mut BlockCell<E>, mask: u64) {
    let table = ptr::slice_from_raw_parts_mut(table, mask as usize + 1);
    // SAFETY: by the caller's promise this is the box that was leaked there.
    drop(unsafe { Box::from_raw(table) });
}
