//! The runtimes of several processes as one, over restarts.
#![cfg(all(feature = "testing", feature = "serde"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use mvx_metrics::Descriptor;
use mvx_metrics::ErrorKind;
use mvx_metrics::Family;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Fold;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::ProcessMerge;
use mvx_metrics::ProcessUpdate;
use mvx_metrics::Recorder;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Timestamp;
use mvx_metrics::Unit;
use mvx_metrics::limits;
use mvx_metrics::testing::SteppedRuntime;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
struct Seen {
    label: u8,
    value: f64,
}

impl MetricEvent for Seen {
    fn event_type(&self) -> &'static str {
        "seen"
    }
}

/// Every kind of metric whose total outlives its recorder.
fn metrics() -> MetricSet<Seen> {
    MetricSet::<Seen>::new()
        .counter("count", |c| c.label("l", |e| e.label.into()))
        .counter("sum", |c| c.label("l", |e| e.label.into()).value(|e| Some(e.value.abs())))
        .counter("spent", |c| {
            c.unit(Unit::Seconds).value(|e| Some(Duration::from_nanos(u64::from(e.label) << 40 | 1)))
        })
        .histogram("size", |h| {
            h.bounds(&[-1.0, 0.0, 10.0]).label("l", |e| e.label.into()).value(|e| Some(e.value))
        })
        .exponential_histogram("spread", |h| h.value(|e| Some(e.value)))
        .average("mean", |a| a.value(|e| Some(e.value)))
        .summary("quantiles", |s| s.value(|e| Some(e.value)))
}

/// One life of a process.
struct Life {
    runtime: SteppedRuntime,
    recorder: Recorder<Seen>,
}

impl Life {
    fn new(start: u64) -> Self {
        Self::of(SteppedRuntime::starting_at("worker", Timestamp::from_unix_nanos(start)).unwrap())
    }

    fn of(runtime: SteppedRuntime) -> Self {
        let recorder = Self::recorder(&runtime);
        Self { runtime, recorder }
    }

    fn recorder(runtime: &SteppedRuntime) -> Recorder<Seen> {
        runtime.recorder("one").group("g").metrics(metrics()).create().unwrap()
    }

    /// Another recorder of the same name in the same life.
    fn renew(&mut self) {
        self.runtime.runtime().stop_and_remove("one", Duration::ZERO).unwrap();
        self.recorder = Self::recorder(&self.runtime);
        self.runtime.clock().advance(Duration::from_nanos(1));
    }

    fn see(&mut self, event: Seen) {
        self.recorder.register_event(event);
        self.runtime.settle();
        self.runtime.clock().advance(Duration::from_nanos(1));
    }

    fn collect(&self) -> RuntimeSnapshot {
        let text = serde_json::to_string(&self.runtime.runtime().collect()).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

fn totals(snapshot: &RuntimeSnapshot) -> BTreeMap<String, String> {
    let mut totals = BTreeMap::new();
    for family in snapshot.families(Fold::Group) {
        for part in family.parts() {
            for series in part.family().series() {
                let key = format!("{} {:?} {}", family.descriptor(), part.scope(), series.labels().to_set());
                assert!(totals.insert(key, format!("{:?}", series.value())).is_none());
            }
        }
    }
    totals
}

fn count(snapshot: &RuntimeSnapshot) -> u64 {
    let families = snapshot.families(Fold::Group);
    let family = families.iter().find(|family| family.descriptor().name().as_str() == "count");
    let series = family.into_iter().flat_map(|family| family.parts()).flat_map(|part| part.family().series());
    series.map(|series| series.value().counter().unwrap()).sum()
}

fn event() -> impl Strategy<Value = Seen> {
    let value = prop_oneof![-1e3..1e3_f64, Just(1e300), Just(-1e300), Just(1e-300), Just(0.1)];
    (0..4_u8, value).prop_map(|(label, value)| Seen { label, value })
}

#[derive(Clone, Debug)]
enum Step {
    See(usize, Seen),
    Renew(usize),
    Update(usize),
    Restart(usize),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3_usize, event()).prop_map(|(at, event)| Step::See(at, event)),
        1 => (0..3_usize).prop_map(Step::Renew),
        3 => (0..3_usize).prop_map(Step::Update),
        1 => (0..3_usize).prop_map(Step::Restart),
        1 => (0..3_usize).prop_map(Step::Remove),
    ]
}

