use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
#[event(name = "storage!", create = "mvx_metrics")]
enum StorageEvent<'a> {
    Saved(&'a str),
    #[event(name = 5)]
    Removed,
    #[event(name = "saved")]
    Stored,
    #[event]
    Closed {
        #[event(name = "n")]
        n: u64,
    },
}

fn main() {}
