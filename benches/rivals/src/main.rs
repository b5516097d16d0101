//! Measures the budgets of the design and prints them as a table; `--help` tells the options.

use rivals::Failure;
use rivals::allocations::Counting;
use rivals::clocks;
use rivals::machine;
use rivals::output;
use rivals::rounds::ROUNDS;
use rivals::rows;
use rivals::rows::Measure;
use rivals::rows::Row;
use serde_json::Value;
use std::io::Write;
use std::process::Command;
use std::process::Stdio;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HELP: &str = "\
rivals [--json] [--one-core] [--rows B1,B2,..] [--rounds N]

  --json       print one JSON object as the last line, with every round's figure
  --one-core   measure everything a second time on one core
  --rows       only these rows
  --rounds     rounds per row, instead of the 31 that the bound is meant for
";

#[derive(Clone, Default)]
struct Options {
    json: bool,
    one_core: bool,
    /// Set by this program for the copy of itself that measures on one core.
    pinned: bool,
    /// Set by this program for the copies of itself that measure one row each.
    alone: bool,
    rows: Option<Vec<String>>,
    rounds: Option<usize>,
}

fn main() -> Result<(), Failure> {
    // B21's receiver, which is this program again.
    #[cfg(feature = "otlp")]
    if std::env::args().nth(1).as_deref() == Some("--sink") {
        return rows::b21::sink();
    }
    // B23's process, which is this program again.
    if std::env::args().nth(1).as_deref() == Some("--burst") {
        return rows::b23::burst();
    }
    let Some(options) = parse(std::env::args().skip(1))? else { return print(HELP) };
    if options.pinned {
        clocks::pin_to_one_core()?;
    }
    let machine = machine::describe();
    if options.alone {
        return print(&format!("{}\n", output::object(&machine, &measure_here(&options)?)));
    }
    print(&format!("{}\n\n", heading(&machine)))?;
    let rows = measure(&options)?;
    print(&format!("{}\n", output::table(&rows)))?;
    let mut object = output::object(&machine, &rows);
    if options.one_core {
        object["one_core"] = measure_on_one_core(&options)?;
    }
    if options.json { print(&format!("{object}\n")) } else { Ok(()) }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, Failure> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => options.json = true,
            "--one-core" => options.one_core = true,
            "--pinned" => options.pinned = true,
            "--alone" => options.alone = true,
            "--rows" => {
                let names = arguments.next().ok_or("--rows takes a list such as B1,B12")?;
                options.rows = Some(names.split(',').map(str::to_owned).collect());
            }
            "--rounds" => options.rounds = Some(arguments.next().ok_or("--rounds takes a number")?.parse()?),
            "--help" => return Ok(None),
            other => return Err(format!("unknown option {other}; --help lists them").into()),
        }
    }
    Ok(Some(options))
}

fn heading(machine: &Value) -> String {
    let cores = clocks::cores();
    format!("{cores} core(s), {}, load average {}", machine["cpu"], machine["load_average"])
}

fn wanted(options: &Options) -> impl Iterator<Item = (&'static str, Measure)> + '_ {
    let is_wanted = |id: &str| options.rows.as_ref().is_none_or(|rows| rows.iter().any(|row| row == id));
    rows::ALL.iter().filter(move |(id, _)| is_wanted(id)).copied()
}

fn measure_here(options: &Options) -> Result<Vec<Row>, Failure> {
    let rounds = options.rounds.unwrap_or(ROUNDS);
    let mut all = Vec::new();
    for (_, measure) in wanted(options) {
        all.extend(measure.rows(rounds)?);
    }
    Ok(all)
}

/// Each in a process of its own: what one leaves behind, threads that end and a heap with holes, is nothing to the next.
fn measure(options: &Options) -> Result<Vec<Row>, Failure> {
    let mut all = Vec::new();
    for (id, _) in wanted(options) {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--alone", "--rows", id]).stderr(Stdio::inherit());
        if let Some(rounds) = options.rounds {
            command.args(["--rounds", &rounds.to_string()]);
        }
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("the process of {id} failed: {}", output.status).into());
        }
        all.extend(output::read(&serde_json::from_slice(&output.stdout)?)?);
    }
    Ok(all)
}

/// Starts this program again, pinned, and shows what it printed; its object is the answer.
fn measure_on_one_core(options: &Options) -> Result<Value, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--pinned", "--json"]).stderr(Stdio::inherit());
    if let Some(rows) = &options.rows {
        command.args(["--rows", &rows.join(",")]);
    }
    if let Some(rounds) = options.rounds {
        command.args(["--rounds", &rounds.to_string()]);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the run on one core failed: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let (table, object) = text.trim_end().rsplit_once('\n').ok_or("the run on one core printed nothing")?;
    print(&format!("{table}\n"))?;
    Ok(serde_json::from_str(object)?)
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
