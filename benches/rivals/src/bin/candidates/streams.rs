//! What is measured of a candidate queue: a stream with the consumer running, and bursts that are drained in between.

use rivals::Failure;
use rivals::bursts;
use rivals::bursts::Target;
use rivals::clocks;
use rivals::clocks::Places;
use rivals::event::Saved;
use rivals::rounds::Round;
use rivals::stats::median;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Instant;

pub trait Push: Sync + Send + 'static {
    /// False if there was no room.
    fn push(&self, event: Saved) -> bool;
}

pub trait Drain: Send + 'static {
    /// Takes what stands ready, or a batch of it; how many events that were.
    fn drain(&mut self) -> u64;
}

pub const HEAD: [&str; 9] =
    ["candidate", "M/s 1p", "M/s 2p", "M/s 4p", "ns 1p", "ns 2p", "ns 4p", "burst ns 1p", "burst ns 2p"];

pub const LEGEND: &str = "M/s: million events per second through the queue. ns: producer thread-CPU per event in that stream, waiting for room \
    included. burst ns: the same in bursts of 1,024 per producer, drained by another thread in between; 2p counts only bursts that met.\n";

/// Events of one stream.
const EVENTS: u64 = 1 << 19;

const ROUNDS: usize = 9;

/// Tries for a round of bursts that were not disturbed.
const PATIENCE: usize = 200;

/// Everything about one candidate.
pub fn line<P: Push, C: Drain>(name: &str, make: impl Fn() -> (P, C)) -> Result<[String; 9], Failure> {
    let mut cells = vec![name.to_owned()];
    let streams: Vec<(f64, f64)> =
        [1, 2, 4].iter().map(|producers| stream_median(&make, *producers)).collect();
    cells.extend(streams.iter().map(|(rate, _)| format!("{rate:.1}")));
    cells.extend(streams.iter().map(|(_, nanos)| format!("{nanos:.1}")));
    for producers in [1, 2] {
        cells.push(
            burst_median(&make, producers).map_or_else(|| "-".to_owned(), |nanos| format!("{nanos:.1}")),
        );
    }
    cells.try_into().map_err(|_| "a line has as many cells as the head".into())
}

fn stream_median<P: Push, C: Drain>(make: &impl Fn() -> (P, C), producers: u64) -> (f64, f64) {
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| stream(make(), producers)).collect();
    let (rates, nanos): (Vec<f64>, Vec<f64>) = rounds.into_iter().unzip();
    (median(&rates), median(&nanos))
}

/// Million events per second, and producer CPU per event.
fn stream<P: Push, C: Drain>((queue, mut consumer): (P, C), producers: u64) -> (f64, f64) {
    let cpu = AtomicU64::new(0);
    // The consumer has the first core, the first producer the second, and so on as far as there are any.
    let places = &Places::new();
    let started = Instant::now();
    thread::scope(|scope| {
        for number in 0..producers {
            let (queue, cpu) = (&queue, &cpu);
            scope.spawn(move || {
                cpu.fetch_add(produce(queue, number << 32, EVENTS / producers), Ordering::Relaxed)
            });
        }
        let _ = places.take(0);
        let mut left = EVENTS;
        while left > 0 {
            let taken = consumer.drain();
            left -= taken;
            if taken == 0 {
                thread::yield_now();
            }
        }
    });
    (EVENTS as f64 / started.elapsed().as_secs_f64() / 1e6, cpu.into_inner() as f64 / EVENTS as f64)
}

#[inline(never)]
fn produce<P: Push>(queue: &P, first: u64, events: u64) -> u64 {
    let before = clocks::thread_cpu();
    for number in first..first + events {
        while !queue.push(Saved::numbered(number)) {
            thread::yield_now();
        }
    }
    clocks::thread_cpu() - before
}

fn burst_median<P: Push, C: Drain>(make: &impl Fn() -> (P, C), producers: u64) -> Option<f64> {
    let start = || Drained::start(make());
    // As in rows B1 and B2.
    let away = (producers as usize) < clocks::cores();
    let target = if away { Places::new().off_the_first(start).ok()? } else { start() };
    let mut figures = Vec::new();
    for _ in 0..PATIENCE {
        if let Round::Figure(nanos) = bursts::round(&target, producers) {
            figures.push(nanos);
        }
        if figures.len() == ROUNDS {
            break;
        }
    }
    target.finish();
    (figures.len() == ROUNDS).then(|| median(&figures))
}

/// A candidate whose consumer drains when it is told that a burst is over.
struct Drained<P> {
    queue: P,
    refused: AtomicU64,
    progress: Arc<Progress>,
    consumer: JoinHandle<()>,
}

#[derive(Default)]
struct Progress {
    processed: AtomicU64,
    over: AtomicBool,
}

impl<P: Push> Drained<P> {
    fn start<C: Drain>((queue, mut consumer): (P, C)) -> Self {
        let progress = Arc::new(Progress::default());
        let shared = Arc::clone(&progress);
        let consumer = thread::spawn(move || {
            while !shared.over.load(Ordering::Acquire) {
                thread::park();
                let mut taken = consumer.drain();
                while taken > 0 {
                    shared.processed.fetch_add(taken, Ordering::Release);
                    taken = consumer.drain();
                }
            }
        });
        Self { queue, refused: AtomicU64::new(0), progress, consumer }
    }

    fn finish(self) {
        self.progress.over.store(true, Ordering::Release);
        self.consumer.thread().unpark();
        let _ = self.consumer.join();
    }
}

impl<P: Push> Target for Drained<P> {
    #[inline(always)]
    fn push(&self, number: u64) {
        if !self.queue.push(Saved::numbered(number)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn processed(&self) -> u64 {
        self.progress.processed.load(Ordering::Acquire)
    }

    fn burst_is_over(&self) {
        self.consumer.thread().unpark();
    }
}
