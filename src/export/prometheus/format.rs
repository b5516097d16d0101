//! Which format a scraper gets.

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
    /// The value of the header `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that a request's `Accept` header asks for, by its weights (RFC 9110, 12.5.1); the one named first of equals.
    ///
    /// A version other than ours is not ours. What asks for neither format, or is no `Accept` header at all, gets
    /// [`Format::Text`], as from Prometheus's own libraries: a scraper that cannot read it says so. Costs one pass over the header.
    pub fn negotiate(accept: &str) -> Self {
        let mut best = (0, Self::Text);
        for range in split(accept, ',') {
            let mut parts = split(range, ';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let (mut weight, mut version) = (Some(FULL), None);
            for parameter in parts {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                let value = value.trim().trim_matches('"');
                match name.trim() {
                    name if name.eq_ignore_ascii_case("q") => weight = thousandths(value),
                    name if name.eq_ignore_ascii_case("version") => version = Some(value),
                    _ => {}
                }
            }
            // A weight that cannot be read is one of nothing.
            let weight = weight.unwrap_or(0);
            if let Some(format) = Self::of(media, version).filter(|_| weight > best.0) {
                best = (weight, format);
            }
        }
        best.1
    }

    fn of(media: &str, version: Option<&str>) -> Option<Self> {
        let is = |name: &str| media.eq_ignore_ascii_case(name);
        if is("application/openmetrics-text") {
            // Without a version it is whatever we have.
            return matches!(version, None | Some("1.0.0")).then_some(Self::OpenMetrics);
        }
        if is("text/plain") {
            return matches!(version, None | Some("0.0.4")).then_some(Self::Text);
        }
        if is("application/*") {
            return Some(Self::OpenMetrics);
        }
        (is("*/*") || is("text/*")).then_some(Self::Text)
    }
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
            ("text/plain;version=1.0.0;q=1,application/openmetrics-text;q=0.1", Format::OpenMetrics),
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
