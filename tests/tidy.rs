//! What the compiler does not check: floors, rooms of `unsafe` and atomics, banned words, documents that name what exists.
//!
//! The rules read the sources as text, through a scanner that knows comments, strings and test parts. Each rule is a
//! function from a [`Tree`] to findings, with tests beside it that show what it refuses; here each runs on the repository.
//!
//! Where a rule is wrong at one place, a comment there lifts it: `tidy`, a colon, `allow(rule): reason`. That works for
//! waits, words, imports and atomics; floors, `unsafe` and its comments have no exceptions.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/fuzzed.rs"]
mod fuzzed;
#[path = "tidy/manifest.rs"]
mod manifest;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/seeds.rs"]
mod seeds;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/words.rs"]
mod words;

use crate::tree::Finding;
use crate::tree::Tree;
use crate::tree::without_permitted;

/// A rule: what it finds in a tree.
type Rule = fn(&Tree) -> Vec<Finding>;

/// Rules that read Rust sources; their findings can carry permissions.
const SOURCE_RULES: [Rule; 9] = [
    rooms::floors,
    rooms::orphans,
    words::atomics,
    words::unsafe_rooms,
    words::safety,
    words::banned,
    words::waits,
    words::files_without_tests,
    words::imports,
];

/// Runs one rule on the repository and fails with everything it found.
#[track_caller]
fn holds(rule: Rule) {
    let tree = Tree::of_repository();
    assert!(tree.source("tests/tidy.rs").is_some(), "the repository was not found, so nothing was checked");
    report(
        without_permitted(&tree, rule(&tree))
            .into_iter()
            .filter(|finding| finding.rule != "permissions")
            .collect(),
    );
}

/// The repository, which has at least this file.
#[track_caller]
fn repository() -> Tree {
    let tree = Tree::of_repository();
    assert!(tree.source("tests/tidy.rs").is_some(), "the repository was not found, so nothing was checked");
    tree
}

/// Fails with every finding, one per line.
#[track_caller]
fn report(mut findings: Vec<Finding>) {
    findings.sort();
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} finding(s):\n{}\n", lines.len(), lines.join("\n"));
}

#[test]
fn rooms_name_only_lower_rooms() {
    holds(rooms::floors);
}

#[test]
fn every_source_file_is_mounted() {
    holds(rooms::orphans);
}

#[test]
fn atomics_stay_in_four_rooms_and_go_through_sync() {
    holds(words::atomics);
}

#[test]
fn unsafe_stays_in_sync_and_queue() {
    holds(words::unsafe_rooms);
}

#[test]
fn every_unsafe_block_has_a_safety_comment() {
    holds(words::safety);
}

#[test]
fn the_library_does_without_the_banned_words() {
    holds(words::banned);
}

#[test]
fn no_test_sleeps_or_is_ignored() {
    holds(words::waits);
}

#[test]
fn every_test_file_has_a_test() {
    holds(words::files_without_tests);
}

#[test]
fn every_use_stands_on_its_own_line() {
    holds(words::imports);
}

#[test]
fn every_path_and_test_in_the_architecture_exists() {
    holds(documents::architecture_names);
}

#[test]
fn every_promise_names_its_test() {
    holds(documents::promises_without_test);
}

#[test]
fn the_readme_starts_with_its_two_commands() {
    holds(documents::readme_commands);
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    holds(documents::private_names);
}

#[test]
fn every_feature_and_dependency_has_its_reason() {
    holds(manifest::unexplained);
}

#[test]
fn every_required_feature_exists() {
    holds(manifest::unknown_features);
}

#[test]
fn every_seeded_bug_is_declared_by_its_model() {
    holds(seeds::seeds);
}

#[test]
fn every_fuzzed_body_is_run_by_a_target_the_script_and_a_test() {
    holds(fuzzed::unrun);
}

#[test]
fn every_permission_has_a_reason_and_a_use() {
    let tree = repository();
    let findings = SOURCE_RULES.iter().flat_map(|rule| rule(&tree)).collect();
    report(
        without_permitted(&tree, findings)
            .into_iter()
            .filter(|finding| finding.rule == "permissions")
            .collect(),
    );
}
