//! The twins of the failing cases: what their messages tell the user to write.
#![deny(warnings)]
#![allow(dead_code)]

use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
enum InsteadOfUnion {
    Count(u64),
    Ratio(f64),
}

#[derive(MetricEvent)]
struct InsteadOfLifetime {
    path: String,
    kind: &'static str,
}

#[derive(MetricEvent)]
#[event(name = "storage")]
#[event(crate = "mvx_metrics")]
enum InsteadOfMistakes {
    #[event(name = "saved")]
    Ärger,
    #[event(name = "stored",)]
    SAVED,
    #[event(name = "404")]
    NotFound,
}

fn main() {
    assert_eq!(InsteadOfMistakes::EVENT_TYPES, ["storage.saved", "storage.stored", "storage.404"]);
    assert_eq!(InsteadOfUnion::Ratio(0.5).variant_index(), 1);
}
