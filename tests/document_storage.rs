//! The example `document_storage`: the program as its users run it, and its parts as they read their snapshots.
#![cfg(all(unix, feature = "runtime", feature = "derive"))]
#![allow(dead_code, reason = "the example's own files are taken in whole, and each is used here in part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's own functions; the example is checked without"
)]

#[path = "../examples/document_storage/events.rs"]
mod events;
#[path = "../examples/document_storage/figures.rs"]
mod figures;
#[path = "../examples/document_storage/recorders.rs"]
mod recorders;
#[path = "../examples/document_storage/storage.rs"]
mod storage;
#[path = "../examples/document_storage/totals.rs"]
mod totals;
#[path = "../examples/document_storage/view.rs"]
mod view;

#[path = "document_storage/fixture.rs"]
mod fixture;
#[path = "document_storage/parts.rs"]
mod parts;
#[path = "document_storage/program.rs"]
mod program;

use crate::fixture::Fixture;
use crate::fixture::Recount;
use crate::program::Program;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn every_file_of_a_directory_is_stored_or_counted_as_failed() {
    let fixture = Fixture::whole();
    let into = tempfile::tempdir().unwrap();
    let (code, object) = Program::json(&[fixture.path(), Path::new("--into"), into.path()]);
    assert_eq!(code, Some(0));

    let recount = Recount::of(fixture.path());
    let total = |key: &str| object[key].as_u64().unwrap();
    assert_eq!(total("files_seen"), recount.stored + recount.failed);
    assert_eq!(total("files_stored"), recount.stored);
    assert_eq!(total("files_failed"), recount.failed);
    assert_eq!(total("bytes_stored"), recount.bytes);

    let mut kept = recount.contents.clone();
    for document in fixture::files_below(into.path()) {
        assert!(kept.remove(&fs::read(&document).unwrap()), "{document:?} is no content of the directory");
    }
    assert_eq!(kept.len(), 0, "contents that are not in the storage");
    assert_exact(&object);
}

#[test]
fn failures_are_counted_by_their_cause() {
    let fixture = Fixture::whole();
    let (_, object) = Program::json(&[fixture.path()]);
    let failures = series(recorder(&object, "document_storage"), "document.failures", "reason");
    assert_eq!(failures, fixture.causes);
}

#[test]
fn a_snapshot_agrees_with_itself_and_with_the_workers() {
    let fixture = Fixture::whole();
    let (_, object) = Program::json(&[fixture.path(), Path::new("--threads"), Path::new("3")]);
    let (stored, failed) =
        (object["files_stored"].as_u64().unwrap(), object["files_failed"].as_u64().unwrap());
    let storage = recorder(&object, "document_storage");
    let saves = series(storage, "document.saves", "outcome");
    assert_eq!(saves, BTreeMap::from([("failure".to_owned(), failed), ("success".to_owned(), stored)]));
    let metrics = &storage["metrics"];
    assert_eq!(metrics["document.size"]["series"][0]["value"]["count"], stored);
    assert_eq!(metrics["document.average_size"]["series"][0]["value"]["count"], stored);
    assert_eq!(metrics["document.saves_in_flight"]["series"][0]["value"], 0);
    let durations = metrics["document.save.duration"]["series"].as_array().unwrap();
    assert_eq!(
        durations.iter().map(|one| one["value"]["count"].as_u64().unwrap()).sum::<u64>(),
        stored + failed
    );

    let workers: Vec<_> =
        recorders(&object).filter(|one| one["metrics"].get("worker.files").is_some()).collect();
    assert_eq!(workers.len(), 3 + 4);
    let files =
        workers.iter().flat_map(|one| series(one, "worker.files", "outcome").into_values()).sum::<u64>();
    assert_eq!(files, stored + failed);
}

#[test]
fn a_pipe_gets_plain_lines_and_a_report() {
    let fixture = Fixture::whole();
    let recount = Recount::of(fixture.path());
    let run = Program::start(&[fixture.path()]).finish();
    assert_eq!((run.code, run.errors.as_str()), (Some(0), ""));
    let (stored, seen) = (recount.stored, recount.stored + recount.failed);
    let summary = format!("stored {stored} of {seen} files, {} failed", recount.failed);
    assert!(run.output.contains(&summary), "{}", run.output);
    assert!(run.output.contains("document_storage (Stopped"), "{}", run.output);
    assert!(
        run.output.contains(&format!("{} offered = {0} accepted + 0 rejected", 2 * seen)),
        "{}",
        run.output
    );
    // Neither the view nor a file's name may send the terminal a command.
    assert!(!run.output.contains('\x1b'), "{}", run.output);
}

#[test]
fn an_interrupt_ends_with_exact_accounts() {
    let fixture = Fixture::endless();
    let mut program = Program::start(&[fixture.path(), Path::new("--json")]);
    // The first line comes when everybody is at work and the signal is listened for.
    program.error_line();
    program.interrupt();
    let run = program.finish();
    let object = run.object();
    assert_eq!(run.code, Some(130), "{}", run.errors);
    let seen = object["files_seen"].as_u64().unwrap();
    assert!(seen < Fixture::ENDLESS, "the directory was not large enough to be interrupted in");
    assert_eq!(seen, object["files_stored"].as_u64().unwrap() + object["files_failed"].as_u64().unwrap());
    assert_exact(&object);
}

