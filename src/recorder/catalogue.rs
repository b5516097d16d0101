//! What every recorder of a runtime measures, by name: refuses what an exporter could not tell apart.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::model::heap;
use crate::model::label::LabelSet;
use crate::model::limits;
use crate::model::name::MetricName;
use crate::model::name::RecorderId;
use crate::model::prometheus;
use crate::model::snapshot::Descriptor;
use crate::recorder::actor::first_shown;
use crate::recorder::dispatch::Slot;
use crate::recorder::view::MetricCut;
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
    names: Mutex<Names>,
    /// What recorders of the same metrics show before their first event.
    first_shown: Mutex<Vec<Arc<[MetricCut]>>>,
}

#[derive(Default)]
struct Names {
    /// The constant labels of the runtime, whose keys no metric may have.
    constant: LabelSet,
    metrics: HashMap<MetricName, Entry>,
    /// Each name that a format writes for one of them, and whose it is.
    written: HashMap<String, MetricName>,
}

struct Entry {
    descriptor: Arc<Descriptor>,
    owner: Owner,
    /// Somebody else has it, too: then it stays as it is.
    shared: bool,
}

/// Who declares a metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Owner {
    Recorder(RecorderId),
    Source(RecorderId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorder(id) => write!(f, "recorder {id}"),
            Self::Source(name) => write!(f, "source {name}"),
        }
    }
}

/// A metric of a runtime, and who declared it first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CatalogueEntry {
    /// What it is: name, kind, unit, bounds and label keys.
    pub descriptor: Arc<Descriptor>,
    /// Who declared it first: `recorder storage`, `source process`.
    pub owner: String,
}

impl Catalogue {
    /// Refuses from now on what has a label of the key of one of these.
    pub(crate) fn take_keys_of(&self, labels: LabelSet) {
        self.names.lock().constant = labels;
    }

    /// Refuses constant labels of a recorder that are the runtime's.
    pub(crate) fn check_constant(&self, labels: &LabelSet) -> Result<(), Error> {
        let constant = self.names.lock().constant.clone();
        match labels.iter().find(|(key, _)| constant.get(key).is_some()) {
            None => Ok(()),
            Some((key, _)) => {
                let message = format!(
                    "`{key}` is a constant label of the runtime; give the recorder's another key, or leave it out"
                );
                Err(Error::new(ErrorKind::MetricConflict, message))
            }
        }
    }

    /// Every metric that was ever declared, by name.
    pub(crate) fn list(&self) -> Vec<CatalogueEntry> {
        let names = self.names.lock();
        let entries = names.metrics.values().map(|entry| CatalogueEntry {
            descriptor: Arc::clone(&entry.descriptor),
            owner: entry.owner.to_string(),
        });
        let mut entries: Vec<_> = entries.collect();
        drop(names);
        entries.sort_by(|ours, theirs| ours.descriptor.name().cmp(theirs.descriptor.name()));
        entries
    }

    /// What it takes on the heap, descriptors included.
    pub(crate) fn heap_bytes(&self) -> usize {
        let names = self.names.lock();
        let metrics = heap::map(names.metrics.capacity(), size_of::<(MetricName, Entry)>());
        let written = heap::map(names.written.capacity(), size_of::<(String, MetricName)>());
        let descriptors = names.metrics.values().map(|entry| entry.descriptor.heap_bytes());
        let texts = names.written.keys().map(String::capacity);
        let named = metrics + written + descriptors.sum::<usize>() + texts.sum::<usize>();
        drop(names);
        let first = self.first_shown.lock();
        named + heap::vec(&first) + first.iter().map(|shown| heap::arc(&**shown)).sum::<usize>()
    }

    /// The descriptor of this metric that is known already, if the two are equal in all: whoever shows many recorders then meets one in all of them.
    pub(crate) fn known(&self, descriptor: &Descriptor) -> Option<Arc<Descriptor>> {
        let names = self.names.lock();
        let known = &names.metrics.get(descriptor.name())?.descriptor;
        (**known == *descriptor).then(|| Arc::clone(known))
    }

