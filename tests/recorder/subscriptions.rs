//! DESIGN 3.8: subscriptions give async consumers every change or an exact count of those they missed, and hold up nobody.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::ChangeNotice;
use mvx_metrics::ErrorKind;
use mvx_metrics::Metric;
use mvx_metrics::Recorder;
use mvx_metrics::Subscription;
use mvx_metrics::Verdict;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::task::Context;
use std::task::Wake;
use std::task::Waker;
use std::thread;

fn odd(name: &str) -> impl Metric<Number> + use<> {
    Probe::new(name, |event: &Number| if event.0 % 2 == 1 { Verdict::Accepted } else { Verdict::Ignored })
}

fn subscribed(recorder: &Recorder<Number>, changes: u32) -> Subscription {
    let subscription = recorder.subscribe(changes);
    subscription.begun().wait(PATIENCE).unwrap();
    subscription
}

fn feed(recorder: &Recorder<Number>, numbers: std::ops::Range<u64>) {
    numbers.for_each(|n| recorder.try_register_event(Number(n)).unwrap());
    recorder.flush_blocking(PATIENCE).unwrap();
}

fn told(notice: &ChangeNotice) -> (String, String, u64) {
    (notice.recorder().to_string(), notice.metric_name().to_string(), notice.sequence())
}

fn waiting(subscription: &mut Subscription) -> Vec<u64> {
    std::iter::from_fn(|| subscription.try_recv()).map(|notice| notice.sequence()).collect()
}

#[test]
fn each_change_is_received_in_order_with_recorder_metric_and_sequence() {
    let runtime = running("order");
    let recorder = runtime.recorder("order").counter("all", |c| c).metric(odd("odd")).create().unwrap();
    let mut changes = subscribed(&recorder, 100);
    feed(&recorder, 0..4);
    let expected = [("all", 1), ("all", 2), ("odd", 2), ("all", 3), ("all", 4), ("odd", 4)];
    for (metric, sequence) in expected {
        let notice = by_hand(changes.recv()).unwrap();
        assert_eq!(told(&notice), ("order".to_owned(), metric.to_owned(), sequence));
    }
    assert_eq!((changes.try_recv(), changes.missed(), changes.is_ended()), (None, 0, false));
}

#[test]
fn what_finds_no_room_is_missed_exactly_and_later_changes_come_again() {
    let runtime = running("full");
    let recorder = runtime.recorder::<Number>("full").counter("all", |c| c).create().unwrap();
    let (mut small, mut large) = (subscribed(&recorder, 4), subscribed(&recorder, 1_000));
    assert_eq!((small.capacity(), large.capacity()), (4, 1_000));
    feed(&recorder, 0..10);
    assert_eq!((small.missed(), large.missed()), (6, 0));
    assert_eq!(small.try_recv().unwrap().sequence(), 1);
    feed(&recorder, 10..12);
    assert_eq!((waiting(&mut small), small.missed()), (vec![2, 3, 4, 11], 7));
    assert_eq!(waiting(&mut large), (1..13).collect::<Vec<_>>());
    // After a flush, as here, a receiver that has received the last waiting change sees what it missed.
    assert_eq!(recorder.snapshot().counter("all", &[]), Some(12));
}

#[test]
fn a_capacity_out_of_range_is_the_nearest_in_range() {
    let runtime = running("range");
    let recorder = runtime.recorder::<Number>("range").counter("all", |c| c).create().unwrap();
    assert_eq!(recorder.subscribe(u32::MAX).capacity(), u64::from(mvx_metrics::limits::MAX_CAPACITY));
    let mut one = subscribed(&recorder, 0);
    assert_eq!(one.capacity(), 1);
    feed(&recorder, 0..3);
    assert_eq!((waiting(&mut one), one.missed()), (vec![1], 2));
}

