//! Reads the text that prometheus-client writes, family by family.
//!
//! It is that crate's text and no other: HELP, TYPE and UNIT stand in this order before each family, and values of labels alone are escaped. A help of
//! several lines, which no reader of the format could follow, ends here where the TYPE of the same name begins.

use std::borrow::Cow;

/// Lines of a help at most, after which the name is thought to be none.
const HELP_LINES: usize = 64;

/// Keys and values, as they stand there.
pub(super) type Labels<'t> = Vec<(&'t str, Cow<'t, str>)>;

/// What a family is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
    Info,
    Unknown,
}

/// One family, as it is written.
#[derive(Debug, PartialEq)]
pub(super) struct Read<'t> {
    pub(super) name: &'t str,
    pub(super) help: &'t str,
    pub(super) kind: Type,
    pub(super) unit: Option<&'t str>,
    pub(super) samples: Vec<Sample<'t>>,
    /// Lines that are no samples of it.
    pub(super) unreadable: u64,
}

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'t> {
    /// What stands behind the family's name.
    pub(super) suffix: &'t str,
    pub(super) labels: Labels<'t>,
    /// The number as it is written.
    pub(super) value: &'t str,
    pub(super) exemplar: Option<Example<'t>>,
    /// Name and labels as they are written, and the exemplar.
    pub(super) head: &'t str,
    pub(super) tail: &'t str,
}

/// What leads from a sample to where it came from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Example<'t> {
    pub(super) labels: Labels<'t>,
    pub(super) value: &'t str,
    /// Seconds, as they are written.
    pub(super) at: Option<&'t str>,
}

/// Every family of a text, and how many lines belong to none.
pub(super) fn families(text: &str) -> (Vec<Read<'_>>, u64) {
    let mut rest = text;
    let (mut families, mut strays) = (Vec::new(), 0);
    while !rest.is_empty() {
        match family(rest) {
            Some((family, after)) => {
                families.push(family);
                rest = after;
            }
            None => {
                let (line, after) = first_line(rest);
                strays += u64::from(!(line.is_empty() || line == "# EOF" && after.is_empty()));
                rest = after;
            }
        }
    }
    (families, strays)
}

fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// A family that begins here, and what comes after it.
fn family(text: &str) -> Option<(Read<'_>, &str)> {
    let told = text.strip_prefix("# HELP ")?;
    let (name, told) = told.split_once(' ')?;
    if name.is_empty() || name.contains('\n') {
        return None;
    }
    let (help, kind, mut rest) = type_of(name, told)?;
    let mut read = Read { name, help, kind, unit: None, samples: Vec::new(), unreadable: 0 };
    let (line, after) = first_line(rest);
    if let Some(unit) = of_name(line, "# UNIT ", name) {
        read.unit = Some(unit);
        rest = after;
    }
    while !rest.is_empty() && !rest.starts_with("# HELP ") && rest != "# EOF\n" {
        let (line, after) = first_line(rest);
        match sample(line, name) {
            Some(sample) => read.samples.push(sample),
            None => read.unreadable += 1,
        }
        rest = after;
    }
    Some((read, rest))
}

/// The help up to the TYPE of this name, that type, and what comes after its line.
fn type_of<'t>(name: &str, told: &'t str) -> Option<(&'t str, Type, &'t str)> {
    let mut end = 0;
    for _ in 0..HELP_LINES {
        end += told.get(end..)?.find('\n')?;
        let help = told.get(..end)?;
        end += 1;
        let (line, after) = first_line(told.get(end..)?);
        let kind = of_name(line, "# TYPE ", name).and_then(|kind| match kind {
            "counter" => Some(Type::Counter),
            "gauge" => Some(Type::Gauge),
            "histogram" => Some(Type::Histogram),
            "info" => Some(Type::Info),
            "unknown" => Some(Type::Unknown),
            _ => None,
        });
        if let Some(kind) = kind {
            return Some((help, kind, after));
        }
    }
    None
}

/// What such a line says of this name.
fn of_name<'t>(line: &'t str, head: &str, name: &str) -> Option<&'t str> {
    line.strip_prefix(head)?.strip_prefix(name)?.strip_prefix(' ')
}

fn sample<'t>(line: &'t str, name: &str) -> Option<Sample<'t>> {
    let rest = line.strip_prefix(name)?;
    let (suffix, rest) = rest.split_at(rest.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(open) => labels(open)?,
        None => (Vec::new(), rest),
    };
    let head = line.strip_suffix(rest)?;
    let rest = rest.strip_prefix(' ')?;
    let (value, tail) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    let exemplar = if tail.is_empty() { None } else { Some(example(tail)?) };
    let is_number = !value.is_empty() && value.parse::<f64>().is_ok();
    is_number.then_some(Sample { suffix, labels, value, exemplar, head, tail })
}

