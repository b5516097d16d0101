//! Fields whose types are no label value, and nothing that can be measured.

use mvx_metrics::MetricEvent;
use std::time::Duration;

#[derive(MetricEvent)]
struct Request {
    #[label]
    took: Duration,
    #[value(unit = "By")]
    body: String,
}

fn main() {}
