//! B10: a trickle over many recorders: what a call takes, and how rarely it wakes the worker.
//!
//! A wake is what a caller pays 5 to 13 µs for: it finds the worker asleep, and calls its waker. The runtime counts them (`mvx.worker.wakes`), where
//! the word that says so is replaced. The ends of the worker's own naps are none: no caller pays for them, and what they cost the worker is in the
//! row of its CPU. They are told as a remark, as the kernel counts them.

use crate::Failure;
use crate::event;
use crate::event::Saved;
use crate::rounds::Paired;
use crate::rounds::Round;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use crate::rows::task;
use crate::stats;
use crate::threads::Threads;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::mpsc;

const RECORDERS: u64 = 1_000;

/// Between an event and the next: 10,000 a second.
const APART: Duration = Duration::from_micros(100);

/// Events of a round, which takes a second.
const EVENTS: u64 = 10_000;

/// A second each on both sides, so fewer do.
const MOST_ROUNDS: usize = 9;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn measure(rounds: usize) -> Result<Vec<Row>, Failure> {
    let (ours, worker) = Threads::started_by(Ours::start)?;
    let tasks = Tasks::start(ours.recorders[0].capacity() as usize)?;
    let (mut p50, mut p99) = (Paired::default(), Paired::default());
    let (mut cpu, mut wakes, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    let (mut before, mut beside) = (0, 0);
    interleave(
        rounds.min(MOST_ROUNDS),
        || {
            let woken = woken(&ours.runtime)?;
            let (waited, spent, started) = (worker.waits()?, worker.cpu()?, Instant::now());
            let calls = trickle(|to, event| ours.recorders[to].register_event(event));
            let took = started.elapsed().as_nanos() as f64;
            cpu.push((worker.cpu()? - spent) as f64 / took * 100.0);
            waits.push((worker.waits()? - waited) as f64 / EVENTS as f64 * 100.0);
            wakes.push((self::woken(&ours.runtime)? - woken) as f64 / EVENTS as f64 * 100.0);
            before += EVENTS;
            ours.runtime.flush_blocking(PATIENCE)?;
            p50.ours.push(stats::median(&calls));
            p99.ours.push(stats::quantile(&calls, 0.99));
            Ok(Round::Figure(0.0))
        },
        || {
            let calls = trickle(|to, event| tasks.try_send(to, event));
            beside += EVENTS;
            tasks.until_processed(beside);
            p50.rival.push(stats::median(&calls));
            p99.rival.push(stats::quantile(&calls, 0.99));
            Ok(Round::Figure(0.0))
        },
    )?;
    tasks.finish(beside)?;
    let report = ours.runtime.shutdown(PATIENCE)?;
    if !report.is_complete() || report.accounts().processed != before {
        return Err(format!("the accounts do not add up: {:?}", report.accounts()).into());
    }
    let alone = |figures| Paired { ours: figures, ..Paired::default() };
    let row = |id, what, unit, figures, reading, bar| Row {
        id,
        what,
        unit,
        figures,
        reading,
        bar,
        threads: 2,
        unchecked: None,
        remarks: Vec::new(),
    };
    let rests = format!(
        "the worker's context switches, naps included: {:.2} in 100 events (not judged)",
        stats::median(&waits)
    );
    let woken = row(
        "B10d",
        "the same: wakes of our worker, sent by callers",
        "wakes/100 events",
        alone(wakes),
        Reading::Median,
        1.0,
    );
    Ok(vec![
        row(
            "B10",
            "a call of a trickle, 10,000/s over 1,000 recorders, p50; a tokio task each",
            "ns",
            p50,
            Reading::Ratio,
            0.10,
        ),
        row("B10b", "the same, p99", "ns", p99, Reading::Ratio, 0.35),
        row("B10c", "the same: CPU of our worker", "% of a core", alone(cpu), Reading::Median, 5.0),
        Row { remarks: vec![rests], ..woken },
    ])
}

/// How often callers have woken the worker, as the runtime tells it to whoever runs it.
fn woken(runtime: &MetricsRuntime) -> Result<u64, Failure> {
    let snapshot = runtime.collect();
    let vitals = snapshot.vitals();
    let wakes = vitals.iter().find(|family| family.descriptor().name().as_str() == "mvx.worker.wakes");
    let series = wakes.and_then(|family| family.parts().first()?.family().series().next());
    Ok(series.and_then(|series| series.value().counter()).ok_or("the runtime does not count wakes")?)
}

/// Nanoseconds of each call; events go to recorders in a scattered order. The thread sleeps until the next is due, and catches up if
/// it slept too long.
fn trickle(call: impl Fn(usize, Saved)) -> Vec<f64> {
    let started = Instant::now();
    let mut nanos = Vec::with_capacity(EVENTS as usize);
    for number in 0..EVENTS {
        if let Some(early) = (APART * number as u32).checked_sub(started.elapsed()) {
            thread::sleep(early);
        }
        let to = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % RECORDERS;
        let before = Instant::now();
        call(to as usize, Saved::numbered(number));
        nanos.push(before.elapsed().as_nanos() as f64);
    }
    nanos
}

struct Ours {
    runtime: MetricsRuntime,
    recorders: Vec<Recorder<Saved>>,
}

impl Ours {
    fn start() -> Result<Self, Failure> {
        let runtime = MetricsRuntime::builder("trickle").build()?;
        runtime.start()?;
        let recorder = |id| {
            runtime
                .recorder::<Saved>(&format!("trickle-{id}"))
                .counter(event::COUNTER, event::define_counter)
                .histogram(event::HISTOGRAM, event::define_histogram)
                .create()
        };
        let recorders = (0..RECORDERS).map(recorder).collect::<Result<_, _>>()?;
        Ok(Self { runtime, recorders })
    }
}

/// A task for each, with the same instruments, on a runtime of one thread.
struct Tasks {
    senders: Vec<mpsc::Sender<Saved>>,
    processed: Vec<Arc<AtomicU64>>,
    thread: JoinHandle<u64>,
}

impl Tasks {
    fn start(capacity: usize) -> Result<Self, Failure> {
        let tokio = tokio::runtime::Builder::new_current_thread().build()?;
        let (mut senders, mut processed, mut works) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RECORDERS {
            let (sender, receiver) = mpsc::channel(capacity);
            let (counter, histogram) = event::instruments()?;
            let count = Arc::new(AtomicU64::new(0));
            works.push(task::consume(receiver, counter, histogram, Arc::clone(&count)));
            senders.push(sender);
            processed.push(count);
        }
        let thread = thread::spawn(move || {
            tokio.block_on(async {
                let tasks: Vec<_> = works.into_iter().map(tokio::spawn).collect();
                let mut measured = 0;
                for task in tasks {
                    measured += task.await.unwrap_or(0);
                }
                measured
            })
        });
        Ok(Self { senders, processed, thread })
    }

    /// What is refused is missed in the end.
    fn try_send(&self, to: usize, event: Saved) {
        let _ = self.senders[to].try_send(event);
    }

    fn until_processed(&self, events: u64) {
        let processed = || self.processed.iter().map(|count| count.load(Ordering::Acquire)).sum::<u64>();
        while processed() < events {
            thread::sleep(APART);
        }
    }

    fn finish(self, events: u64) -> Result<(), Failure> {
        drop(self.senders);
        let measured = self.thread.join().map_err(|_| "a task of the rival panicked")?;
        if measured != 2 * events {
            return Err(format!("the rival measured {measured} of {events} events twice").into());
        }
        Ok(())
    }
}
