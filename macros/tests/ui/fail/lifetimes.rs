use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
enum FileEvent<'path, 'kind, T> {
    Opened { path: &'path str },
    Closed { kind: &'kind str },
    Read(T),
}

fn main() {}
