use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
#[event("storage")]
enum StorageEvent {
    #[event("saved")]
    Saved,
    #[event(name = "removed" "twice")]
    Removed,
}

fn main() {}
