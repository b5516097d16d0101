//! A sum of floating-point numbers without rounding error.

use std::time::Duration;

/// The exact sum of any number of `f64` and durations, rounded once, when it is read.
///
/// Numbers are kept as parts that add up to their sum exactly, after J. R. Shewchuk, "Adaptive Precision Floating-Point
/// Arithmetic and Fast Robust Geometric Predicates" (1997), grow-expansion; read with the correctly rounded (half-even)
/// summation of Python's `math.fsum`. Two such parts are enough for sums of like magnitudes and are stored inline; only
/// wider sums take heap memory, at most some forty parts. Durations are kept as a count of nanoseconds, because seconds
/// as `f64` would be rounded one by one, and integers alone as one integer. The order of additions and merges never matters.
///
/// # Examples
///
/// ```
/// use mvx_metrics::ExactSum;
/// use std::time::Duration;
///
/// let mut sum = ExactSum::default();
/// for value in [1e100, 0.1, -1e100, 0.2] {
///     assert!(sum.add(value));
/// }
/// assert_eq!(sum.value(), 0.30000000000000004); // 0.1 + 0.2 as rationals, rounded once
/// assert!(!sum.add(f64::NAN));
///
/// let mut third = ExactSum::default();
/// assert!((0..3).all(|_| third.add_duration(Duration::from_millis(100))));
/// assert_eq!(third.value(), 0.3); // where 0.1 + 0.1 + 0.1 is not
/// ```
#[derive(Clone, Debug)]
pub struct ExactSum(Parts);

#[derive(Clone, Debug)]
enum Parts {
    /// `high + low`, which is the sum exactly; `high` alone is the sum, roughly.
    Two { high: f64, low: f64 },
    /// A count of nanoseconds, as the halves of an `i128`, whose alignment would make every sum a third larger.
    Nanos { high: i64, low: u64 },
    /// A sum of integers alone, in halves as well, of at most [`WHOLE_BITS`] bits.
    Whole { high: i64, low: u64 },
    /// Once taken, it stays, so that a sum on the edge does not allocate over and over.
    Many(Box<Many>),
}

/// Parts that ascend in magnitude and do not overlap, and nanoseconds beside them.
#[derive(Clone, Debug)]
struct Many {
    parts: Vec<f64>,
    nanos: i128,
}

impl ExactSum {
    /// What it takes beside itself: nothing, unless it ever had many parts.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Parts::Many(many) => size_of::<Many>() + crate::model::heap::vec(&many.parts),
            Parts::Two { .. } | Parts::Nanos { .. } | Parts::Whole { .. } => 0,
        }
    }
}

/// A sum of integers that is no longer than this is two `f64` exactly.
const WHOLE_BITS: u32 = 105;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// As many nanoseconds as a number of 512ths of a second can be, `10^9 = 5^9 * 2^9`: the rest is no `f64`.
const NANOS_PER_512TH: i128 = 1_953_125;

impl ExactSum {
    /// The largest magnitude of a summand or a sum: a quarter of `f64::MAX`, so that no step of the arithmetic overflows.
    pub const MAX: f64 = f64::MAX / 4.0;

    /// Adds a number, or answers `false` and stays as it was: for NaN, infinities, and a sum beyond
    /// [`MAX`](Self::MAX).
    #[inline]
    pub fn add(&mut self, value: f64) -> bool {
        if let Parts::Two { high: old_high, low: old_low } = &mut self.0 {
            let (high, error) = two_sum(*old_high, value);
            // Written so that NaN fails it, too.
            if !(high.abs() <= Self::MAX && value.abs() <= Self::MAX) {
                return false;
            }
            let (low, rest) = two_sum(*old_low, error);
            if rest == 0.0 {
                (*old_high, *old_low) = (high, low);
                return true;
            }
        }
        self.add_wide(value)
    }

    /// Adds all these numbers, or answers `false` and stays as it was: when one of them cannot be added, or not within two parts.
    #[inline(always)]
    pub(crate) fn add_all(&mut self, values: impl Iterator<Item = f64>) -> bool {
        let Parts::Two { high: old_high, low: old_low } = &mut self.0 else { return false };
        let (mut high, mut low, mut exact) = (*old_high, *old_low, true);
        for value in values {
            let (next, error) = two_sum(high, value);
            let (rest, lost) = two_sum(low, error);
            exact &= lost == 0.0 && next.abs() <= Self::MAX && value.abs() <= Self::MAX;
            (high, low) = (next, rest);
        }
        if exact {
            (*old_high, *old_low) = (high, low);
        }
        exact
    }

