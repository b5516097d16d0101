//! The production code: a content-addressed storage that knows a sink for its events, and nothing else of metrics.
//!
//! Its tests are in `tests/document_storage.rs`, which takes this file in: they give it a recorder and read snapshots.

use crate::events::Content;
use crate::events::Reason;
use crate::events::StorageEvent;
use mvx_metrics::EventSink;
use mvx_metrics::NoopSink;
use sha2::Digest;
use sha2::Sha256;
use std::fmt;
use std::fs;
use std::fs::File;
use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tempfile::NamedTempFile;

/// Keeps documents on disk, each content once, under the hash of its bytes. Any number of threads may store at once.
///
/// A document is written to a file of its own and moved to its address when it is complete: a reader of the storage sees
/// it whole or not at all. It is not forced to the disk, so a power cut may take what was stored last.
pub struct DocumentStorage {
    root: PathBuf,
    incoming: PathBuf,
    metrics: Arc<dyn EventSink<StorageEvent>>,
}

/// The SHA-256 of a document's content: where it lies in the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address([u8; 32]);

/// A document in the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    pub address: Address,
    pub bytes: u64,
    /// Whether it had to be written. A document whose content was known is stored all the same.
    pub content: Content,
}

/// A document that could not be stored.
#[derive(Debug)]
pub struct SaveError {
    pub reason: Reason,
    source: Option<io::Error>,
}

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

impl DocumentStorage {
    /// Opens the storage in the directory `root`, which is made if it is not there. Nobody measures it yet.
    pub fn open(root: &Path) -> io::Result<Self> {
        let incoming = root.join("incoming");
        fs::create_dir_all(&incoming)?;
        Ok(Self { root: root.to_owned(), incoming, metrics: Arc::new(NoopSink) })
    }

    /// The same storage, stating its events to `metrics`.
    pub fn measured_by(self, metrics: Arc<dyn EventSink<StorageEvent>>) -> Self {
        Self { metrics, ..self }
    }

    /// Stores what a file contains. An empty file is no document, and what is no file never is.
    pub fn store_file(&self, path: &Path) -> Result<Document, SaveError> {
        self.stating(|| self.save(&mut open_document(path)?))
    }

    /// Where the document of this address lies, if it is stored.
    pub fn path_of(&self, address: Address) -> PathBuf {
        let name = address.to_string();
        // Directories of 256 shelves stay small enough to be listed.
        self.root.join(name.get(..2).unwrap_or_default()).join(name)
    }

    /// The one place where the storage says what happens in it.
    fn stating(&self, save: impl FnOnce() -> Result<Document, SaveError>) -> Result<Document, SaveError> {
        self.metrics.register_event(StorageEvent::SaveStarted);
        let begun = Instant::now();
        let result = save();
        let elapsed = begun.elapsed();
        self.metrics.register_event(match &result {
            Ok(document) => StorageEvent::Saved { content: document.content, bytes: document.bytes, elapsed },
            Err(error) => StorageEvent::SaveFailed { reason: error.reason, elapsed },
        });
        result
    }

    fn save(&self, source: &mut impl Read) -> Result<Document, SaveError> {
        let mut chunk = vec![0; CHUNK];
        let mut read = read_chunk(source, &mut chunk)?;
        if read.is_empty() {
            return Err(SaveError { reason: Reason::Empty, source: None });
        }
        // Removed when it is dropped without having been moved.
        let mut incoming = NamedTempFile::new_in(&self.incoming).map_err(SaveError::of_storage)?;
        let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
        while !read.is_empty() {
            hash.update(read);
            incoming.write_all(read).map_err(SaveError::of_storage)?;
            bytes += read.len() as u64;
            read = read_chunk(source, &mut chunk)?;
        }
        let address = Address(hash.finalize().into());
        let content = self.shelve(incoming, address).map_err(SaveError::of_storage)?;
        Ok(Document { address, bytes, content })
    }

    /// Moves a complete document to its address. Of several that store one content at once, exactly one finds it new.
    fn shelve(&self, incoming: NamedTempFile, address: Address) -> io::Result<Content> {
        let place = self.path_of(address);
        if let Some(shelf) = place.parent() {
            fs::create_dir_all(shelf)?;
        }
        match incoming.persist_noclobber(place) {
            Ok(_) => Ok(Content::New),
            Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => Ok(Content::Known),
            Err(refused) => Err(refused.error),
        }
    }
}

/// Opens a regular file. Asked before it is opened, because opening a pipe waits for somebody who writes into it.
fn open_document(path: &Path) -> Result<File, SaveError> {
    let metadata = fs::metadata(path).map_err(|error| SaveError::of_source(path, error))?;
    if !metadata.is_file() {
        return Err(SaveError { reason: Reason::NotAFile, source: None });
    }
    File::open(path).map_err(|error| SaveError::of_source(path, error))
}

/// The next bytes; none at the end.
fn read_chunk<'c>(source: &mut impl Read, chunk: &'c mut [u8]) -> Result<&'c [u8], SaveError> {
    loop {
        match source.read(chunk) {
            Ok(count) => return Ok(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(SaveError { reason: Reason::Unreadable, source: Some(error) }),
        }
    }
}

impl SaveError {
    fn of_storage(error: io::Error) -> Self {
        Self { reason: Reason::StorageFailed, source: Some(error) }
    }

    fn of_source(path: &Path, error: io::Error) -> Self {
        Self { reason: Reason::of(path, &error), source: Some(error) }
    }
}

impl Reason {
    /// What an error of the file system comes to for the path it happened on.
    pub fn of(path: &Path, error: &io::Error) -> Self {
        let is_link = || fs::symlink_metadata(path).is_ok_and(|link| link.file_type().is_symlink());
        match error.kind() {
            ErrorKind::PermissionDenied => Self::PermissionDenied,
            _ if is_link() => Self::DanglingLink,
            ErrorKind::NotFound => Self::Vanished,
            _ => Self::Unreadable,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{} ({source})", self.reason),
            None => write!(f, "{}", self.reason),
        }
    }
}

impl std::error::Error for SaveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl fmt::Debug for DocumentStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentStorage").field("root", &self.root).finish_non_exhaustive()
    }
}
