//! DESIGN 3.1 and budget B17: handing over allocates nothing within the high-water mark, and at most one block beyond it.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod support;

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use mvx_metrics::Clock;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::Timestamp;
use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;

thread_local! {
    /// Blocks this thread has allocated or grown. Const and without a destructor, so that reading it allocates nothing.
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count for each thread.
struct Counting;

fn count() {
    let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local cell and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: by the caller's promise, passed on unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise, passed on unchanged.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: by the caller's promise, passed on unchanged.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many blocks this thread allocates while it does so.
fn allocated_by<R>(act: impl FnOnce() -> R) -> (u64, R) {
    let before = ALLOCATED.get();
    let result = act();
    (ALLOCATED.get() - before, result)
}

/// A clock that stands still: no recorder is ever idle for long enough to give its memory back between two bursts.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_nanos(1)
    }
}

const POLICIES: [OverflowPolicy; 2] = [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest];
const CAPACITY: u32 = 1 << 12;
const BURST: u64 = 1_024;

/// Events of one burst after the other, with the queue drained in between.
fn bursts(recorder: &Recorder<Number>, bursts: u64, mut hand_over: impl FnMut(u64)) -> u64 {
    (0..bursts)
        .map(|_| {
            let (allocated, ()) = allocated_by(|| (0..BURST).for_each(&mut hand_over));
            // A flush is a call of another kind, and may allocate.
            recorder.flush_blocking(PATIENCE).unwrap();
            allocated
        })
        .sum()
}

#[test]
fn the_counter_counts() {
    let (allocated, block) = allocated_by(|| Box::new(7_u64));
    assert_eq!((allocated, *block), (1, 7));
}

#[test]
fn a_million_events_within_the_high_water_mark_allocate_nothing_on_their_thread() {
    for policy in POLICIES {
        let runtime = MetricsRuntime::builder("none").clock(Still).build().unwrap();
        runtime.start().unwrap();
        let recorder = runtime
            .recorder::<Number>("none")
            .overflow(policy)
            .capacity(CAPACITY)
            .counter("events", |c| c)
            .histogram("numbers", |h| h.bounds(&[10.0, 100.0]).value(|e| Some(e.0)))
            .create()
            .unwrap();
        // The mark is what was ever pending at once. Bursts that the worker drains meanwhile may stay below it.
        let mark = allocated_by(|| {
            let mut mark: Vec<_> = (0..u64::from(CAPACITY)).map(Number).collect();
            assert_eq!(recorder.register_events(&mut mark) as u32, CAPACITY);
        });
        assert!(mark.0 > 0);
        recorder.flush_blocking(PATIENCE).unwrap();
        let bursts_of_a_million = (1_000_000 / BURST + 1) * scaled(1);
        let allocated = bursts(&recorder, bursts_of_a_million, |n| recorder.register_event(Number(n)));
        assert_eq!(allocated, 0, "{policy:?}");
        let tried = bursts(&recorder, 16, |n| assert!(recorder.try_register_event(Number(n)).is_ok()));
        assert_eq!(tried, 0, "{policy:?}");
        let mut batch = Vec::with_capacity(1);
        let batched = bursts(&recorder, 16, |n| {
            batch.push(Number(n));
            recorder.register_events(&mut batch);
        });
        assert_eq!(batched, 0, "{policy:?}");
        assert_eq!(recorder.accounts().rejected.total() + recorder.accounts().dropped.total(), 0);
        assert_eq!(recorder.accounts().processed, (bursts_of_a_million + 32) * BURST + u64::from(CAPACITY));
    }
}

