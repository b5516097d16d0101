//! Views: what one exporter shows, under which names and labels, in every format, and without touching anybody else's.
#![cfg(all(feature = "prometheus", feature = "json", feature = "console", not(miri)))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::View;
use mvx_metrics::export::console;
use mvx_metrics::export::json;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use proptest::prelude::*;

/// Two recorders of three metrics, one of them with a label and an entity.
fn program(namespace: &str) -> MetricsRuntime {
    let runtime = running(namespace);
    for id in ["left", "right"] {
        let recorder = runtime
            .recorder::<Number>(id)
            .entity("disk")
            .constant_label("region", "here")
            .counter("document.saves", |c| c.label("zone", |n| n.0.into()))
            .counter("document.reads", |c| c)
            .counter("other", |c| c)
            .create()
            .unwrap();
        recorder.register_event(Number(1));
        recorder.flush_blocking(PATIENCE).unwrap();
    }
    runtime
}

fn names(snapshot: &RuntimeSnapshot) -> Vec<String> {
    let families = snapshot.families(Fold::Recorder);
    families.iter().map(|family| family.descriptor().name().to_string()).collect()
}

fn text(snapshot: &RuntimeSnapshot) -> String {
    let mut text = String::new();
    let _ = Encoder::new(Format::OpenMetrics).vitals(false).encode(snapshot, &mut text);
    text
}

#[test]
fn names_and_beginnings_are_included_and_excluded_and_our_own_metrics_only_excluded() {
    let runtime = program("select");
    let snapshot = runtime.collect();
    let shown = |view: mvx_metrics::ViewBuilder| {
        let viewed = snapshot.with_view(&view.build().unwrap());
        (names(&viewed), viewed.vitals().len())
    };
    let (all, vitals) = (names(&snapshot), snapshot.vitals().len());
    assert_eq!(all, ["document.reads", "document.saves", "other"]);
    assert!(vitals > 5);
    let none: [&str; 0] = [];
    assert_eq!(shown(View::builder()), (all.clone(), vitals));
    assert_eq!(shown(View::builder().include("other")), (vec!["other".to_owned()], vitals));
    assert_eq!(shown(View::builder().include("document.*").include("other")), (all.clone(), vitals));
    let saves = View::builder().include("document.*").exclude("document.reads");
    assert_eq!(shown(saves), (vec!["document.saves".to_owned()], vitals));
    assert_eq!(shown(View::builder().exclude("*")).0, none);
    assert_eq!(shown(View::builder().exclude("mvx.*")), (all.clone(), 0));
    assert_eq!(shown(View::builder().include("document")).0, none, "a name is not the beginning of another");
    assert_eq!(shown(View::builder().include("mvx.*")), (Vec::new(), vitals));
}

