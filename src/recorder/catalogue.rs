//! What every recorder of a runtime measures, by name: refuses what an exporter could not tell apart.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::name::RecorderId;
use crate::model::snapshot::Descriptor;
use crate::sync::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Name to shape, over all recorders that ever declared it.
///
/// Entries stay when recorders go: what a name means does not change while a process runs, and their number is bounded
/// by the names in the program.
#[derive(Default)]
pub(crate) struct Catalogue {
    entries: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    descriptor: Arc<Descriptor>,
    owner: RecorderId,
}

impl Catalogue {
    /// Declares metrics of `owner`, together with what `enter` does: all of it, or nothing and the first conflict or failure.
    ///
    /// `enter` runs under the catalogue's lock, so no other declaration comes between the check and the entry; it takes the
    /// registry's or the mailbox's lock and runs no user code.
    pub(crate) fn declare(
        &self,
        owner: &RecorderId,
        metrics: &[Arc<Descriptor>],
        enter: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut entries = self.entries.lock();
        let mut fresh: Vec<(String, Entry)> = Vec::new();
        for descriptor in metrics {
            let key = key(descriptor);
            let known = entries
                .get(&key)
                .or_else(|| fresh.iter().find(|(name, _)| *name == key).map(|(_, entry)| entry));
            match known {
                Some(entry) => check(entry, descriptor, owner)?,
                None => fresh.push((key, Entry { descriptor: Arc::clone(descriptor), owner: owner.clone() })),
            }
        }
        enter()?;
        entries.extend(fresh);
        Ok(())
    }
}

/// The name as the narrowest format writes it: what is equal here is one name there.
fn key(descriptor: &Descriptor) -> String {
    descriptor.name().as_str().replace('.', "_")
}

fn check(entry: &Entry, descriptor: &Arc<Descriptor>, owner: &RecorderId) -> Result<(), Error> {
    let there = &entry.descriptor;
    if Arc::ptr_eq(there, descriptor) {
        return Ok(());
    }
    let (here, other) = (descriptor.name(), &entry.owner);
    if there.name() != here {
        let message = format!(
            "metric {here} of recorder {owner} and metric {} of recorder {other} are one name in Prometheus; rename one of them",
            there.name()
        );
        return Err(Error::new(ErrorKind::MetricConflict, message));
    }
    match there.differences(descriptor) {
        None => Ok(()),
        Some(differences) => {
            let message = format!(
                "metric {here} of recorder {owner} differs from the one of recorder {other}: {differences}; give it the same shape or another name"
            );
            Err(Error::new(ErrorKind::MetricConflict, message))
        }
    }
}

/// The conflict between two metrics of one name in one recorder, if they differ.
pub(crate) fn conflict_within(there: &Descriptor, here: &Descriptor) -> Option<Error> {
    let differences = there.differences(here)?;
    let message = format!(
        "metric {} is declared twice, and differs: {differences}; give it the same shape or another name",
        here.name()
    );
    Some(Error::new(ErrorKind::MetricConflict, message))
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("names", &self.entries.lock().len()).finish()
    }
}
