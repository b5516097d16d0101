//! What single calls cost when two producers meet at one recorder, call by call: `latency [ROUNDS]`.
//!
//! Medians of bursts say nothing of the one call in a thousand that pays for the others. Each call is timed by the monotonic clock,
//! whose own reading is in every figure of both sides. Nothing is refused: the queues are emptied between the bursts.

use crossbeam_queue::ArrayQueue;
use mvx_metrics::MetricsRuntime;
use rivals::Failure;
use rivals::bursts::wait_until;
use rivals::clocks::Places;
use rivals::event::Saved;
use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

const PRODUCERS: u64 = 2;
/// Long enough that the producers' bursts overlap for most of their time, however they begin.
const BURST: u64 = 8_192;
/// Room for a burst of each producer.
const CAPACITY: u32 = 16_384;

fn main() -> Result<(), Failure> {
    let rounds = std::env::args().nth(1).map_or(Ok(100), |rounds| rounds.parse())?;
    let places = Places::new();
    let runtime = MetricsRuntime::builder("latency").build()?;
    runtime.start()?;
    let recorder = runtime.recorder::<Saved>("subject").capacity(CAPACITY).create()?;
    let queue = ArrayQueue::new(CAPACITY as usize);
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.extend(burst(&places, |event| recorder.register_event(event)));
        recorder.flush_blocking(Duration::from_secs(10))?;
        rival.extend(burst(&places, |event| assert!(queue.push(event).is_ok(), "the bare queue is full")));
        while queue.pop().is_some() {}
    }
    let report = runtime.shutdown(Duration::from_secs(10))?;
    if report.accounts().processed != rounds * PRODUCERS * BURST {
        return Err(
            format!("events are missing, so the figures mean nothing: {:?}", report.accounts()).into()
        );
    }
    let out = &mut std::io::stdout();
    writeln!(out, "ns per call, {PRODUCERS} producers at once, {rounds} bursts of {BURST} each")?;
    writeln!(out, "{:<22} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "mean", "p50", "p99", "p99.9", "p99.99")?;
    for (name, nanos) in [("register_event", &mut ours), ("ArrayQueue::push", &mut rival)] {
        nanos.sort_unstable();
        let mean = nanos.iter().sum::<u64>() as f64 / nanos.len() as f64;
        let [p50, p99, p999, p9999] = [0.5, 0.99, 0.999, 0.9999].map(|q| quantile(nanos, q));
        writeln!(out, "{name:<22} {mean:>8.1} {p50:>8} {p99:>8} {p999:>8} {p9999:>8}")?;
    }
    Ok(())
}

/// The nanoseconds of each call of a burst that all producers begin together, each on a core of its own.
fn burst(places: &Places, push: impl Fn(Saved) + Sync) -> Vec<u64> {
    let ready = AtomicU64::new(0);
    let produce = |producer: u64| {
        let pinned = places.take(producer as usize).is_ok();
        let mut nanos = Vec::with_capacity(BURST as usize);
        ready.fetch_add(1, Ordering::AcqRel);
        wait_until(|| ready.load(Ordering::Acquire) == PRODUCERS);
        for number in 0..BURST {
            let before = Instant::now();
            push(Saved::numbered(number));
            nanos.push(before.elapsed().as_nanos() as u64);
        }
        assert!(pinned, "a producer could not be pinned");
        nanos
    };
    thread::scope(|scope| {
        let produce = &produce;
        let producers: Vec<_> =
            (0..PRODUCERS).map(|producer| scope.spawn(move || produce(producer))).collect();
        producers.into_iter().flat_map(|producer| producer.join().unwrap_or_default()).collect()
    })
}

/// The nearest rank of sorted figures; 0 of nothing.
fn quantile(sorted: &[u64], q: f64) -> u64 {
    let rank = (sorted.len() as f64 * q).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}
