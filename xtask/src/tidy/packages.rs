//! Rules about packages: what the core may depend on, licences, lints.

use super::Problem;
use crate::metadata::Metadata;
use crate::spdx;
use crate::tree::File;

/// Every rule about packages.
pub(super) fn check(metadata: &Metadata, files: &[File]) -> Vec<Problem> {
    let mut problems = core_dependencies(metadata);
    problems.extend(licences(&metadata.foreign_licences()));
    problems.extend(files.iter().filter_map(shared_lints));
    problems
        .extend(files.iter().filter(|file| file.path == "Cargo.toml").filter_map(forbids_unsafe));
    problems
}

fn core_dependencies(metadata: &Metadata) -> Vec<Problem> {
    let declared = metadata.declared("fal-protocol");
    let mut problems = Vec::new();
    let mut report = |message: String| problems.push(Problem::of(CORE_MANIFEST, message));
    for dependency in &declared {
        let name = dependency.name.as_str();
        if CORE_OPTIONAL.contains(&name) {
            if !dependency.is_optional {
                report(format!("`{name}` must be optional, behind a feature"));
            }
        } else if !CORE_REQUIRED.contains(&name) {
            report(format!("the core may not depend on `{name}`"));
        }
    }
    for name in CORE_REQUIRED {
        if !declared.iter().any(|dependency| dependency.name == name && !dependency.is_optional) {
            report(format!("the core no longer needs `{name}`: take it off the list in xtask"));
        }
    }
    for name in metadata.closure("fal-protocol") {
        if CORE_NEVER.contains(&name.as_str()) {
            report(format!("a dependency of the core brings in `{name}`"));
        }
    }
    problems
}

fn licences(packages: &[(String, Option<String>)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (package, licence) in packages {
        match licence {
            Some(expression) if spdx::is_allowed(expression, &LICENCES) => {}
            Some(expression) => problems
                .push(Problem::of("Cargo.lock", format!("{package} has the licence {expression}"))),
            None => problems.push(Problem::of("Cargo.lock", format!("{package} names no licence"))),
        }
    }
    problems
}

/// The workspace's lints, among them the one that forbids unsafe code, hold only where asked for.
fn shared_lints(file: &File) -> Option<Problem> {
    let is_apart = file.path.contains("/fuzz/") || file.path.starts_with("tests/clients/");
    let is_member = file.path.ends_with("/Cargo.toml") && !is_apart;
    let has_lints = file.text.split("[lints]").nth(1).is_some_and(|rest| {
        rest.lines()
            .take_while(|line| !line.starts_with('['))
            .any(|line| line.trim() == "workspace = true")
    });
    (is_member && !has_lints)
        .then(|| Problem::of(&file.path, "add `[lints]` with `workspace = true`"))
}

fn forbids_unsafe(root: &File) -> Option<Problem> {
    let forbids = root.text.lines().any(|line| line.trim() == "unsafe_code = \"forbid\"");
    (!forbids)
        .then(|| Problem::of(&root.path, "the workspace lints must say `unsafe_code = \"forbid\"`"))
}

const CORE_MANIFEST: &str = "crates/fal-protocol/Cargo.toml";

const CORE_REQUIRED: [&str; 5] = ["bytes", "http", "memchr", "serde", "serde_json"];

const CORE_OPTIONAL: [&str; 4] = ["base64", "ed25519-dalek", "rmp-serde", "sha2"];

/// Runtimes, input and output, randomness: not even through another crate.
const CORE_NEVER: [&str; 12] = [
    "async-std",
    "chrono",
    "getrandom",
    "hyper",
    "log",
    "mio",
    "rand",
    "reqwest",
    "smol",
    "socket2",
    "tokio",
    "tracing",
];

/// Licences that ask for no more than a notice.
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "IJG",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn core_with(dependencies: &[(&str, bool)], closure: &[&str]) -> Metadata {
        let dependencies: Vec<serde_json::Value> = dependencies
            .iter()
            .map(|(name, optional)| serde_json::json!({"name": name, "kind": null, "optional": optional}))
            .collect();
        let mut packages = vec![serde_json::json!({
            "id": "core", "name": "fal-protocol", "version": "0.1.0", "source": null, "dependencies": dependencies,
        })];
        let mut edges = Vec::new();
        for name in closure {
            packages.push(serde_json::json!({
                "id": name, "name": name, "version": "1.0.0", "source": "registry", "dependencies": [],
            }));
            edges.push(serde_json::json!({"pkg": name, "dep_kinds": [{"kind": null}]}));
        }
        let nodes = [serde_json::json!({"id": "core", "deps": edges})];
        let text =
            serde_json::json!({"packages": packages, "resolve": {"nodes": nodes}}).to_string();
        Metadata::parse(&text).unwrap()
    }

    fn messages(problems: impl IntoIterator<Item = Problem>) -> Vec<String> {
        problems.into_iter().map(|problem| problem.message).collect()
    }

    const GOOD: [(&str, bool); 6] = [
        ("bytes", false),
        ("http", false),
        ("memchr", false),
        ("serde", false),
        ("serde_json", false),
        ("base64", true),
    ];

    #[test]
    fn core_holds_to_its_list() {
        assert_eq!(core_dependencies(&core_with(&GOOD, &["bytes"])), []);
        let more = [&GOOD[..], &[("url", false), ("sha2", false)]].concat();
        assert_eq!(
            messages(core_dependencies(&core_with(&more, &[]))),
            ["the core may not depend on `url`", "`sha2` must be optional, behind a feature"]
        );
        assert_eq!(
            messages(core_dependencies(&core_with(&GOOD[1..], &["tokio"]))),
            [
                "the core no longer needs `bytes`: take it off the list in xtask",
                "a dependency of the core brings in `tokio`"
            ]
        );
    }

    #[test]
    fn licences_are_checked() {
        let package = |licence: Option<&str>| ("a 1.0.0".to_owned(), licence.map(str::to_owned));
        assert_eq!(licences(&[package(Some("MIT OR GPL-3.0"))]), []);
        let bad = [package(Some("AGPL-3.0")), package(None)];
        assert_eq!(
            messages(licences(&bad)),
            ["a 1.0.0 has the licence AGPL-3.0", "a 1.0.0 names no licence"]
        );
    }

    #[test]
    fn cargo_deny_allows_the_same_licences() {
        let list = include_str!("../../../.deny.toml").split("allow = [").nth(1).unwrap();
        let list = list.split(']').next().unwrap();
        let listed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        assert_eq!(listed, LICENCES);
    }

    #[test]
    fn lints_are_shared() {
        let manifest = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        for (text, is_good) in [
            ("[lints]\nworkspace = true\n", true),
            ("[package]\n[lints]\n\nworkspace = true\n[features]\n", true),
            ("[package]\nedition.workspace = true\n", false),
            ("[lints]\n[features]\nworkspace = true\n", false),
            ("[lints.rust]\nworkspace = true\n", false),
        ] {
            assert_eq!(
                shared_lints(&manifest("crates/a/Cargo.toml", text)).is_none(),
                is_good,
                "{text}"
            );
        }
        assert_eq!(shared_lints(&manifest("Cargo.toml", "[workspace]")), None);
        assert!(forbids_unsafe(&manifest("Cargo.toml", "unsafe_code = \"warn\"")).is_some());
        assert!(forbids_unsafe(&manifest("Cargo.toml", "unsafe_code = \"forbid\"")).is_none());
    }
}
