//! Bucket bounds as integers, for a search without branches.

use crate::metric::measure::Amount;
use crate::metric::selector::FLOAT;
use crate::metric::selector::NANOS;

/// The bounds of a histogram as integers that rise with the values of one kind, so that a bucket is found without a branch that
/// depends on the value.
///
/// Integers stand for themselves, and numbers above 0 for their bits, whose order is theirs. The octave of a value says how
/// many limits lie below it; the few within the octave are compared with.
#[derive(Debug)]
pub(super) struct Edges {
    kind: u8,
    /// The octave of a number that is told apart from the ones below it; unused for integers.
    first_octave: u64,
    /// How many limits lie below each octave.
    below: [u16; OCTAVES],
    /// The highest integer of each bucket, ascending, then as many that none exceeds as an octave has at most.
    limits: Box<[u64]>,
    /// How many limits an octave has at most.
    most: usize,
    /// How many bounds have no limit, because every value is above them.
    lowest: usize,
}

const OCTAVES: usize = 64;

impl Edges {
    /// What they take on the heap beside themselves.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.limits)
    }

    /// The edges for values of this kind.
    pub(super) fn new(bounds: &[f64], kind: u8) -> Self {
        if kind == FLOAT {
            return Self::of_numbers(bounds);
        }
        let value = |integer: u64| {
            if kind == NANOS { Amount::Nanos(integer).as_f64() } else { Amount::Unsigned(integer).as_f64() }
        };
        let scale = if kind == NANOS { 1e9 } else { 1.0 };
        let lowest = bounds.iter().take_while(|bound| **bound < 0.0).count();
        let limits = bounds.iter().skip(lowest).map(|bound| limit(*bound, scale, value)).collect();
        // The octave of the lowest bit holds 0 as well.
        Self::of(limits, kind, lowest, 0, |octave| if octave == 0 { 0 } else { 1 << octave })
    }

    /// Bounds too far apart for the table are all in its last octave, whose limits are then too many to be compared with.
    fn of_numbers(bounds: &[f64]) -> Self {
        let lowest = bounds.iter().take_while(|bound| **bound <= 0.0).count();
        let limits: Vec<u64> = bounds.iter().skip(lowest).map(|bound| bound.to_bits()).collect();
        let first = limits.first().map_or(0, |bits| bits >> EXPONENT);
        Self::of(
            limits,
            FLOAT,
            lowest,
            first,
            |octave| if octave == 0 { 0 } else { (first + octave - 1) << EXPONENT },
        )
    }

    fn of(
        mut limits: Vec<u64>,
        kind: u8,
        lowest: usize,
        first_octave: u64,
        start: impl Fn(u64) -> u64,
    ) -> Self {
        let mut below = [0; OCTAVES];
        for (octave, below) in (0..).zip(&mut below) {
            *below = limits.partition_point(|limit| *limit < start(octave)) as u16;
        }
        let ends = below.iter().skip(1).copied().chain([limits.len() as u16]);
        let most =
            below.iter().zip(ends).map(|(start, end)| usize::from(end - start)).max().unwrap_or_default();
        limits.extend(std::iter::repeat_n(u64::MAX, most.max(2)));
        Self { kind, first_octave, below, limits: limits.into(), most, lowest }
    }

    pub(super) fn kind(&self) -> u8 {
        self.kind
    }

    /// Whether two comparisons find the bucket of any value.
    pub(super) fn are_sparse(&self) -> bool {
        self.most <= 2
    }

    /// The bucket of an integer, if the edges [`are_sparse`](Self::are_sparse).
    #[inline(always)]
    pub(super) fn bucket_of_two(&self, value: u64) -> usize {
        self.second_of_two(octave(value), value)
    }

    /// The bucket of an integer.
    #[inline]
    pub(super) fn bucket(&self, value: u64) -> usize {
        if self.are_sparse() { self.bucket_of_two(value) } else { self.among_many(octave(value), value) }
    }

    /// The buckets of some integers.
    #[inline(never)]
    pub(super) fn buckets(&self, values: &[u64], into: &mut [u16]) {
        if self.are_sparse() {
            into.iter_mut()
                .zip(values)
                .for_each(|(bucket, value)| *bucket = self.bucket_of_two(*value) as u16);
        } else {
            into.iter_mut().zip(values).for_each(|(bucket, value)| *bucket = self.bucket(*value) as u16);
        }
    }

    /// The bucket of a number above 0.
    #[inline(always)]
    pub(super) fn bucket_of_number(&self, value: f64) -> usize {
        let bits = value.to_bits();
        let octave =
            ((bits >> EXPONENT) + 1).saturating_sub(self.first_octave).min(OCTAVES as u64 - 1) as usize;
        if self.are_sparse() { self.second_of_two(octave, bits) } else { self.among_many(octave, bits) }
    }

    #[inline(always)]
    fn second_of_two(&self, octave: usize, value: u64) -> usize {
        let start = usize::from(self.below[octave]);
        // There always are two: so many are put behind the last.
        let Some([first, second]) = self.limits.get(start..start + 2) else { return self.lowest + start };
        self.lowest + start + usize::from(*first < value) + usize::from(*second < value)
    }

    fn among_many(&self, octave: usize, value: u64) -> usize {
        let start = usize::from(self.below[octave]);
        let within = self.limits.get(start..start + self.most).unwrap_or_default();
        self.lowest + start + within.partition_point(|limit| *limit < value)
    }
}