    /// Adds a duration to the nanosecond, or answers `false` and stays as it was beyond 2^127 nanoseconds.
    pub fn add_duration(&mut self, duration: Duration) -> bool {
        i128::try_from(duration.as_nanos()).is_ok_and(|nanos| self.add_nanos(nanos))
    }

    /// Adds another sum exactly, or answers `false` and stays as it was when the result is out of range.
    pub fn merge(&mut self, other: &Self) -> bool {
        if let Parts::Whole { high, low } = other.0 {
            return self.add_whole(joined(high, low));
        }
        let mut merged = self.clone();
        if !(other.parts().all(|part| merged.add(part)) && merged.add_nanos(other.nanos())) {
            return false;
        }
        *self = merged;
        true
    }

    /// The sum, rounded to the nearest `f64`, ties to even; in seconds as far as it is one of durations.
    ///
    /// Where numbers and durations were added to one sum, the latter's share is cut at 2^-1074 seconds first.
    pub fn value(&self) -> f64 {
        match &self.0 {
            // One addition of two numbers is correctly rounded by itself; adding 0.0 makes -0.0 a plain zero.
            Parts::Two { high, low } => high + low + 0.0,
            Parts::Nanos { high, low } => seconds(joined(*high, *low)),
            Parts::Whole { high, low } => joined(*high, *low) as f64,
            Parts::Many(many) if many.nanos == 0 => round_once(&many.parts),
            Parts::Many(many) => many.value_of_both(),
        }
    }

    /// Adds an integer of at most 2^105 in magnitude exactly.
    #[inline]
    pub(crate) fn add_whole(&mut self, value: i128) -> bool {
        if let Parts::Whole { high, low } = &mut self.0 {
            let sum = joined(*high, *low) + value;
            if is_two_parts(sum) {
                (*high, *low) = halves(sum);
                return true;
            }
        }
        self.add_first_whole(value)
    }

    /// The same for one integer, which nearly always changes the low half alone.
    #[inline(always)]
    pub(crate) fn add_unsigned(&mut self, value: u64) -> bool {
        match &mut self.0 {
            Parts::Whole { high, low } if *high < 1 << (WHOLE_BITS - 65) => {
                add_to_halves(high, low, value);
                true
            }
            _ => self.add_whole(value.into()),
        }
    }

    /// Whether [`add_unsigned`](Self::add_unsigned) would surely take any integer.
    #[inline(always)]
    pub(crate) fn takes_unsigned(&self) -> bool {
        matches!(self.0, Parts::Whole { high, .. } if high < 1 << (WHOLE_BITS - 65))
    }

    #[cold]
    fn add_first_whole(&mut self, value: i128) -> bool {
        if let Parts::Two { high: 0.0, low: 0.0 } = self.0 {
            let (high, low) = halves(value);
            self.0 = Parts::Whole { high, low };
            return true;
        }
        let [low, high] = two_parts(value);
        self.add(high) && self.add(low)
    }

    #[inline]
    pub(crate) fn add_nanos(&mut self, nanos: i128) -> bool {
        let Parts::Nanos { high, low } = &mut self.0 else { return self.add_first_nanos(nanos) };
        let Some(sum) = joined(*high, *low).checked_add(nanos) else { return false };
        (*high, *low) = halves(sum);
        true
    }

    /// The same for one duration, which nearly always changes the low half alone.
    #[inline(always)]
    pub(crate) fn add_some_nanos(&mut self, nanos: u64) -> bool {
        match &mut self.0 {
            Parts::Nanos { high, low } if *high < i64::MAX => {
                add_to_halves(high, low, nanos);
                true
            }
            _ => self.add_nanos(nanos.into()),
        }
    }

    /// Whether [`add_some_nanos`](Self::add_some_nanos) would surely take any duration.
    #[inline(always)]
    pub(crate) fn takes_nanos(&self) -> bool {
        matches!(self.0, Parts::Nanos { high, .. } if high < i64::MAX)
    }

    #[cold]
    fn add_first_nanos(&mut self, nanos: i128) -> bool {
        if nanos == 0 {
            return true;
        }
        if let Parts::Two { high: 0.0, low: 0.0 } = self.0 {
            let (high, low) = halves(nanos);
            self.0 = Parts::Nanos { high, low };
            return true;
        }
        self.widely(|many| {
            let sum = many.nanos.checked_add(nanos);
            many.nanos = sum.unwrap_or(many.nanos);
            sum.is_some()
        })
    }

