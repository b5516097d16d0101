//! DESIGN 3.4: every snapshot shows all metrics after the same event, for ever, without waiting, in every state.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::Over;
use crate::support::PATIENCE;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::Clock;
use mvx_metrics::Context;
use mvx_metrics::Descriptor;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Kind;
use mvx_metrics::Label;
use mvx_metrics::LabelSet;
use mvx_metrics::Metric;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::Snapshot;
use mvx_metrics::Verdict;
use mvx_metrics::testing::ManualClock;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

const READERS: usize = 8;

/// A recorder whose metrics all accept the same events.
fn agreeing(runtime: &MetricsRuntime, policy: OverflowPolicy) -> Recorder<Number> {
    runtime
        .recorder::<Number>("agreeing")
        .overflow(policy)
        .capacity(1 << 12)
        .counter("plain", |c| c)
        .counter("labelled", |c| c.label("digit", |e| Label::from(e.0 % 10)))
        .histogram("spread", |h| h.bounds(&[2.0, 5.0, 8.0]).value(|e| Some(e.0 % 10)))
        .average("mean", |a| a.value(|e| Some(e.0 % 10)))
        .counter("sum", |c| c.value(|e| Some(e.0 % 10)))
        .create()
        .unwrap()
}

/// Everything that must agree in one snapshot does, and the snapshot is not behind the one before.
fn check(snapshot: &Snapshot, before: Option<&Snapshot>) -> Result<(), String> {
    let plain = snapshot.counter("plain", &[]).unwrap_or(0);
    let labelled = snapshot.metric("labelled").map_or(0, |metric| {
        metric.family().series().map(|series| series.value().counter().unwrap_or(0)).sum::<u64>()
    });
    let (spread, spread_sum) = snapshot.histogram("spread", &[]).map_or((0, 0.0), |h| (h.count(), h.sum()));
    let last = snapshot.histogram("spread", &[]).and_then(|h| h.cumulative().last()).unwrap_or(0);
    let sum = snapshot.counter("sum", &[]).unwrap_or(0);
    let counts = [plain, labelled, spread, last, snapshot.sequence()];
    let tallies = snapshot.metrics().all(|metric| metric.tally().accepted == snapshot.sequence());
    let agree = counts.iter().all(|count| *count == plain) && spread_sum == sum as f64 && tallies;
    let accounts = snapshot.accounts();
    let behind = before.is_some_and(|before| {
        snapshot.version() < before.version()
            || snapshot.sequence() < before.sequence()
            || snapshot.taken_at() < before.taken_at()
            || (snapshot.version() == before.version()) != (snapshot.sequence() == before.sequence())
    });
    if agree
        && !behind
        && snapshot.sequence() <= accounts.processed
        && accounts.processed <= accounts.accepted
    {
        return Ok(());
    }
    Err(format!("{counts:?}, sums {sum} and {spread_sum}, {snapshot:?} after {before:?}"))
}

/// Reads until it is over; how many different versions it has seen.
fn read(recorder: &Recorder<Number>, over: &AtomicBool) -> Result<u64, String> {
    let (mut before, mut versions): (Option<Snapshot>, u64) = (None, 0);
    while !over.load(Ordering::Acquire) {
        let snapshot = recorder.snapshot();
        check(&snapshot, before.as_ref())?;
        versions += u64::from(before.is_none_or(|before| before.version() != snapshot.version()));
        before = Some(snapshot);
    }
    Ok(versions)
}