proptest! {
    /// However events are spread over processes and their lives, the totals are those of one process that saw everything which was
    /// shown, to the last bit; and they never go back.
    #[test]
    fn totals_over_processes_and_restarts_are_those_of_one_that_saw_everything(
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut merge = ProcessMerge::new("service").unwrap();
        let mut whole = Life::new(7);
        let mut lives: Vec<(Life, Vec<Seen>)> = (0..3).map(|at| (Life::new(1_000 + at), Vec::new())).collect();
        // Later lives may begin at earlier times: clocks are set back.
        let mut starts = [5_000, 900, 80_000, 70, 600_000, 6, 40_000_000, 3_000_000].into_iter().cycle().zip(0_u64..);
        let (mut last, mut most) = (0, None);
        for step in steps {
            match step {
                Step::See(at, event) => {
                    lives[at].0.see(event.clone());
                    lives[at].1.push(event);
                }
                Step::Renew(at) => lives[at].0.renew(),
                Step::Update(at) => {
                    // What is shown from now on, and was not before.
                    lives[at].1.drain(..).for_each(|event| whole.see(event));
                    let fresh = lives[at].0.collect();
                    merge.update(&at.to_string(), fresh.clone()).unwrap();
                    prop_assert_eq!(merge.update(&at.to_string(), fresh).unwrap(), ProcessUpdate::Stale);
                }
                Step::Restart(at) => {
                    let (start, number) = starts.next().unwrap();
                    // Its last events were shown to nobody.
                    lives[at] = (Life::new(start + number * 10_000_000_000), Vec::new());
                }
                Step::Remove(at) => {
                    // Its life goes on; what it shows from now on would be counted twice. So it is another.
                    let (start, number) = starts.next().unwrap();
                    merge.remove(&at.to_string());
                    lives[at] = (Life::new(start + number * 10_000_000_000), Vec::new());
                }
            }
            let snapshot = merge.snapshot();
            let now = count(&snapshot);
            prop_assert!(now >= last, "{} after {}", now, last);
            last = now;
            most = Some(snapshot);
        }
        if let Some(snapshot) = most {
            prop_assert_eq!(totals(&snapshot), totals(&whole.collect()));
        }
    }
}

fn seen(n: u8) -> Seen {
    Seen { label: n, value: f64::from(n) }
}

#[test]
fn a_restart_is_told_by_its_epoch_and_what_comes_late_of_a_life_that_is_over_changes_nothing() {
    let mut merge = ProcessMerge::new("service").unwrap();
    let mut first = Life::new(1_000);
    (0..3).for_each(|n| first.see(seen(n)));
    let early = first.collect();
    assert_eq!(merge.update("a", early.clone()).unwrap(), ProcessUpdate::First);
    first.see(seen(3));
    assert_eq!(merge.update(" a ", first.collect()).unwrap(), ProcessUpdate::Later);
    assert_eq!(merge.update("a", early.clone()).unwrap(), ProcessUpdate::Stale);
    assert_eq!(count(&merge.snapshot()), 4);
    // Its counters begin at 1 again, which is fewer and no wrap; and then are more than ever, which is no later state.
    let mut second = Life::new(500);
    second.see(seen(0));
    assert_eq!(merge.update("a", second.collect()).unwrap(), ProcessUpdate::Restarted);
    assert_eq!(count(&merge.snapshot()), 5);
    let mut third = Life::new(9_000);
    (0..9).for_each(|n| third.see(seen(n)));
    assert_eq!(merge.update("a", third.collect()).unwrap(), ProcessUpdate::Restarted);
    first.see(seen(4));
    for late in [early, first.collect(), second.collect()] {
        assert_eq!(merge.update("a", late).unwrap(), ProcessUpdate::Stale);
    }
    assert_eq!(count(&merge.snapshot()), 14);
    assert!(merge.remove("a") && !merge.remove("a"));
    let snapshot = merge.snapshot();
    assert_eq!((count(&snapshot), snapshot.recorders().len(), merge.processes().count()), (14, 0, 0));
    let vitals = snapshot.vitals();
    let accepted = vitals.iter().find(|family| family.descriptor().name().as_str() == "mvx.events.accepted");
    let series = accepted.unwrap().parts().iter().flat_map(|part| part.family().series());
    assert_eq!(series.map(|series| series.value().counter().unwrap()).sum::<u64>(), 14);
}

