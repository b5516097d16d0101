//! What ARCHITECTURE.md and README.md name exists, and no document names the machine it was written on.

use crate::tree::Finding;
use crate::tree::Tree;

/// The document that names paths and tests.
const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// Endings by which a word in backticks is known as a file of ours.
const ENDINGS: [&str; 8] = [".rs", ".md", ".toml", ".sh", ".yml", ".json", ".lock", ".txt"];

/// The commands that README.md starts with; `.ci/run` runs the second.
const COMMANDS: [&str; 2] = ["cargo run --release --example document_storage", "cargo test"];

/// Paths in backticks that do not exist, and named tests that do not.
pub fn architecture_names(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.files.get(ARCHITECTURE) else {
        return vec![Finding::new(
            ARCHITECTURE,
            1,
            "architecture",
            "the file is missing: write it, STYLE.md has its model",
        )];
    };
    let mut findings = Vec::new();
    for (line, quoted) in backticked(text) {
        if let Some((path, test)) = test_reference(quoted) {
            if !has_test(tree, path, test) {
                let remedy = "name an existing function with a test attribute, or write the test";
                findings.push(Finding::new(
                    ARCHITECTURE,
                    line,
                    "architecture",
                    format!("no test `{test}` in {path}: {remedy}"),
                ));
            }
        } else if let Some(recipe) = quoted.strip_prefix("just ") {
            let recipe = recipe.split_whitespace().next().unwrap_or_default();
            let recipes = tree.files.get("justfile").map_or("", String::as_str);
            let known = recipes.lines().any(|line| {
                line.strip_prefix(recipe).is_some_and(|rest| {
                    rest.starts_with(':') || rest.starts_with(" *") && rest.ends_with(':')
                })
            });
            if recipe.is_empty() || !known {
                findings.push(Finding::new(
                    ARCHITECTURE,
                    line,
                    "architecture",
                    format!("no recipe `{recipe}` in the justfile: name an existing one"),
                ));
            }
        } else if looks_like_path(quoted, tree) && !tree.has(quoted) && !tree.has(&format!("src/{quoted}")) {
            let remedy = "name an existing one, from the repository's root or from `src/`";
            findings.push(Finding::new(
                ARCHITECTURE,
                line,
                "architecture",
                format!("no file or folder `{quoted}`: {remedy}"),
            ));
        }
    }
    findings
}

/// Rows of the promise table that name no test in their last column; the table itself, if it is missing.
pub fn promises_without_test(tree: &Tree) -> Vec<Finding> {
    let text = tree.files.get(ARCHITECTURE).map_or("", String::as_str);
    let mut findings = Vec::new();
    let mut rows = 0;
    let mut in_table = false;
    for (number, line) in text.lines().enumerate() {
        let Some(last) = last_cell(line) else {
            in_table = false;
            continue;
        };
        let first = line.to_lowercase();
        if !in_table {
            in_table = first.contains("promise") && last.to_lowercase().contains("test");
        } else if last.is_empty() || !last.chars().all(|c| matches!(c, '-' | ':' | ' ')) {
            rows += 1;
            if !backticked(last).any(|(_, quoted)| test_reference(quoted).is_some()) {
                let remedy = "end the row with the test that holds it, as `tests/file.rs::test_name`";
                findings.push(Finding::new(
                    ARCHITECTURE,
                    number + 1,
                    "promises",
                    format!("a promise without a test: {remedy}"),
                ));
            }
        }
    }
    if rows == 0 {
        let remedy = "add a table with a `Promise` column first and a `Test` column last";
        findings.push(Finding::new(ARCHITECTURE, 1, "promises", format!("no promise is listed: {remedy}")));
    }
    findings
}

/// README.md's first two commands, when they are not the two that everybody relies on.
pub fn readme_commands(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.files.get("README.md") else {
        return vec![Finding::new("README.md", 1, "readme", "the file is missing: it is the crate page")];
    };
    let commands = shell_commands(text);
    let wrong = (0..COMMANDS.len())
        .filter(|at| !commands.get(*at).is_some_and(|(_, found)| starts_with_command(found, COMMANDS[*at])));
    let finding = |at: usize| {
        let line = commands.get(at).map_or(1, |(line, _)| *line);
        Finding::new(
            "README.md",
            line,
            "readme",
            format!("command {} is to be `{}`, in a fenced `sh` block", at + 1, COMMANDS[at]),
        )
    };
    wrong.map(finding).collect()
}

