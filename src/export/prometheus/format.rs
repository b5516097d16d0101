//! Which format a scraper gets.

use crate::export::prometheus::Escaping;

/// A text format of Prometheus.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::prometheus::Format;
///
/// // What Prometheus 2 sends.
/// let accept = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
///               text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// assert_eq!(Format::negotiate(accept), Format::OpenMetrics);
/// assert_eq!(Format::negotiate("*/*"), Format::Text); // curl
/// assert_eq!(Format::Text.content_type(), "text/plain; version=0.0.4; charset=utf-8");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// The classic text format, version 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.0: with units, creation times and an end mark.
    OpenMetrics,
}

/// Weights in thousandths, as RFC 9110 limits them.
const FULL: u16 = 1_000;

impl Format {
    /// The value of the header `Content-Type`, for names with `_` for dots. With another [`Escaping`]: [`Exposition::content_type`].
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The text format that a request's `Accept` header asks for, by its weights (RFC 9110, 12.5.1); the one named first of equals.
    ///
    /// A version other than ours is not ours. What asks for neither format, or is no `Accept` header at all, gets
    /// [`Format::Text`], as from Prometheus's own libraries: a scraper that cannot read it says so. Costs one pass over the header. For a server
    /// that has protobuf, too: [`Exposition::negotiate`].
    pub fn negotiate(accept: &str) -> Self {
        best(accept, Self::of).unwrap_or_default()
    }

    fn of(media: &str, parameters: &Parameters<'_>) -> Option<Self> {
        let version = parameters.version;
        let is = |name: &str| media.eq_ignore_ascii_case(name);
        if is("application/openmetrics-text") {
            // Without a version it is whatever we have.
            return matches!(version, None | Some("1.0.0")).then_some(Self::OpenMetrics);
        }
        if is("text/plain") {
            // 1.0.0 is the same, and has names in quotes for whoever asks for them.
            return matches!(version, None | Some("0.0.4" | "1.0.0")).then_some(Self::Text);
        }
        if is("application/*") {
            return Some(Self::OpenMetrics);
        }
        (is("*/*") || is("text/*")).then_some(Self::Text)
    }
}

/// Any format of Prometheus and how names are written in it, for a server that has all of them.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::prometheus::{Escaping, Exposition, Format};
///
/// // What Prometheus sends when it wants native histograms.
/// let accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
///               application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.8,*/*;q=0.1";
/// assert_eq!(Exposition::negotiate(accept), Exposition::Protobuf(Escaping::Underscores));
/// assert_eq!(Exposition::negotiate("text/plain"), Exposition::Text(Format::Text, Escaping::Underscores));
///
/// let quoted = Exposition::negotiate("text/plain;version=1.0.0;escaping=allow-utf-8");
/// assert_eq!(quoted, Exposition::Text(Format::Text, Escaping::AllowUtf8));
/// assert_eq!(quoted.content_type(), "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exposition {
    /// A text format, by an [`Encoder`](super::Encoder).
    Text(Format, Escaping),
    /// Protobuf, by a [`ProtobufEncoder`](super::ProtobufEncoder).
    Protobuf(Escaping),
}

impl Exposition {
    /// The value of the header `Content-Type`. It names the escaping wherever the format has one to name: in all but the text 0.0.4, and protobuf as it always was.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text(format, escaping) => match (format, escaping) {
                (Format::Text, Escaping::Underscores) => format.content_type(),
                (Format::Text, Escaping::AllowUtf8) => {
                    "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
                }
                (Format::Text, Escaping::Dots) => "text/plain; version=1.0.0; charset=utf-8; escaping=dots",
                (Format::Text, Escaping::Values) => {
                    "text/plain; version=1.0.0; charset=utf-8; escaping=values"
                }
                (Format::OpenMetrics, Escaping::Underscores) => {
                    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
                }
                (Format::OpenMetrics, Escaping::AllowUtf8) => {
                    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
                }
                (Format::OpenMetrics, Escaping::Dots) => {
                    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=dots"
                }
                (Format::OpenMetrics, Escaping::Values) => {
                    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=values"
                }
            },
            Self::Protobuf(Escaping::Underscores) => super::ProtobufEncoder::content_type(),
            Self::Protobuf(Escaping::AllowUtf8) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8"
            }
            Self::Protobuf(Escaping::Dots) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=dots"
            }
            Self::Protobuf(Escaping::Values) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=values"
            }
        }
    }

    /// The format that a request's `Accept` header asks for, as [`Format::negotiate`]; protobuf only if it is asked for by name, as
    /// `proto=io.prometheus.client.MetricFamily` with `encoding=delimited`.
    ///
    /// Names are written as the `escaping` of that same format says: `underscores`, `allow-utf-8`, `dots` or `values`. Said not at all, twice and differently, or as
    /// something else, it is `underscores`, which every reader takes.
    pub fn negotiate(accept: &str) -> Self {
        best(accept, Self::of).unwrap_or_default()
    }

    fn of(media: &str, parameters: &Parameters<'_>) -> Option<Self> {
        let escaping = parameters.escaping.known();
        if media.eq_ignore_ascii_case("application/vnd.google.protobuf") {
            let ours = parameters.proto == Some("io.prometheus.client.MetricFamily")
                && parameters.encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case("delimited"));
            return ours.then_some(Self::Protobuf(escaping));
        }
        Format::of(media, parameters).map(|format| Self::Text(format, escaping))
    }
}