    /// What recorders of equal metrics show before their first event, if these show nothing but what they are.
    pub(crate) fn shown_at_first<E: MetricEvent>(&self, slots: &[Slot<E>]) -> Option<Arc<[MetricCut]>> {
        if !slots.iter().all(Slot::shows_nothing_at_first) {
            return None;
        }
        let alike = |slot: &Slot<E>, shown: &MetricCut| {
            Arc::ptr_eq(slot.descriptor(), shown.family.descriptor())
                && slot.own_bytes() == shown.metric_bytes
        };
        let is_known = |shown: &Arc<[MetricCut]>| {
            shown.len() == slots.len() && slots.iter().zip(&**shown).all(|(slot, shown)| alike(slot, shown))
        };
        let mut recent = self.first_shown.lock();
        if let Some(at) = recent.iter().position(is_known) {
            // Those that are asked for stay, and are found soon.
            recent.swap(at, at / 2);
            return recent.get(at / 2).cloned();
        }
        let fresh: Arc<[MetricCut]> = slots.iter().map(first_shown).collect();
        recent.truncate(limits::SHARED_FIRST_CUTS - 1);
        recent.push(Arc::clone(&fresh));
        Some(fresh)
    }

    /// Declares metrics of `owner`, together with what `enter` does: all of it, or nothing and the first conflict or failure.
    ///
    /// `enter` runs under the catalogue's lock, so no other declaration comes between the check and the entry; it takes the
    /// registry's or the mailbox's lock and runs no user code.
    pub(crate) fn declare(
        &self,
        owner: &Owner,
        metrics: &[Arc<Descriptor>],
        enter: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Where it is not called it is dropped after the lock: it may own what is the user's.
        let mut enter = Some(enter);
        let mut names = self.names.lock();
        names.declare(owner, metrics, || enter.take().map_or(Ok(()), |enter| enter()))
    }

    /// Declares a metric that a source has found. It may have another shape than it had, as long as nobody else has a metric of its name.
    pub(crate) fn declare_found(&self, owner: &Owner, metric: &Arc<Descriptor>) -> Result<(), Error> {
        let mut names = self.names.lock();
        let before = names.take_if_changed(owner, metric);
        let declared = names.declare(owner, std::slice::from_ref(metric), || Ok(()));
        if let (Err(_), Some((entry, written))) = (&declared, before) {
            names.written.extend(written.into_iter().map(|text| (text, metric.name().clone())));
            names.metrics.insert(metric.name().clone(), entry);
        }
        declared
    }
}

impl Names {
    fn declare(
        &mut self,
        owner: &Owner,
        metrics: &[Arc<Descriptor>],
        enter: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut fresh = Self::default();
        for descriptor in metrics {
            let name = descriptor.name();
            if let Some(entry) = self.metrics.get_mut(name).or_else(|| fresh.metrics.get_mut(name)) {
                check(entry, descriptor, owner)?;
                entry.shared = entry.shared || entry.owner != *owner;
                continue;
            }
            refuse_twice(&self.constant, descriptor)?;
            for written in written_names(descriptor) {
                if let Some(other) = self.written.get(&written).or_else(|| fresh.written.get(&written)) {
                    if other == name {
                        continue;
                    }
                    let entry = self.metrics.get(other).or_else(|| fresh.metrics.get(other));
                    let owner_there = entry.map_or(owner, |entry| &entry.owner);
                    let message = format!(
                        "metric {name} of {owner} and metric {other} of {owner_there} are one name in Prometheus, `{written}`; rename one of them"
                    );
                    return Err(Error::new(ErrorKind::MetricConflict, message));
                }
                fresh.written.insert(written, name.clone());
            }
            let entry = Entry { descriptor: Arc::clone(descriptor), owner: owner.clone(), shared: false };
            fresh.metrics.insert(name.clone(), entry);
        }
        enter()?;
        self.metrics.extend(fresh.metrics);
        self.written.extend(fresh.written);
        Ok(())
    }

