//! Which bucket of an exponential histogram a number belongs to, exactly.
//!
//! At scale `s` the base is `2^(2^-s)`, and bucket `i` holds what is above `base^i` and up to and including `base^(i+1)`, as in the data
//! model of OpenTelemetry. Halving the scale is a shift of the index, which is exact only if the index is.

/// The finest scale: a bucket ends 0.00007 % above its beginning, and every index of an `f64` fits into an `i32`.
pub(crate) const MAX_SCALE: i32 = 20;

/// The coarsest scale: three buckets hold every `f64` above zero.
pub(crate) const MIN_SCALE: i32 = -10;

const FRACTION_BITS: u32 = 52;
const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
const BIAS: i32 = 1_023;

/// How near to a bound the logarithm's rounding might matter, in buckets: a thousand times the error of any libm at the finest scale.
const SLACK: f64 = 1.0 / (1 << 20) as f64;

/// How far a rounded bound may be off, in neighbouring floats, at most.
const MAX_STEPS: u32 = 16;

/// The bucket of a finite number above zero.
#[inline]
pub(super) fn index_of(value: f64, scale: i32) -> i32 {
    let (exponent, fraction) = split(value);
    // A power of two is the inclusive end of its bucket.
    let power = i32::from(fraction == 0);
    if scale <= 0 {
        return (exponent - power) >> -scale;
    }
    let first = exponent << scale;
    if fraction == 0 { first - 1 } else { first + bucket_within(fraction, scale) }
}

/// The largest number whose bucket is not above this one; infinite if all are, and 0 if none is.
pub(super) fn upper_bound(index: i32, scale: i32) -> f64 {
    let end = i64::from(index) + 1;
    if scale <= 0 {
        return power_of_two(end << -scale);
    }
    let (whole, part) = (end >> scale, end & ((1 << scale) - 1));
    let nearly = (part as f64 / (1_u64 << scale) as f64).exp2() * power_of_two(whole);
    if part == 0 || !nearly.is_finite() {
        return nearly;
    }
    // The bound is irrational: what is told of it is the float before it.
    let mut bits = nearly.to_bits();
    for _ in 0..MAX_STEPS {
        if bits == 0 || index_of(f64::from_bits(bits), scale) <= index {
            break;
        }
        bits -= 1;
    }
    for _ in 0..MAX_STEPS {
        if index_of(f64::from_bits(bits + 1), scale) > index {
            break;
        }
        bits += 1;
    }
    f64::from_bits(bits)
}

/// The number as `(1 + fraction / 2^52) * 2^exponent`.
fn split(value: f64) -> (i32, u64) {
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> FRACTION_BITS & 0x7ff) as i32, bits & FRACTION);
    if exponent > 0 {
        return (exponent - BIAS, fraction);
    }
    // Subnormal: the highest bit of the fraction is moved to where it is implied.
    let shift = fraction.leading_zeros() as i32 - (63 - FRACTION_BITS as i32);
    (1 - BIAS - shift, fraction << shift & FRACTION)
}

/// Among the `2^scale` buckets between two powers of two, the one of a number between them.
#[inline]
fn bucket_within(fraction: u64, scale: i32) -> i32 {
    let number = f64::from_bits((BIAS as u64) << FRACTION_BITS | fraction);
    let place = number.log2() * f64::from(1 << scale);
    let bucket = place.floor();
    let above = place - bucket;
    if above > SLACK && above < 1.0 - SLACK { bucket as i32 } else { exact_bucket_within(fraction, scale) }
}

/// The same by squaring: each square tells one binary digit of the logarithm.
///
/// With 128 bits, twenty squarings are off by 2^-106 at most. That no `f64` is that near to one of the 2^20 bounds is not proven; the tests
/// look at the two neighbours of every 331st.
#[cold]
fn exact_bucket_within(fraction: u64, scale: i32) -> i32 {
    // Between 2^127, which stands for 1, and 2^128.
    let mut number = u128::from(1 << FRACTION_BITS | fraction) << (127 - FRACTION_BITS);
    let mut bucket = 0;
    for _ in 0..scale {
        let (high, low) = squared(number);
        let digit = high >> 127;
        number = if digit == 1 { high } else { high << 1 | low >> 127 };
        bucket = bucket << 1 | digit as i32;
    }
    bucket
}

