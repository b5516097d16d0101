//! Each recorder by itself.

use crate::model::snapshot::Folded;
use crate::recorder::view::Snapshot;
use crate::runtime::collection::exported::ExportedFamily;
use crate::runtime::collection::exported::Part;
use crate::runtime::collection::scope::Scope;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A part for each recorder, as long as there is room; the recorders past it are one overflow series.
pub(super) fn families(recorders: &[Snapshot], limit: usize) -> Vec<ExportedFamily<'_>> {
    let mut families: BTreeMap<&str, Gathered<'_>> = BTreeMap::new();
    for recorder in recorders {
        for metric in recorder.metrics() {
            let family = metric.family();
            let gathered = families.entry(family.name().as_str()).or_insert_with(|| Gathered {
                shown: ExportedFamily::new(family.descriptor().clone()),
                series: 0,
                rest: None,
            });
            gathered.series += family.len();
            if gathered.series <= limit || family.is_empty() {
                gathered.shown.push(Part::new(Scope::of_recorder(recorder), Cow::Borrowed(family)));
                continue;
            }
            gathered.series -= family.len();
            gathered.shown.leave_out(family.len() as u64);
            if !Folded::is_alike(family.descriptor().kind()) {
                continue;
            }
            let rest = gathered.rest.get_or_insert_with(|| Folded::new(family.descriptor().clone(), 0));
            rest.add(family, recorder.taken_at());
        }
    }
    families.into_values().map(Gathered::finish).collect()
}

struct Gathered<'a> {
    shown: ExportedFamily<'a>,
    series: usize,
    rest: Option<Folded>,
}

impl<'a> Gathered<'a> {
    fn finish(mut self) -> ExportedFamily<'a> {
        if let Some(rest) = self.rest.filter(|rest| !rest.family().is_empty()) {
            self.shown.push(Part::new(Scope::Runtime, Cow::Owned(rest.into_family())));
        }
        self.shown
    }
}
