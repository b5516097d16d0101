//! A field whose type is no label value.

use mvx_metrics::Labels;
use std::time::Duration;

#[derive(Labels)]
struct Timed {
    ok: bool,
    elapsed: Duration,
}

fn main() {}
