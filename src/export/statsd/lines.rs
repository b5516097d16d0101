//! Names, tags and values as lines; and what may stand in them.

use crate::export::rows::Row;
use crate::export::rows::push;
use crate::model::snapshot::HistogramRef;
use crate::model::snapshot::Number;
use crate::model::snapshot::ValueRef;
use std::fmt::Write;

/// Which StatsD is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Labels as tags, `name:1|c|#key:value`: Datadog's agent, and most receivers of today.
    #[default]
    DogStatsD,
    /// No tags; labels are folded into the name, `name.key.value:1|c`: StatsD as it began.
    Plain,
}

/// One value of a series, under the series' name and a suffix.
pub(super) struct Line<'a> {
    pub(super) suffix: &'a str,
    /// The bounds of a bucket.
    pub(super) bounds: Option<(f64, f64)>,
    pub(super) value: Value,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// A count since the start.
    Count(u64),
    /// A sum since the start, which may only rise or not.
    Sum { sum: f64, rises: bool },
    /// A state of now.
    Level(Number),
}

/// Every line of a series; false if there is nothing for its kind.
pub(super) fn each(value: ValueRef<'_>, buckets: bool, mut line: impl FnMut(Line<'_>)) -> bool {
    let mut plain = |suffix: &str, value| line(Line { suffix, bounds: None, value });
    #[allow(
        unreachable_patterns,
        reason = "a kind that is new is left out and counted until it has a line here"
    )]
    match value {
        ValueRef::Counter(count) => plain("", Value::Count(count)),
        ValueRef::FloatCounter(sum) => plain("", Value::Sum { sum, rises: true }),
        ValueRef::Gauge(value) => plain("", Value::Level(Number::F64(value))),
        ValueRef::UpDown(level) => plain("", Value::Level(Number::I64(level))),
        ValueRef::Histogram(observed) => {
            moments(observed.count(), observed.sum(), plain);
            if buckets {
                each_bucket(observed, line);
            }
        }
        ValueRef::Exponential(observed) => moments(observed.count(), observed.sum(), plain),
        ValueRef::Average { sum, count, .. } => moments(count, sum, plain),
        ValueRef::Summary(observed) => moments(observed.total_count(), observed.total_sum(), plain),
        ValueRef::Fields(fields) => {
            for (name, number) in fields {
                plain(name.as_str(), Value::Level(*number));
            }
        }
        _ => return false,
    }
    true
}

fn moments(count: u64, sum: f64, mut line: impl FnMut(&str, Value)) {
    line("count", Value::Count(count));
    // Observations may be below zero, so a sum may fall.
    line("sum", Value::Sum { sum, rises: false });
}

fn each_bucket(observed: HistogramRef<'_>, mut line: impl FnMut(Line<'_>)) {
    let mut lower = f64::NEG_INFINITY;
    let uppers = observed.bounds().iter().copied().chain([f64::INFINITY]);
    for (upper, count) in uppers.zip(observed.buckets()) {
        line(Line { suffix: "bucket", bounds: Some((lower, upper)), value: Value::Count(count) });
        lower = upper;
    }
}

/// Writes lines, each series' name and tags once for all of its lines.
#[derive(Debug, Default)]
pub(super) struct LineWriter {
    dialect: Dialect,
    /// With the dot after it.
    prefix: String,
    name: String,
    labels: String,
    /// What tells a line from every other: its name and tags.
    key: String,
    key_name: usize,
    line: String,
}

impl LineWriter {
    pub(super) fn new(dialect: Dialect, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
        Self { dialect, prefix, ..Self::default() }
    }

    /// Begins the lines of a series.
    pub(super) fn begin(&mut self, row: &Row<'_>) {
        self.name.clear();
        self.labels.clear();
        push!(self.name, "{}{}", self.prefix, row.descriptor.name());
        for (key, value) in row.labels() {
            self.dialect.label(&mut self.labels, key, value);
        }
    }

