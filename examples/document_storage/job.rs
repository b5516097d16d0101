//! One run from beginning to end.

use crate::args::Args;
use crate::interrupts::Interrupts;
use crate::json;
use crate::recorders::Recorders;
use crate::recorders::Snapshots;
use crate::report;
use crate::serve::serve;
use crate::storage::DocumentStorage;
use crate::totals::Totals;
use crate::view;
use crate::view::Progress;
use crate::view::View;
use crate::walk::Handout;
use crate::walk::Stop;
use crate::walk::Walk;
use crate::workers::Failures;
use crate::workers::Worker;
use mvx_metrics::MetricsRuntime;
use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::io;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How a run ended.
#[derive(Debug)]
pub enum Ending {
    Done,
    /// There is nothing to store, and why.
    NoDirectory(String),
    /// Before the last file; what was done until then is in order.
    Interrupted,
    /// Interrupted again while it was ending.
    GaveUp,
    /// The figures do not fit together, or something of ours panicked.
    Wrong(Vec<String>),
}

/// Where the storage lies, and whether it stays.
struct Place {
    path: PathBuf,
    /// Removed when it is dropped.
    temporary: Option<TempDir>,
}

/// Everybody at work.
struct Crew {
    walk: JoinHandle<()>,
    threads: Vec<JoinHandle<()>>,
    tasks: JoinSet<Result<(), tokio::task::JoinError>>,
    /// Ends when the last of them has.
    done: mpsc::Receiver<Infallible>,
    stop: Stop,
    failures: Arc<Failures>,
}

/// How the storing itself ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    All,
    UntilInterrupted,
    GaveUp,
}

/// How long the metrics may take to catch up at the end.
const DEADLINE: Duration = Duration::from_secs(30);

/// Stores what `args` name, and prints what came of it.
///
/// # Errors
///
/// What kept it from beginning, or from printing.
pub fn run(args: &Args) -> Result<Ending, Box<dyn Error>> {
    let directory = match directory(&args.directory) {
        Ok(directory) => directory,
        Err(why) => return Ok(Ending::NoDirectory(why)),
    };
    let place = Place::of(args.into.as_deref())?;
    let metrics = MetricsRuntime::builder("document-storage").build()?;
    metrics.start()?;
    let recorders = Recorders::create(&metrics, &worker_ids(args))?;
    let storage = DocumentStorage::open(&place.path)?.measured_by(Arc::new(recorders.storage.clone()));
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut interrupts = tokio.block_on(async { Interrupts::listen() })?;
    if let Some(asked) = args.serve {
        let served = serve(asked, &metrics);
        say_where(served.map_err(|error| format!("cannot serve at {asked}: {error}"))?, args.json)?;
    }

    let begun = Instant::now();
    let mut crew = Crew::begin(&tokio, &recorders, storage, &directory, &place.path, args)?;
    let watched = crew.watch(&recorders, &mut interrupts, begun, args, &directory, &place);
    let stored = tokio.block_on(watched);
    let took = begun.elapsed();
    if stored == Stored::GaveUp {
        // Whoever hangs is left behind.
        tokio.shutdown_background();
        return Ok(Ending::GaveUp);
    }
    let first_failures = crew.failures.first();
    let mut wrong = tokio.block_on(crew.dismiss());

    let hold = args.hold.filter(|_| stored == Stored::All);
    if hold.is_some() {
        recorders.flush(DEADLINE)?;
    } else {
        wrong.extend(shut_down(&metrics)?);
    }
    let snapshots = recorders.snapshots();
    wrong.extend(Totals::read(&snapshots).disagreements(&snapshots));
    print(args.json, &snapshots, &first_failures, took, &place)?;
    if let Some(hold) = hold {
        tokio.block_on(held(hold, args.json, &mut interrupts))?;
        wrong.extend(shut_down(&metrics)?);
    }
    place.close()?;
    Ok(match stored {
        _ if !wrong.is_empty() => Ending::Wrong(wrong),
        Stored::All => Ending::Done,
        Stored::UntilInterrupted | Stored::GaveUp => Ending::Interrupted,
    })
}

impl Crew {
    /// Sends everybody to work.
    fn begin(
        tokio: &Runtime,
        recorders: &Recorders,
        storage: DocumentStorage,
        directory: &Path,
        place: &Path,
        args: &Args,
    ) -> io::Result<Self> {
        let (stop, failures, storage) = (Stop::default(), Arc::new(Failures::default()), Arc::new(storage));
        let (walk, handout) = Walk::new(directory, place, &stop, Arc::new(recorders.walk.clone()));
        let handout = Arc::new(handout);
        let (at_work, done) = mpsc::channel::<Infallible>(1);
        let mut crew = Self {
            walk: spawn("walk", &at_work, move || walk.run())?,
            threads: Vec::new(),
            tasks: JoinSet::new(),
            done,
            stop,
            failures: Arc::clone(&failures),
        };
        for (at, metrics) in recorders.workers.iter().enumerate() {
            let worker = Worker::new(&storage, Arc::new(metrics.clone()), &failures);
            let handout: Arc<Handout> = Arc::clone(&handout);
            if at < args.threads {
                let thread = spawn(metrics.id().as_str(), &at_work, move || worker.run(&handout))?;
                crew.threads.push(thread);
            } else {
                let at_work = at_work.clone();
                let task = async move {
                    let _at_work = at_work;
                    Arc::new(worker).run_task(handout).await
                };
                crew.tasks.spawn_on(task, tokio.handle());
            }
        }
        Ok(crew)
    }

