//! Exponential histograms for formats that have explicit buckets only.

use crate::model::snapshot::ExponentialRef;

/// The finest scale that is shown: eight buckets in a power of two.
///
/// Each bound is a time series on the other side. At this scale most histograms keep their bounds while they grow coarser, and a bound of a
/// coarser scale is one of every finer scale, so a bound that stays has a count that never falls.
const SHOWN_SCALE: i32 = 3;

/// Shows each bound, rising, with the number of observations that are not above it; the last one is infinite and has all.
///
/// Both ends of each bucket that holds something are shown, so that whoever interpolates takes it to be no wider than it is.
pub(crate) fn each_bound(histogram: ExponentialRef<'_>, mut show: impl FnMut(f64, u64)) {
    let histogram = histogram.at_scale(SHOWN_SCALE);
    let (mut count, mut shown) = (0_u64, f64::NEG_INFINITY);
    let mut bucket = |low: f64, high: f64, held: u64| {
        if low > shown {
            show(low, count);
        }
        count = count.saturating_add(held);
        if high < f64::INFINITY {
            show(high, count);
        }
        shown = high;
    };
    // The bucket that holds the threshold begins or ends there.
    let zero = histogram.zero_threshold();
    for (index, held) in histogram.negative().iter_back() {
        let (outer, inner) = (histogram.upper_bound(index), histogram.upper_bound(index - 1).max(zero));
        bucket(last_before(outer), last_before(inner), held);
    }
    if histogram.zero_count() > 0 {
        let low = if histogram.negative().is_empty() { f64::NEG_INFINITY } else { last_before(zero) };
        bucket(low, zero, histogram.zero_count());
    }
    for (index, held) in histogram.positive().iter() {
        bucket(histogram.upper_bound(index - 1).max(zero), histogram.upper_bound(index), held);
    }
    show(f64::INFINITY, count);
}

/// The largest number below `-size`: bounds are inclusive, and here the bucket's own end is not.
fn last_before(size: f64) -> f64 {
    if size < f64::INFINITY { -f64::from_bits(size.to_bits() + 1) } else { f64::NEG_INFINITY }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::metric::ExponentialHistogram;
    use crate::metric::Metric;
    use crate::model::clock::Timestamp;
    use crate::model::snapshot::Family;
    use crate::model::snapshot::FamilyWriter;
    use crate::model::verdict::Context;
    use proptest::prelude::*;

    fn bounds(values: &[f64], threshold: f64) -> Vec<(f64, u64)> {
        let builder = ExponentialHistogram::<f64>::builder("h").zero_threshold(threshold);
        let mut metric = builder.value(|e| Some(*e)).build().unwrap();
        for value in values {
            let _verdict = metric.handle_event(value, &Context::new(Timestamp::default(), 1));
        }
        let mut family = Family::new(metric.descriptor().clone());
        metric.snapshot(&mut FamilyWriter::whole(&mut family));
        let mut all = Vec::new();
        let shown = family.series().next().unwrap().value().exponential().unwrap();
        each_bound(shown, |bound, count| all.push((bound, count)));
        all
    }

    #[test]
    fn only_what_holds_something_is_shown_with_both_ends() {
        let inf = f64::INFINITY;
        assert_eq!(bounds(&[0.0, 0.0], 0.0), [(0.0, 2), (inf, 2)]);
        let eighth = 1.0_f64 / 8.0;
        let low = (-eighth).exp2();
        let shown = bounds(&[1.0, 1.0], 0.0);
        assert_eq!((shown.len(), shown[1], shown[2]), (3, (1.0, 2), (inf, 2)));
        assert!((shown[0].0 - low).abs() < 1e-15 && shown[0].1 == 0);
        // The bucket that holds the threshold begins there.
        assert_eq!(bounds(&[0.5, 1.0], 0.99), [(0.99, 1), (1.0, 2), (inf, 2)]);
        let both = bounds(&[-1.0, 0.0, f64::MAX / 4.0], 0.0);
        assert_eq!(both.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [0, 1, 1, 2, 2, 3, 3]);
    }

    proptest! {
        #[test]
        fn every_bound_rises_and_has_exactly_what_is_not_above_it(
            values in prop::collection::vec(prop_oneof![-4.0..4.0_f64, (-9..9_i32).prop_map(|n| f64::from(n) / 2.0), -1e300..1e300_f64], 1..60),
            threshold in prop_oneof![Just(0.0), Just(0.5), 0.0..2.0_f64],
        ) {
            let shown = bounds(&values, threshold);
            prop_assert!(shown.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (bound, count) in shown {
                prop_assert_eq!(values.iter().filter(|value| **value <= bound).count() as u64, count, "{}", bound);
            }
        }
    }
}