#[test]
fn a_view_changes_every_format_alike_and_the_snapshot_it_was_made_of_not_at_all() {
    let runtime = program("formats");
    let view = View::builder()
        .include("document.saves")
        .rename("document.saves", "shop.saved")
        .label("stage", "test \"1\"\n")
        .without_entity()
        .build()
        .unwrap();
    let snapshot = runtime.collect();
    let before = text(&snapshot);
    let viewed = snapshot.with_view(&view);

    let samples: Vec<_> =
        text(&viewed).lines().map(str::to_owned).filter(|line| line.contains("_total")).collect();
    let sample = |id: &str| {
        format!(r#"shop_saved_total{{recorder="{id}",region="here",stage="test \"1\"\n",zone="1"}} 1"#)
    };
    assert_eq!(samples, [sample("left"), sample("right")]);

    let mut lines = String::new();
    let _ = json::Encoder::new().vitals(false).encode(&viewed, &mut lines);
    for (line, id) in lines.lines().zip(["left", "right"]) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let labels =
            serde_json::json!({"recorder": id, "region": "here", "stage": "test \"1\"\n", "zone": "1"});
        assert_eq!(
            (&line["name"], &line["labels"], &line["value"]),
            (&"shop.saved".into(), &labels, &1.into())
        );
    }
    assert_eq!(lines.lines().count(), 2);

    let mut table = String::new();
    let _ = console::Encoder::new().vitals(false).encode(&viewed, &mut table);
    assert!(
        table.contains("shop.saved") && table.contains("stage=") && !table.contains("entity="),
        "{table}"
    );
    assert_eq!(text(&snapshot), before);
    assert!(before.contains(r#"entity="disk""#) && !before.contains("stage"));
}

#[test]
fn a_label_that_is_there_already_stays_whose_it_is() {
    let runtime = program("labels");
    let view = View::builder().label("zone", "mine").label("region", "mine").label("aaa", 1).build().unwrap();
    let viewed = runtime.collect().with_view(&view);
    let families = viewed.families(Fold::Recorder);
    let labels = |name: &str| -> Vec<_> {
        let family = families.iter().find(|family| family.descriptor().name().as_str() == name).unwrap();
        family.parts()[0].labels().collect()
    };
    let scope = [("aaa", "1"), ("entity", "disk"), ("recorder", "left"), ("region", "here")];
    assert_eq!(labels("document.saves"), scope, "it has a zone of its own");
    assert_eq!(labels("other"), [&scope[..], &[("zone", "mine")]].concat());
    assert!(text(&viewed).contains(r#"zone="1"}"#));
}

#[test]
fn a_rename_to_a_name_that_is_shown_already_does_not_happen_and_swaps_do() {
    let runtime = program("renames");
    let rename = |from: &str, to: &str| {
        let view = View::builder().rename(from, to).build().unwrap();
        names(&runtime.collect().with_view(&view))
    };
    assert_eq!(rename("other", "document.reads"), ["document.reads", "document.saves", "other"]);
    assert_eq!(rename("other", "a.name.before"), ["a.name.before", "document.reads", "document.saves"]);
    let freed = View::builder().exclude("document.reads").rename("other", "document.reads").build().unwrap();
    assert_eq!(names(&runtime.collect().with_view(&freed)), ["document.reads", "document.saves"]);
    // Two names that Prometheus writes alike: its text still has no two metrics of one name.
    let alike = View::builder().rename("other", "document.saves.total").build().unwrap();
    let written = text(&runtime.collect().with_view(&alike));
    assert_eq!(written.matches("# TYPE document_saves ").count(), 1, "{written}");
}

#[test]
fn the_views_word_on_folding_holds() {
    let runtime = program("folds");
    let view = View::builder().fold(Fold::Group).label("stage", "test").build().unwrap();
    let written = text(&runtime.collect().with_view(&view));
    assert!(written.contains("other_total{stage=\"test\"} 2\n"), "{written}");
}

#[test]
fn mistakes_are_told_when_the_view_is_built() {
    let kinds = [
        View::builder().include("").build(),
        View::builder().exclude("a b*").build(),
        View::builder().include("document.*.saves").build(),
        View::builder().rename("document.saves", "9").build(),
        View::builder().rename("a", "b").rename("a", "c").build(),
        View::builder().rename("a", "c").rename("b", "c").build(),
        View::builder().label("recorder", "mine").build(),
        View::builder().label("twice", 1).label("twice", 2).build(),
    ]
    .map(|result| result.unwrap_err().kind());
    assert_eq!(kinds, [ErrorKind::InvalidName; 8]);
    let many = (0..17).fold(View::builder(), |view, n| view.label(&format!("l{n}"), n));
    assert_eq!(many.build().unwrap_err().kind(), ErrorKind::InvalidLimit);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_labels_a_view_adds_each_key_is_there_once_and_in_order(keys in proptest::collection::btree_set("[a-z]{1,2}|zone|region", 0..8)) {
        let runtime = program("keys");
        let view = keys.iter().fold(View::builder(), |view, key| view.label(key, "added")).build();
        prop_assume!(view.is_ok());
        let snapshot = runtime.collect().with_view(&view.unwrap());
        for family in snapshot.families(Fold::Recorder) {
            for part in family.parts() {
                let mut seen: Vec<_> = part.labels().map(|(key, _)| key).collect();
                prop_assert!(seen.is_sorted());
                seen.extend(part.family().descriptor().label_keys().iter().map(|key| key.as_str()));
                seen.sort_unstable();
                prop_assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
                prop_assert!(keys.iter().all(|key| seen.contains(&key.as_str())));
            }
        }
    }
}

#[test]
fn constant_labels_of_the_runtime_are_in_every_format_and_no_view_replaces_them() {
    let runtime =
        MetricsRuntime::builder("constant").constant_label("stage", "test \"1\"\n").build().unwrap();
    runtime.start().unwrap();
    let recorder = runtime.recorder::<Number>("left").counter("saves", |c| c).create().unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    let view = View::builder().label("stage", "mine").label("area", "here").without_entity().build().unwrap();
    let plain = runtime.collect();
    let viewed = plain.with_view(&view);
    let sample = text(&viewed).lines().find(|line| line.contains("_total")).unwrap().to_owned();
    assert_eq!(sample, r#"saves_total{area="here",recorder="left",stage="test \"1\"\n"} 1"#);
    let mut written = String::new();
    let _ = Encoder::new(Format::Text).encode(&plain, &mut written);
    let samples = written.lines().filter(|line| !line.starts_with('#'));
    assert!(samples.clone().count() > 5, "{written}");
    samples.for_each(|line| assert_eq!(line.matches(r#"stage="test \"1\"\n""#).count(), 1, "{line}"));
    let mut lines = String::new();
    let _ = json::Encoder::new().encode(&plain, &mut lines);
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["labels"]["stage"], "test \"1\"\n", "{line}");
    }
    let mut table = String::new();
    let _ = console::Encoder::new().vitals(false).encode(&plain, &mut table);
    assert!(table.contains(r#"stage="test \"1\"\n""#), "{table}");
}