#[test]
fn a_held_program_has_printed_and_lives_until_it_is_interrupted() {
    let fixture = Fixture::whole();
    let mut program =
        Program::start(&[fixture.path(), Path::new("--json"), Path::new("--hold"), Path::new("3600")]);
    let object = serde_json::from_str(&program.line()).unwrap();
    assert_exact(&object);
    assert!(program.is_alive());
    program.interrupt();
    assert_eq!(program.finish().code, Some(0));
}

#[cfg(feature = "prometheus")]
#[test]
fn metrics_are_served_while_it_works_and_holds_and_the_port_is_free_afterwards() {
    use std::io::Read;
    use std::io::Write;
    let fixture = Fixture::whole();
    let arguments = ["--json", "--hold=3600", "--serve=127.0.0.1:0"].map(Path::new);
    let arguments: Vec<_> = [fixture.path()].into_iter().chain(arguments).collect();
    let mut program = Program::start(&arguments);
    let line = program.error_line();
    let address = line.strip_prefix("serving http://").and_then(|rest| rest.strip_suffix("/metrics"));
    let address: std::net::SocketAddr = address.expect(&line).parse().unwrap();
    let object: serde_json::Value = serde_json::from_str(&program.line()).unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let stored = answer
        .lines()
        .filter(|line| line.starts_with("document_saves_total{") && line.contains("\"success\""));
    let sum: u64 = stored.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(Some(sum), object["files_stored"].as_u64(), "{answer}");
    program.interrupt();
    assert_eq!(program.finish().code, Some(0));
    assert!(std::net::TcpListener::bind(address).is_ok(), "the port is free");
}

#[test]
fn a_temporary_storage_is_gone_at_the_end() {
    let (fixture, temporary) = (Fixture::whole(), tempfile::tempdir().unwrap());
    let run = Program::start_in(temporary.path(), &[fixture.path()]).finish();
    assert_eq!(run.code, Some(0));
    assert!(run.output.contains(&temporary.path().display().to_string()), "{}", run.output);
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_storage_below_the_directory_does_not_store_itself() {
    let fixture = Fixture::whole();
    let into = fixture.path().join("nested/storage");
    let recount = Recount::of(fixture.path());
    for _ in 0..2 {
        let (code, object) = Program::json(&[fixture.path(), Path::new("--into"), &into]);
        assert_eq!((code, object["files_stored"].as_u64()), (Some(0), Some(recount.stored)));
    }
}

#[test]
fn what_cannot_be_begun_is_refused_with_a_message() {
    let nowhere = Path::new("/nowhere/at/all");
    let file = Path::new(file!());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let cases: [(&[&Path], &str); 6] = [
        (&[Path::new("--serve=here")], "such as 127.0.0.1:9464"),
        (&[nowhere], "/nowhere/at/all"),
        (&[&file], "is not a directory"),
        (&[Path::new("--threads=0"), Path::new("--tasks=0")], "at least 1"),
        (&[Path::new("--hold=soon")], "a number of seconds"),
        (&[Path::new("--treads=3")], "--help"),
    ];
    for (arguments, message) in cases {
        let run = Program::start(arguments).finish();
        assert_eq!((run.code, run.output.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(run.errors.contains(message), "{arguments:?}: {}", run.errors);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--serve={}", taken.local_addr().unwrap());
    let run = Program::start(&[Path::new(&taken)]).finish();
    assert_eq!((run.code, run.output.as_str()), (Some(1), ""));
    assert!(run.errors.contains("cannot serve at 127.0.0.1"), "{}", run.errors);
}

#[test]
fn help_names_every_option() {
    let run = Program::start(&[Path::new("--help")]).finish();
    assert_eq!(run.code, Some(0));
    for option in ["--into", "--threads", "--tasks", "--json", "--hold"] {
        assert!(run.output.contains(option), "{option}");
    }
}

/// No event was lost, and every recorder's accounts add up.
fn assert_exact(object: &Value) {
    assert!(recorders(object).count() >= 2);
    for recorder in recorders(object) {
        let number = |key: &str| recorder[key].as_u64().unwrap();
        let sum = |key: &str| {
            recorder[key].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>()
        };
        assert_eq!(number("offered"), number("accepted") + sum("rejected"), "{recorder}");
        assert_eq!(
            number("accepted"),
            number("processed") + sum("dropped") + number("pending"),
            "{recorder}"
        );
        assert_eq!((sum("rejected"), sum("dropped"), number("pending")), (0, 0, 0), "{recorder}");
        for (name, metric) in recorder["metrics"].as_object().unwrap() {
            let events = metric["events"].as_object().unwrap().values();
            let events: u64 = events.map(|count| count.as_u64().unwrap()).sum();
            assert_eq!(events, number("processed"), "{name}");
        }
    }
}

fn recorders(object: &Value) -> impl Iterator<Item = &Value> {
    object["recorders"].as_array().unwrap().iter()
}

fn recorder<'v>(object: &'v Value, id: &str) -> &'v Value {
    recorders(object).find(|recorder| recorder["id"] == id).unwrap()
}

/// The values of a counter's series, by one label.
fn series(recorder: &Value, counter: &str, label: &str) -> BTreeMap<String, u64> {
    let series = recorder["metrics"][counter]["series"].as_array().unwrap().iter();
    let pair =
        |one: &Value| (one["labels"][label].as_str().unwrap().to_owned(), one["value"].as_u64().unwrap());
    series.map(pair).collect()
}
