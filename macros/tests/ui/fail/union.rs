use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
union Measured {
    count: u64,
    ratio: f64,
}

fn main() {}
