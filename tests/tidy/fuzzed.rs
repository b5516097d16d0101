//! Bodies of fuzz targets: each has its target, is run by the script and by a test.

use crate::tree::Finding;
use crate::tree::Tree;

/// Where a body has to be named, and as what, with `{}` for its name.
const NAMED: [(&str, &str); 4] = [
    ("fuzz/targets/{}.rs", "fuzzed::{}::check"),
    ("fuzz/Cargo.toml", "name = \"{}\""),
    ("ci/fuzz.sh", " {} "),
    ("tests/export/fuzzed.rs", "run(\"{}\", "),
];

/// Bodies that something does not run.
pub fn unrun(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let bodies = tree.under(&["tests/fuzzed/"]).filter_map(|source| {
        let text = tree.files.get(&source.path)?;
        text.contains("pub fn check(data: &[u8])").then_some(source.path.as_str())
    });
    for path in bodies {
        let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        for (file, words) in NAMED {
            let (file, words) = (file.replace("{}", name), words.replace("{}", name));
            // The list of the script stands in parentheses.
            let text = tree.files.get(&file).map(|text| text.replace(['(', ')'], " ( "));
            if !text.is_some_and(|text| text.contains(&words.replace('(', " ( "))) {
                let message = format!("nothing runs it by {file}: write {words:?} there");
                findings.push(Finding::new(path, 1, "fuzzed", message));
            }
        }
    }
    if findings.is_empty() && !tree.has("fuzz/targets") {
        findings.push(Finding::new("fuzz", 1, "fuzzed", "there is no target"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: (&str, &str) = ("tests/fuzzed/lines.rs", "pub fn check(data: &[u8]) {}");
    const RUN: [(&str, &str); 4] = [
        ("fuzz/targets/lines.rs", "fuzz_target!(|data: &[u8]| fuzzed::lines::check(data));"),
        ("fuzz/Cargo.toml", "[[bin]]\nname = \"lines\""),
        ("ci/fuzz.sh", "targets=(names lines)"),
        ("tests/export/fuzzed.rs", "run(\"lines\", 200, fuzzed::lines::check);"),
    ];

    #[test]
    fn a_body_that_everything_runs_is_right() {
        let files: Vec<_> = RUN.into_iter().chain([BODY]).collect();
        assert_eq!(unrun(&Tree::of(&files)), []);
    }

    #[test]
    fn a_body_that_something_does_not_run_is_found() {
        for (left_out, (missing, _)) in RUN.iter().enumerate() {
            let others = RUN.into_iter().enumerate().filter(|(at, _)| *at != left_out);
            let files: Vec<_> = others.map(|(_, file)| file).chain([BODY]).collect();
            let found = unrun(&Tree::of(&files));
            assert!(found.len() == 1 && found[0].message.contains(missing), "{found:?}");
        }
    }
}
