//! Stores every file below a directory into a content-addressed storage, and shows what its recorders saw.
//!
//! ```sh
//! cargo run --release --example document_storage -- [DIR]
//! ```
//!
//! Where to look: `storage.rs` is the production code and knows a sink alone, `events.rs` says what can happen,
//! `recorders.rs` what is measured of it, `totals.rs` reads snapshots, and `serve.rs` shows them to Prometheus. The rest is a program around them.

mod args;
mod events;
mod figures;
mod interrupts;
mod job;
mod json;
mod recorders;
mod report;
mod serve;
mod storage;
mod totals;
mod view;
mod walk;
mod workers;

use crate::args::Asked;
use crate::job::Ending;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse(lexopt::Parser::from_env()) {
        Err(mistake) => complain(2, &format!("{mistake}; --help shows what there is")),
        Ok(Asked::Help) => match io::stdout().write_all(args::HELP.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(1, &error),
        },
        Ok(Asked::Run(args)) => match job::run(&args) {
            Ok(Ending::Done) => ExitCode::SUCCESS,
            Ok(Ending::NoDirectory(why)) => complain(2, &why),
            Ok(Ending::Interrupted) => ExitCode::from(130),
            Ok(Ending::GaveUp) => complain(130, &"interrupted twice: gave up what was in work"),
            Ok(Ending::Wrong(found)) => complain(1, &found.join("\n")),
            // Whoever read the output has seen enough; that needs no message.
            Err(error) if is_broken_pipe(&*error) => ExitCode::FAILURE,
            Err(error) => complain(1, &error),
        },
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Says on standard error why the program does not end well, if anybody listens.
fn complain(code: u8, why: &dyn Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "document_storage: {why}");
    ExitCode::from(code)
}