/// The halves of a square.
fn squared(number: u128) -> (u128, u128) {
    let (above, below) = (number >> 64, number & u128::from(u64::MAX));
    let middle = above * below;
    let (low, carry) = (below * below).overflowing_add(middle << 65);
    (above * above + (middle >> 63) + u128::from(carry), low)
}

/// Two to this power: exactly, or infinite, or 0 where there is no such float.
fn power_of_two(exponent: i64) -> f64 {
    const LOWEST: i64 = 1 - BIAS as i64;
    match exponent {
        1_024.. => f64::INFINITY,
        LOWEST.. => f64::from_bits(((exponent + i64::from(BIAS)) as u64) << FRACTION_BITS),
        -1_074.. => f64::from_bits(1 << (exponent + 1_074)),
        _ => 0.0,
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn powers_of_two_end_their_bucket_at_every_scale_and_what_follows_is_in_the_next() {
        for exponent in [-1_074_i64, -1_073, -1_022, -1_021, -3, -1, 0, 1, 2, 52, 1_022, 1_023] {
            let power = power_of_two(exponent);
            for scale in MIN_SCALE..=MAX_SCALE {
                let last = if scale > 0 { (exponent << scale) - 1 } else { (exponent - 1) >> -scale };
                assert_eq!(i64::from(index_of(power, scale)), last, "2^{exponent} at {scale}");
                let after = f64::from_bits(power.to_bits() + 1);
                // From the float after a subnormal power, many fine buckets are skipped.
                let next = if scale > 0 { exponent << scale } else { exponent >> -scale };
                assert!(i64::from(index_of(after, scale)) >= next, "after 2^{exponent} at {scale}");
                if exponent >= -1_022 {
                    assert_eq!(i64::from(index_of(after, scale)), next, "after 2^{exponent} at {scale}");
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_have_the_indices_of_the_data_model() {
        assert_eq!(
            (index_of(f64::MAX, 0), index_of(f64::MIN_POSITIVE, 0), index_of(5e-324, 0)),
            (1_023, -1_023, -1_075)
        );
        assert_eq!((index_of(f64::MAX, MIN_SCALE), index_of(5e-324, MIN_SCALE)), (0, -2));
        assert_eq!(
            (index_of(f64::MAX, MAX_SCALE), index_of(5e-324, MAX_SCALE)),
            ((1_024 << 20) - 1, (-1_074 << 20) - 1)
        );
        assert_eq!(
            (upper_bound(1_023, 0), upper_bound(-1_075, 0), upper_bound(-1_076, 0)),
            (f64::INFINITY, 5e-324, 0.0)
        );
        assert_eq!((index_of(1.5, 1), index_of(1.25, 1), index_of(4.0, 1)), (1, 0, 3));
    }

    #[test]
    fn numbers_beside_a_bound_are_told_apart_where_logarithms_are_not() {
        // Every 331st bound of an octave at the finest scale: its two neighbours, found by the exact way alone.
        for part in (0..(1 << MAX_SCALE) - 1).step_by(331) {
            let bound = upper_bound(part, MAX_SCALE);
            let (below, above) = (bound.to_bits() & FRACTION, (bound.to_bits() + 1) & FRACTION);
            assert_eq!(exact_bucket_within(below, MAX_SCALE), part);
            assert_eq!(exact_bucket_within(above, MAX_SCALE), part + 1);
            assert_eq!(
                (index_of(bound, MAX_SCALE), index_of(f64::from_bits(bound.to_bits() + 1), MAX_SCALE)),
                (part, part + 1)
            );
        }
    }

    proptest! {
        #[test]
        fn a_number_is_above_the_bound_before_its_bucket_and_not_above_its_own(bits in 1..f64::INFINITY.to_bits(), scale in MIN_SCALE..=MAX_SCALE) {
            let value = f64::from_bits(bits);
            let index = index_of(value, scale);
            prop_assert!(upper_bound(index - 1, scale) < value && value <= upper_bound(index, scale));
        }

        #[test]
        fn a_coarser_index_is_the_finer_one_shifted(bits in 1..f64::INFINITY.to_bits(), scale in MIN_SCALE..MAX_SCALE) {
            let value = f64::from_bits(bits);
            prop_assert_eq!(index_of(value, scale), index_of(value, MAX_SCALE) >> (MAX_SCALE - scale));
        }

        #[test]
        fn the_quick_way_and_the_exact_way_agree(fraction in 1..=FRACTION, scale in 1..=MAX_SCALE) {
            prop_assert_eq!(bucket_within(fraction, scale), exact_bucket_within(fraction, scale));
        }
    }
}
