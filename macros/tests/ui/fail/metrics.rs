//! Mistakes in what an event says of its metrics.

use mvx_metrics::MetricEvent;
use std::time::Duration;

#[derive(MetricEvent)]
enum StorageEvent {
    #[label]
    Saved {
        #[label(name = "entity")]
        who: u8,
        #[value]
        bytes: u64,
        #[value(unit = "bytes")]
        more: u64,
        #[value(unit = "ms")]
        took: Duration,
        #[value(kind = "histgram", unit = "s")]
        slow: f64,
        #[value(kind = "gauge", bounds = [1.0])]
        depth: u8,
        #[value(units = "s")]
        wait: Duration,
        #[skip]
        unused: u8,
    },
    Tuple(#[value] Duration, #[label] bool),
    #[event(name = "saved.took")]
    Clash,
}

#[derive(MetricEvent)]
#[skip]
struct Whole;

fn main() {}
