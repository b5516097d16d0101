//! DESIGN 3.1: back-pressure by method. Whoever waits for room gets it, or the event back; nobody waits for ever.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::Accounts;
use mvx_metrics::Metric;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use mvx_metrics::Verdict;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(5);
const PRODUCERS: u64 = 4;

type Log = Arc<Mutex<Vec<u64>>>;
type Refused = Result<(), RegisterError<Number>>;

fn logging(log: &Log) -> impl Metric<Number> + use<> {
    let log = Arc::clone(log);
    Probe::new("events", move |event: &Number| {
        log.lock().unwrap().push(event.0);
        Verdict::Accepted
    })
}

/// A recorder with `capacity` places, whose metric keeps the events it sees.
fn logged(runtime: &MetricsRuntime, id: &str, capacity: u32) -> (Recorder<Number>, Log) {
    let log = Log::default();
    let recorder = runtime.recorder(id).capacity(capacity).metric(logging(&log)).create().unwrap();
    (recorder, log)
}

/// A recorder of one place that is taken by an event (0) held in its metric.
fn full(runtime: &MetricsRuntime, id: &str) -> (Recorder<Number>, Gate) {
    let gate = Gate::default();
    let recorder = runtime.recorder(id).capacity(1).metric(stopper("events", 0, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    gate.until_reached();
    (recorder, gate)
}

/// The number of a producer's event.
fn number(producer: u64, nth: u64) -> Number {
    Number(producer * 1_000_000 + nth)
}

/// Everything was taken and processed, and every producer's events came in its order.
#[track_caller]
fn all_in_order(recorder: &Recorder<Number>, log: &Log, each: u64) {
    recorder.flush_blocking(PATIENCE).unwrap();
    let accounts = recorder.accounts();
    assert_eq!((accounts.accepted, accounts.processed), (PRODUCERS * each, PRODUCERS * each));
    assert_eq!((accounts.rejected.total(), accounts.dropped.total()), (0, 0));
    let log = log.lock().unwrap();
    for producer in 0..PRODUCERS {
        let own: Vec<_> = log.iter().copied().filter(|n| n / 1_000_000 == producer).collect();
        assert_eq!(own, (0..each).map(|nth| number(producer, nth).0).collect::<Vec<_>>());
    }
}

/// `accepted` events, all settled, and `offered` in all.
#[track_caller]
fn law(accounts: Accounts, accepted: u64, offered: u64) {
    assert_eq!(
        (accounts.accepted, accounts.offered(), accounts.pending()),
        (accepted, offered, 0),
        "{accounts:?}"
    );
}

struct CountWakes(AtomicU64);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future that is polled when the test says so, and a count of its wakes.
struct ByTest<'a> {
    future: Pin<Box<dyn Future<Output = Refused> + 'a>>,
    wakes: Arc<CountWakes>,
}

impl<'a> ByTest<'a> {
    fn new(future: impl Future<Output = Refused> + 'a) -> Self {
        Self { future: Box::pin(future), wakes: Arc::new(CountWakes(AtomicU64::new(0))) }
    }

    fn poll(&mut self) -> Poll<Refused> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn is_told(&self) -> bool {
        self.wakes.0.load(Ordering::SeqCst) > 0
    }
}

async fn produce(recorder: Recorder<Number>, producer: u64, each: u64) {
    for nth in 0..each {
        recorder.register_event_async(number(producer, nth)).await.unwrap();
    }
}

#[test]
fn tasks_of_a_current_thread_executor_wait_for_room_and_keep_their_order() {
    let (runtime, each) = (running("current"), scaled(300));
    let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for capacity in [1, 3] {
        let (recorder, log) = logged(&runtime, &format!("current{capacity}"), capacity);
        executor.block_on(async {
            let tasks: Vec<_> = (0..PRODUCERS)
                .map(|producer| tokio::spawn(produce(recorder.clone(), producer, each)))
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        all_in_order(&recorder, &log, each);
    }
}

#[test]
fn tasks_of_a_multi_thread_executor_wait_for_room_and_keep_their_order() {
    let (runtime, each) = (running("multi"), scaled(300));
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    for capacity in [1, 3] {
        let (recorder, log) = logged(&runtime, &format!("multi{capacity}"), capacity);
        executor.block_on(async {
            let tasks: Vec<_> = (0..PRODUCERS)
                .map(|producer| tokio::spawn(produce(recorder.clone(), producer, each)))
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        all_in_order(&recorder, &log, each);
    }
}

#[test]
fn futures_on_a_hand_written_executor_and_on_a_local_set_wait_for_room_and_keep_their_order() {
    let (runtime, each) = (running("byhand"), scaled(300));
    for capacity in [1, 3] {
        let (recorder, log) = logged(&runtime, &format!("byhand{capacity}"), capacity);
        thread::scope(|scope| {
            for producer in 0..PRODUCERS {
                let recorder = recorder.clone();
                scope.spawn(move || by_hand(produce(recorder, producer, each)));
            }
        });
        all_in_order(&recorder, &log, each);
        let (recorder, log) = logged(&runtime, &format!("local{capacity}"), capacity);
        let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let local = tokio::task::LocalSet::new();
        for producer in 0..PRODUCERS {
            local.spawn_local(produce(recorder.clone(), producer, each));
        }
        executor.block_on(local);
        all_in_order(&recorder, &log, each);
    }
}

#[test]
fn plain_threads_block_for_room_and_keep_their_order() {
    let (runtime, each) = (running("threads"), scaled(300));
    for capacity in [1, 3] {
        let (recorder, log) = logged(&runtime, &format!("threads{capacity}"), capacity);
        thread::scope(|scope| {
            for producer in 0..PRODUCERS {
                let recorder = &recorder;
                scope.spawn(move || {
                    for nth in 0..each {
                        recorder.register_event_blocking(number(producer, nth), PATIENCE).unwrap();
                    }
                });
            }
        });
        all_in_order(&recorder, &log, each);
    }
}

#[test]
fn a_stop_wakes_all_who_wait_and_gives_each_its_event_back() {
    let runtime = running("closing");
    let (recorder, gate) = full(&runtime, "closing");
    thread::scope(|scope| {
        let threads: Vec<_> = (1..4)
            .map(|n| {
                let recorder = &recorder;
                scope.spawn(move || recorder.register_event_blocking(Number(n), PATIENCE))
            })
            .collect();
        let mut futures: Vec<_> =
            (4..7).map(|n| ByTest::new(recorder.register_event_async(Number(n)))).collect();
        assert!(futures.iter_mut().all(|future| future.poll().is_pending()));
        let stop = recorder.stop();
        gate.open();
        stop.wait(PATIENCE).unwrap();
        for (thread, n) in threads.into_iter().zip(1..) {
            let Err(RegisterError::Closed(event)) = thread.join().unwrap() else { panic!("not closed") };
            assert_eq!(event, Number(n));
        }
        for (future, n) in futures.iter_mut().zip(4..) {
            until("told", || future.is_told());
            let Poll::Ready(Err(RegisterError::Closed(event))) = future.poll() else { panic!("not closed") };
            assert_eq!(event, Number(n));
        }
    });
    law(recorder.accounts(), 1, 7);
    assert_eq!(recorder.accounts().rejected.closed, 6);
}

#[test]
fn a_shutdown_that_gives_up_a_recorder_tells_those_who_wait_that_it_is_closed() {
    let runtime = running("given up");
    let (recorder, gate) = full(&runtime, "given up");
    let mut waits = ByTest::new(recorder.register_event_async(Number(1)));
    assert!(waits.poll().is_pending());
    thread::scope(|scope| {
        let blocked = scope.spawn(|| recorder.register_event_blocking(Number(2), PATIENCE));
        let report = runtime.shutdown(SOON).unwrap();
        assert!(!report.is_complete());
        assert!(matches!(blocked.join().unwrap(), Err(RegisterError::Closed(Number(2)))));
    });
    until("told", || waits.is_told());
    assert!(matches!(waits.poll(), Poll::Ready(Err(RegisterError::Closed(Number(1))))));
    gate.open();
    law(recorder.accounts(), 1, 3);
    assert_eq!((recorder.accounts().rejected.closed, recorder.accounts().dropped.deadline), (2, 1));
}

#[test]
fn those_who_wait_for_a_runtime_that_never_starts_are_told_when_it_is_dropped() {
    let runtime = MetricsRuntime::builder("never").build().unwrap();
    let recorder = runtime.recorder::<Number>("never").capacity(1).create().unwrap();
    recorder.register_event(Number(0));
    let mut waits = ByTest::new(recorder.register_event_async(Number(1)));
    assert!(waits.poll().is_pending());
    drop(runtime);
    until("told", || waits.is_told());
    assert!(matches!(waits.poll(), Poll::Ready(Err(RegisterError::Closed(Number(1))))));
    assert!(matches!(
        by_hand(recorder.register_event_async(Number(2))),
        Err(RegisterError::Closed(Number(2)))
    ));
    law(recorder.accounts(), 1, 3);
}

#[test]
fn a_start_hook_that_fails_tells_those_who_wait_that_the_recorder_has_failed() {
    let runtime = running("failed");
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = Arc::clone(&gate);
    let recorder = runtime
        .recorder::<Number>("failed")
        .capacity(1)
        .on_starting(move || {
            let held = Arc::clone(&held);
            async move {
                held.acquire().await?.forget();
                Err("no connection".into())
            }
        })
        .create()
        .unwrap();
    recorder.register_event(Number(0));
    let mut waits = ByTest::new(recorder.register_event_async(Number(1)));
    assert!(waits.poll().is_pending());
    gate.add_permits(1);
    until("told", || waits.is_told());
    assert!(matches!(waits.poll(), Poll::Ready(Err(RegisterError::Failed(Number(1))))));
    // Who waits is told at once; the worker gives up what it has accepted right after that.
    until("the accepted event is given up", || recorder.accounts().pending() == 0);
    law(recorder.accounts(), 1, 2);
    assert_eq!((recorder.accounts().dropped.start_failed, recorder.accounts().rejected.failed), (1, 1));
}

#[test]
fn a_future_that_is_dropped_before_or_after_it_was_told_strands_nobody_and_is_in_no_account() {
    let runtime = running("dropped");
    for round in 0..scaled(100) {
        let (recorder, gate) = full(&runtime, &format!("dropped{round}"));
        let mut first = ByTest::new(recorder.register_event_async(Number(1)));
        let mut second = ByTest::new(recorder.register_event_async(Number(2)));
        let mut third = ByTest::new(recorder.register_event_async(Number(3)));
        for future in [&mut first, &mut second, &mut third] {
            assert!(future.poll().is_pending());
        }
        // The first goes away before it is told, the second is told and goes away before it is polled again.
        drop(first);
        gate.open();
        until("the second is told", || second.is_told());
        drop(second);
        until("the third is told", || third.is_told());
        by_hand(third.future).unwrap();
        recorder.flush_blocking(PATIENCE).unwrap();
        law(recorder.accounts(), 2, 2);
    }
}

#[test]
fn time_that_is_over_gives_the_event_back_as_full_and_counts_it() {
    let runtime = running("timeouts");
    let (recorder, gate) = full(&runtime, "timeouts");
    for timeout in [Duration::ZERO, Duration::from_nanos(1), SOON] {
        let refused = recorder.register_event_blocking(Number(7), timeout);
        assert!(matches!(refused, Err(RegisterError::Full(Number(7)))), "{timeout:?}");
    }
    assert_eq!((recorder.accounts().rejected.full, recorder.accounts().offered()), (3, 4));
    gate.open();
    recorder.register_event_blocking(Number(8), Duration::MAX).unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    law(recorder.accounts(), 2, 5);
    // Room at once needs no time.
    recorder.register_event_blocking(Number(9), Duration::ZERO).unwrap();
}

#[test]
fn waiting_on_the_worker_is_refused_and_the_event_comes_back() {
    let runtime = running("own");
    let own: Arc<Mutex<Option<Recorder<Number>>>> = Arc::default();
    let (found, answers) = (Arc::clone(&own), Arc::<Mutex<Vec<(String, u64)>>>::default());
    let noted = Arc::clone(&answers);
    let recorder = runtime
        .recorder("own")
        .capacity(1)
        .metric(Probe::new("events", move |event: &Number| {
            // Its own event holds the only place.
            if event.0 == 0 {
                let recorder = found.lock().unwrap().clone().unwrap();
                let blocking = recorder.register_event_blocking(Number(1), PATIENCE).unwrap_err();
                let awaited = by_hand(recorder.register_event_async(Number(2))).unwrap_err();
                noted
                    .lock()
                    .unwrap()
                    .extend([blocking, awaited].map(|e| (format!("{e:?}"), e.into_event().0)));
            }
            Verdict::Accepted
        }))
        .create()
        .unwrap();
    *own.lock().unwrap() = Some(recorder.clone());
    recorder.register_event(Number(0));
    recorder.flush_blocking(PATIENCE).unwrap();
    let on_worker = || String::from("OnWorker(..)");
    assert_eq!(*answers.lock().unwrap(), [(on_worker(), 1), (on_worker(), 2)]);
    law(recorder.accounts(), 1, 3);
    assert_eq!(recorder.accounts().rejected.full, 2);
    *own.lock().unwrap() = None;
}

#[test]
fn waiting_is_over_at_a_stop_and_works_again_after_a_restart() {
    let runtime = running("restart");
    let (recorder, log) = logged(&runtime, "restart", 1);
    let mut sent = 0;
    for _ in 0..scaled(50) {
        recorder.start().wait(PATIENCE).unwrap();
        for _ in 0..5 {
            recorder.register_event_blocking(Number(sent), PATIENCE).unwrap();
            by_hand(recorder.register_event_async(Number(sent + 1))).unwrap();
            sent += 2;
        }
        recorder.stop().wait(PATIENCE).unwrap();
        let blocked = recorder.register_event_blocking(Number(0), PATIENCE);
        assert!(matches!(blocked, Err(RegisterError::Closed(Number(0)))));
        assert!(matches!(by_hand(recorder.register_event_async(Number(0))), Err(RegisterError::Closed(_))));
    }
    assert_eq!(*log.lock().unwrap(), (0..sent).collect::<Vec<_>>());
    law(recorder.accounts(), sent, sent + 2 * scaled(50));
}

#[test]
fn one_who_waits_across_a_stop_and_a_start_gets_room_or_the_event_back() {
    let runtime = running("across");
    let (recorder, gate) = full(&runtime, "across");
    let mut waits = ByTest::new(recorder.register_event_async(Number(1)));
    assert!(waits.poll().is_pending());
    let (stop, start) = (recorder.stop(), recorder.start());
    gate.open();
    start.wait(PATIENCE).unwrap();
    stop.wait(PATIENCE).unwrap();
    assert_eq!(recorder.state(), RecorderState::Running);
    until("told", || waits.is_told());
    // It is polled in the new run, and offers its event there.
    assert!(matches!(waits.poll(), Poll::Ready(Ok(()))));
    recorder.flush_blocking(PATIENCE).unwrap();
    law(recorder.accounts(), 2, 2);
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn nobody_is_stranded_in_many_rounds_of_waiting_leaving_and_stopping() {
    let runtime = running("random");
    let mut random = Random(7);
    for round in 0..scaled(2_000) {
        let (capacity, seed) = (1 + random.below(3) as u32, random.below(1 << 30));
        let recorder = runtime
            .recorder::<Number>("random")
            .capacity(capacity)
            .counter("events", |c| c)
            .create()
            .unwrap();
        let stops = random.below(4) == 0;
        let [accepted, refused] = [AtomicU64::new(0), AtomicU64::new(0)];
        let note = |result: Refused| {
            let counter = match result {
                Ok(()) => &accepted,
                Err(RegisterError::Full(_) | RegisterError::Closed(_)) => &refused,
                Err(other) => panic!("round {round}: {other}"),
            };
            counter.fetch_add(1, Ordering::SeqCst);
        };
        thread::scope(|scope| {
            for producer in 0..3 {
                let (recorder, note) = (&recorder, &note);
                let mut random = Random(seed + producer);
                scope.spawn(move || {
                    for _ in 0..random.below(12) {
                        match random.below(4) {
                            0 => note(recorder.register_event_blocking(Number(0), PATIENCE)),
                            1 => note(by_hand(recorder.register_event_async(Number(0)))),
                            2 => {
                                let timeout = Duration::from_micros(random.below(60));
                                note(recorder.register_event_blocking(Number(0), timeout));
                            }
                            _ => {
                                let mut leaves = ByTest::new(recorder.register_event_async(Number(0)));
                                for _ in 0..=random.below(2) {
                                    if let Poll::Ready(result) = leaves.poll() {
                                        note(result);
                                        break;
                                    }
                                }
                            }
                        }
                    }
                });
            }
            if stops {
                scope.spawn(|| recorder.stop().wait(PATIENCE).unwrap());
            }
        });
        let accounts = runtime.stop_and_remove("random", PATIENCE).unwrap();
        let [accepted, refused] = [accepted, refused].map(AtomicU64::into_inner);
        law(accounts, accepted, accepted + refused);
        assert_eq!((accounts.processed, accounts.rejected.total()), (accepted, refused), "round {round}");
    }
}
