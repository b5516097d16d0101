//! What servers of a runtime say of themselves, which are in a room above this one.

use crate::model::clock::Timestamp;
#[cfg(feature = "http")]
use crate::runtime::Inner;
use crate::sync::Mutex;
use std::fmt;
#[cfg(feature = "http")]
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

/// A server, as the runtime that it shows knows it.
pub(crate) trait Serves: Send + Sync {
    /// What it has done; nothing any more once it has ended. Waits for nobody.
    fn served(&self) -> Option<Served>;
}

/// What a server has done since its start.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Served {
    /// Where it listens.
    pub(crate) listener: String,
    /// Since when it counts, in nanoseconds since the Unix epoch.
    pub(crate) since: u64,
    pub(crate) connections: u64,
    pub(crate) open: u64,
    pub(crate) accept_errors: u64,
    pub(crate) requests: u64,
    /// By reason, as are the connections that were cut.
    pub(crate) refused: [u64; REFUSED.len()],
    pub(crate) cut: [u64; CUT.len()],
    pub(crate) scrapes: u64,
    pub(crate) renderings: u64,
    pub(crate) rendering_time: Duration,
    pub(crate) longest_rendering: Duration,
    pub(crate) held_renderings: u64,
    pub(crate) held_bytes: u64,
    pub(crate) late_sources: u64,
}

/// Why a request is not answered as it asks.
pub(crate) const REFUSED: [&str; 4] = ["unauthorized", "refused", "unavailable", "malformed"];

/// Why a connection is cut.
pub(crate) const CUT: [&str; 4] = ["half_sent", "slow", "for_room", "idle"];

/// The servers of a runtime, as long as they last.
#[derive(Default)]
pub(crate) struct Servers(Mutex<Vec<(Timestamp, Weak<dyn Serves>)>>);

impl Servers {
    /// Every server that serves, in the order in which they came.
    pub(super) fn served(&self) -> Vec<Served> {
        let entries = self.0.lock().clone();
        let served = entries.iter().filter_map(|(since, server)| {
            // What it owns is dropped here, under no lock, if it has just ended.
            let served = server.upgrade()?.served()?;
            Some(Served { since: since.unix_nanos(), ..served })
        });
        served.collect()
    }
}

/// Shows what this server says until it ends.
#[cfg(feature = "http")]
pub(crate) fn enter(inner: &Inner, server: &Arc<impl Serves + 'static>) {
    let server: Weak<dyn Serves> = Arc::downgrade(server) as Weak<dyn Serves>;
    let since = inner.settings.clock.now();
    let mut entries = inner.servers.0.lock();
    entries.retain(|(_, server)| server.strong_count() > 0);
    entries.push((since, server));
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.served()).finish()
    }
}
