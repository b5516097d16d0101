//! Labels: a borrowed value on its way into a metric, and owned or borrowed sets on their way out.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits::MAX_LABELS;
use crate::model::name::LabelKey;
use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

/// Bytes of a label value; a longer one is cut at the last character that fits.
pub const MAX_LABEL_VALUE_BYTES: usize = 1_024;

/// One label value as an event hands it over: borrowed, typed and free of allocation.
///
/// Two values are equal when they render equally: `U64(7)` and `Str("7")` are one label value, and an empty one equals
/// an absent one.
///
/// # Examples
///
/// ```
/// use mvx_metrics::Label;
///
/// let owned = String::from("success");
/// assert_eq!(Label::from(&owned), Label::fixed("success"));
/// assert_eq!(Label::from(7_u64), Label::from("7"));
/// assert_eq!(Label::from(None::<&str>), Label::from(""));
/// assert_eq!(Label::from(Some(true)).to_string(), "true");
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Label<'a> {
    /// Text that lives as long as the event.
    Str(&'a str),
    /// Text that lives for ever, so that a series is found by its address alone.
    Static(&'static str),
    /// An unsigned integer.
    U64(u64),
    /// A signed integer.
    I64(i64),
    /// `true` or `false`.
    Bool(bool),
    /// No value; the same as an empty one.
    #[default]
    Absent,
}

/// An owned label set: immutable, sorted by key, unordered in meaning. `Clone` is a reference count.
///
/// # Examples
///
/// ```
/// use mvx_metrics::LabelSet;
///
/// let set = LabelSet::new([("outcome", "success"), ("code", "200"), ("note", "")])?;
/// assert_eq!(set, LabelSet::new([("code", "200"), ("outcome", "success")])?);
/// assert_eq!(set.get("outcome"), Some("success"));
/// assert!(set.matches(&[("code", "200"), ("outcome", "success")]));
/// assert_eq!(set.to_string(), r#"{code="200",outcome="success"}"#);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct LabelSet(Option<Arc<Owned>>);

/// A borrowed label set: what a series of a snapshot shows.
///
/// Equal sets have equal pairs in key order; empty values are absent.
///
/// # Examples
///
/// ```
/// use mvx_metrics::LabelSet;
///
/// let set = LabelSet::new([("b", 2), ("a", 1)])?;
/// let labels = set.as_labels();
/// assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
/// assert_eq!(labels.to_set(), set);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Labels<'a> {
    keys: &'a [LabelKey],
    text: &'a str,
    start: u32,
    ends: &'a [u32],
}

/// All values in one string, so that a set is three allocations however many labels it has.
struct Owned {
    keys: Arc<[LabelKey]>,
    text: String,
    ends: Vec<u32>,
}

/// Room for the digits of any 64-bit integer.
pub(crate) type Digits = [u8; 20];

impl<'a> Label<'a> {
    /// A label value known at compile time: the cheapest kind, found by its address.
    pub const fn fixed(value: &'static str) -> Self {
        Self::Static(value)
    }

    /// The value as text bytes; integers are written into `digits`. Never longer than [`MAX_LABEL_VALUE_BYTES`].
    #[inline]
    pub(crate) fn render<'b>(&self, digits: &'b mut Digits) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Str(text) | Self::Static(text) => clip(text).as_bytes(),
            Self::U64(value) => write_digits(value, false, digits),
            Self::I64(value) => write_digits(value.unsigned_abs(), value < 0, digits),
            Self::Bool(true) => b"true",
            Self::Bool(false) => b"false",
            Self::Absent => b"",
        }
    }
}

impl<'a> From<&'a str> for Label<'a> {
    fn from(value: &'a str) -> Self {
        Self::Str(value)
    }
}

impl<'a> From<&'a String> for Label<'a> {
    fn from(value: &'a String) -> Self {
        Self::Str(value)
    }
}

impl<'a> From<&'a Arc<str>> for Label<'a> {
    fn from(value: &'a Arc<str>) -> Self {
        Self::Str(value)
    }
}

macro_rules! label_from_integer {
    ($($source:ty => $variant:ident as $target:ty),*) => {$(
        impl From<$source> for Label<'_> {
            fn from(value: $source) -> Self {
                Self::$variant(value as $target)
            }
        }
    )*};
}

label_from_integer!(
    u8 => U64 as u64, u16 => U64 as u64, u32 => U64 as u64, u64 => U64 as u64, usize => U64 as u64,
    i8 => I64 as i64, i16 => I64 as i64, i32 => I64 as i64, i64 => I64 as i64, isize => I64 as i64
);

