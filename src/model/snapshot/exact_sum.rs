//! A sum of floating-point numbers without rounding error.

/// The exact sum of any number of `f64`, rounded once, when it is read.
///
/// Kept as numbers that add up to it exactly, after J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and
/// Fast Robust Geometric Predicates" (1997), grow-expansion; read with the correctly rounded (half-even) summation of
/// Python's `math.fsum`. Two such numbers are enough for sums of like magnitudes and are stored inline; only wider sums
/// take heap memory, at most some forty numbers. The order of additions and merges never matters.
///
/// # Examples
///
/// ```
/// use mvx_metrics::ExactSum;
///
/// let mut sum = ExactSum::default();
/// for value in [1e100, 0.1, -1e100, 0.2] {
///     assert!(sum.add(value));
/// }
/// assert_eq!(sum.value(), 0.30000000000000004); // 0.1 + 0.2 as rationals, rounded once
/// assert!(!sum.add(f64::NAN));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ExactSum {
    /// The sum, roughly: `high + low` exactly while nothing is spilled, else the largest spilled part.
    high: f64,
    low: f64,
    /// Once taken, it stays, so that a sum on the edge does not allocate over and over. A box, because a `Vec` in place
    /// would double the size of every sum that needs none.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 24 in every series, for a case that is rare"
    )]
    spilled: Option<Box<Vec<f64>>>,
}

impl ExactSum {
    /// The largest magnitude of a summand or a sum: a quarter of `f64::MAX`, so that no step of the arithmetic overflows.
    pub const MAX: f64 = f64::MAX / 4.0;

    /// Adds a number, or answers `false` and stays as it was: for NaN, infinities, and a sum beyond
    /// [`MAX`](Self::MAX).
    #[inline]
    pub fn add(&mut self, value: f64) -> bool {
        let (high, error) = two_sum(self.high, value);
        // Written so that NaN fails it, too.
        if !(high.abs() <= Self::MAX && value.abs() <= Self::MAX) {
            return false;
        }
        let (low, rest) = two_sum(self.low, error);
        if rest == 0.0 && self.spilled.is_none() {
            self.high = high;
            self.low = low;
        } else {
            self.add_wide(value);
        }
        true
    }

    /// Adds another sum exactly, or answers `false` and stays as it was when the result is out of range.
    pub fn merge(&mut self, other: &Self) -> bool {
        let mut merged = self.clone();
        if !other.parts().all(|part| merged.add(part)) {
            return false;
        }
        *self = merged;
        true
    }

    /// The sum, rounded to the nearest `f64`, ties to even.
    pub fn value(&self) -> f64 {
        match &self.spilled {
            // One addition of two numbers is correctly rounded by itself; adding 0.0 makes -0.0 a plain zero.
            None => self.high + self.low + 0.0,
            Some(parts) => round_once(parts),
        }
    }

    fn parts(&self) -> impl Iterator<Item = f64> {
        let inline = [self.low, self.high];
        let inline = if self.spilled.is_none() { &inline[..] } else { &[] }.to_vec();
        inline.into_iter().chain(self.spilled.iter().flat_map(|parts| parts.iter().copied()))
    }

    #[cold]
    fn add_wide(&mut self, value: f64) {
        if self.spilled.is_none() {
            // Make the two parts as different in magnitude as they can be, which is mostly enough, and try again.
            let (high, low) = two_sum(self.high, self.low);
            let (next, error) = two_sum(high, value);
            let (rest, lost) = two_sum(low, error);
            if lost == 0.0 {
                (self.high, self.low) = two_sum(next, rest);
                return;
            }
            let mut parts = Box::new(Vec::with_capacity(4));
            grow(&mut parts, low);
            grow(&mut parts, high);
            self.spilled = Some(parts);
        }
        if let Some(parts) = &mut self.spilled {
            grow(parts, value);
            self.high = parts.last().copied().unwrap_or_default();
            self.low = 0.0;
        }
    }
}

/// Equal sums, not equal storage.
impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        let mut difference = self.clone();
        // A difference that is out of range is not zero; and an exact sum rounds to zero only if it is zero.
        other.parts().all(|part| difference.add(-part)) && difference.value() == 0.0
    }
}

/// The rounded sum and its exact rounding error (D. E. Knuth, The Art of Computer Programming 2, 4.2.2, theorem B).
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    (sum, (a - a_part) + (b - b_part))
}

/// Grow-expansion: `parts` ascend in magnitude, do not overlap, and gain `value`.
fn grow(parts: &mut Vec<f64>, mut value: f64) {
    let mut kept = 0;
    for at in 0..parts.len() {
        let (sum, error) = two_sum(value, parts[at]);
        if error != 0.0 {
            parts[kept] = error;
            kept += 1;
        }
        value = sum;
    }
    parts.truncate(kept);
    if value != 0.0 {
        parts.push(value);
    }
}