#[test]
fn metrics_that_accept_the_same_events_are_equal_in_every_snapshot_under_load_with_eight_readers() {
    for policy in [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest] {
        let runtime = running("equal");
        let recorder = agreeing(&runtime, policy);
        let over = AtomicBool::new(false);
        // Until there was something to see: eight readers on few cores leave the worker little time to publish.
        let goes_on = |n: u64| n < scaled(50_000) || recorder.snapshot().version() < 20;
        let push = || (0..).take_while(|n| goes_on(*n)).for_each(|n| insist(&recorder, Number(n)));
        let results: Vec<_> = thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(|| read(&recorder, &over))).collect();
            let producers: Vec<_> = (0..2).map(|_| scope.spawn(push)).collect();
            let stop = Over(&over);
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            drop(stop);
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        recorder.flush_blocking(PATIENCE).unwrap();
        check(&recorder.snapshot(), None).unwrap();
        let versions: Vec<_> = results.into_iter().collect::<Result<_, _>>().unwrap();
        // Otherwise they have looked at one and the same state all the time.
        assert!(versions.iter().sum::<u64>() >= 2 * READERS as u64, "{policy:?}: {versions:?}");
        assert!(recorder.accounts().accepted >= 2 * scaled(50_000));
    }
}

#[test]
fn a_snapshot_never_changes_while_later_events_come() {
    let runtime = running("still");
    let recorder = agreeing(&runtime, OverflowPolicy::DropNewest);
    let mut held = Vec::new();
    for round in 0..200_u64 {
        (0..50).for_each(|n| insist(&recorder, Number(n)));
        recorder.flush_blocking(PATIENCE).unwrap();
        let snapshot = recorder.snapshot();
        held.push((snapshot.version(), snapshot.clone(), snapshot));
        assert_eq!(held.len() as u64, round + 1);
    }
    for (round, (version, snapshot, clone)) in (1..).zip(&held) {
        for snapshot in [snapshot, clone] {
            assert_eq!((snapshot.version(), snapshot.sequence()), (*version, round * 50));
            assert_eq!(snapshot.counter("plain", &[]), Some(round * 50));
            assert_eq!(snapshot.counter("labelled", &[("digit", "3")]), Some(round * 5));
            assert_eq!(snapshot.histogram("spread", &[]).map(|h| h.count()), Some(round * 50));
            assert_eq!(snapshot.accounts().processed, round * 50);
            check(snapshot, None).unwrap();
        }
    }
}

#[test]
fn changes_become_visible_without_a_flush() {
    let runtime = running("visible");
    let recorder = agreeing(&runtime, OverflowPolicy::DropNewest);
    for count in 1..=scaled(300) {
        recorder.register_event(Number(count));
        until("the event is visible", || recorder.snapshot().counter("plain", &[]) == Some(count));
    }
}

#[test]
fn changes_of_many_recorders_become_visible_without_a_flush() {
    let runtime = running("visible");
    let make =
        |n: usize| runtime.recorder::<Number>(&format!("r{n}")).counter("events", |c| c).create().unwrap();
    let recorders: Vec<_> = (0..200).map(make).collect();
    recorders.iter().for_each(|recorder| recorder.register_event(Number(1)));
    for recorder in &recorders {
        until("the event is visible", || recorder.snapshot().counter("events", &[]) == Some(1));
    }
    let mut versions: Vec<_> = recorders.iter().map(|recorder| recorder.snapshot().version()).collect();
    versions.dedup();
    assert_eq!(versions, [1]);
}

#[test]
fn an_event_that_only_one_metric_ignores_moves_the_sequence_for_all() {
    let runtime = running("ignored");
    let recorder = runtime
        .recorder::<Number>("ignored")
        .counter("even", |c| c.keep(|e| e.0 % 2 == 0))
        .counter("all", |c| c)
        .create()
        .unwrap();
    (0..5).for_each(|n| recorder.register_event(Number(n)));
    recorder.flush_blocking(PATIENCE).unwrap();
    let snapshot = recorder.snapshot();
    assert_eq!((snapshot.counter("even", &[]), snapshot.counter("all", &[])), (Some(3), Some(5)));
    assert_eq!((snapshot.sequence(), snapshot.metric("even").unwrap().tally().ignored), (5, 2));
}

