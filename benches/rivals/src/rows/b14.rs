//! B14: what a publication costs beside 256 threads that read.

use crate::Failure;
use crate::event::Saved;
use crate::rounds::Round;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use crate::subject::Subject;
use crate::threads::Threads;
use mvx_metrics::Recorder;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

const READERS: u64 = 256;

/// Between two reads of a reader.
const APART: Duration = Duration::from_millis(4);

/// Publications of a round.
const PASSES: u64 = 4_000;

/// A round starts all the readers anew, so fewer do.
const MOST_ROUNDS: usize = 15;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let (subject, worker) = Threads::started_by(Subject::start)?;
    let reads = AtomicU64::new(0);
    let figures = interleave(
        rounds.min(MOST_ROUNDS),
        || beside(&subject.recorder, &reads, || passes(&subject.recorder, &worker)),
        || passes(&subject.recorder, &worker),
    )?;
    subject.finish()?;
    let reads = reads.into_inner() / rounds.min(MOST_ROUNDS) as u64;
    Ok(Row {
        id: "B14",
        what: "an event taken and published, 256 threads reading by turns; nobody reading",
        unit: "ns worker CPU/publication",
        figures,
        reading: Reading::Ratio,
        bar: 3.0,
        threads: 2,
        unchecked: None,
        remarks: vec![format!("reads beside the {PASSES} publications of a round: {reads}")],
    })
}

/// Each event is a publication of its own, since it is waited for.
fn passes(recorder: &Recorder<Saved>, worker: &Threads) -> Result<Round, Failure> {
    let before = worker.cpu()?;
    for number in 0..PASSES {
        recorder.register_event(Saved::numbered(number));
        recorder.flush_blocking(Duration::from_secs(10))?;
    }
    Ok(Round::Figure((worker.cpu()? - before) as f64 / PASSES as f64))
}

/// Runs `work` while many threads read, each of which has read before it begins.
fn beside<R>(recorder: &Recorder<Saved>, reads: &AtomicU64, work: impl FnOnce() -> R) -> R {
    let (begun, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let read = || {
        drop(black_box(recorder.snapshot()));
        begun.fetch_add(1, Ordering::AcqRel);
        while !over.load(Ordering::Acquire) {
            thread::sleep(APART);
            drop(black_box(recorder.snapshot()));
            reads.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        (0..READERS).for_each(|_| drop(scope.spawn(read)));
        while begun.load(Ordering::Acquire) < READERS {
            thread::sleep(Duration::from_millis(1));
        }
        let done = work();
        over.store(true, Ordering::Release);
        done
    })
}
