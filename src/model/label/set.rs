//! Label sets, owned and borrowed.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::heap;
use crate::model::label::Label;
use crate::model::limits::MAX_LABELS;
use crate::model::name::LabelKey;
use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

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

impl LabelSet {
    /// What it takes on the heap; its keys are somebody's who has them anyway.
    pub(crate) fn heap_bytes(&self) -> usize {
        let owned = self.0.as_ref();
        owned.map_or(0, |owned| heap::arc(&**owned) + owned.text.capacity() + heap::vec(&owned.ends))
    }
}

/// The key of the overflow series; it has dots so that no user's key is ever equal.
const OVERFLOW_KEY: &str = "otel.metric.overflow";

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

    /// Values of the labels of a metric, whose keys are sorted; blank ones are absent.
    pub(crate) fn of_values<'v>(keys: &[LabelKey], values: impl Iterator<Item = &'v str>) -> Self {
        let pairs = keys.iter().zip(values).filter(|(_, value)| !value.is_empty());
        Self::of_sorted(pairs.map(|(key, value)| (key.clone(), value.to_owned())).collect())
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

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
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
