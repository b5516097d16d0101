//! DESIGN 3.1: handing an event over is synchronous, works from anywhere, never blocks, never panics, and loses nothing in silence.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use mvx_metrics::DynEvent;
use mvx_metrics::EventSink;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::NoopSink;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::RegisterError;
use mvx_metrics::Verdict;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

const POLICIES: [OverflowPolicy; 2] = [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest];

/// A recorder whose metric keeps the numbers it has seen.
fn listening(runtime: &MetricsRuntime, id: &str) -> (Recorder<Number>, Arc<Mutex<Vec<u64>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let metric = Probe::new("numbers", move |number: &Number| {
        sees.lock().unwrap().push(number.0);
        Verdict::Accepted
    });
    (runtime.recorder(id).metric(metric).create().unwrap(), seen)
}

/// A recorder that nobody drains.
fn undrained(policy: OverflowPolicy, capacity: u32) -> (MetricsRuntime, Recorder<Number>) {
    let runtime = MetricsRuntime::builder("undrained").build().unwrap();
    let recorder = runtime.recorder("still").overflow(policy).capacity(capacity).create().unwrap();
    (runtime, recorder)
}

#[test]
fn events_are_taken_on_plain_threads_and_in_every_flavour_of_tokio() {
    let runtime = running("anywhere");
    let (recorder, seen) = listening(&runtime, "anywhere");
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();

    recorder.register_event(Number(0));
    thread::scope(|scope| {
        scope.spawn(|| recorder.register_event(Number(1)));
    });
    current.block_on(async { recorder.register_event(Number(2)) });
    let taken = recorder.clone();
    current
        .block_on(async {
            let local = tokio::task::LocalSet::new();
            let task =
                async { tokio::task::spawn_local(async move { taken.register_event(Number(3)) }).await };
            local.run_until(task).await
        })
        .unwrap();
    let taken = recorder.clone();
    multi.block_on(async { tokio::spawn(async move { taken.register_event(Number(4)) }).await.unwrap() });
    let taken = recorder.clone();
    multi.block_on(async {
        tokio::task::spawn_blocking(move || taken.register_event(Number(5))).await.unwrap();
    });
    multi.block_on(async { tokio::task::block_in_place(|| recorder.register_event(Number(6))) });

    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_metric_may_register_events_of_its_own_recorder_and_of_another() {
    for policy in POLICIES {
        let runtime = running("again");
        let (other, told) = listening(&runtime, "other");
        let own = Arc::new(OnceLock::<Recorder<Number>>::new());
        let (handle, sink) = (Arc::clone(&own), other.clone());
        let metric = Probe::new("countdown", move |number: &Number| {
            sink.register_event(*number);
            if let (Some(own), Some(less)) = (handle.get(), number.0.checked_sub(1)) {
                own.register_event(Number(less));
            }
            Verdict::Accepted
        });
        let recorder = runtime.recorder("own").overflow(policy).metric(metric).create().unwrap();
        own.set(recorder.clone()).unwrap();
        recorder.register_event(Number(500));
        crate::support::until("the countdown ends", || recorder.accounts().processed == 501);
        other.flush_blocking(PATIENCE).unwrap();
        assert!(told.lock().unwrap().iter().copied().eq((0..=500).rev()), "{policy:?}");
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    }
}

#[test]
fn a_metric_that_floods_its_own_recorder_is_refused_and_never_waits() {
    let runtime = running("flood");
    let own = Arc::new(OnceLock::<Recorder<Number>>::new());
    let handle = Arc::clone(&own);
    let metric = Probe::new("flood", move |number: &Number| {
        if number.0 == 0 {
            let refused = (1..=10).filter(|n| handle.get().unwrap().try_register_event(Number(*n)).is_err());
            return if refused.count() == 7 { Verdict::Accepted } else { Verdict::Ignored };
        }
        Verdict::Accepted
    });
    let recorder = runtime.recorder("flood").capacity(4).metric(metric).create().unwrap();
    own.set(recorder.clone()).unwrap();
    recorder.register_event(Number(0));
    crate::support::until("all are processed", || recorder.accounts().processed == 4);
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.accounts().rejected.full, 7);
    assert_eq!(recorder.snapshot().counter("flood", &[]), Some(4));
}

/// An event whose destructor panics.
struct Bomb(Arc<AtomicU64>);

impl MetricEvent for Bomb {
    fn event_type(&self) -> &'static str {
        "bomb"
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
        // Not `panic!`: the hook would print each of them.
        resume_unwind(Box::new("the event's own destructor"));
    }
}

