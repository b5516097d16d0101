//! Bursts of events from one or several producers at once, and what they cost those producers.
//!
//! A burst begins when the queue is empty again and a pause is over. Both sides get the same pauses, so bursts meet the
//! consumer in every phase of its rest. Waiting, pausing and draining are outside what is timed.

use crate::clocks;
use crate::event::Saved;
use crate::rounds::Round;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::Thread;
use std::time::Duration;
use std::time::Instant;

/// Events of one producer in one burst.
pub const BURST: u64 = 1_024;

/// Timed bursts in one round.
const BURSTS: u64 = 48;

/// Bursts before them: they wake the consumer and fill the caches.
const WARM_UP: u64 = 8;

/// The longest pause. Shorter than the naps of our worker in sum, so that it naps and is not asleep.
const LONGEST_PAUSE: Duration = Duration::from_micros(300);

/// What bursts go into.
pub trait Target: Sync {
    /// Hands one event over.
    fn push(&self, event: Saved);

    /// Events refused so far.
    fn refused(&self) -> u64;

    /// Events processed so far.
    fn processed(&self) -> u64;

    /// For a consumer that waits to be told that it may drain.
    fn burst_is_over(&self) {}
}

/// One round: thread-CPU nanoseconds of the producers per event.
pub fn round<T: Target>(target: &T, producers: u64) -> Round {
    let (refused, settled) = (target.refused(), settled(target));
    let stage = Stage { settled, ..Stage::default() };
    let nanos = thread::scope(|scope| {
        let followers: Vec<_> = (1..producers)
            .map(|number| {
                scope.spawn({
                    let stage = &stage;
                    move || stage.follow(target, number)
                })
            })
            .collect();
        let threads: Vec<Thread> = followers.iter().map(|follower| follower.thread().clone()).collect();
        let own = stage.lead(target, &threads);
        own + followers.into_iter().map(|follower| follower.join().unwrap_or(0)).sum::<u64>()
    });
    wait_until(|| self::settled(target) == settled + producers * BURST * (WARM_UP + BURSTS));
    if target.refused() != refused {
        return Round::Discarded;
    }
    Round::Figure(nanos as f64 / (BURSTS * BURST * producers) as f64)
}

/// Where the producers of a burst meet. The leader calls, the followers come and spin, the leader lets all go.
#[derive(Default)]
struct Stage {
    called: AtomicU64,
    arrived: AtomicU64,
    go: AtomicU64,
    finished: AtomicU64,
    over: AtomicBool,
    /// Events settled before the round.
    settled: u64,
}

impl Stage {
    fn lead<T: Target>(&self, target: &T, followers: &[Thread]) -> u64 {
        let mut pauses = Pauses::new();
        let mut nanos = 0;
        for number in 1..=WARM_UP + BURSTS {
            let before = (number - 1) * BURST * (1 + followers.len() as u64);
            wait_until(|| settled(target) == self.settled + before);
            pauses.pause();
            self.called.store(number, Ordering::Release);
            followers.iter().for_each(Thread::unpark);
            let here = number * followers.len() as u64;
            wait_until(|| self.arrived.load(Ordering::Acquire) == here);
            self.go.store(number, Ordering::Release);
            let took = burst(target, number * BURST);
            nanos += if number > WARM_UP { took } else { 0 };
            wait_until(|| self.finished.load(Ordering::Acquire) == here);
            target.burst_is_over();
        }
        self.over.store(true, Ordering::Release);
        followers.iter().for_each(Thread::unpark);
        nanos
    }

    fn follow<T: Target>(&self, target: &T, producer: u64) -> u64 {
        let mut nanos = 0;
        for number in 1..=WARM_UP + BURSTS {
            while self.called.load(Ordering::Acquire) < number && !self.over.load(Ordering::Acquire) {
                thread::park();
            }
            self.arrived.fetch_add(1, Ordering::AcqRel);
            wait_until(|| self.go.load(Ordering::Acquire) >= number);
            let took = burst(target, number * BURST + (producer << 32));
            nanos += if number > WARM_UP { took } else { 0 };
            self.finished.fetch_add(1, Ordering::AcqRel);
        }
        nanos
    }
}

/// The timed part, the same code for every target.
#[inline(never)]
fn burst<T: Target>(target: &T, first: u64) -> u64 {
    let before = clocks::thread_cpu();
    for number in first..first + BURST {
        target.push(Saved::numbered(number));
    }
    clocks::thread_cpu() - before
}

/// Events that met their end.
pub fn settled<T: Target>(target: &T) -> u64 {
    target.refused() + target.processed()
}

/// Spins a little, then lets others run.
pub fn wait_until(done: impl Fn() -> bool) {
    let mut spins = 0_u32;
    while !done() {
        spins += 1;
        if spins < 64 { std::hint::spin_loop() } else { thread::yield_now() }
    }
}

/// Pauses of changing length, the same ones in every round.
struct Pauses(u64);

impl Pauses {
    const fn new() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }

    fn pause(&mut self) {
        // Xorshift (Marsaglia 2003): any even spread does.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let length = Duration::from_nanos(self.0 % LONGEST_PAUSE.as_nanos() as u64);
        let start = Instant::now();
        wait_until(|| start.elapsed() >= length);
    }
}
