//! Numbers, labels and texts as the formats write them.

use crate::export::prometheus::Escaping;
use crate::model::clock::Timestamp;
use crate::model::snapshot::Number;
use std::fmt::Write;

/// Writes into a string, which does not fail.
macro_rules! push {
    ($out:expr, $($arguments:tt)*) => {{
        let written = write!($out, $($arguments)*);
        debug_assert!(written.is_ok(), "a string takes everything");
    }};
}
pub(super) use push;

pub(super) fn number(out: &mut String, number: Number) {
    match number {
        Number::U64(value) => integer(out, value),
        Number::I64(value) => push!(out, "{value}"),
        Number::F64(value) => float(out, value),
    }
}

/// A whole number: most lines of an exposition end in one, and the formatter of any type is slower than the rest of a line.
pub(super) fn integer(out: &mut String, value: u64) {
    // What most buckets hold.
    if value < 10 {
        return out.push(char::from(b'0' + value as u8));
    }
    out.push_str(digits(&mut [b'0'; 20], value, 1));
}

/// The digits of a number at the end of this room; at least so many.
fn digits(room: &mut [u8; 20], mut value: u64, least: usize) -> &str {
    let mut left = room.len();
    for digit in room.iter_mut().rev() {
        if value == 0 && left + least <= 20 {
            break;
        }
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        left -= 1;
    }
    std::str::from_utf8(room.get(left..).unwrap_or_default()).unwrap_or_default()
}

/// The fewest digits that read back equal; always recognisable as a float.
pub(in crate::export) fn float(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if let Some(millionths) = millionths(value.abs()) {
        let (whole, part) = (millionths / MILLION, millionths % MILLION);
        out.push_str(if value.is_sign_negative() { "-" } else { "" });
        integer(out, whole);
        out.push('.');
        let mut room = [b'0'; 20];
        let part = digits(&mut room, part, 6).trim_end_matches('0');
        out.push_str(if part.is_empty() { "0" } else { part });
    } else {
        push!(out, "{value:?}");
    }
}

const MILLION: u64 = 1_000_000;

/// So many millionths, if that is what a positive number is the nearest to of all floats: what most sums and bounds are. It has at most
/// fifteen digits, and no two numbers of so few digits are one float, so there is none shorter.
fn millionths(value: f64) -> Option<u64> {
    // Those below are written with an exponent.
    if value != 0.0 && !(1e-4..1e9).contains(&value) {
        return None;
    }
    let count = (value * MILLION as f64 + 0.5) as u64;
    // The quotient of two integers that floats have exactly is the float nearest to it.
    (count as f64 / MILLION as f64 == value).then_some(count)
}

/// Seconds since the Unix epoch, to the nanosecond.
pub(super) fn seconds(out: &mut String, time: Timestamp) {
    let nanos = time.unix_nanos();
    push!(out, "{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
}

/// One label; with a comma before it, if it is not the first. A blank value is an absent label.
pub(super) fn label(out: &mut String, first: &mut bool, escaping: Escaping, key: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    out.push(if std::mem::take(first) { '{' } else { ',' });
    // Keys of ours have dots; a user's key has none.
    let quoted = escaping.quotes(key);
    if quoted {
        out.push('"');
    }
    escaping.write(out, key);
    if quoted {
        out.push('"');
    }
    out.push_str("=\"");
    escaped(out, value, true);
    out.push('"');
}

/// One whose key is written as this escaping has it.
pub(super) fn written_label(out: &mut String, first: &mut bool, escaping: Escaping, key: &str, value: &str) {
    // Neither does anything to a key: one has nothing left to do, the other never does.
    let as_it_is = if escaping == Escaping::AllowUtf8 { escaping } else { Escaping::Underscores };
    label(out, first, as_it_is, key, value);
}

/// A text on one line: `\` and line ends escaped, and quotes where they would end it.
pub(crate) fn escaped(out: &mut String, text: &str, quotes: bool) {
    let mut rest = text;
    while let Some(at) = rest.find(|c| matches!(c, '\\' | '\n') || quotes && c == '"') {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        out.push('\\');
        // All three are one byte long.
        let (special, after) = from.split_at(1);
        out.push_str(if special == "\n" { "n" } else { special });
        rest = after;
    }
    out.push_str(rest);
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn numbers_read_back_exactly() {
        let text = |value| written(|out| number(out, value));
        assert_eq!(text(Number::U64(u64::MAX)), "18446744073709551615");
        let powers = (0..20).map(|n| 10_u64.pow(n)).flat_map(|power| [power - 1, power, power + 1]);
        for value in powers.chain([u64::MAX - 1, 42, 70_007]) {
            assert_eq!(text(Number::U64(value)), value.to_string());
        }
        assert_eq!(text(Number::I64(i64::MIN)), "-9223372036854775808");
        for value in
            [0.0, -0.0, 0.1, 1.0, 1e300, f64::MAX, f64::MIN_POSITIVE, 5e-324, 9_007_199_254_740_993.0]
        {
            let text = text(Number::F64(value));
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
        }
        let few_digits = (0..2_000_u64).flat_map(|n| [n, n * 997, n * 104_729 + 1, n * 499_979_999]);
        let around = few_digits.flat_map(|n| {
            let value = n as f64 / 1e6;
            [
                value,
                value.next_up(),
                value.next_down(),
                value * 1.5,
                value / 3.0,
                n as f64,
                value * 1e-3,
                value * 1e9,
            ]
        });
        for value in around.chain([1e-4, 9.9e-5, 1e9, 999_999_999.999_999, 1e16, 0.1 + 0.2]) {
            assert_eq!(text(Number::F64(value)), format!("{value:?}"));
            assert_eq!(text(Number::F64(-value)), format!("{:?}", -value));
        }
        assert_eq!(
            ["NaN", "+Inf", "-Inf"],
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|v| text(v.into()))
        );
        assert_eq!(
            written(|out| seconds(out, Timestamp::from_unix_nanos(1_700_000_000_000_000_001))),
            "1700000000.000000001"
        );
    }

    #[test]
    fn texts_stay_on_their_line_and_within_their_quotes() {
        assert_eq!(written(|out| escaped(out, "a\\b\n\"c\"é\u{2028}", true)), "a\\\\b\\n\\\"c\\\"é\u{2028}");
        assert_eq!(written(|out| escaped(out, "\"\\n", false)), "\"\\\\n");
        let labels = written(|out| {
            let mut first = true;
            label(out, &mut first, Escaping::Underscores, "a.b", "\"");
            label(out, &mut first, Escaping::Underscores, "blank", "");
            label(out, &mut first, Escaping::AllowUtf8, "a.b", "c");
            label(out, &mut first, Escaping::AllowUtf8, "c", "d");
            written_label(out, &mut first, Escaping::Dots, "a_dot_b__c", "e");
        });
        let expected = "{a_b=\"\\\"\",\"a.b\"=\"c\",c=\"d\",a_dot_b__c=\"e\"";
        assert_eq!(labels, expected);
    }
}
