use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
#[event(prefix = "storage")]
enum StorageEvent {
    #[event(full_name = "storage.saved")]
    Saved,
    #[event(r#name = "removed")]
    Removed,
}

fn main() {}
