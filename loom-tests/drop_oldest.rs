//! `DropOldest`: two producers and a consumer that holds an event, with one place more. Every accepted event is committed or
//! evicted, each once and in order, and whoever reads the counts, whenever, sees no more pending than there are places.
//!
//! seeded bug: evicted_counted_late caught by loom_tests::drop_oldest::two_producers_and_a_reader_of_the_counts

use super::explore;
use super::work;
use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::Rest;
use loom::alloc::Track;
use loom::sync::Arc;
use loom::thread;

const CAPACITY: u64 = 2;

/// An event that must be dropped once: loom reports what is left at the end of an execution.
struct Event {
    producer: u64,
    number: u64,
    _alive: Track<()>,
}

struct Recorder {
    queue: HandOff<Event, Vec<(u64, u64)>>,
}

impl Recorder {
    fn push(&self, producer: u64, count: u64) {
        for number in 0..count {
            match self.queue.push(Event { producer, number, _alive: Track::new(()) }) {
                Ok(handed) => self.follow(handed),
                Err(_) => unreachable!("the consumer holds one event at most, so there is one to evict"),
            }
        }
    }

    fn follow(&self, handed: Handed) {
        if handed == Handed::Schedule {
            work(|| self.turn());
        }
    }

    fn turn(&self) -> Option<Rest> {
        self.queue.sit(|mut consumer, seen| {
            consumer.take_kick();
            loop {
                let run = consumer.run(1);
                let Some(event) = run.get(0) else { break };
                seen.push((event.producer, event.number));
                self.check_counts();
                consumer.finish(1).unwrap();
            }
            consumer.rest()
        })
    }

    fn check_counts(&self) {
        let counts = self.queue.counts();
        let settled = counts.committed + counts.evicted;
        assert!(settled <= counts.accepted, "{counts:?}");
        assert!(counts.accepted - settled <= CAPACITY, "{counts:?}");
    }
}

#[test]
fn two_producers_and_a_reader_of_the_counts() {
    explore("two_producers_and_a_reader_of_the_counts", 3, || {
        let recorder = Arc::new(Recorder { queue: HandOff::new(Kind::LockedOldest, CAPACITY, Vec::new()) });
        let other = {
            let recorder = Arc::clone(&recorder);
            thread::spawn(move || recorder.push(1, 2))
        };
        recorder.push(0, 2);
        recorder.check_counts();
        other.join().unwrap();
        let counts = recorder.queue.counts();
        assert_eq!(counts.accepted, 4);
        assert_eq!(counts.committed + counts.evicted, 4, "an event was stranded: {counts:?}");
        let seen = recorder.queue.sit(|_, seen| std::mem::take(seen)).unwrap();
        assert_eq!(seen.len() as u64, counts.committed);
        for producer in 0..2 {
            let numbers = seen.iter().filter(|(of, _)| *of == producer).map(|(_, number)| *number);
            assert!(numbers.is_sorted_by(|a, b| a < b), "order of producer {producer}: {seen:?}");
        }
    });
}
