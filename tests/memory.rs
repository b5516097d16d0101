//! DESIGN 3.9: the runtime states its memory in bytes, by recorder, and agrees with the allocator. Budget B15.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[path = "support/heap.rs"]
mod heap;
mod support;

use crate::heap::live;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::prelude::*;
use std::sync::Mutex;
use std::sync::MutexGuard;

/// The bytes of the process are everybody's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Saved {
    user: u32,
    bytes: u64,
}

impl MetricEvent for Saved {
    fn event_type(&self) -> &'static str {
        "saved"
    }
}

type Shape = fn(RecorderBuilder<Saved>) -> RecorderBuilder<Saved>;

/// A recorder of each kind, and how many users it sees.
const SHAPES: [(Shape, u32); 9] = [
    (|r| r, 0),
    (|r| r.counter("unused", |c| c.label("user", |e| e.user.into())), 0),
    (|r| r.counter("saves", |c| c.label("user", |e| e.user.into())), 70),
    (|r| r.counter("total", |c| c).histogram("sizes", |h| h.bounds(BOUNDS).value(|e| Some(e.bytes))), 1),
    (
        |r| {
            r.histogram("sizes.by.user", |h| {
                h.bounds(BOUNDS).label("user", |e| e.user.into()).label("odd", odd).value(|e| Some(e.bytes))
            })
        },
        40,
    ),
    (
        |r| {
            r.exponential_histogram("sizes.exponential", |h| {
                h.label("user", |e| e.user.into()).value(|e| Some(e.bytes))
            })
        },
        9,
    ),
    (|r| r.summary("sizes.summary", |s| s.label("odd", odd).value(|e| Some(e.bytes))), 30),
    (
        |r| {
            r.rate("saves.rate", |r| r.value(|e| Some(e.bytes)))
                .windowed_summary("sizes.recent", |s| s.value(|e| Some(e.bytes)))
        },
        5,
    ),
    (
        |r| {
            r.overflow(OverflowPolicy::DropOldest)
                .on_metric_changed(|_| {})
                .gauge("last", |g| g.label("user", |e| e.user.into()).value(|e| Some(e.bytes)))
                .average("mean", |a| a.value(|e| Some(e.bytes as f64 / 3.0)))
        },
        20,
    ),
];

const BOUNDS: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0];

fn odd(event: &Saved) -> mvx_metrics::Label<'_> {
    (event.user % 2 == 1).into()
}

/// So many recorders of a shape, each after a few events of each user.
fn create(
    runtime: &MetricsRuntime,
    name: usize,
    (shape, users): (Shape, u32),
    many: usize,
) -> Vec<Recorder<Saved>> {
    let recorders: Vec<_> = (0..many)
        .map(|number| shape(runtime.recorder::<Saved>(&format!("shape-{name}-{number}"))).create().unwrap())
        .collect();
    for recorder in &recorders {
        for number in 0..users * 4 {
            let user = number % users;
            recorder.register_event(Saved { user, bytes: u64::from(number) * 7 });
        }
    }
    recorders
}

fn assert_close(reported: usize, allocated: i64, what: &str) {
    let ratio = reported as f64 / allocated as f64;
    assert!((0.95..=1.05).contains(&ratio), "{what}: {reported} bytes reported, {allocated} allocated");
}

/// A runtime with so many recorders of a shape, after their events; and what they took by the allocator and by the report.
fn filled(name: usize, shape: (Shape, u32), many: usize) -> (MetricsRuntime, usize, i64) {
    let runtime = running(&format!("shape-{name}"));
    // What the first ones make for all: descriptors, lists of the worker.
    drop(create(&runtime, 100 + name, shape, 8));
    runtime.flush_blocking(PATIENCE).unwrap();
    let (before, reported) = (live(), runtime.memory().total());
    drop(create(&runtime, name, shape, many));
    runtime.flush_blocking(PATIENCE).unwrap();
    let allocated = live() - before;
    let reported = runtime.memory().total() - reported;
    (runtime, reported, allocated)
}