/// The end of `math.fsum`: add from the top while it is exact, then look one part further to decide a tie.
fn round_once(parts: &[f64]) -> f64 {
    let mut rest = parts.iter().rev().copied();
    let mut high = rest.next().unwrap_or_default();
    let mut low = 0.0;
    for part in rest.by_ref() {
        let (sum, error) = two_sum(high, part);
        high = sum;
        low = error;
        if low != 0.0 {
            break;
        }
    }
    if let Some(below) = rest.next() {
        if (low < 0.0 && below < 0.0) || (low > 0.0 && below > 0.0) {
            let doubled = low * 2.0;
            let away = high + doubled;
            if doubled == away - high {
                high = away;
            }
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every `f64` as an integer multiple of 2^-1074, in two's complement limbs of 32 bits: no floating point at all.
    #[derive(Clone, PartialEq)]
    struct Fixed([i64; 70]);

    impl Fixed {
        fn zero() -> Self {
            Self([0; 70])
        }

        fn add(&mut self, value: f64) {
            let bits = value.to_bits();
            let exponent = (bits >> 52 & 0x7ff) as usize;
            let fraction = bits & ((1 << 52) - 1);
            let (mantissa, shift) =
                if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
            let wide = u128::from(mantissa) << (shift % 32);
            for step in 0..3 {
                let limb = (wide >> (32 * step)) as u32;
                let limb = i64::from(limb);
                self.0[shift / 32 + step] += if value < 0.0 { -limb } else { limb };
            }
            self.carry();
        }

        fn carry(&mut self) {
            for at in 0..69 {
                let carry = self.0[at] >> 32;
                self.0[at] -= carry << 32;
                self.0[at + 1] += carry;
            }
        }

        /// Nearest `f64`, ties to even.
        fn round(mut self) -> f64 {
            let negative = self.0[69] < 0;
            if negative {
                self.0.iter_mut().for_each(|limb| *limb = -*limb);
                self.carry();
            }
            let bit = |at: usize| self.0[at / 32] >> (at % 32) & 1 == 1;
            let Some(top) = (0..69 * 32).rev().find(|&at| bit(at)) else { return 0.0 };
            let lowest = top.saturating_sub(52);
            let mut mantissa = (lowest..=top).rev().fold(0_u64, |sum, at| sum << 1 | u64::from(bit(at)));
            if lowest > 0 && bit(lowest - 1) && (mantissa & 1 == 1 || (0..lowest - 1).any(bit)) {
                mantissa += 1;
            }
            // Exact: a mantissa of at most 2^53 times a power of two, in two steps to stay in range.
            let scale = |power: i32| 2.0_f64.powi(power);
            let power = lowest as i32 - 1074;
            let magnitude = mantissa as f64 * scale(power / 2) * scale(power - power / 2);
            if negative { -magnitude } else { magnitude }
        }
    }

    fn wide() -> impl Strategy<Value = f64> {
        any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("in range", |value| value.abs() <= ExactSum::MAX / 64.0)
    }

    fn alike() -> impl Strategy<Value = f64> {
        (-1_000_000_000_i64..1_000_000_000).prop_map(|nanos| nanos as f64 / 1e9)
    }

    fn near_cancelling() -> impl Strategy<Value = f64> {
        (-4_i32..=4, -120_i32..=120).prop_map(|(factor, power)| f64::from(factor) * 2.0_f64.powi(power))
    }

    fn sum_of(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| assert!(sum.add(*value)));
        sum
    }

    fn agrees_with_integers(values: &[f64]) {
        let mut oracle = Fixed::zero();
        values.iter().for_each(|value| oracle.add(*value));
        let sum = sum_of(values);
        assert_eq!(sum.value().to_bits(), oracle.round().to_bits(), "{values:?} gave {sum:?}");
    }

    proptest! {
        #[test]
        fn the_sum_is_the_rounded_sum_of_integers(
            wide in proptest::collection::vec(wide(), 0..24),
            alike in proptest::collection::vec(alike(), 0..60),
            near in proptest::collection::vec(near_cancelling(), 0..24),
        ) {
            agrees_with_integers(&wide);
            agrees_with_integers(&alike);
            agrees_with_integers(&near);
            agrees_with_integers(&[wide, near, alike].concat());
        }

        #[test]
        fn merging_is_adding_all(left in proptest::collection::vec(near_cancelling(), 0..30), right in proptest::collection::vec(alike(), 0..30)) {
            let mut merged = sum_of(&left);
            prop_assert!(merged.merge(&sum_of(&right)));
            let all = sum_of(&[right, left].concat());
            prop_assert_eq!(merged.value().to_bits(), all.value().to_bits());
            prop_assert_eq!(merged, all);
        }

        #[test]
        fn one_summand_more_is_another_sum(values in proptest::collection::vec(wide(), 0..20), extra in wide()) {
            let mut more = sum_of(&values);
            prop_assert!(more.add(extra));
            prop_assert_eq!(more == sum_of(&values), extra == 0.0);
        }
    }

    #[test]
    fn what_cannot_be_summed_changes_nothing() {
        let mut sum = sum_of(&[1.5, 1e-300, ExactSum::MAX]);
        let before = sum.clone();
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, ExactSum::MAX] {
            assert!(!sum.add(bad), "{bad}");
            assert_eq!(sum, before);
        }
        assert!(!sum.merge(&before));
        assert_eq!(sum, before);
    }

    #[test]
    fn durations_never_leave_the_inline_parts() {
        let mut sum = ExactSum::default();
        for turn in 0..100_000_u32 {
            assert!(sum.add(f64::from(turn % 977 + 1) * 1.03e-7));
        }
        assert!(sum.spilled.is_none());
        assert!(size_of::<ExactSum>() <= 24);
    }
}
