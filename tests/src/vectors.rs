//! Vectors: language-neutral cases in JSON, and what became of them in a run.
//!
//! `vectors/README.md` describes the format for people, `vectors/vector.schema.json` for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Vector {
    /// A permanent slug, unique among all vectors.
    pub id: String,
    /// How binding it is.
    pub level: Level,
    /// How its claim is known.
    pub evidence: Evidence,
    /// Where the claim can be looked up.
    pub source: String,
    /// Which kinds of implementation it concerns.
    pub applies_to: Vec<Role>,
    /// What is not obvious about it.
    #[serde(default)]
    pub note: Option<String>,
    /// The rest: `given` and `expect` of a value vector; `machine`, `config` and `steps` of the other.
    #[serde(flatten)]
    pub body: BTreeMap<String, Value>,
}

impl Vector {
    /// A part of the body; `null` when absent.
    #[must_use]
    pub fn part(&self, name: &str) -> &Value {
        self.body.get(name).unwrap_or(&Value::Null)
    }
}

/// How binding a vector is, as in RFC 2119.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// Whoever differs does not speak the protocol.
    Must,
    /// Differing needs a good reason.
    Should,
    /// A choice; here is ours.
    May,
    /// Recorded, not judged.
    Info,
}

/// How the claim of a vector is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Evidence {
    /// The service's documentation, or a standard that it names, says so.
    Documented,
    /// An official client or SDK relies on it.
    OfficialClientSource,
    /// Somebody met it in production and wrote it down.
    Incident,
    /// It follows from the rest, or is our choice.
    Inferred,
}

/// A kind of implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// It calls models.
    Client,
    /// It forwards calls.
    Gateway,
    /// It answers calls.
    Server,
}

/// A file of vectors about one area.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VectorFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is about: also the name of its folder.
    pub area: String,
    /// Its vectors, at least one.
    pub vectors: Vec<Vector>,
    /// The whole document, for a check against the schema.
    pub json: Value,
}

#[derive(Deserialize)]
struct Document {
    area: String,
    vectors: Vec<Vector>,
}

/// The folder of this package's vectors.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Reads every `<area>/*.json` below a folder and checks the rules that no schema can express.
///
/// # Errors
/// [`VectorError`] when a file cannot be read, a rule is broken, or there is no vector at all.
pub fn load(folder: &Path) -> Result<Vec<VectorFile>, VectorError> {
    let mut files = Vec::new();
    for area in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        for path in
            entries(&area)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "json"))
        {
            files.push(read(&path)?);
        }
    }
    check(&files)?;
    Ok(files)
}

fn read(path: &Path) -> Result<VectorFile, VectorError> {
    let fail = |problem: &dyn fmt::Display| VectorError::new(path, problem);
    let text = fs::read_to_string(path).map_err(|error| fail(&error))?;
    let json: Value = serde_json::from_str(&text).map_err(|error| fail(&error))?;
    let Document { area, vectors } = Document::deserialize(&json).map_err(|error| fail(&error))?;
    Ok(VectorFile { path: path.to_owned(), area, vectors, json })
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, VectorError> {
    let fail = |error: std::io::Error| VectorError::new(folder, &error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        paths.push(entry.map_err(fail)?.path());
    }
    // The order of a directory differs between machines; that of a report must not.
    paths.sort();
    Ok(paths)
}

fn check(files: &[VectorFile]) -> Result<(), VectorError> {
    let mut ids = BTreeSet::new();
    for file in files {
        let fail = |problem: String| Err(VectorError::new(&file.path, &problem));
        let folder = file.path.parent().and_then(Path::file_name).unwrap_or_default();
        if folder != file.area.as_str() {
            return fail(format!(
                "its area is {:?}, which is not the name of its folder",
                file.area
            ));
        }
        if file.vectors.is_empty() {
            return fail("it has no vectors".into());
        }
        for vector in &file.vectors {
            if !ids.insert(vector.id.as_str()) {
                return fail(format!("the id {:?} occurs twice", vector.id));
            }
            if vector.level == Level::Must && vector.evidence > Evidence::OfficialClientSource {
                return fail(format!(
                    "{}: only what is documented or relied on can be a must",
                    vector.id
                ));
            }
        }
    }
    if ids.is_empty() {
        return Err(VectorError::new(Path::new("vectors"), &"no vector was found"));
    }
    Ok(())
}

/// Why vectors cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorError {
    path: PathBuf,
    problem: Box<str>,
}

impl VectorError {
    fn new(path: &Path, problem: &dyn fmt::Display) -> Self {
        Self { path: path.to_owned(), problem: problem.to_string().into() }
    }
}

impl fmt::Display for VectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for VectorError {}

/// Vectors that are failed on purpose, each with a reason.
#[derive(Clone, Debug, Default)]
pub struct Gaps(BTreeMap<String, String>);

