//! DESIGN 3.3: nothing is lost silently. The law, against oracles that know the fate of every single event.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use crate::support::until;
use mvx_metrics::Accounts;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::Refusal;
use mvx_metrics::RegisterError;
use mvx_metrics::Verdict;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

thread_local! {
    /// The tickets whose events were dropped on this thread since it last looked.
    static DROPPED_HERE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// An event that can be told from every other, and that is missed if it is never dropped.
struct Ticket {
    /// The producer in the upper half, its count in the lower.
    number: u64,
    alive: Arc<AtomicU64>,
}

impl Ticket {
    fn new(number: u64, alive: &Arc<AtomicU64>) -> Self {
        alive.fetch_add(1, Ordering::AcqRel);
        Self { number, alive: Arc::clone(alive) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::AcqRel);
        let _ = DROPPED_HERE.try_with(|dropped| dropped.borrow_mut().push(self.number));
    }
}

const KINDS: [&str; 3] = ["ticket.red", "ticket.green", "ticket.blue"];

impl MetricEvent for Ticket {
    const EVENT_TYPES: &'static [&'static str] = &KINDS;

    fn event_type(&self) -> &'static str {
        KINDS[self.variant_index()]
    }

    fn variant_index(&self) -> usize {
        (self.number % 3) as usize
    }
}

/// How a producer hands its next events over.
#[derive(Clone, Copy, Debug)]
enum Call {
    One,
    Try,
    Batch(u8),
}

/// What happens to the recorder while producers push.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Nothing,
    Stop,
    StopAndStart,
    Shutdown(Duration),
    Remove(Duration),
}

#[derive(Clone, Debug)]
struct Case {
    policy: OverflowPolicy,
    capacity: u32,
    calls: Vec<Vec<Call>>,
    event: Event,
    /// After how many calls, of all producers together, the event comes.
    after: u64,
}

/// What the producers know.
#[derive(Default)]
struct Oracle {
    offered: u64,
    accepted: Vec<u64>,
    refused: u64,
    refused_full: u64,
    refused_closed: u64,
}

impl Oracle {
    fn merge(mut self, other: Self) -> Self {
        self.offered += other.offered;
        self.accepted.extend(other.accepted);
        self.refused += other.refused;
        self.refused_full += other.refused_full;
        self.refused_closed += other.refused_closed;
        self
    }
}

/// One producer: makes its calls, and notes the fate of every event at the door.
fn produce(
    recorder: &Recorder<Ticket>,
    producer: u64,
    calls: &[Call],
    alive: &Arc<AtomicU64>,
    made: &AtomicU64,
) -> Oracle {
    let mut oracle = Oracle::default();
    let mut next = producer << 32;
    let mut ticket = || {
        next += 1;
        Ticket::new(next - 1, alive)
    };
    for call in calls {
        match call {
            Call::One => {
                let (ticket, number) = (ticket(), producer << 32 | oracle.offered);
                DROPPED_HERE.take();
                recorder.register_event(ticket);
                oracle.offered += 1;
                // An event that was refused is dropped before the call returns; one that was taken, on the worker, or here by
                // a later call that evicts it.
                if DROPPED_HERE.take().contains(&number) {
                    oracle.refused += 1;
                } else {
                    oracle.accepted.push(number);
                }
            }
            Call::Try => {
                let ticket = ticket();
                let number = ticket.number;
                oracle.offered += 1;
                match recorder.try_register_event(ticket) {
                    Ok(()) => oracle.accepted.push(number),
                    Err(refused) => {
                        match refused {
                            RegisterError::Full(_) => oracle.refused_full += 1,
                            _ => oracle.refused_closed += 1,
                        }
                        assert_eq!(refused.into_event().number, number);
                        oracle.refused += 1;
                    }
                }
            }
            Call::Batch(count) => {
                let mut batch: Vec<_> = (0..*count).map(|_| ticket()).collect();
                let numbers: Vec<_> = batch.iter().map(|ticket| ticket.number).collect();
                let taken = recorder.register_events(&mut batch);
                assert!(batch.iter().map(|ticket| ticket.number).eq(numbers[taken..].iter().copied()));
                oracle.offered += numbers.len() as u64;
                oracle.refused += batch.len() as u64;
                oracle.accepted.extend(&numbers[..taken]);
            }
        }
        made.fetch_add(1, Ordering::AcqRel);
    }
    oracle
}

