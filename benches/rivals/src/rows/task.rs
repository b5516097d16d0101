//! The rival of B7 and B8: a tokio task that owns the same instruments, fed by a bounded channel.

use crate::Failure;
use crate::bursts::Target;
use crate::event;
use crate::event::Saved;
use mvx_metrics::Batch;
use mvx_metrics::Clock;
use mvx_metrics::Context;
use mvx_metrics::Counter;
use mvx_metrics::Histogram;
use mvx_metrics::Metric;
use mvx_metrics::SystemClock;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// How many events an instrument handles best at once.
const PIECE: usize = 64;

/// How many events the task takes at once.
const BATCH: usize = 256;

/// The task has a current-thread runtime of its own, like our worker, which spares it the work-stealing scheduler. It
/// publishes nothing and keeps no accounts.
pub struct Task {
    sender: mpsc::Sender<Saved>,
    refused: AtomicU64,
    processed: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

impl Task {
    pub fn start(capacity: usize) -> Result<Self, Failure> {
        let (sender, receiver) = mpsc::channel(capacity);
        let processed = Arc::new(AtomicU64::new(0));
        let (counter, histogram) = event::instruments()?;
        let tokio = tokio::runtime::Builder::new_current_thread().build()?;
        let work = consume(receiver, counter, histogram, Arc::clone(&processed));
        let thread = thread::spawn(move || tokio.block_on(async { tokio::spawn(work).await.unwrap_or(0) }));
        Ok(Self { sender, refused: AtomicU64::new(0), processed, thread })
    }

    /// Ends the task, and checks that it measured every event.
    pub fn finish(self) -> Result<(), Failure> {
        drop(self.sender);
        let measured = self.thread.join().map_err(|_| "the rival's task panicked")?;
        let processed = self.processed.load(Ordering::Acquire);
        if measured != 2 * processed {
            return Err(format!("the rival measured {measured} of {processed} events twice").into());
        }
        Ok(())
    }
}

pub(super) async fn consume(
    mut receiver: mpsc::Receiver<Saved>,
    mut counter: Counter<Saved>,
    mut histogram: Histogram<Saved>,
    processed: Arc<AtomicU64>,
) -> u64 {
    let clock = SystemClock::new();
    let mut batch = Vec::with_capacity(BATCH);
    let mut measured = 0;
    loop {
        let count = receiver.recv_many(&mut batch, BATCH).await;
        if count == 0 {
            return measured;
        }
        let context = Context::new(clock.now(), 1);
        // A batch at a time, as the recorder does it: the rival has its events side by side, so it may have that, too.
        measured += handle(&mut counter, &batch, &context) + handle(&mut histogram, &batch, &context);
        batch.clear();
        processed.store(processed.load(Ordering::Relaxed) + count as u64, Ordering::Release);
    }
}

/// Shows the events to one metric; how many it accepted.
fn handle(metric: &mut impl Metric<Saved>, events: &[Saved], context: &Context) -> u64 {
    let pieces = events.chunks(PIECE).map(|piece| {
        let mut batch = Batch::new(piece);
        metric.handle_batch(&mut batch, context);
        batch.accepted()
    });
    pieces.sum()
}

impl Target for Task {
    #[inline(always)]
    fn push(&self, number: u64) {
        if self.sender.try_send(Saved::numbered(number)).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn processed(&self) -> u64 {
        self.processed.load(Ordering::Acquire)
    }
}