#[test]
fn events_that_every_metric_ignores_still_move_the_sequence_and_the_tallies() {
    let runtime = running("ignored");
    let recorder =
        runtime.recorder::<Number>("ignored").counter("even", |c| c.keep(|e| e.0 % 2 == 0)).create().unwrap();
    for count in 1..=5 {
        recorder.register_event(Number(7));
        until("the ignored event is visible", || recorder.snapshot().sequence() == count);
        let snapshot = recorder.snapshot();
        assert_eq!(snapshot.metric("even").unwrap().tally().ignored, count);
        assert_eq!(snapshot.counter("even", &[]), None);
    }
}

/// A snapshot of these counts can be taken, and so can the accounts.
#[track_caller]
fn assert_readable(recorder: &Recorder<Number>, state: RecorderState, shown: u64, processed: u64) {
    let snapshot = recorder.snapshot();
    assert_eq!((snapshot.state(), recorder.state()), (state, state));
    assert_eq!(snapshot.counter("events", &[]).unwrap_or(0), shown);
    assert_eq!((snapshot.sequence(), recorder.accounts().processed), (shown, processed));
    assert_eq!((snapshot.id().as_str(), snapshot.entity()), ("states", "states"));
}

#[test]
fn snapshots_can_be_read_in_every_state_and_after_everything_is_gone() {
    let (runtime, gate) = (MetricsRuntime::builder("states").build().unwrap(), Gate::default());
    let recorder = runtime.recorder("states").metric(stopper("events", 9, &gate)).create().unwrap();
    assert_readable(&recorder, RecorderState::Created, 0, 0);
    recorder.register_event(Number(0));
    assert_readable(&recorder, RecorderState::Created, 0, 0);
    runtime.start().unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_readable(&recorder, RecorderState::Running, 1, 1);
    recorder.register_event(Number(9));
    gate.until_reached();
    let stop = recorder.stop();
    assert_readable(&recorder, RecorderState::Stopping, 1, 1);
    gate.open();
    stop.wait(PATIENCE).unwrap();
    assert_readable(&recorder, RecorderState::Stopped, 2, 2);
    recorder.start().wait(PATIENCE).unwrap();
    recorder.register_event(Number(1));
    runtime.stop_and_remove("states", PATIENCE).unwrap();
    assert_readable(&recorder, RecorderState::Stopped, 3, 3);
    let _ = runtime.shutdown(PATIENCE).unwrap();
    assert_readable(&recorder, RecorderState::Stopped, 3, 3);
    drop(runtime);
    assert_readable(&recorder.clone(), RecorderState::Stopped, 3, 3);
    let kept = recorder.snapshot();
    drop(recorder);
    assert_eq!(kept.counter("events", &[]), Some(3));
}

#[test]
fn a_snapshot_can_be_taken_inside_a_metric_and_by_every_reader_while_the_worker_is_held() {
    let (runtime, gate) = (running("held"), Gate::default());
    let recorder = runtime.recorder("held").metric(stopper("events", 1, &gate)).create().unwrap();
    recorder.register_event(Number(0));
    recorder.flush_blocking(PATIENCE).unwrap();
    recorder.register_event(Number(1));
    gate.until_reached();
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                for _ in 0..scaled(1_000) {
                    let snapshot = recorder.snapshot();
                    assert_eq!((snapshot.sequence(), snapshot.accounts().pending()), (1, 1));
                }
            });
        }
    });
    gate.open();
}

#[test]
fn every_change_of_state_raises_the_version_and_a_restart_keeps_the_epoch() {
    let runtime = running("versions");
    let recorder = runtime.recorder::<Number>("versions").counter("events", |c| c).create().unwrap();
    recorder.register_event(Number(0));
    recorder.flush_blocking(PATIENCE).unwrap();
    let (mut version, epoch) = (recorder.snapshot().version(), recorder.snapshot().epoch());
    for round in 0..5 {
        recorder.stop().wait(PATIENCE).unwrap();
        let stopped = recorder.snapshot();
        assert!(stopped.version() > version, "round {round}");
        version = stopped.version();
        assert_eq!((stopped.epoch(), stopped.counter("events", &[])), (epoch, Some(round + 1)));
        recorder.start().wait(PATIENCE).unwrap();
        recorder.register_event(Number(round));
        recorder.flush_blocking(PATIENCE).unwrap();
        assert!(recorder.snapshot().version() > version);
        version = recorder.snapshot().version();
    }
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(6));
}