impl From<bool> for Label<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a, T: Into<Label<'a>>> From<Option<T>> for Label<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

impl PartialEq for Label<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.render(&mut Digits::default()) == other.render(&mut Digits::default())
    }
}

impl Eq for Label<'_> {}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) | Self::Static(text) => f.pad(clip(text)),
            Self::U64(value) => fmt::Display::fmt(value, f),
            Self::I64(value) => fmt::Display::fmt(value, f),
            Self::Bool(value) => fmt::Display::fmt(value, f),
            Self::Absent => f.pad(""),
        }
    }
}

impl LabelSet {
    /// A set of these pairs, in any order; pairs with an empty value are left out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`] for a key that [`LabelKey`] refuses or that is given twice, and
    /// [`ErrorKind::InvalidLimit`] for more than `limits::MAX_LABELS` labels.
    pub fn new<'k, 'v, V: Into<Label<'v>>>(
        pairs: impl IntoIterator<Item = (&'k str, V)>,
    ) -> Result<Self, Error> {
        let mut checked = Vec::new();
        for (key, value) in pairs {
            checked.push((LabelKey::new(key)?, value.into().to_string()));
        }
        checked.sort();
        if let Some(twice) = checked.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let message = format!("label `{}` is given twice: give each label one value", twice[0].0);
            return Err(Error::new(ErrorKind::InvalidName, message));
        }
        if checked.len() > MAX_LABELS {
            let message =
                format!("{} labels are too many: at most {MAX_LABELS} are kept apart", checked.len());
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        checked.retain(|(_, value)| !value.is_empty());
        Ok(Self::of_sorted(checked))
    }

    /// The empty set.
    pub const fn empty() -> Self {
        Self(None)
    }

    /// The labels of the series that takes what is past a cardinality limit, as OpenTelemetry names it.
    pub(crate) fn overflow() -> Self {
        Self::of_sorted(vec![(LabelKey::internal(OVERFLOW_KEY), "true".to_owned())])
    }

    fn of_sorted(pairs: Vec<(LabelKey, String)>) -> Self {
        if pairs.is_empty() {
            return Self(None);
        }
        let mut text = String::with_capacity(pairs.iter().map(|(_, value)| value.len()).sum());
        let mut ends = Vec::with_capacity(pairs.len());
        for (_, value) in &pairs {
            text.push_str(value);
            ends.push(text.len() as u32);
        }
        let keys = pairs.into_iter().map(|(key, _)| key).collect();
        Self(Some(Arc::new(Owned { keys, text, ends })))
    }

    /// The same set, borrowed.
    pub fn as_labels(&self) -> Labels<'_> {
        match &self.0 {
            Some(owned) => Labels { keys: &owned.keys, text: &owned.text, start: 0, ends: &owned.ends },
            None => Labels { keys: &[], text: "", start: 0, ends: &[] },
        }
    }

    /// The value of a label, if it has one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.as_labels().get(key)
    }

    /// Keys and values in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.as_labels().iter()
    }

    /// Whether these pairs, in any order, are exactly this set.
    pub fn matches(&self, pairs: &[(&str, &str)]) -> bool {
        self.as_labels().matches(pairs)
    }
}

/// The key of the overflow series; it has dots so that no user's key is ever equal.
pub(crate) const OVERFLOW_KEY: &str = "otel.metric.overflow";

impl<'a> Labels<'a> {
    /// Labels `keys` whose values end at `ends` in `text`, the first starting at `start`.
    pub(crate) fn new(keys: &'a [LabelKey], text: &'a str, start: u32, ends: &'a [u32]) -> Self {
        Self { keys, text, start, ends }
    }

    /// The value at a position of the family's keys, empty where it is absent.
    pub(crate) fn at(&self, position: usize) -> &'a str {
        let start = if position == 0 {
            self.start
        } else {
            self.ends.get(position - 1).copied().unwrap_or(self.start)
        };
        let end = self.ends.get(position).copied().unwrap_or(start);
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// The value of a label, if it has one.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// Keys and values in the order of the keys; absent ones are left out.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let labels = *self;
        let pair = move |(position, key): (usize, &'a LabelKey)| (key.as_str(), labels.at(position));
        labels.keys.iter().enumerate().map(pair).filter(|(_, value)| !value.is_empty())
    }

