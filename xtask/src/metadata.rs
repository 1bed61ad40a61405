//! What cargo knows of the packages.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::command::{cargo, output_of};

/// The answer of `cargo metadata`.
pub(crate) struct Metadata(Value);

/// A dependency as its package declares it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) is_optional: bool,
}

impl Metadata {
    /// Asks cargo. All features are on, so that optional dependencies are seen.
    pub(crate) fn read() -> Result<Self, String> {
        let text = output_of(&mut cargo(&["metadata", "--format-version=1", "--all-features"]))?;
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map(Self).map_err(|error| format!("cargo metadata: {error}"))
    }

    /// Name, version and licence expression of every package that is not a member.
    pub(crate) fn foreign_licences(&self) -> Vec<(String, Option<String>)> {
        let foreign = self.packages().filter(|package| !package["source"].is_null());
        foreign
            .map(|package| {
                let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
                (name, package["license"].as_str().map(str::to_owned))
            })
            .collect()
    }

    /// The normal dependencies that a package declares: not those of its tests or build script.
    pub(crate) fn declared(&self, package: &str) -> Vec<Dependency> {
        let found = self.packages().find(|candidate| candidate["name"] == package);
        let list = found.and_then(|package| package["dependencies"].as_array());
        list.into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| Dependency {
                name: text(&dependency["name"]).to_owned(),
                is_optional: dependency["optional"] == true,
            })
            .collect()
    }

    /// Names of everything that is compiled into `package`, itself included.
    ///
    /// What only runs inside the compiler is left out: macros, build scripts, and what they need.
    pub(crate) fn closure(&self, package: &str) -> BTreeSet<String> {
        let names: BTreeMap<&str, &str> =
            self.packages().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let nodes: BTreeMap<&str, &Value> = self.0["resolve"]["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|node| (text(&node["id"]), node))
            .collect();
        let is_member =
            |id: &&str| self.packages().any(|p| p["id"] == **id && p["source"].is_null());
        let mut open: Vec<&str> = names
            .iter()
            .filter(|(id, name)| **name == package && is_member(id))
            .map(|(id, _)| *id)
            .collect();
        let mut seen = BTreeSet::new();
        let macros: BTreeSet<&str> = self
            .packages()
            .filter(|package| package["targets"][0]["kind"][0] == "proc-macro")
            .map(|package| text(&package["id"]))
            .collect();
        while let Some(id) = open.pop() {
            if macros.contains(id) || !seen.insert(id) {
                continue;
            }
            let edges = nodes.get(id).and_then(|node| node["deps"].as_array());
            for edge in edges.into_iter().flatten() {
                let kinds = edge["dep_kinds"].as_array();
                if kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null())) {
                    open.push(text(&edge["pkg"]));
                }
            }
        }
        seen.into_iter().filter_map(|id| names.get(id)).map(|name| (*name).to_owned()).collect()
    }

    fn packages(&self) -> impl Iterator<Item = &Value> {
        self.0["packages"].as_array().into_iter().flatten()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{
        "packages": [
            {"id": "core", "name": "core", "version": "1.0.0", "source": null, "license": "MIT", "dependencies": [
                {"name": "a", "kind": null, "optional": false},
                {"name": "c", "kind": null, "optional": true},
                {"name": "t", "kind": "dev", "optional": false}]},
            {"id": "a", "name": "a", "version": "1.2.3", "source": "registry", "license": "MIT", "dependencies": []},
            {"id": "b", "name": "b", "version": "1.0.0", "source": "registry", "license": null, "dependencies": []},
            {"id": "m", "name": "m", "version": "1.0.0", "source": "registry", "license": "MIT", "dependencies": [],
                "targets": [{"kind": ["proc-macro"]}]},
            {"id": "t", "name": "t", "version": "1.0.0", "source": "registry", "license": "GPL-3.0", "dependencies": []}],
        "resolve": {"nodes": [
            {"id": "core", "deps": [
                {"pkg": "a", "dep_kinds": [{"kind": null}]},
                {"pkg": "t", "dep_kinds": [{"kind": "dev"}]}]},
            {"id": "a", "deps": [
                {"pkg": "b", "dep_kinds": [{"kind": "build"}, {"kind": null}]},
                {"pkg": "m", "dep_kinds": [{"kind": null}]}]},
            {"id": "b", "deps": [{"pkg": "a", "dep_kinds": [{"kind": null}]}]},
            {"id": "t", "deps": []}]}}"#;

    #[test]
    fn dependencies_of_tests_and_macros_do_not_count() {
        let metadata = Metadata::parse(SMALL).unwrap();
        assert_eq!(metadata.closure("core"), ["a", "b", "core"].map(str::to_owned).into());
        let declared: Vec<(String, bool)> =
            metadata.declared("core").into_iter().map(|d| (d.name, d.is_optional)).collect();
        assert_eq!(declared, [("a".to_owned(), false), ("c".to_owned(), true)]);
        assert!(metadata.closure("absent").is_empty());
    }

    #[test]
    fn members_need_no_licence_here() {
        let licences = Metadata::parse(SMALL).unwrap().foreign_licences();
        assert_eq!(licences.len(), 4);
        assert_eq!(licences[0], ("a 1.2.3".to_owned(), Some("MIT".to_owned())));
        assert_eq!(licences[1], ("b 1.0.0".to_owned(), None));
    }
}
