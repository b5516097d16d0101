//! The root manifest: every feature and dependency has its reason, every target's features exist.

use crate::tree::Finding;
use crate::tree::Tree;

/// The manifest that the rules read.
const MANIFEST: &str = "Cargo.toml";

/// One `key = value` of the manifest, as far as a line reader sees it.
#[derive(Debug)]
struct Entry<'a> {
    line: usize,
    section: &'a str,
    key: &'a str,
    value: String,
    explained: bool,
}

/// Features and dependencies without a comment above.
pub fn unexplained(tree: &Tree) -> Vec<Finding> {
    let entries = entries(manifest(tree));
    let bare = entries.iter().filter(|entry| {
        let subject = entry.section == "features" || is_dependencies(entry.section);
        let table = is_dependency_table(entry.section) && entry.line == first_line(&entries, entry.section);
        (subject || table) && !entry.explained
    });
    let finding = |entry: &Entry<'_>| {
        let remedy = "write above it what it adds, why, and who turns it off";
        Finding::new(MANIFEST, entry.line, "manifest", format!("`{}` has no comment: {remedy}", entry.key))
    };
    bare.map(finding).collect()
}

/// Required features of targets, and features that features turn on, which do not exist.
pub fn unknown_features(tree: &Tree) -> Vec<Finding> {
    let entries = entries(manifest(tree));
    if entries.is_empty() {
        return vec![Finding::new(MANIFEST, 1, "manifest", "the file is missing or empty")];
    }
    let features: Vec<_> =
        entries.iter().filter(|entry| entry.section == "features").map(|entry| entry.key).collect();
    let optional: Vec<_> = entries
        .iter()
        .filter(|entry| is_dependencies(entry.section) && entry.value.contains("optional = true"))
        .map(|entry| entry.key)
        .collect();
    let mut findings = Vec::new();
    for entry in &entries {
        let of_target = entry.key == "required-features";
        if !of_target && entry.section != "features" {
            continue;
        }
        for name in strings(&entry.value) {
            let known =
                match name.split_once(':').map(|(_, dependency)| dependency).or(name.split('/').next()) {
                    Some(dependency) if name.starts_with("dep:") => optional.contains(&dependency),
                    _ if name.contains('/') => true,
                    _ => features.contains(&name) || optional.contains(&name),
                };
            if !known {
                let remedy = "name one of [features], or add it there";
                findings.push(Finding::new(
                    MANIFEST,
                    entry.line,
                    "manifest",
                    format!("no feature `{name}`: {remedy}"),
                ));
            }
        }
    }
    findings
}

fn manifest(tree: &Tree) -> &str {
    tree.files.get(MANIFEST).map_or("", String::as_str)
}

/// Whether a section lists dependencies, one per line.
fn is_dependencies(section: &str) -> bool {
    section == "dependencies" || section.ends_with("-dependencies") || section.ends_with(".dependencies")
}

/// Whether a section is one dependency, as in `[dependencies.tokio]`.
fn is_dependency_table(section: &str) -> bool {
    section.rsplit_once('.').is_some_and(|(list, _)| is_dependencies(list))
}

fn first_line(entries: &[Entry<'_>], section: &str) -> usize {
    entries.iter().find(|entry| entry.section == section).map_or(0, |entry| entry.line)
}

/// Every entry; one is explained by a comment right above it, or above its section's head if it is the first.
fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut section = "";
    let mut explained = false;
    let mut depth = 0;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if depth > 0 {
            depth += depth_change(line);
            if let Some(entry) = entries.last_mut() {
                entry.value.push_str(line);
            }
        } else if line.starts_with('#') {
            explained = true;
        } else if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if let Some((key, value)) = line.split_once('=') {
            depth = depth_change(value);
            let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"');
            entries.push(Entry { line: number + 1, section, key, value: value.trim().to_owned(), explained });
            explained = false;
        } else {
            explained = false;
        }
    }
    entries
}

/// How many brackets a line leaves open, strings and comments aside.
fn depth_change(line: &str) -> i32 {
    let outside = line.split('"').step_by(2).collect::<String>();
    let outside = outside.split('#').next().unwrap_or_default();
    let count = |signs: [char; 2]| outside.matches(signs).count() as i32;
    count(['[', '{']) - count([']', '}'])
}

/// The quoted strings of a value.
fn strings(value: &str) -> impl Iterator<Item = &str> {
    value.split('"').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&Tree) -> Vec<Finding>, text: &str) -> Vec<usize> {
        rule(&Tree::of(&[("Cargo.toml", text)])).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn features_and_dependencies_have_a_comment_above() {
        let good = "[features]\n# Why.\na = []\n# Why.\nb = [\n \"a\",\n]\n[dependencies]\n# Why.\nx = { version = \"1\" }\n";
        assert_eq!(lines(unexplained, good), [0; 0]);
        assert_eq!(lines(unexplained, "[features]\n# Why.\na = []\nb = []\n\n# Far.\n\nc = []"), [4, 8]);
        assert_eq!(
            lines(unexplained, "[dev-dependencies]\nx = \"1\"\n[build-dependencies]\ny = \"1\""),
            [2, 4]
        );
        assert_eq!(lines(unexplained, "# Why.\n[target.'cfg(a)'.dependencies]\nx = \"1\"\ny = \"1\""), [4]);
        assert_eq!(lines(unexplained, "[dependencies.x]\nversion = \"1\"\noptional = true"), [2]);
        assert_eq!(lines(unexplained, "[package]\nname = \"x\"\n[lints.rust]\na = \"deny\""), [0; 0]);
    }

    #[test]
    fn required_features_exist() {
        let features = "[dependencies]\nz = { version = \"1\", optional = true }\n[features]\na = [\"dep:z\"]\nb = [\"a\"]\n";
        let target = |name: &str| {
            format!("{features}[[example]]\nname = \"x\"\nrequired-features = [\n  \"a\", \"{name}\",\n]\n")
        };
        assert_eq!(lines(unknown_features, &target("b")), [0; 0]);
        assert_eq!(lines(unknown_features, &target("gone")), [8]);
        assert_eq!(lines(unknown_features, "[features]\na = [\"dep:gone\"]\nb = [\"gone\"]"), [2, 3]);
        assert_eq!(lines(unknown_features, ""), [1]);
    }
}
