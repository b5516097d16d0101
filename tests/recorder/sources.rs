//! Sources: what is read at a collection, bounded, rate-limited, and isolated.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::until;
use mvx_metrics::Descriptor;
use mvx_metrics::ErrorKind;
use mvx_metrics::Family;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Fold;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Scope;
use mvx_metrics::Source;
use mvx_metrics::SourceWriter;
use mvx_metrics::limits;
use mvx_metrics::testing::ManualClock;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A source of gauges that does what it is told before it gives its number.
struct Told<F> {
    gauges: Vec<Arc<Descriptor>>,
    before: F,
    number: f64,
}

impl<F: FnMut() + Send + 'static> Source for Told<F> {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        self.gauges.clone()
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        self.number += 1.0;
        for gauge in &self.gauges {
            writer.family(gauge).unwrap().gauge(&LabelSet::empty(), self.number);
        }
        (self.before)();
    }
}

fn gauges(names: &[&str]) -> Vec<Arc<Descriptor>> {
    names.iter().map(|name| Descriptor::builder(name, Kind::Gauge).build().unwrap()).collect()
}

fn source<F: FnMut() + Send + 'static>(name: &str, before: F) -> Told<F> {
    Told { gauges: gauges(&[name]), before, number: 0.0 }
}

/// The value of a gauge of the runtime itself.
fn shown(runtime: &MetricsRuntime, name: &str) -> Option<f64> {
    let snapshot = runtime.collect();
    let families = snapshot.families(Fold::Group);
    let family = families.iter().find(|family| *family.descriptor().name() == *name)?;
    let part = family.parts().iter().find(|part| *part.scope() == Scope::Runtime)?;
    part.family().find(&[])?.value().gauge()
}

