//! Bad input gets a typed error that says what to do instead; nothing is lost, and nothing is half made.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::running;
use mvx_metrics::Average;
use mvx_metrics::Descriptor;
use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::Kind;
use mvx_metrics::Label;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::Unit;
use mvx_metrics::Verdict;
use mvx_metrics::limits;

/// An event with two types.
struct Step(bool);

impl MetricEvent for Step {
    const EVENT_TYPES: &'static [&'static str] = &["step.up", "step.down"];

    fn event_type(&self) -> &'static str {
        Self::EVENT_TYPES[self.variant_index()]
    }

    fn variant_index(&self) -> usize {
        usize::from(!self.0)
    }
}

/// Fails with this kind, and says all of this: what is wrong and what to do instead.
#[track_caller]
fn assert_refused<T>(result: Result<T, Error>, kind: ErrorKind, says: &[&str]) {
    let Err(error) = result else { panic!("it was taken") };
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for part in says {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

/// After whatever was refused: the id is free, the name is free, and a recorder of both counts.
#[track_caller]
fn assert_free(runtime: &MetricsRuntime, id: &str, metric: &str) {
    let recorder = runtime.recorder::<Number>(id).counter(metric, |c| c).create().unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!(recorder.snapshot().counter(metric, &[]), Some(1));
    runtime.stop_and_remove(id, PATIENCE).unwrap();
}

/// Works before, between and after, and loses nothing.
struct Bystander(Recorder<Number>, u64);

impl Bystander {
    fn of(runtime: &MetricsRuntime) -> Self {
        Self(runtime.recorder("bystander").counter("bystander.events", |c| c).create().unwrap(), 0)
    }

    #[track_caller]
    fn goes_on(&mut self) {
        self.1 += 1;
        self.0.register_event(Number(1));
        self.0.flush_blocking(PATIENCE).unwrap();
        assert_eq!(self.0.snapshot().counter("bystander.events", &[]), Some(self.1));
        assert_eq!(self.0.accounts().offered(), self.1);
    }
}

#[test]
fn blank_and_unwritable_ids_are_refused_wherever_one_is_given() {
    let runtime = running("ids");
    let mut bystander = Bystander::of(&runtime);
    let long = "x".repeat(limits::MAX_ID_BYTES + 1);
    let cases = [("", "blank"), (" \t\n", "blank"), ("a\u{0}b", "leave them out"), (&long, "shorten it")];
    for (id, says) in cases {
        assert_refused(
            runtime.recorder::<Number>(id).counter("x", |c| c).create(),
            ErrorKind::InvalidId,
            &[says],
        );
        assert_refused(runtime.get::<Number>(id), ErrorKind::InvalidId, &[says]);
        assert_refused(runtime.try_get::<Number>(id), ErrorKind::InvalidId, &[says]);
        assert_refused(runtime.stop_and_remove(id, PATIENCE), ErrorKind::InvalidId, &[says]);
        let named = runtime.recorder::<Number>("named").entity(id).counter("x", |c| c).create();
        assert_refused(named, ErrorKind::InvalidId, &[says]);
        assert_refused(
            MetricsRuntime::builder(id).build(),
            ErrorKind::InvalidId,
            &["blank or not writable", "shop"],
        );
        bystander.goes_on();
    }
    assert_eq!(runtime.recorder_ids().len(), 1);
    assert_free(&runtime, "named", "x");
}

#[test]
fn a_duplicate_id_is_refused_and_the_first_recorder_goes_on() {
    let runtime = running("twice");
    let mut first = Bystander::of(&runtime);
    let says = ["exists already", "choose another id"];
    let same = runtime.recorder::<Number>(" bystander ").create();
    assert_refused(same, ErrorKind::AlreadyExists, &says);
    let other = runtime.recorder::<Step>("bystander").counter("x", |c| c).create();
    assert_refused(other, ErrorKind::AlreadyExists, &says);
    first.goes_on();
}

#[test]
fn what_a_refused_recorder_declared_is_not_declared() {
    let runtime = running("declared");
    let mut bystander = Bystander::of(&runtime);
    // Refused for its id, after its metrics were looked at.
    let taken =
        runtime.recorder::<Number>("bystander").gauge("free.name", |g| g.value(|e| Some(e.0))).create();
    assert_refused(taken, ErrorKind::AlreadyExists, &[]);
    assert_free(&runtime, "fresh", "free.name");
    // Refused for one metric of two: the other is not declared either.
    let half = runtime
        .recorder::<Number>("half")
        .gauge("other.name", |g| g.value(|e| Some(e.0)))
        .gauge("bystander.events", |g| g.value(|e| Some(e.0)))
        .create();
    assert_refused(half, ErrorKind::MetricConflict, &["bystander.events"]);
    assert_free(&runtime, "half", "other.name");
    // Refused because the recorder has one already, of another shape: nothing happens.
    let again = bystander
        .0
        .register_metric(Average::builder("bystander.events").value(|e: &Number| Some(e.0)).build().unwrap());
    assert_refused(again.wait(PATIENCE), ErrorKind::MetricConflict, &["another name"]);
    // Refused because the recorder is gone.
    let gone = runtime.recorder::<Number>("gone").create().unwrap();
    runtime.stop_and_remove("gone", PATIENCE).unwrap();
    let late = gone.register_metric(
        mvx_metrics::Gauge::builder("late.name").value(|e: &Number| Some(e.0)).build().unwrap(),
    );
    assert_refused(late.wait(PATIENCE), ErrorKind::InvalidState, &["create it again"]);
    assert_free(&runtime, "fresh", "late.name");
    bystander.goes_on();
}

#[test]
fn two_metrics_of_one_name_and_another_shape_are_refused_in_one_recorder_and_across_recorders() {
    let runtime = running("shapes");
    let mut bystander = Bystander::of(&runtime);
    let says = ["differs", "kind", "another name"];
    let within =
        runtime.recorder::<Number>("r").counter("x", |c| c).gauge("x", |g| g.value(|e| Some(e.0))).create();
    assert_refused(within, ErrorKind::MetricConflict, &says);
    let across =
        runtime.recorder::<Number>("r").gauge("bystander.events", |g| g.value(|e| Some(e.0))).create();
    assert_refused(
        across,
        ErrorKind::MetricConflict,
        &["recorder r ", "recorder bystander", "kind", "another name"],
    );
    let labelled =
        runtime.recorder::<Number>("r").counter("bystander.events", |c| c.label("a", |_| Label::fixed("b")));
    assert_refused(labelled.create(), ErrorKind::MetricConflict, &["labels"]);
    let unit = runtime.recorder::<Number>("r").counter("bystander.events", |c| c.unit(Unit::Bytes));
    assert_refused(unit.create(), ErrorKind::MetricConflict, &["unit"]);
    let later = bystander.0.register_metric(
        mvx_metrics::Gauge::builder("bystander.events").value(|e: &Number| Some(e.0)).build().unwrap(),
    );
    assert_refused(later.wait(PATIENCE), ErrorKind::MetricConflict, &["kind"]);
    bystander.goes_on();
    assert_free(&runtime, "r", "x");
    // The same shape is the same metric, in one recorder as in two.
    let same = runtime
        .recorder::<Number>("r")
        .counter("x", |c| c)
        .counter("x", |c| c.help("again"))
        .create()
        .unwrap();
    assert_eq!(same.snapshot().metrics().count(), 1);
    let other =
        runtime.recorder::<Number>("r2").counter("x", |c| c).counter("bystander.events", |c| c).create();
    assert_eq!(other.unwrap().snapshot().metrics().count(), 2);
}

#[test]
fn names_that_a_format_could_not_tell_apart_are_refused_in_one_recorder_and_across_recorders() {
    let runtime = running("apart");
    let mut bystander = Bystander::of(&runtime);
    let says = ["one name in Prometheus", "rename one"];
    let across = runtime.recorder::<Number>("r").counter("bystander_events", |c| c).create();
    assert_refused(across, ErrorKind::MetricConflict, &says);
    let within = runtime.recorder::<Number>("r").counter("a.b", |c| c).counter("a_b", |c| c).create();
    assert_refused(within, ErrorKind::MetricConflict, &says);
    let later = bystander.0.register_metric(Probe::new("bystander_events", |_: &Number| Verdict::Accepted));
    assert_refused(later.wait(PATIENCE), ErrorKind::MetricConflict, &says);
    bystander.goes_on();
    assert_free(&runtime, "r", "a_b");
}

#[test]
fn capacities_out_of_range_are_refused() {
    let runtime = running("capacity");
    let mut bystander = Bystander::of(&runtime);
    for capacity in [0, limits::MAX_CAPACITY + 1, u32::MAX] {
        let says = ["out of range", "from 1 to 16777216"];
        let recorder = runtime.recorder::<Number>("r").counter("x", |c| c).capacity(capacity).create();
        assert_refused(recorder, ErrorKind::InvalidLimit, &says);
        let default = MetricsRuntime::builder("r").default_capacity(capacity).build();
        assert_refused(default, ErrorKind::InvalidLimit, &says);
        bystander.goes_on();
    }
    for capacity in [1, limits::MAX_CAPACITY] {
        let recorder = runtime.recorder::<Number>("r").capacity(capacity).create().unwrap();
        assert_eq!(recorder.capacity(), u64::from(capacity));
        recorder.try_register_event(Number(1)).unwrap();
        recorder.flush_blocking(PATIENCE).unwrap();
        runtime.stop_and_remove("r", PATIENCE).unwrap();
    }
    assert_free(&runtime, "r", "x");
}

#[test]
fn names_that_no_format_can_write_are_refused() {
    let runtime = running("names");
    let mut bystander = Bystander::of(&runtime);
    let long = "n".repeat(limits::MAX_NAME_BYTES + 1);
    let cases = [
        ("", "at least one letter"),
        ("a-b", "`a_b`"),
        ("a..b", "`a.b`"),
        (".a", "`a`"),
        ("9lives", "start with an ASCII letter"),
        ("größe", "ASCII"),
        ("a b", "`a_b`"),
        ("a\nb", "`a_b`"),
        (&long, "shorten it"),
    ];
    for (name, says) in cases {
        assert_refused(
            runtime.recorder::<Number>("r").counter(name, |c| c).create(),
            ErrorKind::InvalidName,
            &[says],
        );
        assert_refused(Descriptor::builder(name, Kind::Gauge).build(), ErrorKind::InvalidName, &[says]);
    }
    for (key, says) in [
        ("le", "reserved"),
        ("quantile", "reserved"),
        ("recorder", "`recorder_name`"),
        ("entity", "`entity_name`"),
        ("__x", "`x`"),
        ("a.b", "`a_b`"),
        ("", "at least one letter"),
    ] {
        let labelled = runtime.recorder::<Number>("r").counter("x", |c| c.label(key, |_| Label::fixed("v")));
        assert_refused(labelled.create(), ErrorKind::InvalidName, &[says]);
    }
    let twice = runtime
        .recorder::<Number>("r")
        .counter("x", |c| c.label("k", |_| Label::Absent).label("k", |_| Label::Absent));
    assert_refused(twice.create(), ErrorKind::InvalidName, &["given twice", "leave one"]);
    assert_refused(Unit::custom("m s"), ErrorKind::InvalidName, &["UCUM"]);
    bystander.goes_on();
    assert_free(&runtime, "r", "x");
}

#[test]
fn limits_and_bounds_out_of_range_are_refused() {
    let runtime = running("limits");
    let mut bystander = Bystander::of(&runtime);
    let many: Vec<f64> = (0..=limits::MAX_BOUNDS as u32).map(f64::from).collect();
    let cases: [(&[f64], &str); 5] = [
        (&[], "give at least one"),
        (&[2.0, 1.0], "must rise"),
        (&[1.0, 1.0], "each once"),
        (&[1.0, f64::INFINITY], "leave it out"),
        (&many, "at most 512"),
    ];
    for (bounds, says) in cases {
        let histogram =
            runtime.recorder::<Number>("r").histogram("x", |h| h.bounds(bounds).value(|e| Some(e.0)));
        assert_refused(histogram.create(), ErrorKind::InvalidLimit, &["metric `x`", says]);
    }
    for limit in [0, limits::MAX_CARDINALITY + 1] {
        let counter = runtime.recorder::<Number>("r").counter("x", |c| c.cardinality(limit));
        assert_refused(counter.create(), ErrorKind::InvalidLimit, &["write 1 to 1048576"]);
    }
    let keys: Vec<_> = (0..=limits::MAX_LABELS).map(|n| format!("k{n}")).collect();
    let crowd = runtime
        .recorder::<Number>("r")
        .counter("x", |c| keys.iter().fold(c, |c, key| c.label(key, |_| Label::Absent)));
    assert_refused(crowd.create(), ErrorKind::InvalidLimit, &["at most 16"]);
    let valueless = runtime.recorder::<Number>("r").gauge("x", |g| g).create();
    assert_refused(valueless, ErrorKind::InvalidState, &["call `.value("]);
    bystander.goes_on();
    assert_free(&runtime, "r", "x");
}

#[test]
fn the_first_mistake_of_several_is_told() {
    let runtime = running("first");
    let result =
        runtime.recorder::<Number>("  ").counter("a-b", |c| c).capacity(0).counter("c d", |c| c).create();
    assert_refused(result, ErrorKind::InvalidName, &["`a-b`"]);
}

#[test]
fn a_recorder_asked_for_with_another_event_type_says_which_it_was_asked_for() {
    let runtime = running("types");
    let mut bystander = Bystander::of(&runtime);
    let says = ["bystander", "Step", "the type it was created for"];
    assert_refused(runtime.get::<Step>("bystander"), ErrorKind::WrongEventType, &says);
    assert_refused(runtime.try_get::<Step>("bystander"), ErrorKind::WrongEventType, &says);
    bystander.goes_on();
    assert_refused(runtime.get::<Number>("nobody"), ErrorKind::NotFound, &["nobody", "create it first"]);
    assert_refused(runtime.stop_and_remove("nobody", PATIENCE), ErrorKind::NotFound, &["check the id"]);
}

#[test]
fn event_types_that_the_event_does_not_have_are_refused() {
    let runtime = running("routes");
    let unknown =
        runtime.recorder::<Step>("r").counter("x", |c| c.on(&["step.up", "step.sideways"])).create();
    assert_refused(
        unknown,
        ErrorKind::UnknownEventType,
        &["step.sideways", "the event has step.up, step.down"],
    );
    let open = runtime.recorder::<Number>("r").counter("x", |c| c.on(&["number"])).create();
    assert_refused(open, ErrorKind::UnknownEventType, &["EVENT_TYPES", "list them"]);
    let recorder = runtime.recorder::<Step>("r").counter("ups", |c| c.on(&["step.up"])).create().unwrap();
    let later = recorder.register_metric(Probe::new("later", |_: &Step| Verdict::Accepted).on(&["nothing"]));
    assert_refused(later.wait(PATIENCE), ErrorKind::UnknownEventType, &["nothing"]);
    recorder.register_event(Step(true));
    recorder.register_event(Step(false));
    recorder.flush_blocking(PATIENCE).unwrap();
    let snapshot = recorder.snapshot();
    assert_eq!((snapshot.counter("ups", &[]), snapshot.metrics().count()), (Some(1), 1));
    runtime.stop_and_remove("r", PATIENCE).unwrap();
    assert_free(&runtime, "r", "x");
}

#[test]
fn values_that_would_poison_a_metric_are_refused_and_counted() {
    let runtime = running("values");
    let recorder = runtime
        .recorder::<Value>("values")
        .counter("total", |c| c.value(|e| Some(e.0)))
        .gauge("level", |g| g.value(|e| Some(e.0)))
        .histogram("spread", |h| h.bounds(&[1.0]).value(|e| Some(e.0)))
        .average("mean", |a| a.value(|e| Some(e.0)))
        .create()
        .unwrap();
    for value in [1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 2.0] {
        recorder.register_event(Value(value));
    }
    recorder.flush_blocking(PATIENCE).unwrap();
    let snapshot = recorder.snapshot();
    let tally = |name: &str| {
        (snapshot.metric(name).unwrap().tally().accepted, snapshot.metric(name).unwrap().tally().refused)
    };
    assert_eq!(
        [tally("total"), tally("level"), tally("spread"), tally("mean")],
        [(2, 4), (3, 3), (3, 3), (3, 3)]
    );
    assert_eq!(snapshot.value("total", &[]).and_then(|value| value.float_counter()), Some(3.0));
    assert_eq!((snapshot.gauge("level", &[]), snapshot.mean("mean", &[])), (Some(2.0), Some(2.0 / 3.0)));
}

/// An event that carries whatever value.
struct Value(f64);

impl MetricEvent for Value {
    fn event_type(&self) -> &'static str {
        "value"
    }
}
