//! DESIGN 3.2: one recorder dispatches in one total order that respects happens-before, on whatever threads.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use mvx_metrics::EventSink;
use mvx_metrics::MetricEvent;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::Recorder;
use mvx_metrics::Verdict;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;

/// One link of a chain of causes: link `step` was stated after link `step - 1` had been, on another thread.
struct Link {
    chain: usize,
    step: u64,
}

impl MetricEvent for Link {
    fn event_type(&self) -> &'static str {
        "link"
    }
}

/// What a metric has seen of a number of chains.
#[derive(Default)]
struct Chains {
    next: Vec<u64>,
    seen: u64,
    backward: u64,
    gaps: u64,
}

impl Chains {
    fn see(&mut self, link: &Link) {
        self.seen += 1;
        let next = &mut self.next[link.chain];
        self.backward += u64::from(link.step < *next);
        self.gaps += u64::from(link.step > *next);
        *next = (*next).max(link.step + 1);
    }
}

fn recorder_of_chains(
    chains: usize,
    policy: OverflowPolicy,
    capacity: u32,
) -> (mvx_metrics::MetricsRuntime, Recorder<Link>, Arc<Mutex<Chains>>) {
    let runtime = running("order");
    let seen = Arc::new(Mutex::new(Chains { next: vec![0; chains], ..Chains::default() }));
    let sees = Arc::clone(&seen);
    let metric = Probe::new("links", move |link: &Link| {
        sees.lock().unwrap().see(link);
        Verdict::Accepted
    });
    let recorder =
        runtime.recorder("chains").overflow(policy).capacity(capacity).metric(metric).create().unwrap();
    (runtime, recorder, seen)
}

/// Hands a link over by one of the ways there are; a refused one is offered again, so that no link is missing.
fn state_link(recorder: &Recorder<Link>, link: Link) {
    match link.step % 3 {
        0 => insist(recorder, link),
        1 => {
            let mut batch = vec![link];
            while recorder.register_events(&mut batch) == 0 {
                assert_eq!(recorder.accounts().rejected.closed, 0);
                thread::yield_now();
            }
        }
        _ => {
            let sink: &dyn EventSink<Link> = recorder;
            // The capacity is far beyond the tokens that circulate, but the consumer may lag: make room first.
            while recorder.accounts().pending() >= recorder.capacity() / 2 {
                thread::yield_now();
            }
            sink.register_event(link);
        }
    }
}

/// Tokens go round between threads through channels; whoever holds one states the next link of its chain and passes it on.
fn pass_tokens(recorder: &Recorder<Link>, threads: usize, chains: usize, steps: u64) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel::<Link>()).unzip();
    for chain in 0..chains {
        senders[chain % threads].send(Link { chain, step: 0 }).unwrap();
    }
    let senders = Arc::new(senders);
    let over = AtomicU64::new(0);
    thread::scope(|scope| {
        for (at, receiver) in receivers.into_iter().enumerate() {
            let (senders, over) = (Arc::clone(&senders), &over);
            scope.spawn(move || {
                while over.load(Ordering::Acquire) < chains as u64 {
                    let Ok(Link { chain, step }) = receiver.recv_timeout(std::time::Duration::from_millis(1))
                    else {
                        continue;
                    };
                    state_link(recorder, Link { chain, step });
                    if step + 1 == steps {
                        over.fetch_add(1, Ordering::AcqRel);
                    } else {
                        // Never to itself: each link is on another thread than the one before.
                        let to = (at + 1 + (step as usize + chain) % (threads - 1)) % threads;
                        let _ = senders[to].send(Link { chain, step: step + 1 });
                    }
                }
            });
        }
    });
}

#[test]
fn events_are_dispatched_in_causal_order_along_a_hundred_thousand_channel_hops() {
    let (chains, steps) = (8, scaled(12_500));
    let (runtime, recorder, seen) = recorder_of_chains(chains, OverflowPolicy::DropNewest, 256);
    pass_tokens(&recorder, 4, chains, steps);
    recorder.flush_blocking(PATIENCE).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!((seen.backward, seen.gaps, seen.seen), (0, 0, chains as u64 * steps));
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn drop_oldest_keeps_causal_order_and_evicts_only_from_the_front() {
    let (chains, steps) = (8, scaled(12_500));
    let (runtime, recorder, seen) = recorder_of_chains(chains, OverflowPolicy::DropOldest, 16);
    pass_tokens(&recorder, 4, chains, steps);
    recorder.flush_blocking(PATIENCE).unwrap();
    let accounts = recorder.accounts();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.backward, 0);
    assert_eq!(accounts.accepted, chains as u64 * steps);
    assert_eq!(seen.seen + accounts.dropped.evicted, accounts.accepted);
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
}

#[test]
fn an_atomic_that_two_threads_pass_to_and_fro_carries_the_order_of_their_events() {
    for policy in [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest] {
        let steps = scaled(20_000);
        let (_runtime, recorder, seen) = recorder_of_chains(1, policy, 1 << 16);
        let turn = AtomicU64::new(0);
        thread::scope(|scope| {
            for me in 0..2 {
                let (recorder, turn) = (&recorder, &turn);
                scope.spawn(move || {
                    for step in (me..steps).step_by(2) {
                        while turn.load(Ordering::Acquire) != step {
                            thread::yield_now();
                        }
                        state_link(recorder, Link { chain: 0, step });
                        turn.store(step + 1, Ordering::Release);
                    }
                });
            }
        });
        recorder.flush_blocking(PATIENCE).unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!((seen.backward, seen.seen), (0, steps), "{policy:?}");
    }
}

#[test]
fn a_joined_thread_has_stated_its_events_before_those_of_the_thread_that_joined_it() {
    let (_runtime, recorder, seen) = recorder_of_chains(1, OverflowPolicy::DropNewest, 1 << 12);
    let steps = scaled(2_000);
    for step in (0..steps).step_by(2) {
        thread::scope(|scope| {
            scope.spawn(|| state_link(&recorder, Link { chain: 0, step }));
        });
        state_link(&recorder, Link { chain: 0, step: step + 1 });
    }
    recorder.flush_blocking(PATIENCE).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!((seen.backward, seen.gaps, seen.seen), (0, 0, steps));
}

#[test]
fn every_metric_of_a_recorder_sees_the_same_order() {
    let runtime = running("order");
    let orders: Vec<_> = (0..3).map(|_| Arc::new(Mutex::new(Vec::new()))).collect();
    let mut builder = runtime.recorder::<Link>("same").capacity(1 << 10);
    for (at, order) in orders.iter().enumerate() {
        let order = Arc::clone(order);
        builder = builder.metric(Probe::new(&format!("order_{at}"), move |link: &Link| {
            order.lock().unwrap().push((link.chain, link.step));
            Verdict::Accepted
        }));
    }
    let recorder = builder.create().unwrap();
    let each = scaled(5_000);
    thread::scope(|scope| {
        for chain in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || (0..each).for_each(|step| insist(recorder, Link { chain, step })));
        }
    });
    recorder.flush_blocking(PATIENCE).unwrap();
    let first = orders[0].lock().unwrap();
    assert_eq!(first.len() as u64, 4 * each);
    for chain in 0..4 {
        let steps = first.iter().filter(|link| link.0 == chain).map(|link| link.1);
        assert!(steps.eq(0..each), "thread {chain} is out of its own order");
    }
    for other in &orders[1..] {
        assert_eq!(*first, *other.lock().unwrap());
    }
}
