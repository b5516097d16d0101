//! The storage, the totals and the view, on snapshots of recorders made for the test.

use crate::events::Content;
use crate::events::Reason;
use crate::events::StorageEvent;
use crate::events::WalkEvent;
use crate::events::WorkerEvent;
use crate::fixture;
use crate::recorders;
use crate::recorders::Recorders;
use crate::storage::DocumentStorage;
use crate::totals::Totals;
use crate::view::Pace;
use crate::view::Progress;
use crate::view::screen;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::Snapshot;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// A storage with somebody who measures it, and a place for documents.
struct Bench {
    directory: TempDir,
    storage: DocumentStorage,
    recorder: Recorder<StorageEvent>,
    _runtime: MetricsRuntime,
}

impl Bench {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let runtime = running();
        let recorder = recorders::storage(&runtime, "storage").unwrap();
        let storage = DocumentStorage::open(&directory.path().join("storage")).unwrap();
        let storage = storage.measured_by(Arc::new(recorder.clone()));
        Self { directory, storage, recorder, _runtime: runtime }
    }

    fn document(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn snapshot(&self) -> Snapshot {
        self.recorder.flush_blocking(DEADLINE).unwrap();
        self.recorder.snapshot()
    }
}

const DEADLINE: Duration = Duration::from_secs(60);

fn running() -> MetricsRuntime {
    let runtime = MetricsRuntime::builder("test").build().unwrap();
    runtime.start().unwrap();
    runtime
}

#[test]
fn a_storage_that_nobody_measures_stores() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("document");
    fs::write(&path, "content").unwrap();
    let storage = DocumentStorage::open(&directory.path().join("storage")).unwrap();
    let document = storage.store_file(&path).unwrap();
    // What `printf content | sha256sum` says.
    let address = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    assert_eq!(document.address.to_string(), address);
    assert_eq!((document.bytes, document.content), (7, Content::New));
    assert_eq!(fs::read_to_string(storage.path_of(document.address)).unwrap(), "content");
}

#[test]
fn a_save_is_in_every_metric_that_it_concerns() {
    let bench = Bench::new();
    bench.storage.store_file(&bench.document("a", b"12345")).unwrap();
    let snapshot = bench.snapshot();
    assert_eq!(snapshot.counter("document.saves", &[("outcome", "success")]), Some(1));
    assert_eq!(snapshot.counter("document.saves", &[("outcome", "failure")]), None);
    assert_eq!(snapshot.counter("document.saved.bytes", &[]), Some(5));
    assert_eq!(snapshot.counter("document.written.bytes", &[]), Some(5));
    assert_eq!(snapshot.mean("document.average_size", &[]), Some(5.0));
    assert_eq!(snapshot.histogram("document.size", &[]).unwrap().max(), Some(5.0));
    let took = snapshot.histogram("document.save.duration", &[("outcome", "success")]).unwrap();
    assert!(took.count() == 1 && took.sum() > 0.0, "{took:?}");
    assert_eq!(snapshot.up_down("document.saves_in_flight", &[]), Some(0));
    assert_eq!((snapshot.accounts().offered(), snapshot.sequence()), (2, 2));
}

#[test]
fn a_save_under_way_is_in_flight() {
    let bench = Bench::new();
    bench.recorder.register_event(StorageEvent::SaveStarted);
    assert_eq!(bench.snapshot().up_down("document.saves_in_flight", &[]), Some(1));
}

#[test]
fn a_known_content_is_stored_and_not_written() {
    let bench = Bench::new();
    let first = bench.storage.store_file(&bench.document("a", b"same")).unwrap();
    let second = bench.storage.store_file(&bench.document("b", b"same")).unwrap();
    assert_eq!((first.address, second.content), (second.address, Content::Known));
    let snapshot = bench.snapshot();
    assert_eq!(snapshot.counter("document.saves", &[("outcome", "success")]), Some(2));
    assert_eq!(snapshot.counter("document.duplicates", &[]), Some(1));
    assert_eq!(snapshot.counter("document.saved.bytes", &[]), Some(8));
    assert_eq!(snapshot.counter("document.written.bytes", &[]), Some(4));
}

#[test]
fn of_many_who_store_one_content_at_once_one_writes_it() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 100;
    let bench = Bench::new();
    let start = Barrier::new(THREADS);
    for round in 0..ROUNDS {
        let path = bench.document("same", format!("content of round {round}").as_bytes());
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    bench.storage.store_file(&path).unwrap()
                });
            }
        });
    }
    let snapshot = bench.snapshot();
    assert_eq!(
        snapshot.counter("document.saves", &[("outcome", "success")]),
        Some((THREADS * ROUNDS) as u64)
    );
    assert_eq!(snapshot.counter("document.duplicates", &[]), Some(((THREADS - 1) * ROUNDS) as u64));
    // Nothing half-written is left over either.
    assert_eq!(fixture::files_below(&bench.directory.path().join("storage")).len(), ROUNDS);
}

