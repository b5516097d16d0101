//! What exporters read: a runtime's metrics by name, over all its recorders, in every state.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::Fold;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RuntimeSnapshot;

fn recorder(runtime: &MetricsRuntime, id: &str, metrics: &[&str]) -> Recorder<Number> {
    let builder = runtime.recorder::<Number>(id);
    metrics.iter().fold(builder, |builder, name| builder.counter(name, |c| c)).create().unwrap()
}

fn record(recorder: &Recorder<Number>, events: u64) {
    (0..events).for_each(|event| recorder.register_event(Number(event)));
    recorder.flush_blocking(PATIENCE).unwrap();
}

/// Name, recorder and count of every counter.
fn shown(snapshot: &RuntimeSnapshot) -> Vec<(String, String, u64)> {
    let mut shown = Vec::new();
    for family in snapshot.families(Fold::Recorder) {
        for part in family.parts() {
            let scope: Vec<_> = part.scope().labels().map(|(key, value)| format!("{key}={value}")).collect();
            for series in part.family().series() {
                let name = family.descriptor().name().to_string();
                shown.push((name, scope.join(","), series.value().counter().unwrap()));
            }
        }
    }
    shown
}

#[test]
fn a_metric_of_many_recorders_is_one_family_with_a_part_for_each_and_families_stand_in_the_order_of_names() {
    let runtime = running("collected");
    let zebra = recorder(&runtime, "zebra", &["reads", "bytes"]);
    let ant = recorder(&runtime, "ant", &["reads"]);
    record(&zebra, 2);
    record(&ant, 3);
    let expected =
        [("bytes", "recorder=zebra", 2), ("reads", "recorder=zebra", 2), ("reads", "recorder=ant", 3)]
            .map(|(name, scope, count)| (name.to_owned(), scope.to_owned(), count));
    assert_eq!(shown(&runtime.collect()), expected);
    assert_eq!(runtime.collect().families(Fold::Recorder).len(), 2, "one family for each name");
}

#[test]
fn a_collection_stays_as_it_was_while_the_runtime_goes_on_and_after_it_is_gone() {
    let runtime = running("kept");
    let kept = recorder(&runtime, "kept", &["reads"]);
    record(&kept, 1);
    let before = runtime.collect();
    record(&kept, 1);
    runtime.shutdown(PATIENCE).unwrap();
    let after = runtime.collect();
    drop((kept, runtime));
    assert_eq!(shown(&before)[0].2, 1);
    assert_eq!(shown(&after)[0].2, 2);
    assert!(before.started() <= before.taken_at() && before.taken_at() <= after.taken_at());
}

#[test]
fn a_removed_recorder_leaves_the_next_collection() {
    let runtime = running("left");
    let gone = recorder(&runtime, "gone", &["reads"]);
    record(&gone, 1);
    runtime.stop_and_remove("gone", PATIENCE).unwrap();
    let snapshot = runtime.collect();
    assert_eq!((snapshot.recorders().len(), shown(&snapshot).len()), (0, 0));
}
