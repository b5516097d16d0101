use super::*;
use proptest::prelude::*;

const SHAPE: ExponentialShape = ExponentialShape { max_buckets: 160, zero_threshold: 0.0 };

fn of(values: &[f64], shape: ExponentialShape) -> Exponentials {
    let mut column = Exponentials { shape, rows: Vec::new() };
    column.push();
    for value in values {
        assert!(column.observe(0, *value, |sum| sum.add(*value)), "{value}");
    }
    column
}

fn view(column: &Exponentials) -> ExponentialRef<'_> {
    column.get(0).unwrap()
}

fn shape(max_buckets: u32) -> ExponentialShape {
    ExponentialShape { max_buckets, ..SHAPE }
}

#[test]
fn the_scale_is_the_finest_at_which_the_buckets_are_not_too_many() {
    // 160 buckets of the finest scale: 2^20 to an octave.
    let one = of(&[1.0], SHAPE);
    assert_eq!((view(&one).scale(), view(&one).positive().offset()), (20, -1));
    let both = of(&[1.0, -1e-3], SHAPE);
    assert_eq!(view(&both).scale(), 20);
    // 1 is in bucket -1 at every scale, 2^10 in bucket 10 * 2^scale - 1: the most that fits into 160 is scale 3 (81), as 4 needs 161.
    assert_eq!(view(&of(&[1.0, 1_024.0], SHAPE)).scale(), 3);
    assert_eq!(view(&of(&[1.001, 1_024.0], SHAPE)).scale(), 4);
    // What spans everything: from bucket -2 to bucket 0.
    let widest = of(&[5e-324, ExactSum::MAX, -5e-324], shape(4));
    let shown = view(&widest);
    assert_eq!((shown.scale(), shown.positive().iter().collect::<Vec<_>>()), (-10, vec![(-2, 1), (0, 1)]));
    assert_eq!(shown.negative().iter().collect::<Vec<_>>(), [(-2, 1)]);
    assert_eq!((shown.min(), shown.max(), shown.count()), (Some(-5e-324), Some(ExactSum::MAX), 3));
}

#[test]
fn zeros_have_a_bucket_of_their_own_up_to_the_threshold() {
    let column =
        of(&[0.0, -0.0, 0.25, -0.25, 0.250_000_1], ExponentialShape { zero_threshold: 0.25, ..SHAPE });
    let shown = view(&column);
    assert_eq!((shown.zero_count(), shown.count(), shown.negative().is_empty()), (4, 5, true));
    assert_eq!(shown.positive().counts().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_sum_out_of_range_changes_nothing() {
    let mut column = of(&[ExactSum::MAX], SHAPE);
    let before = column.clone();
    assert!(!column.observe(0, ExactSum::MAX, |sum| sum.add(ExactSum::MAX)));
    let other = column.clone();
    assert!(!column.add_row(0, &other, 0));
    assert_eq!(column, before);
}

#[test]
fn counts_stay_at_the_end_of_their_range() {
    let mut column = of(&[1.0, 1.5, -2.0, 0.0], shape(4));
    for _ in 0..70 {
        let other = column.clone();
        assert!(column.add_row(0, &other, 0));
    }
    let shown = view(&column);
    assert_eq!((shown.zero_count(), shown.count()), (u64::MAX, u64::MAX));
    assert!(shown.positive().iter().chain(shown.negative().iter()).all(|(_, count)| count == u64::MAX));
    assert_eq!(shown.at_scale(-10).positive().counts().collect::<Vec<_>>(), [u64::MAX, u64::MAX]);
}

#[test]
fn a_stale_copy_follows_without_allocating() {
    let mut live = of(&[1.0, 2.0, -4.0], SHAPE);
    let mut copy = live.clone();
    let place = copy.rows[0].positive.counts.as_ptr();
    assert!(live.observe(0, 1.5, |sum| sum.add(1.5)));
    copy.copy(&live, 0..1);
    assert_eq!((&copy, copy.rows[0].positive.counts.as_ptr()), (&live, place));
}

#[test]
fn without_observations_there_is_no_quantile() {
    let empty = of(&[], SHAPE);
    let shown = view(&empty);
    assert_eq!((shown.quantile(0.5), shown.count(), shown.positive().counts().count()), (None, 0, 0));
    let one = of(&[7.25], SHAPE);
    for q in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        assert_eq!(view(&one).quantile(q), None);
    }
    assert_eq!([0.0, 0.5, 1.0].map(|q| view(&one).quantile(q)), [Some(7.25); 3]);
}

fn any_value() -> impl Strategy<Value = f64> {
    let finite = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.abs() <= 1e300);
    prop_oneof![-100.0..100.0_f64, (-6..6_i32).prop_map(f64::from), finite]
}

