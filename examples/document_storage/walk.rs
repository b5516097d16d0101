//! The search for files below a directory, and the handing out of what it finds.

use crate::events::Reason;
use crate::events::WalkEvent;
use mvx_metrics::EventSink;
use std::fs;
use std::fs::DirEntry;
use std::fs::FileType;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use tokio::sync::Mutex;
use tokio::sync::mpsc;

/// Files that may be found and not yet handed out: the search runs ahead so that the view can tell how much is left, and
/// still takes bounded memory below the largest directory.
const AHEAD: usize = 65_536;

/// Searches `root` and hands every file to a [`Handout`]. Links to directories are not followed: they may lead round.
pub struct Walk {
    root: PathBuf,
    /// The storage's own directory, which may lie below `root`.
    skipped: PathBuf,
    found: mpsc::Sender<PathBuf>,
    stop: Stop,
    metrics: Arc<dyn EventSink<WalkEvent>>,
}

/// Where workers get their files, threads and tasks alike.
pub struct Handout {
    found: Mutex<mpsc::Receiver<PathBuf>>,
    stop: Stop,
}

/// Tells the walk and the handout to come to an end. `Clone` gives another handle to the same.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

/// What one directory holds.
#[derive(Default)]
struct Listing {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    links: u64,
}

impl Walk {
    /// A walk that has not begun, and where its files will be handed out. Both paths are canonical, so that a directory below
    /// `root` is the storage's own exactly if it has its path.
    pub fn new(
        root: &Path,
        skipped: &Path,
        stop: &Stop,
        metrics: Arc<dyn EventSink<WalkEvent>>,
    ) -> (Self, Handout) {
        let (found, handed) = mpsc::channel(AHEAD);
        let walk =
            Self { root: root.to_owned(), skipped: skipped.to_owned(), found, stop: stop.clone(), metrics };
        (walk, Handout { found: Mutex::new(handed), stop: stop.clone() })
    }

    /// Searches to the end, until it is stopped, or until nobody takes files any more. For a plain thread.
    pub fn run(self) {
        let mut directories = vec![self.root.clone()];
        while let Some(directory) = directories.pop() {
            if directory == self.skipped {
                continue;
            }
            let mut listing = Listing::default();
            let failure = listing.read(&directory).err().map(|error| Reason::of(&directory, &error));
            let (files, links) = (listing.files.len() as u64, listing.links);
            self.metrics.register_event(WalkEvent::DirectoryRead { files, links, failure });
            directories.append(&mut listing.directories);
            for file in listing.files {
                if self.stop.is_set() || self.found.blocking_send(file).is_err() {
                    return;
                }
            }
        }
    }
}

impl Listing {
    fn read(&mut self, directory: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            self.sort_in(&entry?);
        }
        Ok(())
    }

    /// Whatever is no directory is taken for a file: if it is none, storing it fails and says so.
    fn sort_in(&mut self, entry: &DirEntry) {
        let (path, kind) = (entry.path(), entry.file_type());
        let is = |what: fn(&FileType) -> bool| kind.as_ref().is_ok_and(what);
        if is(FileType::is_dir) {
            self.directories.push(path);
        } else if is(FileType::is_symlink) && path.is_dir() {
            self.links += 1;
        } else {
            self.files.push(path);
        }
    }
}

impl Handout {
    /// The next file; none when all are handed out, or after a stop.
    pub async fn next(&self) -> Option<PathBuf> {
        if self.stop.is_set() {
            return None;
        }
        let file = self.found.lock().await.recv().await;
        file.filter(|_| !self.stop.is_set())
    }

    /// [`next`](Self::next) for plain threads.
    pub fn next_blocking(&self) -> Option<PathBuf> {
        if self.stop.is_set() {
            return None;
        }
        let file = self.found.blocking_lock().blocking_recv();
        file.filter(|_| !self.stop.is_set())
    }
}

impl Stop {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
