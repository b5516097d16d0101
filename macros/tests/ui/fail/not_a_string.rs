use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
#[event(crate = mvx_metrics)]
enum StorageEvent {
    #[event(name = 404)]
    Missing,
    #[event(name = saved)]
    Saved,
    #[event(name = b"removed")]
    Removed,
    #[event(name = 'c')]
    Closed,
    #[event(name = concat!("op", "ened"))]
    Opened,
    #[event(name = "read"u8)]
    Read,
}

fn main() {}
