//! Examples through generated types: read, written again, compared.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::ExitCode;

use fal_client::typed::Endpoint;
use fal_protocol::schema::{ModelSchema, SchemaError, parse_dump};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::examples::{self, Example};

/// The types of one endpoint.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Types {
    /// The endpoint.
    pub id: &'static str,
    /// Reads and writes an input.
    pub input: Pass,
    /// Reads and writes an output.
    pub output: Pass,
}

/// Reads a value as a type and writes it again, or says why it cannot be read.
pub type Pass = fn(&Value) -> Result<Value, String>;

/// The types of an input.
#[must_use]
pub fn types<E>() -> Types
where
    E: Endpoint + DeserializeOwned,
    E::Output: Serialize,
{
    Types { id: E::ID, input: pass_within_limits::<E>, output: pass::<E::Output> }
}

/// What the document allows must not be refused here either.
fn pass_within_limits<E: Endpoint + DeserializeOwned>(value: &Value) -> Result<Value, String> {
    let read: E = serde_json::from_str(&value.to_string()).map_err(|error| error.to_string())?;
    read.check().map_err(|error| format!("refused: {error}"))?;
    serde_json::to_value(&read).map_err(|error| error.to_string())
}

fn pass<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, String> {
    let read: T = serde_json::from_str(&value.to_string()).map_err(|error| error.to_string())?;
    serde_json::to_value(&read).map_err(|error| error.to_string())
}

/// What became of examples.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// How many there were.
    pub examples: usize,
    /// Those that came back as they were.
    pub same: usize,
    /// Those that came back otherwise, in a way that is known and meant.
    pub differences: BTreeMap<Difference, Vec<String>>,
    /// Those that do not fit their schema, and were not read either.
    pub unfit: Vec<String>,
    /// Everything else.
    pub failures: Vec<String>,
}

/// How an example may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Difference {
    /// `1` where a number with a fraction may be: `1.0`.
    Number,
    /// A null that means the same as nothing is left out.
    NullLeftOut,
    /// A list or map of an output that is null is empty.
    NullIsEmpty,
    /// A bare address in the place of a file is an object with that address.
    AddressIsFile,
    /// A field that the document does not have is left out.
    Undescribed,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "numbers written with a fraction: 1 as 1.0",
            Self::NullLeftOut => "nulls left out",
            Self::NullIsEmpty => "nulls written as empty lists",
            Self::AddressIsFile => "bare addresses written as files",
            Self::Undescribed => "fields left out that the document does not have",
        })
    }
}

impl Tally {
    /// Plays all examples of a model through its types.
    pub fn play(&mut self, model: &ModelSchema, types: Types) {
        for (examples, pass) in
            [(examples::of_input(model), types.input), (examples::of_output(model), types.output)]
        {
            for example in examples {
                self.play_one(types.id, &example, pass);
            }
        }
    }

    fn play_one(&mut self, id: &str, example: &Example, pass: Pass) {
        self.examples += 1;
        let place = format!("{id}: {}", example.place);
        let back = match pass(&example.value) {
            Ok(back) => back,
            Err(_) if !example.is_fit => return self.unfit.push(place),
            Err(problem) => return self.fail(place, example, &problem),
        };
        let mut found = Vec::new();
        if let Err(problem) = compare(&example.value, &back, &mut found) {
            return match example.is_fit {
                true => self.fail(place, example, &problem),
                false => self.unfit.push(place),
            };
        }
        found.sort();
        found.dedup();
        if found.is_empty() {
            self.same += 1;
        }
        for difference in found {
            self.differences.entry(difference).or_default().push(place.clone());
        }
    }

    fn fail(&mut self, place: String, example: &Example, problem: &str) {
        let shown: String = example.value.to_string().chars().take(SHOWN_CHARS_MAX).collect();
        self.failures.push(format!("{place}: {problem}: {shown}"));
    }
}

/// The counts, and the first of each kind.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} examples, {} came back as they were", self.examples, self.same)?;
        for (difference, places) in &self.differences {
            list(f, &difference.to_string(), places)?;
        }
        list(f, "examples refused that do not fit their schema", &self.unfit)?;
        list(f, "failures", &self.failures)
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, places: &[String]) -> fmt::Result {
    writeln!(f, "{:>6} {what}", places.len())?;
    let limit = if f.alternate() { usize::MAX } else { LISTED_MAX };
    for place in places.iter().take(limit) {
        writeln!(f, "         {place}")?;
    }
    Ok(())
}

fn compare(sent: &Value, back: &Value, found: &mut Vec<Difference>) -> Result<(), String> {
    match (sent, back) {
        _ if sent == back => {}
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {
            found.push(Difference::Number);
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (a, b) in a.iter().zip(b) {
                compare(a, b, found)?;
            }
        }
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a {
                match b.get(name) {
                    Some(back) => compare(value, back, found)?,
                    None if value.is_null() => found.push(Difference::NullLeftOut),
                    None => found.push(Difference::Undescribed),
                }
            }
            if let Some(name) = b.keys().find(|name| !a.contains_key(*name)) {
                return Err(format!("`{name}` was added"));
            }
        }
        (Value::Null, Value::Array(b)) if b.is_empty() => found.push(Difference::NullIsEmpty),
        (Value::Null, Value::Object(b)) if b.is_empty() => found.push(Difference::NullIsEmpty),
        (Value::String(url), Value::Object(b)) if b.len() == 1 && b.get("url") == Some(sent) => {
            debug_assert!(!url.is_empty(), "an empty text is no address");
            found.push(Difference::AddressIsFile);
        }
        _ => return Err(format!("{sent} came back as {back}")),
    }
    Ok(())
}

/// Plays the documents of these files through the types, and reports. The whole list goes to `played.txt` in the
/// folder where it is run.
#[must_use]
pub fn main(parts: &[(Vec<Types>, &[&str])]) -> ExitCode {
    let mut tally = Tally::default();
    for (types, files) in parts {
        for file in *files {
            if let Err(problem) = play_file(&mut tally, types, file) {
                tally.failures.push(format!("{file}: {problem}"));
            }
        }
    }
    // Losing the list is no reason to lose the outcome.
    let written = fs::write("played.txt", format!("{tally:#}"));
    written.unwrap_or_else(|error| eprintln!("played.txt: {error}"));
    eprint!("{tally}");
    if tally.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play_file(tally: &mut Tally, types: &[Types], file: &str) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|error| error.to_string())?;
    let entries = match parse_dump(&bytes) {
        Ok(entries) => entries.into_iter().map(|entry| entry.model).collect(),
        Err(SchemaError::NotADump) => vec![ModelSchema::parse(&bytes)],
        Err(error) => return Err(error.to_string()),
    };
    for model in entries {
        let model = model.map_err(|error| error.to_string())?;
        let id = model.endpoint_id().unwrap_or_default();
        let found = types.iter().find(|types| types.id == id);
        tally.play(&model, *found.ok_or_else(|| format!("no types of {id}"))?);
    }
    Ok(())
}

const SHOWN_CHARS_MAX: usize = 300;
const LISTED_MAX: usize = 5;
