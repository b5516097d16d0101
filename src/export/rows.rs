//! What the formats share that write series one by one: which families, which series, and what was left out.

use crate::model::snapshot::Descriptor;
use crate::model::snapshot::SeriesRef;
use crate::runtime::collection::Fold;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::exported::ExportedFamily;
use crate::runtime::collection::exported::Part;

/// Writes into a string, which does not fail.
#[cfg(any(feature = "json", feature = "console", feature = "statsd"))]
macro_rules! push {
    ($out:expr, $($arguments:tt)*) => {{
        let written = write!($out, $($arguments)*);
        debug_assert!(written.is_ok(), "a string takes everything");
    }};
}
#[cfg(any(feature = "json", feature = "console", feature = "statsd"))]
pub(super) use push;

/// How much was written, and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    pub(super) series: u64,
    pub(super) omitted: Vec<Omitted>,
}

impl Written {
    /// How many series were written.
    pub fn series(&self) -> u64 {
        self.series
    }

    /// What was left out, a metric at a time.
    pub fn omitted(&self) -> &[Omitted] {
        &self.omitted
    }

    pub(crate) fn omit(&mut self, descriptor: &Descriptor, reason: &'static str, series: u64) {
        let metric = descriptor.name().as_str();
        match self.omitted.iter_mut().find(|known| known.metric == metric && known.reason == reason) {
            Some(known) => known.series += series,
            None => self.omitted.push(Omitted { metric: metric.to_owned(), reason, series }),
        }
    }
}

/// A metric, or some series of it, that a format cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Omitted {
    metric: String,
    reason: &'static str,
    series: u64,
}

impl Omitted {
    /// The metric's own name, with dots.
    pub fn metric(&self) -> &str {
        &self.metric
    }

    /// Why.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// How many series this is about.
    pub fn series(&self) -> u64 {
        self.series
    }
}

#[cfg(any(feature = "json", feature = "console", feature = "statsd"))]
pub(super) const UNKNOWN: &str = "this format has nothing for this kind of metric";
const TAKEN: &str = "a metric of the program has this name; rename it";

/// What of a snapshot is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection {
    pub(super) fold: Fold,
    pub(super) vitals: bool,
    /// Whether infos and state sets are shown as numbers: for formats that have neither.
    pub(super) counted: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Self { fold: Fold::default(), vitals: true, counted: false }
    }
}

impl Selection {
    /// For formats that have neither infos nor state sets.
    #[cfg(any(feature = "remote-write", feature = "otlp", feature = "statsd"))]
    pub(super) fn of_numbers() -> Self {
        Self { counted: true, ..Self::default() }
    }

    /// Families that have series, by name. A metric of the program's goes before one of ours, and takes the name.
    pub(super) fn families<'a>(
        &self,
        snapshot: &'a RuntimeSnapshot,
        written: &mut Written,
    ) -> Vec<ExportedFamily<'a>> {
        let vitals = if self.vitals { snapshot.vitals() } else { Vec::new() };
        let families = snapshot.families(self.fold).into_iter().chain(vitals).collect();
        self.chosen(families, written)
    }

    /// Those of the program, with every series by itself, however many there are.
    #[cfg(feature = "otlp")]
    pub(super) fn all_families<'a>(&self, snapshot: &'a RuntimeSnapshot) -> Vec<ExportedFamily<'a>> {
        self.chosen(snapshot.all_families(self.fold), &mut Written::default())
    }

    fn chosen<'a>(
        &self,
        mut families: Vec<ExportedFamily<'a>>,
        written: &mut Written,
    ) -> Vec<ExportedFamily<'a>> {
        families.retain(|family| !family.is_empty());
        if self.counted {
            families.iter_mut().for_each(ExportedFamily::count);
        }
        families.sort_by(|one, other| one.descriptor().name().cmp(other.descriptor().name()));
        families.dedup_by(|later, kept| {
            let same = later.descriptor().name() == kept.descriptor().name();
            if same {
                written.omit(later.descriptor(), TAKEN, later.len() as u64);
            }
            same
        });
        families
    }
}

/// One series, with what it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    #[allow(dead_code, reason = "not every format asks row by row")]
    pub(super) descriptor: &'a Descriptor,
    pub(super) part: &'a Part<'a>,
    pub(crate) series: SeriesRef<'a>,
}

impl<'a> Row<'a> {
    /// The labels of its part, then its own: no key is among both.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let all = self.part.labels().chain(self.series.labels().iter());
        all.filter(|(_, value)| !value.is_empty())
    }
}

/// The series of a family, in the order of its parts.
pub(crate) fn rows<'a>(family: &'a ExportedFamily<'_>) -> impl Iterator<Item = Row<'a>> {
    let descriptor = family.descriptor();
    let parts = family.parts().iter();
    parts.flat_map(move |part| part.family().series().map(move |series| Row { descriptor, part, series }))
}
