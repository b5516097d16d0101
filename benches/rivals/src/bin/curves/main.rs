//! Cost curves: what an event costs its caller and the process, over the things that it may depend on, as SVG: `curves [FOLDER]`.
//!
//! Each point is the median of some rounds. A round states bursts and waits for them by a flush; the flush, the wakes and the publications
//! are in the process's cost.

mod svg;

use crate::svg::Chart;
use crate::svg::Line;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderBuilder;
use rivals::Failure;
use rivals::clocks;
use rivals::machine;
use rivals::stats;
use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// Events of a burst, and room for as many; more only where there are more recorders.
const BURST: u64 = 16_384;
const CAPACITY: u32 = 32_768;

/// Bursts of a round, and rounds of a point.
const BURSTS: u64 = 4;
const ROUNDS: usize = 9;

/// An event of so many bytes, at least eight.
struct Sized<const BYTES: usize>([u8; BYTES]);

impl<const BYTES: usize> Sized<BYTES> {
    fn numbered(number: u64) -> Self {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }

    fn number(&self) -> u64 {
        self.0[..8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl<const BYTES: usize> MetricEvent for Sized<BYTES> {
    fn event_type(&self) -> &'static str {
        "sized"
    }
}

/// The event of most curves.
type Event = Sized<24>;

/// Nanoseconds per event.
struct Cost {
    caller: f64,
    process: f64,
}

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "benches/rivals/curves".to_owned());
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let drawn = [
        draw(folder, "producers", "producers at once, one recorder", &[1, 2, 4, 8, 16], producers)?,
        draw(
            folder,
            "recorders",
            "recorders, events scattered over them",
            &[1, 10, 100, 1_000, 10_000, 100_000],
            recorders,
        )?,
        draw(folder, "metrics", "counters that an event feeds", &[1, 2, 5, 10, 20], metrics)?,
        draw(folder, "labels", "label sets of a counter, met in turn", &[1, 10, 100, 1_000, 10_000], labels)?,
        draw(folder, "batches", "events handed over at once", &[1, 4, 16, 64, 256, 1_024], batches)?,
        draw(folder, "bytes", "bytes of an event", &[8, 16, 32, 64, 128, 256], bytes)?,
    ];
    Ok(fs::write(folder.join("README.md"), page(&drawn))?)
}

/// What stands beside the pictures.
fn page(drawn: &[String]) -> String {
    let machine = machine::describe();
    format!(
        "# Cost curves\n\nDrawn by `just curves` on {} core(s), {}, load average {}. Each point is the median of {ROUNDS} rounds; more producers than cores take turns.\n\
         What is measured stands in the guide's chapter on performance.\n\n{}",
        machine["cores"],
        machine["cpu"],
        machine["load_average"],
        drawn.concat()
    )
}

fn draw(
    folder: &Path,
    name: &str,
    over: &str,
    at: &[u64],
    measure: fn(u64) -> Result<Cost, Failure>,
) -> Result<String, Failure> {
    let costs: Vec<Cost> = at.iter().map(|at| measure(*at)).collect::<Result<_, _>>()?;
    let line = |name, cost: fn(&Cost) -> f64| Line {
        name,
        points: at.iter().zip(&costs).map(|(at, of)| (*at as f64, cost(of))).collect(),
    };
    let lines = [line("caller", |cost| cost.caller), line("whole process", |cost| cost.process)];
    let chart = Chart { title: &format!("ns of CPU per event, by {over}"), lines: &lines };
    fs::write(folder.join(format!("{name}.svg")), chart.svg())?;
    let mut out = std::io::stdout().lock();
    for (at, cost) in at.iter().zip(&costs) {
        writeln!(out, "{name:<10} {at:>7} {:>9.1} caller {:>9.1} process", cost.caller, cost.process)?;
    }
    Ok(format!("![ns of CPU per event, by {over}]({name}.svg)\n\n"))
}

/// So many recorders of one runtime.
struct Subject<const BYTES: usize> {
    runtime: MetricsRuntime,
    recorders: Vec<Recorder<Sized<BYTES>>>,
}

type Builder<const BYTES: usize> = RecorderBuilder<Sized<BYTES>>;

