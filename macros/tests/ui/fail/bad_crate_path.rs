use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
#[event(crate = "my crate")]
struct Spaced;

#[derive(MetricEvent)]
#[event(crate = "")]
struct Empty;

#[derive(MetricEvent)]
#[event(crate = "mvx_metrics::<u8>")]
struct Generic;

fn main() {}
