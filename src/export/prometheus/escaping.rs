//! How names with dots are said to a reader (<https://prometheus.io/docs/instrumenting/escaping_schemes/>).

use crate::model::prometheus;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Kind;

/// How the names of metrics and the keys of labels are written, as a reader asks for it by `escaping=` in its `Accept` header.
///
/// Names of this crate are letters, digits, `_` and dots, so that dots are all there is to escape. What a sample is called besides (`_bucket`, `_sum`, `_count`,
/// `_created`) stands behind the escaped name of its family, as in Prometheus's own library.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::prometheus::{Encoder, Escaping, Format};
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let storage = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
/// storage.register_event(Saved);
/// storage.flush_blocking(Duration::from_secs(5))?;
///
/// let sample = |escaping| {
///     let mut text = String::new();
///     let _ = Encoder::new(Format::Text).vitals(false).escaping(escaping).encode(&runtime.collect(), &mut text);
///     text.lines().last().map(str::to_owned).unwrap_or_default()
/// };
/// assert_eq!(sample(Escaping::Underscores), "document_saves_total{recorder=\"storage\"} 1");
/// assert_eq!(sample(Escaping::AllowUtf8), "{\"document.saves_total\",recorder=\"storage\"} 1");
/// assert_eq!(sample(Escaping::Dots), "document_dot_saves__total{recorder=\"storage\"} 1");
/// assert_eq!(sample(Escaping::Values), "U__document_2e_saves__total{recorder=\"storage\"} 1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Escaping {
    /// `underscores`: a dot is `_`. For whoever asks for nothing else. No two metrics of a runtime have one name then: that is refused where they are declared.
    #[default]
    Underscores,
    /// `allow-utf-8`: as they are, in quotes where they have dots. What Prometheus asks for from 3.0. The suffix of a unit or of a counter still begins with `_`.
    AllowUtf8,
    /// `dots`: a dot is `_dot_`, and `_` is `__`, in every name.
    Dots,
    /// `values`: a name with dots begins with `U__`, a dot is `_2e_`, and `_` is `__`; a name without is as it is.
    Values,
}

impl Escaping {
    /// Its word in headers.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::prometheus::Escaping;
    ///
    /// assert_eq!(Escaping::default().as_str(), "underscores");
    /// assert_eq!(Escaping::AllowUtf8.as_str(), "allow-utf-8");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Underscores => "underscores",
            Self::AllowUtf8 => "allow-utf-8",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    pub(super) fn of(word: &str) -> Option<Self> {
        let all = [Self::Underscores, Self::AllowUtf8, Self::Dots, Self::Values];
        all.into_iter().find(|known| known.as_str() == word)
    }

    /// Whether a name that is written so has to stand in quotes in a text.
    pub(super) fn quotes(self, written: &str) -> bool {
        self == Self::AllowUtf8 && written.contains('.')
    }

    /// Writes a name.
    pub(super) fn write(self, out: &mut String, name: &str) {
        if self == Self::Values && name.contains('.') {
            out.push_str("U__");
        }
        let doubled = self == Self::Dots || self == Self::Values && name.contains('.');
        for c in name.chars() {
            match (c, self) {
                ('.', Self::Underscores) => out.push('_'),
                ('.', Self::Dots) => out.push_str("_dot_"),
                ('.', Self::Values) => out.push_str("_2e_"),
                ('_', _) if doubled => out.push_str("__"),
                (c, _) => out.push(c),
            }
        }
    }

    /// The name of a family, to which the suffixes of its samples are added as they are.
    pub(super) fn family(self, descriptor: &Descriptor) -> String {
        let mut name = prometheus::dotted_name(descriptor);
        // These are parts of a name, not of a sample's alone. However they are written, they stand at the end with their one `_`.
        let mark = match descriptor.kind() {
            Kind::Counter | Kind::FloatCounter => "_total",
            Kind::Info => "_info",
            _ => "",
        };
        name.push_str(mark);
        let mut written = String::with_capacity(name.len());
        self.write(&mut written, &name);
        written.truncate(written.len() - mark.len());
        written
    }

    /// The name of a family of gauges for one field of this one.
    pub(super) fn field(self, descriptor: &Descriptor, field: &str) -> String {
        let mut written = String::new();
        self.write(&mut written, &format!("{}_{field}", prometheus::dotted_name(descriptor)));
        written
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Escaping; 4] = [Escaping::Underscores, Escaping::AllowUtf8, Escaping::Dots, Escaping::Values];

    fn written(escaping: Escaping, name: &str) -> String {
        let mut out = String::new();
        escaping.write(&mut out, name);
        out
    }

    #[test]
    fn names_are_written_as_their_scheme_says() {
        for (name, expected) in [
            ("plain", ["plain", "plain", "plain", "plain"]),
            ("one_two", ["one_two", "one_two", "one__two", "one_two"]),
            (
                "metric.name.with.dots",
                [
                    "metric_name_with_dots",
                    "metric.name.with.dots",
                    "metric_dot_name_dot_with_dot_dots",
                    "U__metric_2e_name_2e_with_2e_dots",
                ],
            ),
            ("a.b_c", ["a_b_c", "a.b_c", "a_dot_b__c", "U__a_2e_b__c"]),
        ] {
            assert_eq!(ALL.map(|escaping| written(escaping, name)), expected, "{name}");
        }
    }

    #[test]
    fn only_exact_words_are_schemes() {
        for escaping in ALL {
            assert_eq!(Escaping::of(escaping.as_str()), Some(escaping));
        }
        for word in ["", "allow-utf8", "Dots", " dots", "values;", "none", "utf-8"] {
            assert_eq!(Escaping::of(word), None, "{word}");
        }
    }

    /// Words with dots between them, and with runs of `_`.
    fn name() -> impl Strategy<Value = String> {
        "[a-z](_{0,3}[a-zU]{1,3}){0,2}(\\._?[a-z_]{1,5}){0,3}"
    }

    proptest! {
        #[test]
        fn what_may_stand_without_quotes_does_and_two_names_stay_two(name in name(), other in name()) {
            for escaping in ALL {
                let whole = written(escaping, &name);
                let plain = whole.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                prop_assert_eq!(escaping.quotes(&whole), !plain);
            }
            for escaping in [Escaping::AllowUtf8, Escaping::Dots] {
                prop_assert_eq!(written(escaping, &name) == written(escaping, &other), name == other);
            }
        }
    }
}
