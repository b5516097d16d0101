//! How Rust names become event names, and which event names are allowed.
//!
//! The rule is that of metric names, so an event type can stand in a label, a log line or a metric name as it is.

use std::fmt;

/// The longest event name in bytes, the same as for metric names.
pub(crate) const MAX_LEN: usize = 255;

/// `SaveFailed` as `save_failed`, `HTTPRequest2` as `http_request2`.
///
/// A word begins at a capital after a small letter, and at the last capital of a run that a small letter follows. Digits
/// belong to the word before them and change nothing (`HTTP2Request` is `http2_request`, `E2E` is `e2e`). Underscores
/// separate words; at the ends they vanish. These are the rules of the `heck` crate, which is not worth a dependency.
pub(crate) fn snake_case(ident: &str) -> String {
    let mut out = String::with_capacity(ident.len() + 4);
    let mut after_small = false;
    let mut at_word_start = true;
    let mut chars = ident.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '_' {
            at_word_start = true;
            continue;
        }
        let ends_acronym = chars.peek().is_some_and(|next| next.is_lowercase());
        let begins_word = at_word_start || (c.is_uppercase() && (after_small || ends_acronym));
        if begins_word && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
        at_word_start = false;
        if c.is_alphabetic() {
            after_small = c.is_lowercase();
        }
    }
    out
}

/// The prefix that a type's name gives its events: `StorageEvent` as `storage`.
pub(crate) fn prefix(type_name: &str) -> String {
    let snake = snake_case(type_name);
    match snake.strip_suffix("_event") {
        Some(short) => short.to_owned(),
        None => snake,
    }
}

/// Why a text is no event name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Empty,
    TooLong(usize),
    NoLetterFirst(char),
    EmptyPart,
    BadChar(char),
}

/// Checks a whole name, or the part of it that comes first.
pub(crate) fn check(name: &str) -> Result<(), Flaw> {
    check_part(name)?;
    match name.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => Ok(()),
        Some(first) => Err(Flaw::NoLetterFirst(first)),
        None => Err(Flaw::Empty),
    }
}

/// Checks a part of a name that has another part before it, and so may begin with a digit.
pub(crate) fn check_part(part: &str) -> Result<(), Flaw> {
    if part.is_empty() {
        return Err(Flaw::Empty);
    }
    if let Some(bad) = part.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '.')) {
        return Err(Flaw::BadChar(bad));
    }
    if part.split('.').any(str::is_empty) {
        return Err(Flaw::EmptyPart);
    }
    check_len(part)
}

/// Checks the length alone, for a name joined from checked parts.
pub(crate) fn check_len(name: &str) -> Result<(), Flaw> {
    if name.len() > MAX_LEN { Err(Flaw::TooLong(name.len())) } else { Ok(()) }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong(len) => write!(f, "it has {len} bytes, and {MAX_LEN} is the limit"),
            Self::NoLetterFirst(first) => write!(f, "it begins with {first:?} instead of an ASCII letter"),
            Self::EmptyPart => f.write_str("one of its dots has no word before or after it"),
            Self::BadChar(bad) => write!(f, "it contains {bad:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_names_become_snake_case() {
        for (ident, snake) in [
            ("Saved", "saved"),
            ("SaveFailed", "save_failed"),
            ("save_failed", "save_failed"),
            ("Save_Failed", "save_failed"),
            ("SAVE_FAILED", "save_failed"),
            ("_Saved", "saved"),
            ("Saved_", "saved"),
            ("a__b", "a_b"),
            ("HTTPRequest2", "http_request2"),
            ("HTTP2Request", "http2_request"),
            ("HTTP", "http"),
            ("XMLHttpRequest", "xml_http_request"),
            ("Sha256Sum", "sha256_sum"),
            ("sha256sum", "sha256sum"),
            ("E2E", "e2e"),
            ("V2", "v2"),
            ("S3PutDone", "s3_put_done"),
            ("AToB", "a_to_b"),
            ("X", "x"),
            ("Über", "über"),
            ("__", ""),
        ] {
            assert_eq!(snake_case(ident), snake, "{ident}");
        }
    }

    #[test]
    fn a_type_loses_its_last_word_if_that_is_event() {
        for (ident, expected) in [
            ("StorageEvent", "storage"),
            ("DocumentStorageEvent", "document_storage"),
            ("Event", "event"),
            ("EventLoop", "event_loop"),
            ("Prevent", "prevent"),
            ("StorageEvents", "storage_events"),
            ("storage_event", "storage"),
        ] {
            assert_eq!(prefix(ident), expected, "{ident}");
        }
    }

    #[test]
    fn names_are_words_joined_by_single_dots() {
        for good in ["a", "storage.saved", "Storage.Saved", "a1_.b_2", "http.404", "a._b"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, flaw) in [
            ("", Flaw::Empty),
            ("1st", Flaw::NoLetterFirst('1')),
            ("_a", Flaw::NoLetterFirst('_')),
            (".a", Flaw::EmptyPart),
            ("a.", Flaw::EmptyPart),
            ("a..b", Flaw::EmptyPart),
            ("a b", Flaw::BadChar(' ')),
            ("a-b", Flaw::BadChar('-')),
            ("a:b", Flaw::BadChar(':')),
            ("über", Flaw::BadChar('ü')),
            ("a\n", Flaw::BadChar('\n')),
        ] {
            assert_eq!(check(bad), Err(flaw), "{bad}");
        }
    }

    #[test]
    fn a_later_part_may_begin_with_a_digit() {
        assert_eq!(check_part("404"), Ok(()));
        assert_eq!(check_part("_404"), Ok(()));
        assert_eq!(check_part(""), Err(Flaw::Empty));
        assert_eq!(check_part("a..b"), Err(Flaw::EmptyPart));
    }

    #[test]
    fn the_length_limit_is_inclusive() {
        assert_eq!(check(&"a".repeat(MAX_LEN)), Ok(()));
        assert_eq!(check(&"a".repeat(MAX_LEN + 1)), Err(Flaw::TooLong(MAX_LEN + 1)));
    }
}