#[test]
fn a_source_is_asked_once_in_its_interval_and_shown_in_between() {
    let clock = ManualClock::default();
    let runtime = MetricsRuntime::builder("rated").clock(clock.clone()).build().unwrap();
    runtime.add_source("slow", 10 * SECOND, source("slow.value", || {})).unwrap();
    runtime.add_source("fast", SECOND, source("fast.value", || {})).unwrap();
    assert_eq!(shown(&runtime, "slow.value"), None);
    let given: Vec<usize> = (0..11)
        .map(|_| {
            let given = runtime.refresh_sources();
            clock.advance(SECOND);
            given
        })
        .collect();
    assert_eq!(given, [2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
    assert_eq!((shown(&runtime, "slow.value"), shown(&runtime, "fast.value")), (Some(2.0), Some(11.0)));
    assert!(runtime.remove_source("fast") && !runtime.remove_source("fast"));
    assert_eq!((shown(&runtime, "fast.value"), runtime.sources().len()), (None, 1));
}

#[cfg(panic = "unwind")]
#[test]
fn a_source_that_panics_is_asked_no_more_and_hurts_nobody() {
    let runtime = MetricsRuntime::builder("panics").build().unwrap();
    let mut calls = 0;
    let panics = move || {
        calls += 1;
        assert!(calls < 2, "the second call");
    };
    runtime.add_source("bad", Duration::ZERO, source("bad.value", panics)).unwrap();
    runtime.add_source("good", Duration::ZERO, source("good.value", || {})).unwrap();
    let given: Vec<_> = (0..4).map(|_| runtime.refresh_sources()).collect();
    assert_eq!(given, [2, 1, 1, 1]);
    assert_eq!((shown(&runtime, "bad.value"), shown(&runtime, "good.value")), (None, Some(4.0)));
    let status = runtime.sources();
    assert_eq!((status[0].is_quarantined, status[0].runs, status[1].is_quarantined), (true, 1, false));
    assert!(runtime.remove_source("bad"));
    runtime.add_source("bad", Duration::ZERO, source("bad.value", || {})).unwrap();
    runtime.refresh_sources();
    assert_eq!(shown(&runtime, "bad.value"), Some(1.0));
}

#[test]
fn a_source_that_hangs_holds_up_neither_the_others_nor_a_collection() {
    let runtime = MetricsRuntime::builder("hangs").build().unwrap();
    let (go, wait) = mpsc::channel::<()>();
    runtime.add_source("stuck", Duration::ZERO, source("stuck.value", move || _ = wait.recv())).unwrap();
    runtime.add_source("good", Duration::ZERO, source("good.value", || {})).unwrap();
    thread::scope(|scope| {
        let refresh = scope.spawn(|| runtime.refresh_sources());
        until("the source is asked", || runtime.sources()[0].running_since.is_some());
        assert_eq!(runtime.refresh_sources(), 1, "the other one is asked");
        assert_eq!((shown(&runtime, "stuck.value"), shown(&runtime, "good.value")), (None, Some(1.0)));
        assert!(runtime.remove_source("stuck"));
        go.send(()).unwrap();
        refresh.join().unwrap();
    });
    assert_eq!(shown(&runtime, "stuck.value"), None, "it was removed");
}

#[test]
fn what_a_source_may_not_do_is_refused_and_nothing_is_added() {
    let runtime = MetricsRuntime::builder("refused").build().unwrap();
    runtime.recorder::<Number>("storage").counter("reads", |c| c).create().unwrap();
    let kind = |name: &str, source| runtime.add_source(name, SECOND, source).unwrap_err().kind();
    let told = |gauges| Told { gauges, before: || {}, number: 0.0 };
    assert_eq!(kind(" ", told(gauges(&["x"]))), ErrorKind::InvalidId);
    let error = runtime.add_source("s", SECOND, told(gauges(&["new", "reads"]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MetricConflict);
    let text = error.to_string();
    assert!(text.contains("source s") && text.contains("recorder storage"), "{text}");
    let many: Vec<_> = (0..=limits::MAX_SOURCE_METRICS).map(|n| format!("many.n{n}")).collect();
    let many = gauges(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(kind("many", told(many)), ErrorKind::LimitReached);
    for n in 0..limits::MAX_SOURCES {
        runtime.add_source(&format!("s{n}"), SECOND, told(gauges(&["shared"]))).unwrap();
    }
    assert_eq!(kind("s1", told(gauges(&["shared"]))), ErrorKind::AlreadyExists);
    assert_eq!(kind("one more", told(gauges(&["shared"]))), ErrorKind::LimitReached);
    // Declared by a source, so no recorder may mean something else by it.
    let error = runtime.recorder::<Number>("other").counter("shared", |c| c).create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MetricConflict);

    let mut snapshot = runtime.collect();
    let other = Family::new(Descriptor::builder("reads", Kind::Gauge).build().unwrap());
    assert_eq!(snapshot.add(vec![other]).unwrap_err().kind(), ErrorKind::MetricConflict);
    assert_eq!(snapshot.families(Fold::Recorder)[0].parts().len(), 1);
}

#[test]
fn families_of_one_name_are_added_together_if_they_state_different_series_of_one_shape() {
    let runtime = MetricsRuntime::builder("added").build().unwrap();
    let of = |kind, user: &str| {
        let mut family = Family::new(Descriptor::builder("shared", kind).label("user").build().unwrap());
        let labels = LabelSet::new([("user", user)]).unwrap();
        let mut writer = FamilyWriter::whole(&mut family);
        if kind == Kind::Gauge {
            writer.gauge(&labels, 1.0)
        } else {
            writer.up_down(&labels, 1)
        }
        drop(writer);
        family
    };
    let mut snapshot = runtime.collect();
    for refused in [
        vec![of(Kind::Gauge, "a"), of(Kind::UpDown, "b")],
        vec![of(Kind::Gauge, "a"), of(Kind::Gauge, "b"), of(Kind::Gauge, "a")],
    ] {
        let error = snapshot.add(refused).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MetricConflict, "{error}");
        assert!(error.to_string().contains("shared"), "{error}");
        assert!(snapshot.families(Fold::Recorder).is_empty());
    }
    snapshot.add(vec![of(Kind::Gauge, "a"), of(Kind::Gauge, "b")]).unwrap();
    // What stands there from before counts as well.
    assert_eq!(snapshot.add(vec![of(Kind::Gauge, "b")]).unwrap_err().kind(), ErrorKind::MetricConflict);
    snapshot.add(vec![of(Kind::Gauge, "c")]).unwrap();
    assert_eq!(snapshot.families(Fold::Recorder)[0].parts().len(), 3);
}
