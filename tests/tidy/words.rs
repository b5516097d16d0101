//! Words that the code does without, each with what to write instead.

use crate::rooms::room_of;
use crate::source::Source;
use crate::source::attribute;
use crate::source::is_word;
use crate::tree::Finding;
use crate::tree::Tree;

/// Rooms that may hold atomics, `UnsafeCell` and fences.
const ATOMIC_ROOMS: [&str; 4] = ["sync", "queue", "recorder", "runtime"];

/// Rooms that may hold `unsafe`.
const UNSAFE_ROOMS: [&str; 2] = ["sync", "queue"];

/// Primitives that go through `crate::sync`, so that loom can take their place.
const PRIMITIVES: [&str; 14] = [
    "std::sync::atomic",
    "core::sync::atomic",
    "cell::UnsafeCell",
    "loom::",
    "thread::park",
    "thread::park_timeout",
    "hint::spin_loop",
    "libc::fork",
    // Guards of these are not counted, and so not missed where user code begins.
    "sync::Condvar",
    "sync::RwLock",
    "std::sync::Mutex",
    "std::sync::MutexGuard",
    "tokio::sync",
    "parking_lot::",
];

/// Where user code is called, for every room.
const BOUNDARY: &str = "src/queue/mod.rs";

/// What library code does not write, and what it writes instead.
const BANNED: [(&str, &str); 20] = [
    (".unwrap", "return the error with `?`, or match; nothing of ours panics"),
    ("::unwrap", "return the error with `?`, or match; nothing of ours panics"),
    (".unwrap_err", "match on the result; nothing of ours panics"),
    (".expect", "return the error with `?`, or match; nothing of ours panics"),
    ("::expect", "return the error with `?`, or match; nothing of ours panics"),
    (".expect_err", "match on the result; nothing of ours panics"),
    ("panic!", "return an `Error` with its remedy, or count the case"),
    ("unreachable!", "make the type rule it out, or use `debug_assert!` and a harmless answer"),
    ("todo!", "write it, or leave the item out"),
    ("unimplemented!", "write it, or leave the item out"),
    ("dbg!", "remove it; what is worth seeing is an own metric"),
    ("print!", "return the text; examples print, the library does not"),
    ("println!", "return the text; examples print, the library does not"),
    ("eprint!", "report through the error handler"),
    ("eprintln!", "report through the error handler"),
    ("thread::sleep", "wait on the parker of `crate::sync` with a timeout"),
    ("process::exit", "return; ending the process is the application's"),
    ("process::abort", "return an `Error`; ending the process is the application's"),
    (
        "SeqCst",
        "a hand-shake on a read-modify-write with `AcqRel`: loom weakens `SeqCst`, so it could not be modelled",
    ),
    ("static mut", "an atomic of `crate::sync`"),
];

/// What tests do not write, and what they write instead.
const WAITS: [(&str, &str); 5] = [
    ("thread::sleep", "a `ManualClock` and `step()`, a `flush`, or a channel that says when"),
    ("time::sleep", "a `ManualClock` and `step()`, a `flush`, or a channel that says when"),
    ("sleep_ms", "a `ManualClock` and `step()`, a `flush`, or a channel that says when"),
    ("#[ignore", "a smaller size by default and `MVX_SCALE` for the large one, so that it always runs"),
    ("#[cfg_attr(miri, ignore", "a smaller size under Miri: `if cfg!(miri) { few } else { many }`"),
];