/// Looks at the accounts all the time; whatever it reads must not be impossible.
fn sample(recorder: &Recorder<Ticket>, over: &AtomicBool) {
    let mut last = Accounts::default();
    while !over.load(Ordering::Acquire) {
        let snapshot = recorder.snapshot();
        let now = snapshot.accounts();
        assert!(now.accepted >= now.processed + now.dropped.total(), "{now:?}");
        assert!(snapshot.sequence() <= now.processed, "{snapshot:?}");
        let fell = now.accepted < last.accepted
            || now.processed < last.processed
            || now.dropped.total() < last.dropped.total()
            || now.rejected.total() < last.rejected.total();
        assert!(!fell, "{now:?} after {last:?}");
        last = now;
    }
}

fn bring_about(event: Event, runtime: &MetricsRuntime, recorder: &Recorder<Ticket>) {
    match event {
        Event::Nothing => {}
        Event::Stop => recorder.stop().wait(PATIENCE).unwrap(),
        Event::StopAndStart => {
            for _ in 0..3 {
                recorder.stop().wait(PATIENCE).unwrap();
                recorder.start().wait(PATIENCE).unwrap();
            }
        }
        Event::Shutdown(deadline) => {
            let report = runtime.shutdown(deadline).unwrap();
            assert_eq!(report.accounts().pending(), 0);
        }
        // Running out of its time is one of its ways to end.
        Event::Remove(timeout) => drop(runtime.stop_and_remove("law", timeout)),
    }
}

fn check(case: &Case) {
    let runtime = running("law");
    let (seen, alive) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
    let sees = Arc::clone(&seen);
    let metric = Probe::new("seen", move |ticket: &Ticket| {
        sees.lock().unwrap().push(ticket.number);
        Verdict::Accepted
    });
    let recorder = runtime
        .recorder::<Ticket>("law")
        .overflow(case.policy)
        .capacity(case.capacity)
        .metric(metric)
        .create()
        .unwrap();
    // Stopping a recorder that has seen nothing is a no-op: this one is to be stopped in earnest.
    recorder.start().wait(PATIENCE).unwrap();
    let (made, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let total: u64 = case.calls.iter().map(|calls| calls.len() as u64).sum();
    let start = Barrier::new(case.calls.len());
    let oracle = thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(&recorder, &over));
        let stop = Over(&over);
        let producers: Vec<_> = (0..)
            .zip(&case.calls)
            .map(|(producer, calls)| {
                let (recorder, alive, made, start) = (&recorder, &alive, &made, &start);
                scope.spawn(move || {
                    start.wait();
                    produce(recorder, producer, calls, alive, made)
                })
            })
            .collect();
        while made.load(Ordering::Acquire) < case.after.min(total) {
            thread::yield_now();
        }
        bring_about(case.event, &runtime, &recorder);
        let oracle = producers.into_iter().map(|producer| producer.join().unwrap());
        let oracle = oracle.fold(Oracle::default(), Oracle::merge);
        drop(stop);
        sampler.join().unwrap();
        oracle
    });
    if matches!(case.event, Event::Nothing | Event::Stop | Event::StopAndStart) {
        recorder.flush_blocking(PATIENCE).unwrap();
    }
    let accounts = recorder.accounts();
    check_law(case, &oracle, &accounts, &recorder);
    // A batch that a deadline overtook was shown to the metric, and counts as dropped all the same: let the worker end.
    let _ = runtime.shutdown(PATIENCE).unwrap();
    check_seen(case, &oracle, &accounts, &seen.lock().unwrap());
    assert_eq!(recorder.snapshot().counter("seen", &[]).unwrap_or(0), recorder.snapshot().sequence());
    drop((recorder, runtime));
    until("every event is dropped, once", || alive.load(Ordering::Acquire) == 0);
}

fn check_law(case: &Case, oracle: &Oracle, accounts: &Accounts, recorder: &Recorder<Ticket>) {
    assert_eq!(accounts.offered(), oracle.offered, "{accounts:?}");
    assert_eq!(accounts.accepted, oracle.accepted.len() as u64, "{accounts:?}");
    assert_eq!(accounts.rejected.total(), oracle.refused, "{accounts:?}");
    assert!(accounts.rejected.full >= oracle.refused_full, "{accounts:?}");
    assert!(accounts.rejected.closed >= oracle.refused_closed, "{accounts:?}");
    assert_eq!(accounts.pending(), 0, "{accounts:?}");
    assert_eq!(accounts.accepted, accounts.processed + accounts.dropped.total(), "{accounts:?}");
    let dropped = accounts.dropped;
    assert!(dropped.evicted == 0 || case.policy == OverflowPolicy::DropOldest, "{accounts:?}");
    assert!(dropped.deadline == 0 || matches!(case.event, Event::Shutdown(_)), "{accounts:?}");
    assert!(dropped.removed == 0 || matches!(case.event, Event::Remove(_)), "{accounts:?}");
    match case.event {
        Event::Nothing => assert_eq!(accounts.rejected.closed, 0),
        Event::StopAndStart => assert_eq!(recorder.state(), RecorderState::Running),
        _ => assert_eq!(recorder.state(), RecorderState::Stopped),
    }
    if matches!(case.event, Event::Shutdown(PATIENCE) | Event::Remove(PATIENCE)) {
        assert_eq!((dropped.deadline, dropped.removed), (0, 0));
    }
}