impl<const BYTES: usize> Subject<BYTES> {
    fn start(recorders: u64, define: impl Fn(Builder<BYTES>) -> Builder<BYTES>) -> Result<Self, Failure> {
        let runtime = MetricsRuntime::builder("curves").build()?;
        runtime.start()?;
        let recorder = |id: u64| define(runtime.recorder(&id.to_string()).capacity(CAPACITY)).create();
        let recorders = (0..recorders).map(recorder).collect::<Result<_, _>>()?;
        Ok(Self { runtime, recorders })
    }

    /// Each round states bursts of so many events by `state`, which says how much CPU that took of its threads.
    fn cost(self, burst: u64, state: impl Fn(&[Recorder<Sized<BYTES>>]) -> u64) -> Result<Cost, Failure> {
        let (mut callers, mut processes) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (mut caller, before) = (0, clocks::process_cpu());
            for _ in 0..BURSTS {
                caller += state(&self.recorders);
                self.runtime.flush_blocking(PATIENCE)?;
            }
            // The first fills caches and queues.
            if round > 0 {
                let events = (BURSTS * burst) as f64;
                callers.push(caller as f64 / events);
                processes.push((clocks::process_cpu() - before) as f64 / events);
            }
        }
        let report = self.runtime.shutdown(PATIENCE)?;
        let (accounts, stated) = (report.accounts(), (ROUNDS as u64 + 1) * BURSTS * burst);
        if !report.is_complete() || accounts.processed != stated {
            return Err(format!("{stated} events were stated, but {accounts:?}").into());
        }
        Ok(Cost { caller: stats::median(&callers), process: stats::median(&processes) })
    }
}

/// Nanoseconds of this thread's CPU.
fn timed(work: impl FnOnce()) -> u64 {
    let before = clocks::thread_cpu();
    work();
    clocks::thread_cpu() - before
}

fn counter<const BYTES: usize>(recorder: Builder<BYTES>) -> Builder<BYTES> {
    recorder.counter("events", |c| c)
}

fn producers(producers: u64) -> Result<Cost, Failure> {
    Subject::<24>::start(1, counter)?.cost(BURST, |recorders| {
        let one = &recorders[0];
        let own = BURST / producers;
        let state = move || timed(|| (0..own).for_each(|number| one.register_event(Event::numbered(number))));
        thread::scope(|scope| {
            let threads: Vec<_> = (0..producers).map(|_| scope.spawn(state)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
        })
    })
}

fn recorders(count: u64) -> Result<Cost, Failure> {
    let burst = BURST.max(count);
    Subject::<24>::start(count, counter)?.cost(burst, |recorders| {
        timed(|| {
            for number in 0..burst {
                let to = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % count;
                recorders[to as usize].register_event(Event::numbered(number));
            }
        })
    })
}

fn metrics(count: u64) -> Result<Cost, Failure> {
    let define = |recorder| {
        (0..count).fold(recorder, |to: Builder<24>, at| to.counter(&format!("events.{at}"), |c| c))
    };
    Subject::start(1, define)?.cost(BURST, one_by_one)
}

fn labels(sets: u64) -> Result<Cost, Failure> {
    let define = |recorder: Builder<24>| {
        recorder.counter("events", |c| {
            c.cardinality(20_000).label("set", move |event| (event.number() % sets).into())
        })
    };
    Subject::start(1, define)?.cost(BURST, one_by_one)
}

fn batches(size: u64) -> Result<Cost, Failure> {
    Subject::<24>::start(1, counter)?.cost(BURST, |recorders| {
        timed(|| {
            let mut batch = Vec::with_capacity(size as usize);
            for first in (0..BURST).step_by(size as usize) {
                batch.extend((first..first + size).map(Event::numbered));
                recorders[0].register_events(&mut batch);
            }
            black_box(batch);
        })
    })
}

fn bytes(bytes: u64) -> Result<Cost, Failure> {
    match bytes {
        8 => of_bytes::<8>(),
        16 => of_bytes::<16>(),
        32 => of_bytes::<32>(),
        64 => of_bytes::<64>(),
        128 => of_bytes::<128>(),
        256 => of_bytes::<256>(),
        _ => Err("there is no event of that size".into()),
    }
}

fn of_bytes<const BYTES: usize>() -> Result<Cost, Failure> {
    Subject::<BYTES>::start(1, counter)?.cost(BURST, one_by_one)
}

fn one_by_one<const BYTES: usize>(recorders: &[Recorder<Sized<BYTES>>]) -> u64 {
    timed(|| (0..BURST).for_each(|number| recorders[0].register_event(Sized::numbered(number))))
}
