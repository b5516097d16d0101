//! Families as somebody else wants to see them: with other labels, or with fewer buckets.

use crate::model::clock::Timestamp;
use crate::model::snapshot::columns::Values;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::family::Family;
use crate::model::snapshot::fold::Folded;
use crate::model::snapshot::histograms::Histograms;
use crate::model::snapshot::keys::SeriesKeys;
use std::sync::Arc;

impl Family {
    /// The same series with the labels of `descriptor`, each of which was at the place that `from` says. Where labels are fewer, series that
    /// become one are added up, exactly; levels by the fold of their metric, and as of the time `at`.
    pub(crate) fn relabelled(&self, descriptor: Arc<Descriptor>, from: &[usize], at: Timestamp) -> Self {
        let mut keys = SeriesKeys::new(descriptor.label_keys_shared());
        for series in 0..self.len() {
            let started = self.keys.started(series);
            if self.keys.overflow() == Some(series) {
                keys.push_overflow(started);
            } else {
                let text = |position: &usize| {
                    std::str::from_utf8(self.keys.value(series, *position)).unwrap_or_default()
                };
                keys.push(from.iter().map(text), started);
            }
        }
        let family = Self { descriptor, keys, ..self.clone() };
        if from.len() == self.keys.width() {
            return family;
        }
        let mut folded = Folded::new(Arc::clone(&family.descriptor), usize::MAX);
        folded.add_alike(&family, at);
        folded.into_family()
    }

    /// The same histograms with the bounds of `descriptor`, all of which they have: each bucket goes to the one that encloses it.
    pub(crate) fn coarsened(&self, descriptor: Arc<Descriptor>) -> Self {
        let (old, new) = (self.descriptor.bounds(), descriptor.bounds());
        let Values::Histogram(column) = &self.values else { return self.clone() };
        let target: Vec<usize> = old.iter().map(|bound| new.partition_point(|new| new < bound)).collect();
        let mut coarse = Histograms::new(new.len());
        for series in 0..self.len() {
            let (Some(histogram), Some(moments)) = (column.get(series, old), column.moments(series)) else {
                continue;
            };
            let mut buckets = vec![0_u64; new.len() + 1];
            for (at, count) in histogram.buckets().enumerate() {
                let target = target.get(at).copied().unwrap_or(new.len());
                if let Some(bucket) = buckets.get_mut(target) {
                    *bucket = bucket.saturating_add(count);
                }
            }
            coarse.put(series, &buckets, moments.clone());
        }
        Self { descriptor, values: Values::Histogram(coarse), ..self.clone() }
    }
}