impl Gaps {
    /// Reads `{"gaps": [{"id": …, "reason": …}]}`.
    ///
    /// # Errors
    /// [`VectorError`] when the file cannot be read or a gap has no reason.
    pub fn load(path: &Path) -> Result<Self, VectorError> {
        let text = fs::read_to_string(path).map_err(|error| VectorError::new(path, &error))?;
        Self::parse(&text).map_err(|problem| VectorError::new(path, &problem))
    }

    fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct List {
            gaps: Vec<Gap>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Gap {
            id: String,
            reason: String,
        }
        let list: List = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut gaps = BTreeMap::new();
        for Gap { id, reason } in list.gaps {
            if reason.trim().is_empty() {
                return Err(format!("the gap {id} has no reason"));
            }
            if gaps.insert(id.clone(), reason).is_some() {
                return Err(format!("the gap {id} is listed twice"));
            }
        }
        Ok(Self(gaps))
    }
}

/// What became of the vectors of a run.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    passed: usize,
    known: usize,
    problems: Vec<String>,
}

impl Verdict {
    /// Compares each vector's outcome with the known gaps.
    ///
    /// A failure that is no gap is a problem, and so are a gap that passes, a gap that names no vector
    /// of the run, and a run without vectors.
    pub fn of<'a>(
        outcomes: impl IntoIterator<Item = (&'a Vector, Result<(), String>)>,
        gaps: &Gaps,
    ) -> Self {
        let mut verdict = Self::default();
        let mut unseen: BTreeSet<&str> = gaps.0.keys().map(String::as_str).collect();
        for (vector, outcome) in outcomes {
            unseen.remove(vector.id.as_str());
            match (outcome, gaps.0.get(&vector.id)) {
                (Ok(()), None) => verdict.passed += 1,
                (Err(_), Some(_)) => verdict.known += 1,
                (Ok(()), Some(reason)) => verdict.problems.push(format!(
                    "{} passes now: take it off the list of gaps ({reason})",
                    vector.id
                )),
                (Err(problem), None) => verdict.problems.push(format!(
                    "{} ({:?}, {}): {problem}",
                    vector.id, vector.level, vector.source
                )),
            }
        }
        let strangers = unseen.into_iter().map(|id| format!("the gap {id} names no vector"));
        verdict.problems.extend(strangers);
        if verdict.passed + verdict.known + verdict.problems.len() == 0 {
            verdict.problems.push("no vector was run".into());
        }
        verdict
    }

    /// How many passed.
    #[must_use]
    pub const fn passed(&self) -> usize {
        self.passed
    }

    /// How many failed as listed.
    #[must_use]
    pub const fn known(&self) -> usize {
        self.known
    }

    /// What must be mended, one line each; empty after a good run.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vector(id: &str, level: &str, evidence: &str) -> Vector {
        let json = json!({"id": id, "level": level, "evidence": evidence, "source": "s", "applies_to": ["client"]});
        Vector::deserialize(json).unwrap()
    }

    fn file(area: &str, vectors: Vec<Vector>) -> VectorFile {
        VectorFile {
            path: "vectors/sse/a.json".into(),
            area: area.into(),
            vectors,
            json: Value::Null,
        }
    }

    #[test]
    fn rules_of_files_are_checked() {
        let good = || vector("a", "must", "documented");
        assert_eq!(check(&[file("sse", vec![good(), vector("b", "should", "inferred")])]), Ok(()));
        for (files, problem) in [
            (vec![], "no vector was found"),
            (vec![file("sse", vec![])], "no vectors"),
            (vec![file("queue", vec![good()])], "not the name of its folder"),
            (vec![file("sse", vec![good()]), file("sse", vec![good()])], "occurs twice"),
            (vec![file("sse", vec![vector("a", "must", "inferred")])], "can be a must"),
            (vec![file("sse", vec![vector("a", "must", "incident")])], "can be a must"),
        ] {
            let error = check(&files).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn gaps_close_loudly() {
        let vectors = [vector("a", "must", "documented"), vector("b", "may", "inferred")];
        let gaps = Gaps::parse(r#"{"gaps": [{"id": "b", "reason": "not yet"}]}"#).unwrap();
        let fail = || Err("wrong".to_owned());
        let run = |a, b, gaps: &Gaps| Verdict::of(vectors.iter().zip([a, b]), gaps);

        let good = run(Ok(()), fail(), &gaps);
        assert_eq!((good.passed(), good.known(), good.problems().len()), (1, 1, 0));
        assert!(run(Ok(()), Ok(()), &gaps).problems()[0].contains("b passes now"));
        assert!(run(fail(), fail(), &gaps).problems()[0].contains("wrong"));
        assert!(
            Verdict::of([(&vectors[0], Ok(()))], &gaps).problems()[0].contains("names no vector")
        );
        assert_eq!(Verdict::of([], &Gaps::default()).problems(), ["no vector was run"]);
        assert!(Gaps::parse(r#"{"gaps": [{"id": "b", "reason": " "}]}"#).is_err());
        assert!(Gaps::parse(r#"{"gaps": [{"id": "b"}]}"#).is_err());
    }
}
