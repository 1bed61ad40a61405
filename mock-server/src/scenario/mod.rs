//! Scenarios: files that say how calls go, what goes wrong, and what shall have happened in the end.
//!
//! Everything here is pure but for the loading of files: same scenario, same seed and same calls, same decisions.

mod app;
mod backend;
mod bundled;
mod error;
mod expect;
mod fault;
mod faults;
mod files;
mod glob;
mod load;
mod operation;
mod output;
mod play;
mod predicate;
mod problem;
mod read;
mod rule;
#[cfg(test)]
mod tests;
mod timeline;
mod tree;
mod watch;
mod when;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use expect::{Evidence, Verdict};
pub use load::LoadError;
pub use operation::Operation;
pub use play::{FaultView, FiringView, PlayView, RuleView, UncoveredView};
pub use problem::{LINE_CHARS_MAX, PROBLEMS_MAX, Problem, Problems};
pub use tree::{DEPTH_MAX, NODES_MAX, SCENARIO_BYTES_MAX};

pub(crate) use backend::{Backend, Doer};
pub(crate) use fault::Action;
pub(crate) use faults::Effect;
pub(crate) use output::{Fill, Output};
pub(crate) use play::Play;
pub(crate) use rule::Rule;
pub(crate) use timeline::{LogLine, Webhook};
pub(crate) use when::{Facts, Input};

pub use watch::Watch;

use app::{App, Clock};
pub(crate) use expect::{Expect, Expectations};
use fault::Fault;
pub(crate) use faults::Faults;
use files::{Files, NoFiles};
use read::{Object, Path, Reader};
pub(crate) use rule::Rules;

/// The JSON Schema of scenario files.
pub const SCHEMA: &str = include_str!("../../scenario.schema.json");

/// A scenario as its file says it, ready to be played.
#[derive(Clone)]
#[non_exhaustive]
pub struct Scenario {
    /// What it is called: by its file, or by the folder of a file that is called `scenario`.
    pub name: String,
    /// What it is for, in its own words.
    pub description: Option<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) clock: Clock,
    pub(crate) apps: Vec<Arc<App>>,
    pub(crate) rules: Vec<Arc<Rule>>,
    pub(crate) faults: Vec<Arc<Fault>>,
    pub(crate) expect: Expect,
    /// The files that it names, as paths.
    named: Vec<PathBuf>,
}

pub(crate) const SCENARIO: Object = Object {
    name: "scenario",
    keys: &["$schema", "description", "seed", "clock", "apps", "rules", "faults", "expect"],
};

/// Every kind of map that a file has, for comparison with the schema.
#[cfg(test)]
pub(crate) const OBJECTS: [&Object; 18] = [
    &SCENARIO,
    &app::CLOCK,
    &app::APP,
    &rule::RULE,
    &when::WHEN,
    &predicate::PREDICATE,
    &timeline::TIMELINE,
    &timeline::LOG,
    &timeline::WEBHOOK,
    &output::OUTPUT,
    &error::ERROR,
    &fault::FAULT,
    &fault::FAULT_WHEN,
    &fault::AFTER,
    &expect::EXPECT,
    &expect::EXPECTED,
    &expect::STEP,
    &expect::COUNT,
];