/// Names that belong to a machine, not to the project, in any file.
pub fn private_names(tree: &Tree) -> Vec<Finding> {
    let needles = private_needles();
    let mut findings = Vec::new();
    for (path, text) in &tree.files {
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            for needle in needles
                .iter()
                .filter(|needle| line.contains(needle.as_str()) || path.contains(needle.as_str()))
            {
                let remedy = "write a relative path, or what it is in general words";
                findings.push(Finding::new(
                    path,
                    number + 1,
                    "private",
                    format!("`{needle}` belongs to one machine: {remedy}"),
                ));
            }
        }
    }
    findings
}

/// The names, put together here so that this file does not hold them.
fn private_needles() -> Vec<String> {
    let host = |name: &str| [name, "crates", "io"].join(".");
    vec![
        ["farm", "studio"].join("-"),
        ["farm", "bench"].join("-"),
        ["", "work", ""].join("/"),
        ["", "tmp", "wt"].join("/"),
        ["", "root", ""].join("/"),
        host("static"),
        host("index"),
    ]
}

/// Every text between single backticks outside fenced blocks, with its line.
fn backticked(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    let lines = text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines
        .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |quoted| (number + 1, quoted)))
}

/// `path.rs::name` or `folder/::name`, split; the name is the last part.
fn test_reference(quoted: &str) -> Option<(&str, &str)> {
    let (path, rest) = quoted.split_once("::")?;
    let name = rest.rsplit("::").next()?;
    let is_path = path.ends_with(".rs") || path.ends_with('/');
    let is_name = !name.is_empty() && name.chars().all(crate::source::is_word);
    (is_path && is_name).then_some((path, name))
}

/// Whether a test of this name stands in the file, or in a file of the folder.
fn has_test(tree: &Tree, path: &str, name: &str) -> bool {
    let folder = path.ends_with('/');
    let files =
        tree.sources.iter().filter(|source| source.path == path || folder && source.path.starts_with(path));
    files.into_iter().any(|source| source.test_names().contains(&name))
}

/// Whether a text in backticks means a path of this repository.
fn looks_like_path(quoted: &str, tree: &Tree) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    if quoted.is_empty()
        || !quoted.chars().all(plain)
        || quoted.starts_with(['/', '-'])
        || quoted.starts_with("..")
    {
        return false;
    }
    let known_ending = ENDINGS.iter().any(|ending| quoted.ends_with(ending) && quoted.len() > ending.len());
    let first = quoted.split('/').next().unwrap_or_default();
    known_ending || quoted.ends_with('/') || quoted.contains('/') && tree.has(first)
}

/// The last cell of a table row.
fn last_cell(line: &str) -> Option<&str> {
    let inside = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    inside.rsplit('|').next().map(str::trim)
}

/// The commands in fenced shell blocks, with their lines and without prompts.
fn shell_commands(text: &str) -> Vec<(usize, &str)> {
    let mut commands = Vec::new();
    let mut language = None;
    for (number, line) in text.lines().enumerate() {
        if let Some(fence) = line.trim().strip_prefix("```") {
            language = if language.is_some() { None } else { Some(fence.trim()) };
        } else if matches!(language, Some("sh" | "bash" | "shell" | "console")) {
            let command = line.trim().trim_start_matches("$ ").trim();
            if !command.is_empty() && !command.starts_with('#') {
                commands.push((number + 1, command));
            }
        }
    }
    commands
}