proptest! {
    #[test]
    fn merging_comes_to_what_one_histogram_of_all_would_be_in_every_order(
        parts in prop::collection::vec(prop::collection::vec(any_value(), 0..20), 1..6),
        max_buckets in 3..200_u32,
        threshold in prop_oneof![Just(0.0), Just(2.0)],
    ) {
        let shape = ExponentialShape { max_buckets, zero_threshold: threshold };
        let all: Vec<_> = parts.iter().flatten().copied().collect();
        let whole = of(&all, shape);
        let backwards: Vec<_> = all.iter().rev().copied().collect();
        prop_assert_eq!(&of(&backwards, shape), &whole);
        let columns: Vec<_> = parts.iter().map(|part| of(part, shape)).collect();
        let merged = |columns: &mut dyn Iterator<Item = &Exponentials>| {
            let mut sum = of(&[], shape);
            columns.for_each(|column| assert!(sum.add_row(0, column, 0)));
            sum
        };
        let forth = merged(&mut columns.iter());
        prop_assert_eq!(&forth, &whole);
        prop_assert_eq!(&merged(&mut columns.iter().rev()), &whole);
        // First the halves, then these.
        let (left, right) = columns.split_at(columns.len() / 2);
        let halves = [merged(&mut left.iter()), merged(&mut right.iter())];
        prop_assert_eq!(&merged(&mut halves.iter()), &whole);
        let shown = view(&whole);
        prop_assert_eq!(shown.count(), all.len() as u64);
        prop_assert!(shown.positive().counts().count().max(shown.negative().counts().count()) <= max_buckets as usize);
    }

    #[test]
    fn quantiles_keep_to_their_error(
        values in prop::collection::vec(any_value(), 1..80),
        q in 0.0..=1.0_f64,
        max_buckets in prop_oneof![Just(3_u32), Just(20), Just(160)],
    ) {
        let column = of(&values, shape(max_buckets));
        let shown = view(&column);
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = ((q * values.len() as f64).ceil() as usize).max(1);
        let (truth, told) = (sorted[rank - 1], shown.quantile(q).unwrap());
        let allowed = truth.abs() * (shown.relative_error() + 1e-14) + 1e-323;
        prop_assert!((told - truth).abs() <= allowed, "{} for {} within {}", told, truth, allowed);
    }

    #[test]
    fn a_coarser_view_is_the_histogram_of_a_coarser_scale(values in prop::collection::vec(any_value(), 1..40), scale in -12..20_i32) {
        let column = of(&values, shape(1_024));
        let shown = view(&column).at_scale(scale);
        prop_assert!(shown.scale() <= scale.max(-10) && shown.scale() <= view(&column).scale());
        for (index, held) in shown.positive().iter() {
            let (low, high) = (shown.upper_bound(index - 1), shown.upper_bound(index));
            prop_assert_eq!(values.iter().filter(|value| **value > low && **value <= high).count() as u64, held);
        }
        prop_assert_eq!(shown.count(), values.len() as u64);
    }
}
