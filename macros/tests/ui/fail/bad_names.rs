use mvx_metrics::MetricEvent;

#[derive(MetricEvent)]
#[event(name = "1st")]
enum Digit {
    #[event(name = "")]
    Empty,
    #[event(name = " saved")]
    Space,
    #[event(name = "save-failed")]
    Dash,
    #[event(name = "save..failed")]
    Dots,
    #[event(name = ".saved")]
    DotFirst,
    #[event(name = "saved.")]
    DotLast,
    #[event(name = "größe")]
    Umlaut,
    #[event(name = "a\nb")]
    Newline,
}

#[derive(MetricEvent)]
#[event(name = "_storage")]
struct Underscore;

fn main() {}
