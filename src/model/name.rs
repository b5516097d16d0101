//! Names that every export format can write, checked once where they enter.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits::MAX_ID_BYTES;
use crate::model::limits::MAX_NAME_BYTES;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The neutral name of a metric: dotted words such as `document.save.duration`.
///
/// An ASCII letter first, then letters, digits and `_`, in words separated by single dots. Exporters translate: no unit
/// and no `_total` in the name. `Clone` is a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricName(Arc<str>);

/// The key of a label: `[a-zA-Z_][a-zA-Z0-9_]*`, neither reserved nor starting with `__`. `Clone` is a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelKey(Arc<str>);

/// The name of one field of a custom metric: `[a-zA-Z][a-zA-Z0-9_]*`. `Clone` is a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName(Arc<str>);

/// The id of a recorder: any text without control characters, trimmed and not blank. `Clone` is a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecorderId(Arc<str>);

/// Keys that an export format or a recorder's own labels need for themselves.
const RESERVED_KEYS: [&str; 5] = ["le", "quantile", "recorder", "entity", "group"];

impl MetricName {
    /// Checks and keeps a metric name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`] when the name is empty, longer than `limits::MAX_NAME_BYTES`, or not dotted words.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricName;
    ///
    /// assert_eq!(MetricName::new("document.save.duration")?, *"document.save.duration");
    /// let error = MetricName::new("document-saves").unwrap_err();
    /// assert!(error.to_string().contains("`document_saves`"), "{error}");
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn new(name: &str) -> Result<Self, Error> {
        check_length("metric name", name, MAX_NAME_BYTES)?;
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
        let words_well = name.split('.').all(|word| !word.is_empty() && word.chars().all(is_word_char));
        if starts_well && words_well {
            return Ok(Self(name.into()));
        }
        Err(invalid(format!(
            "metric name `{name}` is not dotted words: start with an ASCII letter, use letters, digits and `_`, and single \
             dots between words, for example `{}`",
            suggest(name, '.')
        )))
    }
}

impl LabelKey {
    /// Checks and keeps a label key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`] when the key is empty, too long, has other characters, starts with `__`, or is one of
    /// the reserved `le`, `quantile`, `recorder`, `entity` and `group`.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{ErrorKind, LabelKey};
    ///
    /// assert_eq!(LabelKey::new("outcome")?, *"outcome");
    /// assert_eq!(LabelKey::new("le").unwrap_err().kind(), ErrorKind::InvalidName);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn new(key: &str) -> Result<Self, Error> {
        check_length("label key", key, MAX_NAME_BYTES)?;
        if RESERVED_KEYS.contains(&key) {
            return Err(invalid(format!(
                "label key `{key}` is reserved: take another, for example `{key}_name`"
            )));
        }
        if key.starts_with("__") {
            let rest = suggest(key.trim_start_matches('_'), '_');
            return Err(invalid(format!(
                "label key `{key}` starts with `__`, which is reserved: write `{rest}`"
            )));
        }
        let starts_well = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if starts_well && key.chars().all(is_word_char) {
            return Ok(Self(key.into()));
        }
        Err(invalid(format!(
            "label key `{key}` is not one word: start with an ASCII letter or `_`, then letters, digits and `_`, for \
             example `{}`",
            suggest(key, '_')
        )))
    }

    /// A key of our own that users cannot write, for the series past a cardinality limit.
    pub(crate) fn internal(key: &'static str) -> Self {
        Self(key.into())
    }
}

impl FieldName {
    /// Checks and keeps the name of a field.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`] when the name is empty, too long, or not one word.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::FieldName;
    ///
    /// assert_eq!(FieldName::new("free_bytes")?, *"free_bytes");
    /// assert!(FieldName::new("free.bytes").unwrap_err().to_string().contains("`free_bytes`"));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn new(name: &str) -> Result<Self, Error> {
        check_length("field name", name, MAX_NAME_BYTES)?;
        if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_word_char) {
            return Ok(Self(name.into()));
        }
        Err(invalid(format!(
            "field name `{name}` is not one word: start with an ASCII letter, then letters, digits and `_`, for example \
             `{}`",
            suggest(name, '_')
        )))
    }
}

