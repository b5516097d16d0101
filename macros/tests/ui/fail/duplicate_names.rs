use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
enum StorageEvent {
    SaveFailed,
    Saved,
    Save_Failed,
    #[event(name = "saved")]
    Stored,
    #[event(name = "saved")]
    Kept,
}

fn main() {}
