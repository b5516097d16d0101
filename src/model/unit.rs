//! What a number measures, in the words of both export worlds.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The unit of a metric's values, as OTLP (UCUM) and Prometheus (name suffix) call it.
///
/// It describes and does not convert: whoever says `Seconds` hands over seconds. `Clone` is at most a reference count.
///
/// # Examples
///
/// ```
/// use mvx_metrics::Unit;
///
/// assert_eq!(Unit::Seconds.ucum(), "s");
/// assert_eq!(Unit::Seconds.prometheus_suffix().as_deref(), Some("seconds"));
/// assert_eq!(Unit::count_of("request")?.ucum(), "{request}");
/// assert_eq!(Unit::custom("By/s")?.prometheus_suffix().as_deref(), Some("bytes_per_second"));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Unit {
    /// Not stated.
    #[default]
    None,
    /// Seconds, `s`; what a [`Duration`](std::time::Duration) is measured in.
    Seconds,
    /// Bytes, `By`.
    Bytes,
    /// A ratio, mostly in 0..=1, `1`.
    Ratio,
    /// A hundredth, `%`.
    Percent,
    /// Degrees Celsius, `Cel`.
    Celsius,
    /// Anything else, checked: made by [`Unit::custom`] and [`Unit::count_of`].
    Custom(CustomUnit),
}

/// A checked UCUM code that is not one of [`Unit`]'s own; [`Unit::ucum`] shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CustomUnit(Arc<str>);

/// Bytes of a UCUM code, as OpenTelemetry limits it.
const MAX_UNIT_BYTES: usize = 63;

/// UCUM atoms and their Prometheus words, as the OpenTelemetry-to-Prometheus compatibility rules list them.
const WORDS: [(&str, &str, &str); 28] = [
    ("s", "seconds", "second"),
    ("ms", "milliseconds", "millisecond"),
    ("us", "microseconds", "microsecond"),
    ("ns", "nanoseconds", "nanosecond"),
    ("min", "minutes", "minute"),
    ("h", "hours", "hour"),
    ("d", "days", "day"),
    ("wk", "weeks", "week"),
    ("mo", "months", "month"),
    ("a", "years", "year"),
    ("By", "bytes", "byte"),
    ("kBy", "kilobytes", "kilobyte"),
    ("MBy", "megabytes", "megabyte"),
    ("GBy", "gigabytes", "gigabyte"),
    ("TBy", "terabytes", "terabyte"),
    ("KiBy", "kibibytes", "kibibyte"),
    ("MiBy", "mebibytes", "mebibyte"),
    ("GiBy", "gibibytes", "gibibyte"),
    ("TiBy", "tebibytes", "tebibyte"),
    ("m", "meters", "meter"),
    ("V", "volts", "volt"),
    ("A", "amperes", "ampere"),
    ("J", "joules", "joule"),
    ("W", "watts", "watt"),
    ("g", "grams", "gram"),
    ("Cel", "celsius", "celsius"),
    ("Hz", "hertz", "hertz"),
    ("%", "percent", "percent"),
];

impl Unit {
    /// A unit by its UCUM code, such as `ms`, `By/s` or `{request}`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`] when the code is blank, too long, has spaces or unprintable characters, or braces that
    /// do not pair up.
    pub fn custom(ucum: &str) -> Result<Self, Error> {
        let known = [Self::Seconds, Self::Bytes, Self::Ratio, Self::Percent, Self::Celsius];
        if let Some(unit) = known.into_iter().find(|unit| unit.ucum() == ucum) {
            return Ok(unit);
        }
        let refuse = |why: &str| {
            let message =
                format!("unit `{ucum}` {why}: write a UCUM code such as `ms`, `By/s` or `{{request}}`");
            Err(Error::new(ErrorKind::InvalidName, message))
        };
        if ucum.is_empty() {
            return refuse("is blank");
        }
        if ucum.len() > MAX_UNIT_BYTES {
            return refuse("is too long");
        }
        if !ucum.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("has spaces or characters outside printable ASCII");
        }
        if !braces_pair_up(ucum) {
            return refuse("has braces that do not pair up");
        }
        Ok(Self::Custom(CustomUnit(ucum.into())))
    }

    /// A count of things: `count_of("request")` is UCUM's annotation `{request}`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`] when the word is blank, too long, or has spaces, braces or unprintable characters.
    pub fn count_of(thing: &str) -> Result<Self, Error> {
        if thing.is_empty() || thing.contains(['{', '}']) {
            let message = format!(
                "`{thing}` is not a thing to count: write one word without braces, such as `request`"
            );
            return Err(Error::new(ErrorKind::InvalidName, message));
        }
        Self::custom(&format!("{{{thing}}}"))
    }

    /// The unit that Prometheus calls by this word, if there is one that it would call so.
    #[cfg(feature = "prometheus-client026")]
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        if word == "ratio" {
            return Some(Self::Ratio);
        }
        let known = WORDS.iter().find(|(_, many, _)| *many == word);
        let unit = Self::custom(known.map_or(word, |(code, ..)| *code)).ok()?;
        (unit.prometheus_suffix().as_deref() == Some(word)).then_some(unit)
    }

    /// The UCUM code, as OTLP writes it; empty for [`Unit::None`].
    pub fn ucum(&self) -> &str {
        match self {
            Self::None => "",
            Self::Seconds => "s",
            Self::Bytes => "By",
            Self::Ratio => "1",
            Self::Percent => "%",
            Self::Celsius => "Cel",
            Self::Custom(custom) => &custom.0,
        }
    }

    /// The word that Prometheus wants at the end of the name, if the unit has one.
    ///
    /// An annotation (`{request}`) has none. Allocates for custom units only.
    pub fn prometheus_suffix(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::None => None,
            Self::Ratio => Some("ratio".into()),
            _ => suffix_of(self.ucum()),
        }
    }
}

