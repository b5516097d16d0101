//! `ReadyList` and the worker's sleep: nothing stays on the list of a worker that sleeps.
//!
//! The worker is the model's main thread. It falls asleep only by `try_sleep`, and only the push that says so wakes it; a push that
//! fails to say so is a deadlock here.
//!
//! seeded bug: sleep_by_store caught by loom_tests::ready_list::two_pushers_and_a_worker_that_sleeps
//! seeded bug: end_forgotten caught by loom_tests::ready_list::an_end_against_a_push_and_a_late_take_keeps_nothing
//! seeded bug: link_relaxed caught by loom_tests::ready_list::two_pushers_and_a_worker_that_sleeps

use super::explore;
use crate::queue::ready::Erase;
use crate::queue::ready::Node;
use crate::queue::ready::ReadyList;
use crate::sync::UnsafeCell;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// A recorder in a list: what a pusher wrote before its push must be visible to the worker.
struct Job {
    number: u64,
    written: UnsafeCell<u64>,
}

trait Listed: Send + Sync {
    fn number(&self) -> u64;
    fn read(&self) -> u64;
}

// SAFETY: the cell is written before the push and read after the take; the model checks just that.
unsafe impl Sync for Job {}

impl Listed for Node<Job, dyn Listed> {
    fn number(&self) -> u64 {
        self.number
    }

    fn read(&self) -> u64 {
        // SAFETY: loom ends the model if this races with the write.
        self.written.with(|written| unsafe { *written })
    }
}

impl Erase<dyn Listed> for Job {
    fn erase(node: Arc<Node<Self, dyn Listed>>) -> Arc<dyn Listed> {
        node
    }
}

struct Worker {
    list: ReadyList<dyn Listed>,
    thread: thread::Thread,
    /// Set by whoever must wake the worker; outside the model, because parking needs nothing more.
    woken: AtomicBool,
}

impl Worker {
    fn push(&self, number: u64) {
        let node = Arc::new(Node::new(Job { number, written: UnsafeCell::new(0) }));
        // SAFETY: not pushed yet.
        node.written.with_mut(|written| unsafe { *written = number });
        let wake = self.list.push(node);
        self.wake(wake);
    }

    fn wake(&self, wake: bool) {
        if wake {
            assert!(!self.woken.swap(true, Ordering::AcqRel), "two threads were told to wake");
            self.thread.unpark();
        }
    }

    fn sleep(&self) {
        while !self.woken.swap(false, Ordering::AcqRel) {
            thread::park();
        }
    }

    /// Takes and sleeps until `count` nodes came out; their numbers in this order.
    fn work(&self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        let mut taken = Vec::new();
        while numbers.len() < count {
            self.list.take(&mut taken);
            for node in taken.drain(..) {
                assert_eq!(node.read(), node.number());
                numbers.push(node.number());
            }
            if numbers.len() < count && self.list.try_sleep() {
                self.sleep();
            }
        }
        numbers
    }
}

fn worker() -> Arc<Worker> {
    Arc::new(Worker { list: ReadyList::new(), thread: thread::current(), woken: AtomicBool::new(false) })
}

fn spawn(worker: &Arc<Worker>, run: impl FnOnce(&Worker) + 'static) -> thread::JoinHandle<()> {
    let worker = Arc::clone(worker);
    thread::spawn(move || run(&worker))
}

#[test]
fn two_pushers_and_a_worker_that_sleeps() {
    explore("two_pushers_and_a_worker_that_sleeps", 3, || {
        let worker = worker();
        let first = spawn(&worker, |worker| {
            worker.push(1);
            worker.push(2);
        });
        let second = spawn(&worker, |worker| worker.push(3));
        let mut numbers = worker.work(3);
        first.join().unwrap();
        second.join().unwrap();
        let place = |number| numbers.iter().position(|one| *one == number);
        assert!(place(1) < place(2), "a thread's pushes changed places: {numbers:?}");
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(worker.list.is_empty());
    });
}

/// A command for the worker itself comes by `rouse`: it and a push may both find the worker asleep, and one of them wakes it.
#[test]
fn a_push_and_a_rouse_wake_once() {
    explore("a_push_and_a_rouse_wake_once", 3, || {
        let worker = worker();
        let pusher = spawn(&worker, |worker| worker.push(1));
        let rouser = spawn(&worker, |worker| worker.wake(worker.list.rouse()));
        assert_eq!(worker.work(1), [1]);
        pusher.join().unwrap();
        rouser.join().unwrap();
    });
}

/// A runtime ends while a producer is late, and so is its worker, which user code has held: the list keeps no node.
#[test]
fn an_end_against_a_push_and_a_late_take_keeps_nothing() {
    explore("an_end_against_a_push_and_a_late_take_keeps_nothing", 3, || {
        let worker = worker();
        let node = Arc::new(Node::new(Job { number: 1, written: UnsafeCell::new(1) }));
        let late = Arc::clone(&node);
        let pusher = spawn(&worker, move |worker| assert!(!worker.list.push(late)));
        let ender = spawn(&worker, |worker| drop(worker.list.end()));
        let mut taken = Vec::new();
        worker.list.take(&mut taken);
        drop(taken);
        pusher.join().unwrap();
        ender.join().unwrap();
        assert_eq!(Arc::strong_count(&node), 1, "the list keeps a node that nobody takes");
        assert!(worker.list.is_empty() && !worker.list.try_sleep());
    });
}