impl Default for Exposition {
    fn default() -> Self {
        Self::Text(Format::default(), Escaping::default())
    }
}

/// What stands behind a media type, as far as formats differ by it.
#[derive(Default)]
struct Parameters<'a> {
    version: Option<&'a str>,
    proto: Option<&'a str>,
    encoding: Option<&'a str>,
    escaping: Asked<'a>,
}

/// What is said of the escaping.
#[derive(Clone, Copy, Default)]
enum Asked<'a> {
    #[default]
    Nothing,
    For(&'a str),
    /// For several.
    Unclear,
}

impl<'a> Asked<'a> {
    fn also(self, word: &'a str) -> Self {
        match self {
            Self::Nothing => Self::For(word),
            Self::For(known) if known == word => self,
            _ => Self::Unclear,
        }
    }

    fn known(self) -> Escaping {
        match self {
            Self::For(word) => Escaping::of(word).unwrap_or_default(),
            Self::Nothing | Self::Unclear => Escaping::default(),
        }
    }
}

/// The one of the highest weight among those that `of` knows; the one named first of equals.
fn best<T>(accept: &str, of: fn(&str, &Parameters<'_>) -> Option<T>) -> Option<T> {
    let mut best = (0, None);
    for range in split(accept, ',') {
        let mut parts = split(range, ';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let (mut weight, mut parameters) = (Some(FULL), Parameters::default());
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("q") => weight = thousandths(value),
                name if name.eq_ignore_ascii_case("version") => parameters.version = Some(value),
                name if name.eq_ignore_ascii_case("proto") => parameters.proto = Some(value),
                name if name.eq_ignore_ascii_case("encoding") => parameters.encoding = Some(value),
                name if name.eq_ignore_ascii_case("escaping") => {
                    parameters.escaping = parameters.escaping.also(value);
                }
                _ => {}
            }
        }
        // A weight that cannot be read is one of nothing.
        let weight = weight.unwrap_or(0);
        if weight > best.0 {
            if let Some(format) = of(media, &parameters) {
                best = (weight, Some(format));
            }
        }
    }
    best.1
}

/// Splits where no quotes are open.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c: char| {
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        c == at && !quoted
    })
}