/// Where the exponent of an `f64` starts.
const EXPONENT: u32 = 52;

/// The number of the highest bit; 0 for 0 as well.
#[inline(always)]
fn octave(value: u64) -> usize {
    63 - (value | 1).leading_zeros() as usize
}

/// The highest integer whose value is not above the bound, which is not negative. `value` rises.
fn limit(bound: f64, scale: f64, value: impl Fn(u64) -> f64) -> u64 {
    let guess = (bound * scale) as u64;
    let fits = |integer: u64| value(integer) <= bound;
    // The guess is off by the rounding of one product: the answer is between two neighbours, doubling in distance.
    let (mut low, mut high) = (guess, guess);
    let mut step = 1;
    while !fits(low) {
        low = low.saturating_sub(step);
        step *= 2;
    }
    step = 1;
    while high < u64::MAX && fits(high) {
        high = high.saturating_add(step);
        step = step.saturating_mul(2);
    }
    if fits(high) {
        return u64::MAX;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::metric::BYTES_BOUNDS;
    use crate::metric::SECONDS_BOUNDS;
    use crate::metric::selector::UNSIGNED;
    use proptest::prelude::*;

    fn agrees(bounds: &[f64], kind: u8, integer: u64) {
        let edges = Edges::new(bounds, kind);
        let amount = if kind == NANOS { Amount::Nanos(integer) } else { Amount::Unsigned(integer) };
        let expected = bounds.iter().filter(|bound| **bound < amount.as_f64()).count();
        assert_eq!(edges.bucket(integer), expected, "{integer} in {bounds:?}");
        if edges.are_sparse() {
            assert_eq!(edges.bucket_of_two(integer), expected, "{integer} in {bounds:?}");
        }
    }

    #[test]
    fn presets_take_two_comparisons_and_agree_around_every_bound() {
        for (bounds, kind, scale) in [(SECONDS_BOUNDS, NANOS, 1e9), (BYTES_BOUNDS, UNSIGNED, 1.0)] {
            assert!(Edges::new(&bounds, kind).are_sparse());
            for bound in bounds {
                let near = (bound * scale) as u64;
                (near - 2..=near + 2).for_each(|integer| agrees(&bounds, kind, integer));
            }
            [0, 1, 2, 3, u64::MAX - 1, u64::MAX]
                .into_iter()
                .for_each(|integer| agrees(&bounds, kind, integer));
        }
    }

    proptest! {
        #[test]
        fn buckets_agree_with_comparing_every_bound(
            exponents in proptest::collection::btree_set(-300_i32..700, 1..40),
            negative: bool,
            integer: u64,
            shift in 0_u32..64,
            nanos: bool,
        ) {
            let mut bounds: Vec<f64> = exponents.into_iter().map(|power| 2.0_f64.powf(f64::from(power) / 10.0)).collect();
            if negative {
                bounds.splice(0..0, [-7.5, -0.1, 0.0]);
            }
            let kind = if nanos { NANOS } else { UNSIGNED };
            agrees(&bounds, kind, integer >> shift);
            for bound in &bounds {
                let near = (bound * if nanos { 1e9 } else { 1.0 }) as u64;
                (near.saturating_sub(1)..=near.saturating_add(1)).for_each(|integer| agrees(&bounds, kind, integer));
            }
        }

        #[test]
        fn numbers_find_their_bucket_by_their_bits(
            exponents in proptest::collection::btree_set(-300_i32..400, 1..40),
            stretch in prop_oneof![Just(10.0), Just(2.0), Just(0.5)],
            negative: bool,
            bits in 1..f64::MAX.to_bits(),
        ) {
            let mut bounds: Vec<f64> = exponents.into_iter().map(|power| 2.0_f64.powf(f64::from(power) / stretch)).collect();
            if negative {
                bounds.splice(0..0, [-7.5, -0.1, 0.0]);
            }
            let edges = Edges::new(&bounds, FLOAT);
            let near = bounds.iter().filter(|bound| **bound > 0.0).flat_map(|bound| [-1, 0, 1].map(|step| f64::from_bits(bound.to_bits().wrapping_add_signed(step))));
            for value in near.chain([f64::from_bits(bits), f64::MIN_POSITIVE, f64::MAX, 5e-324, 1.0]) {
                let expected = bounds.iter().filter(|bound| **bound < value).count();
                prop_assert_eq!(edges.bucket_of_number(value), expected, "{} in {:?}", value, bounds);
            }
        }

        #[test]
        fn crowded_octaves_agree_too(steps in proptest::collection::vec(1_u32..4, 1..300), integer in 0_u64..1_500) {
            let rise = |sum: &mut u32, step: u32| { *sum += step; Some(f64::from(*sum)) };
            let bounds: Vec<f64> = steps.into_iter().scan(0, rise).collect();
            agrees(&bounds, UNSIGNED, integer);
        }
    }
}
