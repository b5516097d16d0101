//! Families as somebody else wants to see them: with other labels, or with fewer buckets.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::label::LabelSet;
use crate::model::limits::MAX_LABELS;
use crate::model::name::LabelKey;
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

    /// The same series with these labels beside their own, which have none of their keys.
    pub(crate) fn with_labels(&self, added: &LabelSet) -> Result<Self, Error> {
        let own = self.descriptor.label_keys().iter().enumerate().map(|(at, key)| (key.clone(), Ok(at)));
        let mut all: Vec<(LabelKey, Result<usize, &str>)> = own.collect();
        for (key, value) in added.iter() {
            all.push((LabelKey::new(key)?, Err(value)));
        }
        if all.len() > MAX_LABELS {
            let message =
                format!("metric {} has {} labels, and has room for {MAX_LABELS}", self.name(), all.len());
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let labels: Arc<[LabelKey]> = all.iter().map(|(key, _)| key.clone()).collect();
        let descriptor = Arc::new(self.descriptor.relabelled(labels));
        let mut keys = SeriesKeys::new(descriptor.label_keys_shared());
        for series in 0..self.len() {
            let started = self.keys.started(series);
            if self.keys.overflow() == Some(series) {
                keys.push_overflow(started);
                continue;
            }
            let texts: Vec<&str> = self.keys.texts(series).collect();
            let text = |(_, from): &(LabelKey, Result<usize, &'_ str>)| match from {
                Ok(at) => texts.get(*at).copied().unwrap_or_default().to_owned(),
                Err(value) => (*value).to_owned(),
            };
            let values: Vec<String> = all.iter().map(text).collect();
            keys.push(values.iter().map(String::as_str), started);
        }
        Ok(Self { descriptor, keys, ..self.clone() })
    }

    /// The same without the series at these places.
    pub(crate) fn without(&self, is_gone: &dyn Fn(usize) -> bool) -> Self {
        let mut family = self.clone();
        family.keys = self.keys.split(is_gone).0;
        family.values.take_out(is_gone);
        drop(family.exemplars.take_out(is_gone));
        family
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
        let exemplars = self.exemplars.reshaped(&descriptor);
        Self { descriptor, values: Values::Histogram(coarse), exemplars, ..self.clone() }
    }
}