#[test]
fn a_receiver_is_woken_in_every_flavour_of_tokio_and_by_hand() {
    let runtime = running("woken");
    let recorder = runtime.recorder::<Number>("woken").counter("all", |c| c).create().unwrap();
    let (sender, received) = mpsc::channel();
    let receive = |mut changes: Subscription, sender: mpsc::Sender<u64>| async move {
        while let Some(notice) = changes.recv().await {
            sender.send(notice.sequence()).unwrap();
        }
    };
    let single = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let futures = [(); 3].map(|()| receive(subscribed(&recorder, 10), sender.clone()));
    let [by_single, by_multi, alone] = futures;
    drop(sender);
    thread::scope(|scope| {
        scope.spawn(|| single.block_on(by_single));
        let spawned = multi.spawn(by_multi);
        scope.spawn(|| by_hand(alone));
        for n in 1..=scaled(50) {
            // One at a time, so that each of them sleeps in between.
            recorder.register_event(Number(n));
            let three = [(); 3].map(|()| received.recv_timeout(PATIENCE).unwrap());
            assert_eq!(three, [n; 3]);
        }
        runtime.stop_and_remove("woken", PATIENCE).unwrap();
        multi.block_on(spawned).unwrap();
    });
    assert!(received.recv_timeout(PATIENCE).is_err());
}

#[test]
fn a_receive_dropped_half_way_loses_nothing() {
    let runtime = running("cancel");
    let recorder = runtime.recorder::<Number>("cancel").counter("all", |c| c).create().unwrap();
    let mut changes = subscribed(&recorder, 10);
    for n in 0..10 {
        {
            let mut dropped = pin!(changes.recv());
            assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            feed(&recorder, n..n + 1);
        }
        assert_eq!(by_hand(changes.recv()).unwrap().sequence(), n + 1);
    }
}

