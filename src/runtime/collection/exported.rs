//! One metric of a runtime, as an exporter shows it.

use crate::model::clock::Timestamp;
use crate::model::label::LabelSet;
use crate::model::name::LabelKey;
use crate::model::name::MetricName;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::Folded;
use crate::model::snapshot::Kind;
use crate::runtime::collection::by_labels;
use crate::runtime::collection::diagnosis::EXAMPLES;
use crate::runtime::collection::scope::Scope;
use crate::runtime::collection::view::Change;
use crate::runtime::collection::view::View;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// One metric of a runtime: what it is, and a part for each scope that has it.
///
/// The name is unique in a collection, and every part has the same shape: the runtime refuses another when it is declared.
///
/// # Examples
///
/// ```
/// # use mvx_metrics::{Fold, prelude::*};
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
/// let snapshot = runtime.collect();
/// let [saves] = &snapshot.families(Fold::Recorder)[..] else { unreachable!() };
/// assert_eq!(saves.descriptor().kind(), mvx_metrics::Kind::Counter);
/// assert_eq!((saves.parts().len(), saves.len()), (1, 0)); // one recorder, no series before its first event
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ExportedFamily<'a> {
    descriptor: Arc<Descriptor>,
    parts: Vec<Part<'a>>,
    left_out: u64,
    doubled: Doubled,
}

/// Series that were stated before.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubled {
    pub(super) series: u64,
    pub(super) examples: Vec<LabelSet>,
}

impl<'a> ExportedFamily<'a> {
    pub(in crate::runtime) fn new(descriptor: Arc<Descriptor>) -> Self {
        Self { descriptor, parts: Vec::new(), left_out: 0, doubled: Doubled::default() }
    }

    pub(in crate::runtime) fn push(&mut self, part: Part<'a>) {
        self.parts.push(part);
    }

