//! The example `custom_metric`: it runs, and its metric is tested as any metric can be, without a runtime.
#![cfg(all(feature = "runtime", feature = "derive"))]

#[path = "../examples/custom_metric.rs"]
mod custom_metric;

use crate::custom_metric::FailureStreak;
use crate::custom_metric::UploadEvent;
use mvx_metrics::Context;
use mvx_metrics::ErrorKind;
use mvx_metrics::Family;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Metric;
use mvx_metrics::Number;
use mvx_metrics::Timestamp;
use mvx_metrics::Verdict;

#[test]
fn the_example_holds_what_it_asserts() {
    custom_metric::main().unwrap();
}

#[test]
fn a_success_ends_the_streak_and_leaves_the_longest() {
    let mut streak = FailureStreak::new("upload.failure_streak").unwrap();
    let context = Context::new(Timestamp::from_unix_nanos(7), 1);
    for event in [UploadEvent::Failed, UploadEvent::Failed, UploadEvent::Succeeded] {
        assert_eq!(streak.handle_event(&event, &context), Verdict::Accepted);
    }
    let family = shown(&streak);
    let series = family.find(&[]).unwrap();
    assert_eq!(series.value().field("current"), Some(Number::U64(0)));
    assert_eq!(series.value().field("longest"), Some(Number::U64(2)));
    assert_eq!(series.started(), context.now());
}

#[test]
fn before_the_first_event_there_is_no_series() {
    let mut streak = FailureStreak::new("upload.failure_streak").unwrap();
    let context = Context::new(Timestamp::from_unix_nanos(7), 1);
    assert_eq!(streak.handle_event(&UploadEvent::Began, &context), Verdict::Ignored);
    assert!(shown(&streak).is_empty());
}

#[test]
fn a_name_that_no_format_can_write_is_refused() {
    assert_eq!(FailureStreak::new("upload failures").unwrap_err().kind(), ErrorKind::InvalidName);
}

fn shown(metric: &impl Metric<UploadEvent>) -> Family {
    let mut family = Family::new(metric.descriptor().clone());
    metric.snapshot(&mut FamilyWriter::whole(&mut family));
    family
}
