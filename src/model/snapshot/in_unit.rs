//! Values for people: rounded, with the unit in a size that fits.

use crate::model::snapshot::value::Number;
use crate::model::snapshot::value::ValueRef;
use crate::model::unit::Unit;
use std::fmt;
use std::fmt::Write;

/// A value that prints for people, made by [`Number::in_unit`] and [`ValueRef::in_unit`].
///
/// Bytes print in steps of 1,024 and seconds in steps of 1,000 down to nanoseconds, both with three digits; every other unit
/// prints the number as it is. To compute or compare, take the number itself.
///
/// | unit | prints |
/// |---|---|
/// | [`Unit::Bytes`] | `512 B`, `8.13 KiB`, `1.5 GiB` |
/// | [`Unit::Seconds`] | `250 µs`, `3.5 ms`, `90 s` |
/// | [`Unit::Percent`], [`Unit::Celsius`] | `25 %`, `21.5 °C` |
/// | [`Unit::None`], [`Unit::Ratio`] | the number |
/// | a count of things, `{request}` | `25 request` |
/// | any other | the number and the UCUM code |
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Number, Unit, ValueRef};
///
/// assert_eq!(Number::from(8_330_u64).in_unit(&Unit::Bytes).to_string(), "8.13 KiB");
/// assert_eq!(ValueRef::Gauge(0.00025).in_unit(&Unit::Seconds).to_string(), "250 µs");
/// let average = ValueRef::Average { sum: 3.0, count: 2, mean: Some(1.5) };
/// assert_eq!(average.in_unit(&Unit::Seconds).to_string(), "1.5 s on average of 2");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct InUnit<'a> {
    value: Shown<'a>,
    unit: &'a Unit,
}

#[derive(Clone, Copy, Debug)]
enum Shown<'a> {
    Number(Number),
    Value(ValueRef<'a>),
}

impl Number {
    /// The number as people read it in this unit.
    pub const fn in_unit(self, unit: &Unit) -> InUnit<'_> {
        InUnit { value: Shown::Number(self), unit }
    }
}

impl<'a> ValueRef<'a> {
    /// The value as people read it in this unit, which is the one of the metric's [`Descriptor`](crate::Descriptor).
    pub const fn in_unit(self, unit: &'a Unit) -> InUnit<'a> {
        InUnit { value: Shown::Value(self), unit }
    }
}

/// As [`ValueRef::in_unit`] prints it without a unit.
impl fmt::Display for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.in_unit(&NO_UNIT).fmt(f)
    }
}

impl fmt::Display for InUnit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.width().is_none() {
            return self.write(f);
        }
        let mut text = String::new();
        self.write(&mut text)?;
        f.pad(&text)
    }
}

static NO_UNIT: Unit = Unit::None;

impl InUnit<'_> {
    fn write(&self, out: &mut impl Write) -> fmt::Result {
        match self.value {
            Shown::Number(shown) => number(out, shown, self.unit),
            Shown::Value(shown) => value(out, shown, self.unit),
        }
    }
}

