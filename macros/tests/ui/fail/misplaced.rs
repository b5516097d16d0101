use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
enum StorageEvent<#[event(name = "t")] T> {
    #[event(crate = "mvx_metrics")]
    Saved {
        #[event(name = "bytes")]
        bytes: u64,
    },
    Removed(#[event(label)] T),
}

#[derive(MetricEvent)]
struct CacheMiss {
    #[event(name = "key")]
    key: u64,
}

fn main() {}
