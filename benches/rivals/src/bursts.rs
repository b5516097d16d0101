//! Bursts of events from one or several producers at once, and what they cost those producers.
//!
//! A burst begins when the queue is empty again and a pause is over. Both sides get the same pauses, so bursts meet the
//! consumer in every phase of its rest. Waiting, pausing and draining are outside what is timed.

use crate::clocks;
use crate::clocks::Places;
use crate::rounds::Round;
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

/// Bursts that must count for a round to count.
const ENOUGH: usize = 8;

/// The longest pause. Shorter than the naps of our worker in sum, so that it naps and is not asleep.
const LONGEST_PAUSE: Duration = Duration::from_micros(300);

/// What bursts go into.
pub trait Target: Sync {
    /// Builds the event of this number, which is the caller's cost, and hands it over.
    fn push(&self, number: u64);

    /// Events refused so far.
    fn refused(&self) -> u64;

    /// Events processed so far.
    fn processed(&self) -> u64;

    /// For a consumer that waits to be told that it may drain.
    fn burst_is_over(&self) {}
}

/// One round: thread-CPU nanoseconds of the producers per event, over the bursts that count.
pub fn round<T: Target>(target: &T, producers: u64) -> Round {
    let (refused, settled) = (target.refused(), settled(target));
    let stage = Stage { settled, ..Stage::default() };
    let places = &Places::new();
    let bursts: Vec<Vec<Burst>> = thread::scope(|scope| {
        let follow = |number| {
            scope.spawn({
                let stage = &stage;
                move || places.take(number as usize).map(|()| stage.follow(target, number))
            })
        };
        let followers: Vec<_> = (1..producers).map(follow).collect();
        let threads: Vec<Thread> = followers.iter().map(|follower| follower.thread().clone()).collect();
        // The leader pins itself last: the followers inherited the freedom to go where they are put.
        let _ = places.take(0);
        let mut bursts = vec![stage.lead(target, &threads)];
        bursts.extend(
            followers
                .into_iter()
                .map(|follower| follower.join().ok().and_then(Result::ok).unwrap_or_default()),
        );
        bursts
    });
    wait_until(|| self::settled(target) == settled + producers * BURST * (WARM_UP + BURSTS));
    if target.refused() != refused {
        return Round::Discarded;
    }
    let at_once: Vec<u64> =
        (0..BURSTS as usize).filter_map(|number| nanos_at_once(&bursts, number)).collect();
    if at_once.len() < ENOUGH {
        return Round::Discarded;
    }
    Round::Figure(at_once.iter().sum::<u64>() as f64 / (at_once.len() as u64 * BURST * producers) as f64)
}

/// What one producer's burst took.
#[derive(Clone, Copy)]
struct Burst {
    started: Instant,
    ended: Instant,
    nanos: u64,
}

/// CPU of all producers in the burst of this number, if they really pushed at once: nobody was taken off its core for long,
/// and the time in which all of them pushed is at least half of the longest burst. A single producer's bursts all count.
fn nanos_at_once(bursts: &[Vec<Burst>], number: usize) -> Option<u64> {
    let bursts: Vec<Burst> = bursts.iter().filter_map(|bursts| bursts.get(number).copied()).collect();
    let nanos = bursts.iter().map(|burst| burst.nanos).sum();
    // With fewer cores than producers nobody can push at once; the row that wants it is then not checked.
    if bursts.len() == 1 || bursts.len() > clocks::cores() {
        return Some(nanos);
    }
    let together = bursts
        .iter()
        .map(|burst| burst.ended)
        .min()?
        .checked_duration_since(bursts.iter().map(|burst| burst.started).max()?)?;
    let longest = bursts.iter().map(|burst| burst.ended - burst.started).max()?;
    let undisturbed =
        bursts.iter().all(|burst| (burst.ended - burst.started).as_nanos() as u64 <= burst.nanos * 3 / 2);
    (undisturbed && together * 2 >= longest).then_some(nanos)
}

/// Where the producers of a burst meet. The leader calls, the followers come and spin, the leader lets all go.
#[derive(Default)]
struct Stage {
    called: AtomicU64,
    arrived: AtomicU64,
    go: AtomicU64,
    finished: AtomicU64,
    /// Events settled before the round.
    settled: u64,
}

impl Stage {
    fn lead<T: Target>(&self, target: &T, followers: &[Thread]) -> Vec<Burst> {
        let mut pauses = Pauses::new();
        let mut bursts = Vec::with_capacity((WARM_UP + BURSTS) as usize);
        for number in 1..=WARM_UP + BURSTS {
            let before = (number - 1) * BURST * (1 + followers.len() as u64);
            wait_until(|| settled(target) == self.settled + before);
            pauses.pause();
            self.called.store(number, Ordering::Release);
            followers.iter().for_each(Thread::unpark);
            let here = number * followers.len() as u64;
            wait_until(|| self.arrived.load(Ordering::Acquire) == here);
            self.go.store(number, Ordering::Release);
            bursts.push(burst(target, number * BURST));
            wait_until(|| self.finished.load(Ordering::Acquire) == here);
            target.burst_is_over();
        }
        bursts.split_off(WARM_UP as usize)
    }

    fn follow<T: Target>(&self, target: &T, producer: u64) -> Vec<Burst> {
        let mut bursts = Vec::with_capacity((WARM_UP + BURSTS) as usize);
        for number in 1..=WARM_UP + BURSTS {
            while self.called.load(Ordering::Acquire) < number {
                thread::park();
            }
            self.arrived.fetch_add(1, Ordering::AcqRel);
            wait_until(|| self.go.load(Ordering::Acquire) >= number);
            bursts.push(burst(target, number * BURST + (producer << 32)));
            self.finished.fetch_add(1, Ordering::AcqRel);
        }
        bursts.split_off(WARM_UP as usize)
    }
}

/// The timed part, the same code for every target.
#[inline(never)]
fn burst<T: Target>(target: &T, first: u64) -> Burst {
    let started = Instant::now();
    let before = clocks::thread_cpu();
    for number in first..first + BURST {
        target.push(number);
    }
    let nanos = clocks::thread_cpu() - before;
    Burst { started, ended: Instant::now(), nanos }
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