impl RecorderId {
    /// The text, shared.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Trims, checks and keeps an id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidId`] when the id is blank, longer than `limits::MAX_ID_BYTES`, or has control characters.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{ErrorKind, RecorderId};
    ///
    /// assert_eq!(RecorderId::new("  document_storage ")?, *"document_storage");
    /// assert_eq!(RecorderId::new("  ").unwrap_err().kind(), ErrorKind::InvalidId);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn new(id: &str) -> Result<Self, Error> {
        let id = id.trim();
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidId, message));
        if id.is_empty() {
            return refuse(
                "the id is blank: give it at least one visible character, for example `storage`".into(),
            );
        }
        if id.len() > MAX_ID_BYTES {
            return refuse(format!("the id has {} bytes: shorten it to at most {MAX_ID_BYTES}", id.len()));
        }
        if id.chars().any(char::is_control) {
            return refuse(format!("the id {id:?} has control characters: leave them out"));
        }
        Ok(Self(id.into()))
    }
}

macro_rules! reads_as_text {
    ($($name:ident),*) => {$(
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}

reads_as_text!(MetricName, LabelKey, FieldName, RecorderId);

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn check_length(what: &str, name: &str, max: usize) -> Result<(), Error> {
    if name.is_empty() {
        return Err(invalid(format!("the {what} is empty: give it at least one letter")));
    }
    if name.len() > max {
        return Err(invalid(format!("the {what} has {} bytes: shorten it to at most {max}", name.len())));
    }
    Ok(())
}

/// A valid name close to the wrong one: foreign characters become `_`, words are joined by `joint`.
fn suggest(name: &str, joint: char) -> String {
    let clean = |word: &str| word.chars().map(|c| if is_word_char(c) { c } else { '_' }).collect::<String>();
    let words: Vec<String> = name.split('.').filter(|word| !word.is_empty()).map(clean).collect();
    let joined = words.join(joint.encode_utf8(&mut [0; 4]));
    let name = joined.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    if name.is_empty() { "name".into() } else { name.into() }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidName, message)
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_dotted_words_are_metric_names() {
        for good in ["a", "a.b", "document.save_2.duration", "A9._x"] {
            assert_eq!(MetricName::new(good).unwrap(), good);
        }
        for bad in ["", ".", "a.", ".a", "a..b", "9a", "_a", "a b", "a-b", "ä", "a\u{0}"] {
            assert_eq!(MetricName::new(bad).unwrap_err().kind(), ErrorKind::InvalidName, "{bad:?}");
        }
        assert!(MetricName::new(&"a".repeat(MAX_NAME_BYTES)).is_ok());
        assert!(
            MetricName::new(&"a".repeat(MAX_NAME_BYTES + 1)).unwrap_err().to_string().contains("shorten")
        );
    }

    #[test]
    fn reserved_label_keys_are_refused() {
        for good in ["outcome", "_private", "http_2", "A"] {
            assert_eq!(LabelKey::new(good).unwrap(), good);
        }
        for bad in ["", "le", "quantile", "recorder", "entity", "__name__", "9", "a.b", "a-b", "é"] {
            assert_eq!(LabelKey::new(bad).unwrap_err().kind(), ErrorKind::InvalidName, "{bad:?}");
        }
    }

    #[test]
    fn ids_are_trimmed_and_blank_or_unprintable_ones_refused() {
        assert_eq!(RecorderId::new("\t käse 1 \n").unwrap(), "käse 1");
        for bad in ["", " \t", "a\u{7}b", "a\nb", &"x".repeat(MAX_ID_BYTES + 1)] {
            assert_eq!(RecorderId::new(bad).unwrap_err().kind(), ErrorKind::InvalidId, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_an_error_suggests_is_itself_valid(name in "\\PC{1,40}") {
            prop_assert!(MetricName::new(&suggest(&name, '.')).is_ok());
            prop_assert!(FieldName::new(&suggest(&name, '_')).is_ok());
        }
    }
}