#[cfg(panic = "unwind")]
#[test]
fn an_event_that_panics_when_refused_does_not_panic_its_caller() {
    for policy in POLICIES {
        let runtime = MetricsRuntime::builder("bombs").build().unwrap();
        let recorder = runtime.recorder::<Bomb>("bombs").overflow(policy).capacity(2).create().unwrap();
        let dropped = Arc::new(AtomicU64::new(0));
        let offer = |recorder: &Recorder<Bomb>| {
            catch_unwind(AssertUnwindSafe(|| recorder.register_event(Bomb(Arc::clone(&dropped))))).is_ok()
        };
        assert!((0..5).all(|_| offer(&recorder)), "full, {policy:?}");
        assert_eq!(dropped.load(Ordering::Acquire), 3);
        let mut batch: Vec<_> = (0..2).map(|_| Bomb(Arc::clone(&dropped))).collect();
        let taken = catch_unwind(AssertUnwindSafe(|| recorder.register_events(&mut batch)));
        assert_eq!(taken.unwrap(), if policy == OverflowPolicy::DropOldest { 2 } else { 0 });
        // What came back is the caller's own, and so would be its panic.
        batch.into_iter().for_each(std::mem::forget);
        let report = runtime.shutdown(PATIENCE).unwrap();
        assert_eq!(report.accounts().pending(), 0);
        assert!(offer(&recorder), "closed, {policy:?}");
        assert_eq!(recorder.accounts().rejected.closed, 1);
    }
}

#[cfg(panic = "unwind")]
#[test]
fn an_event_that_panics_when_processed_is_processed_and_the_next_ones_are_too() {
    for policy in POLICIES {
        let runtime = running("bombs");
        let recorder =
            runtime.recorder::<Bomb>("bombs").overflow(policy).counter("bombs", |c| c).create().unwrap();
        let dropped = Arc::new(AtomicU64::new(0));
        for _ in 0..100 {
            recorder.register_event(Bomb(Arc::clone(&dropped)));
        }
        recorder.flush_blocking(PATIENCE).unwrap();
        assert_eq!(recorder.snapshot().counter("bombs", &[]), Some(100));
        assert_eq!(dropped.load(Ordering::Acquire), 100);
        assert_eq!(recorder.accounts().processed, 100);
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    }
}

#[cfg(panic = "unwind")]
#[test]
fn events_left_in_an_abandoned_queue_are_dropped_once_with_the_last_handle_and_their_panics_end_there() {
    for policy in POLICIES {
        let runtime = MetricsRuntime::builder("bombs").build().unwrap();
        let recorder = runtime.recorder::<Bomb>("bombs").overflow(policy).create().unwrap();
        let dropped = Arc::new(AtomicU64::new(0));
        for _ in 0..100 {
            recorder.register_event(Bomb(Arc::clone(&dropped)));
        }
        assert_eq!(runtime.shutdown(PATIENCE).unwrap().accounts().dropped.removed, 100);
        let quiet = catch_unwind(AssertUnwindSafe(move || drop((runtime, recorder))));
        assert!(quiet.is_ok(), "{policy:?}");
        assert_eq!(dropped.load(Ordering::Acquire), 100, "{policy:?}");
    }
}

/// A metric whose destructor panics.
struct Landmine;

impl Drop for Landmine {
    fn drop(&mut self) {
        resume_unwind(Box::new("the metric's own destructor"));
    }
}

#[cfg(panic = "unwind")]
#[test]
fn a_metric_that_panics_when_dropped_panics_nobody() {
    let mine = |name: &str| {
        let mine = Landmine;
        Probe::new(name, move |_: &Number| {
            let _held = &mine;
            Verdict::Accepted
        })
    };
    let quiet = catch_unwind(AssertUnwindSafe(|| {
        let runtime = running("mines");
        let recorder = runtime.recorder("mines").metric(mine("m.a")).metric(mine("m.b")).create().unwrap();
        // Declared twice, so that the first stays; refused for its id; removed while its handle lives; gone with the last handle.
        drop(runtime.recorder("twice").metric(mine("m.a")).metric(mine("m.a")));
        assert!(recorder.register_metric(mine("m.a")).wait(PATIENCE).is_ok());
        assert!(runtime.recorder("mines").metric(mine("m.a")).create().is_err());
        recorder.register_event(Number(1));
        recorder.flush_blocking(PATIENCE).unwrap();
        runtime.stop_and_remove("mines", PATIENCE).unwrap();
        drop(recorder);
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    }));
    assert!(quiet.is_ok());
}