fn value(out: &mut impl Write, value: ValueRef<'_>, unit: &Unit) -> fmt::Result {
    match value {
        ValueRef::Counter(count) => number(out, count.into(), unit),
        ValueRef::FloatCounter(sum) => number(out, sum.into(), unit),
        ValueRef::Gauge(last) => number(out, last.into(), unit),
        ValueRef::UpDown(level) => number(out, level.into(), unit),
        ValueRef::Average { mean: None, .. } => out.write_str("no observations"),
        ValueRef::Average { mean: Some(mean), count, .. } => {
            number(out, mean.into(), unit)?;
            write!(out, " on average of {count}")
        }
        ValueRef::Histogram(shown) => {
            observations(out, shown.count(), shown.min().zip(shown.max()), shown.sum(), unit)
        }
        ValueRef::Exponential(shown) => {
            observations(out, shown.count(), shown.min().zip(shown.max()), shown.sum(), unit)
        }
        ValueRef::Summary(shown) => {
            observations(out, shown.count(), shown.min().zip(shown.max()), shown.sum(), unit)?;
            shown.quantiles().try_for_each(|(quantile, value)| {
                write!(out, ", p{} ", quantile * 100.0)?;
                number(out, value.into(), unit)
            })
        }
        ValueRef::Timed(_) => out.write_str("to be seen at a time"),
        ValueRef::Info => out.write_str("1"),
        ValueRef::StateSet(states) => {
            let mut on = states.iter().filter(|(_, on)| *on).map(|(state, _)| state).peekable();
            if on.peek().is_none() {
                return out.write_str("no state");
            }
            on.enumerate()
                .try_for_each(|(at, state)| write!(out, "{}{state}", if at > 0 { ", " } else { "" }))
        }
        ValueRef::Fields(fields) => fields.iter().enumerate().try_for_each(|(at, (name, field))| {
            write!(out, "{}{name}=", if at > 0 { " " } else { "" })?;
            number(out, *field, unit)
        }),
    }
}

fn observations(
    out: &mut impl Write,
    count: u64,
    extremes: Option<(f64, f64)>,
    sum: f64,
    unit: &Unit,
) -> fmt::Result {
    write!(out, "{count} observation{}", if count == 1 { "" } else { "s" })?;
    if let Some((min, max)) = extremes {
        out.write_str(" from ")?;
        number(out, min.into(), unit)?;
        out.write_str(" to ")?;
        number(out, max.into(), unit)?;
    }
    out.write_str(", ")?;
    number(out, sum.into(), unit)?;
    out.write_str(" in all")
}

fn number(out: &mut impl Write, number: Number, unit: &Unit) -> fmt::Result {
    let size = number.as_f64();
    match unit {
        Unit::Bytes if size.is_finite() => bytes(out, size),
        Unit::Seconds if size.is_finite() => seconds(out, size),
        Unit::None | Unit::Ratio => write!(out, "{number}"),
        Unit::Celsius => write!(out, "{number} °C"),
        other => {
            let thing = other.ucum().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            write!(out, "{number} {}", thing.unwrap_or(other.ucum()))
        }
    }
}

fn bytes(out: &mut impl Write, size: f64) -> fmt::Result {
    const NAMES: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut size, mut name) = (size, NAMES[0]);
    for next in NAMES.iter().skip(1) {
        // What would be rounded to 1,024 is one of the next.
        if size.abs() < 1023.5 {
            break;
        }
        (size, name) = (size / 1024.0, next);
    }
    rounded(out, size, name)
}

fn seconds(out: &mut impl Write, length: f64) -> fmt::Result {
    const STEPS: [(f64, &str); 3] = [(1e3, "ms"), (1e6, "µs"), (1e9, "ns")];
    let (mut size, mut name) = (length, "s");
    for (step, next) in STEPS {
        if size.abs() >= 0.9995 || length == 0.0 {
            break;
        }
        (size, name) = (length * step, next);
    }
    rounded(out, size, name)
}