/// Atomics, `UnsafeCell` and fences outside their rooms, or beside `crate::sync`.
pub fn atomics(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.under(&["src/", "macros/src/"]) {
        let room = if source.path.starts_with("src/") { room_of(&source.path) } else { "macros" };
        if room != "sync" {
            let remedy = "reach it through `crate::sync`, so that loom can take its place";
            findings.extend(found(
                source,
                &PRIMITIVES,
                |word| format!("`{word}` outside `sync`: {remedy}"),
                "atomics",
            ));
        }
        if source.path.starts_with("src/") && source.path != BOUNDARY {
            let remedy = "go through `call_user`, which looks whether a lock is held where user code begins";
            findings.extend(found(
                source,
                &["catch_unwind"],
                |word| format!("`{word}` outside {BOUNDARY}: {remedy}"),
                "atomics",
            ));
        }
        if !ATOMIC_ROOMS.contains(&room) {
            let remedy = format!(
                "belongs in one of {}; here, own the state or ask a type from there",
                ATOMIC_ROOMS.join(", ")
            );
            let named = source.words("Atomic").chain(atomic_types(source)).chain(source.words("UnsafeCell"));
            let named = named.chain(source.words("fence(")).chain(source.words("compiler_fence("));
            let named = named.filter(|at| !source.in_test(*at));
            findings.extend(named.map(|at| {
                let word: String = source.code[at..].chars().take_while(|c| is_word(*c)).collect();
                Finding::at(source, at, "atomics", format!("`{word}` {remedy}"))
            }));
        }
    }
    findings
}

/// `unsafe` outside its rooms.
pub fn unsafe_rooms(tree: &Tree) -> Vec<Finding> {
    let outside = tree
        .under(&["src/", "macros/src/", "examples/"])
        .filter(|source| !source.path.starts_with("src/") || !UNSAFE_ROOMS.contains(&room_of(&source.path)));
    let remedy = "`unsafe` stands in `sync/` and `queue/` only: use a safe type from there";
    outside
        .flat_map(|source| source.words("unsafe").map(|at| Finding::at(source, at, "unsafe", remedy)))
        .collect()
}

/// An `unsafe` block or impl without `// SAFETY:` above it, and an `unsafe fn` or trait of the library that does not say what it asks.
pub fn safety(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        for at in source.words("unsafe") {
            let next = source.code[at + "unsafe".len()..].trim_start();
            let above = comment_above(source, at);
            let problem = if next.starts_with('{') || next.starts_with("impl") {
                let reason = above.split("SAFETY:").nth(1).map(str::trim);
                reason
                    .is_none_or(|reason| reason.len() < 8)
                    .then_some("write `// SAFETY: why this holds` right above it")
            } else if !source.path.starts_with("src/")
                || next.starts_with("fn(")
                || next.starts_with("extern \"C\" fn(")
            {
                None
            } else {
                let says = above.contains("# Safety") || above.contains("SAFETY:");
                (!says).then_some("document under `# Safety` what the caller must keep")
            };
            findings.extend(problem.map(|problem| Finding::at(source, at, "safety", problem)));
        }
    }
    findings
}

/// Words that library code does without.
pub fn banned(tree: &Tree) -> Vec<Finding> {
    let words = BANNED.map(|(word, _)| word);
    let message = |word: &str| {
        let instead = BANNED.iter().find(|(banned, _)| *banned == word).map_or("", |(_, instead)| instead);
        format!("`{}` in the library; instead: {instead}", word.trim_start_matches(['.', ':']))
    };
    let mut findings = Vec::new();
    for source in tree.under(&["src/", "macros/src/"]) {
        findings.extend(found(source, &words, message, "words"));
        if source.path.starts_with("src/") {
            // In macros/src most attributes are quoted: they are the user's code, which no comment of ours reaches.
            findings.extend(bare_allows(source));
        }
        let notes = ["TODO", "FIXME"].into_iter().flat_map(|word| source.comments.match_indices(word));
        findings.extend(notes.map(|(at, word)| {
            Finding::at(
                source,
                at,
                "words",
                format!("`{word}` in the library; do it now, or put it on the tracker"),
            )
        }));
    }
    findings
}

/// Tests that sleep or do not run.
pub fn waits(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.under(&["src/", "tests/", "loom-tests/", "macros/"]) {
        let whole = !source.path.starts_with("src/") && !source.path.starts_with("macros/src/");
        for (word, instead) in WAITS {
            let places = source.words(word).filter(|at| whole || source.in_test(*at));
            findings.extend(places.map(|at| {
                Finding::at(source, at, "waits", format!("`{word}` in a test; instead: {instead}"))
            }));
        }
    }
    findings
}

