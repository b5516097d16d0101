//! One body of tests over every queue: the ring and its locked twin must not be told apart.

#![allow(clippy::unwrap_used, reason = "helpers of tests, in a module that clippy does not know for one")]

use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::Rest;
use crate::queue::ring::Refused;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

const KINDS: [Kind; 2] = [Kind::Ring, Kind::LockedNewest];

type Queue = HandOff<Tracked, Vec<(u64, u64)>>;

/// An event that counts its own end, so that a lost or doubled drop shows.
struct Tracked {
    producer: u64,
    number: u64,
    drops: Arc<AtomicU64>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

fn queue(kind: Kind, capacity: u64) -> Queue {
    HandOff::new(kind, capacity, Vec::new())
}

/// Dispatches up to `limit` events and says how many it was.
fn drain(queue: &Queue, limit: u64) -> u64 {
    queue
        .sit(|mut consumer, seen| {
            consumer.take_kick();
            let run = consumer.run(limit);
            let count = run.len() as u64;
            seen.extend(run.iter().map(|event| (event.producer, event.number)));
            consumer.finish(count).map_or(0, |()| count)
        })
        .unwrap_or(0)
}

fn rest(queue: &Queue) -> Rest {
    queue.sit(|mut consumer, _| consumer.rest()).unwrap()
}

fn release(queue: &Queue) -> bool {
    queue.sit(|mut consumer, _| consumer.release()).unwrap()
}

fn tracked(number: u64, drops: &Arc<AtomicU64>) -> Tracked {
    Tracked { producer: 0, number, drops: Arc::clone(drops) }
}

#[test]
fn a_full_queue_returns_the_event() {
    for kind in KINDS {
        let drops = Arc::new(AtomicU64::new(0));
        let queue = queue(kind, 3);
        for number in 0..3 {
            assert!(queue.push(tracked(number, &drops)).is_ok());
        }
        let (refused, event) = queue.push(tracked(3, &drops)).err().unwrap();
        assert_eq!((refused, event.number), (Refused::Full, 3));
        assert_eq!(drain(&queue, 1), 1);
        assert!(queue.push(event).is_ok());
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn an_event_in_progress_still_counts_as_pending() {
    for kind in KINDS {
        let drops = Arc::new(AtomicU64::new(0));
        let queue = queue(kind, 1);
        assert!(queue.push(tracked(0, &drops)).is_ok());
        queue
            .sit(|mut consumer, _| {
                assert_eq!(consumer.run(1).len(), 1);
                assert!(queue.push(tracked(1, &drops)).is_err());
                assert!(consumer.finish(1).is_ok());
                assert!(queue.push(tracked(2, &drops)).is_ok());
            })
            .unwrap();
    }
}

#[test]
fn no_more_is_finished_than_was_shown() {
    for kind in KINDS {
        let drops = Arc::new(AtomicU64::new(0));
        let queue = queue(kind, 8);
        for number in 0..3 {
            assert!(queue.push(tracked(number, &drops)).is_ok());
        }
        queue
            .sit(|mut consumer, _| {
                assert!(consumer.finish(1).is_ok());
                assert_eq!((consumer.settled(), consumer.run(2).len()), (0, 2));
                assert_eq!(consumer.rest(), Rest::Busy);
                assert!(consumer.finish(1).is_ok());
                assert!(consumer.finish(9).is_ok());
                assert_eq!(consumer.settled(), 2);
            })
            .unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn parts_of_a_run_are_the_events_that_stand_there() {
    for kind in KINDS {
        let drops = Arc::new(AtomicU64::new(0));
        let queue = queue(kind, 40);
        for number in 0..30 {
            assert!(queue.push(tracked(number, &drops)).is_ok());
        }
        // The first eight stand in a block of their own, where the ring is asked.
        for _ in 0..2 {
            queue
                .sit(|mut consumer, _| {
                    let run = consumer.run(12);
                    let all: Vec<u64> = run.iter().map(|event| event.number).collect();
                    let len = run.len();
                    for start in 0..=len + 1 {
                        for limit in [0, 1, 3, len, usize::MAX] {
                            let part: Vec<u64> =
                                run.part(start, limit).iter().map(|event| event.number).collect();
                            let (from, to) = (start.min(len), start.saturating_add(limit).min(len));
                            assert_eq!(part, &all[from..to.max(from)], "{kind:?} {start} {limit}");
                        }
                        let inner = run.part(1, len).only(start);
                        assert_eq!(inner.get(0).map(|event| event.number), all.get(start + 1).copied());
                        assert!(inner.get(1).is_none());
                    }
                    consumer.finish(len as u64)
                })
                .unwrap()
                .unwrap();
        }
        assert!(drops.load(Ordering::Relaxed) >= 20);
    }
}

#[test]
fn only_the_push_that_ends_idleness_schedules() {
    for kind in KINDS {
        let drops = Arc::new(AtomicU64::new(0));
        let queue = queue(kind, 8);
        assert_eq!(queue.push(tracked(0, &drops)).ok(), Some(Handed::Schedule));
        assert_eq!(queue.push(tracked(1, &drops)).ok(), Some(Handed::Done));
        assert_eq!(rest(&queue), Rest::Busy);
        assert_eq!(drain(&queue, 8), 2);
        assert_eq!(rest(&queue), Rest::Idle);
        assert_eq!(queue.kick(), Handed::Schedule);
        assert_eq!(queue.kick(), Handed::Done);
        assert_eq!(rest(&queue), Rest::Busy);
        drain(&queue, 8);
        assert_eq!(rest(&queue), Rest::Idle);
        assert_eq!(queue.close(), (true, Handed::Schedule));
        assert_eq!(queue.close(), (false, Handed::Done));
    }
}

#[test]
fn a_closed_queue_refuses_and_still_drains() {
    for kind in KINDS {
        let drops = Arc::new(AtomicU64::new(0));
        let queue = queue(kind, 8);
        assert!(queue.push(tracked(0, &drops)).is_ok());
        let _ = queue.close();
        let (refused, event) = queue.push(tracked(1, &drops)).err().unwrap();
        assert_eq!((refused, event.number), (Refused::Closed, 1));
        assert_eq!(drain(&queue, 8), 1);
        queue.reopen();
        assert!(queue.push(event).is_ok());
        assert_eq!(drain(&queue, 8), 1);
    }
}

#[test]
fn events_left_in_a_dropped_queue_are_dropped_once() {
    for kind in [Kind::Ring, Kind::LockedNewest, Kind::LockedOldest] {
        let drops = Arc::new(AtomicU64::new(0));
        let queue = queue(kind, 1_000);
        for number in 0..300 {
            assert!(queue.push(tracked(number, &drops)).is_ok());
        }
        for _ in 0..3 {
            drain(&queue, 33);
        }
        let before = drops.load(Ordering::Relaxed);
        drop(queue);
        assert!(before > 0);
        assert_eq!(drops.load(Ordering::Relaxed), 300);
    }
}

#[test]
fn a_batch_finished_after_the_abandonment_is_not_committed() {
    for kind in KINDS {
        let drops = Arc::new(AtomicU64::new(0));
        let queue = queue(kind, 8);
        for number in 0..4 {
            assert!(queue.push(tracked(number, &drops)).is_ok());
        }
        assert_eq!(drain(&queue, 1), 1);
        queue
            .sit(|mut consumer, _| {
                assert_eq!(consumer.run(2).len(), 2);
                let _ = queue.close();
                assert_eq!(queue.abandon(), Some(1));
                assert_eq!(queue.abandon(), None);
                assert!(consumer.finish(2).is_err());
            })
            .unwrap();
        assert_eq!((queue.counts().accepted, queue.counts().committed), (4, 1));
        drop(queue);
        assert_eq!(drops.load(Ordering::Relaxed), 4);
    }
}

#[test]
fn drop_oldest_evicts_the_oldest_waiting_event() {
    let drops = Arc::new(AtomicU64::new(0));
    let queue = queue(Kind::LockedOldest, 2);
    for number in 0..5 {
        assert!(queue.push(tracked(number, &drops)).is_ok());
    }
    assert_eq!(queue.counts().evicted, 3);
    assert_eq!(drain(&queue, 8), 2);
    queue.sit(|_, seen| assert_eq!(*seen, [(0, 3), (0, 4)])).unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 5);
}

#[test]
fn an_eviction_behind_the_events_in_hand_settles_nothing_before_them() {
    let drops = Arc::new(AtomicU64::new(0));
    let queue = queue(Kind::LockedOldest, 3);
    for number in 0..4 {
        assert!(queue.push(tracked(number, &drops)).is_ok());
    }
    queue
        .sit(|mut consumer, _| {
            assert_eq!(consumer.settled(), 1, "0 was evicted");
            assert_eq!(consumer.run(2).len(), 2);
            for number in 4..7 {
                assert!(queue.push(tracked(number, &drops)).is_ok());
            }
            assert_eq!((queue.counts().evicted, consumer.settled()), (4, 1), "1 and 2 are in hand");
            assert!(consumer.finish(1).is_ok());
            assert_eq!(consumer.settled(), 2, "2 is in hand");
            assert!(consumer.finish(1).is_ok());
            assert_eq!(consumer.settled(), 6, "3, 4 and 5 were evicted meanwhile");
        })
        .unwrap();
}

#[test]
fn a_batch_is_what_its_events_one_by_one_would_be() {
    for kind in [Kind::Ring, Kind::LockedNewest, Kind::LockedOldest] {
        for (before, in_hand, batch) in
            [(0, 0, 3), (2, 0, 3), (4, 0, 3), (4, 2, 3), (4, 4, 3), (3, 1, 9), (0, 0, 9)]
        {
            let drops = Arc::new(AtomicU64::new(0));
            let (one_by_one, at_once) = (queue(kind, 4), queue(kind, 4));
            let mut events: Vec<_> = (before..before + batch).map(|number| tracked(number, &drops)).collect();
            let allocation = events.as_ptr();
            for queue in [&one_by_one, &at_once] {
                for number in 0..before {
                    assert!(queue.push(tracked(number, &drops)).is_ok());
                }
                queue.sit(|mut consumer, _| assert_eq!(consumer.run(in_hand).len() as u64, in_hand)).unwrap();
            }
            let mut left = Vec::new();
            for number in before..before + batch {
                left.extend(one_by_one.push(tracked(number, &drops)).err());
            }
            let (count, _, refused) = at_once.push_many(&mut events);
            assert_eq!((count as u64, events.as_ptr()), (batch - events.len() as u64, allocation));
            assert_eq!(refused, left.first().map(|(refused, _)| *refused));
            assert!(events.iter().map(|event| event.number).eq(left.iter().map(|(_, event)| event.number)));
            assert_eq!(at_once.counts(), one_by_one.counts());
            let seen = [&one_by_one, &at_once].map(|queue| {
                while drain(queue, 64) > 0 {}
                queue.sit(|_, seen| std::mem::take(seen)).unwrap()
            });
            assert_eq!(seen[0], seen[1], "{kind:?} {before} {in_hand} {batch}");
        }
    }
}

#[test]
fn an_idle_queue_gives_its_memory_back_and_goes_on() {
    for kind in KINDS {
        let drops = Arc::new(AtomicU64::new(0));
        let queue = queue(kind, 1_000);
        assert_eq!(queue.heap_bytes(), 0);
        let mut number = 0;
        for burst in [1, 7, 8, 9, if cfg!(miri) { 80 } else { 300 }, if cfg!(miri) { 150 } else { 1_000 }, 3]
        {
            for _ in 0..burst {
                assert!(queue.push(tracked(number, &drops)).is_ok());
                number += 1;
            }
            assert!(!release(&queue), "not idle");
            while drain(&queue, 64) > 0 {}
            assert_eq!(rest(&queue), Rest::Idle);
            assert!(release(&queue));
            assert!(!release(&queue), "nothing left");
            assert_eq!(queue.heap_bytes(), 0);
        }
        queue.sit(|_, seen| assert!(seen.iter().map(|(_, number)| *number).eq(0..number))).unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), number);
    }
}

#[test]
fn a_trickle_needs_one_small_block_and_a_burst_no_more_than_its_high_water_mark() {
    let drops = Arc::new(AtomicU64::new(0));
    let queue = queue(Kind::Ring, 4_096);
    assert!(queue.push(tracked(0, &drops)).is_ok());
    let small = queue.heap_bytes();
    assert_eq!(small, 8 * (8 + size_of::<Tracked>()).next_multiple_of(8));
    let mut peak = 0;
    for round in 0..if cfg!(miri) { 3 } else { 20 } {
        for number in 0..512 {
            assert!(queue.push(tracked(number, &drops)).is_ok());
        }
        peak = if round == 1 { queue.heap_bytes() } else { peak };
        assert!(round < 2 || queue.heap_bytes() <= peak, "round {round}");
        while drain(&queue, 64) > 0 {}
    }
}

#[test]
fn any_thread_may_ask_for_the_bytes_while_they_are_given_back() {
    let rounds = if cfg!(miri) { 3 } else { 2_000 };
    let queue = HandOff::<u8, ()>::new(Kind::Ring, 100, ());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                // Two lanes of a small block, a table of four cells and as many blocks, all of slots of 16 bytes.
                let bytes = queue.heap_bytes();
                assert!(bytes <= 2 * (16 * (8 + 4 * 64) + 4 * size_of::<usize>()), "{bytes}");
            }
        });
        for _ in 0..rounds {
            while queue.push(0).is_ok() {}
            queue
                .sit(|mut consumer, ()| {
                    loop {
                        let count = consumer.run(64).len() as u64;
                        if count == 0 {
                            break;
                        }
                        assert!(consumer.finish(count).is_ok());
                    }
                    assert_eq!(consumer.rest(), Rest::Idle);
                    assert!(consumer.release());
                })
                .unwrap();
            assert_eq!(queue.heap_bytes(), 0);
        }
        done.store(true, Ordering::Release);
    });
}

