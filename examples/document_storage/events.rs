//! What happens: the facts that the storage, its workers and the walk state.

use mvx_metrics::MetricEvent;
use std::fmt;
use std::time::Duration;

/// What happens to documents. Each `SaveStarted` is followed by one of the other two, from the same thread.
#[derive(Debug, MetricEvent)]
#[event(name = "document")]
pub enum StorageEvent {
    /// Somebody handed a document in.
    SaveStarted,
    /// A document is in the storage.
    Saved { content: Content, bytes: u64, elapsed: Duration },
    /// A document could not be stored.
    SaveFailed { reason: Reason, elapsed: Duration },
}

/// What one worker does. It knows its own work and nothing of the storage's metrics.
#[derive(Debug, MetricEvent)]
pub enum WorkerEvent {
    /// A file of its was stored.
    Stored { bytes: u64, busy: Duration },
    /// A file of its was not.
    Failed { busy: Duration },
}

/// What the search for files finds.
#[derive(Debug, MetricEvent)]
pub enum WalkEvent {
    /// A directory was read, to its end or to the failure.
    DirectoryRead { files: u64, links: u64, failure: Option<Reason> },
}

/// Whether the storage had the content of a saved document before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It was written.
    New,
    /// It was there already, under the same address.
    Known,
}

/// Why a document could not be stored, or a directory not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is nothing in it.
    Empty,
    /// It is a pipe, a socket, a device or a directory.
    NotAFile,
    /// A symbolic link that leads nowhere, or round in a circle.
    DanglingLink,
    /// It was gone when its turn came.
    Vanished,
    /// The system says that we may not.
    PermissionDenied,
    /// Reading failed in some other way.
    Unreadable,
    /// The storage could not be written to.
    StorageFailed,
}

impl StorageEvent {
    /// `success` or `failure`; a save that has only started has no outcome.
    pub const fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::SaveStarted => None,
            Self::Saved { .. } => Some("success"),
            Self::SaveFailed { .. } => Some("failure"),
        }
    }

    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::SaveFailed { reason, .. } => Some(*reason),
            Self::SaveStarted | Self::Saved { .. } => None,
        }
    }

    pub const fn elapsed(&self) -> Option<Duration> {
        match self {
            Self::SaveStarted => None,
            Self::Saved { elapsed, .. } | Self::SaveFailed { elapsed, .. } => Some(*elapsed),
        }
    }

    /// The size of a saved document, whether or not it had to be written.
    pub const fn saved_bytes(&self) -> Option<u64> {
        match self {
            Self::Saved { bytes, .. } => Some(*bytes),
            Self::SaveStarted | Self::SaveFailed { .. } => None,
        }
    }

    /// What a save wrote into the storage: nothing if the content was known.
    pub const fn written_bytes(&self) -> Option<u64> {
        match self {
            Self::Saved { content: Content::New, bytes, .. } => Some(*bytes),
            Self::Saved { .. } | Self::SaveStarted | Self::SaveFailed { .. } => None,
        }
    }

    pub const fn is_duplicate(&self) -> bool {
        matches!(self, Self::Saved { content: Content::Known, .. })
    }

    /// By how much the number of saves in flight changes.
    pub const fn in_flight(&self) -> i32 {
        match self {
            Self::SaveStarted => 1,
            Self::Saved { .. } | Self::SaveFailed { .. } => -1,
        }
    }
}

impl WorkerEvent {
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Stored { .. } => "success",
            Self::Failed { .. } => "failure",
        }
    }

    pub const fn busy(&self) -> Duration {
        match self {
            Self::Stored { busy, .. } | Self::Failed { busy } => *busy,
        }
    }

    pub const fn bytes(&self) -> Option<u64> {
        match self {
            Self::Stored { bytes, .. } => Some(*bytes),
            Self::Failed { .. } => None,
        }
    }
}

impl Reason {
    /// The label's value: part of the metrics' contract, so it stays when the variant is renamed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAFile => "not_a_file",
            Self::DanglingLink => "dangling_link",
            Self::Vanished => "vanished",
            Self::PermissionDenied => "permission_denied",
            Self::Unreadable => "unreadable",
            Self::StorageFailed => "storage_failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
