//! The rooms of the crate and their floors: who may name whom.

use crate::source::Source;
use crate::source::is_word;
use crate::tree::Finding;
use crate::tree::Tree;

/// Floors from the ground up, as in ARCHITECTURE.md. Rooms of one floor do not name each other.
pub const FLOORS: &[&[&str]] = &[
    &["sync"],
    &["model"],
    &["queue"],
    &["metric"],
    &["recorder"],
    &["runtime"],
    &["edge", "testing"],
    &["export", "history"],
    &["health", "slo"],
    &["alert", "tracing"],
    &["observe", "bridge"],
    &["http"],
    &["config"],
];

/// Files above all floors: the facade.
const FACADE: [&str; 2] = ["src/lib.rs", "src/facade.rs"];

/// A room that names a higher one, its own floor, or the facade.
pub fn floors(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.under(&["src/"]).filter(|source| !FACADE.contains(&source.path.as_str())) {
        let room = room_of(&source.path);
        let Some(own) = floor_of(room) else {
            let remedy =
                "give the room a floor in tests/tidy/rooms.rs and ARCHITECTURE.md, or move the file into one";
            findings.push(Finding::new(&source.path, 1, "floors", format!("`{room}` is no room: {remedy}")));
            continue;
        };
        for (at, target) in crate_paths(source) {
            if let Some(problem) = judge(room, own, target) {
                findings.push(Finding::at(source, at, "floors", problem));
            }
        }
        findings.extend(escapes(source));
    }
    findings
}

/// A source file that no `mod` line mounts: the compiler never sees it.
pub fn orphans(tree: &Tree) -> Vec<Finding> {
    let unmounted = tree.under(&["src/", "loom-tests/", "tests/"]).filter(|source| {
        if source.path.starts_with("tests/") && tree.group_of(&source.path).is_none() {
            return false;
        }
        let stem = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let Some((folder, name)) = stem.rsplit_once('/') else { return false };
        if matches!(name, "lib" | "main") || source.path == "loom-tests/mod.rs" {
            return false;
        }
        let parents = ["mod", "lib", "main"].map(|root| format!("{folder}/{root}.rs"));
        let parents = parents.into_iter().chain([format!("{folder}.rs")]);
        let parents: Vec<_> = parents.filter_map(|path| tree.source(&path)).collect();
        let line = format!("mod {name}");
        let file = source.path.rsplit('/').next().unwrap_or_default();
        let mounts = |parent: &&Source| {
            parent.words(&line).next().is_some() || parent.text.contains(&format!("{file}\""))
        };
        !parents.iter().any(mounts)
    });
    let remedy = "no `mod` line mounts this file, so it is never compiled: mount or remove it";
    unmounted.map(|source| Finding::new(&source.path, 1, "orphans", remedy)).collect()
}

