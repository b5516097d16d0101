//! A steady load, and what it costs the whole process: producers, consumer, and everything either wakes.

use crate::bursts::BURST;
use crate::bursts::Target;
use crate::bursts::settled;
use crate::clocks;
use crate::rounds::Round;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// Bursts of all producers together in one round.
const BURSTS: u64 = 256;

/// Under full load, a producer holds its next burst back while more than this is pending: half of the default capacity with
/// the burst. The consumer never runs dry and the queue never runs full, on either side.
const WINDOW: u64 = 4_096 - BURST;

/// How long a producer sleeps before it looks again whether there is room in the window, and the end of a round is waited for.
const LOOK: Duration = Duration::from_micros(20);

/// When producers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// As fast as events are processed.
    Full,
    /// A burst of each producer, then a sleep of a millisecond: at most about a million events per second and producer.
    Paced,
}

/// One round: process-CPU nanoseconds per event, from the first hand-over until all are processed.
///
/// What the producers use up in holding back (their own thread-CPU from the end of a burst to the start of the next) is taken off: it
/// is the harness's, equal on both sides, and would only pull the ratio towards 1.
pub fn round<T: Target>(target: &T, producers: u64, load: Load) -> Round {
    let (refused, before) = (target.refused(), settled(target));
    let (waited, sent) = (AtomicU64::new(0), AtomicU64::new(before));
    let started = clocks::process_cpu();
    thread::scope(|scope| {
        for number in 0..producers {
            let (waited, sent) = (&waited, &sent);
            scope.spawn(move || {
                for burst in 0..BURSTS / producers {
                    timed(waited, || hold_back(target, sent, load));
                    sent.fetch_add(BURST, Ordering::Relaxed);
                    produce(target, (number << 32) + burst * BURST);
                }
            });
        }
    });
    let events = BURSTS * BURST;
    timed(&waited, || {
        while settled(target) != before + events {
            thread::sleep(LOOK);
        }
    });
    let nanos = (clocks::process_cpu() - started).saturating_sub(waited.into_inner());
    if target.refused() != refused {
        return Round::Discarded;
    }
    Round::Figure(nanos as f64 / events as f64)
}

fn hold_back<T: Target>(target: &T, sent: &AtomicU64, load: Load) {
    match load {
        Load::Full => {
            while sent.load(Ordering::Relaxed).saturating_sub(settled(target)) > WINDOW {
                thread::sleep(LOOK);
            }
        }
        Load::Paced => thread::sleep(Duration::from_millis(1)),
    }
}

/// Adds the caller's CPU during `work` to `sum`.
fn timed(sum: &AtomicU64, work: impl FnOnce()) {
    let before = clocks::thread_cpu();
    work();
    sum.fetch_add(clocks::thread_cpu() - before, Ordering::Relaxed);
}

#[inline(never)]
fn produce<T: Target>(target: &T, first: u64) {
    for number in first..first + BURST {
        target.push(number);
    }
}
