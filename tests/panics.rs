//! DESIGN 3.7 in numbers: ten thousand panics of user code, exact accounts, and no memory for any of them. One test, because it
//! looks at the memory of the whole process.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[path = "support/heap.rs"]
mod heap;
mod support;

use crate::heap::live;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::running;
use crate::support::scaled;
use crate::support::until;
use mvx_metrics::Label;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Verdict;
use std::panic;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

/// Panics, by the place they come from.
static PANICS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

const METRIC: usize = 0;
const LABEL: usize = 1;
const OBSERVER: usize = 2;
const DESTRUCTOR: usize = 3;

/// A panic as code makes them by mistake, with a message of its own on the heap.
fn fail(place: usize, event: u64) -> ! {
    PANICS[place].fetch_add(1, Ordering::AcqRel);
    panic!("a mistake of the user at {place}, on event {event}");
}

/// Keeps the panics of the worker, which are meant, out of the test's output.
fn silence_the_worker() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() != Some("panics.metrics") {
            loud(info);
        }
    }));
}

/// An event whose destructor panics on every third of them, once the worker has it.
struct Fragile(u64);

impl MetricEvent for Fragile {
    fn event_type(&self) -> &'static str {
        "fragile"
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        if self.0 % 3 == 0 {
            fail(DESTRUCTOR, self.0);
        }
    }
}

/// Events of a round, of which three bring a destructor down.
const EVENTS: u64 = 9;

/// One recorder with a bad metric, a bad label closure and a bad observer among good ones, fed and removed: 6 panics.
fn round(runtime: &MetricsRuntime, number: u64) {
    let at = number % EVENTS;
    let recorder = runtime
        .recorder("fragile")
        .counter("before", |c| c)
        .metric(Probe::new(
            "metric",
            move |event: &Fragile| if event.0 == at { fail(METRIC, at) } else { Verdict::Accepted },
        ))
        .counter("label", |c| {
            c.label("n", move |event| if event.0 == at { fail(LABEL, at) } else { Label::from(event.0) })
        })
        .counter("after", |c| c)
        .on_metric_changed(move |change| {
            if change.event().0 == at {
                fail(OBSERVER, at);
            }
        })
        .create()
        .unwrap();
    (0..EVENTS).for_each(|n| recorder.register_event(Fragile(n)));
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    assert_eq!((recorder.accounts().accepted, recorder.accounts().processed), (EVENTS, EVENTS));
    assert_eq!((snapshot.sequence(), snapshot.quarantined_observers()), (EVENTS, 1));
    for metric in snapshot.metrics() {
        let (tally, name) = (metric.tally(), metric.family().name().to_string());
        let is_sound = name == "before" || name == "after";
        let found = [tally.accepted, tally.panicked, tally.quarantined];
        assert_eq!(found, if is_sound { [EVENTS, 0, 0] } else { [at, 1, EVENTS - 1 - at] }, "{name}");
        assert_eq!(metric.is_quarantined(), !is_sound, "{name}");
    }
    let accounts = runtime.stop_and_remove("fragile", PATIENCE).unwrap();
    assert_eq!((accounts.offered(), accounts.processed), (EVENTS, EVENTS));
}

#[cfg(panic = "unwind")]
#[test]
fn ten_thousand_panics_leave_exact_accounts_and_no_memory_behind() {
    silence_the_worker();
    let runtime = running("panics");
    let rounds = scaled(1_700);
    let before = live();
    (0..rounds).for_each(|number| round(&runtime, number));
    let panics: Vec<_> = PANICS.iter().map(|panics| panics.load(Ordering::Acquire)).collect();
    assert_eq!(panics, [rounds, rounds, rounds, 3 * rounds]);
    let panics = panics.iter().sum::<u64>();
    assert!(panics >= 10_000);
    // The worker lets the last recorders go when it finds them idle. What stays is its own lists, far less than a message a panic.
    until("the memory is given back", || live() < before + 8 * panics as i64);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}