/// Whether a command line is this command, perhaps with an argument or a comment behind it.
fn starts_with_command(line: &str, command: &str) -> bool {
    let rest = line.strip_prefix(command).map(str::trim_start);
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.starts_with('#') || (command != "cargo test" && rest.starts_with("--"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&Tree) -> Vec<Finding>, document: &str, text: &str) -> Vec<usize> {
        let files = [
            (document, text),
            (
                "src/queue/ring.rs",
                "#[cfg(test)] mod tests { #[test] fn full_ring_gives_back() {} fn no_test() {} }",
            ),
            ("tests/order.rs", "#[test] fn chains_keep_order() {}"),
            ("loom-tests/ring.rs", "#[test] fn two_producers() {}"),
            ("justfile", "bar:\n    true\nrivals *arguments:\n    true\n"),
        ];
        rule(&Tree::of(&files)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn paths_in_the_architecture_exist() {
        let rule = architecture_names;
        let good = "`src/queue/ring.rs` `queue/` `queue/ring.rs` `src/queue` `loom-tests/` `a/b` `text/plain` `Cargo` `cargo test`";
        assert_eq!(lines(rule, "ARCHITECTURE.md", good), [0; 0]);
        assert_eq!(
            lines(rule, "ARCHITECTURE.md", "a\n`src/queue/gone.rs`\n`gone/`\n`Gone.toml`\n`tests/gone`"),
            [2, 3, 4, 5]
        );
        assert_eq!(lines(rule, "ARCHITECTURE.md", "```\n`src/gone.rs`\n```\n"), [0; 0]);
        assert_eq!(lines(rule, "OTHER.md", ""), [1]);
        assert_eq!(
            lines(rule, "ARCHITECTURE.md", "`just bar`\n`just ba`\n`just rivals --json`\n`just `"),
            [2, 4]
        );
    }

    #[test]
    fn tests_named_in_the_architecture_exist() {
        let rule = architecture_names;
        let good = "`tests/order.rs::chains_keep_order` `src/queue/ring.rs::tests::full_ring_gives_back` `loom-tests/::two_producers`";
        assert_eq!(lines(rule, "ARCHITECTURE.md", good), [0; 0]);
        assert_eq!(
            lines(
                rule,
                "ARCHITECTURE.md",
                "`tests/order.rs::gone`\n`src/queue/ring.rs::no_test`\n`tests/gone.rs::x`"
            ),
            [1, 2, 3]
        );
    }

    #[test]
    fn each_promise_ends_with_a_test() {
        let rule = promises_without_test;
        let table = |row: &str| {
            format!(
                "| Promise | Home | Test |\n|---|---|---|\n| 3.1 | x | `tests/order.rs::chains_keep_order` |\n{row}\n"
            )
        };
        assert_eq!(lines(rule, "ARCHITECTURE.md", &table("")), [0; 0]);
        assert_eq!(lines(rule, "ARCHITECTURE.md", &table("| 3.2 | `tests/order.rs::x` | |")), [4]);
        assert_eq!(lines(rule, "ARCHITECTURE.md", &table("| 3.2 | x | by review |")), [4]);
        assert_eq!(lines(rule, "ARCHITECTURE.md", "| Word | Meaning |\n|---|---|\n| a | b |"), [1]);
        assert_eq!(lines(rule, "OTHER.md", ""), [1]);
    }

    #[test]
    fn the_readme_starts_with_the_two_commands() {
        let rule = readme_commands;
        let block = |second: &str| {
            format!(
                "```rust\nlet x;\n```\n```sh\n# first\n$ cargo run --release --example document_storage -- src\n{second}\n```"
            )
        };
        assert_eq!(lines(rule, "README.md", &block("cargo test   # everything")), [0; 0]);
        assert_eq!(lines(rule, "README.md", &block("cargo test --lib")), [7]);
        assert_eq!(lines(rule, "README.md", "text"), [1, 1]);
        assert_eq!(lines(rule, "OTHER.md", ""), [1]);
    }

    #[test]
    fn names_of_a_machine_are_found_in_any_file() {
        for needle in private_needles() {
            let text = format!("a\nb {} c", needle.to_uppercase());
            assert_eq!(lines(private_names, "notes.txt", &text), [2], "{needle}");
        }
        assert_eq!(
            lines(private_names, "notes.txt", "network/paths, rework/it, crates.io/crates/mvx-metrics"),
            [0; 0]
        );
    }
}
