//! Recorders folded into their groups.

use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Folded;
use crate::recorder::groups::Retired;
use crate::recorder::view::Snapshot;
use crate::runtime::collection::exported::ExportedFamily;
use crate::runtime::collection::exported::Part;
use crate::runtime::collection::parts::Parts;
use crate::runtime::collection::scope::Scope;
use crate::sync::fetch;
use crate::sync::fetch_all;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

type Key<'a> = (&'a str, Option<&'a str>);

/// A part for each group; what cannot be folded, for each recorder.
///
/// Very many recorders are folded in parts, a thread for each, and the parts then added up: the time goes into waiting for memory, which each core does for
/// itself.
pub(super) fn families<'a>(
    recorders: &'a [Snapshot],
    retired: &'a Retired,
    limit: usize,
    parts: Parts,
) -> Vec<ExportedFamily<'a>> {
    let each = parts.map(recorders, |part, recorders| {
        let mut groups = if part == 0 { Groups::of_retired(retired, limit) } else { Groups::new(limit) };
        groups.add(recorders);
        groups
    });
    let mut each = each.into_iter();
    let mut groups = each.next().unwrap_or_else(|| Groups::of_retired(retired, limit));
    if !each.all(|part| groups.absorb(part)) {
        groups = Groups::of_retired(retired, limit);
        groups.add(recorders);
    }
    gather(groups)
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
    /// What cannot be folded, with its position among the metrics of its recorder.
    single: Vec<(&'a Snapshot, usize)>,
    limit: usize,
}

impl<'a> Groups<'a> {
    fn new(limit: usize) -> Self {
        Self { folds: Vec::new(), by_key: BTreeMap::new(), expected: Vec::new(), single: Vec::new(), limit }
    }

    /// What removed recorders have left.
    fn of_retired(retired: &'a Retired, limit: usize) -> Self {
        let mut groups = Self::new(limit);
        for ((name, group), kept) in &retired.families {
            let mut fold = Folded::clone(kept);
            fold.widen(limit);
            groups.begin((name.as_str(), group.as_deref()), fold);
        }
        groups
    }

    fn add(&mut self, recorders: &'a [Snapshot]) {
        for (at, recorder) in recorders.iter().enumerate() {
            ask_ahead(recorders, at);
            let group = recorder.cut.identity.group().map(|group| &**group);
            for (position, metric) in recorder.cut.metrics.iter().enumerate() {
                let family = &metric.family;
                if !Folded::takes(family.descriptor().kind()) {
                    self.single.push((recorder, position));
                    continue;
                }
                let at = self.find(position, group, family.descriptor());
                if let Some((_, fold)) = self.folds.get_mut(at) {
                    // The catalogue has seen to it that the shapes are equal.
                    fold.add_alike(family, recorder.taken_at());
                }
            }
        }
    }

