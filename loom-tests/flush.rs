//! The flush ticket: a flusher takes the number of events accepted so far as its ticket, queues a command and kicks; the answer
//! comes when so many are settled, and always comes.
//!
//! As in `hand_off`, whoever is told to schedule is the worker of the moment. Its turn has the order that the protocol needs: note
//! the kick, take the commands, dispatch, answer, rest.
//!
//! seeded bug: kick_only_the_idle caught by loom_tests::flush::two_flushers_one_behind_an_event

use super::explore;
use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::Rest;
use crate::sync::Mutex;
use loom::sync::Arc;
use loom::thread;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

struct Recorder {
    /// The actor is the flushes that wait for their tickets.
    queue: HandOff<u64, Vec<Flush>>,
    mailbox: Mutex<Vec<Flush>>,
    /// Answers given; std's, outside the model.
    answered: AtomicU64,
}

#[derive(Clone, Copy)]
struct Flush {
    ticket: u64,
}

impl Recorder {
    fn new(kind: Kind) -> Arc<Self> {
        let (queue, mailbox) = (HandOff::new(kind, 4, Vec::new()), Mutex::new(Vec::new()));
        Arc::new(Self { queue, mailbox, answered: AtomicU64::new(0) })
    }

    fn push(&self, event: u64) {
        let handed = self.queue.push(event).unwrap();
        self.follow(handed);
    }

    /// `own` of the events accepted so far are this thread's.
    fn flush(&self, own: u64) {
        let ticket = self.queue.counts().accepted;
        assert!(ticket >= own, "a thread's own event is in its ticket");
        self.mailbox.lock().push(Flush { ticket });
        self.follow(self.queue.kick());
    }

    fn follow(&self, handed: Handed) {
        if handed == Handed::Schedule {
            while self.turn() != Some(Rest::Idle) {
                thread::yield_now();
            }
        }
    }

    fn turn(&self) -> Option<Rest> {
        self.queue.sit(|mut consumer, waiting| {
            if consumer.take_kick() {
                waiting.append(&mut self.mailbox.lock());
            }
            loop {
                let count = consumer.run(8).len() as u64;
                if count == 0 {
                    break;
                }
                consumer.finish(count).unwrap();
            }
            let settled = consumer.settled();
            let before = waiting.len();
            waiting.retain(|flush| flush.ticket > settled);
            self.answered.fetch_add((before - waiting.len()) as u64, Ordering::Relaxed);
            let rest = consumer.rest();
            assert!(rest != Rest::Idle || waiting.is_empty(), "idle with a flush unanswered");
            rest
        })
    }

    fn check(&self, events: u64, flushes: u64) {
        assert_eq!(self.queue.counts().committed, events);
        assert_eq!(self.answered.load(Ordering::Relaxed), flushes, "a flush was stranded");
    }
}

#[test]
fn two_flushers_one_behind_an_event() {
    for kind in [Kind::Ring, Kind::LockedNewest] {
        explore(&format!("two_flushers_one_behind_an_event, {kind:?}"), 3, move || {
            let recorder = Recorder::new(kind);
            let other = {
                let recorder = Arc::clone(&recorder);
                thread::spawn(move || recorder.flush(0))
            };
            recorder.push(1);
            recorder.flush(1);
            other.join().unwrap();
            recorder.check(1, 2);
        });
    }
}

#[test]
fn a_flusher_and_a_producer_each_behind_an_event() {
    explore("a_flusher_and_a_producer_each_behind_an_event", 3, || {
        let recorder = Recorder::new(Kind::Ring);
        let other = {
            let recorder = Arc::clone(&recorder);
            thread::spawn(move || {
                recorder.push(2);
                recorder.push(3);
            })
        };
        recorder.push(1);
        recorder.flush(1);
        other.join().unwrap();
        recorder.check(3, 1);
    });
}
