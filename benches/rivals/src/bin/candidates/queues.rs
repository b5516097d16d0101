//! The candidates for the hand-off queue.

use crate::queue::HandOff;
use crate::queue::Kind;
use crate::streams;
use crate::streams::Drain;
use crate::streams::Push;
use crossbeam_queue::ArrayQueue;
use rivals::Failure;
use rivals::event::Saved;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc as std_mpsc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use tokio::sync::mpsc as tokio_mpsc;

pub const CAPACITY: usize = 8_192;

/// Events that a consumer takes at once, where it can.
const BATCH: usize = 256;

/// One line per candidate.
pub fn compare() -> Result<Vec<[String; 9]>, Failure> {
    Ok(vec![
        streams::HEAD.map(str::to_owned),
        streams::line("segmented ring (ours)", || hand_off(Kind::Ring))?,
        streams::line("lock, deque (our twin)", || hand_off(Kind::LockedNewest))?,
        streams::line("lock, swapped buffer", swapped)?,
        streams::line("crossbeam ArrayQueue", array_queue)?,
        streams::line("crossbeam-channel", crossbeam)?,
        streams::line("flume", flume_bounded)?,
        streams::line("tokio mpsc, recv_many", tokio_bounded)?,
        streams::line("std sync_channel", std_bounded)?,
    ])
}

type OwnQueue = Arc<HandOff<Saved, ()>>;

fn hand_off(kind: Kind) -> (OwnQueue, OwnQueue) {
    let queue = Arc::new(HandOff::new(kind, CAPACITY as u64, ()));
    (Arc::clone(&queue), queue)
}

impl Push for OwnQueue {
    #[inline(always)]
    fn push(&self, event: Saved) -> bool {
        // Its consumer polls, like all others here, so there is nothing to schedule.
        HandOff::push(self, event).is_ok()
    }
}

impl Drain for OwnQueue {
    fn drain(&mut self) -> u64 {
        let taken = self.sit(|mut consumer, ()| {
            let run = consumer.run(BATCH as u64);
            for at in 0..run.len() {
                black_box(run.get(at).copied());
            }
            let count = run.len() as u64;
            if count > 0 && consumer.finish(count).is_err() { 0 } else { count }
        });
        taken.unwrap_or(0)
    }
}

type Buffer = Arc<Mutex<Vec<Saved>>>;

struct Swapped {
    shared: Buffer,
    own: Vec<Saved>,
}

fn swapped() -> (Buffer, Swapped) {
    let shared = Arc::new(Mutex::new(Vec::with_capacity(CAPACITY)));
    (Arc::clone(&shared), Swapped { shared, own: Vec::with_capacity(CAPACITY) })
}

impl Push for Buffer {
    #[inline(always)]
    fn push(&self, event: Saved) -> bool {
        let mut buffer = self.lock().unwrap_or_else(PoisonError::into_inner);
        let room = buffer.len() < CAPACITY;
        if room {
            buffer.push(event);
        }
        room
    }
}

impl Drain for Swapped {
    fn drain(&mut self) -> u64 {
        std::mem::swap(&mut self.own, &mut *self.shared.lock().unwrap_or_else(PoisonError::into_inner));
        use_up(&mut self.own)
    }
}

fn array_queue() -> (Arc<ArrayQueue<Saved>>, Arc<ArrayQueue<Saved>>) {
    let queue = Arc::new(ArrayQueue::new(CAPACITY));
    (Arc::clone(&queue), queue)
}

impl Push for Arc<ArrayQueue<Saved>> {
    #[inline(always)]
    fn push(&self, event: Saved) -> bool {
        ArrayQueue::push(self, event).is_ok()
    }
}

impl Drain for Arc<ArrayQueue<Saved>> {
    fn drain(&mut self) -> u64 {
        one_by_one(|| self.pop())
    }
}

fn crossbeam() -> (crossbeam_channel::Sender<Saved>, crossbeam_channel::Receiver<Saved>) {
    crossbeam_channel::bounded(CAPACITY)
}

impl Push for crossbeam_channel::Sender<Saved> {
    #[inline(always)]
    fn push(&self, event: Saved) -> bool {
        self.try_send(event).is_ok()
    }
}

impl Drain for crossbeam_channel::Receiver<Saved> {
    fn drain(&mut self) -> u64 {
        one_by_one(|| self.try_recv().ok())
    }
}

fn flume_bounded() -> (flume::Sender<Saved>, flume::Receiver<Saved>) {
    flume::bounded(CAPACITY)
}

impl Push for flume::Sender<Saved> {
    #[inline(always)]
    fn push(&self, event: Saved) -> bool {
        self.try_send(event).is_ok()
    }
}

impl Drain for flume::Receiver<Saved> {
    fn drain(&mut self) -> u64 {
        let mut count = 0;
        for event in flume::Receiver::drain(self) {
            black_box(event);
            count += 1;
        }
        count
    }
}

struct TokioReceiver {
    receiver: tokio_mpsc::Receiver<Saved>,
    batch: Vec<Saved>,
}

fn tokio_bounded() -> (tokio_mpsc::Sender<Saved>, TokioReceiver) {
    let (sender, receiver) = tokio_mpsc::channel(CAPACITY);
    (sender, TokioReceiver { receiver, batch: Vec::with_capacity(BATCH) })
}

impl Push for tokio_mpsc::Sender<Saved> {
    #[inline(always)]
    fn push(&self, event: Saved) -> bool {
        self.try_send(event).is_ok()
    }
}

impl Drain for TokioReceiver {
    fn drain(&mut self) -> u64 {
        let mut context = Context::from_waker(Waker::noop());
        match self.receiver.poll_recv_many(&mut context, &mut self.batch, BATCH) {
            Poll::Ready(_) => use_up(&mut self.batch),
            Poll::Pending => 0,
        }
    }
}

fn std_bounded() -> (std_mpsc::SyncSender<Saved>, std_mpsc::Receiver<Saved>) {
    std_mpsc::sync_channel(CAPACITY)
}

impl Push for std_mpsc::SyncSender<Saved> {
    #[inline(always)]
    fn push(&self, event: Saved) -> bool {
        self.try_send(event).is_ok()
    }
}

impl Drain for std_mpsc::Receiver<Saved> {
    fn drain(&mut self) -> u64 {
        one_by_one(|| self.try_recv().ok())
    }
}

fn one_by_one(mut next: impl FnMut() -> Option<Saved>) -> u64 {
    let mut count = 0;
    while count < BATCH as u64 {
        let Some(event) = next() else { break };
        black_box(event);
        count += 1;
    }
    count
}

fn use_up(events: &mut Vec<Saved>) -> u64 {
    let count = events.len() as u64;
    for event in events.drain(..) {
        black_box(event);
    }
    count
}