/// The room that a path below `src/` belongs to.
pub fn room_of(path: &str) -> &str {
    let rest = path.strip_prefix("src/").unwrap_or(path);
    rest.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Every `crate::name` and `mvx_metrics::name` of the code, with its offset and the name.
fn crate_paths(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    ["crate::", "mvx_metrics::"].into_iter().flat_map(move |start| {
        source.words(start).map(move |at| {
            let rest = source.code[at + start.len()..].trim_start();
            if start == "mvx_metrics::" { (at, "mvx_metrics") } else { (at, first_name(rest)) }
        })
    })
}

/// The leading identifier, or the leading sign where there is none.
fn first_name(rest: &str) -> &str {
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    &rest[..end.max(rest.chars().next().map_or(0, char::len_utf8))]
}

/// What is wrong with `crate::target` inside a room, if anything.
fn judge(room: &str, own: usize, target: &str) -> Option<String> {
    match floor_of(target) {
        Some(_) if target == room => None,
        Some(floor) if floor < own => None,
        Some(floor) if floor == own => Some(format!(
            "`{room}` and `{target}` share a floor and do not name each other: move what both need one floor down"
        )),
        Some(_) => Some(format!(
            "`{room}` names the higher room `{target}`: pass it in from above, or move what is needed down"
        )),
        None if target == "__private" => None,
        None => {
            Some(format!("`{target}` is reached through the facade: write `crate::<room>::<module>::Item`"))
        }
    }
}

/// `super::` chains that leave the room.
fn escapes(source: &Source) -> Vec<Finding> {
    let starts = source.words("super::").filter(|at| !source.code[..*at].ends_with("super::"));
    let leaving = starts.filter(|at| {
        let climbs = source.code[*at..].split("super::").take_while(|part| part.is_empty()).count();
        climbs >= file_depth(&source.path) + inline_depth(&source.code, *at)
    });
    let remedy =
        "this `super::` leaves the room: write `crate::<room>::<module>::Item`, so that the floor shows";
    leaving.map(|at| Finding::at(source, at, "floors", remedy)).collect()
}

/// How many modules deep a file is: `src/queue/mod.rs` 1, `src/queue/ring.rs` 2.
fn file_depth(path: &str) -> usize {
    path.trim_end_matches("/mod.rs").matches('/').count()
}

/// How many inline `mod name { … }` stand around an offset.
fn inline_depth(code: &str, offset: usize) -> usize {
    let mut blocks = Vec::new();
    let mut statement = 0;
    for (at, byte) in code.bytes().enumerate().take(offset) {
        match byte {
            b'{' => {
                let head = code[statement..at].split_whitespace().rev().nth(1);
                blocks.push(head == Some("mod"));
                statement = at + 1;
            }
            b'}' => {
                blocks.pop();
                statement = at + 1;
            }
            b';' => statement = at + 1,
            _ => {}
        }
    }
    blocks.into_iter().filter(|is_module| *is_module).count()
}

#[cfg(test)]
mod tests {
    use super::floors;
    use super::orphans;
    use crate::tree::Tree;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        floors(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_room_names_only_lower_rooms() {
        let text = "use crate::sync::a::B;\nuse crate::queue::ring::Ring;\nuse crate::recorder::handle::Handle;\nfn f() { crate::runtime::go() }";
        assert_eq!(lines("src/queue/mod.rs", text), [3, 4]);
        assert_eq!(lines("src/recorder/actor.rs", text), [4]);
        assert_eq!(lines("src/runtime/worker.rs", text), [0; 0]);
        assert_eq!(lines("src/lib.rs", text), [0; 0]);
    }

    #[test]
    fn rooms_of_one_floor_do_not_name_each_other() {
        assert_eq!(lines("src/edge/mod.rs", "use crate::testing::clock::ManualClock;"), [1]);
        assert_eq!(lines("src/edge/mod.rs", "use crate::edge::pool::Pool;"), [0; 0]);
    }

    #[test]
    fn nothing_is_imported_through_the_facade() {
        assert_eq!(
            lines("src/queue/ring.rs", "use crate::Timestamp;\nuse crate::{sync, model};\nuse crate::*;"),
            [1, 2, 3]
        );
        assert_eq!(lines("src/queue/ring.rs", "\nuse mvx_metrics::Timestamp;"), [2]);
        assert_eq!(
            lines("src/queue/ring.rs", "pub(crate) fn f() {} // crate::runtime::x\nlet s = \"crate::X\";"),
            [0; 0]
        );
        assert_eq!(lines("src/queue/ring.rs", "/// [`x`](crate::Timestamp)\nfn f() {}"), [0; 0]);
    }

    #[test]
    fn an_unknown_room_has_no_floor() {
        assert_eq!(lines("src/util/mod.rs", "fn f() {}"), [1]);
        assert_eq!(lines("src/helpers.rs", "fn f() {}"), [1]);
    }

    #[test]
    fn super_does_not_leave_the_room() {
        assert_eq!(lines("src/queue/mod.rs", "use super::model::x;"), [1]);
        assert_eq!(lines("src/queue/ring.rs", "use super::slot::Slot;\nuse super::super::model::x;"), [2]);
        assert_eq!(
            lines(
                "src/queue/ring.rs",
                "mod tests {\n use super::*;\n use super::super::slot::Slot;\n use super::super::super::model::x;\n}"
            ),
            [4]
        );
        assert_eq!(
            lines("src/queue/mod.rs", "mod tests { use super::*; }\nfn f() { super::runtime::go() }"),
            [2]
        );
    }

    #[test]
    fn a_file_without_a_mod_line_is_found() {
        let tree = Tree::of(&[
            ("src/lib.rs", "pub mod queue;\n#[path = \"../loom-tests/mod.rs\"] mod loom_tests;"),
            ("src/queue/mod.rs", "pub(crate) mod ring; // mod lost;"),
            ("src/queue/ring.rs", ""),
            ("src/queue/lost.rs", ""),
            ("loom-tests/mod.rs", "mod ring;"),
            ("loom-tests/ring.rs", ""),
            ("loom-tests/forgotten.rs", ""),
            ("tests/group/main.rs", "mod order;\n#[path = \"../support/mod.rs\"] mod support;"),
            ("tests/group/order.rs", ""),
            ("tests/group/lost.rs", ""),
            ("tests/order/helper.rs", ""),
            ("tests/support/mod.rs", ""),
        ]);
        let paths: Vec<_> = orphans(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["loom-tests/forgotten.rs", "src/queue/lost.rs", "tests/group/lost.rs"]);
    }
}
