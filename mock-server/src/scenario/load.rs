//! Scenarios from files and folders.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::Beside;
use super::{Problems, SCENARIO_BYTES_MAX, Scenario};

/// Why scenarios could not be read: what is wrong with each file that is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadError {
    /// One entry for each file, never empty.
    pub files: Vec<Problems>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problems) in self.files.iter().enumerate() {
            write!(f, "{}{problems}", if at > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

impl Scenario {
    /// Reads a file, with the files beside it that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it, also that it cannot be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let unreadable = |why: String| Problems::unreadable(&file, why);
        let length =
            fs::metadata(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
        if length.len() > SCENARIO_BYTES_MAX as u64 {
            let why = format!("a scenario is at most {SCENARIO_BYTES_MAX} bytes long");
            return Err(unreadable(why));
        }
        let bytes =
            fs::read(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
        let source = String::from_utf8(bytes)
            .map_err(|error| unreadable(format!("is not UTF-8: {}", error.utf8_error())))?;
        let beside = Beside::new(path.parent().map(Path::to_owned).unwrap_or_default());
        let mut scenario = Self::parse_with(&name_of(path), &file, &source, &beside)?;
        scenario.named = beside.into_named();
        Ok(scenario)
    }

    /// Reads what a flag names: a scenario that comes with the mock, a file, or a folder of them, in the order
    /// of their paths. See [`files`](Self::files) for which files of a folder count.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn find(what: &Path) -> Result<Vec<Self>, LoadError> {
        if !what.exists()
            && let Some(scenario) = what.to_str().and_then(Self::bundled)
        {
            return Ok(vec![scenario]);
        }
        let mut scenarios = Vec::new();
        let mut wrong = Vec::new();
        for path in Self::files(what).map_err(|problems| LoadError { files: vec![problems] })? {
            match Self::load(&path) {
                Ok(scenario) => scenarios.push(scenario),
                Err(problems) => wrong.push(problems),
            }
        }
        if wrong.is_empty() { Ok(scenarios) } else { Err(LoadError { files: wrong }) }
    }

    /// The same for several: names first, then folders, then files, each in their order. Played as one, a file so
    /// counts for more than a folder, and that for more than what comes with the mock.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn find_all(what: &[PathBuf]) -> Result<Vec<Self>, LoadError> {
        let mut scenarios = Vec::new();
        let mut wrong = Vec::new();
        let mut what: Vec<&PathBuf> = what.iter().collect();
        what.sort_by_key(|path| (path.is_file(), path.is_dir()));
        for one in what {
            match Self::find(one) {
                Ok(found) => scenarios.extend(found),
                Err(error) => wrong.extend(error.files),
            }
        }
        if wrong.is_empty() { Ok(scenarios) } else { Err(LoadError { files: wrong }) }
    }

    /// The scenario files that a path names: itself, or those of a folder. There they end in `.yaml`, `.yml` or
    /// `.scenario.json`, or are called `scenario.json`; in the folders of a folder they are called `scenario`.
    ///
    /// # Errors
    /// When the path does not lead anywhere, or to a folder without such a file.
    pub fn files(path: &Path) -> Result<Vec<PathBuf>, Problems> {
        let unreadable = |why: String| Problems::unreadable(&path.display().to_string(), why);
        if !path.is_dir() {
            if path.exists() {
                return Ok(vec![path.to_owned()]);
            }
            let names: Vec<&str> = Self::bundled_names().collect();
            let why = format!(
                "is no file, and no scenario that comes with the mock: those are {}",
                names.join(", ")
            );
            return Err(unreadable(why));
        }
        let mut files = Vec::new();
        for path in entries(path).map_err(unreadable)? {
            if path.is_dir() {
                let inner = ["scenario.yaml", "scenario.yml", "scenario.json"];
                files.extend(
                    inner.map(|name| path.join(name)).into_iter().filter(|path| path.is_file()),
                );
            } else if is_scenario(&path) {
                files.push(path);
            }
        }
        match files.is_empty() {
            true => Err(unreadable(
                "has no scenario: those end in .yaml, .yml or .scenario.json".to_owned(),
            )),
            false => Ok(files),
        }
    }
}

/// What is in a folder, in the order of the names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("cannot be read: {error}"))?;
    let mut paths: Vec<PathBuf> = entries
        .take(ENTRIES_MAX)
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot be read: {error}"))?;
    paths.sort_unstable();
    Ok(paths)
}

fn is_scenario(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".yaml")
        || name.ends_with(".yml")
        || name.ends_with(".scenario.json")
        || name == "scenario.json"
}

/// What a scenario is called.
fn name_of(path: &Path) -> String {
    let stem = |path: &Path| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let name = stem(path).unwrap_or_default();
    if name != "scenario" {
        return name.strip_suffix(".scenario").map(str::to_owned).unwrap_or(name);
    }
    let folder = path.parent().and_then(Path::file_name);
    folder.map_or(name, |folder| folder.to_string_lossy().into_owned())
}

/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 10_000;
