use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
#[event(name)]
enum StorageEvent {
    #[event(name =)]
    Saved,
    #[event(name("removed"))]
    Removed,
    #[event(name: "opened")]
    Opened,
}

fn main() {}
