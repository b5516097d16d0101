//! The totals of a run, read from snapshots and from nothing else.

use crate::recorders::Snapshots;
use mvx_metrics::Accounts;
use mvx_metrics::Snapshot;

/// How far the storing is, or how far it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files that workers took.
    pub files_seen: u64,
    /// Of these, files whose content is in the storage, duplicates included.
    pub files_stored: u64,
    /// Of these, files that could not be stored.
    pub files_failed: u64,
    /// Of the stored ones, those whose content was there already.
    pub duplicates: u64,
    /// The size of the stored files, duplicates included.
    pub bytes_stored: u64,
    /// What storing them wrote: each content once.
    pub bytes_written: u64,
    /// Saves that have started and not ended.
    pub in_flight: i64,
    /// Files found, taken by a worker or not.
    pub files_found: u64,
    pub directories_read: u64,
    pub directories_failed: u64,
    /// Links to directories, which are not followed.
    pub links: u64,
    /// The accounts of all recorders together.
    pub accounts: Accounts,
}

impl Totals {
    pub fn read(snapshots: &Snapshots) -> Self {
        let storage = &snapshots.storage;
        let saves = |outcome| storage.counter("document.saves", &[("outcome", outcome)]).unwrap_or_default();
        let directories_read =
            snapshots.walk.counter("walk.directories", &[("outcome", "success")]).unwrap_or_default();
        let in_flight = storage.up_down("document.saves_in_flight", &[]);
        Self {
            files_seen: snapshots.workers.iter().map(|worker| sum_of(worker, "worker.files")).sum(),
            files_stored: saves("success"),
            files_failed: saves("failure"),
            duplicates: sum_of(storage, "document.duplicates"),
            bytes_stored: sum_of(storage, "document.saved.bytes"),
            bytes_written: sum_of(storage, "document.written.bytes"),
            in_flight: in_flight.unwrap_or_default(),
            files_found: sum_of(&snapshots.walk, "walk.files"),
            directories_read,
            directories_failed: sum_of(&snapshots.walk, "walk.directories").saturating_sub(directories_read),
            links: sum_of(&snapshots.walk, "walk.links"),
            accounts: snapshots.iter().fold(Accounts::default(), |sum, one| sum.plus(one.accounts())),
        }
    }

    /// Files stored or failed: what the live view calls done.
    pub const fn files_done(&self) -> u64 {
        self.files_stored + self.files_failed
    }

    /// What does not fit together, once everybody has stopped; a person reads it, and the program fails for it.
    ///
    /// Workers and storage count the same files in recorders of their own, and the storage states two events for each, so the
    /// totals can be checked against each other and against the accounts.
    pub fn disagreements(&self, snapshots: &Snapshots) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, here: u64, there: u64| {
            if here != there {
                found.push(format!("{what}: {here} against {there}"));
            }
        };
        compare("files that workers took, and files stored or failed", self.files_seen, self.files_done());
        compare("saves in flight at the end", self.in_flight.unsigned_abs(), 0);
        let workers = snapshots.workers.iter().map(|worker| worker.accounts().processed).sum();
        compare("files that workers took, and events of theirs", self.files_seen, workers);
        let storage = snapshots.storage.accounts().processed;
        compare("two events for each file, and events of the storage", 2 * self.files_done(), storage);
        for snapshot in snapshots.iter() {
            let (id, accounts) = (snapshot.id(), snapshot.accounts());
            compare(&format!("events of {id} still pending"), accounts.pending(), 0);
            compare(&format!("events of {id} rejected"), accounts.rejected.total(), 0);
            compare(&format!("events of {id} dropped"), accounts.dropped.total(), 0);
            compare(
                &format!("events of {id} processed, and in its snapshot"),
                accounts.processed,
                snapshot.sequence(),
            );
        }
        found
    }
}

/// The sum over all series of a counter; 0 before its first event.
pub fn sum_of(snapshot: &Snapshot, counter: &str) -> u64 {
    snapshot.total(counter).unwrap_or_default()
}