    #[cold]
    fn add_wide(&mut self, value: f64) -> bool {
        let roughly = match &self.0 {
            Parts::Two { high, .. } => *high,
            Parts::Nanos { .. } => 0.0,
            Parts::Whole { high, low } => joined(*high, *low) as f64,
            Parts::Many(many) => many.parts.last().copied().unwrap_or_default(),
        };
        if !((roughly + value).abs() <= Self::MAX && value.abs() <= Self::MAX) {
            return false;
        }
        match &mut self.0 {
            Parts::Two { high: old_high, low: old_low } => {
                // Make the two parts as different in magnitude as they can be, which is mostly enough, and try again.
                let (high, low) = two_sum(*old_high, *old_low);
                let (next, error) = two_sum(high, value);
                let (rest, lost) = two_sum(low, error);
                if lost == 0.0 {
                    (*old_high, *old_low) = two_sum(next, rest);
                    return true;
                }
            }
            Parts::Nanos { .. } | Parts::Whole { .. } if value == 0.0 => return true,
            Parts::Whole { high, low } => {
                let [low, high] = two_parts(joined(*high, *low));
                self.0 = Parts::Two { high, low };
                return self.add(value);
            }
            Parts::Nanos { high: 0, low: 0 } => {
                self.0 = Parts::Two { high: value, low: 0.0 };
                return true;
            }
            _ => {}
        }
        self.widely(|many| {
            grow(&mut many.parts, value);
            true
        })
    }

    /// Brings the sum into the form that has room for everything, and changes it there.
    fn widely(&mut self, change: impl FnOnce(&mut Many) -> bool) -> bool {
        if !matches!(self.0, Parts::Many(_)) {
            let mut parts = Vec::with_capacity(4);
            self.parts().for_each(|part| grow(&mut parts, part));
            self.0 = Parts::Many(Box::new(Many { parts, nanos: self.nanos() }));
        }
        if let Parts::Many(many) = &mut self.0 { change(many) } else { false }
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = f64> {
        let (inline, many): ([f64; 2], &[f64]) = match &self.0 {
            Parts::Two { high, low } => ([*low, *high], &[]),
            Parts::Nanos { .. } => ([0.0; 2], &[]),
            Parts::Whole { high, low } => (two_parts(joined(*high, *low)), &[]),
            Parts::Many(many) => ([0.0; 2], &many.parts),
        };
        inline.into_iter().chain(many.iter().copied())
    }

    pub(super) fn nanos(&self) -> i128 {
        match &self.0 {
            Parts::Two { .. } | Parts::Whole { .. } => 0,
            Parts::Nanos { high, low } => joined(*high, *low),
            Parts::Many(many) => many.nanos,
        }
    }
}

impl Many {
    /// No count of nanoseconds that is not a number of 512ths of a second is a dyadic fraction, so its part is expanded, 53
    /// bits at a time, as far down as an `f64` reaches.
    fn value_of_both(&self) -> f64 {
        let mut parts = self.parts.clone();
        let whole = self.nanos.div_euclid(NANOS_PER_512TH);
        // Below 2^107 512ths: two parts, both exact.
        for half in [whole >> 53 << 53, whole & ((1 << 53) - 1)] {
            grow(&mut parts, half as f64 / 512.0);
        }
        let mut rest = self.nanos.rem_euclid(NANOS_PER_512TH) as u128;
        let mut scale = 1.0_f64;
        while rest != 0 && scale > 0.0 {
            scale *= 2.0_f64.powi(-53);
            rest <<= 53;
            grow(&mut parts, (rest / u128::from(NANOS_PER_SECOND)) as f64 * scale);
            rest %= u128::from(NANOS_PER_SECOND);
        }
        round_once(&parts)
    }
}

impl Default for ExactSum {
    fn default() -> Self {
        Self(Parts::Two { high: 0.0, low: 0.0 })
    }
}

/// Equal sums, not equal storage.
impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        let Some(nanos) = self.nanos().checked_sub(other.nanos()) else { return false };
        // What is left beside a number of 512ths of a second is no sum of `f64`, so nothing there can make up for it.
        let (whole, rest) = (nanos / NANOS_PER_512TH, nanos % NANOS_PER_512TH);
        let mut difference = Self::default();
        // A difference that is out of range is not zero; and an exact sum rounds to zero only if it is zero.
        rest == 0
            && self.parts().all(|part| difference.add(part))
            && other.parts().all(|part| difference.add(-part))
            && [whole >> 53 << 53, whole & ((1 << 53) - 1)]
                .iter()
                .all(|half| difference.add(*half as f64 / 512.0))
            && difference.value() == 0.0
    }
}

