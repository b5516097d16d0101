//! What the compiler says about each mistake in a derive, and that the passing twins compile.
//!
//! The texts in `tests/ui/fail/*.stderr` contain the compiler's own wording, so they are compared under one compiler only.
//! After an intended change: `TRYBUILD=overwrite cargo test -p mvx-metrics-macros --test ui`, then read the difference.

use std::env;
use std::io;
use std::io::Write;
use std::process::Command;

/// The compiler whose wording the expected texts have.
const PINNED: &str = "1.95";

#[test]
fn mistakes_in_a_derive_say_what_to_write_instead() {
    if let Some(reason) = reason_not_to_check() {
        // Straight to the stream: the harness hides what a passing test prints.
        let printed = writeln!(io::stderr(), "NOT CHECKED: ui tests: {reason}");
        assert!(printed.is_ok(), "skipped in silence: {reason}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}

#[test]
fn every_failing_case_has_an_expected_text() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ui/fail");
    let files = std::fs::read_dir(dir).expect("tests/ui/fail can be listed");
    let mut cases = 0;
    for file in files {
        let path = file.expect("tests/ui/fail can be listed").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path.with_extension("stderr")).unwrap_or_default();
            assert!(text.starts_with("error"), "{} has no expected text", path.display());
            cases += 1;
        }
    }
    assert!(cases > 0, "no failing case found");
}

#[test]
fn only_the_stable_releases_of_the_pinned_version_are_compared() {
    for (release, compared) in [
        ("1.95.0", true),
        ("1.95.7", true),
        ("1.95.0-nightly", false),
        ("1.95.0-beta.3", false),
        ("1.9.5", false),
        ("1.950.0", false),
        ("1.96.0", false),
    ] {
        assert_eq!(is_pinned(&format!("rustc 1\nrelease: {release}\nhost: x\n")), compared, "{release}");
    }
    assert!(!is_pinned(""));
}

fn reason_not_to_check() -> Option<String> {
    if cfg!(miri) {
        return Some("Miri cannot start a compiler".into());
    }
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    match Command::new(&rustc).arg("-vV").output() {
        Ok(output) => {
            let version = String::from_utf8_lossy(&output.stdout);
            let found = version.lines().next().unwrap_or("an unknown compiler").to_owned();
            (!is_pinned(&version)).then(|| format!("they need rustc {PINNED} (stable), this is {found}"))
        }
        Err(error) => Some(format!("{} does not start: {error}", rustc.to_string_lossy())),
    }
}

fn is_pinned(version: &str) -> bool {
    let release = version.lines().find_map(|line| line.strip_prefix("release: ")).unwrap_or_default();
    let patch = release.strip_prefix(PINNED).and_then(|rest| rest.strip_prefix('.'));
    patch.is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
}
