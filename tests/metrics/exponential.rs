//! Exponential histograms by the public API: on a runtime, folded, removed, and in the formats.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::ErrorKind;
use mvx_metrics::ExactSum;
use mvx_metrics::ExponentialRef;
use mvx_metrics::Fold;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RuntimeSnapshot;

struct Step(f64);

impl MetricEvent for Step {
    fn event_type(&self) -> &'static str {
        "step"
    }
}

fn recorder(runtime: &MetricsRuntime, id: &str) -> Recorder<Step> {
    runtime
        .recorder::<Step>(id)
        .exponential_histogram("step", |h| h.max_buckets(8).zero_threshold(0.25).value(|e| Some(e.0)))
        .create()
        .unwrap()
}

fn record(recorder: &Recorder<Step>, steps: &[f64]) {
    steps.iter().for_each(|step| recorder.try_register_event(Step(*step)).unwrap());
    recorder.flush_blocking(PATIENCE).unwrap();
}

/// What there is to know of a histogram.
#[derive(Debug, PartialEq)]
struct Known {
    scale: i32,
    zeros: u64,
    positive: Vec<(i32, u64)>,
    negative: Vec<(i32, u64)>,
    sum: f64,
    extremes: Option<(f64, f64)>,
}

fn known(shown: ExponentialRef<'_>) -> Known {
    Known {
        scale: shown.scale(),
        zeros: shown.zero_count(),
        positive: shown.positive().iter().collect(),
        negative: shown.negative().iter().collect(),
        sum: shown.sum(),
        extremes: shown.min().zip(shown.max()),
    }
}

fn folded(snapshot: &RuntimeSnapshot) -> Known {
    let families = snapshot.families(Fold::Group);
    assert_eq!((families.len(), families[0].parts().len()), (1, 1));
    known(families[0].parts()[0].family().find(&[]).unwrap().value().exponential().unwrap())
}

#[test]
fn what_would_poison_it_is_refused_and_counted_and_what_is_merely_extreme_is_not() {
    let runtime = running("extreme");
    let measured = recorder(&runtime, "extreme");
    let huge = ExactSum::MAX;
    let refused = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX];
    let taken = [0.0, -0.0, 5e-324, -0.25, 0.25, huge / 4.0, -huge / 4.0];
    record(&measured, &refused);
    assert!(measured.snapshot().exponential("step", &[]).is_none(), "a refused value makes no series");
    record(&measured, &taken);
    let snapshot = measured.snapshot();
    let tally = snapshot.metric("step").unwrap().tally();
    assert_eq!((tally.refused, tally.accepted), (4, 7));
    let shown = snapshot.exponential("step", &[]).unwrap();
    assert_eq!((shown.count(), shown.zero_count(), shown.sum()), (7, 5, 5e-324), "the sum is exact");
    assert_eq!((shown.min(), shown.max()), (Some(-huge / 4.0), Some(huge / 4.0)));
    assert_eq!((shown.positive().counts().sum::<u64>(), shown.negative().counts().sum::<u64>()), (1, 1));
}

#[test]
fn folded_recorders_and_removed_ones_are_as_one_that_saw_everything() {
    let runtime = running("folded");
    let all: [&[f64]; 3] = [&[0.1, 1.0, 1.5], &[-3.0, 1e6, 0.3], &[1e-3, 7.0, 7.0, -1e9]];
    let recorders: Vec<_> = (0..3).map(|n| recorder(&runtime, &format!("r{n}"))).collect();
    recorders.iter().zip(all).for_each(|(recorder, steps)| record(recorder, steps));
    let alone = running("alone");
    let whole = recorder(&alone, "whole");
    record(&whole, &all.concat());
    let snapshot = whole.snapshot();
    let expected = known(snapshot.exponential("step", &[]).unwrap());

    assert_eq!(folded(&runtime.collect()), expected);
    runtime.stop_and_remove("r1", PATIENCE).unwrap();
    assert_eq!(folded(&runtime.collect()), expected, "what a removed recorder saw stays");
    runtime.stop_and_remove("r0", PATIENCE).unwrap();
    runtime.stop_and_remove("r2", PATIENCE).unwrap();
    assert_eq!(folded(&runtime.collect()), expected);
}