#[test]
fn a_removed_recorder_ends_its_subscriptions_after_the_last_change() {
    let runtime = running("removed");
    let recorder = runtime.recorder::<Number>("removed").counter("all", |c| c).create().unwrap();
    let mut changes = subscribed(&recorder, 10);
    feed(&recorder, 0..1);
    recorder.stop().wait(PATIENCE).unwrap();
    // A stop is no end.
    assert!(!changes.is_ended());
    recorder.start().wait(PATIENCE).unwrap();
    (1..3).for_each(|n| recorder.try_register_event(Number(n)).unwrap());
    runtime.stop_and_remove("removed", PATIENCE).unwrap();
    assert!(!changes.is_ended());
    for sequence in 1..4 {
        assert_eq!(by_hand(changes.recv()).map(|notice| notice.sequence()), Some(sequence));
    }
    assert!(changes.is_ended());
    assert_eq!((by_hand(changes.recv()), by_hand(changes.recv()), changes.missed()), (None, None, 0));
    let mut late = recorder.subscribe(10);
    assert_eq!(late.begun().wait(PATIENCE).unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(late.is_ended() && by_hand(late.recv()).is_none());
}

#[test]
fn a_shutdown_wakes_receivers_to_their_end_also_past_a_stuck_metric() {
    let (runtime, gate) = (running("shutdown"), Gate::default());
    let stuck = runtime.recorder("stuck").metric(stopper("all", 1, &gate)).create().unwrap();
    let quiet = runtime.recorder::<Number>("quiet").counter("all", |c| c).create().unwrap();
    let (mut from_stuck, mut from_quiet) = (subscribed(&stuck, 10), subscribed(&quiet, 10));
    thread::scope(|scope| {
        let quiet_end = scope.spawn(move || by_hand(from_quiet.recv()));
        stuck.register_event(Number(0));
        assert_eq!(by_hand(from_stuck.recv()).map(|notice| notice.sequence()), Some(1));
        stuck.register_event(Number(1));
        gate.until_reached();
        let stuck_end = scope.spawn(move || by_hand(from_stuck.recv()));
        let report = runtime.shutdown(std::time::Duration::from_millis(50)).unwrap();
        assert!(!report.is_complete());
        assert_eq!(quiet_end.join().unwrap(), None);
        assert_eq!(stuck_end.join().unwrap(), None);
        gate.open();
    });
}

#[test]
fn dropping_the_task_of_a_detached_recorder_ends_its_subscriptions() {
    let (recorder, task) = Recorder::<Number>::detached("detached").counter("all", |c| c).create().unwrap();
    let mut task = Box::pin(task);
    let mut changes = recorder.subscribe(10);
    let mut poll = || assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    poll();
    (0..2).for_each(|n| recorder.register_event(Number(n)));
    poll();
    recorder.register_event(Number(2));
    drop(task);
    assert_eq!(waiting(&mut changes), [1, 2]);
    assert!(by_hand(changes.recv()).is_none());
}

#[cfg(panic = "unwind")]
#[test]
fn a_waker_that_panics_harms_neither_the_worker_nor_the_other_receivers() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            resume_unwind(Box::new("a mistake of the user"));
        }
    }
    let runtime = running("wakers");
    let recorder = runtime.recorder::<Number>("wakers").counter("all", |c| c).create().unwrap();
    let (mut bad, mut good) = (subscribed(&recorder, 10), subscribed(&recorder, 10));
    let waker = Waker::from(Arc::new(Bad));
    assert!(bad.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    thread::scope(|scope| {
        let received = scope.spawn(|| by_hand(good.recv()).map(|notice| notice.sequence()));
        feed(&recorder, 0..1);
        assert_eq!(received.join().unwrap(), Some(1));
    });
    assert_eq!((recorder.snapshot().quarantined_observers(), waiting(&mut bad)), (0, vec![1]));
    // Woken by the end as well.
    assert!(bad.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    assert!(by_hand(bad.recv()).is_none());
}

#[test]
fn nobody_is_held_up_and_nothing_is_unaccounted_while_receivers_come_and_go_under_load() {
    let runtime = running("load");
    let recorder =
        runtime.recorder("load").capacity(1 << 16).counter("all", |c| c).metric(odd("odd")).create().unwrap();
    // Never receives; the worker must not care.
    let idle = subscribed(&recorder, 3);
    let mut steady = subscribed(&recorder, 64);
    let (over, events) = (AtomicBool::new(false), scaled(50_000));
    let (received, last) = thread::scope(|scope| {
        let steady = &mut steady;
        let receiving = scope.spawn(move || {
            let (mut received, mut last) = (0, 0);
            while let Some(notice) = by_hand(steady.recv()) {
                assert!(notice.sequence() >= last);
                (received, last) = (received + 1, notice.sequence());
            }
            (received, last)
        });
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let mut brief = subscribed(&recorder, 8);
                until("something changes", || over.load(Ordering::Acquire) || brief.try_recv().is_some());
            }
        });
        let _over = Over(&over);
        (0..events).for_each(|n| insist(&recorder, Number(n)));
        recorder.flush_blocking(PATIENCE).unwrap();
        over.store(true, Ordering::Release);
        runtime.stop_and_remove("load", PATIENCE).unwrap();
        receiving.join().unwrap()
    });
    let changes = events + events / 2;
    assert_eq!(received + steady.missed(), changes, "{steady:?} after {last}");
    assert_eq!(idle.missed(), changes - 3);
    assert_eq!(recorder.accounts().processed, events);
}

#[test]
fn a_subscription_may_be_read_and_dropped_on_the_worker_inside_its_own_metric() {
    let runtime = running("worker");
    let kept = Arc::new(std::sync::Mutex::new(None::<Subscription>));
    let (own, (sender, told)) = (Arc::clone(&kept), mpsc::channel());
    let reader = Probe::new("reader", move |event: &Number| {
        let mut kept = own.lock().unwrap();
        if let Some(changes) = kept.as_mut() {
            waiting(changes).into_iter().for_each(|sequence| sender.send(sequence).unwrap());
        }
        if event.0 == 3 {
            drop(kept.take());
        }
        Verdict::Ignored
    });
    let recorder = runtime.recorder("worker").counter("all", |c| c).metric(reader).create().unwrap();
    *kept.lock().unwrap() = Some(subscribed(&recorder, 10));
    feed(&recorder, 0..6);
    // Told after each event, so the reader of an event sees the one before and, of its own, what stands before it in line.
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(recorder.accounts().processed, 6);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}
