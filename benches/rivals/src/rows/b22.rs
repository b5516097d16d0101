//! B22: a clean release build without default features, against the crate `metrics`.

use crate::Failure;
use crate::rounds::Round;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

/// Each is a build on both sides, so fewer do; the least that have a bound.
const MOST_ROUNDS: usize = 6;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let place = std::env::temp_dir().join(format!("rivals-build-{}", std::process::id()));
    let figures = interleave(
        rounds.min(MOST_ROUNDS),
        || build(&place, &["-p", "mvx-metrics", "--lib", "--no-default-features"]),
        || build(&place, &["-p", "metrics", "--lib"]),
    );
    fs::remove_dir_all(&place).or_else(|gone| if place.exists() { Err(gone) } else { Ok(()) })?;
    Ok(Row {
        id: "B22",
        what: "clean release build, no default features, dependencies included; crate metrics",
        unit: "s",
        figures: figures?,
        reading: Reading::Ratio,
        bar: 1.0,
        threads: 1,
        unchecked: None,
        remarks: Vec::new(),
    })
}

/// Seconds of a build into an empty folder, from sources that are on the disk already.
fn build(place: &Path, arguments: &[&str]) -> Result<Round, Failure> {
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--offline", "--quiet", "--target-dir"]).arg(place).args(arguments);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let started = Instant::now();
    let status = command.status()?;
    let took = started.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("cargo build {} failed: {status}", arguments.join(" ")).into());
    }
    Ok(Round::Figure(took))
}