#[test]
fn what_is_no_document_fails_and_says_why() {
    let bench = Bench::new();
    let root = bench.directory.path();
    drop(UnixListener::bind(root.join("socket")).unwrap());
    symlink("nowhere", root.join("dangling")).unwrap();
    let cases = [
        (bench.document("empty", b""), Reason::Empty),
        (root.join("socket"), Reason::NotAFile),
        (root.join("storage"), Reason::NotAFile),
        (root.join("dangling"), Reason::DanglingLink),
        (root.join("gone"), Reason::Vanished),
        (root.join("empty/below a file"), Reason::Unreadable),
    ];
    for (path, reason) in &cases {
        assert_eq!(bench.storage.store_file(path).unwrap_err().reason, *reason, "{path:?}");
    }
    let snapshot = bench.snapshot();
    assert_eq!(snapshot.counter("document.saves", &[("outcome", "failure")]), Some(cases.len() as u64));
    assert_eq!(snapshot.counter("document.failures", &[("reason", "not_a_file")]), Some(2));
    assert_eq!(snapshot.counter("document.failures", &[("reason", "vanished")]), Some(1));
    assert_eq!(snapshot.up_down("document.saves_in_flight", &[]), Some(0));
    assert!(fixture::files_below(&root.join("storage")).is_empty());
}

#[test]
fn a_storage_that_cannot_be_written_is_told_from_a_bad_document() {
    let bench = Bench::new();
    let path = bench.document("good", b"good");
    fs::remove_dir_all(bench.directory.path().join("storage")).unwrap();
    assert_eq!(bench.storage.store_file(&path).unwrap_err().reason, Reason::StorageFailed);
    assert_eq!(bench.snapshot().counter("document.failures", &[("reason", "storage_failed")]), Some(1));
}

#[test]
fn totals_that_do_not_fit_together_are_named() {
    let runtime = running();
    let recorders = Recorders::create(&runtime, &["worker".to_owned()]).unwrap();
    let disagreements = || {
        recorders.flush(DEADLINE).unwrap();
        let snapshots = recorders.snapshots();
        Totals::read(&snapshots).disagreements(&snapshots)
    };
    assert!(disagreements().is_empty(), "{:?}", disagreements());
    recorders.storage.register_event(StorageEvent::SaveStarted);
    assert!(disagreements().iter().any(|found| found.contains("in flight")), "{:?}", disagreements());
    recorders.storage.register_event(saved(5));
    assert!(disagreements().iter().any(|found| found.contains("workers took")), "{:?}", disagreements());
    recorders.workers[0].register_event(WorkerEvent::Stored { bytes: 5, busy: Duration::from_millis(2) });
    assert!(disagreements().is_empty(), "{:?}", disagreements());
}

#[test]
fn the_screen_shows_what_the_snapshots_say() {
    let runtime = running();
    let recorders = Recorders::create(&runtime, &["thread-1".to_owned(), "task-1".to_owned()]).unwrap();
    recorders.walk.register_event(WalkEvent::DirectoryRead { files: 4, links: 0, failure: None });
    recorders.walk.register_event(WalkEvent::DirectoryRead {
        files: 0,
        links: 0,
        failure: Some(Reason::Vanished),
    });
    for event in [StorageEvent::SaveStarted, saved(2_048), StorageEvent::SaveStarted, failed()] {
        recorders.storage.register_event(event);
    }
    recorders.workers[0]
        .register_event(WorkerEvent::Stored { bytes: 2_048, busy: Duration::from_millis(500) });
    recorders.workers[1].register_event(WorkerEvent::Failed { busy: Duration::ZERO });
    recorders.flush(DEADLINE).unwrap();

    let snapshots = recorders.snapshots();
    let totals = Totals::read(&snapshots);
    let elapsed = Duration::from_secs(1);
    let progress = Progress { from: "here", into: "there", elapsed, searching: true, stopping: false };
    let mut pace = Pace::default();
    pace.note(Duration::ZERO, &Totals::default());
    pace.note(elapsed, &totals);
    let lines = screen(&snapshots, &totals, &pace, progress);
    let shown = |text: &str| assert!(lines.iter().any(|line| line.contains(text)), "{text}: {lines:#?}");
    shown("50.0 %   2 of 4 files found, still looking");
    shown("1 stored (0 duplicates)   1 failed   0 in work");
    shown("2 files/s   2 KiB/s");
    shown("longest 2 ms");
    shown("!failed     empty 1");
    shown("1 directories could not be read");
    assert!(lines.iter().any(|line| line.starts_with("thread-1") && line.ends_with("50.0 %")), "{lines:#?}");
    assert!(lines.iter().all(|line| line.trim_start_matches(['#', '!']).chars().count() < 80), "{lines:#?}");
}

#[test]
fn figures_are_short_and_right() {
    use crate::figures::bytes;
    use crate::figures::count;
    use crate::figures::seconds;
    assert_eq!([count(0), count(999), count(1_000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(
        [bytes(0.0), bytes(1_023.0), bytes(1_536.0), bytes(3e9)],
        ["0 B", "1023 B", "1.5 KiB", "2.8 GiB"]
    );
    assert_eq!(
        [seconds(0.0), seconds(0.000_25), seconds(0.0315), seconds(61.0)],
        ["0 s", "250 µs", "31.5 ms", "61 s"]
    );
}

#[test]
fn a_document_lies_on_a_shelf_named_by_its_address() {
    let bench = Bench::new();
    let document = bench.storage.store_file(&bench.document("a", b"12345")).unwrap();
    let place = bench.storage.path_of(document.address);
    let address = document.address.to_string();
    let shelf = Path::new(&address[..2]).join(&address);
    assert!(place.ends_with(shelf) && place.is_file(), "{place:?}");
}

fn saved(bytes: u64) -> StorageEvent {
    StorageEvent::Saved { content: Content::New, bytes, elapsed: Duration::from_millis(2) }
}

fn failed() -> StorageEvent {
    StorageEvent::SaveFailed { reason: Reason::Empty, elapsed: Duration::from_millis(1) }
}