    /// Shows the view until everybody is done; passes the first interrupt on, and gives up at the second.
    async fn watch(
        &mut self,
        recorders: &Recorders,
        interrupts: &mut Interrupts,
        begun: Instant,
        args: &Args,
        directory: &Path,
        place: &Place,
    ) -> Stored {
        let (from, into) = (format!("{directory:?}"), place.to_string());
        let mut view = View::open(args.json);
        let mut redraw = tokio::time::interval(view::REDRAW);
        loop {
            tokio::select! {
                _ = self.done.recv() => break,
                () = interrupts.next() => {
                    if self.stop.is_set() {
                        return Stored::GaveUp;
                    }
                    self.stop.set();
                }
                _ = redraw.tick() => {
                    let progress = Progress {
                        from: &from,
                        into: &into,
                        elapsed: begun.elapsed(),
                        searching: !self.walk.is_finished(),
                        stopping: self.stop.is_set(),
                    };
                    view.show(&recorders.snapshots(), progress);
                }
            }
        }
        if self.stop.is_set() { Stored::UntilInterrupted } else { Stored::All }
    }

    /// Waits for everybody, who are all done; says who panicked.
    async fn dismiss(mut self) -> Vec<String> {
        let mut panicked = Vec::new();
        for thread in self.threads.into_iter().chain([self.walk]) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                panicked.push(format!("thread {name} panicked"));
            }
        }
        while let Some(task) = self.tasks.join_next().await {
            if let Err(error) = task.and_then(|result| result) {
                panicked.push(format!("a task panicked: {error}"));
            }
        }
        panicked
    }
}

impl Place {
    fn of(into: Option<&Path>) -> io::Result<Self> {
        let temporary = if into.is_none() { Some(TempDir::with_prefix("document_storage-")?) } else { None };
        let path = match (into, &temporary) {
            (Some(path), _) => path,
            (None, Some(temporary)) => temporary.path(),
            (None, None) => Path::new(""),
        };
        fs::create_dir_all(path)?;
        // Canonical, so that the walk knows it when it meets it.
        let path = fs::canonicalize(path)?;
        Ok(Self { path, temporary })
    }

    fn close(self) -> io::Result<()> {
        self.temporary.map_or(Ok(()), TempDir::close)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fate = if self.temporary.is_some() { "removed at the end" } else { "kept" };
        write!(f, "{:?} ({fate})", self.path)
    }
}

/// The directory as a canonical path, or why there is none.
fn directory(given: &Path) -> Result<PathBuf, String> {
    let path =
        fs::canonicalize(given).map_err(|error| format!("{given:?}: {error}; name a directory to store"))?;
    if path.is_dir() {
        Ok(path)
    } else {
        Err(format!("{given:?} is not a directory; name the one it lies in"))
    }
}

/// An id for each worker, those of plain threads first.
fn worker_ids(args: &Args) -> Vec<String> {
    let threads = (1..=args.threads).map(|number| format!("thread-{number}"));
    threads.chain((1..=args.tasks).map(|number| format!("task-{number}"))).collect()
}

/// A thread that counts as being at work until it ends, in whatever way.
fn spawn(
    name: &str,
    at_work: &mpsc::Sender<Infallible>,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let at_work = at_work.clone();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _at_work = at_work;
        work();
    })
}

/// Ends the metrics; what they could not settle is named.
fn shut_down(metrics: &MetricsRuntime) -> Result<Vec<String>, mvx_metrics::Error> {
    let report = metrics.shutdown(DEADLINE)?;
    let errors = report.recorders().iter().filter_map(|recorder| recorder.error.as_ref());
    let mut wrong: Vec<_> = errors.map(ToString::to_string).collect();
    if !report.worker_ended() {
        wrong.push("the metrics' worker did not end in time".to_owned());
    }
    Ok(wrong)
}

fn print(
    json: bool,
    snapshots: &Snapshots,
    first_failures: &[(PathBuf, String)],
    took: Duration,
    place: &Place,
) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        writeln!(out, "{}", json::object(snapshots))?;
    } else {
        report::write(&mut out, snapshots, first_failures, took)?;
        writeln!(out, "storage: {place}")?;
    }
    out.flush()
}

/// Tells the address where whoever started the program looks first; JSON has its stream for itself.
fn say_where(address: SocketAddr, json: bool) -> io::Result<()> {
    let line = format!("serving http://{address}/metrics");
    if json { writeln!(io::stderr(), "{line}") } else { writeln!(io::stdout(), "{line}") }
}

/// Nothing to do, and nothing done: the runtime stays as it is, and can be read.
async fn held(hold: Duration, json: bool, interrupts: &mut Interrupts) -> io::Result<()> {
    if !json {
        writeln!(io::stdout(), "staying for {hold:?}; Ctrl-C ends it")?;
    }
    tokio::select! {
        () = tokio::time::sleep(hold) => {}
        () = interrupts.next() => {}
    }
    Ok(())
}