impl Scenario {
    /// Reads a scenario in YAML or JSON that names no files of its own.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, source: &str) -> Result<Self, Problems> {
        Self::parse_with(name, name, source, &NoFiles)
    }

    /// The same with files that it names, and another name for messages.
    fn parse_with(
        name: &str,
        file: &str,
        source: &str,
        disk: &dyn Files,
    ) -> Result<Self, Problems> {
        let root = match tree::parse(source) {
            Ok(root) => root,
            Err(problems) => return Err(Problems::new(file, source, problems)),
        };
        let mut reader = Reader::default();
        let scenario = Self::read(&mut reader, &root, name, disk);
        match scenario {
            Some(scenario) if reader.problems.is_empty() => Ok(scenario),
            _ => Err(Problems::new(file, source, reader.problems)),
        }
    }

    fn read(reader: &mut Reader, root: &tree::Node, name: &str, disk: &dyn Files) -> Option<Self> {
        let mut scenario = Self::empty(name);
        let path = Path::Root;
        let fields = reader.fields(root, &path, &SCENARIO)?;
        if fields.iter().next().is_none() {
            reader.wrong(root.span, &path, "this scenario says nothing: give it rules or faults");
        }
        if let Some(node) = fields.get("$schema") {
            let path = path.key("$schema");
            let _ = reader.text(node, &path, "the address of the schema, for editors");
        }
        if let Some(node) = fields.get("description") {
            let path = path.key("description");
            scenario.description = reader.text(node, &path, "a text").map(str::to_owned);
        }
        if let Some(node) = fields.get("seed") {
            scenario.seed = reader.whole(node, &path.key("seed"), 0, u64::MAX);
        }
        if let Some(node) = fields.get("clock") {
            scenario.clock = Clock::read(reader, node, &path.key("clock"));
        }
        if let Some(node) = fields.get("apps") {
            scenario.apps = reader.list(node, &path.key("apps"), APPS_MAX, |reader, node, path| {
                App::read(reader, node, path, disk).map(Arc::new)
            });
        }
        let mut names = BTreeSet::new();
        let mut unique =
            |reader: &mut Reader, node: &tree::Node, path: &Path<'_>, name: &Arc<str>| {
                if !names.insert(Arc::clone(name)) {
                    let message = format!("there is a rule or fault called {name:?} already");
                    reader.wrong(node.span, &path.key("name"), message);
                }
            };
        // Names that a header can carry.
        let stem: String =
            name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(60).collect();
        if let Some(node) = fields.get("rules") {
            let mut count = 0;
            scenario.rules =
                reader.list(node, &path.key("rules"), RULES_MAX, |reader, node, path| {
                    count += 1;
                    let rule =
                        Rule::read(reader, node, path, disk, format!("{stem}/rule-{count}"))?;
                    unique(reader, node, path, &rule.name);
                    Some(Arc::new(rule))
                });
        }
        if let Some(node) = fields.get("faults") {
            let mut count = 0;
            scenario.faults =
                reader.list(node, &path.key("faults"), FAULTS_MAX, |reader, node, path| {
                    count += 1;
                    let fault = Fault::read(reader, node, path, format!("{stem}/fault-{count}"))?;
                    unique(reader, node, path, &fault.name);
                    Some(Arc::new(fault))
                });
        }
        if let Some(node) = fields.get("expect") {
            scenario.expect = Expect::read(reader, node, &path.key("expect"));
        }
        Some(scenario)
    }

    /// The documents that its apps name.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &std::path::Path> {
        self.apps.iter().flat_map(|app| app.openapi.iter().map(PathBuf::as_path))
    }

    /// Why its apps' own back ends must not be used, if so. `may_run` says whether programs may be started, `may_be_far`
    /// whether servers may be anywhere.
    pub(crate) fn backend_refusal(&self, may_run: bool, may_be_far: bool) -> Option<String> {
        let mut backends = self.apps.iter().filter_map(|app| app.backend.as_deref());
        backends.find_map(|backend| match backend.is_program() && !may_run {
            true => Some(
                "a scenario that comes over the network starts no programs (exec): start fal-mock with \
                 --allow-exec if it may"
                    .to_owned(),
            ),
            false => backend.refusal(may_be_far),
        })
    }

    /// Reads the part under `expect` alone, in YAML or JSON.
    pub(crate) fn parse_expect(source: &str) -> Result<Expect, Problems> {
        Self::parse_part(source, |reader, root| Expect::read(reader, root, &Path::Root))
    }

    fn parse_part<T>(
        source: &str,
        read: impl FnOnce(&mut Reader, &tree::Node) -> T,
    ) -> Result<T, Problems> {
        let name = "expect";
        let root = tree::parse(source).map_err(|problems| Problems::new(name, source, problems))?;
        let mut reader = Reader::default();
        let part = read(&mut reader, &root);
        match reader.problems.is_empty() {
            true => Ok(part),
            false => Err(Problems::new(name, source, reader.problems)),
        }
    }

    /// How much it says, in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {what}")),
            n => Some(format!("{n} {what}s")),
        };
        let parts = [
            count(self.apps.len(), "app"),
            count(self.rules.len(), "rule"),
            count(self.faults.len(), "fault"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "right".to_owned() } else { format!("right, {}", parts.join(", ")) }
    }

    /// One that says nothing.
    pub(crate) fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: None,
            seed: None,
            clock: Clock::default(),
            apps: Vec::new(),
            rules: Vec::new(),
            faults: Vec::new(),
            expect: Expect::default(),
            named: Vec::new(),
        }
    }

    /// Several as one. Later ones come first: their rules, apps and faults are asked before those of earlier ones,
    /// and what both say is as the later one says it. Expectations add up.
    #[must_use]
    pub fn layered<'a>(layers: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut whole = Self::empty("");
        for layer in layers {
            if !whole.name.is_empty() {
                whole.name.push('+');
            }
            whole.name.push_str(&layer.name);
            whole.seed = layer.seed.or(whole.seed);
            whole.clock.mode = layer.clock.mode.or(whole.clock.mode);
            whole.clock.start = layer.clock.start.or(whole.clock.start);
            whole.apps.splice(0..0, layer.apps.iter().cloned());
            whole.rules.splice(0..0, layer.rules.iter().cloned());
            whole.faults.splice(0..0, layer.faults.iter().cloned());
            whole.expect.merge(&layer.expect);
        }
        whole
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("rules", &self.rules.len())
            .field("faults", &self.faults.len())
            .finish_non_exhaustive()
    }
}

/// Apps of one file.
pub const APPS_MAX: usize = 1000;

/// Rules of one file.
pub const RULES_MAX: usize = 1000;

/// Faults of one file.
pub const FAULTS_MAX: usize = 1000;
