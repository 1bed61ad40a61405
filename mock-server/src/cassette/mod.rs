//! Recordings of the service: what was asked and answered, in files that people read and compare.
//!
//! A directory has a cassette for each endpoint, `queue.fal.run/fal-ai/flux/dev.json`: a list of entries, sorted by what
//! was asked, those of one request in the order of their answers. Bodies that are no short text lie under `files/`, named
//! by their digest; `files.json` says which address of the service each stands for. Addresses are the real ones, request
//! ids are holes, secrets are not there.

pub(crate) mod address;
mod content;
mod json;
mod redact;
mod store;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(crate) use content::{Content, Encoded, fill_id, hole_id};
pub(crate) use redact::Redactor;
pub(crate) use store::{Handle, Store};

/// The recordings of one endpoint.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cassette {
    /// The version of the format: [`VERSION`].
    pub(crate) fal_mock_cassette: u32,
    pub(crate) entries: Vec<Entry>,
}

/// One request and its answer; of a queued one all that came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) request: Asked,
    pub(crate) response: Answered,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<Job>,
}

/// What was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) query: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Content>,
}

/// What was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answered {
    /// From the request to the head of the answer; in a job from its submit.
    pub(crate) after_ms: u64,
    pub(crate) status: u16,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Content>,
    /// What came instead of a body: pieces with their times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chunks: Option<Vec<Chunk>>,
}

/// A piece of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chunk {
    /// Since the request.
    pub(crate) at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// What is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base64: Option<String>,
}

/// What came of a queued request, by everything that its caller asked. Times count from the submit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    /// States and positions before the end, as they were seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<Step>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) logs: Vec<LogLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<End>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Answered>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancel: Option<Answered>,
}

/// A state that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) after_ms: u64,
    pub(crate) status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) queue_position: Option<u64>,
}

/// A line of a log, and when it was first seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogLine {
    pub(crate) after_ms: u64,
    pub(crate) line: Box<RawValue>,
}

/// The last status.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    pub(crate) after_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metrics: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_type: Option<String>,
}

impl Cassette {
    /// # Errors
    /// What is wrong, and where in the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let cassette: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match cassette.fal_mock_cassette {
            VERSION => Ok(cassette),
            other => Err(format!("version {other} of the format is not known, only {VERSION}")),
        }
    }

    pub(crate) fn render(&self) -> String {
        json::pretty(&serde_json::to_string(self).expect("all of it is JSON"))
    }
}

/// Milliseconds, as they are written.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The version of the format.
pub(crate) const VERSION: u32 = 1;