    /// Adds the part that follows in the order; false if it is to be folded without parts.
    fn absorb(&mut self, part: Self) -> bool {
        self.single.extend(part.single);
        part.folds.into_iter().all(|(key, fold)| match self.by_key.get(&key) {
            Some(at) => self.folds.get_mut(*at).is_some_and(|(_, ours)| ours.absorb(&fold)),
            // Nothing came before it, so it is what it would be without parts; if it has exceeded something, that is told to the next.
            None => {
                self.begin(key, fold);
                true
            }
        })
    }

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
fn gather<'a>(mut groups: Groups<'a>) -> Vec<ExportedFamily<'a>> {
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
    for (recorder, position) in groups.single {
        let Some(metric) = recorder.cut.metrics.get(position) else { continue };
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

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::metric::Metric;
    use crate::model::event::MetricEvent;
    use crate::model::name::FieldName;
    use crate::model::snapshot::Family;
    use crate::model::snapshot::FamilyWriter;
    use crate::model::snapshot::GaugeFold;
    use crate::model::snapshot::Kind;
    use crate::model::verdict::Context;
    use crate::model::verdict::Verdict;
    use crate::recorder::builder::RecorderBuilder;
    use crate::runtime::MetricsRuntime;
    use crate::runtime::collection::RuntimeSnapshot;
    use proptest::prelude::*;
    use std::time::Duration;

    #[derive(Clone, Copy, Debug)]
    struct Moved {
        label: u8,
        value: f64,
        whole: u16,
    }

    impl MetricEvent for Moved {
        fn event_type(&self) -> &'static str {
            "moved"
        }
    }

    /// What cannot be folded.
    #[derive(Debug)]
    struct Seen(Arc<Descriptor>, u64);

    impl Metric<Moved> for Seen {
        fn descriptor(&self) -> &Arc<Descriptor> {
            &self.0
        }

        fn handle_event(&mut self, _: &Moved, _: &Context) -> Verdict {
            self.1 += 1;
            Verdict::Accepted
        }

        fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
            writer.field(&FieldName::new("events").unwrap(), self.1);
        }
    }

    /// Every kind of metric, and every rule by which gauges are folded.
    fn every_kind(mut builder: RecorderBuilder<Moved>) -> RecorderBuilder<Moved> {
        const STATES: [&str; 3] = ["open", "closed", "ajar"];
        let rules = [
            ("g.sum", GaugeFold::Sum),
            ("g.min", GaugeFold::Min),
            ("g.max", GaugeFold::Max),
            ("g.count", GaugeFold::Count),
            ("g.last", GaugeFold::Last),
        ];
        for (name, rule) in rules {
            builder =
                builder.gauge(name, |g| g.fold(rule).label("l", |e| e.label.into()).value(|e| Some(e.value)));
        }
        builder
            .counter("a", |c| {
                c.label("l", |e| e.label.into()).exemplar(|e, labels| labels.label("of", i64::from(e.whole)))
            })
            .counter("b", |c| c.label("l", |e| e.label.into()).value(|e| Some(e.value.abs())))
            .up_down("c", |u| u.value(|e| Some(i64::from(e.whole) - 9)))
            .histogram("d", |h| h.bounds(&[0.0, 1.5]).label("l", |e| e.label.into()).value(|e| Some(e.value)))
            .exponential_histogram("e", |h| h.value(|e| Some(e.value)))
            .average("f", |a| a.value(|e| Some(e.value)))
            .summary("h", |s| s.value(|e| Some(e.value)))
            .windowed_summary("i", |s| s.value(|e| Some(e.value)))
            .rate("j", |r| r.value(|e| Some(u64::from(e.whole))))
            .heartbeat("k", |h| h)
            .min("m", |m| m.value(|e| Some(e.value)))
            .max("n", |m| m.value(|e| Some(e.value)))
            .info("o", |i| i.constant("model", "V2"))
            .metric(Seen(Descriptor::builder("q", Kind::Fields).build().unwrap(), 0))
            .state_set("p", &STATES, |s| s.state(|e| STATES.get(usize::from(e.label) % 4).copied()))
    }

    /// A recorder for each of these, and one more that is removed, so that its group has totals.
    fn collected(events: &[Vec<Moved>]) -> RuntimeSnapshot {
        let runtime = MetricsRuntime::builder("parts").build().unwrap();
        runtime.start().unwrap();
        let patience = Duration::from_secs(60);
        let create = |id: &str, group: usize| {
            let builder = runtime.recorder::<Moved>(id);
            let builder = if group == 0 { builder } else { builder.group(&format!("g{group}")) };
            every_kind(builder).create().unwrap()
        };
        let removed = create("removed", 1);
        events.iter().flatten().for_each(|event| removed.register_event(*event));
        runtime.stop_and_remove("removed", patience).unwrap();
        let mut recorders = Vec::new();
        for (id, events) in events.iter().enumerate() {
            let recorder = create(&id.to_string(), id % 3);
            events.iter().for_each(|event| recorder.register_event(*event));
            recorders.push(recorder);
        }
        runtime.flush_blocking(patience).unwrap();
        runtime.collect()
    }

    /// Whose it is, what it is, and how many series were left out of the metric.
    fn shown(snapshot: &RuntimeSnapshot, limit: usize, parts: usize) -> Vec<(String, Family, u64)> {
        let families = families(&snapshot.recorders, &snapshot.retired, limit, Parts::exactly(parts));
        let shown = families.iter().flat_map(|family| {
            let parts = family.parts().iter();
            parts.map(|part| (format!("{:?}", part.scope()), part.family().clone(), family.left_out()))
        });
        shown.collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn in_however_many_parts_recorders_come_to_the_same(
            events in proptest::collection::vec(
                proptest::collection::vec((0_u8..6, -1e3_f64..1e3, 0_u16..20), 0..6),
                1..12,
            ),
            limit in 1_usize..12,
        ) {
            let events: Vec<Vec<Moved>> = events
                .into_iter()
                .map(|events| events.into_iter().map(|(label, value, whole)| Moved { label, value, whole }).collect())
                .collect();
            let snapshot = collected(&events);
            let whole = shown(&snapshot, limit, 1);
            prop_assert!(!whole.is_empty());
            for parts in [2, 3, 12] {
                prop_assert_eq!(&shown(&snapshot, limit, parts), &whole);
            }
        }
    }

    #[test]
    fn what_exceeds_a_range_comes_to_the_same_in_parts() {
        let huge = Moved { label: 0, value: f64::MAX, whole: 1 };
        let snapshot =
            collected(&[vec![huge; 3], vec![huge], vec![Moved { value: -f64::MAX, ..huge }], vec![huge]]);
        let whole = shown(&snapshot, 10, 1);
        assert!(whole.iter().any(|(_, family, _)| family.saturated() > 0), "{whole:?}");
        assert_eq!(shown(&snapshot, 10, 2), whole);
        assert_eq!(shown(&snapshot, 10, 4), whole);
    }
}
