//! Labels that all series of a recorder have.
#![cfg(feature = "runtime")]

use mvx_metrics::Counter;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::Label;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RecorderBuilder;
use std::time::Duration;

struct Saved;

impl MetricEvent for Saved {
    fn event_type(&self) -> &'static str {
        "saved"
    }
}

#[test]
fn the_scope_shows_them_among_its_own_by_key() {
    let runtime = MetricsRuntime::builder("constant").build().unwrap();
    let recorder = runtime
        .recorder::<Saved>("storage-1")
        .entity("storage")
        .constant_label("zone", "z\"1\n")
        .constant_label("area", "a")
        .constant_label("host", "h")
        .constant_label("blank", "")
        .counter("saves", |c| c)
        .create()
        .unwrap();
    let snapshot = recorder.snapshot();
    assert!(snapshot.constant_labels().matches(&[("area", "a"), ("host", "h"), ("zone", "z\"1\n")]));
    let collected = runtime.collect();
    let families = collected.families(Fold::Recorder);
    let saves = families.iter().find(|family| *family.descriptor().name() == "saves").unwrap();
    let labels: Vec<_> = saves.parts()[0].scope().labels().collect();
    let expected =
        [("area", "a"), ("entity", "storage"), ("host", "h"), ("recorder", "storage-1"), ("zone", "z\"1\n")];
    assert_eq!(labels, expected);
}

#[test]
fn wrong_keys_are_refused_when_the_recorder_is_made() {
    let runtime = MetricsRuntime::builder("constant").build().unwrap();
    let refused = |define: fn(RecorderBuilder<Saved>) -> RecorderBuilder<Saved>| {
        define(runtime.recorder::<Saved>("storage")).create().unwrap_err().kind()
    };
    assert_eq!(refused(|r| r.constant_label("recorder", "x")), ErrorKind::InvalidName);
    assert_eq!(refused(|r| r.constant_label("le", "1")), ErrorKind::InvalidName);
    assert_eq!(refused(|r| r.constant_label("a-b", "x")), ErrorKind::InvalidName);
    assert_eq!(refused(|r| r.constant_label("a", "x").constant_label("a", "y")), ErrorKind::InvalidName);
    let many = |r: RecorderBuilder<Saved>| (0..17).fold(r, |r, n| r.constant_label(&format!("k{n}"), "v"));
    assert_eq!(refused(many), ErrorKind::InvalidLimit);
    let own = |r: RecorderBuilder<Saved>| r.counter("saves", |c| c.label("a", |_| Label::fixed("b")));
    let error = own(runtime.recorder("storage").constant_label("a", "x")).create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MetricConflict);
    assert!(error.to_string().contains("another key"), "{error}");
    assert!(runtime.recorder::<Saved>("storage").create().is_ok(), "nothing was entered");
}

#[test]
fn a_metric_added_later_cannot_have_the_key_of_one() {
    let runtime = MetricsRuntime::builder("constant").build().unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder::<Saved>("storage").constant_label("a", "x").create().unwrap();
    let metric =
        |key: &str| Counter::<Saved>::builder("saves").label(key, |_| Label::fixed("b")).build().unwrap();
    let error = recorder.register_metric(metric("a")).wait(Duration::from_secs(30)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MetricConflict);
    recorder.register_metric(metric("b")).wait(Duration::from_secs(30)).unwrap();
}
