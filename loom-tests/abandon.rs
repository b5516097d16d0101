//! Abandonment: a watchdog closes the queue and gives up what is not committed, while a worker commits a batch and a producer
//! pushes. Every accepted event is committed before the mark or counted by the watchdog, never both and never neither, and
//! whatever the books say, it is dropped once.
//!
//! seeded bug: commit_by_store caught by loom_tests::abandon::a_batch_is_on_one_side_of_the_mark

use super::explore;
use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::Rest;
use loom::alloc::Track;
use loom::sync::Arc;
use loom::thread;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// std's atomics, outside the model, are the books.
struct Recorder {
    queue: HandOff<Track<()>, ()>,
    accepted: AtomicU64,
    committed: AtomicU64,
    given_up: AtomicU64,
}

impl Recorder {
    fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Self {
            queue: HandOff::new(kind, 4, ()),
            accepted: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        })
    }

    fn produce(&self, count: u64) {
        for _ in 0..count {
            if let Ok(handed) = self.queue.push(Track::new(())) {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                self.follow(handed);
            }
        }
    }

    fn watch(&self) {
        let (_, handed) = self.queue.close();
        let accepted = self.queue.counts().accepted;
        let committed = self.queue.abandon().unwrap();
        self.given_up.store(accepted - committed, Ordering::Relaxed);
        self.follow(handed);
    }

    /// Works as whoever was told to schedule: until the queue is idle or given up.
    fn follow(&self, handed: Handed) {
        while handed == Handed::Schedule && !matches!(self.turn(), Some(None | Some(Rest::Idle))) {
            thread::yield_now();
        }
    }

    /// `Some(None)` says that the queue was given up.
    fn turn(&self) -> Option<Option<Rest>> {
        self.queue.sit(|mut consumer, _| {
            consumer.take_kick();
            loop {
                let count = consumer.run(2).len() as u64;
                if count == 0 {
                    break;
                }
                if consumer.finish(count).is_err() {
                    return None;
                }
                self.committed.fetch_add(count, Ordering::Relaxed);
            }
            (!self.queue.is_abandoned()).then(|| consumer.rest())
        })
    }

    fn check(&self) {
        let book = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (accepted, committed, given_up) =
            (book(&self.accepted), book(&self.committed), book(&self.given_up));
        assert_eq!(self.queue.counts().accepted, accepted);
        assert_eq!(self.queue.counts().committed, committed);
        assert_eq!(committed + given_up, accepted, "{committed} committed, {given_up} given up");
        assert!(self.queue.is_abandoned());
    }
}

/// The worker has two events in its hands or is between two batches when the mark is set.
#[test]
fn a_batch_is_on_one_side_of_the_mark() {
    for kind in [Kind::Ring, Kind::LockedNewest] {
        explore(&format!("a_batch_is_on_one_side_of_the_mark, {kind:?}"), 3, move || {
            let recorder = Recorder::new(kind);
            let watchdog = {
                let recorder = Arc::clone(&recorder);
                thread::spawn(move || recorder.watch())
            };
            recorder.produce(3);
            watchdog.join().unwrap();
            recorder.check();
        });
    }
}

#[test]
fn a_worker_a_producer_and_the_watchdog() {
    explore("a_worker_a_producer_and_the_watchdog", 3, || {
        let recorder = Recorder::new(Kind::Ring);
        let watchdog = {
            let recorder = Arc::clone(&recorder);
            thread::spawn(move || recorder.watch())
        };
        let producer = {
            let recorder = Arc::clone(&recorder);
            thread::spawn(move || recorder.produce(1))
        };
        recorder.produce(1);
        watchdog.join().unwrap();
        producer.join().unwrap();
        recorder.check();
    });
}
