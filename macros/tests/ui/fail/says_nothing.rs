use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
#[event]
enum StorageEvent {
    #[event()]
    Saved,
    #[event = "removed"]
    Removed,
}

fn main() {}
