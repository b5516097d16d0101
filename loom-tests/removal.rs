//! A removal against a live handle: the door is shut, what was accepted is drained, and the mailbox is shut with an answer to all who
//! wait. From then on nobody gives the recorder a turn, so whoever comes later is answered at once, and nobody is stranded.
//!
//! seeded bug: post_to_nobody caught by loom_tests::removal::a_removal_against_a_handle_that_flushes

use super::TURNS;
use super::explore;
use super::work;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::Rest;
use crate::recorder::mailbox::Command;
use crate::recorder::mailbox::Mailbox;
use crate::recorder::mailbox::Spent;
use crate::recorder::operation::Operation;
use crate::sync::Mutex;
use loom::sync::Arc;
use loom::thread;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

struct Recorder {
    queue: HandOff<u64, ()>,
    mailbox: Mutex<Mailbox<u64>>,
    /// std's, outside the model: no more turns from now on.
    removed: AtomicBool,
}

impl Recorder {
    fn push(&self, event: u64) -> u64 {
        let Ok(handed) = self.queue.push(event) else { return 0 };
        self.follow(handed);
        1
    }

    fn flush(&self) -> Operation {
        let ticket = self.queue.counts().accepted;
        let (operation, done) = Operation::new(None);
        let unheard = self.mailbox.lock().put(Command::Flush { ticket, done }, &mut Spent::new());
        match unheard {
            Ok(()) => self.follow(self.queue.kick()),
            Err(command) => command.into_done().unwrap().complete(Err(gone())),
        }
        operation
    }

    fn remove(&self) {
        let (was_open, handed) = self.queue.close();
        assert!(was_open);
        self.follow(handed);
        for turn in 0.. {
            assert!(turn < TURNS, "what was accepted is never settled");
            let counts = self.queue.counts();
            if counts.accepted == counts.committed {
                break;
            }
            self.turn();
            thread::yield_now();
        }
        let (commands, mut owed, endings) = self.mailbox.lock().shut();
        self.removed.store(true, Ordering::Release);
        assert!(endings.is_empty() && commands.is_empty(), "there are but flushes");
        owed.flushes.take_all().for_each(|done| done.complete(Err(gone())));
    }

    fn follow(&self, handed: Handed) {
        if handed == Handed::Schedule {
            work(|| self.turn());
        }
    }

    fn turn(&self) -> Option<Rest> {
        if self.removed.load(Ordering::Acquire) {
            return Some(Rest::Idle);
        }
        self.queue.sit(|mut consumer, ()| {
            if consumer.take_kick() {
                self.mailbox.lock().take();
            }
            loop {
                let count = consumer.run(8).len() as u64;
                if count == 0 {
                    break;
                }
                consumer.finish(count).unwrap();
            }
            let (flushes, _, _) = self.mailbox.lock().take_due(consumer.settled(), false);
            flushes.into_iter().for_each(|done| done.complete(Ok(())));
            consumer.rest()
        })
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::InvalidState, "the recorder was removed")
}

#[test]
fn a_removal_against_a_handle_that_flushes() {
    explore("a_removal_against_a_handle_that_flushes", 3, || {
        let recorder = Arc::new(Recorder {
            queue: HandOff::new(Kind::Ring, 4, ()),
            mailbox: Mutex::new(Mailbox::new()),
            removed: AtomicBool::new(false),
        });
        let handle = {
            let recorder = Arc::clone(&recorder);
            thread::spawn(move || (recorder.push(1), recorder.flush()))
        };
        recorder.remove();
        let (accepted, flush) = handle.join().unwrap();
        let counts = recorder.queue.counts();
        assert_eq!((counts.accepted, counts.committed), (accepted, accepted), "an event was stranded");
        assert!(flush.result().is_some(), "a flush was stranded");
        assert!(recorder.queue.push(2).is_err() && recorder.flush().result().is_some());
    });
}
