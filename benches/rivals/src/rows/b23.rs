//! B23: what stays in memory of a burst that filled a thousand queues. In a process of its own, which has nothing else in it.

use crate::Failure;
use crate::allocations;
use crate::event;
use crate::event::Saved;
use crate::gate::Gate;
use crate::rounds::Paired;
use crate::rows::Reading;
use crate::rows::Row;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use std::io::Write;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

const RECORDERS: u64 = 1_000;

/// When the memory is looked at, before the burst and after.
const AFTER: Duration = Duration::from_secs(5);

const PATIENCE: Duration = Duration::from_secs(60);

/// Processes.
const COUNTS: usize = 2;

pub(super) fn measure(_rounds: usize) -> Result<Row, Failure> {
    let (mut figures, mut remarks) = (Paired::default(), Vec::new());
    for _ in 0..COUNTS {
        let child =
            Command::new(std::env::current_exe()?).arg("--burst").stderr(Stdio::inherit()).output()?;
        if !child.status.success() {
            return Err(format!("the process of the burst failed: {}", child.status).into());
        }
        let text = String::from_utf8(child.stdout)?;
        let sizes: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [before, full, after, heap, trimmed] = sizes[..] else {
            return Err(format!("these are not the sizes: {text}").into());
        };
        figures.ours.push(after as f64 / before as f64);
        remarks.push(format!(
            "KiB before {before}, with full queues {full}, 5 s later {after}; of these the burst left {heap} in use on the heap; \
             after malloc_trim, which nobody calls, RSS is {trimmed}"
        ));
    }
    Ok(Row {
        id: "B23",
        what: "RSS 5 s after a burst that filled 1,000 queues, against before it",
        unit: "after / before",
        figures,
        reading: Reading::OursAlone,
        bar: 1.10,
        threads: 1,
        unchecked: None,
        remarks,
    })
}

/// The process's own life: prints KiB before the burst, with full queues, and later; then how much more of the heap is in use than before the
/// burst, and what stays when the C library gives back all that is free.
pub fn burst() -> Result<(), Failure> {
    let runtime = MetricsRuntime::builder("burst").build()?;
    runtime.start()?;
    let recorder = |id| {
        runtime
            .recorder::<Saved>(&format!("burst-{id}"))
            .counter(event::COUNTER, event::define_counter)
            .histogram(event::HISTOGRAM, event::define_histogram)
            .create()
    };
    let recorders: Vec<Recorder<Saved>> = (0..RECORDERS).map(recorder).collect::<Result<_, _>>()?;
    let gate = Gate::of(&runtime)?;
    recorders.iter().for_each(|recorder| recorder.register_event(Saved::numbered(1)));
    runtime.flush_blocking(PATIENCE)?;
    thread::sleep(AFTER);
    let before = resident()?;
    allocations::watch_bytes();
    let full = gate.shut(&runtime, || fill(&recorders))?;
    runtime.flush_blocking(PATIENCE)?;
    thread::sleep(AFTER);
    let after = resident()?;
    let heap = allocations::bytes().max(0) / 1_024;
    allocations::watch_no_more();
    // SAFETY: it may be called at any time, from any thread.
    unsafe { libc::malloc_trim(0) };
    writeln!(std::io::stdout(), "{before} {full} {after} {heap} {}", resident()?)?;
    if !runtime.shutdown(PATIENCE)?.is_complete() {
        return Err("the runtime did not end".into());
    }
    Ok(())
}

/// Fills every queue to the last place; KiB of this process in memory then.
fn fill(recorders: &[Recorder<Saved>]) -> Result<u64, Failure> {
    for recorder in recorders {
        (0..recorder.capacity()).for_each(|number| recorder.register_event(Saved::numbered(number)));
        if recorder.try_register_event(Saved::numbered(0)).is_ok() {
            return Err("a queue was not full".into());
        }
    }
    resident()
}

/// KiB of this process in memory.
fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the kernel says no RSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