#[test]
fn the_time_of_snapshots_never_goes_back_and_is_that_of_the_runtimes_clock() {
    #[derive(Clone, Debug, Default)]
    struct Counting(Arc<std::sync::atomic::AtomicU64>);
    impl mvx_metrics::Clock for Counting {
        fn now(&self) -> mvx_metrics::Timestamp {
            let micros = self.0.fetch_add(1, Ordering::AcqRel);
            mvx_metrics::Timestamp::from_unix_nanos(1_000_000_000 + micros * 1_000)
        }
    }
    let clock = Counting::default();
    let runtime = MetricsRuntime::builder("clock").clock(clock.clone()).build().unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder::<Number>("clock").counter("events", |c| c).create().unwrap();
    let mut last = recorder.snapshot().taken_at();
    for n in 0..100 {
        recorder.register_event(Number(n));
        recorder.flush_blocking(PATIENCE).unwrap();
        let taken_at = recorder.snapshot().taken_at();
        assert!(taken_at > last);
        last = taken_at;
    }
    let ended = clock.now();
    assert!(ended.saturating_since(last) < Duration::from_secs(60) && last < ended);
}

/// A metric for which time passes by the clock of its own: 10 µs for an event, 1 ms for writing its state.
struct Slow {
    descriptor: Arc<Descriptor>,
    clock: ManualClock,
    written: Arc<AtomicU64>,
}

impl Metric<Number> for Slow {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn handle_event(&mut self, _event: &Number, _context: &Context) -> Verdict {
        self.clock.advance(Duration::from_micros(10));
        Verdict::Accepted
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        self.clock.advance(WRITING);
        self.written.fetch_add(1, Ordering::AcqRel);
        writer.counter(&LabelSet::empty(), 1);
    }
}

const WRITING: Duration = Duration::from_millis(1);

#[test]
fn publication_takes_at_most_a_tenth_of_the_workers_time_however_large_a_recorder_is() {
    let (clock, written) = (ManualClock::default(), Arc::new(AtomicU64::new(0)));
    let runtime = MetricsRuntime::builder("share").clock(clock.clone()).build().unwrap();
    runtime.start().unwrap();
    let descriptor = Descriptor::builder("slow", Kind::Counter).build().unwrap();
    let slow = Slow { descriptor, clock: clock.clone(), written: Arc::clone(&written) };
    let recorder = runtime.recorder::<Number>("share").metric(slow).create().unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    let (started, before) = (clock.now(), written.load(Ordering::Acquire));
    let events = scaled(20_000);
    for n in 0..events {
        insist(&recorder, Number(n));
    }
    until("everything is processed", || recorder.accounts().pending() == 0);
    let (elapsed, passes) = (clock.now().saturating_since(started), written.load(Ordering::Acquire) - before);
    let publishing = WRITING * u32::try_from(passes).unwrap();
    assert_eq!(elapsed, publishing + Duration::from_micros(10) * u32::try_from(events).unwrap());
    assert!(publishing <= elapsed / 10 + WRITING, "{publishing:?} of {elapsed:?}");
    assert_eq!(
        runtime.publication_interval(),
        9 * WRITING,
        "what a pass takes keeps the next one off nine times as long"
    );
    // It does publish, too: as often as its share allows, but for what a turn takes on top.
    assert!(publishing * 20 >= elapsed, "{publishing:?} of {elapsed:?}");
}
