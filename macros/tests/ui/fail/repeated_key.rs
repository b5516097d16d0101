use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
#[event(name = "storage", crate = "mvx_metrics", name = "store")]
#[event(crate = "mvx_metrics")]
enum StorageEvent {
    #[event(name = "saved")]
    #[event(name = "stored")]
    Saved,
}

fn main() {}
