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

use crate::queue::drop_quietly;
use crate::queue::run::Run;
use crate::queue::segment::BlockCell;
use crate::queue::segment::LARGE;
use crate::queue::segment::SMALL;
use crate::queue::segment::Slot;
use crate::queue::segment::block_bytes;
use crate::queue::segment::free_block;
use crate::queue::word::Reading;
use crate::queue::word::Word;
use crate::sync::OwnLine;
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

pub(crate) struct Ring<E> {
    door: OwnLine<Door>,
    commit: OwnLine<AtomicU64>,
    lanes: [Lane<E>; 2],
    capacity: u64,
    mask: u64,
    /// How far the consumer got without being able to commit, in a queue that was abandoned under its hands.
    beyond: AtomicU64,
}

struct Door {
    word: Word,
    /// A position below which there is room, as far as somebody has looked: spares producers the consumer's cache line.
    limit: AtomicU64,
    born: Birth,
}

struct Lane<E> {
    /// The position of the lane's first slot. Written while the lane is not in use.
    base: AtomicU64,
    first: BlockCell<E>,
    table: AtomicPtr<BlockCell<E>>,
    /// What blocks and table take. Kept apart, because they may be freed under anybody who walked them to find out. Whoever
    /// allocates adds before it stamps, so before the consumer can free.
    bytes: AtomicUsize,
}

/// What a producer must know of the lane in use to find a slot.
struct Aim<'a, E> {
    lane: &'a Lane<E>,
    base: u64,
    /// Null where nobody needed it yet, as far as this producer saw.
    table: *mut BlockCell<E>,
}

/// The consumer's own place in the ring. There is one, and the seat that holds it makes it exclusive.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    head: u64,
    /// Events from the head on whose stamps `run` has seen: as many as `finish` may end.
    ready: u64,
    lane: usize,
    /// The block number from which a spare block has not been placed yet.
    spare_from: u64,
}

// SAFETY: S1: every event is moved in by one thread and read by one thread, with a release/acquire pair in between; that is
// sending, so `E: Send` is what it takes.
unsafe impl<E: Send> Send for Ring<E> {}

// SAFETY: as above; `&Ring` lets threads send events to the consumer and never share one.
unsafe impl<E: Send> Sync for Ring<E> {}

impl<E> Ring<E> {
    pub(crate) fn new(capacity: u64) -> Self {
        // S2: one block more than the capacity can touch. Seeded: without it.
        let spare = u64::from(!seeded("table_without_spare"));
        let blocks = (capacity.div_ceil(LARGE) + spare).next_power_of_two();
        Self {
            door: OwnLine(Door { word: Word::new(), limit: AtomicU64::new(capacity), born: Birth::here() }),
            commit: OwnLine(AtomicU64::new(0)),
            lanes: [Lane::empty(), Lane::empty()],
            capacity,
            mask: blocks - 1,
            beyond: AtomicU64::new(0),
        }
    }

