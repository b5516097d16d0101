//! Compares the candidates for the hand-off queue and for the publication cell with each other, raw: no runtime, no metrics.
//!
//! The library's own are compiled from their sources, so that nothing in the library is made visible for a benchmark.

mod cells;
#[allow(
    clippy::unwrap_used,
    clippy::large_enum_variant,
    reason = "they are judged where they belong, in the library"
)]
#[allow(dead_code, reason = "a part of the library's sources, not all of which a benchmark needs")]
#[path = "../../../../../src/queue/mod.rs"]
#[rustfmt::skip]
mod queue;
mod queues;
mod streams;
#[allow(dead_code, unused_imports, reason = "as above")]
#[path = "../../../../../src/sync/mod.rs"]
#[rustfmt::skip]
mod sync;

use rivals::Failure;
use rivals::clocks;
use rivals::machine;
use rivals::output::aligned;
use std::io::Write;

fn main() -> Result<(), Failure> {
    let machine = machine::describe();
    let cores = clocks::cores();
    print(&format!("{cores} core(s), {}, load average {}\n", machine["cpu"], machine["load_average"]))?;
    print("\nHand-off, 24-byte events, capacity 8,192; medians\n\n")?;
    print(&aligned(&queues::compare()?, 1..9))?;
    print(streams::LEGEND)?;
    print("\nPublication, a payload of 128 bytes; medians, ns of the caller's thread CPU\n\n")?;
    print(&aligned(&cells::compare(), 1..6))?;
    print(cells::LEGEND)
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