    /// Takes a metric out, with the names that are written for it, if it is this owner's alone and differs from this one.
    fn take_if_changed(&mut self, owner: &Owner, metric: &Descriptor) -> Option<(Entry, Vec<String>)> {
        let entry = self.metrics.get(metric.name())?;
        if entry.shared || entry.owner != *owner || entry.descriptor.same_shape(metric) {
            return None;
        }
        let written: Vec<String> = written_names(&entry.descriptor).collect();
        written.iter().for_each(|text| drop(self.written.remove(text)));
        Some((self.metrics.remove(metric.name())?, written))
    }
}

/// Refuses a metric that has a label of the key of a constant one of the runtime.
pub(crate) fn refuse_twice(constant: &LabelSet, descriptor: &Descriptor) -> Result<(), Error> {
    match descriptor.label_keys().iter().find(|key| constant.get(key.as_str()).is_some()) {
        None => Ok(()),
        Some(key) => {
            let message = format!(
                "metric {} has a label `{key}`, which is a constant label of the runtime: give one of them another key",
                descriptor.name()
            );
            Err(Error::new(ErrorKind::MetricConflict, message))
        }
    }
}

/// Every name that a format writes for this metric: what is equal here is one name there.
fn written_names(descriptor: &Descriptor) -> impl Iterator<Item = String> {
    let family = prometheus::family_name(descriptor);
    let neutral = descriptor.name().as_str().replace('.', "_");
    let suffixes = prometheus::suffixes(descriptor.kind()).iter();
    suffixes.map(move |suffix| format!("{family}{suffix}")).chain([neutral])
}

fn check(entry: &Entry, descriptor: &Arc<Descriptor>, owner: &Owner) -> Result<(), Error> {
    let there = &entry.descriptor;
    if Arc::ptr_eq(there, descriptor) {
        return Ok(());
    }
    let (here, other) = (descriptor.name(), &entry.owner);
    match there.differences(descriptor) {
        None => Ok(()),
        Some(differences) => {
            let message = format!(
                "metric {here} of {owner} differs from the one of {other}: {differences}; give it the same shape or another name"
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
        f.debug_struct("Catalogue").field("names", &self.names.lock().metrics.len()).finish()
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::metric::Counter;
    use crate::metric::CounterBuilder;

    struct Step;

    impl MetricEvent for Step {
        const EVENT_TYPES: &'static [&'static str] = &["step"];

        fn event_type(&self) -> &'static str {
            "step"
        }
    }

    fn slot(counter: CounterBuilder<Step>) -> Slot<Step> {
        Slot::new(counter.build().unwrap()).unwrap()
    }

    fn name_of(shown: &[MetricCut]) -> &str {
        shown[0].family.name().as_str()
    }

    #[test]
    fn only_recorders_of_equal_metrics_share_what_they_show_at_first() {
        let catalogue = Catalogue::default();
        let shown = |slot: Slot<Step>| catalogue.shown_at_first(&[slot]).unwrap();
        let saves = || slot(Counter::builder("saves"));
        let known = Arc::clone(saves().descriptor());
        let shared = |mut slot: Slot<Step>| {
            slot.share(Arc::clone(&known));
            slot
        };
        let first = shown(shared(saves()));
        assert!(Arc::ptr_eq(&first, &shown(shared(saves()))));
        let other = shown(slot(Counter::builder("loads")));
        assert_eq!((name_of(&first), name_of(&other)), ("saves", "loads"));
        // Whoever compares addresses of descriptors is to find one in all of them.
        let own = shown(saves());
        assert!(!Arc::ptr_eq(own[0].family.descriptor(), &known));
        // A metric that wants to see some events alone has a route as well, which is told in the report of memory.
        let routed = shared(slot(Counter::builder("saves").on(&["step"])));
        let bytes = routed.own_bytes();
        assert_eq!((shown(routed)[0].metric_bytes, bytes > first[0].metric_bytes), (bytes, true));
        assert!(catalogue.shown_at_first(&[shared(saves()), saves()]).is_some_and(|both| both.len() == 2));
    }
}
