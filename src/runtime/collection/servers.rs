//! What servers of a runtime say of themselves, which are in a room above this one.

use crate::model::clock::Timestamp;
#[cfg(any(feature = "http", feature = "axum08"))]
use crate::runtime::Inner;
use crate::sync::Mutex;
#[cfg(any(feature = "http", feature = "axum08"))]
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

/// A server, or a router in somebody else's, as the runtime that it shows knows it.
pub(crate) trait Serves: Send + Sync {
    /// What it has done; nothing any more once it has ended. Waits for nobody.
    fn served(&self) -> Option<Served>;
}

/// What a server has done since its start. By what it is called, and since when it counts, the runtime knows.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Served {
    /// By what it is told apart: where it listens, or what the program calls it.
    pub(crate) listener: String,
    /// In nanoseconds since the Unix epoch.
    pub(crate) since: u64,
    /// What only who has the connections can know: nothing of a router, whose service has them.
    pub(crate) connections: Option<Connections>,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) unavailable: u64,
    pub(crate) scrapes: u64,
    pub(crate) renderings: u64,
    pub(crate) rendering_time: Duration,
    pub(crate) longest_rendering: Duration,
    pub(crate) held_renderings: u64,
    pub(crate) held_bytes: u64,
    pub(crate) late_sources: u64,
}

/// What a server knows of its connections.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Connections {
    pub(crate) accepted: u64,
    pub(crate) open: u64,
    pub(crate) accept_errors: u64,
    pub(crate) unauthorized: u64,
    pub(crate) malformed: u64,
    pub(crate) cut_half_sent: u64,
    pub(crate) cut_slow: u64,
    pub(crate) cut_for_room: u64,
    pub(crate) cut_idle: u64,
}

/// The servers of a runtime, as long as they last.
#[derive(Default)]
pub(crate) struct Servers(Mutex<Vec<Entry>>);

#[derive(Clone)]
struct Entry {
    /// No two have equal ones, and no two have the same.
    listener: Arc<str>,
    since: Timestamp,
    server: Weak<dyn Serves>,
}

impl Entry {
    /// What it owns is dropped here, if it has just ended: not under a lock.
    fn served(&self) -> Option<Served> {
        let served = self.server.upgrade()?.served()?;
        Some(Served { listener: self.listener.to_string(), since: self.since.unix_nanos(), ..served })
    }
}

impl Servers {
    /// Every server that serves, in the order in which they came.
    pub(super) fn served(&self) -> Vec<Served> {
        let entries = self.0.lock().clone();
        entries.iter().filter_map(Entry::served).collect()
    }
}

/// Shows what this server says until it ends, under this name; with a number, if another one has that.
#[cfg(any(feature = "http", feature = "axum08"))]
pub(crate) fn enter(inner: &Inner, listener: &str, server: &Arc<impl Serves + 'static>) {
    let server: Weak<dyn Serves> = Arc::downgrade(server) as Weak<dyn Serves>;
    let since = inner.settings.clock.now();
    let entries = inner.servers.0.lock().clone();
    // Asked under no lock; what has ended does not begin again.
    let ended: Vec<_> = entries.into_iter().filter(|entry| entry.served().is_none()).collect();
    let mut entries = inner.servers.0.lock();
    entries.retain(|entry| !ended.iter().any(|gone| Arc::ptr_eq(&gone.listener, &entry.listener)));
    let listener = unused(listener, &entries);
    entries.push(Entry { listener, since, server });
}

#[cfg(any(feature = "http", feature = "axum08"))]
fn unused(listener: &str, entries: &[Entry]) -> Arc<str> {
    let used: HashSet<&str> = entries.iter().map(|entry| &*entry.listener).collect();
    let numbered = (2_u64..).map(|number| format!("{listener}-{number}"));
    let mut names = std::iter::once(listener.to_owned()).chain(numbered);
    names.find(|name| !used.contains(name.as_str())).unwrap_or_default().into()
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.served()).finish()
    }
}