#[test]
fn shapes_out_of_range_or_unlike_another_recorders_are_refused() {
    let runtime = running("shapes");
    recorder(&runtime, "first");
    let with = |buckets: u32, threshold: f64| {
        let builder = runtime.recorder::<Step>("second").exponential_histogram("step", |h| {
            h.max_buckets(buckets).zero_threshold(threshold).value(|e| Some(e.0))
        });
        builder.create().map(|_| ()).map_err(|error| error.kind())
    };
    for buckets in [0, 2, 1_025, u32::MAX] {
        assert_eq!(with(buckets, 0.25), Err(ErrorKind::InvalidLimit), "{buckets}");
    }
    for threshold in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(with(8, threshold), Err(ErrorKind::InvalidLimit), "{threshold}");
    }
    assert_eq!(with(9, 0.25), Err(ErrorKind::MetricConflict));
    assert_eq!(with(8, 0.5), Err(ErrorKind::MetricConflict));
    let unmeasured = runtime.recorder::<Step>("second").exponential_histogram("other", |h| h).create();
    assert_eq!(unmeasured.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(with(8, 0.25), Ok(()));
}

#[cfg(feature = "prometheus")]
#[test]
fn in_the_text_formats_it_is_a_histogram_with_both_ends_of_each_bucket() {
    use mvx_metrics::export::prometheus::Encoder;
    use mvx_metrics::export::prometheus::Format;
    let runtime = running("text");
    record(&recorder(&runtime, "r"), &[1.0, 4.0, 4.0, 16.0, 0.1]);
    let text = |format| {
        let mut text = String::new();
        let encoded = Encoder::new(format).vitals(false).encode(&runtime.collect(), &mut text);
        assert_eq!(encoded.skipped(), []);
        text
    };
    // From 1 to 16 in eight buckets of two in an octave is one too many; so a bucket is an octave, and 16 is the end of its own.
    let lines = "\
# TYPE step histogram
step_bucket{recorder=\"r\",le=\"0.25\"} 1
step_bucket{recorder=\"r\",le=\"0.5\"} 1
step_bucket{recorder=\"r\",le=\"1.0\"} 2
step_bucket{recorder=\"r\",le=\"2.0\"} 2
step_bucket{recorder=\"r\",le=\"4.0\"} 4
step_bucket{recorder=\"r\",le=\"8.0\"} 4
step_bucket{recorder=\"r\",le=\"16.0\"} 5
step_bucket{recorder=\"r\",le=\"+Inf\"} 5
step_sum{recorder=\"r\"} 25.1
step_count{recorder=\"r\"} 5
";
    assert_eq!(text(Format::Text), lines);
    let open = text(Format::OpenMetrics);
    let without_created: String = open
        .lines()
        .filter(|line| !line.starts_with("step_created{recorder=\"r\"} ") && *line != "# EOF")
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(without_created, lines);
}

#[cfg(feature = "prometheus")]
#[test]
fn with_negative_steps_open_metrics_has_no_sum_and_says_so() {
    use mvx_metrics::export::prometheus::Encoder;
    use mvx_metrics::export::prometheus::Format;
    let runtime = running("negative");
    record(&recorder(&runtime, "r"), &[-2.0, 1.0]);
    let mut text = String::new();
    let encoded = Encoder::new(Format::OpenMetrics).vitals(false).encode(&runtime.collect(), &mut text);
    assert_eq!(encoded.skipped().len(), 1);
    assert!(
        !text.contains("step_sum") && text.contains("step_bucket{recorder=\"r\",le=\"+Inf\"} 2\n"),
        "{text}"
    );
    let mut classic = String::new();
    let encoded = Encoder::new(Format::Text).vitals(false).encode(&runtime.collect(), &mut classic);
    assert!(encoded.skipped().is_empty() && classic.contains("step_sum{recorder=\"r\"} -1.0\n"), "{classic}");
}
