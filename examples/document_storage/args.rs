//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    Help,
    Run(Args),
}

/// A run and its settings.
#[derive(Debug)]
pub struct Args {
    pub directory: PathBuf,
    /// Where the storage is kept; a temporary directory otherwise.
    pub into: Option<PathBuf>,
    pub json: bool,
    pub hold: Option<Duration>,
    /// Where `/metrics` is served.
    pub serve: Option<SocketAddr>,
    pub threads: usize,
    pub tasks: usize,
}

/// What `--help` prints.
pub const HELP: &str = "\
Stores every file below a directory into a content-addressed storage, and shows what its recorders saw.

Usage: document_storage [OPTIONS] [DIR]

  DIR                the directory to store; the project's own sources unless given

Options:
  --into PATH        keep the storage at PATH; unless given, it is temporary and removed at the end
  --threads N        plain threads that store, 0 to 256 [default: 4]
  --tasks N          tokio tasks that store, 0 to 256 [default: 4]
  --json             print one line of JSON to standard output instead; the progress goes to standard error
  --hold SECONDS     stay alive that long afterwards, with the metrics runtime running; Ctrl-C ends it
  --serve ADDR       serve /metrics to Prometheus meanwhile, such as at 127.0.0.1:0; prints `serving http://...`
  -h, --help         print this

A file that cannot be stored is counted with its cause, and is no failure of the program. Duplicates count as stored.
Ctrl-C hands out no more files, finishes those in work and prints exact accounts; a second one gives up.

Exit status: 0 done, 1 failed, 2 not understood or no such directory, 130 interrupted.
";

/// The largest number of threads, and of tasks.
const MOST: usize = 256;

/// Reads the command line.
pub fn parse(mut parser: lexopt::Parser) -> Result<Asked, lexopt::Error> {
    use lexopt::prelude::*;
    let mut directory = None;
    let mut args = Args {
        directory: PathBuf::new(),
        into: None,
        json: false,
        hold: None,
        serve: None,
        threads: 4,
        tasks: 4,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Asked::Help),
            Long("json") => args.json = true,
            Long("into") => args.into = Some(parser.value()?.into()),
            Long("hold") => args.hold = Some(parser.value()?.parse_with(seconds)?),
            Long("serve") => args.serve = Some(parser.value()?.parse_with(address)?),
            Long("threads") => args.threads = parser.value()?.parse_with(workers)?,
            Long("tasks") => args.tasks = parser.value()?.parse_with(workers)?,
            Value(path) if directory.is_none() => directory = Some(PathBuf::from(path)),
            other => return Err(other.unexpected()),
        }
    }
    if args.threads + args.tasks == 0 {
        return Err("nobody is left to store anything: give --threads or --tasks at least 1".into());
    }
    args.directory = directory.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/src").into());
    Ok(Asked::Run(args))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "write a number of seconds that is not negative, such as 60".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write an address and a port, such as 127.0.0.1:9464; port 0 takes a free one".to_owned()
    })
}

fn workers(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count <= MOST);
    count.ok_or_else(|| format!("write a whole number from 0 to {MOST}"))
}
