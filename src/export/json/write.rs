//! Values and texts of JSON.

use crate::export::rows::Row;
use crate::export::rows::push;
use crate::model::snapshot::ExponentialBuckets;
use crate::model::snapshot::ExponentialRef;
use crate::model::snapshot::HistogramRef;
use crate::model::snapshot::Number;
use crate::model::snapshot::SeriesRef;
use crate::model::snapshot::SummaryRef;
use crate::model::snapshot::ValueRef;
use std::fmt::Write;

/// Another field of the object, if the series has exemplars.
pub(super) fn exemplars(out: &mut String, series: SeriesRef<'_>) {
    if series.exemplars().len() == 0 {
        return;
    }
    out.push_str(r#","exemplars":["#);
    listed(out, series.exemplars(), |out, exemplar| {
        out.push_str(r#"{"labels":{"#);
        listed(out, exemplar.labels().iter(), |out, (key, value)| {
            string(out, key);
            out.push(':');
            string(out, value);
        });
        out.push_str(r#"},"value":"#);
        number(out, exemplar.value());
        push!(out, r#","at":{}}}"#, exemplar.at().unix_nanos());
    });
    out.push(']');
}

/// Kind and value of a series, the last two fields of its object that there always are. False, and nothing written, if there is nothing for this kind.
pub(super) fn value(out: &mut String, value: ValueRef<'_>) -> bool {
    #[allow(
        unreachable_patterns,
        reason = "a kind that is new is left out and counted until it has a line here"
    )]
    match value {
        ValueRef::Counter(count) => push!(out, r#""kind":"counter","value":{count}"#),
        ValueRef::FloatCounter(sum) => kind_and_float(out, "float_counter", sum),
        ValueRef::Gauge(value) => kind_and_float(out, "gauge", value),
        ValueRef::UpDown(level) => push!(out, r#""kind":"up_down","value":{level}"#),
        ValueRef::Histogram(observed) => histogram(out, observed),
        ValueRef::Exponential(observed) => exponential(out, observed),
        ValueRef::Average { sum, count, mean } => {
            push!(out, r#""kind":"average","value":{{"count":{count},"sum":"#);
            float(out, sum);
            out.push_str(r#","mean":"#);
            optional(out, mean);
            out.push('}');
        }
        ValueRef::Summary(observed) => summary(out, observed),
        ValueRef::Info => out.push_str(r#""kind":"info","value":1"#),
        ValueRef::StateSet(states) => {
            out.push_str(r#""kind":"state_set","value":{"#);
            listed(out, states.iter(), |out, (state, on)| {
                string(out, state);
                push!(out, ":{on}");
            });
            out.push('}');
        }
        ValueRef::Fields(fields) => {
            out.push_str(r#""kind":"fields","value":{"#);
            listed(out, fields, |out, (name, value)| {
                string(out, name.as_str());
                out.push(':');
                number(out, *value);
            });
            out.push('}');
        }
        _ => return false,
    }
    true
}

fn kind_and_float(out: &mut String, kind: &str, value: f64) {
    push!(out, r#""kind":"{kind}","value":"#);
    float(out, value);
}

fn histogram(out: &mut String, observed: HistogramRef<'_>) {
    push!(out, r#""kind":"histogram","value":{{"count":{},"sum":"#, observed.count());
    moments(out, observed.sum(), observed.min(), observed.max());
    out.push_str(r#","bounds":["#);
    listed(out, observed.bounds(), |out, bound| float(out, *bound));
    out.push_str(r#"],"buckets":["#);
    listed(out, observed.buckets(), |out, count| push!(out, "{count}"));
    out.push_str("]}");
}

/// Count and sum since the start, then what quantiles and extremes are told of.
fn summary(out: &mut String, observed: SummaryRef<'_>) {
    push!(out, r#""kind":"summary","value":{{"count":{},"sum":"#, observed.total_count());
    moments(out, observed.total_sum(), observed.min(), observed.max());
    push!(out, r#","observed":{},"mean":"#, observed.count());
    optional(out, observed.mean());
    out.push_str(r#","std_dev":"#);
    optional(out, observed.std_dev());
    out.push_str(r#","quantiles":{"#);
    listed(out, observed.quantiles(), |out, (quantile, value)| {
        push!(out, "\"{quantile}\":");
        float(out, value);
    });
    out.push_str("}}");
}

fn exponential(out: &mut String, observed: ExponentialRef<'_>) {
    push!(out, r#""kind":"exponential_histogram","value":{{"count":{},"sum":"#, observed.count());
    moments(out, observed.sum(), observed.min(), observed.max());
    push!(out, r#","scale":{},"zero_threshold":"#, observed.scale());
    float(out, observed.zero_threshold());
    push!(out, r#","zero_count":{}"#, observed.zero_count());
    side(out, "positive", observed.positive());
    side(out, "negative", observed.negative());
    out.push('}');
}

/// The buckets of one sign, with the index of the first.
fn side(out: &mut String, name: &str, buckets: ExponentialBuckets<'_>) {
    push!(out, r#","{name}":{{"offset":{},"buckets":["#, buckets.offset());
    listed(out, buckets.counts(), |out, count| push!(out, "{count}"));
    out.push_str("]}");
}

/// The sum, whose name stands there already, and the extremes.
fn moments(out: &mut String, sum: f64, min: Option<f64>, max: Option<f64>) {
    float(out, sum);
    out.push_str(r#","min":"#);
    optional(out, min);
    out.push_str(r#","max":"#);
    optional(out, max);
}

/// The labels of a series as an object.
pub(super) fn labels(out: &mut String, row: Row<'_>) {
    out.push('{');
    listed(out, row.labels(), |out, (key, value)| {
        string(out, key);
        out.push(':');
        string(out, value);
    });
    out.push('}');
}

/// Things with commas between them.
fn listed<T>(out: &mut String, things: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    for (at, thing) in things.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, thing);
    }
}

fn number(out: &mut String, number: Number) {
    match number {
        Number::U64(value) => push!(out, "{value}"),
        Number::I64(value) => push!(out, "{value}"),
        Number::F64(value) => float(out, value),
    }
}

fn float(out: &mut String, value: f64) {
    if value.is_finite() {
        push!(out, "{value:?}");
    } else if value.is_nan() {
        out.push_str("\"NaN\"");
    } else {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    }
}

fn optional(out: &mut String, value: Option<f64>) {
    match value {
        Some(value) => float(out, value),
        None => out.push_str("null"),
    }
}

/// A text in quotes (RFC 8259, section 7). Control characters of both sets and the line ends of Unicode are escaped besides what must be.
pub(super) fn string(out: &mut String, text: &str) {
    let special = |c: char| matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}') || c.is_control();
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(special) {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = from.chars();
        match characters.next() {
            Some(c @ ('"' | '\\')) => out.extend(['\\', c]),
            Some('\n') => out.push_str("\\n"),
            // Every one of them is within sixteen bits.
            Some(c) => push!(out, "\\u{:04x}", u32::from(c)),
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn floats_read_back_bit_by_bit_and_are_never_taken_for_integers() {
        for value in
            [0.0, -0.0, 0.1, 1.0, 1e300, f64::MAX, f64::MIN_POSITIVE, 5e-324, 9_007_199_254_740_993.0]
        {
            let text = written(|out| float(out, value));
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
            assert!(text.contains(['.', 'e']), "{text}");
            let read: f64 = serde_json::from_str(&text).unwrap();
            assert_eq!(read.to_bits(), value.to_bits(), "{text}");
        }
        let strange =
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|value| written(|out| float(out, value)));
        assert_eq!(strange, ["\"NaN\"", "\"Infinity\"", "\"-Infinity\""]);
    }

    #[test]
    fn integers_are_whole() {
        assert_eq!(written(|out| number(out, Number::U64(u64::MAX))), "18446744073709551615");
        assert_eq!(written(|out| number(out, Number::I64(i64::MIN))), "-9223372036854775808");
    }

    proptest! {
        #[test]
        fn any_text_reads_back_and_stands_on_one_line(text in any::<String>(), awkward in "[\\n\\r\"\\\\\u{0}\u{7f}\u{85}\u{2028}\u{2029}é]{0,8}") {
            let text = format!("{text}{awkward}");
            let json = written(|out| string(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            let stays = |c: char| !c.is_control() && c != '\u{2028}' && c != '\u{2029}';
            prop_assert!(json.chars().all(stays));
        }
    }
}
