//! Stop and start: the door is shut, what was accepted is drained, and the door opens again, while a producer states events and
//! flushes. What one generation accepted is settled before the next begins, no event is lost over the gap, and a command that comes
//! at the moment of the opening is seen.
//!
//! seeded bug: reopen_by_store caught by loom_tests::restart::a_restart_against_a_producer_that_flushes

use super::explore;
use super::work;
use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::Rest;
use crate::sync::Mutex;
use loom::sync::Arc;
use loom::thread;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// A recorder that is drained by whoever must schedule it; its actor is the state of its life.
struct Recorder {
    queue: HandOff<u64, Life>,
    /// What waits for the actor: flushes by their tickets, and the stop.
    mailbox: Mutex<Vec<Command>>,
    /// std's, outside the model: the books.
    flushes_answered: AtomicU64,
    generations: AtomicU64,
}

enum Command {
    Flush { ticket: u64 },
    Stop,
}

#[derive(Default)]
struct Life {
    stopping: bool,
    flushes: Vec<u64>,
    seen: Vec<u64>,
}

impl Recorder {
    fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Self {
            queue: HandOff::new(kind, 4, Life::default()),
            mailbox: Mutex::new(Vec::new()),
            flushes_answered: AtomicU64::new(0),
            generations: AtomicU64::new(1),
        })
    }

    fn push(&self, event: u64) -> bool {
        let handed = self.queue.push(event);
        let accepted = handed.is_ok();
        if let Ok(handed) = handed {
            self.follow(handed);
        }
        accepted
    }

    fn flush(&self) {
        let ticket = self.queue.counts().accepted;
        self.mailbox.lock().push(Command::Flush { ticket });
        self.follow(self.queue.kick());
    }

    /// Shuts the door and asks for the stop, as one step of the door's lock; the actor opens it again.
    fn restart(&self) {
        let (was_open, handed) = self.queue.close();
        assert!(was_open);
        self.mailbox.lock().push(Command::Stop);
        self.follow(handed);
        self.follow(self.queue.kick());
    }

    fn follow(&self, handed: Handed) {
        if handed == Handed::Schedule {
            work(|| self.turn());
        }
    }

    fn turn(&self) -> Option<Rest> {
        self.queue.sit(|mut consumer, life| {
            if consumer.take_kick() {
                for command in self.mailbox.lock().drain(..) {
                    match command {
                        Command::Flush { ticket } => life.flushes.push(ticket),
                        Command::Stop => life.stopping = true,
                    }
                }
            }
            loop {
                let run = consumer.run(8);
                let count = run.len() as u64;
                if count == 0 {
                    break;
                }
                life.seen.extend(run.iter());
                consumer.finish(count).unwrap();
            }
            let settled = consumer.settled();
            let before = life.flushes.len();
            life.flushes.retain(|ticket| *ticket > settled);
            self.flushes_answered.fetch_add((before - life.flushes.len()) as u64, Ordering::Relaxed);
            // The door is shut, so nothing is accepted between this look and the opening.
            if life.stopping && settled == self.queue.counts().accepted {
                life.stopping = false;
                assert!(self.queue.is_closed(), "a stop that is not over has its door open");
                self.generations.fetch_add(1, Ordering::Relaxed);
                self.queue.reopen();
            }
            consumer.rest()
        })
    }
}

#[test]
fn a_restart_against_a_producer_that_flushes() {
    for kind in [Kind::Ring, Kind::LockedNewest] {
        explore(&format!("a_restart_against_a_producer_that_flushes, {kind:?}"), 3, move || {
            let recorder = Recorder::new(kind);
            let producer = {
                let recorder = Arc::clone(&recorder);
                thread::spawn(move || {
                    let accepted = u64::from(recorder.push(1));
                    recorder.flush();
                    accepted
                })
            };
            recorder.restart();
            let accepted = producer.join().unwrap() + u64::from(recorder.push(2));
            let counts = recorder.queue.counts();
            assert_eq!((counts.accepted, counts.committed), (accepted, accepted), "an event was stranded");
            assert_eq!(recorder.flushes_answered.load(Ordering::Relaxed), 1, "a flush was stranded");
            assert_eq!(recorder.generations.load(Ordering::Relaxed), 2, "the stop was stranded");
            assert!(!recorder.queue.is_closed());
            let seen = recorder.queue.sit(|_, life| std::mem::take(&mut life.seen)).unwrap();
            assert_eq!(seen.len() as u64, accepted);
            assert!(seen.contains(&2), "the next generation takes events");
        });
    }
}