#[test]
fn growing_allocates_at_most_one_block_an_event_and_the_table_of_blocks_once() {
    let (runtime, gate) = (running("growing"), Gate::default());
    let recorder =
        runtime.recorder("growing").capacity(CAPACITY).metric(stopper("events", 0, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    let each: Vec<_> =
        (1..u64::from(CAPACITY)).map(|n| allocated_by(|| recorder.register_event(Number(n))).0).collect();
    let (most, total) = (each.iter().max().copied().unwrap_or(0), each.iter().sum::<u64>());
    let twice = each.iter().filter(|allocated| **allocated > 1).count();
    // One event may need the table beside its block.
    assert!(most <= 2 && twice <= 1, "most {most}, more than one {twice} times");
    // The first block has 8 slots, the others 64 each.
    assert_eq!(total, (u64::from(CAPACITY) - 8).div_ceil(64) + 1);
    gate.open();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.accounts().processed, u64::from(CAPACITY));
}

#[test]
fn a_refused_event_allocates_nothing() {
    for policy in POLICIES {
        let runtime = MetricsRuntime::builder("refused").build().unwrap();
        let recorder = runtime.recorder::<Number>("refused").overflow(policy).capacity(64).create().unwrap();
        (0..64).for_each(|n| recorder.register_event(Number(n)));
        let (allocated, ()) = allocated_by(|| {
            (0..10_000).for_each(|n| recorder.register_event(Number(n)));
            (0..10_000).for_each(|n| drop(recorder.try_register_event(Number(n))));
        });
        assert_eq!(allocated, 0, "full, {policy:?}");
        let mut batch = vec![Number(0); 8];
        let (allocated, _taken) = allocated_by(|| recorder.register_events(&mut batch));
        assert_eq!(allocated, 0, "full, {policy:?}");
        let _ = runtime.shutdown(PATIENCE).unwrap();
        let (allocated, ()) = allocated_by(|| {
            (0..10_000).for_each(|n| recorder.register_event(Number(n)));
            (0..10_000).for_each(|n| drop(recorder.try_register_event(Number(n))));
        });
        assert_eq!(allocated, 0, "closed, {policy:?}");
        assert_eq!(recorder.accounts().rejected.closed, 20_000);
    }
}

#[test]
fn reading_a_snapshot_and_the_accounts_allocates_nothing() {
    let runtime = running("reading");
    let recorder = runtime.recorder::<Number>("reading").counter("events", |c| c).create().unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    let (allocated, shown) = allocated_by(|| {
        (0..1_000)
            .map(|_| recorder.snapshot().counter("events", &[]).unwrap_or(0) + recorder.accounts().processed)
            .sum::<u64>()
    });
    assert_eq!((allocated, shown), (0, 2_000));
}

#[test]
fn a_recorder_that_never_had_an_event_has_no_slots() {
    let runtime = MetricsRuntime::builder("empty").build().unwrap();
    let largest =
        runtime.recorder::<Number>("large").capacity(mvx_metrics::limits::MAX_CAPACITY).create().unwrap();
    assert_eq!(largest.capacity(), u64::from(mvx_metrics::limits::MAX_CAPACITY));
    // Its first event takes the small block alone; the table for 2^24 slots is not made for it.
    let (allocated, ()) = allocated_by(|| (0..8).for_each(|n| largest.register_event(Number(n))));
    assert_eq!(allocated, 1);
}

#[test]
fn a_buffer_that_was_full_once_allocates_nothing_more() {
    let runtime = MetricsRuntime::builder("buffer").clock(Still).build().unwrap();
    runtime.start().unwrap();
    let recorder =
        runtime.recorder::<Number>("buffer").capacity(CAPACITY).counter("events", |c| c).create().unwrap();
    // What was ever pending at once is what the queue keeps.
    let mut all: Vec<_> = (0..u64::from(CAPACITY)).map(Number).collect();
    recorder.register_events(&mut all);
    recorder.flush_blocking(PATIENCE).unwrap();
    let (made, mut buffer) = allocated_by(|| recorder.buffered(64, std::time::Duration::from_secs(1)));
    assert_eq!(made, 0);
    (0..64).for_each(|n| buffer.register_event(Number(n)));
    let rounds = scaled(50);
    assert_eq!(bursts(&recorder, rounds, |n| buffer.register_event(Number(n))), 0);
    assert_eq!(recorder.accounts().rejected.total(), 0);
    let offered = u64::from(CAPACITY) + 64 + rounds * BURST;
    assert_eq!(recorder.accounts().accepted, offered);
}

#[cfg(feature = "derive")]
#[test]
fn to_look_up_a_typed_label_set_allocates_nothing() {
    use mvx_metrics::Batch;
    use mvx_metrics::Context;
    use mvx_metrics::Counter;
    use mvx_metrics::LabelValue;
    use mvx_metrics::Labels;
    use mvx_metrics::Metric;

    #[derive(LabelValue)]
    enum Parity {
        Even,
        Odd,
    }
    #[derive(Labels)]
    struct Dense {
        parity: Parity,
        zero: bool,
    }
    #[derive(Labels)]
    struct Open {
        parity: Parity,
        digit: u32,
    }
    fn parity(number: u32) -> Parity {
        if number % 2 == 0 { Parity::Even } else { Parity::Odd }
    }

    let dense = |e: &u32| Dense { parity: parity(*e), zero: *e == 0 };
    let open = |e: &u32| Open { parity: parity(*e), digit: *e };
    let mut counters = [
        Counter::<u32>::builder("dense").labels::<Dense>(dense).build().unwrap(),
        Counter::<u32>::builder("open").labels::<Open>(open).build().unwrap(),
    ];
    let numbers: Vec<u32> = (0..1_000).map(|number| number % 10).collect();
    let context = Context::new(Timestamp::default(), 1);
    for counter in &mut counters {
        let mut pass = || {
            let mut batch = Batch::new(&numbers);
            counter.handle_batch(&mut batch, &context);
            for number in &numbers {
                let _ = counter.handle_event(number, &context);
            }
            assert_eq!(batch.accepted(), 1_000);
        };
        let (first, ()) = allocated_by(&mut pass);
        assert!(first > 0, "the first pass makes the series");
        let (second, ()) = allocated_by(pass);
        assert_eq!(second, 0, "{counter:?}");
    }
}
