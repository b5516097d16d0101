//! One Rust file, split by a hand scanner into code, comments and text, with its tests marked.
//!
//! Every view has the length and the line breaks of the original, so an offset in one is the same place in all.

use std::ops::Range;

/// A file of the repository, seen three ways.
#[derive(Debug)]
pub struct Source {
    /// Path from the repository's root, with `/`.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// The file with comments and the insides of strings and characters blanked.
    pub code: String,
    /// The file with everything but comments blanked.
    pub comments: String,
    /// Parts that exist for tests only: items under `#[cfg(test)]` and `#[test]`.
    pub tests: Vec<Range<usize>>,
}

impl Source {
    /// Scans one file.
    pub fn new(path: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        let tests = test_items(&code);
        Self { path: path.to_owned(), text: text.to_owned(), code, comments, tests }
    }

    /// The line of an offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
    }

    /// Whether an offset lies in a part that exists for tests only.
    pub fn in_test(&self, offset: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&offset))
    }

    /// Offsets at which `needle` stands in the code, as words of their own at both ends.
    pub fn words<'a>(&'a self, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code.match_indices(needle).map(|(at, _)| at).filter(move |at| {
            let before = self.code[..*at].chars().next_back();
            let after = self.code[*at + needle.len()..].chars().next();
            let starts = !needle.starts_with(is_word) || !before.is_some_and(is_word);
            let ends = !needle.ends_with(is_word) || !after.is_some_and(is_word);
            starts && ends
        })
    }

    /// The names of the functions that a test attribute stands above.
    pub fn test_names(&self) -> Vec<&str> {
        let attributes =
            self.code.match_indices("#[").filter(|(at, _)| is_test_attribute(attribute(&self.code, *at)));
        let names = attributes.filter_map(|(at, _)| {
            let rest = &self.code[at..];
            let name = rest[rest.find("fn ")? + 3..].trim_start();
            Some(&name[..name.find(|c| !is_word(c)).unwrap_or(name.len())])
        });
        names.filter(|name| !name.is_empty()).collect()
    }
}

/// Whether a character belongs to an identifier.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The offset behind the bracket that closes the one at `open`; the end of the text if none does.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The inside of the attribute that starts at `at`, without its brackets.
pub fn attribute(code: &str, at: usize) -> &str {
    let open = at + 1;
    code.get(open + 1..closing(code, open).saturating_sub(1)).unwrap_or_default().trim()
}

/// The code and the comments of a file, each blanked where the other stands.
fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let mut code = vec![b' '; bytes.len()];
    let mut comments = code.clone();
    for (at, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        code[at] = *byte;
        comments[at] = *byte;
    }
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (view, end) = if rest.starts_with(b"//") {
            (Some(&mut comments), at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()))
        } else if rest.starts_with(b"/*") {
            (Some(&mut comments), at + block_comment(rest))
        } else if let Some(length) = literal(bytes, at) {
            code[at] = bytes[at];
            code[at + length - 1] = bytes[at + length - 1];
            (None, at + length)
        } else {
            (Some(&mut code), at + 1)
        };
        if let Some(view) = view {
            view[at..end].copy_from_slice(&bytes[at..end]);
        }
        at = end;
    }
    let view = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (view(code), view(comments))
}

/// The length of a block comment; they nest.
fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of the string or character that starts at `at`, prefixes (`b`, `r#`, …) included.
fn literal(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let prefix = rest.iter().take_while(|byte| matches!(byte, b'b' | b'c' | b'r')).count();
    let raw = rest[..prefix].ends_with(b"r");
    if prefix > 2 || (prefix > 0 && after_word) {
        return None;
    }
    let hashes = if raw { rest[prefix..].iter().take_while(|byte| **byte == b'#').count() } else { 0 };
    let open = prefix + hashes;
    match rest.get(open)? {
        b'"' if raw => {
            let mut end = vec![b'"'];
            end.extend(vec![b'#'; hashes]);
            let found = rest[open + 1..].windows(end.len()).position(|window| window == end);
            Some(found.map_or(rest.len(), |found| open + 1 + found + end.len()))
        }
        b'"' => Some(quoted(rest, open, b'"')),
        b'\'' if hashes == 0 => character(rest, open),
        _ => None,
    }
}