/// Three digits, and no zeros at the end.
fn rounded(out: &mut impl Write, size: f64, name: &str) -> fmt::Result {
    let decimals = match size.abs() {
        _ if size == 0.0 => 0,
        less if less < 0.005 => return write!(out, "{size:.2e} {name}"),
        less if less < 9.995 => 2,
        less if less < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{size:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    write!(out, "{text} {name}")
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::model::name::FieldName;
    use crate::model::snapshot::Descriptor;
    use crate::model::snapshot::ExactSum;
    use crate::model::snapshot::Family;
    use crate::model::snapshot::FamilyWriter;
    use crate::model::snapshot::Kind;

    fn shown(number: impl Into<Number>, unit: &Unit) -> String {
        number.into().in_unit(unit).to_string()
    }

    #[test]
    fn bytes_change_their_unit_where_rounding_would_reach_the_next() {
        let cases: [(f64, &str); 12] = [
            (0.0, "0 B"),
            (1.0, "1 B"),
            (512.25, "512 B"),
            (1_023.0, "1023 B"),
            (1_023.6, "1 KiB"),
            (1_536.0, "1.5 KiB"),
            (8_330.0, "8.13 KiB"),
            (10_301.4, "10.1 KiB"),
            (1_048_575.0, "1 MiB"),
            (-2_048.0, "-2 KiB"),
            (1.5 * 1024.0 * 1024.0 * 1024.0, "1.5 GiB"),
            (u64::MAX as f64, "16384 PiB"),
        ];
        for (size, text) in cases {
            assert_eq!(shown(size, &Unit::Bytes), text, "{size}");
        }
    }

    #[test]
    fn seconds_go_down_to_nanoseconds_and_stay_seconds_above() {
        let cases = [
            (0.0, "0 s"),
            (3_600.0, "3600 s"),
            (1.0, "1 s"),
            (0.9996, "1 s"),
            (0.9994, "999 ms"),
            (0.1, "100 ms"),
            (0.099_96, "100 ms"),
            (0.002_5, "2.5 ms"),
            (0.000_25, "250 µs"),
            (0.000_000_012_3, "12.3 ns"),
            (5e-10, "0.5 ns"),
            (1e-15, "1.00e-6 ns"),
            (-0.003, "-3 ms"),
        ];
        for (length, text) in cases {
            assert_eq!(shown(length, &Unit::Seconds), text, "{length}");
        }
    }

    #[test]
    fn other_units_show_the_number_itself() {
        assert_eq!(shown(u64::MAX, &Unit::None), "18446744073709551615");
        assert_eq!(shown(0.25, &Unit::Ratio), "0.25");
        assert_eq!(shown(25_u64, &Unit::Percent), "25 %");
        assert_eq!(shown(21.5, &Unit::Celsius), "21.5 °C");
        assert_eq!(shown(25_u64, &Unit::count_of("request").unwrap()), "25 request");
        assert_eq!(shown(2_u64, &Unit::custom("By/s").unwrap()), "2 By/s");
        assert_eq!(shown(f64::NAN, &Unit::Seconds), "NaN s");
    }

    #[test]
    fn values_can_be_put_into_columns() {
        let size = Number::from(2_048_u64);
        assert_eq!(format!("[{:>8}]", size.in_unit(&Unit::Bytes)), "[   2 KiB]");
        assert_eq!(format!("[{:<8}]", ValueRef::Gauge(2.5)), "[2.5     ]");
    }

    #[test]
    fn every_kind_of_value_says_what_it_is() {
        let text = |value: ValueRef<'_>| value.in_unit(&Unit::Seconds).to_string();
        assert_eq!(text(ValueRef::Counter(90)), "90 s");
        assert_eq!(text(ValueRef::FloatCounter(0.5)), "500 ms");
        assert_eq!(text(ValueRef::UpDown(-3)), "-3 s");
        assert_eq!(text(ValueRef::Average { sum: 0.0, count: 0, mean: None }), "no observations");
        let fields = ["now", "most"].map(|name| FieldName::new(name).unwrap());
        let fields: Vec<_> = fields.into_iter().zip([Number::U64(1), Number::U64(3)]).collect();
        assert_eq!(text(ValueRef::Fields(&fields)), "now=1 s most=3 s");
        assert_eq!(ValueRef::Fields(&fields).to_string(), "now=1 most=3");
        let mut family =
            Family::new(Descriptor::builder("took", Kind::Histogram).bounds(&[1.0]).build().unwrap());
        let mut sum = ExactSum::default();
        assert!(sum.add(0.5) && sum.add(2.0));
        FamilyWriter::whole(&mut family).histogram(&Default::default(), &[1, 1], &sum, Some((0.5, 2.0)));
        let took = family.series().next().unwrap().value();
        assert_eq!(text(took), "2 observations from 500 ms to 2 s, 2.5 s in all");
        assert_eq!(took.to_string(), "2 observations from 0.5 to 2, 2.5 in all");
    }
}