    /// What the metric is, under the name that a [view](View) gives it. Help and cardinality limit are those of the first recorder that
    /// declared it.
    pub fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    /// Whose series they are.
    pub fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }

    pub(super) fn view_by(&mut self, view: &'a View) {
        self.parts.iter_mut().for_each(|part| part.view = Some(view));
    }

    pub(super) fn label_all(&mut self, constant: &'a LabelSet) {
        self.parts.iter_mut().for_each(|part| part.constant = Some(constant));
    }

    /// Shows the metric otherwise: without labels, with others, with fewer buckets.
    pub(super) fn reshape(&mut self, changes: &[&Change], at: Timestamp) {
        let labels = self.labels_after(changes);
        let keys: Vec<LabelKey> = labels.iter().map(|(key, _)| key.clone()).collect();
        if keys != self.descriptor.label_keys() {
            let from: Vec<usize> = labels.into_iter().map(|(_, from)| from).collect();
            self.replace(Arc::new(self.descriptor.relabelled(keys.into())), |family, descriptor| {
                family.relabelled(descriptor, &from, at)
            });
            self.add_up_alike(at);
        }
        for change in changes {
            let Change::Bounds(bounds) = change else { continue };
            let (old, kind) = (self.descriptor.bounds(), self.descriptor.kind());
            let has_all = bounds.iter().all(|bound| old.contains(bound));
            if kind == Kind::Histogram && has_all && bounds.len() < old.len() {
                let coarser = self.descriptor.reshaped(Some(bounds), None);
                self.replace(Arc::new(coarser), |family, descriptor| family.coarsened(descriptor));
            }
        }
    }

    /// The label keys after these changes, sorted, and at which place each stands before them.
    fn labels_after(&self, changes: &[&Change]) -> Vec<(LabelKey, usize)> {
        let own = self.descriptor.label_keys();
        let mut labels: Vec<(LabelKey, usize)> = own.iter().cloned().zip(0..).collect();
        for change in changes {
            match change {
                Change::DropLabel(key) if Folded::is_alike(self.descriptor.kind()) => {
                    labels.retain(|(_, place)| own.get(*place) != Some(key));
                }
                Change::RenameLabel(from, to) => {
                    let of_parts = self.parts.iter().flat_map(|part| part.labels());
                    let taken = labels.iter().any(|(key, _)| key == to)
                        || of_parts.into_iter().any(|(key, _)| key == to.as_str());
                    let found = labels.iter_mut().find(|(_, place)| own.get(*place) == Some(from));
                    if let Some((key, _)) = found.filter(|_| !taken) {
                        *key = to.clone();
                    }
                }
                Change::DropLabel(_) | Change::Bounds(_) => {}
            }
        }
        labels.sort();
        labels
    }

    /// Adds up the parts that no label of their scope tells apart, once their series may be the same.
    fn add_up_alike(&mut self, at: Timestamp) {
        let alike = self.alike();
        let Some((first, others)) = alike.split_first().filter(|(_, others)| !others.is_empty()) else {
            return;
        };
        if !Folded::is_alike(self.descriptor.kind()) {
            return;
        }
        let mut sum = Folded::new(Arc::clone(&self.descriptor), usize::MAX);
        for part in alike.iter().filter_map(|place| self.parts.get(*place)) {
            sum.add_alike(&part.family, at);
        }
        if let Some(part) = self.parts.get_mut(*first) {
            part.family = Cow::Owned(sum.into_family());
        }
        let mut place = 0;
        self.parts.retain(|_| {
            place += 1;
            !others.contains(&(place - 1))
        });
    }

    /// The places of the parts that no label of their scope tells apart; none unless something was read beside what recorders have.
    fn alike(&self) -> Vec<usize> {
        // What was read comes last.
        if !matches!(self.parts.last(), Some(Part { scope: Scope::Runtime, .. })) {
            return Vec::new();
        }
        let parts = self.parts.iter().enumerate();
        parts.filter(|(_, part)| part.scope.labels().next().is_none()).map(|(place, _)| place).collect()
    }

    /// Adds the overflow series of all groups to the one that the group without a name has; false if it has none.
    pub(super) fn add_to_overflow(&mut self, rest: &Family) -> bool {
        let has_one = |part: &&mut Part<'a>| {
            matches!(part.scope, Scope::Group { name: None })
                && part.family.series().any(|series| series.is_overflow())
        };
        let Some(part) = self.parts.iter_mut().find(has_one) else { return false };
        let mut sum = Folded::new(Arc::clone(&self.descriptor), usize::MAX);
        sum.add_alike(&part.family, Timestamp::default());
        sum.add_alike(rest, Timestamp::default());
        part.family = Cow::Owned(sum.into_family());
        true
    }

    /// Leaves out what was stated before: of equal series the first is shown, in every format.
    pub(super) fn leave_out_doubled(&mut self) {
        let alike = self.alike();
        if alike.len() < 2 {
            return;
        }
        let mut stated = HashSet::new();
        let mut doubled: Vec<(usize, Vec<usize>)> = Vec::new();
        for (place, part) in alike.iter().filter_map(|place| Some((*place, self.parts.get(*place)?))) {
            let again =
                part.family.series().enumerate().filter(|(_, series)| !stated.insert(by_labels(*series)));
            let again: Vec<usize> = again
                .map(|(row, series)| {
                    self.doubled.series += 1;
                    if self.doubled.examples.len() < EXAMPLES {
                        self.doubled
                            .examples
                            .push(LabelSet::new(series.labels().iter()).unwrap_or(LabelSet::empty()));
                    }
                    row
                })
                .collect();
            if !again.is_empty() {
                doubled.push((place, again));
            }
        }
        for (place, rows) in doubled {
            if let Some(part) = self.parts.get_mut(place) {
                part.family = Cow::Owned(part.family.without(&|row| rows.binary_search(&row).is_ok()));
            }
        }
    }

    pub(super) fn rename(&mut self, name: MetricName) {
        self.descriptor = self.descriptor.renamed(name);
    }

    /// Evaluates what changes by the passing of time.
    pub(super) fn settle(&mut self, now: Timestamp) {
        if let Some(descriptor) = self.descriptor.settled() {
            self.replace(descriptor, |family, descriptor| family.settled(now, descriptor));
        }
    }

    /// Shows infos and state sets as numbers, for formats that have neither.
    #[cfg(feature = "export")]
    #[allow(dead_code, reason = "not every format lacks them")]
    pub(crate) fn count(&mut self) {
        if let Some(descriptor) = self.descriptor.counted() {
            self.replace(descriptor, |family, descriptor| family.counted_as(descriptor));
        }
    }

    fn replace(&mut self, by: Arc<Descriptor>, show: impl Fn(&Family, Arc<Descriptor>) -> Family) {
        for part in &mut self.parts {
            part.family = Cow::Owned(show(&part.family, Arc::clone(&by)));
        }
        self.descriptor = by;
    }

    pub(in crate::runtime) fn leave_out(&mut self, series: u64) {
        self.left_out = self.left_out.saturating_add(series);
    }

    /// Series that found no room within the runtime's
    /// [`exported_cardinality`](crate::RuntimeBuilder::exported_cardinality): they are added up in an overflow series, or, where
    /// they cannot be added, not shown.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Series that were stated twice, by two sources or by a source and a group without a name, and are shown as the first stated them. See
    /// [`RuntimeSnapshot::doubled`](crate::RuntimeSnapshot::doubled).
    pub fn doubled(&self) -> u64 {
        self.doubled.series
    }

    pub(super) fn doubled_examples(&self) -> &[LabelSet] {
        &self.doubled.examples
    }

    /// How many series the parts have in all.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.family().len()).sum()
    }

    /// Whether no part has a series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Adds a part to the family of its name, which is made where it stands by name if there is none.