    /// Hands one event over; `Ok(true)` makes the caller schedule the recorder. In a forked child the door is shut.
    ///
    /// A refusal for `Full` means that `capacity` events were pending when the commit word was read.
    #[inline(always)]
    pub(crate) fn push(&self, event: E) -> Result<bool, (Refused, E)> {
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
                    return Ok(seen.is_idle());
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
    fn step_aside(&self, again: bool) -> Reading {
        pause(PAUSES << u32::from(again));
        self.door.word.read()
    }

    /// Whether the next push is to schedule the recorder: for tests.
    #[cfg(all(test, not(mvx_loom)))]
    pub(crate) fn is_idle(&self) -> bool {
        self.door.word.read().is_idle()
    }

    /// The first half of a push: for tests of producers that are suspended between the two.
    #[cfg(all(test, not(mvx_loom)))]
    pub(crate) fn begin_push(&self) -> Begun {
        loop {
            let seen = self.door.word.read();
            assert!(!seen.is_closed() && (seen.position() < self.committed() + self.capacity), "no place");
            if self.door.word.reserve(seen).is_ok() {
                return Begun(seen);
            }
        }
    }

    /// The second half; true makes the caller schedule the recorder.
    #[cfg(all(test, not(mvx_loom)))]
    pub(crate) fn end_push(&self, Begun(seen): Begun, event: E) -> bool {
        self.write(self.aim(seen), seen.position(), event);
        seen.is_idle()
    }

    /// Hands over as many events from the front of `events` as there is room for, with one reservation.
    pub(crate) fn push_many(&self, events: &mut Vec<E>) -> (usize, bool, Option<Refused>) {
        let mut seen = self.door.word.read();
        let (count, refused) = loop {
            if seen.is_closed() {
                return (0, false, Some(Refused::Closed));
            }
            let committed = self.committed();
            let room = (committed + self.capacity).saturating_sub(seen.position());
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
    fn find_room(&self, seen: Reading) -> bool {
        // `seen` was read before the commit word, so at this load at least `position - committed` events are pending.
        let limit = self.committed() + self.capacity;
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
    fn aim(&self, seen: Reading) -> Aim<'_, E> {
        // A branch, not an index: it is predicted, so the loads from the lane need not wait for the word.
        let lane = if seen.lane() == 0 { &self.lanes[0] } else { self.second_lane() };
        Aim { lane, base: lane.base.load(Ordering::Relaxed), table: lane.table.load(Ordering::Acquire) }
    }

    #[inline(always)]
    fn write(&self, aim: Aim<'_, E>, position: u64, event: E) {
        let slot = aim.slot_for_write(position, self.mask);
        // SAFETY: the reading that was aimed by was exchanged for a word with this position taken, so it is this call's alone. The
        // slot's earlier position was committed, by the capacity check, and with that the consumer was done with it (S2).
        unsafe { Slot::write(slot, position, event) };
    }

    /// Apart only so that the compiler keeps the branch in `write`.
    #[inline(never)]
    fn second_lane(&self) -> &Lane<E> {
        &self.lanes[1]
    }

    pub(crate) fn word(&self) -> &Word {
        &self.door.word
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.door.word.read().position()
    }

    pub(crate) fn committed(&self) -> u64 {
        self.commit.load(Ordering::Acquire) >> 1
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Whether the watchdog gave the rest of this queue up.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.commit.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// Gives everything not yet committed up, for ever; the number of positions committed until then, or `None` if it was
    /// abandoned before. Decided on the word by which the consumer commits: a batch is on one side or the other.
    pub(crate) fn abandon(&self) -> Option<u64> {
        let old = self.commit.fetch_or(ABANDONED, Ordering::AcqRel);
        (old & ABANDONED == 0).then_some(old >> 1)
    }

    /// Up to `limit` events that stand ready, in order, in one stretch of memory; empty when the next slot has no stamp.
    pub(crate) fn run<'a>(&'a self, cursor: &'a mut Cursor, limit: u64) -> Run<'a, E> {
        let run = self.look(cursor, limit);
        cursor.ready = run.len() as u64;
        run
    }

    fn look(&self, cursor: &Cursor, limit: u64) -> Run<'_, E> {
        let lane = &self.lanes[cursor.lane];
        let relative = cursor.head - lane.base.load(Ordering::Relaxed);
        let (block, offset, slots) = lane.block_of(relative, self.mask);
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
    pub(crate) fn fetch(&self, cursor: &Cursor) {
        let lane = &self.lanes[cursor.lane];
        let relative = cursor.head - lane.base.load(Ordering::Relaxed);
        let (block, offset, _) = lane.block_of(relative, self.mask);
        // There may be none: an address is all that is made of it.
        fetch_for_write(
            block.map_or(ptr::null_mut(), BlockCell::get).wrapping_add(offset as usize).cast_const(),
        );
    }

    /// The consumer's position: everything before it was finished.
    pub(crate) fn head(&self, cursor: &Cursor) -> u64 {
        cursor.head
    }

    /// Whether the event at the cursor stands ready.
    pub(crate) fn is_ready(&self, cursor: &Cursor) -> bool {
        self.look(cursor, 1).len() == 1
    }

    /// Ends the first `count` events of the last run (at most all of them): drops them, takes emptied blocks out and commits. `Err` when the queue was
    /// abandoned meanwhile: then they are the watchdog's in the books.
    pub(crate) fn finish(&self, cursor: &mut Cursor, count: u64) -> Result<(), Abandoned> {
        let count = count.min(cursor.ready);
        cursor.ready -= count;
        let lane = &self.lanes[cursor.lane];
        let base = lane.base.load(Ordering::Relaxed);
        if count > 0 {
            // A run lies in one block.
            let (block, offset, _) = lane.block_of(cursor.head - base, self.mask);
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
        lane.retire(old - base, new - base, self.mask, || self.accepted() - base, &mut cursor.spare_from);
        cursor.head = new;
        let committed = self.publish_commit(old, new);
        if committed.is_err() {
            self.beyond.store(new, Ordering::Release);
        }
        committed
    }

    fn publish_commit(&self, old: u64, new: u64) -> Result<(), Abandoned> {
        if seeded("commit_by_store") {
            // Seeded: a batch that was given up in between is counted a second time.
            let abandoned = self.commit.load(Ordering::Acquire) & ABANDONED;
            self.commit.store(new << 1 | abandoned, Ordering::Release);
            return Ok(());
        }
        self.commit
            .compare_exchange(old << 1, new << 1, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(|_| Abandoned)
    }

    /// Frees the memory of an idle queue; false if it is not idle (or if there is nothing to free).
    pub(crate) fn release(&self, cursor: &mut Cursor) -> bool {
        let old = &self.lanes[cursor.lane];
        if cursor.head == old.base.load(Ordering::Relaxed) || self.is_abandoned() {
            return false;
        }
        let other = 1 - cursor.lane;
        // The other lane is not in use (S3), so this races with nobody; the switch releases it to the producers.
        self.lanes[other].base.store(cursor.head, Ordering::Relaxed);
        if !self.door.word.switch_lane(cursor.head) {
            return false;
        }
        // SAFETY: S3: every position was committed and the word now sends producers to the other lane.
        unsafe { old.free(self.mask) };
        cursor.lane = other;
        cursor.spare_from = 0;
        true
    }

    /// Bytes of blocks and tables now allocated; a figure for reports, exact when no producer is in flight.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.bytes.load(Ordering::Relaxed)).sum()
    }
}

/// A place in the queue that is taken and not written.
#[cfg(all(test, not(mvx_loom)))]
#[must_use]
pub(crate) struct Begun(Reading);

/// The watchdog gave the queue up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

impl<E> Drop for Ring<E> {
    fn drop(&mut self) {
        // `&mut self`: no producer or consumer is left. What is stamped and was not consumed is dropped here; a position that
        // was reserved and never stamped cannot exist, because its producer would hold the queue.
        let consumed = self.committed().max(self.beyond.load(Ordering::Acquire));
        let lane = &self.lanes[self.door.word.read().lane()];
        let base = lane.base.load(Ordering::Relaxed);
        for position in consumed..self.accepted() {
            let (block, offset, _) = lane.block_of(position - base, self.mask);
            let block = block.map_or(ptr::null_mut(), BlockCell::get);
            if block.is_null() {
                continue;
            }
            // SAFETY: in bounds; exclusive, as above.
            let slot = unsafe { &*block.add(offset as usize) };
            if slot.holds(position) {
                // SAFETY: the stamp says that the event is there, and `&mut self` that it is ours.
                unsafe { drop_in_slot(slot.event_mut()) };
            }
        }
        for lane in &self.lanes {
            // SAFETY: exclusive, and every event was dropped above or by the consumer.
            unsafe { lane.free(self.mask) };
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
    fn slot_for_write(&self, position: u64, mask: u64) -> *const Slot<E> {
        let lane = self.lane;
        let relative = position - self.base;
        let (block, offset) = if relative < SMALL {
            (lane.first.get_or_allocate(SMALL, &lane.bytes), relative)
        } else {
            let number = (relative - SMALL) / LARGE;
            let table = if self.table.is_null() { lane.allocate_table(mask) } else { self.table };
            // SAFETY: the table has `mask + 1` cells and lives as long as a producer uses the lane (S3).
            let cell = |number: u64| unsafe { &*table.add((number & mask) as usize) };
            let (block, offset) =
                (cell(number).get_or_allocate(LARGE, &lane.bytes), (relative - SMALL) % LARGE);
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
        Self {
            base: AtomicU64::new(0),
            first: BlockCell::empty(),
            table: AtomicPtr::new(ptr::null_mut()),
            bytes: AtomicUsize::new(0),
        }
    }

    #[cold]
    #[inline(never)]
    fn allocate_table(&self, mask: u64) -> *mut BlockCell<E> {
        let fresh: Box<[BlockCell<E>]> = (0..=mask).map(|_| BlockCell::empty()).collect();
        let fresh = Box::into_raw(fresh).cast::<BlockCell<E>>();
        match self.table.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.bytes.fetch_add((mask as usize + 1) * size_of::<BlockCell<E>>(), Ordering::Relaxed);
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
    fn block_of(&self, relative: u64, mask: u64) -> (Option<&BlockCell<E>>, u64, u64) {
        if relative < SMALL {
            return (Some(&self.first), relative, SMALL);
        }
        let number = (relative - SMALL) / LARGE;
        (self.cell(number, mask), (relative - SMALL) % LARGE, LARGE)
    }

    #[inline(always)]
    fn cell(&self, number: u64, mask: u64) -> Option<&BlockCell<E>> {
        let table = self.table.load(Ordering::Acquire);
        if table.is_null() {
            return None;
        }
        // SAFETY: the table has `mask + 1` cells, and only the consumer, who is calling, frees it.
        Some(unsafe { &*table.add((number & mask) as usize) })
    }

    /// Takes out the blocks that lie wholly in `from..to` or end there, and places them ahead of the producers.
    fn retire(&self, from: u64, to: u64, mask: u64, accepted: impl Fn() -> u64, spare_from: &mut u64) {
        // The small first block stays in its place until the lane is released: a few hundred bytes.
        if to < SMALL + LARGE || (to - SMALL) / LARGE == (from.max(SMALL) - SMALL) / LARGE {
            return;
        }
        let done = (to - SMALL) / LARGE - 1;
        let Some(cell) = self.cell(done, mask) else { return };
        let block = cell.take();
        if block.is_null() {
            return;
        }
        let used_to = accepted().saturating_sub(SMALL) / LARGE;
        let mut place = (used_to + 1).max(*spare_from);
        while place <= done + mask + 1 {
            let placed = self.cell(place, mask).is_some_and(|cell| cell.install(block).is_ok());
            place += 1;
            if placed {
                *spare_from = place;
                return;
            }
        }
        *spare_from = place;
        self.bytes.fetch_sub(block_bytes::<E>(LARGE), Ordering::Relaxed);
        // SAFETY: taken out above with every event consumed (S2); no place ahead is free, so nobody else has it.
        unsafe { free_block(block, LARGE) };
    }

    /// Frees blocks and table.
    ///
    /// # Safety
    ///
    /// Nobody else uses the lane, and it holds no live event.
    unsafe fn free(&self, mask: u64) {
        self.bytes.store(0, Ordering::Relaxed);
        let first = self.first.take();
        if !first.is_null() {
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
                // SAFETY: by the caller's promise; blocks of a table have LARGE slots.
                unsafe { free_block(block, LARGE) };
            }
        }
        // SAFETY: taken out of the lane above, its cells are empty.
        unsafe { free_table(table, mask) };
    }
}

/// # Safety
///
/// `table` was made by `allocate_table` with the same mask and nobody else can reach it.
unsafe fn free_table<E>(table: *mut BlockCell<E>, mask: u64) {
    let table = ptr::slice_from_raw_parts_mut(table, mask as usize + 1);
    // SAFETY: by the caller's promise this is the box that was leaked there.
    drop(unsafe { Box::from_raw(table) });
}
