//! DESIGN 3.1: a producer's own buffer, under the same accounts as every other hand-off.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use mvx_metrics::Clock;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::SystemClock;
use mvx_metrics::Timestamp;
use mvx_metrics::Verdict;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const NEVER: Duration = Duration::MAX;

fn idle(capacity: u32) -> (MetricsRuntime, Recorder<Number>) {
    let runtime = MetricsRuntime::builder("idle").build().unwrap();
    let recorder = runtime.recorder("idle").capacity(capacity).counter("events", |c| c).create().unwrap();
    (runtime, recorder)
}

#[test]
fn events_are_offered_when_the_buffer_is_full_handed_over_or_dropped_and_not_before() {
    let (_runtime, recorder) = idle(100);
    let mut buffer = recorder.buffered(4, NEVER);
    let mut seen = Vec::new();
    for n in 0..10 {
        buffer.register_event(Number(n));
        seen.push((recorder.accounts().offered(), buffer.len()));
    }
    let expected = [(0, 1), (0, 2), (0, 3), (4, 0), (4, 1), (4, 2), (4, 3), (8, 0), (8, 1), (8, 2)];
    assert_eq!(seen, expected);
    assert_eq!((buffer.hand_over(), buffer.hand_over(), buffer.is_empty()), (2, 0, true));
    buffer.register_event(Number(10));
    assert_eq!(recorder.accounts().offered(), 10);
    drop(buffer);
    assert_eq!((recorder.accounts().accepted, recorder.accounts().rejected.total()), (11, 0));
}

#[cfg(feature = "testing")]
#[test]
fn the_first_event_after_the_interval_takes_all_with_it_on_the_recorders_clock() {
    let mut stepped = mvx_metrics::testing::SteppedRuntime::new("interval").unwrap();
    let recorder = stepped.recorder::<Number>("interval").counter("events", |c| c).create().unwrap();
    let mut buffer = recorder.buffered(100, Duration::from_millis(10));
    let mut offered = |millis: u64| {
        stepped.clock().advance(Duration::from_millis(millis));
        buffer.register_event(Number(0));
        recorder.accounts().offered()
    };
    assert_eq!([0, 9, 1, 9, 9, 1, 20, 10].map(&mut offered), [0, 0, 3, 3, 3, 6, 6, 8]);
    // Measured from the first that is kept, not from the last hand-over.
    assert_eq!([50, 9, 1].map(&mut offered), [8, 8, 11]);
    drop(buffer);
    stepped.settle();
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(11));
}

#[test]
fn no_interval_is_no_look_at_the_clock_and_a_zero_one_hands_over_at_once() {
    thread_local! {
        static LOOKS: Cell<u64> = const { Cell::new(0) };
    }
    #[derive(Debug)]
    struct Watched(SystemClock);
    impl Clock for Watched {
        fn now(&self) -> Timestamp {
            LOOKS.with(|looks| looks.set(looks.get() + 1));
            self.0.now()
        }
    }
    let runtime = MetricsRuntime::builder("clock").clock(Watched(SystemClock::new())).build().unwrap();
    let recorder = runtime.recorder::<Number>("clock").create().unwrap();
    let looks = || LOOKS.with(|looks| looks.replace(0));
    let _ = looks();
    let mut buffer = recorder.buffered(10, NEVER);
    (0..25).for_each(|n| buffer.register_event(Number(n)));
    assert_eq!((looks(), recorder.accounts().offered()), (0, 20));
    let mut at_once = recorder.buffered(10, Duration::ZERO);
    (0..3).for_each(|n| at_once.register_event(Number(n)));
    assert_eq!((looks(), recorder.accounts().offered(), at_once.len()), (3, 23, 0));
}

#[test]
fn a_size_out_of_range_is_the_nearest_in_range() {
    let (_runtime, recorder) = idle(8);
    assert_eq!([0, 1, 8, 9, usize::MAX].map(|n| recorder.buffered(n, NEVER).capacity()), [1, 1, 8, 8, 8]);
    let mut buffer = recorder.buffered(0, NEVER);
    buffer.register_event(Number(0));
    assert_eq!((buffer.len(), buffer.recorder().accounts().accepted), (0, 1));
}