/// `producers` threads push while the consumer drains in batches of `batch`, resting and releasing memory as it can; the
/// door is closed after `stop_after` drained events. Everything accepted is seen once, in order per producer.
fn race(kind: Kind, capacity: u64, producers: u64, each: u64, batch: u64, stop_after: u64) {
    let queue = Arc::new(queue(kind, capacity));
    let drops = Arc::new(AtomicU64::new(0));
    let running = Arc::new(AtomicU64::new(producers));
    let handles: Vec<_> = (0..producers)
        .map(|producer| {
            let (queue, drops, running) = (Arc::clone(&queue), Arc::clone(&drops), Arc::clone(&running));
            thread::spawn(move || {
                let (mut accepted, mut closed) = (0, false);
                for number in 0..each {
                    match queue.push(Tracked { producer, number, drops: Arc::clone(&drops) }) {
                        Ok(_) => accepted += 1,
                        Err((Refused::Closed, _)) => closed = true,
                        Err((Refused::Full, _)) => thread::yield_now(),
                    }
                    assert!(!closed || queue.is_closed());
                }
                running.fetch_sub(1, Ordering::Release);
                accepted
            })
        })
        .collect();
    let mut drained = 0;
    loop {
        let last_look = running.load(Ordering::Acquire) == 0;
        let count = drain(&queue, batch);
        drained += count;
        if drained >= stop_after {
            let _ = queue.close();
        }
        if count == 0 {
            if rest(&queue) == Rest::Idle {
                release(&queue);
            }
            if last_look {
                break;
            }
            thread::yield_now();
        }
    }
    let accepted: u64 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
    let counts = queue.counts();
    assert_eq!((counts.accepted, counts.committed), (accepted, accepted));
    queue
        .sit(|_, seen| {
            assert_eq!(seen.len() as u64, accepted - counts.evicted);
            for producer in 0..producers {
                let numbers: Vec<u64> =
                    seen.iter().filter(|(of, _)| *of == producer).map(|(_, number)| *number).collect();
                assert!(numbers.is_sorted_by(|a, b| a < b), "order of producer {producer}");
            }
        })
        .unwrap();
    drop(queue);
    assert_eq!(drops.load(Ordering::Relaxed), producers * each);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 64 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_accepted_event_is_seen_once_and_in_order(
        ring in any::<bool>(),
        capacity in prop_oneof![1_u64..10, 60_u64..70, 1_000_u64..1_100],
        producers in 1_u64..4,
        each in 1_u64..(if cfg!(miri) { 30 } else { 3_000 }),
        batch in 1_u64..80,
        stop_after in prop_oneof![Just(u64::MAX), 0_u64..2_000],
    ) {
        let kind = if ring { Kind::Ring } else { Kind::LockedNewest };
        race(kind, capacity, producers, each, batch, stop_after);
    }
}

#[test]
fn a_slow_producer_stalls_nobody_but_itself() {
    // The consumer sees a reserved position without its event as "stalled" and does not wait: exercised by many short races.
    let stop = AtomicBool::new(false);
    let drops = Arc::new(AtomicU64::new(0));
    let queue = queue(Kind::Ring, 64);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = queue.push(tracked(0, &drops));
            }
        });
        let rounds = if cfg!(miri) { 50 } else { 100_000 };
        let mut rests = [0_u64; 3];
        for _ in 0..rounds {
            drain(&queue, 8);
            rests[rest(&queue) as usize] += 1;
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(rests.iter().sum::<u64>(), rounds);
    });
}
