//! R12 and R13: every call, made in every place it may be made in, has the outcome that the guide's table says, and none hangs.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod calls;
mod places;

use crate::contexts::calls::CALLS;
use crate::contexts::calls::Call;
use crate::contexts::places::Desk;
use crate::contexts::places::Job;
use crate::contexts::places::PLACES;
use crate::contexts::places::Place;
use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::RecorderState;
use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::thread;
use std::thread::JoinHandle;

/// The guide's chapter: its table is what is tested.
const CHAPTER: &str = include_str!("../../src/docs/contexts.md");

/// The cells of the row that begins with this call.
fn row(call: &str) -> Vec<&'static str> {
    let start = format!("| {call} |");
    let row = CHAPTER.lines().find(|line| line.starts_with(&start));
    let row = row.unwrap_or_else(|| panic!("the chapter has no row for {call}"));
    row.trim_matches('|').split('|').map(str::trim).skip(1).collect()
}

/// Ends the process, with the name of the cell, if a cell takes longer than anything may take.
struct Watchdog {
    cells: Sender<String>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    #[allow(clippy::print_stderr, reason = "the last words of a process that hangs")]
    fn new() -> Self {
        let (cells, names) = mpsc::channel::<String>();
        let thread = thread::spawn(move || {
            let mut name = String::from("nothing");
            loop {
                match names.recv_timeout(2 * PATIENCE) {
                    Ok(next) => name = next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("hangs: {name}");
                        std::process::abort();
                    }
                }
            }
        });
        Self { cells, thread }
    }
}

/// Makes one call in one place, and sees that the recorder's books are right after it and that the runtime comes to its end.
fn outcome(place: &Place, call: &'static Call) -> String {
    let (desk, gate) = (Desk::default(), Gate::default());
    let subject = place.build(&desk);
    let recorder = subject.recorder.clone();
    let kept = (!call.drops_runtime).then(|| subject.runtime.clone());
    if call.holds_worker && place.column == 0 {
        let held = subject.runtime.recorder("held").metric(stopper("held", 0, &gate)).create().unwrap();
        held.register_event(Number(0));
        gate.until_reached();
    }
    let (sender, outcomes) = mpsc::channel();
    place.make(Job { subject, call, outcome: sender }, &desk);
    let outcome = outcomes.recv_timeout(PATIENCE).unwrap_or_else(|error| error.to_string());
    gate.open();
    if let Some(runtime) = kept {
        let report = runtime.shutdown(PATIENCE).unwrap();
        assert!(report.is_complete(), "{report:?}");
    }
    until("the recorder comes to its end", || recorder.state() == RecorderState::Stopped);
    assert!(recorder.accounts().is_settled(), "{:?}", recorder.accounts());
    outcome
}

#[cfg(panic = "unwind")]
#[test]
fn every_call_has_its_outcome_in_every_place() {
    let watchdog = Watchdog::new();
    let mut wrong = Vec::new();
    for call in CALLS {
        let row = row(call.name);
        assert_eq!(row.len(), 3, "{row:?}");
        for place in PLACES {
            let cell = format!("{} {}", call.name, place.name);
            watchdog.cells.send(cell.clone()).unwrap();
            let (found, expected) = (outcome(place, call), row[place.column]);
            if found != expected {
                wrong.push(format!("{cell}: {found} instead of {expected}"));
            }
        }
    }
    drop(watchdog.cells);
    watchdog.thread.join().unwrap();
    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_chapter_lists_every_call_and_no_other() {
    let rows = CHAPTER.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, CALLS.len());
}