#[test]
fn the_report_agrees_with_the_allocator_for_every_kind_of_recorder_at_work_and_at_rest() {
    const MANY: usize = 300;
    /// Those of which readers' next copy is as large as the last.
    const STEADY: usize = 5;
    let _alone = alone();
    let at_first = live();
    let at_rest = |runtime: &MetricsRuntime| runtime.memory().recorders.iter().all(|row| row.queue == 0);
    let fill = |(name, shape)| {
        let filled = filled(name, shape, MANY);
        // What it gives back is not to be given back while the next is looked at.
        until("the queues give their memory back", || name >= STEADY || at_rest(&filled.0));
        filled
    };
    let runtimes: Vec<_> = SHAPES.into_iter().enumerate().map(fill).collect();
    for (name, (_, reported, allocated)) in runtimes.iter().enumerate().take(STEADY) {
        assert_close(*reported, *allocated, &format!("shape {name} at work"));
    }
    until("all queues give their memory back", || runtimes.iter().all(|(runtime, ..)| at_rest(runtime)));
    let (all_before, mut all_reported) = (live(), 0);
    for (name, (runtime, ..)) in runtimes.into_iter().enumerate() {
        let memory = runtime.memory();
        assert_eq!(memory.recorders.len(), MANY + 8);
        assert!(memory.recorders.windows(2).all(|pair| pair[0].bytes >= pair[1].bytes), "not sorted");
        let (before, reported) = (live(), memory.total());
        drop(memory);
        runtime.shutdown(PATIENCE).unwrap();
        drop(runtime);
        // Its threads let go of the last of it when they end.
        until(&format!("shape {name} frees {reported} bytes"), || {
            live() + reported as i64 * 95 / 100 < before
        });
        all_reported += reported;
    }
    // None has freed more than it has told of, but for what a runtime takes by itself.
    assert_close(all_reported, all_before - live(), "all at rest");
    // The next test finds nothing of this one's under way.
    until("all of it is given back", || live() < at_first + (1 << 17));
}

#[test]
fn the_report_names_metrics_and_labels_and_works_before_the_start_and_after_the_end() {
    let _alone = alone();
    let runtime = MetricsRuntime::builder("names").build().unwrap();
    assert!(runtime.memory().recorders.is_empty());
    let recorder = SHAPES[4].0(runtime.recorder::<Saved>("one")).counter("plain", |c| c).create().unwrap();
    let unused = &runtime.memory().recorders[0];
    assert_eq!((unused.queue, unused.metrics[0].series), (0, 0));
    assert!(unused.bytes > unused.metrics.iter().map(|metric| metric.bytes).sum());
    runtime.start().unwrap();
    for user in [7, 10, 7, 1_234_567] {
        recorder.register_event(Saved { user, bytes: 1 });
    }
    runtime.shutdown(PATIENCE).unwrap();
    let used = &runtime.memory().recorders[0];
    assert_eq!(used.metrics[0].name.as_str(), "sizes.by.user");
    let labels: Vec<_> = used.metrics[0].labels.iter().map(|(key, bytes)| (key.as_str(), *bytes)).collect();
    // 7, 10 and 1234567; true, false and true.
    assert_eq!(labels, [("odd", 13 + 12), ("user", 10 + 12)]);
    assert_eq!((used.metrics[1].series, used.metrics[1].labels.len()), (1, 0));
    assert!(used.metrics[0].bytes > used.metrics[1].bytes);
    assert!(runtime.memory().total() > used.bytes);
}

/// What a recorder of a counter and a histogram of 14 buckets takes, never used and at rest, without its place in the registry. The budget B15 asks for
/// 1,024 and 2,048 bytes with it and with a label; what was reached is kept.
const REACHED: (usize, usize) = (966, 1_840);

#[test]
fn a_recorder_takes_no_more_than_was_reached_unused_and_at_rest() {
    const MANY: usize = 1_000;
    let _alone = alone();
    let runtime = running("bar");
    drop(create(&runtime, 100, SHAPES[3], 8));
    let registry = runtime.memory().registry;
    let before = live();
    let recorders: Vec<_> = (0..MANY)
        .map(|id| SHAPES[3].0(runtime.recorder::<Saved>(&format!("connection-{id}"))).create().unwrap())
        .collect();
    // The handles are the user's; the registry's table grows by leaps.
    let handles = recorders.capacity() * size_of::<Recorder<Saved>>();
    let own = |bytes: i64| (bytes as usize - handles - (runtime.memory().registry - registry)) / MANY;
    let unused = own(live() - before);
    recorders.iter().for_each(|recorder| recorder.register_event(Saved { user: 0, bytes: 3 }));
    runtime.flush_blocking(PATIENCE).unwrap();
    until("the queues are released", || runtime.memory().recorders.iter().all(|row| row.queue == 0));
    let at_rest = own(live() - before);
    assert!(unused <= REACHED.0 && at_rest <= REACHED.1, "{unused} bytes unused, {at_rest} at rest");
    runtime.shutdown(PATIENCE).unwrap();
    drop((runtime, recorders));
    until("all of it is given back", || live() <= before);
}