#[test]
fn a_refused_event_comes_back_with_the_reason_and_is_counted_under_it() {
    for policy in POLICIES {
        let (runtime, recorder) = undrained(policy, 1);
        recorder.register_event(Number(1));
        match (policy, recorder.try_register_event(Number(2))) {
            (OverflowPolicy::DropNewest, Err(RegisterError::Full(Number(2)))) => {}
            (OverflowPolicy::DropOldest, Ok(())) => {}
            (_, other) => panic!("{policy:?}: {other:?}"),
        }
        let _ = runtime.shutdown(PATIENCE).unwrap();
        match recorder.try_register_event(Number(3)) {
            Err(RegisterError::Closed(Number(3))) => {}
            other => panic!("{policy:?}: {other:?}"),
        }
        let (accounts, newest) = (recorder.accounts(), u64::from(policy == OverflowPolicy::DropNewest));
        assert_eq!((accounts.rejected.full, accounts.rejected.closed), (newest, 1));
        assert_eq!((accounts.dropped.evicted, accounts.dropped.removed), (1 - newest, 1));
        assert_eq!((accounts.offered(), accounts.accepted), (3, 2 - newest));
    }
}

#[test]
fn with_every_place_in_the_workers_hands_drop_oldest_has_nothing_to_evict_and_refuses() {
    let (runtime, gate) = (running("hands"), Gate::default());
    let recorder = runtime
        .recorder::<Number>("hands")
        .overflow(OverflowPolicy::DropOldest)
        .capacity(1)
        .metric(stopper("numbers", 0, &gate))
        .create()
        .unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    assert!(matches!(recorder.try_register_event(Number(1)), Err(RegisterError::Full(Number(1)))));
    let mut batch = vec![Number(2), Number(3)];
    assert_eq!((recorder.register_events(&mut batch), batch.len()), (0, 2));
    gate.open();
    recorder.flush_blocking(PATIENCE).unwrap();
    let accounts = recorder.accounts();
    assert_eq!((accounts.rejected.full, accounts.dropped.evicted, accounts.processed), (3, 0, 1));
}

#[test]
fn a_batch_moves_out_the_prefix_that_fits_and_leaves_and_counts_the_rest() {
    let (_runtime, recorder) = undrained(OverflowPolicy::DropNewest, 10);
    let mut events: Vec<_> = (0..7).map(Number).collect();
    assert_eq!((recorder.register_events(&mut events), events.len()), (7, 0));
    events.extend((7..15).map(Number));
    let held = events.capacity();
    assert_eq!(recorder.register_events(&mut events), 3);
    assert!(events.iter().copied().eq((10..15).map(Number)), "{events:?}");
    assert_eq!(events.capacity(), held);
    assert_eq!(recorder.register_events(&mut events), 0);
    assert_eq!(recorder.register_events(&mut Vec::new()), 0);
    let accounts = recorder.accounts();
    assert_eq!((accounts.accepted, accounts.rejected.full, accounts.offered()), (10, 10, 20));
}

#[test]
fn a_batch_stands_together_in_the_order_even_with_rivals() {
    let runtime = running("together");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let metric = Probe::new("numbers", move |number: &Number| {
        sees.lock().unwrap().push(number.0);
        Verdict::Accepted
    });
    let recorder = runtime.recorder("together").capacity(1 << 16).metric(metric).create().unwrap();
    let (batches, length) = (scaled(150), 512);
    thread::scope(|scope| {
        for producer in 0..3_u64 {
            let recorder = &recorder;
            scope.spawn(move || {
                let base = producer << 32;
                for batch in 0..batches {
                    let mut events: Vec<_> = (0..length).map(|n| Number(base + batch * length + n)).collect();
                    while recorder.accounts().pending() > recorder.capacity() / 2 {
                        thread::yield_now();
                    }
                    assert_eq!(recorder.register_events(&mut events) as u64, length);
                }
            });
        }
        let recorder = &recorder;
        scope.spawn(move || (0..batches * length).for_each(|n| insist(recorder, Number(3 << 32 | n))));
    });
    recorder.flush_blocking(PATIENCE).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len() as u64, 4 * batches * length);
    let mut at = 0;
    while at < seen.len() {
        let first = seen[at];
        // Single events of the rival stand between batches; a batch is never interrupted.
        let run = if first >> 32 == 3 { 1 } else { length };
        let torn = (0..run).find(|n| seen.get(at + *n as usize) != Some(&(first + n)));
        assert_eq!(torn, None, "the batch at {at} is torn");
        at += run as usize;
    }
}