/// A file directly in `tests/` or in one of its groups, or a model, without a test.
pub fn files_without_tests(tree: &Tree) -> Vec<Finding> {
    let files = tree.under(&["tests/", "loom-tests/", "macros/tests/"]).filter(|source| {
        let (folder, name) = source.path.rsplit_once('/').unwrap_or_default();
        let grouped = tree.group_of(&source.path) == Some(folder) && name != "main.rs";
        grouped || matches!(folder, "tests" | "loom-tests" | "macros/tests") && name != "mod.rs"
    });
    let empty = files.filter(|source| source.test_names().is_empty());
    empty
        .map(|source| {
            Finding::new(
                &source.path,
                1,
                "tests",
                "no `#[test]` in here: cargo builds it and checks nothing; add one or remove the file",
            )
        })
        .collect()
}

/// A `use` with braces in the library.
pub fn imports(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.under(&["src/"]) {
        for at in source.words("use ").filter(|at| !source.in_test(*at)) {
            let statement = source.code[at..].split(';').next().unwrap_or_default();
            if statement.contains('{') {
                findings.push(Finding::at(
                    source,
                    at,
                    "imports",
                    "one `use` per line, so that a wrong floor shows in review",
                ));
            }
        }
    }
    findings
}

/// Places of any of these words outside tests.
fn found(
    source: &Source,
    words: &[&str],
    message: impl Fn(&str) -> String,
    rule: &'static str,
) -> Vec<Finding> {
    let places = words.iter().flat_map(|word| source.words(word).map(move |at| (at, *word)));
    let places = places.filter(|(at, _)| !source.in_test(*at));
    places.map(|(at, word)| Finding::at(source, at, rule, message(word))).collect()
}

/// Offsets of identifiers such as `AtomicU64`.
fn atomic_types(source: &Source) -> impl Iterator<Item = usize> + '_ {
    let places = source.code.match_indices("Atomic").map(|(at, _)| at);
    places.filter(|at| {
        let before = source.code[..*at].chars().next_back();
        let after = source.code[at + "Atomic".len()..].chars().next();
        !before.is_some_and(is_word) && after.is_some_and(|c| c.is_ascii_uppercase())
    })
}

/// `#[allow(…)]` and `#[expect(…)]` of lints that give no reason.
fn bare_allows(source: &Source) -> Vec<Finding> {
    let openings = ["#[", "#!["].into_iter().flat_map(|open| source.code.match_indices(open));
    let bare = openings.filter(|(at, open)| {
        let inside = attribute(&source.code, at + open.len() - 2);
        let lints = inside.starts_with("allow(") || inside.starts_with("expect(");
        lints && !inside.contains("reason") && comment_above(source, *at).is_empty()
    });
    let message = "a lint is switched off without a reason; instead: `reason = \"…\"`, or a comment above";
    bare.map(|(at, _)| Finding::at(source, at, "words", message)).collect()
}

