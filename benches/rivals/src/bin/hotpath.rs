//! One hot path in a loop, for a profiler: `hotpath register|alone|five|counter|histogram|snapshot [EVENTS]`.
//!
//! `register` has a live runtime; the others have one thread and a clock that stands still, so that callgrind counts the same
//! instructions each time. Run by itself it prints thread-CPU nanoseconds per event. The guide's chapter on performance gives the command
//! lines.

use mvx_metrics::Clock;
use mvx_metrics::Context;
use mvx_metrics::Metric;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderTask;
use mvx_metrics::Timestamp;
use rivals::Failure;
use rivals::bursts::BURST;
use rivals::bursts::settled;
use rivals::bursts::wait_until;
use rivals::clocks;
use rivals::event;
use rivals::event::Saved;
use rivals::subject::Subject;
use std::future::Future;
use std::hint::black_box;
use std::io::Write;
use std::pin::Pin;
use std::task::Waker;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let path = arguments.get(1).map_or("register", String::as_str);
    let events = arguments.get(2).map_or(Ok(1 << 20), |events| events.parse())?;
    let (mut counter, mut histogram) = event::instruments()?;
    let nanos = match path {
        "register" => register(events)?,
        "alone" => alone(events, detached()?, event::HISTOGRAM)?,
        "five" => alone(events, five()?, "took")?,
        "snapshot" => snapshot(events)?,
        "counter" => handle(&mut counter, events),
        "histogram" => handle(&mut histogram, events),
        other => {
            return Err(format!(
                "unknown path {other}; take register, alone, five, counter, histogram or snapshot"
            )
            .into());
        }
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

/// A clock that stands still.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }
}

fn detached() -> Result<(Recorder<Saved>, RecorderTask), Failure> {
    let builder = Recorder::detached("alone").clock(Still).counter(event::COUNTER, event::define_counter);
    Ok(builder.histogram(event::HISTOGRAM, event::define_histogram).create()?)
}

/// The instruments of B3 to B5.
fn five() -> Result<(Recorder<Saved>, RecorderTask), Failure> {
    Ok(rivals::five::define(Recorder::detached("five").clock(Still)).create()?)
}

/// Bursts into a recorder without a runtime, drained on this thread; `last` is to have measured every event.
fn alone(
    events: u64,
    (recorder, mut task): (Recorder<Saved>, RecorderTask),
    last: &str,
) -> Result<u64, Failure> {
    let (mut stated, before) = (0, clocks::thread_cpu());
    while stated < events {
        let next = BURST.min(events - stated);
        state_alone(&recorder, stated, next);
        stated += next;
        drain_alone(&recorder, &mut task);
    }
    let nanos = clocks::thread_cpu() - before;
    let counted = recorder.snapshot().metric(last).map_or(0, |metric| metric.tally().accepted);
    if counted != events {
        return Err(format!("{counted} of {events} events were measured").into());
    }
    Ok(nanos)
}

#[inline(never)]
fn state_alone(recorder: &Recorder<Saved>, first: u64, count: u64) {
    for number in first..first + count {
        recorder.register_event(Saved::numbered(number));
    }
}

#[inline(never)]
fn drain_alone(recorder: &Recorder<Saved>, task: &mut RecorderTask) {
    while recorder.accounts().pending() > 0 {
        let _ = Pin::new(&mut *task).poll(&mut std::task::Context::from_waker(Waker::noop()));
    }
}

fn snapshot(reads: u64) -> Result<u64, Failure> {
    let (recorder, mut task) = detached()?;
    state_alone(&recorder, 0, BURST);
    drain_alone(&recorder, &mut task);
    let before = clocks::thread_cpu();
    read_alone(&recorder, reads);
    Ok(clocks::thread_cpu() - before)
}

#[inline(never)]
fn read_alone(recorder: &Recorder<Saved>, reads: u64) {
    for _ in 0..reads {
        let _ = black_box(recorder.snapshot());
    }
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
