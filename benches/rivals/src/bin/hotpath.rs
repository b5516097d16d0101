//! One hot path in a loop, for a profiler: `hotpath register|counter|histogram [EVENTS]`.
//!
//! Under callgrind, the difference of two runs with different EVENTS is the count of the path alone; run by itself it prints
//! thread-CPU nanoseconds per event. The guide's chapter on performance gives the command lines.

use mvx_metrics::Context;
use mvx_metrics::Metric;
use mvx_metrics::Timestamp;
use rivals::Failure;
use rivals::bursts::BURST;
use rivals::bursts::settled;
use rivals::bursts::wait_until;
use rivals::clocks;
use rivals::event;
use rivals::event::Saved;
use rivals::subject::Subject;
use std::hint::black_box;
use std::io::Write;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let path = arguments.get(1).map_or("register", String::as_str);
    let events = arguments.get(2).map_or(Ok(1 << 20), |events| events.parse())?;
    let (mut counter, mut histogram) = event::instruments()?;
    let nanos = match path {
        "register" => register(events)?,
        "counter" => handle(&mut counter, events),
        "histogram" => handle(&mut histogram, events),
        other => return Err(format!("unknown path {other}; take register, counter or histogram").into()),
    };
    let per_event = nanos as f64 / events as f64;
    Ok(writeln!(std::io::stdout(), "{path}: {per_event:.2} ns thread CPU/event over {events} events")?)
}

/// Bursts into a live recorder, each after the one before was processed.
fn register(events: u64) -> Result<u64, Failure> {
    let subject = Subject::start()?;
    let (mut stated, mut nanos) = (0, 0);
    while stated < events {
        let next = BURST.min(events - stated);
        nanos += state(&subject, stated, next);
        stated += next;
        wait_until(|| settled(&subject.recorder) == stated);
    }
    subject.finish()?;
    Ok(nanos)
}

#[inline(never)]
fn state(subject: &Subject, first: u64, count: u64) -> u64 {
    let before = clocks::thread_cpu();
    for number in first..first + count {
        subject.recorder.register_event(Saved::numbered(number));
    }
    clocks::thread_cpu() - before
}

#[inline(never)]
fn handle(metric: &mut impl Metric<Saved>, events: u64) -> u64 {
    let context = Context::new(Timestamp::default(), 1);
    let before = clocks::thread_cpu();
    for number in 0..events {
        let _ = black_box(metric.handle_event(&black_box(Saved::numbered(number)), &context));
    }
    clocks::thread_cpu() - before
}
