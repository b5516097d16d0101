//! smoke
use mvx_metrics::prelude::*;
use std::time::Duration;
struct Saved(u64);
impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
#[test]
fn events_come_through() {
    let runtime = MetricsRuntime::builder("t").build().unwrap();
    runtime.start().unwrap();
    let r = runtime.recorder::<Saved>("a").counter("x.y", |c| c.value(|e| Some(e.0))).create().unwrap();
    for i in 0..100_000u64 { while r.try_register_event(Saved(i)).is_err() { std::thread::yield_now(); } }
    r.flush_blocking(Duration::from_secs(5)).unwrap();
    let s = r.snapshot();
    assert_eq!(s.counter("x.y", &[]), Some(99_999*100_000/2));
    println!("{s:?}");
    let rep = runtime.shutdown(Duration::from_secs(5)).unwrap();
    assert!(rep.is_complete());
    println!("{rep:?}");
    assert_eq!(rep.accounts().processed, 100_000);
}
