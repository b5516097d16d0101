use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
enum GrößeEvent {
    Ärger,
    __,
}

fn main() {}
