//! What readers find in a snapshot without looking through its families.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::Context;
use mvx_metrics::Descriptor;
use mvx_metrics::FamilyWriter;
use mvx_metrics::FieldName;
use mvx_metrics::Kind;
use mvx_metrics::Metric;
use mvx_metrics::Verdict;
use std::sync::Arc;

#[test]
fn every_shortcut_finds_its_kind_of_metric_and_no_other() {
    let runtime = running("shortcuts");
    let recorder = runtime
        .recorder::<Number>("shortcuts")
        .counter("sums", |c| c.label("n", |e| e.0.into()).value(|e| Some(e.0)).cardinality(2))
        .counter("halves", |c| c.value(|e| Some(e.0 as f64 / 2.0)))
        .counter("never", |c| c.keep(|_| false))
        .up_down("open", |c| c.value(|e| Some(-(e.0 as i64))))
        .metric(Fields::new("fields"))
        .create()
        .unwrap();
    (1..=4).for_each(|n| recorder.register_event(Number(n)));
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    // Two label sets have a series of their own, the others share one.
    assert_eq!(
        (snapshot.counter("sums", &[("n", "2")]), snapshot.counter("sums", &[("n", "4")])),
        (Some(2), None)
    );
    assert_eq!((snapshot.total("sums"), snapshot.total("never")), (Some(10), Some(0)));
    assert_eq!(
        (snapshot.float_counter("halves", &[]), snapshot.up_down("open", &[])),
        (Some(5.0), Some(-10))
    );
    assert_eq!(snapshot.field("fields", &[], "last"), Some(4_u64.into()));
    assert_eq!((snapshot.field("fields", &[], "first"), snapshot.field("sums", &[], "last")), (None, None));
    assert_eq!(
        (snapshot.total("halves"), snapshot.total("open"), snapshot.total("none")),
        (None, None, None)
    );
    assert_eq!((snapshot.float_counter("open", &[]), snapshot.up_down("halves", &[])), (None, None));
}

/// A custom metric with one field.
struct Fields {
    descriptor: Arc<Descriptor>,
    last: (FieldName, u64),
}

impl Fields {
    fn new(name: &str) -> Self {
        let descriptor = Descriptor::builder(name, Kind::Fields).build().unwrap();
        Self { descriptor, last: (FieldName::new("last").unwrap(), 0) }
    }
}

impl Metric<Number> for Fields {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn handle_event(&mut self, event: &Number, _: &Context) -> Verdict {
        self.last.1 = event.0;
        Verdict::Accepted
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        writer.field(&self.last.0, self.last.1);
    }
}
