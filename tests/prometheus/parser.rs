//! A parser of both text formats, written from their descriptions and by nothing of the encoder's; strict where they are.

use std::collections::HashMap;
use std::collections::HashSet;

#[derive(Debug)]
pub struct Exposition {
    pub samples: Vec<Sample>,
    help: HashMap<String, String>,
}

#[derive(Debug)]
#[allow(dead_code, reason = "each test of the formats uses a part of it")]
pub struct Sample {
    pub name: String,
    labels: Vec<(String, String)>,
    /// The value as it is written.
    pub text: String,
    pub value: f64,
    pub exemplar: Option<Exemplar>,
}

#[derive(Clone, Debug, PartialEq)]
#[allow(dead_code, reason = "each test of the formats uses a part of it")]
pub struct Exemplar {
    pub labels: Vec<(String, String)>,
    pub value: f64,
    /// Seconds, as they are written.
    pub at: String,
}

#[allow(dead_code, reason = "each test of the formats uses a part of it")]
impl Sample {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    pub fn labels(&self) -> std::collections::BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }
}

impl Exposition {
    pub fn help(&self, family: &str) -> Option<&str> {
        self.help.get(family).map(String::as_str)
    }
}

/// Reads an exposition; the first mistake, with its line.
pub fn parse(text: &str) -> Result<Exposition, String> {
    let open = text.ends_with("# EOF\n");
    let mut parsed = Exposition { samples: Vec::new(), help: HashMap::new() };
    let mut types: HashMap<String, String> = HashMap::new();
    let mut seen: HashSet<(String, Vec<(String, String)>)> = HashSet::new();
    let mut family = String::new();
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let lines: Vec<_> = text.split_terminator('\n').collect();
    for (number, line) in lines.iter().enumerate() {
        let fail = |why: &str| Err(format!("line {}: {why}: {line}", number + 1));
        if *line == "# EOF" {
            if number + 1 != lines.len() {
                return fail("text behind the end");
            }
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = family_of(rest)?;
            let help = unescape(help, open)?;
            if parsed.help.insert(name, help).is_some() {
                return fail("a second HELP");
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family_of(rest)?;
            let kinds = ["counter", "gauge", "histogram", "summary"];
            let only_open = ["info", "stateset"];
            if !(kinds.contains(&kind) || open && only_open.contains(&kind)) {
                return fail("no such type");
            }
            if types.insert(name.clone(), kind.to_owned()).is_some() {
                return fail("a second TYPE");
            }
            family = name;
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = family_of(rest)?;
            if !open || name != family || !name.ends_with(unit) {
                return fail("a unit that does not fit");
            }
        } else {
            let sample = sample(line)?;
            let kind = types.get(&family).map(String::as_str).unwrap_or_default();
            let suffix = sample.name.strip_prefix(family.as_str()).unwrap_or("?");
            let allowed: &[&str] = match (kind, open) {
                ("counter", true) => &["_total", "_created"],
                ("counter" | "gauge", _) => &[""],
                ("histogram", false) => &["_bucket", "_sum", "_count"],
                ("histogram", true) => &["_bucket", "_sum", "_count", "_created"],
                ("summary", false) => &["", "_sum", "_count"],
                ("summary", true) => &["", "_sum", "_count", "_created"],
                ("info", _) => &["_info"],
                ("stateset", _) => &[""],
                _ => &[],
            };
            if !allowed.contains(&suffix) {
                return fail("a sample that does not belong to its family");
            }
            let marked = matches!((kind, suffix), ("counter", "_total") | ("histogram", "_bucket"));
            if sample.exemplar.is_some() && !(open && marked) {
                return fail("an exemplar where there is none");
            }
            let mut labels = sample.labels.clone();
            labels.sort();
            let marks = |key: &str| labels.iter().any(|(known, _)| known == key);
            let marked = match kind {
                "summary" => suffix.is_empty() == marks("quantile"),
                "stateset" => marks(&family),
                _ => true,
            };
            if !marked || matches!(kind, "info" | "stateset") && ![0.0, 1.0].contains(&sample.value) {
                return fail("a sample that is none of its kind");
            }
            if labels.windows(2).any(|pair| pair[0].0 == pair[1].0)
                || !seen.insert((sample.name.clone(), labels))
            {
                return fail("twice the same");
            }
            parsed.samples.push(sample);
        }
    }
    Ok(parsed)
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("a sample without a value")?;
    let (name, rest) = line.split_at(end);
    let (mut labels, rest) = labels(rest)?;
    let rest = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let (text, exemplar) = match rest.split_once(" # ") {
        Some((text, rest)) => (text, Some(exemplar(rest)?)),
        None => (rest, None),
    };
    let value = number(text)?;
    let name = match labels.first() {
        Some((key, _)) if key.is_empty() && name.is_empty() => labels.remove(0).1,
        Some((key, _)) if key.is_empty() => return Err(format!("two names: {line}")),
        _ if is_name(name) => name.to_owned(),
        _ => return Err(format!("no name: {name}")),
    };
    Ok(Sample { name, labels, text: text.to_owned(), value, exemplar })
}

fn exemplar(text: &str) -> Result<Exemplar, String> {
    if !text.starts_with('{') {
        return Err(format!("an exemplar without labels: {text}"));
    }
    let (labels, rest) = labels(text)?;
    let chars: usize = labels.iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum();
    if chars > 128 {
        return Err(format!("{chars} characters of labels: {text}"));
    }
    let rest = rest.strip_prefix(' ').ok_or("no space before the exemplar's value")?;
    let (value, at) = rest.split_once(' ').ok_or("an exemplar without a time")?;
    number(at)?;
    Ok(Exemplar { labels, value: number(value)?, at: at.to_owned() })
}

/// Labels in braces, if there are any, and what follows.
#[allow(clippy::type_complexity, reason = "said once")]
fn labels(mut rest: &str) -> Result<(Vec<(String, String)>, &str), String> {
    let mut labels = Vec::new();
    if let Some(after) = rest.strip_prefix("{}") {
        return Ok((labels, after));
    }
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let quoted = match rest.strip_prefix('"') {
                Some(inside) => {
                    let (name, after) = quoted(inside)?;
                    // The name of the metric, which is a key without a value, and the first.
                    if labels.is_empty() && after.starts_with([',', '}']) {
                        labels.push((String::new(), name));
                        rest = &after[1..];
                        if after.starts_with('}') {
                            rest = after;
                            break;
                        }
                        continue;
                    }
                    rest = after;
                    Some(name)
                }
                None => None,
            };
            let (key, after) = rest.split_once("=\"").ok_or("a label without a value")?;
            let key = match quoted {
                Some(name) if key.is_empty() => name,
                None if is_name(key) => key.to_owned(),
                _ => return Err(format!("no key: {key}")),
            };
            let mut end = None;
            let mut escaped = false;
            for (at, c) in after.char_indices() {
                if !escaped && c == '"' {
                    end = Some(at);
                    break;
                }
                escaped = c == '\\' && !escaped;
            }
            let end = end.ok_or("a value without an end")?;
            labels.push((key, unescape(&after[..end], true)?));
            rest = &after[end + 1..];
            match rest.chars().next() {
                Some(',') => rest = &rest[1..],
                Some('}') => break,
                _ => return Err(format!("neither , nor }}: {rest}")),
            }
        }
        rest = &rest[1..];
    }
    Ok((labels, rest))
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        number if number.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => {
            number.parse().map_err(|_| format!("no number: {number}"))
        }
        other => Err(format!("no number: {other}")),
    }
}

/// The name of a family, in quotes where it has to be, and what is said of it.
fn family_of(rest: &str) -> Result<(String, &str), String> {
    if let Some(inside) = rest.strip_prefix('"') {
        let (name, after) = quoted(inside)?;
        return Ok((name, after.strip_prefix(' ').ok_or("nothing behind a name")?));
    }
    let (name, said) = rest.split_once(' ').ok_or("nothing behind a name")?;
    if !is_name(name) {
        return Err(format!("no name: {name}"));
    }
    Ok((name.to_owned(), said))
}

/// A name in quotes, which needs them, and what follows.
fn quoted(inside: &str) -> Result<(String, &str), String> {
    let mut escaped = false;
    let end = inside.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    let end = end.ok_or("a name without an end")?;
    let name = unescape(&inside[..end], true)?;
    if name.is_empty() || is_name(&name) {
        return Err(format!("quotes without need: {name}"));
    }
    Ok((name, &inside[end + 1..]))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '"' if quotes => return Err(format!("a quote within: {text}")),
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('\\') => '\\',
                Some('"') if quotes => '"',
                other => return Err(format!("no escape: {other:?}")),
            },
            c => c,
        });
    }
    Ok(plain)
}