#[test]
fn drop_oldest_keeps_the_newest_and_counts_the_evicted() {
    for batched in [false, true] {
        let runtime = MetricsRuntime::builder("newest").build().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        let metric = Probe::new("numbers", move |number: &Number| {
            sees.lock().unwrap().push(number.0);
            Verdict::Accepted
        });
        let recorder = runtime
            .recorder("newest")
            .overflow(OverflowPolicy::DropOldest)
            .capacity(10)
            .metric(metric)
            .create()
            .unwrap();
        if batched {
            for start in [0, 4, 30] {
                let mut events: Vec<_> = (start..start + 26).map(Number).collect();
                assert_eq!((recorder.register_events(&mut events), events.len()), (26, 0));
            }
        } else {
            (0..56).for_each(|n| recorder.register_event(Number(n)));
        }
        runtime.start().unwrap();
        recorder.flush_blocking(PATIENCE).unwrap();
        assert!(seen.lock().unwrap().iter().copied().eq(46..56), "{seen:?}");
        let accounts = recorder.accounts();
        assert_eq!((accounts.processed, accounts.dropped.evicted), (10, accounts.accepted - 10));
        assert_eq!(accounts.rejected.total(), 0);
    }
}

/// An event of a library that knows nothing of the application's.
struct CacheHit(u64);

impl MetricEvent for CacheHit {
    fn event_type(&self) -> &'static str {
        "cache.hit"
    }
}

impl From<CacheHit> for Number {
    fn from(hit: CacheHit) -> Self {
        Self(hit.0 * 100)
    }
}

#[test]
fn an_adapter_hands_over_events_of_another_type() {
    let runtime = running("adapted");
    let (recorder, seen) = listening(&runtime, "adapted");
    let adapter = recorder.adapt::<CacheHit>();
    let sink: Arc<dyn EventSink<CacheHit>> = Arc::new(adapter.clone());
    adapter.register_event(CacheHit(1));
    sink.register_event(CacheHit(2));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(*seen.lock().unwrap(), [100, 200]);
}

/// What a library with a generic sink does.
fn state_to(sink: impl EventSink<Number>, number: u64) -> bool {
    sink.register_event(Number(number));
    sink.is_enabled()
}

#[test]
fn every_kind_of_sink_leads_to_the_recorder_and_a_missing_one_to_nothing() {
    let runtime = running("sinks");
    let (recorder, seen) = listening(&runtime, "sinks");
    let boxed: Box<dyn EventSink<Number>> = Box::new(recorder.clone());
    let shared: Arc<dyn EventSink<Number>> = Arc::new(recorder.clone());
    assert!(state_to(&recorder, 0));
    assert!(state_to(recorder.clone(), 1));
    assert!(state_to(boxed, 2));
    assert!(state_to(&shared, 3));
    assert!(state_to(Some(shared), 4));
    assert!(!state_to(None::<Recorder<Number>>, 5));
    assert!(!state_to(NoopSink, 6));
    assert!(!state_to(Some(&NoopSink), 7));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(recorder.accounts().offered(), 5);
}

#[test]
fn one_recorder_takes_unrelated_events_in_a_box() {
    let runtime = running("open");
    let recorder = runtime
        .recorder::<DynEvent>("open")
        .counter("hits", |c| c.value(|e| e.downcast_ref::<CacheHit>().map(|hit| hit.0)))
        .counter("events", |c| c.label("type", |e| mvx_metrics::Label::fixed(e.event_type())))
        .create()
        .unwrap();
    recorder.register_event(DynEvent::new(CacheHit(7)));
    recorder.register_event(DynEvent::new(Number(1)));
    recorder.register_event(DynEvent::new(CacheHit(8)));
    recorder.flush_blocking(PATIENCE).unwrap();
    let snapshot = recorder.snapshot();
    assert_eq!(snapshot.counter("hits", &[]), Some(15));
    assert_eq!(snapshot.metric("hits").unwrap().tally().ignored, 1);
    assert_eq!(snapshot.counter("events", &[("type", "cache.hit")]), Some(2));
    assert_eq!(snapshot.counter("events", &[("type", "number")]), Some(1));
    // The original comes out of the box again by value.
    let hit = DynEvent::new(CacheHit(9)).downcast::<CacheHit>().map(|hit| hit.0);
    assert!(matches!(hit, Ok(9)));
    assert!(DynEvent::new(CacheHit(9)).downcast::<Number>().is_err());
}
