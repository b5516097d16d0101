//! The candidates for the publication cell.

use crate::queue::published::Published;
use crate::queue::published::Shared;
use arc_swap::ArcSwap;
use rivals::clocks;
use rivals::stats::median;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;

pub const LEGEND: &str = "read: one reader, nobody writes. publish: a fresh value and the end of the old one; before other threads have read, and after \
    16 and 256 threads that still live have. read, writer: one reader while another thread publishes without pause.\n";

const HEAD: [&str; 6] = ["candidate", "read", "publish", "after 16", "after 256", "read, writer"];

const READS: u64 = 100_000;
const PUBLICATIONS: u64 = 10_000;
const ROUNDS: usize = 9;

type Payload = [u64; 16];

trait Cell: Sync {
    fn new(payload: Payload) -> Self;
    fn read(&self) -> u64;
    fn publish(&self, payload: Payload);
}

/// One line per candidate.
pub fn compare() -> Vec<[String; 6]> {
    vec![
        HEAD.map(str::to_owned),
        line::<Published<Payload>>("Published (ours)"),
        line::<ArcSwap<Payload>>("arc-swap load_full, store"),
        line::<RwLock<Arc<Payload>>>("RwLock<Arc>"),
        line::<Mutex<Arc<Payload>>>("Mutex<Arc>"),
    ]
}

fn line<C: Cell>(name: &str) -> [String; 6] {
    let cell = C::new([0; 16]);
    let reads = || {
        nanos_per(READS, |_| {
            black_box(cell.read());
        })
    };
    let publications = || nanos_per(PUBLICATIONS, |number| cell.publish([number; 16]));
    let (read, publish) = (rounds(reads), rounds(publications));
    let after = |readers| while_others_have_read(&cell, readers, || rounds(publications));
    let (after_16, after_256) = (after(16), after(256));
    let contended = while_another_publishes(&cell, || rounds(reads));
    let figures = [read, publish, after_16, after_256, contended];
    let mut cells = [const { String::new() }; 6];
    cells[0] = name.to_owned();
    cells[1..].iter_mut().zip(figures).for_each(|(cell, nanos)| *cell = format!("{nanos:.1}"));
    cells
}

fn rounds(measure: impl Fn() -> f64) -> f64 {
    median(&(0..ROUNDS).map(|_| measure()).collect::<Vec<_>>())
}

#[inline(never)]
fn nanos_per(count: u64, work: impl Fn(u64)) -> f64 {
    let before = clocks::thread_cpu();
    (0..count).for_each(work);
    (clocks::thread_cpu() - before) as f64 / count as f64
}

/// Runs `measure` while so many threads live that have read the cell once.
fn while_others_have_read<C: Cell>(cell: &C, readers: usize, measure: impl Fn() -> f64) -> f64 {
    thread::scope(|scope| {
        let (ready, all_ready) = mpsc::channel();
        let leave: Vec<mpsc::Sender<()>> = (0..readers)
            .map(|_| {
                let (leave, left) = mpsc::channel::<()>();
                let ready = ready.clone();
                scope.spawn(move || {
                    black_box(cell.read());
                    let _ = ready.send(());
                    let _ = left.recv();
                });
                leave
            })
            .collect();
        for _ in 0..readers {
            let _ = all_ready.recv();
        }
        let nanos = measure();
        drop(leave);
        nanos
    })
}

fn while_another_publishes<C: Cell>(cell: &C, measure: impl Fn() -> f64) -> f64 {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                number += 1;
                cell.publish([number; 16]);
            }
        });
        let nanos = measure();
        over.store(true, Ordering::Relaxed);
        nanos
    })
}

impl Cell for Published<Payload> {
    fn new(payload: Payload) -> Self {
        Self::new(Shared::new(payload))
    }

    fn read(&self) -> u64 {
        self.load()[0]
    }

    fn publish(&self, payload: Payload) {
        drop(self.replace(Shared::new(payload)));
    }
}

impl Cell for ArcSwap<Payload> {
    fn new(payload: Payload) -> Self {
        Self::from_pointee(payload)
    }

    fn read(&self) -> u64 {
        self.load_full()[0]
    }

    fn publish(&self, payload: Payload) {
        self.store(Arc::new(payload));
    }
}

impl Cell for RwLock<Arc<Payload>> {
    fn new(payload: Payload) -> Self {
        Self::new(Arc::new(payload))
    }

    fn read(&self) -> u64 {
        let value = Arc::clone(&self.read().unwrap_or_else(PoisonError::into_inner));
        value[0]
    }

    fn publish(&self, payload: Payload) {
        let fresh = Arc::new(payload);
        let old = std::mem::replace(&mut *self.write().unwrap_or_else(PoisonError::into_inner), fresh);
        drop(old);
    }
}

impl Cell for Mutex<Arc<Payload>> {
    fn new(payload: Payload) -> Self {
        Self::new(Arc::new(payload))
    }

    fn read(&self) -> u64 {
        let value = Arc::clone(&self.lock().unwrap_or_else(PoisonError::into_inner));
        value[0]
    }

    fn publish(&self, payload: Payload) {
        let fresh = Arc::new(payload);
        let old = std::mem::replace(&mut *self.lock().unwrap_or_else(PoisonError::into_inner), fresh);
        drop(old);
    }
}
