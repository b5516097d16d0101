//! Exemplars by the buckets that are shown.

use crate::model::snapshot::Exemplar;
use crate::model::snapshot::SeriesRef;
use std::iter::Peekable;

/// The exemplars of a series, to be asked for bucket by bucket, bounds rising.
pub(in crate::export) struct ByBound<I: Iterator>(Peekable<I>);

/// Of this series.
pub(in crate::export) fn by_bound<'a>(
    series: SeriesRef<'a>,
) -> ByBound<impl Iterator<Item = &'a Exemplar> + use<'a>> {
    ByBound(series.exemplars().peekable())
}

impl<'a, I: Iterator<Item = &'a Exemplar>> ByBound<I> {
    /// The newest of those that are not above this bound, and above the one before.
    pub(in crate::export) fn up_to(&mut self, bound: f64) -> Option<&'a Exemplar> {
        let mut newest: Option<&Exemplar> = None;
        while let Some(next) = self.0.next_if(|next| next.value().as_f64() <= bound) {
            newest = newest.filter(|known| known.at() > next.at()).or(Some(next));
        }
        newest
    }
}
