//! A subscription: the worker tells of changes and ends it, the receiver takes them and sleeps in between. The receiver is never left
//! asleep, what it received and what it missed add up, and the end comes after the last change.
//!
//! seeded bug: waker_after_rest caught by loom_tests::subscription::a_receiver_that_sleeps_between_two_changes_and_the_end

use super::TURNS;
use super::explore;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Kind;
use crate::recorder::subscription::Channel;
use crate::recorder::subscription::Repose;
use loom::sync::Arc;
use loom::sync::Notify;
use loom::thread;
use std::task::Wake;
use std::task::Waker;

/// The receiver's executor: one task that sleeps until it is woken.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

fn receive(channel: &Channel) -> Vec<u64> {
    let bell = std::sync::Arc::new(Bell(Notify::new()));
    let waker = Waker::from(std::sync::Arc::clone(&bell));
    let mut received = Vec::new();
    for turn in 0.. {
        assert!(turn < TURNS, "the receiver never comes to rest");
        if let Some((_, sequence)) = channel.take() {
            received.push(sequence);
            continue;
        }
        match channel.rest(&waker) {
            // Where it has woken itself the worker must get on first, as an executor sees to.
            Repose::Asleep => {
                bell.0.wait();
                thread::yield_now();
            }
            Repose::Again => thread::yield_now(),
            Repose::Ended => return received,
        }
    }
    received
}

#[test]
fn a_receiver_that_sleeps_between_two_changes_and_the_end() {
    for capacity in [1, 2] {
        explore(&format!("a_receiver_that_sleeps, capacity {capacity}"), 3, move || {
            let channel = Arc::new(Channel::new(capacity));
            let worker = {
                let channel = Arc::clone(&channel);
                thread::spawn(move || {
                    let metric = Descriptor::builder("changes", Kind::Counter).build().unwrap();
                    channel.tell(&metric, 1);
                    channel.tell(&metric, 2);
                    channel.close();
                })
            };
            let received = receive(&channel);
            worker.join().unwrap();
            assert!(received.is_sorted(), "{received:?}");
            assert_eq!(received.len() as u64 + channel.missed(), 2, "{received:?}");
        });
    }
}