    /// Whether no label has a value.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether these pairs, in any order, are exactly these labels; empty values count as absent.
    pub fn matches(&self, pairs: &[(&str, &str)]) -> bool {
        let wanted = |key: &str| pairs.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
        let all_ours = self.iter().all(|(key, value)| wanted(key) == Some(value));
        all_ours && pairs.iter().all(|(key, value)| self.get(key).unwrap_or_default() == *value)
    }

    /// An owned copy.
    pub fn to_set(&self) -> LabelSet {
        let own = |(position, key): (usize, &LabelKey)| (key.clone(), self.at(position).to_owned());
        let pairs = self.keys.iter().enumerate().map(own).filter(|(_, value)| !value.is_empty());
        LabelSet::of_sorted(pairs.collect())
    }
}

impl PartialEq for Labels<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Labels<'_> {}

impl Hash for Labels<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for pair in self.iter() {
            pair.hash(state);
        }
    }
}

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, (key, value)) in self.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{key}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for LabelSet {
    fn eq(&self, other: &Self) -> bool {
        self.as_labels() == other.as_labels()
    }
}

impl Eq for LabelSet {}

impl Hash for LabelSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_labels().hash(state);
    }
}

impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_labels(), f)
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_labels(), f)
    }
}

#[inline]
fn clip(text: &str) -> &str {
    if text.len() <= MAX_LABEL_VALUE_BYTES { text } else { clip_long(text) }
}

#[cold]
fn clip_long(text: &str) -> &str {
    let fits = (0..=MAX_LABEL_VALUE_BYTES).rev().find(|&end| text.is_char_boundary(end));
    &text[..fits.unwrap_or_default()]
}

/// Decimal digits from the back; `fmt` would cost several times as much on the worker's path.
fn write_digits(mut value: u64, negative: bool, digits: &mut Digits) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if negative {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_that_render_equally_are_equal() {
        assert_eq!(Label::U64(7), Label::Str("7"));
        assert_eq!(Label::I64(-7), Label::Static("-7"));
        assert_eq!(Label::Bool(false), Label::Str("false"));
        assert_eq!(Label::Absent, Label::Static(""));
        assert_ne!(Label::Absent, Label::U64(0));
    }

    #[test]
    fn an_empty_value_equals_an_absent_label() {
        let with = LabelSet::new([("a", "1"), ("b", "")]).unwrap();
        let without = LabelSet::new([("a", 1_u64)]).unwrap();
        assert_eq!(with, without);
        assert!(without.matches(&[("a", "1"), ("b", "")]));
        assert!(!without.matches(&[("a", "1"), ("b", "2")]));
        assert!(!without.matches(&[]));
        assert_eq!(LabelSet::new([("x", "")]).unwrap(), LabelSet::empty());
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        let error = LabelSet::new([("a", "1"), ("a", "")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName);
        let many: Vec<String> = (0..=MAX_LABELS).map(|n| format!("k{n}")).collect();
        let error = LabelSet::new(many.iter().map(|key| (key.as_str(), "v"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidLimit);
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let long = "é".repeat(MAX_LABEL_VALUE_BYTES);
        let cut = Label::from(&long).to_string();
        assert_eq!(cut.len(), MAX_LABEL_VALUE_BYTES);
        assert!(long.starts_with(&cut));
        let odd = format!("x{long}");
        assert_eq!(Label::from(&odd).to_string().len(), MAX_LABEL_VALUE_BYTES - 1);
    }

    proptest! {
        #[test]
        fn integers_render_as_they_print(unsigned: u64, signed: i64) {
            let rendered = |label: Label<'_>| label.render(&mut Digits::default()).to_vec();
            prop_assert_eq!(rendered(Label::U64(unsigned)), unsigned.to_string().into_bytes());
            prop_assert_eq!(rendered(Label::I64(signed)), signed.to_string().into_bytes());
        }

        #[test]
        fn order_of_pairs_never_matters(values in proptest::collection::vec("[ab]{0,2}", 0..6), turn in 0_usize..6) {
            let keys = ["k0", "k1", "k2", "k3", "k4", "k5"];
            let mut pairs: Vec<(&str, &str)> = keys.into_iter().zip(values.iter().map(String::as_str)).collect();
            let set = LabelSet::new(pairs.iter().copied()).unwrap();
            if !pairs.is_empty() { let by = turn % pairs.len(); pairs.rotate_left(by); }
            prop_assert_eq!(&set, &LabelSet::new(pairs.iter().copied()).unwrap());
            prop_assert!(set.matches(&pairs));
            prop_assert_eq!(set.as_labels().to_set(), set);
        }
    }
}
