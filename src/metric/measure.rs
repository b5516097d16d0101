//! What a value selector may return.

use crate::model::snapshot::ExactSum;
use crate::model::snapshot::Number;
use crate::model::verdict::Refusal;
use std::time::Duration;

/// A measured value: an integer, a floating-point number or a duration.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Measure, Number};
/// use std::time::Duration;
///
/// /// A newtype of an application.
/// struct Pages(u32);
///
/// impl Measure for Pages {
///     const FRACTIONAL: bool = false;
///     fn number(self) -> Number {
///         Number::from(self.0)
///     }
/// }
///
/// assert_eq!(Pages(3).number(), 3_u64.into());
/// assert_eq!(Duration::from_millis(1500).number(), 1.5.into());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no value that can be measured",
    note = "values are integers, `f32`, `f64`, `Duration`, or a type of your own that is a `Measure`"
)]
pub trait Measure {
    /// Whether there are values between two integers; decides how a counter adds them up.
    const FRACTIONAL: bool;

    /// The value; seconds for durations.
    fn number(self) -> Number;

    /// The value before it is rounded to a number; as provided, the number.
    ///
    /// A type that wraps a duration hands it on here, so that sums of it are exact to the nanosecond.
    fn measured(self) -> Measured
    where
        Self: Sized,
    {
        Measured::Number(self.number())
    }
}

/// What [`Measure::measured`] tells: a number, or a duration that is not rounded to one.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Measure, Measured};
/// use std::time::Duration;
///
/// assert_eq!(7_u32.measured(), Measured::Number(7_u64.into()));
/// assert_eq!(Duration::MAX.measured(), Measured::Duration(Duration::MAX));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Measured {
    /// A number, exactly.
    Number(Number),
    /// A duration, exactly; its number is seconds.
    Duration(Duration),
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A measured value in 64 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Amount {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// Nanoseconds, fewer than 2^63, because signed integers are the faster ones to convert; durations of centuries are told as
    /// seconds.
    Nanos(u64),
}

macro_rules! measures {
    ($fractional:literal: $($source:ty),*) => {$(
        impl Measure for $source {
            const FRACTIONAL: bool = $fractional;

            #[inline]
            fn number(self) -> Number {
                Number::from(self)
            }
        }
    )*};
}

measures!(false: u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
measures!(true: f32, f64);

/// In seconds; the metric says so with [`Unit::Seconds`](crate::Unit::Seconds).
impl Measure for Duration {
    const FRACTIONAL: bool = true;

    #[inline]
    fn number(self) -> Number {
        Number::F64(self.as_secs_f64())
    }

    #[inline]
    fn measured(self) -> Measured {
        Measured::Duration(self)
    }
}

impl Amount {
    /// The value of the event; seconds for nanoseconds.
    #[inline]
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Signed(value) => value as f64,
            Self::Float(value) => value,
            Self::Nanos(nanos) => Duration::from_nanos(nanos).as_secs_f64(),
        }
    }

    /// The value within a part in 10^15, without a division.
    #[inline(always)]
    pub(super) fn roughly(self) -> f64 {
        if let Self::Nanos(nanos) = self { nanos as i64 as f64 * 1e-9 } else { self.as_f64() }
    }

    /// The value of the event, if it is one that can be summed.
    #[inline]
    pub(super) fn summand(self) -> Result<f64, Refusal> {
        let value = self.as_f64();
        if !value.is_finite() {
            return Err(Refusal::NonFinite);
        }
        if value.abs() > ExactSum::MAX {
            return Err(Refusal::OutOfRange);
        }
        Ok(value)
    }

    /// Adds the value without rounding it.
    #[inline(always)]
    pub(super) fn add_to(self, sum: &mut ExactSum) -> bool {
        match self {
            Self::Unsigned(value) => sum.add_whole(value.into()),
            Self::Signed(value) => sum.add_whole(value.into()),
            Self::Float(value) => sum.add(value),
            Self::Nanos(nanos) => sum.add_nanos(nanos.into()),
        }
    }
}

impl From<Measured> for Amount {
    #[inline(always)]
    fn from(measured: Measured) -> Self {
        match measured {
            Measured::Number(Number::U64(value)) => Self::Unsigned(value),
            Measured::Number(Number::I64(value)) => Self::Signed(value),
            Measured::Number(Number::F64(value)) => Self::Float(value),
            // In 64 bits and without a check of each step, so that the division by which `Duration::from_nanos` takes a number
            // apart is undone when this is compiled into its caller.
            Measured::Duration(duration) => {
                if duration.as_secs() < i64::MAX as u64 / NANOS_PER_SECOND {
                    Self::Nanos(duration.as_secs() * NANOS_PER_SECOND + u64::from(duration.subsec_nanos()))
                } else {
                    Self::Float(duration.as_secs_f64())
                }
            }
        }
    }
}