fn labels(snapshot: &RuntimeSnapshot, name: &str) -> Vec<Vec<(String, String)>> {
    let families = snapshot.families(Fold::Recorder);
    let family = families.iter().find(|family| family.descriptor().name().as_str() == name).unwrap();
    let mut all = Vec::new();
    for part in family.parts() {
        for series in part.family().series() {
            let labels = part.labels().chain(series.labels().iter());
            let mut labels: Vec<_> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            labels.sort();
            all.push(labels);
        }
    }
    all
}

fn text(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn processes_are_told_apart_by_a_label_and_common_labels_are_those_of_the_whole() {
    let mut merge = ProcessMerge::new("service").unwrap();
    for (process, zone) in [("1", "east"), ("2", "west")] {
        let builder =
            MetricsRuntime::builder("worker").constant_label("stage", "s").constant_label("zone", zone);
        let mut life = Life::of(SteppedRuntime::from_builder(builder).unwrap());
        life.see(seen(0));
        let mut snapshot = life.collect();
        let mut free = Family::new(Descriptor::builder("free", Kind::Gauge).label("mount").build().unwrap());
        FamilyWriter::whole(&mut free).gauge(&LabelSet::new([("mount", "/")]).unwrap(), 2.0);
        snapshot.add(vec![free]).unwrap();
        merge.update(process, snapshot).unwrap();
    }
    let snapshot = merge.snapshot();
    assert_eq!((snapshot.namespace(), snapshot.recorders().len()), ("service", 2));
    assert!(snapshot.constant_labels().matches(&[("stage", "s")]));
    let row = |process: &str, zone: &str| {
        text(&[("l", "0"), ("process", process), ("recorder", "one"), ("stage", "s"), ("zone", zone)])
    };
    assert_eq!(labels(&snapshot, "count"), [row("1", "east"), row("2", "west")]);
    let row = |process: &str| text(&[("mount", "/"), ("process", process), ("stage", "s")]);
    assert_eq!(labels(&snapshot, "free"), [row("1"), row("2")]);
    assert_eq!(count(&snapshot), 2);
}

#[test]
fn what_cannot_be_merged_is_refused_and_nothing_has_changed() {
    let mut merge = ProcessMerge::new("service").unwrap();
    assert_eq!(ProcessMerge::new(" ").unwrap_err().kind(), ErrorKind::InvalidId);
    for wrong in [0, u32::MAX] {
        let error = ProcessMerge::new("s").unwrap().exported_cardinality(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidLimit);
    }
    let mut life = Life::new(1);
    life.see(seen(0));
    merge.update("a", life.collect()).unwrap();
    assert_eq!(merge.update(" ", life.collect()).unwrap_err().kind(), ErrorKind::InvalidId);
    let with = |build: fn(&SteppedRuntime)| {
        let runtime = SteppedRuntime::starting_at("worker", Timestamp::from_unix_nanos(99)).unwrap();
        build(&runtime);
        runtime.runtime().collect()
    };
    let other_shape = with(|runtime| {
        drop(runtime.recorder::<Seen>("x").gauge("count", |g| g.value(|e| Some(e.value))).create().unwrap());
    });
    let own_label = with(|runtime| {
        let labelled = runtime.recorder::<Seen>("x").counter("c", |c| c.label("process", |e| e.label.into()));
        drop(labelled.create().unwrap());
    });
    let constant =
        with(|runtime| drop(runtime.recorder::<Seen>("x").constant_label("process", "p").create().unwrap()));
    let many = with(|runtime| {
        let recorder = runtime.recorder::<Seen>("x");
        let keys = 0..limits::MAX_LABELS;
        drop(keys.fold(recorder, |r, n| r.constant_label(&format!("k{n}"), "v")).create().unwrap());
    });
    for (snapshot, kind) in [
        (other_shape, ErrorKind::MetricConflict),
        (own_label, ErrorKind::MetricConflict),
        (constant, ErrorKind::MetricConflict),
        (many, ErrorKind::InvalidLimit),
    ] {
        for process in ["a", "b"] {
            assert_eq!(merge.update(process, snapshot.clone()).unwrap_err().kind(), kind);
        }
    }
    assert_eq!((merge.processes().collect::<Vec<_>>(), count(&merge.snapshot())), (vec!["a"], 1));
    // A name keeps its meaning also when the process that brought it is gone.
    merge.remove("a");
    let other_shape = with(|runtime| {
        drop(runtime.recorder::<Seen>("x").gauge("count", |g| g.value(|e| Some(e.value))).create().unwrap());
    });
    assert_eq!(merge.update("b", other_shape).unwrap_err().kind(), ErrorKind::MetricConflict);
    assert_eq!(count(&merge.snapshot()), 1);
}