impl PartialEq for Unit {
    fn eq(&self, other: &Self) -> bool {
        self.ucum() == other.ucum()
    }
}

impl Eq for Unit {}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if *self == Self::None { "no unit" } else { self.ucum() })
    }
}

impl fmt::Debug for CustomUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

fn suffix_of(ucum: &str) -> Option<Cow<'static, str>> {
    let bare = without_annotations(ucum);
    match bare.split_once('/') {
        None => plural(&bare),
        Some((above, below)) => {
            let per = WORDS.iter().find(|(code, ..)| *code == below).map(|(_, _, one)| (*one).into());
            let per: Cow<'static, str> = per.or_else(|| plural(below))?;
            Some(match plural(above) {
                Some(many) => format!("{many}_per_{per}").into(),
                None => format!("per_{per}").into(),
            })
        }
    }
}

/// The table's word, or the code itself with every foreign character made `_`.
fn plural(code: &str) -> Option<Cow<'static, str>> {
    if let Some((_, many, _)) = WORDS.iter().find(|(known, ..)| *known == code) {
        return Some(Cow::Borrowed(many));
    }
    let word: String = code.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let word = word.trim_matches('_');
    if word.is_empty() || word == "1" { None } else { Some(word.to_owned().into()) }
}

fn without_annotations(ucum: &str) -> String {
    let mut inside = false;
    let keep = |c: &char| {
        inside = (inside || *c == '{') && *c != '}';
        !inside && *c != '}'
    };
    ucum.chars().filter(keep).collect()
}

fn braces_pair_up(ucum: &str) -> bool {
    let mut inside = false;
    for byte in ucum.bytes() {
        match (byte, inside) {
            (b'{', true) | (b'}', false) => return false,
            (b'{', false) => inside = true,
            (b'}', true) => inside = false,
            _ => {}
        }
    }
    !inside
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_its_ucum_code_however_it_was_written() {
        assert_eq!(Unit::custom("s").unwrap(), Unit::Seconds);
        assert_eq!(Unit::custom("{request}").unwrap(), Unit::count_of("request").unwrap());
        assert_ne!(Unit::custom("ms").unwrap(), Unit::Seconds);
    }

    #[test]
    fn suffixes_follow_the_compatibility_rules() {
        let suffix = |code: &str| Unit::custom(code).unwrap().prometheus_suffix().map(Cow::into_owned);
        assert_eq!(suffix("ms").as_deref(), Some("milliseconds"));
        assert_eq!(suffix("{request}"), None);
        assert_eq!(suffix("{request}/s").as_deref(), Some("per_second"));
        assert_eq!(suffix("m/s").as_deref(), Some("meters_per_second"));
        assert_eq!(suffix("By{compressed}").as_deref(), Some("bytes"));
        assert_eq!(suffix("furlong.2").as_deref(), Some("furlong_2"));
        assert_eq!(suffix("1").as_deref(), Some("ratio"));
        assert_eq!(Unit::None.prometheus_suffix(), None);
    }

    #[test]
    fn codes_that_no_format_can_write_are_refused() {
        for bad in ["", "m s", "{a", "a}", "{{a}}", "µs", &"x".repeat(MAX_UNIT_BYTES + 1)] {
            assert_eq!(Unit::custom(bad).unwrap_err().kind(), ErrorKind::InvalidName, "{bad:?}");
        }
        for bad in ["", "a}b", "two words"] {
            assert_eq!(Unit::count_of(bad).unwrap_err().kind(), ErrorKind::InvalidName, "{bad:?}");
        }
    }
}
