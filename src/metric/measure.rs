//! What a value selector may return.

use crate::model::snapshot::Number;
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
pub trait Measure {
    /// Whether there are values between two integers; decides how a counter adds them up.
    const FRACTIONAL: bool;

    /// The value; seconds for durations.
    fn number(self) -> Number;
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
}