/// The length of a quoted literal with escapes.
fn quoted(rest: &[u8], open: usize, quote: u8) -> usize {
    let mut at = open + 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character literal, or nothing if the quote starts a lifetime.
fn character(rest: &[u8], open: usize) -> Option<usize> {
    if rest.get(open + 1) == Some(&b'\\') {
        return Some(quoted(rest, open, b'\''));
    }
    let text = std::str::from_utf8(&rest[open + 1..rest.len().min(open + 5)]);
    let first = match text {
        Ok(text) => text.chars().next()?.len_utf8(),
        Err(error) => error.valid_up_to().clamp(1, 4).min(lead_length(rest[open + 1])),
    };
    (rest.get(open + 1 + first) == Some(&b'\'')).then_some(open + 2 + first)
}

/// How many bytes a character has whose first byte this is.
fn lead_length(byte: u8) -> usize {
    match byte {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

/// The items that exist for tests only.
fn test_items(code: &str) -> Vec<Range<usize>> {
    if code.match_indices("#![").any(|(at, _)| implies_test(attribute(code, at + 1))) {
        return vec![Range { start: 0, end: code.len() }];
    }
    let gates = code.match_indices("#[").map(|(at, _)| at);
    let gates = gates.filter(|at| {
        let inside = attribute(code, *at);
        implies_test(inside) || is_test_attribute(inside)
    });
    gates.map(|at| at..item_end(code, at)).collect()
}

/// Whether an attribute's inside is `test`, `tokio::test(…)` and the like.
fn is_test_attribute(inside: &str) -> bool {
    let name = inside.split('(').next().unwrap_or_default().trim();
    name == "test" || name.ends_with("::test")
}

/// Whether an attribute's inside is a `cfg` that holds under test only.
fn implies_test(inside: &str) -> bool {
    let Some(predicate) = inside.strip_prefix("cfg").map(str::trim_start) else { return false };
    predicate.starts_with('(') && predicate_implies_test(predicate[1..].trim_end().trim_end_matches(')'))
}

/// Whether a `cfg` predicate can only hold under test; closing brackets at its end may be missing.
fn predicate_implies_test(predicate: &str) -> bool {
    let predicate = predicate.trim();
    let arguments = |name: &str| {
        let rest = predicate.strip_prefix(name)?.trim_start().strip_prefix('(')?;
        Some(split_arguments(rest))
    };
    if let Some(all) = arguments("all") {
        return all.iter().any(|part| predicate_implies_test(part));
    }
    if let Some(any) = arguments("any") {
        return !any.is_empty() && any.iter().all(|part| predicate_implies_test(part));
    }
    predicate.trim_end_matches(')').trim() == "test"
}

/// The arguments of a predicate, split at the commas of its own level.
fn split_arguments(list: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let mut start = 0;
    let mut parts = Vec::new();
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        if depth < 0 {
            parts.push(&list[start..at]);
            return parts;
        }
    }
    parts.push(&list[start..]);
    parts
}

/// The end of the item that the attribute at `at` stands above: its `;` or its block's end.
fn item_end(code: &str, at: usize) -> usize {
    let mut at = closing(code, at + 1);
    while at < code.len() {
        match code.as_bytes()[at] {
            b'(' | b'[' => at = closing(code, at),
            b'{' => return closing(code, at),
            b';' => return at + 1,
            b'}' => return at,
            _ => at += 1,
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::Source;

    fn code(text: &str) -> String {
        Source::new("src/sample.rs", text).code
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let text = "a(); // unsafe\n/* unsafe /* nested */ unsafe */ b(\"unsafe \\\" unsafe\"); c(r#\"unsafe \" \"#);";
        let source = Source::new("src/sample.rs", text);
        assert!(!source.code.contains("unsafe"), "{}", source.code);
        assert!(source.code.contains("a();") && source.code.contains("b(\"") && source.code.contains("c(r"));
        assert_eq!(source.comments.matches("unsafe").count(), 3);
        assert_eq!((source.code.len(), source.comments.len()), (text.len(), text.len()));
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_not() {
        assert_eq!(code("fn f<'a>(x: &'a str) { x == '\"' }"), "fn f<'a>(x: &'a str) { x == ' ' }");
        assert_eq!(code(r"match c { '\'' => a, 'é' => b, '„' => d, _ => e }").matches("=>").count(), 4);
        assert!(code("let x: &'static str = y; unsafe {}").contains("unsafe"));
        assert!(code("b'\\\\'; b\"x\"; unsafe").contains("unsafe"));
    }

    #[test]
    fn lines_are_counted_from_one() {
        let source = Source::new("src/sample.rs", "a\nb \"x\ny\"\nunsafe");
        let found: Vec<_> = source.words("unsafe").map(|at| source.line(at)).collect();
        assert_eq!(found, [4]);
    }

    #[test]
    fn words_have_their_own_ends() {
        let source = Source::new("src/sample.rs", "unsafe_op my_unsafe unsafe{ .unwrap_or() .unwrap()");
        assert_eq!(source.words("unsafe").count(), 1);
        assert_eq!(source.words(".unwrap").count(), 1);
    }

    #[test]
    fn test_parts_are_marked_and_their_opposite_is_not() {
        let marked = |text: &str| {
            let source = Source::new("src/sample.rs", text);
            source.words("here").map(|at| source.in_test(at)).collect::<Vec<_>>()
        };
        assert_eq!(
            marked("fn here() {} #[cfg(test)] mod tests { fn here() {} } fn here() {}"),
            [false, true, false]
        );
        assert_eq!(
            marked("#[cfg(all(test, not(mvx_loom)))] #[rustfmt::skip] fn here() { here() }"),
            [true, true]
        );
        assert_eq!(marked("#[cfg(any(test, feature = \"x\"))] fn here() {}"), [false]);
        assert_eq!(marked("#[cfg(not(test))] fn here() {}"), [false]);
        assert_eq!(marked("#[cfg(test)] use a::here; fn here() {}"), [true, false]);
        assert_eq!(marked("struct S { #[cfg(test)] here: u8 } fn here() {}"), [true, false]);
        assert_eq!(marked("#![cfg(test)] fn here() {}"), [true]);
    }

    #[test]
    fn test_names_are_found_under_any_test_attribute() {
        let text = "#[test]\n#[should_panic]\nfn one() {}\n#[tokio::test(flavor = \"x\")]\nasync fn two() {}\nfn three() {}";
        assert_eq!(Source::new("tests/sample.rs", text).test_names(), ["one", "two"]);
    }
}
