//! The repository as text, what a rule finds in it, and the permissions that may stand beside a finding.

use crate::source::Source;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

/// What a rule found: where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The rule's name, as a permission writes it.
    pub rule: &'static str,
    /// What is wrong and what to do instead.
    pub message: String,
}

impl Finding {
    /// A finding at a line.
    pub fn new(path: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, message: message.into() }
    }

    /// A finding at an offset of a source.
    pub fn at(source: &Source, offset: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self::new(&source.path, source.line(offset), rule, message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} [{}]", self.path, self.line, self.message, self.rule)
    }
}

/// Every tracked file that is text.
#[derive(Debug, Default)]
pub struct Tree {
    /// The text of each file, by its path with `/`.
    pub files: BTreeMap<String, String>,
    /// The Rust files among them, scanned.
    pub sources: Vec<Source>,
}

impl Tree {
    /// The repository that this test was built from.
    pub fn of_repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let paths = tracked(root).unwrap_or_else(|| walk(root, ""));
        let text = |path: &String| {
            Some((path.clone(), String::from_utf8(std::fs::read(root.join(path)).ok()?).ok()?))
        };
        Self::from_files(paths.iter().filter_map(text).collect())
    }

    /// A tree of these files, for showing a rule what it must refuse.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self::from_files(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    /// The sources whose path starts with one of these.
    pub fn under<'a>(&'a self, starts: &'a [&'a str]) -> impl Iterator<Item = &'a Source> + 'a {
        self.sources.iter().filter(move |source| starts.iter().any(|start| source.path.starts_with(start)))
    }

    /// Whether a file or a folder of this path is tracked.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.files.keys().any(|file| file == path || file.starts_with(&folder))
    }

    /// The source of this path.
    pub fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    /// The folder of the group of tests that this file is in: the one below `tests/` that has a `main.rs`.
    pub fn group_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let name = path.strip_prefix("tests/")?.split_once('/')?.0;
        let folder = &path[.."tests/".len() + name.len()];
        self.source(&format!("{folder}/main.rs")).map(|_| folder)
    }

    fn from_files(files: BTreeMap<String, String>) -> Self {
        let mut sources: Vec<_> = files
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| Source::new(path, text))
            .collect();
        mark_test_files(&mut sources);
        Self { files, sources }
    }
}

/// Files that `#[cfg(test)] mod name;` mounts are for tests as a whole.
fn mark_test_files(sources: &mut [Source]) {
    let mut stems = Vec::new();
    for source in sources.iter() {
        let home = source.path.strip_suffix("/mod.rs").or_else(|| source.path.strip_suffix("/lib.rs"));
        let home = home.or_else(|| source.path.strip_suffix(".rs")).unwrap_or_default();
        for at in source.words("mod ").filter(|at| source.in_test(*at)) {
            let name: String =
                source.code[at + 4..].chars().take_while(|c| crate::source::is_word(*c)).collect();
            if source.code[at + 4 + name.len()..].trim_start().starts_with(';') {
                stems.push(format!("{home}/{name}"));
            }
        }
    }
    for source in sources {
        let mounted = |stem: &String| {
            source.path.strip_prefix(stem.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        if stems.iter().any(mounted) {
            source.tests.push(std::ops::Range { start: 0, end: source.text.len() });
        }
    }
}

/// What git tracks and what it would track, so that a finding shows before the commit.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(root).args(list).output().ok()?;
    let listing = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<_> = listing.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

/// Every file below a folder, where git is not there to ask.
fn walk(root: &Path, folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else { return Vec::new() };
    let mut paths = Vec::new();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && name != "target" && name != ".git" => {
                paths.extend(walk(root, &path))
            }
            Ok(kind) if kind.is_file() => paths.push(path),
            _ => {}
        }
    }
    paths
}

/// Rules that a permission can lift at one place. The floors, `unsafe` and its comments are not among them.
const PERMITTED: [&str; 4] = ["atomics", "waits", "words", "imports"];

/// What is left of the findings once `// tidy: allow(rule): reason` was read, plus what is wrong with the permissions.
///
/// A permission stands on the finding's line or in the comment right above it. One that lifts nothing is a finding.
pub fn without_permitted(tree: &Tree, mut findings: Vec<Finding>) -> Vec<Finding> {
    for source in &tree.sources {
        for (number, comment) in source.comments.lines().enumerate() {
            let Some(rest) = comment.trim_start().strip_prefix("// tidy: allow(") else { continue };
            let line = number + 1;
            let (rule, reason) = rest.split_once(')').unwrap_or((rest, ""));
            let covered = covered_line(source, line);
            let before = findings.len();
            findings
                .retain(|f| f.path != source.path || f.rule != rule || (f.line != line && f.line != covered));
            let problem = if !PERMITTED.contains(&rule) {
                format!("no permission exists for `{rule}`; only for {}", PERMITTED.join(", "))
            } else if reason.trim_start_matches(':').trim().len() < 10 {
                "give the permission a reason: `allow(rule): why nothing else works here`".to_owned()
            } else if findings.len() == before {
                "this permission lifts nothing; remove it".to_owned()
            } else {
                continue;
            };
            findings.push(Finding::new(&source.path, line, "permissions", problem));
        }
    }
    findings
}

/// The first line behind a comment that starts at `line`, which is what the comment is about.
fn covered_line(source: &Source, line: usize) -> usize {
    let blank = |line: &&str| line.trim().is_empty();
    let code = source.code.lines().skip(line - 1);
    line + code.take_while(blank).count()
}

#[cfg(test)]
mod tests {
    use super::Finding;
    use super::Tree;
    use super::without_permitted;

    fn judged(text: &str, rule: &'static str, line: usize) -> Vec<String> {
        let tree = Tree::of(&[("tests/sample.rs", text)]);
        let findings = vec![Finding::new("tests/sample.rs", line, rule, "found")];
        without_permitted(&tree, findings).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_permission_with_a_reason_lifts_the_finding_on_its_line_or_below() {
        let permit = "tidy: allow(waits): the kernel has no other way to say so";
        assert_eq!(judged(&format!("nap(); // {permit}"), "waits", 1), [""; 0]);
        assert_eq!(judged(&format!("// {permit}\n// and more.\nnap();"), "waits", 3), [""; 0]);
    }

    #[test]
    fn a_permission_without_reason_use_or_rule_is_a_finding() {
        let permit = |rest: &str| format!("// tidy: allow({rest}\nnap();");
        assert!(judged(&permit("waits)"), "waits", 2)[0].contains("reason"));
        assert!(judged(&permit("waits): because it has to be so"), "words", 2)[1].contains("lifts nothing"));
        assert!(judged(&permit("unsafe): because it has to be so"), "waits", 2)[1].contains("no permission"));
    }

    #[test]
    fn files_mounted_for_tests_are_tests() {
        let tree = Tree::of(&[
            ("src/queue/mod.rs", "mod ring; #[cfg(test)] mod twin;"),
            ("src/queue/ring.rs", "#[cfg(test)] mod tests;"),
            ("src/queue/ring/tests.rs", "fn f() {}"),
            ("src/queue/twin.rs", "fn f() {}"),
        ]);
        let tests: Vec<_> = tree.sources.iter().map(|source| source.in_test(source.text.len() - 1)).collect();
        assert_eq!(tests, [true, true, true, true]);
        assert!(
            !tree
                .source("src/queue/ring.rs")
                .is_some_and(|source| source.in_test(0) && source.in_test(1) && source.tests.len() > 1)
        );
        assert!(tree.has("src/queue") && tree.has("src/queue/ring.rs") && !tree.has("src/que"));
    }
}