fn check_seen(case: &Case, oracle: &Oracle, accounts: &Accounts, seen: &[u64]) {
    let accepted: HashSet<_> = oracle.accepted.iter().copied().collect();
    let distinct: HashSet<_> = seen.iter().copied().collect();
    assert_eq!(distinct.len(), seen.len(), "an event was seen twice");
    assert!(distinct.is_subset(&accepted), "an event was seen that was refused");
    let given_up = accounts.dropped.deadline + accounts.dropped.removed;
    let count = seen.len() as u64;
    assert!((accounts.processed..=accounts.processed + given_up).contains(&count), "{count} of {accounts:?}");
    for producer in 0..case.calls.len() as u64 {
        let own = || seen.iter().filter(|number| **number >> 32 == producer);
        assert!(own().zip(own().skip(1)).all(|(one, next)| one < next), "producer {producer} out of order");
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let call = prop_oneof![4 => Just(Call::One), 2 => Just(Call::Try), 2 => (0..40_u8).prop_map(Call::Batch)];
    let calls = prop::collection::vec(prop::collection::vec(call, 0..300), 1..=4);
    let deadline = || prop_oneof![Just(Duration::ZERO), Just(Duration::from_micros(300)), Just(PATIENCE)];
    let event = prop_oneof![
        Just(Event::Nothing),
        Just(Event::Stop),
        Just(Event::StopAndStart),
        deadline().prop_map(Event::Shutdown),
        deadline().prop_map(Event::Remove),
    ];
    let policy = prop_oneof![Just(OverflowPolicy::DropNewest), Just(OverflowPolicy::DropOldest)];
    let capacity = prop_oneof![Just(1), Just(2), 3..64_u32, Just(64), Just(1_000), Just(8_192)];
    (policy, capacity, calls, event, 0..1_200_u64).prop_map(|(policy, capacity, calls, event, after)| Case {
        policy,
        capacity,
        calls,
        event,
        after,
    })
}

/// Threads make a failing case fail now and then, so long shrinking finds little and takes its time.
fn config(cases: u64) -> ProptestConfig {
    let cases = u32::try_from(scaled(cases)).unwrap_or(u32::MAX);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 20, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn every_event_ends_in_exactly_one_account_whatever_happens_meanwhile(case in cases()) {
        check(&case);
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[cfg(panic = "unwind")]
    #[test]
    fn a_metrics_tally_accounts_for_every_event_processed(
        counts in prop::collection::vec(0..200_u64, 1..=4),
        panic_on in 0..300_u64,
        route in prop::collection::hash_set(0..3_usize, 0..=3),
    ) {
        check_tallies(&counts, panic_on, &route);
    }
}

/// Five metrics over the same events: all, routed, refusing, panicking in the middle, and one behind them all.
fn check_tallies(counts: &[u64], panic_on: u64, route: &HashSet<usize>) {
    let runtime = running("tally");
    let types: Vec<_> = route.iter().map(|index| KINDS[*index]).collect();
    let (left, alive) = (AtomicU64::new(panic_on), Arc::new(AtomicU64::new(0)));
    let recorder = runtime
        .recorder::<Ticket>("tally")
        .capacity(256)
        .counter("all", |c| c)
        .counter("routed", |c| c.on(&types))
        .counter("ignoring", |c| c.keep(|ticket| ticket.number % 2 == 0))
        .metric(Probe::new("panicking", move |_: &Ticket| {
            if left.fetch_sub(1, Ordering::Relaxed) == 0 {
                resume_unwind(Box::new("on this event"));
            }
            Verdict::Accepted
        }))
        .histogram("refusing", |h| {
            h.bounds(&[1.0]).value(|ticket| Some(if ticket.number % 5 == 0 { f64::NAN } else { 1.0 }))
        })
        .metric(
            Probe::new("refusing_routed", |_: &Ticket| Verdict::Refused(Refusal::OutOfRange)).on(&KINDS[..1]),
        )
        .create()
        .unwrap();
    thread::scope(|scope| {
        for (producer, count) in (0..).zip(counts) {
            let (recorder, alive) = (&recorder, &alive);
            scope.spawn(move || {
                (0..*count).for_each(|n| insist(recorder, Ticket::new(producer << 32 | n, alive)))
            });
        }
    });
    recorder.flush_blocking(PATIENCE).unwrap();
    let numbers =
        || (0..).zip(counts).flat_map(|(producer, count)| (0..*count).map(move |n| producer << 32 | n));
    let count_of = |keep: &dyn Fn(u64) -> bool| numbers().filter(|number| keep(*number)).count() as u64;
    let (snapshot, total) = (recorder.snapshot(), counts.iter().sum::<u64>());
    assert_eq!(snapshot.accounts().processed, total);
    assert_eq!(snapshot.sequence(), total);
    let tally = |name: &str| snapshot.metric(name).unwrap().tally();
    for metric in snapshot.metrics() {
        assert_eq!(metric.tally().total(), total, "{metric:?}");
    }
    let routed = count_of(&|number| route.contains(&((number % 3) as usize)));
    let (even, fifth, red) = (
        count_of(&|number| number % 2 == 0),
        count_of(&|number| number % 5 == 0),
        count_of(&|number| number % 3 == 0),
    );
    assert_eq!(tally("all").accepted, total);
    assert_eq!((tally("routed").accepted, tally("routed").ignored), (routed, total - routed));
    assert_eq!((tally("ignoring").accepted, tally("ignoring").ignored), (even, total - even));
    assert_eq!((tally("refusing").refused, tally("refusing").accepted), (fifth, total - fifth));
    assert_eq!((tally("refusing_routed").refused, tally("refusing_routed").ignored), (red, total - red));
    let panicked = u64::from(panic_on < total);
    let accepted = panic_on.min(total);
    let sick = tally("panicking");
    assert_eq!(
        (sick.accepted, sick.panicked, sick.quarantined),
        (accepted, panicked, total - accepted - panicked)
    );
    assert_eq!(snapshot.metric("panicking").unwrap().is_quarantined(), panicked == 1);
    // The siblings' own values are exact, too, and what the sick one had counted stays readable.
    assert_eq!(snapshot.counter("all", &[]).unwrap_or(0), total);
    assert_eq!(snapshot.counter("routed", &[]).unwrap_or(0), routed);
    assert_eq!(snapshot.counter("panicking", &[]).unwrap_or(0), accepted);
    assert_eq!(snapshot.histogram("refusing", &[]).map_or(0, |h| h.count()), total - fifth);
}

#[test]
fn a_metric_added_later_accounts_for_the_events_from_then_on() {
    let runtime = running("later");
    let alive = Arc::new(AtomicU64::new(0));
    let recorder = runtime.recorder::<Ticket>("later").counter("first", |c| c).create().unwrap();
    (0..10).for_each(|n| recorder.register_event(Ticket::new(n, &alive)));
    recorder.flush_blocking(PATIENCE).unwrap();
    let added = recorder.register_metric(Probe::new("second", |_: &Ticket| Verdict::Accepted));
    added.wait(PATIENCE).unwrap();
    (10..15).for_each(|n| recorder.register_event(Ticket::new(n, &alive)));
    recorder.flush_blocking(PATIENCE).unwrap();
    let snapshot = recorder.snapshot();
    assert_eq!(snapshot.metric("first").unwrap().tally().total(), 15);
    assert_eq!(snapshot.metric("second").unwrap().tally().total(), 5);
}

#[test]
fn the_runtimes_accounts_are_the_sum_of_its_recorders() {
    let runtime = running("sum");
    let alive = Arc::new(AtomicU64::new(0));
    for (id, events) in [("a", 3), ("b", 5), ("c", 0)] {
        let recorder = runtime.recorder::<Ticket>(id).capacity(4).create().unwrap();
        recorder.start().wait(PATIENCE).unwrap();
        recorder.stop().wait(PATIENCE).unwrap();
        recorder.register_event(Ticket::new(0, &alive));
        recorder.start().wait(PATIENCE).unwrap();
        (0..events).for_each(|n| insist(&recorder, Ticket::new(n, &alive)));
        recorder.flush_blocking(PATIENCE).unwrap();
    }
    let sum = runtime.accounts();
    assert_eq!((sum.accepted, sum.processed, sum.rejected.closed), (8, 8, 3));
    let report = runtime.shutdown(PATIENCE).unwrap();
    assert_eq!(report.accounts(), runtime.accounts());
}