#[test]
fn what_is_refused_is_rejected_exactly_once_with_its_reason() {
    let (runtime, recorder) = idle(5);
    let mut buffer = recorder.buffered(3, NEVER);
    (0..6).for_each(|n| buffer.register_event(Number(n)));
    assert_eq!((recorder.accounts().accepted, recorder.accounts().rejected.full), (5, 1));
    buffer.register_event(Number(6));
    assert_eq!(buffer.hand_over(), 0);
    assert_eq!((recorder.accounts().rejected.full, buffer.len()), (2, 0));
    buffer.register_event(Number(7));
    let _ = runtime.shutdown(PATIENCE).unwrap();
    drop(buffer);
    let accounts = recorder.accounts();
    assert_eq!((accounts.rejected.closed, accounts.offered()), (1, 8));
}

#[cfg(panic = "unwind")]
#[test]
fn refused_events_whose_destructors_panic_harm_nobody_and_are_all_counted() {
    struct Bomb(Arc<Mutex<u64>>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
            resume_unwind(Box::new("a mistake of the user"));
        }
    }
    impl MetricEvent for Bomb {
        fn event_type(&self) -> &'static str {
            "bomb"
        }
    }
    let runtime = running("bombs");
    let recorder = runtime.recorder::<Bomb>("bombs").counter("bombs", |c| c).create().unwrap();
    let dropped = Arc::new(Mutex::new(0));
    runtime.stop_and_remove("bombs", PATIENCE).unwrap();
    let mut buffer = recorder.buffered(2, NEVER);
    (0..5).for_each(|_| buffer.register_event(Bomb(Arc::clone(&dropped))));
    drop(buffer);
    assert_eq!((recorder.accounts().rejected.closed, *dropped.lock().unwrap()), (5, 5));
}

#[test]
fn a_buffer_keeps_its_order_and_hands_over_as_one() {
    let (runtime, gate) = (running("order"), Gate::default());
    let (sender, seen) = mpsc::channel();
    let probe = Probe::new("seen", move |event: &Number| {
        let _ = sender.send(event.0);
        Verdict::Accepted
    });
    let recorder = runtime.recorder("order").metric(stopper("all", 0, &gate)).metric(probe).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    thread::scope(|scope| {
        for thread in 1..4 {
            let mut buffer = recorder.buffered(10, NEVER);
            scope.spawn(move || (0..100).for_each(|n| buffer.register_event(Number(thread * 1_000 + n))));
        }
    });
    gate.open();
    recorder.flush_blocking(PATIENCE).unwrap();
    let seen: Vec<_> = seen.try_iter().skip(1).collect();
    assert_eq!(seen.len(), 300);
    for ten in seen.chunks(10) {
        assert!(ten[0] % 10 == 0 && ten.windows(2).all(|two| two[1] == two[0] + 1), "{ten:?}");
    }
    for thread in 1..4 {
        let own: Vec<_> = seen.iter().filter(|n| **n / 1_000 == thread).collect();
        assert!(own.is_sorted() && own.len() == 100);
    }
}

#[test]
fn the_law_holds_for_buffers_of_many_producers_against_a_stop_under_both_policies() {
    for round in 0..scaled(30) {
        let policy = if round % 2 == 0 { OverflowPolicy::DropNewest } else { OverflowPolicy::DropOldest };
        let runtime = running("law");
        let recorder =
            runtime.recorder("law").capacity(64).overflow(policy).counter("events", |c| c).create().unwrap();
        let stated = 3 * 2_000;
        thread::scope(|scope| {
            for thread in 0..3 {
                let mut buffer = recorder.buffered(1 + 20 * thread, Duration::from_micros(50));
                scope.spawn(move || (0..2_000).for_each(|n| buffer.register_event(Number(n))));
            }
            if round % 3 == 0 {
                crate::support::until("events come", || recorder.accounts().processed > 0);
                recorder.stop().wait(PATIENCE).unwrap();
            }
        });
        recorder.stop().wait(PATIENCE).unwrap();
        let accounts = recorder.accounts();
        assert_eq!(accounts.offered(), stated, "{accounts:?}");
        assert_eq!(accounts.accepted, accounts.processed + accounts.dropped.total(), "{accounts:?}");
        assert_eq!(recorder.snapshot().counter("events", &[]), Some(accounts.processed));
    }
}
