//! Quantiles estimated from buckets.

use crate::model::snapshot::value::HistogramRef;

impl HistogramRef<'_> {
    /// Estimates the value that the share `q` of the observations does not exceed, by linear interpolation within a bucket.
    ///
    /// This is how Prometheus's `histogram_quantile` estimates: the observations of a bucket are taken to lie evenly between its
    /// bounds. Beyond that, the smallest and the largest observation are known here, and the ends of the buckets they lie in are moved
    /// to them: so the open last bucket ends at the maximum, the first one begins at the minimum, `quantile(0.0)` is the minimum and
    /// `quantile(1.0)` the maximum. Only where a custom metric states no extremes, Prometheus's own rules take their place: the
    /// first bucket begins at 0, or is a point if its bound is not above 0, and of the open one its lower bound is told.
    ///
    /// `None` without observations, for a `q` outside 0..=1, and for a NaN.
    ///
    /// **Error**: the observation of rank `q * count`, rounded up, lies in the same bucket, and so does the estimate; they differ by
    /// less than that bucket is wide, the extremes taken as its ends. Choose bounds close together where quantiles are to be told
    /// exactly. Quantiles of several recorders are not to be averaged: merge the buckets, and estimate once.
    ///
    /// **Cost**: two passes over the buckets.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{Context, Family, FamilyWriter, Histogram, Metric, Timestamp};
    ///
    /// let mut size = Histogram::<f64>::builder("size").bounds(&[10.0, 20.0]).value(|e| Some(*e)).build()?;
    /// for value in [2.0, 4.0, 10.0, 12.0, 14.0, 50.0] {
    ///     let _ = size.handle_event(&value, &Context::new(Timestamp::default(), 1));
    /// }
    /// let mut family = Family::new(size.descriptor().clone());
    /// size.snapshot(&mut FamilyWriter::whole(&mut family));
    /// let size = family.find(&[]).and_then(|series| series.value().histogram()).unwrap();
    ///
    /// assert_eq!(size.quantile(0.25), Some(6.0)); // rank 1.5 of the 3 from 2 to 10
    /// assert_eq!(size.quantile(0.75), Some(17.5)); // rank 4.5: 1.5 of the 2 from 10 to 20
    /// assert_eq!(size.quantile(1.0), Some(50.0)); // the maximum, which the open bucket has for an end
    /// assert_eq!(size.quantile(1.1), None);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let rank = q * count as f64;
        let mut below = 0_u64;
        for (at, held) in self.buckets().enumerate() {
            let up_to = below.saturating_add(held);
            if held > 0 && up_to as f64 >= rank {
                let (low, high) = self.ends(at)?;
                let share = ((rank - below as f64) / held as f64).clamp(0.0, 1.0);
                // Not `low + (high - low) * share`, whose difference overflows for the widest buckets.
                return Some((low * (1.0 - share) + high * share).clamp(low, high));
            }
            below = up_to;
        }
        None
    }

    /// Between which values the observations of a bucket lie; `low <= high`.
    fn ends(&self, bucket: usize) -> Option<(f64, f64)> {
        let bounds = self.bounds();
        let above = bucket.checked_sub(1).and_then(|before| bounds.get(before)).copied();
        let upto = bounds.get(bucket).copied();
        let low = match (above, self.min(), upto) {
            (Some(bound), Some(min), _) => bound.max(min),
            (Some(bound), None, _) => bound,
            (None, Some(min), _) => min,
            (None, None, Some(_)) => 0.0,
            (None, None, None) => return None,
        };
        let high = match (upto, self.max()) {
            (Some(bound), Some(max)) => bound.min(max),
            (Some(bound), None) => bound,
            (None, Some(max)) => max,
            (None, None) => low,
        };
        // The first bucket may end below 0, and a custom metric may have stated extremes that contradict its buckets.
        Some((low.min(high), high))
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use crate::model::label::LabelSet;
    use crate::model::snapshot::Descriptor;
    use crate::model::snapshot::ExactSum;
    use crate::model::snapshot::Family;
    use crate::model::snapshot::FamilyWriter;
    use crate::model::snapshot::Kind;
    use proptest::prelude::*;

    /// A family with one histogram of these buckets.
    fn family(bounds: &[f64], buckets: &[u64], extremes: Option<(f64, f64)>) -> Family {
        let descriptor = Descriptor::builder("size", Kind::Histogram).bounds(bounds).build().unwrap();
        let mut family = Family::new(descriptor);
        FamilyWriter::whole(&mut family).histogram(
            &LabelSet::empty(),
            buckets,
            &ExactSum::default(),
            extremes,
        );
        assert_eq!(family.faults(), 0);
        family
    }

    fn quantile(family: &Family, q: f64) -> Option<f64> {
        family.find(&[]).unwrap().value().histogram().unwrap().quantile(q)
    }

    /// In which bucket a value lies.
    fn bucket_of(bounds: &[f64], value: f64) -> usize {
        bounds.iter().filter(|bound| **bound < value).count()
    }

    fn of_samples(bounds: &[f64], sorted: &[f64]) -> Family {
        let mut buckets = vec![0; bounds.len() + 1];
        sorted.iter().for_each(|value| buckets[bucket_of(bounds, *value)] += 1);
        family(bounds, &buckets, Some((sorted[0], sorted[sorted.len() - 1])))
    }

    #[test]
    fn nothing_observed_and_shares_outside_0_to_1_have_no_quantile() {
        let empty = family(&[1.0], &[0, 0], None);
        assert_eq!(quantile(&empty, 0.5), None);
        let some = family(&[1.0], &[1, 1], Some((0.5, 3.0)));
        for q in [-0.1, 1.000_001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(quantile(&some, q), None, "{q}");
        }
        assert_eq!((quantile(&some, -0.0), quantile(&some, 1.0)), (Some(0.5), Some(3.0)));
    }

    #[test]
    fn without_extremes_the_ends_are_those_of_prometheus() {
        // Its documentation: the first bucket begins at 0 if its bound is above, of the last one its lower bound is returned.
        let plain = family(&[10.0, 20.0], &[4, 2, 2], None);
        assert_eq!(quantile(&plain, 0.0), Some(0.0));
        assert_eq!(quantile(&plain, 0.25), Some(5.0));
        assert_eq!(quantile(&plain, 0.625), Some(15.0));
        assert_eq!((quantile(&plain, 0.9), quantile(&plain, 1.0)), (Some(20.0), Some(20.0)));
        let negative = family(&[-10.0, 20.0], &[4, 4, 0], None);
        assert_eq!((quantile(&negative, 0.25), quantile(&negative, 0.75)), (Some(-10.0), Some(5.0)));
    }

    #[test]
    fn extremes_that_contradict_the_buckets_do_no_harm() {
        for extremes in [(25.0, 30.0), (1.0, 5.0), (15.0, 5.0)] {
            let wrong = family(&[10.0, 20.0], &[1, 1, 1], Some(extremes));
            for q in [0.0, 0.3, 0.5, 0.9, 1.0] {
                let told = quantile(&wrong, q).unwrap();
                assert!((0.0..=30.0).contains(&told), "{extremes:?} {q}: {told}");
            }
        }
    }

    #[test]
    fn the_widest_buckets_and_the_highest_counts_stay_finite() {
        let wide = of_samples(&[0.0], &[-f64::MAX, -f64::MAX, f64::MAX]);
        assert_eq!((quantile(&wide, 0.0), quantile(&wide, 1.0)), (Some(-f64::MAX), Some(f64::MAX)));
        let huge = family(&[1.0, 2.0], &[u64::MAX, u64::MAX, 0], Some((0.5, 2.0)));
        assert!(quantile(&huge, 0.5).is_some_and(|told| (0.5..=2.0).contains(&told)));
        assert!(quantile(&huge, 1.0).is_some());
        let whole = of_samples(&[f64::MAX], &[-f64::MAX, 0.0, f64::MAX]);
        assert!(quantile(&whole, 0.4).is_some_and(f64::is_finite));
    }

    proptest! {
        #[test]
        fn estimates_lie_in_the_bucket_of_the_true_quantile_and_never_fall(
            mut samples in proptest::collection::vec(prop_oneof![-50.0..250.0_f64, (0_i32..20).prop_map(|n| f64::from(n) * 10.0)], 1..200),
            bounds in proptest::collection::btree_set(-30_i32..220, 1..15),
            mut shares in proptest::collection::vec(0.0..=1.0_f64, 1..20),
        ) {
            samples.sort_by(f64::total_cmp);
            shares.sort_by(f64::total_cmp);
            let bounds: Vec<_> = bounds.into_iter().map(f64::from).collect();
            let family = of_samples(&bounds, &samples);
            let (min, max) = (samples[0], samples[samples.len() - 1]);
            prop_assert_eq!((quantile(&family, 0.0), quantile(&family, 1.0)), (Some(min), Some(max)));
            let mut last = min;
            for q in shares {
                let told = quantile(&family, q).unwrap();
                let rank = (q * samples.len() as f64).ceil().max(1.0) as usize;
                let truth = samples[rank - 1];
                let bucket = bucket_of(&bounds, truth);
                let low = bucket.checked_sub(1).map_or(min, |before| bounds[before].max(min));
                let high = bounds.get(bucket).map_or(max, |bound| bound.min(max));
                prop_assert!((low..=high).contains(&told), "{} not in {}..={}", told, low, high);
                prop_assert!((told - truth).abs() <= high - low);
                prop_assert!(told >= last, "{} after {}", told, last);
                last = told;
            }
        }

        #[test]
        fn evenly_spread_samples_are_estimated_within_one_step(width in 1_usize..40, buckets in 1_usize..10, q in 0.0..=1.0_f64) {
            // Samples 1, 2, .. n, and bounds at multiples of `width`: linear interpolation is as good as exact.
            let samples: Vec<_> = (1..=width * buckets).map(|n| n as f64).collect();
            let bounds: Vec<_> = (1..=buckets).map(|n| (n * width) as f64).collect();
            let told = quantile(&of_samples(&bounds, &samples), q).unwrap();
            let exact = q * samples.len() as f64;
            prop_assert!((told - exact).abs() <= 1.0 + 1e-9, "{} against {}", told, exact);
        }
    }
}