/// The comments between the code before the statement at `at` and `at` itself, its own line included.
fn comment_above(source: &Source, at: usize) -> String {
    let code: Vec<_> = source.code.lines().collect();
    let comments: Vec<_> = source.comments.lines().collect();
    let own = source.line(at) - 1;
    let mut first = own;
    while first > 0 {
        let line = code[first - 1].trim();
        let attribute = line.starts_with("#[") && line.ends_with(']');
        let ends_something = line.ends_with([';', '{', '}', ',']);
        if !line.is_empty() && !attribute && ends_something
            || line.is_empty() && comments[first - 1].trim().is_empty()
        {
            break;
        }
        first -= 1;
    }
    comments[first..=own].join("\n").replace("//", " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        let mut lines: Vec<_> =
            rule(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.line).collect();
        lines.dedup();
        lines
    }

    #[test]
    fn atomics_stay_in_their_rooms() {
        let text = "use crate::sync::AtomicU64;\nfn f(x: &UnsafeCell<u8>) {}\nfn g() { fence(Acquire) }";
        assert_eq!(lines(atomics, "src/metric/counter.rs", text), [1, 2, 3]);
        assert_eq!(lines(atomics, "src/queue/ring.rs", text), [0; 0]);
        assert_eq!(
            lines(atomics, "src/metric/counter.rs", "#[cfg(test)]\nuse std::sync::atomic::AtomicU64;"),
            [0; 0]
        );
        assert_eq!(lines(atomics, "src/metric/counter.rs", "struct Atomics; // AtomicU64"), [0; 0]);
    }

    #[test]
    fn user_code_is_called_in_one_place() {
        let text = "use std::panic::catch_unwind;\nfn f() { let _ = std::panic::catch_unwind(|| ()); }";
        assert_eq!(lines(atomics, "src/recorder/hooks.rs", text), [1, 2]);
        assert_eq!(lines(atomics, BOUNDARY, text), [0; 0]);
    }

    #[test]
    fn primitives_go_through_sync() {
        for word in [
            "use std::sync::atomic::AtomicU64;",
            "use core::cell::UnsafeCell;",
            "std::thread::park();",
            "loom::model(f);",
            "use std::sync::Mutex;",
            "let lock = std::sync::RwLock::new(1);",
            "use tokio::sync::Notify;",
        ] {
            assert_eq!(lines(atomics, "src/queue/ring.rs", word), [1], "{word}");
            assert_eq!(lines(atomics, "src/sync/mod.rs", word), [0; 0], "{word}");
        }
    }

    #[test]
    fn unsafe_stays_in_its_rooms() {
        let text = "fn f() {}\nfn g() { unsafe { h() } }";
        assert_eq!(lines(unsafe_rooms, "src/recorder/handle.rs", text), [2]);
        assert_eq!(lines(unsafe_rooms, "examples/a.rs", text), [2]);
        assert_eq!(lines(unsafe_rooms, "src/queue/ring.rs", text), [0; 0]);
        assert_eq!(lines(unsafe_rooms, "src/lib.rs", "#![forbid(unsafe_code)] // unsafe"), [0; 0]);
    }

    #[test]
    fn an_unsafe_block_says_why_it_holds() {
        let why = "// SAFETY: the slot is ours until the flag is set.";
        assert_eq!(lines(safety, "src/queue/a.rs", "fn f() {\n unsafe { g() }\n}"), [2]);
        assert_eq!(lines(safety, "src/queue/a.rs", "fn f() {\n // SAFETY:\n unsafe { g() }\n}"), [3]);
        assert_eq!(
            lines(safety, "src/queue/a.rs", &format!("fn f() {{\n {why}\n unsafe {{ g() }}\n}}")),
            [0; 0]
        );
        assert_eq!(
            lines(safety, "src/queue/a.rs", &format!("fn f() {{\n {why}\n let x =\n  unsafe {{ g() }};\n}}")),
            [0; 0]
        );
        assert_eq!(lines(safety, "src/queue/a.rs", &format!("{why}\n\nunsafe impl Send for A {{}}")), [3]);
        assert_eq!(
            lines(
                safety,
                "src/queue/a.rs",
                &format!("{why}\nunsafe impl Send for A {{}}\nunsafe impl Sync for A {{}}")
            ),
            [3]
        );
        assert_eq!(
            lines(safety, "src/queue/a.rs", &format!("{why}\n#[rustfmt::skip]\nunsafe impl Send for A {{}}")),
            [0; 0]
        );
        assert_eq!(
            lines(
                safety,
                "src/queue/a.rs",
                "/// Reads.\nunsafe fn f() {}\n/// # Safety\n///\n/// Once.\nunsafe fn g() {}"
            ),
            [2]
        );
    }

    #[test]
    fn banned_words_are_found_outside_tests_and_comments() {
        for (word, _) in BANNED {
            let text = match word.chars().next_back() {
                Some('!') => format!("\nfn f() {{ {word}() }}"),
                _ => format!("\nfn f() {{ x{word}(); }}")
                    .replace("x static", "static")
                    .replace("xthread", "thread"),
            };
            let text = if word.starts_with(['.', ':']) { text } else { text.replace("{ x", "{ ") };
            assert_eq!(lines(banned, "src/model/a.rs", &text), [2], "{text}");
            assert_eq!(
                lines(banned, "src/model/a.rs", &format!("#[cfg(test)] mod tests {{ {text} }}")),
                [0; 0]
            );
            assert_eq!(lines(banned, "src/model/a.rs", &format!("/// {}", text.trim())), [0; 0]);
            assert_eq!(lines(banned, "tests/a.rs", &text), [0; 0]);
        }
        assert_eq!(
            lines(
                banned,
                "src/model/a.rs",
                "x.unwrap_or(1); expect_it(); x.unwrap_or_default(); debug_assert!(a);"
            ),
            [0; 0]
        );
    }

    #[test]
    fn left_over_notes_and_bare_allows_are_found() {
        let note = concat!("// TO", "DO: later");
        assert_eq!(lines(banned, "src/model/a.rs", note), [1]);
        assert_eq!(lines(banned, "src/model/a.rs", "fn a() {}\n#[allow(dead_code)]\nfn f() {}"), [2]);
        assert_eq!(lines(banned, "src/model/a.rs", "#![allow(dead_code)]"), [1]);
        assert_eq!(lines(banned, "macros/src/a.rs", "quote! { #[allow(deprecated)] impl A {} }"), [0; 0]);
        assert_eq!(
            lines(banned, "src/model/a.rs", "#[allow(dead_code, reason = \"twin\")]\nfn f() {}"),
            [0; 0]
        );
        assert_eq!(
            lines(banned, "src/model/a.rs", "// The twin uses it.\n#[allow(dead_code)]\nfn f() {}"),
            [0; 0]
        );
    }

    #[test]
    fn tests_that_wait_or_never_run_are_found() {
        let text = "fn a() {}\n#[test]\n#[ignore = \"slow\"]\nfn f() { std::thread::sleep(d); }\nasync fn g() { tokio::time::sleep(d).await }";
        assert_eq!(lines(waits, "tests/a.rs", text), [4, 5, 3]);
        assert_eq!(lines(waits, "loom-tests/a.rs", "thread::sleep(d)"), [1]);
        assert_eq!(
            lines(
                waits,
                "src/model/a.rs",
                "fn a() { tokio::time::sleep(d) }\n#[cfg(test)]\nfn f() { tokio::time::sleep(d) }"
            ),
            [3]
        );
        assert_eq!(lines(waits, "examples/a.rs", text), [0; 0]);
    }

    #[test]
    fn a_test_file_without_a_test_is_found() {
        let rule = files_without_tests;
        assert_eq!(lines(rule, "tests/a.rs", "// #[test]\nfn f() {}"), [1]);
        assert_eq!(lines(rule, "loom-tests/a.rs", "fn f() {}"), [1]);
        assert_eq!(lines(rule, "tests/support/mod.rs", "fn f() {}"), [0; 0]);
        assert_eq!(lines(rule, "tests/a.rs", "proptest! { #[test] fn f(x in 0..1) {} }"), [0; 0]);
        let group =
            Tree::of(&[("tests/g/main.rs", "mod a;"), ("tests/g/a.rs", "fn f() {}"), ("tests/g/a/b.rs", "")]);
        let found: Vec<_> = rule(&group).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["tests/g/a.rs"]);
    }

    #[test]
    fn a_grouped_use_is_found() {
        let text = "use std::sync::{Arc, Mutex};\nuse std::fmt;\nfn f() {}\npub use crate::model::{\n a, b};";
        assert_eq!(lines(imports, "src/model/a.rs", text), [1, 4]);
    }
}
