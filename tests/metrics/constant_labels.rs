//! Labels that all series of a recorder have.
#![cfg(feature = "runtime")]

use mvx_metrics::Counter;
use mvx_metrics::CounterBuilder;
use mvx_metrics::Descriptor;
use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::ExportedFamily;
use mvx_metrics::Family;
use mvx_metrics::Fold;
use mvx_metrics::Kind;
use mvx_metrics::Label;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Part;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderBuilder;
use mvx_metrics::Source;
use mvx_metrics::SourceWriter;
use std::sync::Arc;
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

struct Disk(Arc<Descriptor>);

impl Source for Disk {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        vec![Arc::clone(&self.0)]
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        if let Some(mut family) = writer.family(&self.0) {
            family.gauge(&LabelSet::empty(), 1.0);
        }
    }
}

/// The labels that a part shows, of every part of every metric.
fn shown(families: &[ExportedFamily<'_>]) -> Vec<Vec<(String, String)>> {
    let parts = families.iter().flat_map(ExportedFamily::parts);
    let owned =
        |part: &Part<'_>| part.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    parts.map(owned).collect()
}

#[test]
fn those_of_a_runtime_are_with_every_series_it_has_its_own_included() {
    let runtime = MetricsRuntime::builder("constant")
        .constant_label("zone", "z")
        .constant_label("area", "a")
        .constant_label("blank", "")
        .build()
        .unwrap();
    runtime.recorder::<Saved>("b").constant_label("host", "h").counter("saves", |c| c).create().unwrap();
    runtime.recorder::<Saved>("c").group("g").counter("saves", |c| c).create().unwrap();
    let descriptor = Descriptor::builder("read", Kind::Gauge).build().unwrap();
    runtime.add_source("disk", Duration::from_secs(1), Disk(descriptor)).unwrap();
    runtime.refresh_sources();
    let snapshot = runtime.collect();
    assert!(snapshot.constant_labels().matches(&[("area", "a"), ("zone", "z")]));
    let text = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let (area, zone) = (("area", "a"), ("zone", "z"));
    let expected = [
        text(&[area, zone]),
        text(&[area, ("host", "h"), ("recorder", "b"), zone]),
        text(&[area, ("recorder", "c"), zone]),
    ];
    assert_eq!(shown(&snapshot.families(Fold::Recorder)), expected);
    let expected = [text(&[area, zone]), text(&[area, zone]), text(&[area, ("group", "g"), zone])];
    assert_eq!(shown(&snapshot.families(Fold::Group)), expected);
    let vitals = snapshot.vitals();
    let shown = shown(&vitals);
    assert!(shown.len() > 5);
    for labels in shown {
        assert!(labels.contains(&text(&[area])[0]) && labels.contains(&text(&[zone])[0]), "{labels:?}");
        assert!(labels.is_sorted());
    }
    // Each of their label keys is refused below, so that none is there twice.
    for key in vitals.iter().flat_map(|family| family.descriptor().label_keys().to_vec()) {
        let refused = MetricsRuntime::builder("own").constant_label(key.as_str(), "x").build();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::MetricConflict, "{key}");
    }
}

#[test]
fn what_would_have_a_label_of_the_runtimes_twice_is_refused_wherever_it_comes_from() {
    let build = |keys: &[&str]| {
        let builder = MetricsRuntime::builder("constant");
        keys.iter().fold(builder, |builder, key| builder.constant_label(key, "x")).build()
    };
    for wrong in [&["recorder"][..], &["group"], &["le"], &["__a"], &["a-b"], &[""], &["a", "a"]] {
        assert_eq!(build(wrong).unwrap_err().kind(), ErrorKind::InvalidName, "{wrong:?}");
    }
    for own in ["reason", "exporter", "source"] {
        assert_eq!(build(&[own]).unwrap_err().kind(), ErrorKind::MetricConflict);
    }
    let many: Vec<String> = (0..17).map(|n| format!("k{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(build(&many).unwrap_err().kind(), ErrorKind::InvalidLimit);

    let runtime = build(&["a"]).unwrap();
    runtime.start().unwrap();
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::MetricConflict);
        assert!(error.to_string().contains("constant label of the runtime"), "{error}");
    };
    refused(runtime.recorder::<Saved>("one").constant_label("a", "y").create().unwrap_err());
    let labelled = |c: CounterBuilder<Saved>| c.label("a", |_| Label::fixed("b"));
    refused(runtime.recorder::<Saved>("one").counter("saves", labelled).create().unwrap_err());
    let recorder = runtime.recorder::<Saved>("one").create().unwrap();
    let late = labelled(Counter::builder("saves")).build().unwrap();
    refused(recorder.register_metric(late).wait(Duration::from_secs(30)).unwrap_err());
    let descriptor = Descriptor::builder("read", Kind::Gauge).label("a").build().unwrap();
    let source = Disk(Arc::clone(&descriptor));
    refused(runtime.add_source("disk", Duration::from_secs(1), source).unwrap_err());
    let mut snapshot = runtime.collect();
    refused(snapshot.add(vec![Family::new(descriptor)]).unwrap_err());
    // What was refused is declared by nobody.
    assert!(runtime.catalogue().is_empty());
    assert!(Recorder::<Saved>::detached("alone").counter("saves", labelled).create().is_ok());
}
