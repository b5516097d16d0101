//! B13: from an event to the snapshot that shows it.
//!
//! The thread that states events also looks for them, and the worker naps in between, so what the machine makes of two such threads is in every figure. A
//! remark says what that is: a bare thread that naps as long and does nothing but answer, asked as the recorders are, in the same rounds.

use crate::Failure;
use crate::event::Saved;
use crate::rounds::Paired;
use crate::rows::Reading;
use crate::rows::Row;
use crate::stats;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::limits;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Series that the load changes.
const DIRTY: u64 = 100;

/// Events between two of which it is looked when the last of them shows, and the time that they have: a million a second.
const BURST: u64 = 1_000;
const TICK: Duration = Duration::from_millis(1);

/// Looks of a round.
const LOOKS: u64 = 1_000;
const IDLE_LOOKS: u64 = 200;

/// The longest silence before an idle event, so that the worker is met asleep and napping.
const LONGEST_SILENCE: u64 = 30_000;

/// Each takes some seconds.
const MOST_ROUNDS: usize = 7;

/// What tells that the event shows.
const COUNTER: &str = "all";

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn measure(rounds: usize) -> Result<Vec<Row>, Failure> {
    let rounds = rounds.min(MOST_ROUNDS);
    let (one, thousand) = (Shown::start(1)?, Shown::start(1_000)?);
    let (mut idle, mut alone, mut many) = (Times::default(), Times::default(), Times::default());
    let mut bare = Times::default();
    for _ in 0..rounds {
        idle.take(one.idle()?);
        alone.take(one.loaded()?);
        many.take(thousand.loaded()?);
        bare.take(answers()?);
    }
    one.finish()?;
    thousand.finish()?;
    let told = format!(
        "a bare thread that naps as the worker does, asked once a millisecond: p99 {:.3} ms, p50 {:.3} ms (not judged)",
        stats::median(&bare.p99),
        stats::median(&bare.p50)
    );
    let mut alone = alone.row("B13b", "the same at 1 M events/s into one recorder, 100 dirty series");
    alone.remarks.push(told);
    Ok(vec![
        idle.row("B13", "event to visible, p99, a silent recorder"),
        alone,
        many.row("B13c", "the same over 1,000 recorders, 100 of them in each millisecond"),
    ])
}

/// p99 of each round, and the middle.
#[derive(Default)]
struct Times {
    p99: Vec<f64>,
    p50: Vec<f64>,
}

impl Times {
    fn take(&mut self, millis: Vec<f64>) {
        self.p99.push(stats::quantile(&millis, 0.99));
        self.p50.push(stats::median(&millis));
    }

    fn row(self, id: &'static str, what: &'static str) -> Row {
        Row {
            id,
            what,
            unit: "ms",
            remarks: vec![format!("p50: {:.3} ms", stats::median(&self.p50))],
            figures: Paired { ours: self.p99, ..Paired::default() },
            reading: Reading::Median,
            bar: 1.0,
            threads: 2,
            unchecked: None,
        }
    }
}

struct Shown {
    runtime: MetricsRuntime,
    recorders: Vec<Recorder<Saved>>,
}

impl Shown {
    fn start(recorders: u64) -> Result<Self, Failure> {
        let runtime = MetricsRuntime::builder("shown").build()?;
        runtime.start()?;
        let recorder = |id| {
            let builder = runtime.recorder::<Saved>(&format!("shown-{id}")).counter(COUNTER, |c| c);
            if recorders > 1 {
                return builder.create();
            }
            builder.counter("some", |c| c.label("series", |event| (event.bytes % DIRTY).into())).create()
        };
        let recorders = (0..recorders).map(recorder).collect::<Result<_, _>>()?;
        Ok(Self { runtime, recorders })
    }

    /// Milliseconds from an event into silence to its being seen.
    fn idle(&self) -> Result<Vec<f64>, Failure> {
        self.runtime.flush_blocking(PATIENCE)?;
        let recorder = &self.recorders[0];
        let mut millis = Vec::new();
        for number in 0..IDLE_LOOKS {
            let silence = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % LONGEST_SILENCE;
            thread::sleep(Duration::from_micros(silence));
            let wanted = recorder.accounts().accepted + 1;
            let started = Instant::now();
            recorder.register_event(Saved::numbered(0));
            millis.push(seen(recorder, wanted, started)?);
        }
        Ok(millis)
    }

    /// The same for the last of a burst, one burst each millisecond. The thread that states them is the one that looks.
    fn loaded(&self) -> Result<Vec<f64>, Failure> {
        let begun = Instant::now();
        let mut millis = Vec::new();
        let count = self.recorders.len() as u64;
        for tick in 0..LOOKS {
            let due = TICK * tick as u32;
            while begun.elapsed() < due {
                std::hint::spin_loop();
            }
            // Of many recorders, a hundred have their turn in a tick, ten events each: as many series become dirty as with one.
            let to = |number: u64| (tick * DIRTY + number * DIRTY / BURST) % count;
            (0..BURST - 1).for_each(|number| {
                self.recorders[to(number) as usize].register_event(Saved::numbered(number))
            });
            let last = &self.recorders[to(BURST - 1) as usize];
            let wanted = last.accounts().accepted + 1;
            let started = Instant::now();
            last.register_event(Saved::numbered(0));
            millis.push(seen(last, wanted, started)?);
        }
        self.runtime.flush_blocking(PATIENCE)?;
        Ok(millis)
    }

    fn finish(self) -> Result<(), Failure> {
        let report = self.runtime.shutdown(PATIENCE)?;
        let accounts = report.accounts();
        if !report.is_complete() || accounts.processed != accounts.offered() {
            return Err(format!("the accounts do not add up: {accounts:?}").into());
        }
        Ok(())
    }
}

/// Milliseconds until a thread that only naps and looks has answered, asked once each millisecond by one that spins in between.
fn answers() -> Result<Vec<f64>, Failure> {
    const OVER: u64 = u64::MAX;
    let (asked, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                match asked.load(Ordering::Acquire) {
                    OVER => return,
                    number => answered.store(number, Ordering::Release),
                }
                thread::park_timeout(limits::NAP);
            }
        });
        let begun = Instant::now();
        let look = |tick: u64| {
            while begun.elapsed() < TICK * tick as u32 {
                std::hint::spin_loop();
            }
            let started = Instant::now();
            asked.store(tick + 1, Ordering::Release);
            while answered.load(Ordering::Acquire) <= tick {
                thread::yield_now();
            }
            started.elapsed().as_secs_f64() * 1e3
        };
        let millis = (0..LOOKS).map(look).collect();
        asked.store(OVER, Ordering::Release);
        Ok(millis)
    })
}

/// Looks until the event shows; milliseconds since it was stated.
fn seen(recorder: &Recorder<Saved>, wanted: u64, started: Instant) -> Result<f64, Failure> {
    loop {
        if recorder.snapshot().counter(COUNTER, &[]).is_some_and(|shown| shown >= wanted) {
            return Ok(started.elapsed().as_secs_f64() * 1e3);
        }
        if started.elapsed() > PATIENCE {
            return Err("an event was not shown".into());
        }
        thread::yield_now();
    }
}
