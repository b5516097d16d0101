//! Seeded bugs: each one in the library is declared by the model that catches it, and the other way round.
//!
//! A model file declares one by a line of its header: `//! seeded bug: <name> caught by <test>`.

use crate::source::Source;
use crate::tree::Finding;
use crate::tree::Tree;
use std::collections::BTreeMap;

/// The start of a declaration.
const DECLARATION: &str = "//! seeded bug:";

/// Seeds without a declaration, declarations without a seed or test, and models without either.
pub fn seeds(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let planted = planted(tree);
    let mut declared = BTreeMap::new();
    for source in models(tree) {
        let declarations = declarations(source);
        if declarations.is_empty() {
            let remedy = format!(
                "plant a bug that it catches, and declare it: `{DECLARATION} <name> caught by <test>`"
            );
            findings.push(Finding::new(
                &source.path,
                1,
                "seeds",
                format!("this model proves nothing yet: {remedy}"),
            ));
        }
        for (line, name, test) in declarations {
            let problem = if name.is_empty() || test.is_empty() {
                Some(format!("unreadable; write `{DECLARATION} <name> caught by <test>`"))
            } else if declared.insert(name, ()).is_some() {
                Some(format!("`{name}` is declared twice; one bug, one catcher"))
            } else if !planted.contains_key(name) {
                Some(format!("no `seeded(\"{name}\")` in src/: plant it, or remove this line"))
            } else {
                let last = test.rsplit("::").next().unwrap_or_default();
                let known = models(tree).any(|model| model.test_names().contains(&last));
                (!known).then(|| format!("no test `{test}` in loom-tests/: name an existing one"))
            };
            findings.extend(problem.map(|problem| Finding::new(&source.path, line, "seeds", problem)));
        }
    }
    for (name, (path, line)) in planted.iter().filter(|(name, _)| !declared.contains_key(**name)) {
        let remedy = format!("declare it in its model: `{DECLARATION} {name} caught by <test>`");
        findings.push(Finding::new(
            path,
            *line,
            "seeds",
            format!("nothing is expected to catch `{name}`: {remedy}"),
        ));
    }
    if models(tree).next().is_none() {
        findings.push(Finding::new(
            "loom-tests/mod.rs",
            1,
            "seeds",
            "there is no model: each protocol has one in loom-tests/",
        ));
    }
    findings
}

/// The model files.
fn models(tree: &Tree) -> impl Iterator<Item = &Source> {
    tree.under(&["loom-tests/"]).filter(|source| source.path != "loom-tests/mod.rs")
}

/// Line, name and test of each declaration of a model.
fn declarations(source: &Source) -> Vec<(usize, &str, &str)> {
    let lines = source.text.lines().enumerate();
    let declared =
        lines.filter_map(|(number, line)| Some((number + 1, line.trim().strip_prefix(DECLARATION)?)));
    declared
        .map(|(line, rest)| {
            let (name, test) = rest.split_once(" caught by ").unwrap_or_default();
            (line, name.trim(), test.trim().trim_matches('`'))
        })
        .collect()
}

/// Every seed of the library with the first place it stands at.
fn planted(tree: &Tree) -> BTreeMap<&str, (&str, usize)> {
    let mut planted = BTreeMap::new();
    for source in tree.under(&["src/"]) {
        for at in source.words("seeded") {
            let Some(rest) = source.text[at..].strip_prefix("seeded(\"") else { continue };
            let name = rest.split('"').next().unwrap_or_default();
            planted.entry(name).or_insert((source.path.as_str(), source.line(at)));
        }
    }
    planted
}

#[cfg(test)]
mod tests {
    use super::seeds;
    use crate::tree::Tree;

    fn found(src: &str, model: &str) -> Vec<String> {
        let tree =
            Tree::of(&[("src/queue/ring.rs", src), ("loom-tests/mod.rs", ""), ("loom-tests/ring.rs", model)]);
        seeds(&tree).iter().map(ToString::to_string).collect()
    }

    const SEED: &str =
        "use crate::sync::seeded;\nfn o() -> bool { seeded(\"relaxed-ready\") } // seeded(\"comment\")";
    const MODEL: &str =
        "//! Ring.\n//! seeded bug: relaxed-ready caught by loom_tests::ring::two\n#[test] fn two() {}";

    #[test]
    fn a_seed_that_a_model_declares_is_right() {
        assert_eq!(found(SEED, MODEL), [""; 0]);
    }

    #[test]
    fn a_seed_that_nothing_catches_is_found() {
        let text = format!("{SEED}\nif seeded(\"lost\") {{}}");
        let found = found(&text, MODEL);
        assert!(
            found.len() == 1 && found[0].starts_with("src/queue/ring.rs:3:") && found[0].contains("lost"),
            "{found:?}"
        );
    }

    #[test]
    fn a_declaration_without_seed_or_test_is_found() {
        assert!(found("", MODEL)[0].contains("no `seeded"));
        assert!(found(SEED, &MODEL.replace("::two", "::gone"))[0].contains("no test"));
        assert!(found(SEED, &MODEL.replace("caught by", "see"))[0].contains("unreadable"));
        assert!(
            found(SEED, &MODEL.replace("//! Ring.", "//! seeded bug: relaxed-ready caught by ring::two"))[0]
                .contains("twice")
        );
    }

    #[test]
    fn a_model_without_a_seed_is_found_and_so_is_no_model() {
        assert!(found("", "#[test] fn two() {}")[0].contains("proves nothing"));
        assert!(seeds(&Tree::of(&[]))[0].message.contains("no model"));
    }
}