/// Whether [`two_parts`] are this integer exactly.
#[inline(always)]
fn is_two_parts(value: i128) -> bool {
    ((value >> 64) as i64).unsigned_abs() < 1 << (WHOLE_BITS - 64)
}

/// An integer of at most [`WHOLE_BITS`] bits as parts that do not overlap: what rounding leaves, then the rounded.
fn two_parts(value: i128) -> [f64; 2] {
    let high = value as f64;
    [(value - high as i128) as f64, high]
}

fn joined(high: i64, low: u64) -> i128 {
    i128::from(high) << 64 | i128::from(low)
}

#[inline(always)]
fn add_to_halves(high: &mut i64, low: &mut u64, value: u64) {
    let (sum, carry) = low.overflowing_add(value);
    *low = sum;
    *high += i64::from(carry);
}

fn halves(nanos: i128) -> (i64, u64) {
    ((nanos >> 64) as i64, nanos as u64)
}

/// Nanoseconds as seconds, rounded once.
fn seconds(nanos: i128) -> f64 {
    let magnitude = nanos.unsigned_abs();
    let rounded = if magnitude < 1 << 53 {
        // Two numbers that are exact: their quotient is rounded by the division alone.
        magnitude as f64 / NANOS_PER_SECOND as f64
    } else {
        // The quotient has 98 bits at least; its last one stands for all that follow. Scaling by a power of two is exact.
        let shift = magnitude.leading_zeros();
        let (shifted, divisor) = (magnitude << shift, u128::from(NANOS_PER_SECOND));
        let sticky = u128::from(shifted % divisor != 0);
        ((shifted / divisor) | sticky) as f64 * 2.0_f64.powi(-(shift as i32))
    };
    if nanos < 0 { -rounded } else { rounded }
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
#[cfg(not(mvx_loom))]
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

    /// The standard library's parser of decimals, which rounds correctly.
    fn parsed(nanos: i128) -> f64 {
        let sign = if nanos < 0 { "-" } else { "" };
        let (whole, rest) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
        format!("{sign}{whole}.{rest:09}").parse().unwrap()
    }

    fn nanos() -> impl Strategy<Value = i128> {
        (any::<i128>(), 1_u32..128).prop_map(|(nanos, shift)| nanos >> shift)
    }

    proptest! {
        #[test]
        fn durations_are_rounded_once_all_together(nanos in proptest::collection::vec(nanos(), 0..12)) {
            let mut sum = ExactSum::default();
            let mut oracle = 0_i128;
            for nanos in nanos {
                let fits = oracle.checked_add(nanos);
                prop_assert_eq!(sum.add_nanos(nanos), fits.is_some());
                oracle = fits.unwrap_or(oracle);
            }
            prop_assert_eq!(sum.value(), parsed(oracle));
        }

        #[test]
        fn numbers_and_durations_mix(
            seconds in proptest::collection::vec(-1_000_000_000_i64..1_000_000_000, 0..8),
            nanos in proptest::collection::vec(any::<i64>(), 0..8),
            numbers_first: bool,
        ) {
            let mut numbers = ExactSum::default();
            seconds.iter().for_each(|seconds| assert!(numbers.add(*seconds as f64)));
            let mut durations = ExactSum::default();
            nanos.iter().for_each(|nanos| assert!(durations.add_nanos((*nanos).into())));
            let oracle = seconds.iter().map(|seconds| i128::from(*seconds) * 1_000_000_000);
            let oracle: i128 = oracle.chain(nanos.iter().copied().map(i128::from)).sum();

            let mut merged = if numbers_first { numbers.clone() } else { durations.clone() };
            let other = if numbers_first { &durations } else { &numbers };
            prop_assert!(merged.merge(other));
            prop_assert_eq!(merged.value(), parsed(oracle));
            let mut alone = ExactSum::default();
            prop_assert!(alone.add_nanos(oracle));
            prop_assert_eq!(&merged, &alone);
            prop_assert!(merged.add_nanos(1));
            prop_assert_ne!(&merged, &alone);
        }

        #[test]
        fn many_at_once_are_each_of_them_or_none(
            mixed in proptest::collection::vec(prop_oneof![10 => alike(), 1 => wide(), 1 => Just(f64::NAN)], 0..12),
        ) {
            let (mut all, mut each) = (sum_of(&[0.1]), sum_of(&[0.1]));
            if all.add_all(mixed.iter().copied()) {
                mixed.iter().for_each(|value| assert!(each.add(*value)));
            }
            prop_assert_eq!(all.value().to_bits(), each.value().to_bits());
            prop_assert_eq!(all, each);
        }

        #[test]
        fn integers_are_added_whole(values in proptest::collection::vec(any::<u64>(), 0..64), signed: i64) {
            let (mut sum, mut one_by_one, mut nanos) = (ExactSum::default(), ExactSum::default(), ExactSum::default());
            let total: i128 = values.iter().copied().map(i128::from).sum::<i128>() + i128::from(signed);
            prop_assert!(sum.add_whole(total));
            prop_assert_eq!(sum.value(), total as f64);
            prop_assert!(one_by_one.add_whole(signed.into()) && nanos.add_nanos(signed.into()));
            prop_assert!(values.iter().all(|value| one_by_one.add_unsigned(*value) && nanos.add_some_nanos(*value)));
            prop_assert_eq!(one_by_one, sum);
            prop_assert_eq!(nanos.value(), parsed(total));
        }

        /// Whichever comes first, and however long the integers grow.
        #[test]
        fn integers_and_numbers_mix(
            mixed in proptest::collection::vec((any::<bool>(), any::<i64>(), 0_u32..41), 0..40),
            numbers in proptest::collection::vec(prop_oneof![alike(), wide()], 0..6),
        ) {
            let (mut sum, mut oracle, mut parts) = (ExactSum::default(), Fixed::zero(), ExactSum::default());
            let mut numbers = numbers.into_iter();
            for (number, integer, shift) in mixed {
                if number {
                    let number = numbers.next().unwrap_or_default();
                    oracle.add(number);
                    prop_assert!(sum.add(number) && parts.add(number));
                    continue;
                }
                let integer = i128::from(integer) << shift;
                let halves = [integer & ((1 << 53) - 1), integer >> 53 << 53].map(|half| half as f64);
                halves.into_iter().for_each(|half| oracle.add(half));
                prop_assert!(sum.add_whole(integer) && halves.into_iter().all(|half| parts.add(half)));
            }
            prop_assert_eq!(sum.value().to_bits(), oracle.round().to_bits());
            prop_assert_eq!(&sum, &parts);
            let (mut left, mut right) = (sum.clone(), parts.clone());
            prop_assert!(left.merge(&parts) && right.merge(&sum));
            prop_assert_eq!(left, right);
        }
    }

    #[test]
    fn integers_beyond_two_parts_keep_every_bit() {
        let mut sum = ExactSum::default();
        assert!((0..33).all(|_| sum.add_whole((1 << 104) + (1 << 50) + 1)));
        assert!(sum.add(0.5));
        // Only what is left when the rest has gone tells whether all of it was there.
        assert!((0..33).all(|_| sum.add_whole(-(1 << 104) - (1 << 50))));
        assert_eq!(sum.value(), 33.5);
    }

    #[test]
    fn quarters_of_a_second_are_the_same_in_either_form() {
        let (mut numbers, mut durations) = (ExactSum::default(), ExactSum::default());
        for quarters in [1_u64, 2, 7, 1 << 40] {
            assert!(numbers.add(quarters as f64 / 4.0));
            assert!(durations.add_duration(Duration::from_millis(250 * quarters)));
        }
        assert_eq!(numbers, durations);
        assert!(durations.add(-0.25) && numbers.add_nanos(-250_000_000));
        assert_eq!((numbers == durations, numbers.value()), (true, durations.value()));
        assert!(durations.add_duration(Duration::MAX));
        assert_ne!(numbers, durations);
        let before = durations.clone();
        assert!(!durations.add_nanos(i128::MAX));
        assert_eq!(durations, before);
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
        assert!(matches!(sum.0, Parts::Two { .. }));
        assert!(size_of::<ExactSum>() <= 24);
        let mut whole = ExactSum::default();
        assert!((0..100_000).all(|turn| whole.add_whole(u64::MAX.into()) && whole.add_whole(-turn)));
        assert!(matches!(whole.0, Parts::Whole { .. }));
    }
}