fn example(tail: &str) -> Option<Example<'_>> {
    let rest = tail.strip_prefix(" # {")?;
    let (labels, rest) = labels(rest)?;
    let rest = rest.strip_prefix(' ')?;
    let (value, at) = match rest.split_once(' ') {
        Some((value, at)) => (value, Some(at)),
        None => (rest, None),
    };
    Some(Example { labels, value, at })
}

/// Labels from behind the brace that opens them, and what comes behind the one that closes them.
fn labels(mut text: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    if let Some(rest) = text.strip_prefix('}') {
        return Some((labels, rest));
    }
    loop {
        let (key, rest) = text.split_once("=\"")?;
        let (value, rest) = value(rest)?;
        labels.push((key, value));
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        text = rest.strip_prefix(',')?;
    }
}

/// A value from behind its first quote, and what comes behind its last.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut owned: Option<String> = None;
    let mut from = 0;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        let stands_for = match (escaped, byte) {
            (true, b'n') => '\n',
            (true, b'\\') => '\\',
            (true, b'"') => '"',
            (false, b'"') => {
                let last = text.get(from..at)?;
                let value = match owned {
                    Some(mut owned) => {
                        owned.push_str(last);
                        Cow::Owned(owned)
                    }
                    None => Cow::Borrowed(last),
                };
                return Some((value, text.get(at + 1..)?));
            }
            (was, byte) => {
                escaped = !was && byte == b'\\';
                continue;
            }
        };
        escaped = false;
        let value = owned.get_or_insert_default();
        value.push_str(text.get(from..at - 1)?);
        value.push(stands_for);
        from = at + 1;
    }
    None
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn only(text: &str) -> Read<'_> {
        let (mut families, strays) = families(text);
        assert_eq!((families.len(), strays), (1, 0), "{families:?}");
        families.remove(0)
    }

    #[test]
    fn a_family_is_read_with_all_that_stands_at_it() {
        let text = "# HELP took_seconds How \\long.\n# TYPE took_seconds histogram\n# UNIT took_seconds seconds\n\
                    took_seconds_sum{a=\"x\\\\\\\"y\\nz\",b=\"\"} 0.5\n\
                    took_seconds_bucket{le=\"+Inf\",a=\"\"} 3 # {trace_id=\"4b} f\"} 0.25 1.5\n# EOF\n";
        let read = only(text);
        assert_eq!((read.name, read.help, read.kind), ("took_seconds", "How \\long.", Type::Histogram));
        assert_eq!((read.unit, read.unreadable, read.samples.len()), (Some("seconds"), 0, 2));
        let first = &read.samples[0];
        assert_eq!((first.suffix, first.value), ("_sum", "0.5"));
        assert_eq!(first.labels, [("a", "x\\\"y\nz".into()), ("b", "".into())]);
        let example = read.samples[1].exemplar.clone().unwrap();
        assert_eq!((example.value, example.at), ("0.25", Some("1.5")));
        assert_eq!(example.labels, [("trace_id", "4b} f".into())]);
    }

    #[test]
    fn a_help_of_several_lines_is_one_and_adds_no_family() {
        let text = "# HELP a one\n# HELP b two\n# TYPE b gauge\nb 1\n.\n# TYPE a gauge\na 2\n# EOF\n";
        let read = only(text);
        assert_eq!(read.help, "one\n# HELP b two\n# TYPE b gauge\nb 1\n.");
        assert_eq!(read.samples.len(), 1);
    }

    #[test]
    fn what_is_no_line_of_the_format_is_counted() {
        let (read, strays) = families("stray 1\n# HELP a b.\n# TYPE a gauge\na 1\nb 2\na x\na{ 3\n# EOF\n");
        assert_eq!((read.len(), read[0].samples.len(), read[0].unreadable, strays), (1, 1, 3, 1));
        for bad in ["# HELP a", "# HELP a b.\n", "# HELP a b.\n# TYPE a heap\na 1\n", "# HELP  \n"] {
            let (read, strays) = families(bad);
            assert!(read.is_empty() && strays > 0, "{bad:?}: {read:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_read(text in "(# (HELP|TYPE|UNIT) |a|gauge|counter|[\\\\{}\", =\n\u{e9}1#])*") {
            let (read, strays) = families(&text);
            prop_assert!(read.len() as u64 + strays <= text.len() as u64 + 1);
        }
    }
}