/// A weight between 0 and 1 with three decimals at most.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|digit| digit.is_ascii_digit());
    let decimals = digits.then(|| format!("{decimals:0<3}").parse::<u16>().ok())??;
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(FULL),
        _ => None,
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_highest_weight_wins_and_the_first_of_equals() {
        for (accept, expected) in [
            ("", Format::Text),
            ("text/html", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=1.0.0", Format::OpenMetrics),
            ("application/openmetrics-text; version=\"1.0.0\"", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", Format::Text),
            ("text/plain,application/openmetrics-text", Format::Text),
            ("application/openmetrics-text,text/plain", Format::OpenMetrics),
            ("text/plain;q=0.9,application/openmetrics-text;q=0.901", Format::OpenMetrics),
            ("text/plain;version=1.0.0;q=1,application/openmetrics-text;q=0.1", Format::Text),
            ("text/plain;version=1.1.0;q=1,application/openmetrics-text;q=0.1", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
            ("*/*;q=0.1,application/openmetrics-text;q=0.2", Format::OpenMetrics),
            ("application/*", Format::OpenMetrics),
            ("application/openmetrics-text;q=high,text/plain;q=0.001", Format::Text),
            ("application/openmetrics-text;q=1.5", Format::Text),
            ("x/y;note=\"a,application/openmetrics-text\"", Format::Text),
            ("x/y;note=\"a\\\",application/openmetrics-text\"", Format::Text),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                 application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.1",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::negotiate(accept), expected, "{accept}");
        }
    }

    #[test]
    fn protobuf_is_given_to_who_asks_for_ours_by_name() {
        const NONE: Escaping = Escaping::Underscores;
        let protobuf = "application/vnd.google.protobuf";
        let ours = format!("{protobuf};proto=io.prometheus.client.MetricFamily;encoding=delimited");
        let text = Exposition::default();
        for (accept, expected) in [
            (ours.clone(), Exposition::Protobuf(NONE)),
            (format!("{ours};q=0.3,text/plain;q=0.2"), Exposition::Protobuf(NONE)),
            (
                format!("{ours};q=0.3,application/openmetrics-text;q=0.4"),
                Exposition::Text(Format::OpenMetrics, NONE),
            ),
            (format!("{ours};q=0"), text),
            (
                ours.to_uppercase()
                    .replace("IO.PROMETHEUS.CLIENT.METRICFAMILY", "\"io.prometheus.client.MetricFamily\""),
                Exposition::Protobuf(NONE),
            ),
            (protobuf.to_owned(), text),
            (format!("{protobuf};proto=other.Message;encoding=delimited"), text),
            (format!("{protobuf};proto=io.prometheus.client.MetricFamily;encoding=text"), text),
            ("application/*".to_owned(), Exposition::Text(Format::OpenMetrics, NONE)),
            ("*/*".to_owned(), text),
            (String::new(), text),
        ] {
            assert_eq!(Exposition::negotiate(&accept), expected, "{accept}");
            assert!(!expected.content_type().is_empty());
        }
    }

    #[test]
    fn names_are_written_as_the_format_that_is_chosen_asks_and_otherwise_for_every_reader() {
        use Escaping::AllowUtf8;
        use Escaping::Dots;
        use Escaping::Underscores;
        use Escaping::Values;
        let text = |escaping| Exposition::Text(Format::Text, escaping);
        let open = |escaping| Exposition::Text(Format::OpenMetrics, escaping);
        const PROTOBUF: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1";
        for (accept, expected) in [
            (prometheus.to_owned(), open(AllowUtf8)),
            (format!("{PROTOBUF};q=0.6,{prometheus}"), Exposition::Protobuf(Underscores)),
            (format!("{PROTOBUF};escaping=allow-utf-8"), Exposition::Protobuf(AllowUtf8)),
            (format!("{PROTOBUF};escaping=values;q=0.1,*/*;q=0"), Exposition::Protobuf(Values)),
            ("text/plain;version=1.0.0;escaping=dots".into(), text(Dots)),
            ("text/plain;version=0.0.4; Escaping = \"values\" ".into(), text(Values)),
            ("text/plain;escaping=underscores".into(), text(Underscores)),
            ("*/*;escaping=allow-utf-8".into(), text(AllowUtf8)),
            ("application/*;escaping=dots;q=0.5".into(), open(Dots)),
            // Of the chosen format, and of no other.
            ("text/plain;escaping=dots;q=0.5,application/openmetrics-text".into(), open(Underscores)),
            ("x/y;escaping=dots,text/plain;q=0.5".into(), text(Underscores)),
            // Not at all, unknown, empty, spelled otherwise, several.
            ("text/plain;version=1.0.0".into(), text(Underscores)),
            ("text/plain;escaping=none".into(), text(Underscores)),
            ("text/plain;escaping=".into(), text(Underscores)),
            ("text/plain;escaping".into(), text(Underscores)),
            ("text/plain;escaping=\"\"".into(), text(Underscores)),
            ("text/plain;escaping=allow-utf8".into(), text(Underscores)),
            ("text/plain;escaping=DOTS".into(), text(Underscores)),
            ("text/plain;escaping=dots\u{0};q=0.3".into(), text(Underscores)),
            ("text/plain;escaping=dots;escaping=values".into(), text(Underscores)),
            ("text/plain;escaping=dots;escaping=dots".into(), text(Dots)),
            ("text/plain;escaping=dots;escaping=;escaping=dots".into(), text(Underscores)),
            ("text/plain;escaping=\"dots;q=0.1,text/plain\"".into(), text(Underscores)),
            ("text/plain;escaping=dots;q=high".into(), text(Underscores)),
        ] {
            assert_eq!(Exposition::negotiate(&accept), expected, "{accept}");
        }
    }

    #[test]
    fn each_exposition_has_a_content_type_of_its_own_by_which_it_is_asked_for() {
        let mut all = std::collections::HashSet::new();
        for escaping in [Escaping::Underscores, Escaping::AllowUtf8, Escaping::Dots, Escaping::Values] {
            for exposition in [
                Exposition::Text(Format::Text, escaping),
                Exposition::Text(Format::OpenMetrics, escaping),
                Exposition::Protobuf(escaping),
            ] {
                assert!(all.insert(exposition.content_type()), "{exposition:?}");
                assert_eq!(Exposition::negotiate(exposition.content_type()), exposition);
            }
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(accept in "\\PC{0,80}") {
            let _any = Format::negotiate(&accept);
        }

        #[test]
        fn weights_decide(one in 0..=1_000_u16, other in 0..=1_000_u16) {
            let q = |weight: u16| format!("{}.{:03}", weight / 1_000, weight % 1_000);
            let accept = format!("text/plain;q={},application/openmetrics-text;q={}", q(one), q(other));
            let expected = if other > one { Format::OpenMetrics } else { Format::Text };
            prop_assert_eq!(Format::negotiate(&accept), expected);
        }
    }
}
