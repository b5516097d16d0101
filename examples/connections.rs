//! What scale looks like: 100,000 connections, each with a recorder of its own.
//!
//! Several threads open connections, move bytes over them and close some to open others, while the main thread shows once in a while how many there are,
//! which ten have moved most, and what memory it takes. A connection's recorder goes with it, and what it counted stays in the totals: at the end
//! these are exactly what the threads say that they did.
//!
//! ```sh
//! cargo run --release --example connections            # 100,000 connections, five looks
//! cargo run --release --example connections -- 1000 2  # so many connections, so many looks
//! ```

use mvx_metrics::Fold;
use mvx_metrics::OwnedRecorder;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::prelude::*;
use std::io;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What happens on a connection.
#[derive(MetricEvent)]
enum Traffic {
    Opened,
    Moved { bytes: u64 },
    Closed,
}

/// What the example can fail with.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Threads that work.
const THREADS: u64 = 4;

/// Connections that a thread closes, and opens others for, in one round over all of its own.
const CHURN: u64 = 16;

/// How long a look is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the example.
///
/// # Errors
///
/// If an argument is no number, or a total is not what the threads did.
pub fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse());
    let connections = numbers.next().transpose()?.unwrap_or(100_000);
    let looks = numbers.next().transpose()?.unwrap_or(5);
    run(&mut io::stdout().lock(), connections, looks)
}

/// What a thread did.
#[derive(Clone, Copy, Default)]
struct Done {
    opened: u64,
    closed: u64,
    bytes: u64,
}

/// The example, telling what it sees.
///
/// # Errors
///
/// As [`main`].
pub fn run(out: &mut impl Write, connections: u64, looks: u64) -> Result<(), Failure> {
    let runtime = MetricsRuntime::builder("connections").build()?;
    runtime.start()?;
    let over = AtomicBool::new(false);
    let (all_open, opened) = mpsc::channel();
    let done = thread::scope(|scope| -> Result<Done, Failure> {
        let (over, runtime) = (&over, &runtime);
        let workers: Vec<_> = (0..THREADS)
            .map(|number| {
                let all_open = all_open.clone();
                let own = connections / THREADS + u64::from(number < connections % THREADS);
                scope.spawn(move || work(runtime, number, own, over, &all_open))
            })
            .collect();
        drop(all_open);
        // Whatever fails here, the threads are told to end.
        let shown = show_all(out, runtime, looks, &opened);
        over.store(true, Ordering::Release);
        let mut sum = Done::default();
        for worker in workers {
            let done = worker.join().map_err(|_| "a thread panicked")??;
            sum.opened += done.opened;
            sum.closed += done.closed;
            sum.bytes += done.bytes;
        }
        shown.map(|()| sum)
    })?;
    let report = runtime.shutdown(PATIENCE)?;
    let lost = report.accounts().dropped.total() + report.accounts().rejected.total();
    let snapshot = runtime.collect();
    let total = |name| total(&snapshot, name);
    writeln!(
        out,
        "at the end: {} opened, {} closed, {} bytes, {lost} events lost",
        total("connections.opened"),
        total("connections.closed"),
        total("connections.bytes")
    )?;
    let counted = [total("connections.opened"), total("connections.closed"), total("connections.bytes")];
    if counted != [done.opened, done.closed, done.bytes] || lost > 0 {
        return Err(format!("the totals are not what was done: {counted:?}").into());
    }
    Ok(())
}

/// Opens connections, and then moves bytes and replaces some of them until it is over.
fn work(
    runtime: &MetricsRuntime,
    thread: u64,
    connections: u64,
    over: &AtomicBool,
    all_open: &mpsc::Sender<()>,
) -> Result<Done, Failure> {
    let mut done = Done::default();
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(connect(runtime, thread, &mut done)?);
    }
    let _ = all_open.send(());
    let mut round = 0;
    while !over.load(Ordering::Acquire) && !open.is_empty() {
        for (at, connection) in open.iter().enumerate() {
            // Some move far more than others.
            let bytes = 1 + 1_000_000 / (at as u64 + 1);
            send(connection, Traffic::Moved { bytes })?;
            done.bytes += bytes;
            if at % 1_024 == 0 && over.load(Ordering::Acquire) {
                break;
            }
        }
        let replacements = CHURN.min(connections);
        for replaced in 0..replacements {
            let place = ((round * CHURN + replaced) % connections) as usize;
            let next = connect(runtime, thread, &mut done)?;
            if let Some(connection) = open.get_mut(place) {
                let closed = std::mem::replace(connection, next);
                send(&closed, Traffic::Closed)?;
                done.closed += 1;
                if replaced + 1 < replacements {
                    // Its guard's end closes and removes the recorder; nobody waits.
                    drop(closed);
                } else {
                    // Once in a round the thread does: so it never closes more than the worker comes to.
                    closed.close(PATIENCE)?;
                }
            }
        }
        round += 1;
    }
    Ok(done)
}

fn connect(
    runtime: &MetricsRuntime,
    thread: u64,
    done: &mut Done,
) -> Result<OwnedRecorder<Traffic>, Failure> {
    done.opened += 1;
    let connection = runtime
        .recorder::<Traffic>(&format!("connection {thread}.{}", done.opened))
        .counter("connections.opened", |c| c.on(&["traffic.opened"]))
        .counter("connections.closed", |c| c.on(&["traffic.closed"]))
        .counter("connections.bytes", |c| {
            c.value(|e| if let Traffic::Moved { bytes } = e { Some(*bytes) } else { None })
        })
        .up_down("connections.open", |u| {
            u.value(|e| match e {
                Traffic::Opened => Some(1),
                Traffic::Closed => Some(-1),
                Traffic::Moved { .. } => None,
            })
        })
        .create_owned()?;
    send(&connection, Traffic::Opened)?;
    Ok(connection)
}

/// Waits for room where a queue is full: here every event is to count.
fn send(connection: &OwnedRecorder<Traffic>, event: Traffic) -> Result<(), Failure> {
    connection.register_event_blocking(event, PATIENCE).map_err(|refused| refused.to_string().into())
}

/// Shows what there is, once in a while, from when all connections are open.
fn show_all(
    out: &mut impl Write,
    runtime: &MetricsRuntime,
    looks: u64,
    opened: &mpsc::Receiver<()>,
) -> Result<(), Failure> {
    for _ in 0..THREADS {
        opened.recv_timeout(PATIENCE)?;
    }
    for look in 1..=looks {
        let snapshot = runtime.collect();
        let open = snapshot.recorders().len() as u64;
        write!(
            out,
            "look {look}: {open} connections, {} bytes moved",
            total(&snapshot, "connections.bytes")
        )?;
        if let Some(resident) = resident() {
            write!(out, ", {} MiB of memory, {} bytes a connection", resident >> 20, resident / open.max(1))?;
        }
        writeln!(out)?;
        for (recorder, bytes) in snapshot.top("connections.bytes", 10) {
            writeln!(out, "  {:<24} {bytes:>14} bytes", recorder.id())?;
        }
        if look < looks {
            // All senders are gone by now or will send no more: this waits, and no more.
            let _ = opened.recv_timeout(LOOK);
        }
    }
    Ok(())
}

/// A counter over all connections, those that are gone included.
fn total(snapshot: &RuntimeSnapshot, name: &str) -> u64 {
    let families = snapshot.families(Fold::Group);
    let family = families.iter().find(|family| family.descriptor().name().as_str() == name);
    let parts = family.into_iter().flat_map(|family| family.parts());
    parts.flat_map(|part| part.family().series()).filter_map(|series| series.value().counter()).sum()
}

/// Bytes of this process in memory, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
