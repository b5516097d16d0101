//! `HandOff` over the ring: reserve, write, drain, rest, release and close, with the duty to drain passed from thread to thread.
//!
//! Whoever the queue tells to schedule the recorder drains it, gives its memory back and goes on: the worker of the moment. So two
//! threads already push while the other drains, and the seat changes hands. A thread that is told while another has the duty, or an
//! event that nobody is told about, fails the model. Every accepted event is seen once, in the order of its producer, and
//! dropped; every refused one comes back; no more than the capacity is ever pending.
//!
//! seeded bug: rest_by_store caught by loom_tests::hand_off::two_producers_across_blocks
//! seeded bug: stamp_relaxed caught by loom_tests::hand_off::two_producers_across_blocks
//! seeded bug: switch_unseen caught by loom_tests::hand_off::two_producers_across_blocks
//! seeded bug: table_without_spare caught by loom_tests::hand_off::two_producers_of_two_around_the_table
//! seeded bug: close_apart_from_reservation caught by loom_tests::hand_off::two_producers_and_a_closer

use super::TURNS;
use super::explore;
use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::Rest;
use crate::queue::ring::Refused;
use loom::alloc::Track;
use loom::sync::Arc;
use loom::thread;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// An event that must be dropped once: loom reports what is left at the end of an execution.
struct Event {
    producer: u64,
    number: u64,
    _alive: Track<()>,
}

impl Event {
    fn new(producer: u64, number: u64) -> Self {
        Self { producer, number, _alive: Track::new(()) }
    }
}

type Accepted = Vec<(u64, u64)>;

/// A recorder that is drained by whoever must schedule it.
///
/// All but the queue are std's atomics, outside the model: they check the order of execution and add no synchronisation.
struct Recorder {
    queue: HandOff<Event, Vec<(u64, u64)>>,
    /// Somebody was told to schedule and has not sat down yet.
    listed: AtomicBool,
    /// Events whose push has returned.
    returned: AtomicU64,
    /// Events that a worker has begun to finish.
    finishing: AtomicU64,
    /// Events accepted when the door was shut; `u64::MAX` while it is open.
    accepted_at_close: AtomicU64,
}

impl Recorder {
    fn new(capacity: u64) -> Self {
        Self {
            queue: HandOff::new(Kind::Ring, capacity, Vec::new()),
            listed: AtomicBool::new(false),
            returned: AtomicU64::new(0),
            finishing: AtomicU64::new(0),
            accepted_at_close: AtomicU64::new(u64::MAX),
        }
    }

    /// Does its duty, if there is one.
    fn follow(&self, handed: Handed) {
        if handed == Handed::Schedule {
            assert!(!self.listed.swap(true, Ordering::AcqRel), "the recorder is on the ready list already");
            self.drain();
            // Nobody but the model's other worker of the moment can be in the seat now; then the memory is its affair.
            self.queue.sit(|mut consumer, _| consumer.release());
        }
    }

    /// Drains until the queue is idle.
    ///
    /// A turn that cannot go on lets every other thread go on before the next one, so a producer or the worker before is
    /// passed after a few; a slot that stays without its stamp for longer lost its event.
    fn drain(&self) {
        for turn in 0.. {
            assert!(turn < TURNS, "an event was accepted, and its stamp never comes");
            let rest = self.queue.sit(|mut consumer, seen| {
                self.listed.store(false, Ordering::Release);
                consumer.take_kick();
                loop {
                    let run = consumer.run(8);
                    let count = run.len() as u64;
                    if count == 0 {
                        return consumer.rest();
                    }
                    seen.extend(run.iter().map(|event| (event.producer, event.number)));
                    self.finishing.fetch_add(count, Ordering::Relaxed);
                    consumer.finish(count).unwrap();
                }
            });
            match rest {
                Some(Rest::Idle) => return,
                Some(Rest::Busy) => {}
                // A producer between its reservation and its stamp, or the worker before, who has not left the seat yet.
                Some(Rest::Stalled) | None => thread::yield_now(),
            }
        }
    }

    /// Pushes events `0..count` one by one; which of them were accepted.
    fn push(&self, producer: u64, count: u64) -> Accepted {
        let mut accepted = Vec::new();
        let mut closed = false;
        for number in 0..count {
            match self.queue.push(Event::new(producer, number)) {
                Ok(handed) => {
                    assert!(!closed, "accepted behind a closed door");
                    self.check_pending(1);
                    accepted.push((producer, number));
                    self.follow(handed);
                }
                Err((refused, event)) => {
                    assert_eq!((event.producer, event.number), (producer, number), "another event came back");
                    closed |= refused == Refused::Closed;
                }
            }
        }
        accepted
    }

    /// Pushes events `0..count` with one reservation; which of them were accepted.
    fn push_at_once(&self, producer: u64, count: u64) -> Accepted {
        let mut events: Vec<_> = (0..count).map(|number| Event::new(producer, number)).collect();
        let (accepted, handed, refused) = self.queue.push_many(&mut events);
        self.check_pending(accepted as u64);
        assert_eq!(accepted + events.len(), count as usize);
        assert_eq!(refused.is_some(), !events.is_empty());
        assert!(events.iter().all(|event| event.number >= accepted as u64), "not the prefix was taken");
        self.follow(handed);
        (0..accepted as u64).map(|number| (producer, number)).collect()
    }

    fn close(&self) {
        let (was_open, handed) = self.queue.close();
        assert!(was_open);
        self.accepted_at_close.store(self.queue.counts().accepted, Ordering::Relaxed);
        self.follow(handed);
    }