    /// Name and tags of a line, by which it is told from others.
    pub(super) fn key(&mut self, line: &Line<'_>) -> &str {
        let Self { dialect, name, labels, key, .. } = self;
        key.clear();
        key.push_str(name);
        if !line.suffix.is_empty() {
            push!(key, ".{}", line.suffix);
        }
        self.key_name = key.len();
        key.push_str(labels);
        if let Some((lower, upper)) = line.bounds {
            dialect.label(key, "lower_bound", &lower.to_string());
            dialect.label(key, "upper_bound", &upper.to_string());
        }
        if *dialect == Dialect::Plain {
            self.key_name = key.len();
        }
        &self.key
    }

    /// The line of this value under the last [`key`](Self::key), and how many lines it is; they belong into one datagram.
    pub(super) fn line(&mut self, value: Number, kind: &str) -> (&str, u64) {
        let Self { dialect, key, key_name, line, .. } = self;
        let (name, tags) = key.split_at_checked(*key_name).unwrap_or((key, ""));
        line.clear();
        let below_zero = match value {
            Number::F64(value) => value < 0.0,
            Number::I64(value) => value < 0,
            Number::U64(_) => false,
        };
        let twice = *dialect == Dialect::Plain && kind == "g" && below_zero;
        if twice {
            push!(line, "{name}:0|g\n");
        }
        match value {
            // Minus zero has a sign as well.
            Number::F64(0.0) => push!(line, "{name}:0|{kind}"),
            value => push!(line, "{name}:{value}|{kind}"),
        }
        if let Some(tags) = tags.strip_prefix(',') {
            push!(line, "|#{tags}");
        }
        (line, 1 + u64::from(twice))
    }
}

impl Dialect {
    /// Adds a label: `,key:value`, the first comma of which is to be replaced, or `.key.value`.
    fn label(self, out: &mut String, key: &str, value: &str) {
        let (before, between) = match self {
            Self::DogStatsD => (',', ':'),
            Self::Plain => ('.', '.'),
        };
        out.push(before);
        self.text(out, key);
        out.push(between);
        self.text(out, value);
    }

    /// Adds a text, with `_` for whatever has a meaning.
    fn text(self, out: &mut String, text: &str) {
        let stays = |c: char| match self {
            Self::DogStatsD => {
                !(c.is_control() || c.is_whitespace() || matches!(c, ':' | '|' | '#' | ',' | '@'))
            }
            Self::Plain => c.is_ascii_alphanumeric() || c == '_' || c == '-',
        };
        out.extend(text.chars().map(|c| if stays(c) { c } else { '_' }));
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    fn cleaned(dialect: Dialect, text: &str) -> String {
        let mut out = String::new();
        dialect.text(&mut out, text);
        out
    }

    #[test]
    fn what_has_a_meaning_is_replaced() {
        let text = "a:b|c#d,e@f\ng\u{85}h\u{2028}i j\tk\0l.m/n-ü";
        assert_eq!(cleaned(Dialect::DogStatsD, text), "a_b_c_d_e_f_g_h_i_j_k_l.m/n-ü");
        assert_eq!(cleaned(Dialect::Plain, text), "a_b_c_d_e_f_g_h_i_j_k_l_m_n-_");
    }

    #[test]
    fn a_gauge_below_zero_is_set_and_not_lowered() {
        let line = |dialect, value: Number, kind| {
            let mut writer = LineWriter::new(dialect, "");
            writer.name.push('n');
            writer.key(&Line { suffix: "", bounds: None, value: Value::Level(value) });
            let (line, lines) = writer.line(value, kind);
            (line.to_owned(), lines)
        };
        let said = |text: &str, lines| (text.to_owned(), lines);
        assert_eq!(line(Dialect::Plain, Number::I64(-2), "g"), said("n:0|g\nn:-2|g", 2));
        assert_eq!(line(Dialect::Plain, Number::F64(-0.5), "c"), said("n:-0.5|c", 1));
        assert_eq!(line(Dialect::Plain, Number::F64(-0.0), "g"), said("n:0|g", 1));
        assert_eq!(line(Dialect::DogStatsD, Number::I64(-2), "g"), said("n:-2|g", 1));
        assert_eq!(line(Dialect::Plain, Number::U64(u64::MAX), "g"), said("n:18446744073709551615|g", 1));
        assert_eq!(line(Dialect::DogStatsD, Number::F64(1e21), "g"), said("n:1000000000000000000000|g", 1));
    }
}
