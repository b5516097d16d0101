//! Back-pressure: producers that find the queue full leave a note and wait; the consumer tells as many as places came free. Nobody waits
//! for ever: a note that comes when there is room already is answered, too.
//!
//! seeded bug: rest_over_a_kick caught by loom_tests::waiters::two_producers_for_one_place

use super::explore;
use super::work;
use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::Rest;
use crate::queue::ring::Refused;
use crate::sync::Mutex;
use loom::sync::Arc;
use loom::sync::Notify;
use loom::thread;
use std::collections::VecDeque;

struct Recorder {
    /// The actor keeps the producers that wait.
    queue: HandOff<u64, VecDeque<Arc<Notify>>>,
    mailbox: Mutex<Vec<Arc<Notify>>>,
}

impl Recorder {
    fn new(kind: Kind) -> Arc<Self> {
        let (queue, mailbox) = (HandOff::new(kind, 1, VecDeque::new()), Mutex::new(Vec::new()));
        Arc::new(Self { queue, mailbox })
    }

    fn push(&self, mut event: u64) {
        loop {
            match self.queue.push(event) {
                Ok(handed) => return self.follow(handed),
                Err((refused, back)) => {
                    assert_eq!(refused, Refused::Full);
                    event = back;
                }
            }
            let told = Arc::new(Notify::new());
            self.mailbox.lock().push(Arc::clone(&told));
            self.follow(self.queue.kick());
            told.wait();
        }
    }

    fn follow(&self, handed: Handed) {
        if handed == Handed::Schedule {
            work(|| self.turn());
        }
    }

    /// A turn that ends each event by itself, and then tells one who waits; at its end, with room for all, everybody.
    fn turn(&self) -> Option<Rest> {
        self.queue.sit(|mut consumer, waiting| {
            if consumer.take_kick() {
                waiting.extend(self.mailbox.lock().drain(..));
            }
            while consumer.run(1).len() == 1 {
                consumer.finish(1).unwrap();
                if let Some(told) = waiting.pop_front() {
                    told.notify();
                }
            }
            let counts = self.queue.counts();
            if counts.accepted == counts.committed {
                waiting.drain(..).for_each(|told| told.notify());
            }
            consumer.rest()
        })
    }
}

#[test]
fn two_producers_for_one_place() {
    for kind in [Kind::Ring, Kind::LockedNewest] {
        explore(&format!("two_producers_for_one_place, {kind:?}"), 3, move || {
            let recorder = Recorder::new(kind);
            let other = {
                let recorder = Arc::clone(&recorder);
                thread::spawn(move || recorder.push(1))
            };
            recorder.push(2);
            recorder.push(3);
            other.join().unwrap();
            let counts = recorder.queue.counts();
            assert_eq!((counts.accepted, counts.committed), (3, 3), "an event was stranded");
        });
    }
}