    fn check_pending(&self, more: u64) {
        let returned = self.returned.fetch_add(more, Ordering::Relaxed) + more;
        let pending = returned.saturating_sub(self.finishing.load(Ordering::Relaxed));
        assert!(pending <= self.queue.capacity(), "{pending} pending");
    }

    /// Nothing is in flight: what was accepted was seen, each event once and in the order of its producer.
    fn check(&self, mut accepted: Accepted) {
        let counts = self.queue.counts();
        let total = accepted.len() as u64;
        assert_eq!((counts.accepted, counts.committed), (total, total), "an event was stranded");
        let at_close = self.accepted_at_close.load(Ordering::Relaxed);
        assert!(
            at_close == total || at_close == u64::MAX,
            "{total} accepted, and {at_close} when the door was shut"
        );
        let mut seen = self.queue.sit(|_, seen| std::mem::take(seen)).unwrap();
        for producer in 0..3 {
            let numbers = seen.iter().filter(|(of, _)| *of == producer).map(|(_, number)| *number);
            assert!(numbers.is_sorted_by(|a, b| a < b), "order of producer {producer}: {seen:?}");
        }
        seen.sort_unstable();
        accepted.sort_unstable();
        assert_eq!(seen, accepted);
    }
}

/// Runs `one` on the main thread and `others` on threads of their own, and checks what all of them say was accepted. `before` many
/// events went through the queue alone, to choose where in blocks and table the race takes place.
fn race(
    recorder: Recorder,
    before: u64,
    one: fn(&Recorder) -> Accepted,
    others: &[fn(&Recorder) -> Accepted],
) {
    let recorder = Arc::new(recorder);
    let mut accepted = Vec::new();
    for number in 0..before {
        assert_eq!(recorder.queue.push(Event::new(2, number)).ok(), Some(Handed::Schedule));
        recorder.drain();
        accepted.push((2, number));
    }
    recorder.returned.store(before, Ordering::Relaxed);
    let others: Vec<_> = others
        .iter()
        .map(|&other| {
            let recorder = Arc::clone(&recorder);
            thread::spawn(move || other(&recorder))
        })
        .collect();
    accepted.extend(one(&recorder));
    for other in others {
        accepted.extend(other.join().unwrap());
    }
    recorder.check(accepted);
}

/// Positions 0 to 3 lie in the small block, a large one and the next; whenever the queue is idle its lane is switched.
#[test]
fn two_producers_across_blocks() {
    across_blocks::<1>(3);
}

/// The same with one event more, and for that with a preemption less, unless `just loom-deep` asks for more.
#[test]
fn two_producers_of_two_across_blocks() {
    across_blocks::<2>(2);
}

fn across_blocks<const OTHERS: u64>(preemptions: usize) {
    for capacity in [2, 3] {
        let name = format!("two_producers_across_blocks, 2 and {OTHERS} events, capacity {capacity}");
        explore(&name, preemptions, move || {
            let recorder = Recorder::new(capacity);
            race(recorder, 0, |recorder| recorder.push(0, 2), &[|recorder| recorder.push(1, OTHERS)]);
        });
    }
}

/// With capacity 2 the table has two places for blocks, so the race from position 2 on comes around it: blocks are taken out,
/// placed ahead, and met by producers of the next lap.
#[test]
fn two_producers_around_the_table() {
    around_the_table::<1>(3);
}

/// The same with one event more, as above.
#[test]
fn two_producers_of_two_around_the_table() {
    around_the_table::<2>(2);
}

fn around_the_table<const OTHERS: u64>(preemptions: usize) {
    explore(&format!("two_producers_around_the_table, 2 and {OTHERS} events"), preemptions, move || {
        race(Recorder::new(2), 2, |recorder| recorder.push(0, 2), &[|recorder| recorder.push(1, OTHERS)]);
    });
}

/// A reservation of several positions at once, full in the middle, against single ones.
#[test]
fn a_batch_and_a_producer() {
    for capacity in [2, 3] {
        explore(&format!("a_batch_and_a_producer, capacity {capacity}"), 3, move || {
            race(
                Recorder::new(capacity),
                0,
                |recorder| recorder.push_at_once(0, 3),
                &[|recorder| recorder.push(1, 2)],
            );
        });
    }
}

/// The door is shut while two producers push, and there is room for both: with a preemption less, unless `just loom-deep` asks for more.
#[test]
fn two_producers_and_a_closer() {
    against_a_closer(2, 2);
}

/// The same where one of them finds the queue full, or drained by the other.
#[test]
fn two_producers_for_one_place_and_a_closer() {
    against_a_closer(1, 3);
}

/// An event of each: with one more, the schedules are fifty times as many.
fn against_a_closer(capacity: u64, preemptions: usize) {
    explore(&format!("two_producers_and_a_closer, capacity {capacity}"), preemptions, move || {
        race(
            Recorder::new(capacity),
            0,
            |recorder| recorder.push(0, 1),
            &[
                |recorder| recorder.push(1, 1),
                |recorder| {
                    recorder.close();
                    Vec::new()
                },
            ],
        );
    });
}

/// Whoever reads the counts, whenever, sees at least as many events accepted as committed.
#[test]
fn counts_never_show_more_committed_than_accepted() {
    explore("counts", 3, || {
        race(
            Recorder::new(2),
            0,
            |recorder| recorder.push(0, 2),
            &[|recorder| {
                for _ in 0..2 {
                    let counts = recorder.queue.counts();
                    assert!(counts.committed <= counts.accepted, "{counts:?}");
                }
                Vec::new()
            }],
        );
    });
}
