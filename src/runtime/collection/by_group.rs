//! Recorders folded into their groups.

use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Folded;
use crate::recorder::groups::Retired;
use crate::recorder::view::Snapshot;
use crate::runtime::collection::exported::ExportedFamily;
use crate::runtime::collection::exported::Part;
use crate::runtime::collection::scope::Scope;
use crate::sync::fetch;
use crate::sync::fetch_all;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

type Key<'a> = (&'a str, Option<&'a str>);

/// A part for each group; what cannot be folded, for each recorder.
pub(super) fn families<'a>(
    recorders: &'a [Snapshot],
    retired: &'a Retired,
    limit: usize,
) -> Vec<ExportedFamily<'a>> {
    let mut groups = Groups { folds: Vec::new(), by_key: BTreeMap::new(), expected: Vec::new(), limit };
    for ((name, group), kept) in &retired.families {
        let mut fold = Folded::clone(kept);
        fold.widen(limit);
        groups.begin((name.as_str(), group.as_deref()), fold);
    }
    let mut single: Vec<(&Snapshot, usize)> = Vec::new();
    for (at, recorder) in recorders.iter().enumerate() {
        ask_ahead(recorders, at);
        let group = recorder.cut.identity.group().map(|group| &**group);
        for (position, metric) in recorder.cut.metrics.iter().enumerate() {
            let family = &metric.family;
            if !Folded::takes(family.descriptor().kind()) {
                single.push((recorder, position));
                continue;
            }
            let at = groups.find(position, group, family.descriptor());
            if let Some((_, fold)) = groups.folds.get_mut(at) {
                // The catalogue has seen to it that the shapes are equal.
                fold.add_alike(family, recorder.taken_at());
            }
        }
    }
    gather(groups, &single)
}

/// Asks for the memory of the recorders to come, each step of pointers some recorders after the one before: of very many, each is in cache
/// lines of its own.
fn ask_ahead(recorders: &[Snapshot], at: usize) {
    const STEP: usize = 6;
    let ahead = |steps: usize| recorders.get(at + steps * STEP).map(|recorder| &*recorder.cut);
    if let Some(cut) = ahead(6) {
        fetch_all(cut);
    }
    if let Some(cut) = ahead(5) {
        fetch(Arc::as_ptr(&cut.identity));
        fetch_all(&*cut.metrics);
    }
    for step in 0..3 {
        if let Some(cut) = ahead(4 - step) {
            cut.metrics.iter().for_each(|metric| metric.family.fetch(step));
        }
    }
}

/// The folds in the making.
struct Groups<'a> {
    folds: Vec<(Key<'a>, Folded)>,
    by_key: BTreeMap<Key<'a>, usize>,
    /// Where the last recorder's metrics were found, by their position: the next one's mostly are the same.
    expected: Vec<usize>,
    limit: usize,
}

impl<'a> Groups<'a> {
    fn begin(&mut self, key: Key<'a>, fold: Folded) -> usize {
        let at = self.folds.len();
        self.folds.push((key, fold));
        self.by_key.insert(key, at);
        at
    }

    fn find(&mut self, position: usize, group: Option<&'a str>, descriptor: &'a Arc<Descriptor>) -> usize {
        if let Some(at) = self.expected.get(position) {
            if self.folds.get(*at).is_some_and(|((name, of), fold)| {
                let same = Arc::ptr_eq(fold.shape(), descriptor);
                *of == group && (same || *name == descriptor.name().as_str())
            }) {
                return *at;
            }
        }
        let key = (descriptor.name().as_str(), group);
        let at = match self.by_key.get(&key) {
            Some(at) => *at,
            None => self.begin(key, Folded::new(Arc::clone(descriptor), self.limit)),
        };
        self.expected.resize(self.expected.len().max(position + 1), usize::MAX);
        if let Some(expected) = self.expected.get_mut(position) {
            *expected = at;
        }
        at
    }
}

/// One family for each name; past the limit of a family, its groups are one overflow series.
fn gather<'a>(mut groups: Groups<'a>, single: &[(&'a Snapshot, usize)]) -> Vec<ExportedFamily<'a>> {
    let mut families: BTreeMap<&str, ExportedFamily<'a>> = BTreeMap::new();
    let mut rests: BTreeMap<&str, Folded> = BTreeMap::new();
    let mut folds: Vec<Option<(Key<'a>, Folded)>> = groups.folds.drain(..).map(Some).collect();
    for at in groups.by_key.into_values() {
        let Some(((name, group), fold)) = folds.get_mut(at).and_then(Option::take) else { continue };
        let descriptor = fold.family().descriptor().clone();
        let shown = families.entry(name).or_insert_with(|| ExportedFamily::new(descriptor));
        shown.leave_out(fold.past_limit());
        // The overflow series itself needs no room.
        let series = fold.family().series().filter(|series| !series.is_overflow()).count();
        if shown.len() + series <= groups.limit + shown.parts().len() {
            shown.push(Part::new(Scope::Group { name: group }, Cow::Owned(fold.into_family())));
        } else {
            shown.leave_out(series as u64);
            let rest =
                rests.entry(name).or_insert_with(|| Folded::new(fold.family().descriptor().clone(), 0));
            rest.add(fold.family(), Default::default());
        }
    }
    for (name, rest) in rests {
        let Some(shown) = families.get_mut(name) else { continue };
        if !shown.add_to_overflow(rest.family()) {
            shown.push(Part::new(Scope::Runtime, Cow::Owned(rest.into_family())));
        }
    }
    for (recorder, position) in single {
        let Some(metric) = recorder.cut.metrics.get(*position) else { continue };
        let family = &metric.family;
        let shown = families
            .entry(family.name().as_str())
            .or_insert_with(|| ExportedFamily::new(family.descriptor().clone()));
        if shown.len() + family.len() <= groups.limit {
            shown.push(Part::new(Scope::of_recorder(recorder), Cow::Borrowed(family)));
        } else {
            shown.leave_out(family.len() as u64);
        }
    }
    let mut families: Vec<_> = families.into_values().collect();
    // What is counted has a name of its own.
    families.sort_by(|one, other| one.descriptor().name().cmp(other.descriptor().name()));
    families
}
