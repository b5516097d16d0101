//! A steady load, and what it costs the whole process: producers, consumer, and everything either wakes.

use crate::bursts::BURST;
use crate::bursts::Target;
use crate::bursts::settled;
use crate::clocks;
use crate::event::Saved;
use crate::rounds::Round;
use std::thread;
use std::time::Duration;

/// Bursts of each producer in one round.
const BURSTS: u64 = 64;

/// What each producer sleeps between its bursts: about a million events per second and producer, as budget B4 has it. It lets
/// the slower side keep up, so that neither meets a full queue; the CPU of these sleeps is in both figures.
const SLEEP: Duration = Duration::from_millis(1);

/// How often the end of the round is looked for.
const LOOK: Duration = Duration::from_micros(200);

/// One round: process-CPU nanoseconds per event, from the first hand-over until all are processed.
pub fn round<T: Target>(target: &T, producers: u64) -> Round {
    let (refused, before) = (target.refused(), settled(target));
    let started = clocks::process_cpu();
    thread::scope(|scope| {
        for number in 0..producers {
            scope.spawn(move || produce(target, number << 32));
        }
    });
    let events = producers * BURSTS * BURST;
    while settled(target) != before + events {
        thread::sleep(LOOK);
    }
    let nanos = clocks::process_cpu() - started;
    if target.refused() != refused {
        return Round::Discarded;
    }
    Round::Figure(nanos as f64 / events as f64)
}

#[inline(never)]
fn produce<T: Target>(target: &T, first: u64) {
    for burst in 0..BURSTS {
        for number in 0..BURST {
            target.push(Saved::numbered(first + burst * BURST + number));
        }
        thread::sleep(SLEEP);
    }
}