pub(super) fn enter<'a>(families: &mut Vec<ExportedFamily<'a>>, scope: Scope<'a>, family: Cow<'a, Family>) {
    let found =
        families.binary_search_by(|shown| shown.descriptor.name().as_str().cmp(family.name().as_str()));
    let at = found.unwrap_or_else(|at| {
        families.insert(at, ExportedFamily::new(Arc::clone(family.descriptor())));
        at
    });
    if let Some(shown) = families.get_mut(at) {
        shown.push(Part::new(scope, family));
    }
}

/// The series of one scope in an [`ExportedFamily`].
///
/// # Examples
///
/// ```
/// # use mvx_metrics::{Fold, prelude::*};
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
/// let snapshot = runtime.collect();
/// let families = snapshot.families(Fold::Recorder);
/// let part = &families[0].parts()[0];
/// assert_eq!(part.scope().labels().next(), Some(("recorder", "storage")));
/// assert!(part.family().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Part<'a> {
    scope: Scope<'a>,
    family: Cow<'a, Family>,
    view: Option<&'a View>,
    /// The runtime's own labels, if it has any.
    constant: Option<&'a LabelSet>,
}

impl<'a> Part<'a> {
    pub(in crate::runtime) fn new(scope: Scope<'a>, family: Cow<'a, Family>) -> Self {
        Self { scope, family, view: None, constant: None }
    }

    /// Whose series these are.
    pub fn scope(&self) -> &Scope<'a> {
        &self.scope
    }

    /// The labels that all series of this part have besides their own, sorted by key: those of the scope, the runtime's
    /// [constant ones](crate::RuntimeBuilder::constant_label), and those that a [view](View) adds. No series has one of these keys.
    ///
    /// Costs a few steps for each; without a view and constant labels they are the [scope's](Scope::labels).
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a, '_> {
        let plain = self.view.is_none() && self.constant.is_none();
        let (plain, all) =
            if plain { (Some(self.scope.labels()), None) } else { (None, Some(self.all_labels())) };
        plain.into_iter().flatten().chain(all.into_iter().flatten())
    }

    fn all_labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a, '_> {
        let hidden = move |key: &str| self.view.is_some_and(|view| view.hides(key));
        let of_scope = self.scope.labels().filter(move |(key, _)| !hidden(key));
        let constant = self.constant.into_iter().flat_map(LabelSet::iter);
        let added = self.view.into_iter().flat_map(View::labels).filter(move |(key, _)| {
            // Whoever has a label of this key keeps it.
            !self.family.descriptor().label_keys().iter().any(|own| own.as_str() == *key)
                && !self.scope.labels().any(|(taken, _)| taken == *key)
                && self.constant.is_none_or(|constant| constant.get(key).is_none())
        });
        merge(merge(of_scope, constant), added)
    }

    /// The series. Their labels are the metric's own; an exporter adds [those of the part](Self::labels). The name in the family's own
    /// descriptor is the one that its metric was declared by, whatever a view calls it.
    pub fn family(&self) -> &Family {
        &self.family
    }
}

/// Two lists of labels sorted by key as one; no key is in both.
fn merge<'a>(
    one: impl Iterator<Item = (&'a str, &'a str)>,
    other: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((first, _)), Some((second, _))) if second < first => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}
