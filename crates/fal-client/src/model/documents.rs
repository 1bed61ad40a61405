//! Where documents come from, and how long they are kept.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fal_protocol::EndpointId;
use fal_protocol::schema::ModelSchema;
use serde_json::Value;

use super::Model;
use crate::client::Client;
use crate::drive::now;
use crate::error::Error;

/// Where a client takes the documents of models from. Default: from the service.
#[derive(Clone, Debug)]
#[must_use = "give it to the builder: `Builder::documents`"]
pub struct Documents {
    path: Option<PathBuf>,
    asks: bool,
    time_to_live: Duration,
}

impl Default for Documents {
    fn default() -> Self {
        Self { path: None, asks: true, time_to_live: TIME_TO_LIVE_DEFAULT }
    }
}

impl Documents {
    /// From here alone, without the network: a document, a dump of the catalogue, or a folder of either.
    ///
    /// In a folder, `owner__name__variant.json` and `owner/name/variant.json` are found by their name; else all
    /// files that end in `.json` are looked into, at most [`FILES_MAX`].
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), asks: false, ..Self::default() }
    }

    /// From the service too, where the path has none.
    pub const fn or_service(mut self) -> Self {
        self.asks = true;
        self
    }

    /// Sets how long a document is kept before it is looked for again. Default [`TIME_TO_LIVE_DEFAULT`]. If
    /// that fails, the old one is used.
    pub const fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = time;
        self
    }
}

/// The documents that are kept, the least recently used first. Shared by the clones of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    model: Model,
    /// When it came.
    at: Instant,
}

impl Kept {
    fn find(&self, endpoint: &EndpointId) -> Option<(Model, Instant)> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = entries.iter().position(|entry| entry.model.endpoint() == endpoint)?;
        let entry = entries.remove(at);
        let found = (entry.model.clone(), entry.at);
        entries.push(entry);
        Some(found)
    }

    fn keep(&self, model: Model, at: Instant) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.model.endpoint() != model.endpoint());
        if entries.len() >= MODELS_MAX {
            entries.remove(0);
        }
        entries.push(Entry { model, at });
    }
}

/// A model as the client's settings say: kept, from disk, from the service.
pub(super) async fn find(
    client: &Client,
    endpoint: EndpointId,
    refresh: bool,
    deadline: Duration,
) -> Result<Model, Error> {
    let (documents, kept) = client.documents();
    let old = kept.find(&endpoint);
    if let Some((model, at)) = &old
        && !refresh
        && now().saturating_duration_since(*at) < documents.time_to_live
    {
        return Ok(model.clone());
    }
    let found = match &documents.path {
        None => None,
        Some(path) => match load(endpoint.clone(), path.clone()).await {
            Err(Error::Document { .. }) if documents.asks => None,
            found => Some(found),
        },
    };
    let found = match found {
        Some(found) => found,
        None => ask(client, endpoint, deadline).await,
    };
    match (found, old) {
        (Ok(model), _) => {
            kept.keep(model.clone(), now());
            Ok(model)
        }
        // The service's word that there is none counts; an outage does not.
        (Err(error @ Error::Document { .. }), _) => Err(error),
        (Err(error), Some((model, _))) if !refresh => {
            tracing::warn!(endpoint = %model.endpoint(), %error, "an old document is used on");
            Ok(model)
        }
        (Err(error), _) => Err(error),
    }
}

async fn ask(client: &Client, endpoint: EndpointId, deadline: Duration) -> Result<Model, Error> {
    let found = client.platform().deadline(deadline).model(endpoint.as_str(), true).await?;
    let schema = match found.map(|model| model.openapi) {
        None => Err("the service knows no such model".to_owned()),
        Some(None) => Err("the service sent none".to_owned()),
        Some(Some(Err(error))) => Err(error.to_string()),
        Some(Some(Ok(document))) => match document.schema() {
            Ok(schema) => Ok((schema, document.as_str().into())),
            Err(error) => Err(error.to_string()),
        },
    };
    let (schema, document) = schema.map_err(|problem| Error::document(&endpoint, problem))?;
    Ok(Model::new(endpoint, schema, document))
}

/// Reads from disk, away from the threads that must not wait.
pub(super) async fn load(endpoint: EndpointId, path: PathBuf) -> Result<Model, Error> {
    let reading = tokio::task::spawn_blocking(move || read_path(endpoint, &path));
    reading.await.unwrap_or_else(|_| Err(Error::config("the runtime ended while it read a file")))
}

fn read_path(endpoint: EndpointId, path: &Path) -> Result<Model, Error> {
    let kind = fs::metadata(path).map_err(|error| Error::file(path, error))?;
    let model = |file: &Path| {
        let bytes = read_file(file).map_err(|error| Error::file(file, error))?;
        let (schema, document) = read(&endpoint, &bytes).map_err(|problem| {
            Error::document(&endpoint, format!("{}: {problem}", file.display()))
        })?;
        Ok(Model::new(endpoint.clone(), schema, document))
    };
    if !kind.is_dir() {
        return model(path);
    }
    let id = endpoint.as_str();
    for name in [format!("{}.json", id.replace('/', "__")), format!("{id}.json")] {
        let file = path.join(name);
        if file.is_file() {
            return model(&file);
        }
    }
    let listing = fs::read_dir(path).map_err(|error| Error::file(path, error))?;
    let mut files: Vec<PathBuf> = listing
        .take(FILES_MAX)
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| file.extension().is_some_and(|ending| ending == "json"))
        .collect();
    files.sort_unstable();
    for file in files {
        // A file that is something else is no reason to refuse the one that is looked for.
        let Ok(bytes) = read_file(&file) else { continue };
        let names_it = std::str::from_utf8(&bytes).is_ok_and(|text| text.contains(id));
        if names_it && let Ok((schema, document)) = read(&endpoint, &bytes) {
            return Ok(Model::new(endpoint, schema, document));
        }
    }
    let problem = format!("there is none in {}", path.display());
    Err(Error::document(&endpoint, problem))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = DOCUMENT_BYTES_MAX as u64 + 1;
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let problem = format!("it is longer than {DOCUMENT_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

/// The schema of one endpoint in a document or in a dump of many, and its document as text.
pub(super) fn read(endpoint: &EndpointId, bytes: &[u8]) -> Result<(ModelSchema, Box<str>), String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|error| format!("no JSON: {error}"))?;
    let document = match json.get("models").and_then(Value::as_array) {
        None => &json,
        Some(models) => {
            let is_it = |model: &&Value| model["endpoint_id"] == endpoint.as_str();
            let entry = models.iter().find(is_it);
            let found = entry.and_then(|entry| entry.get("openapi"));
            found.ok_or_else(|| format!("it is not among the {} models there", models.len()))?
        }
    };
    let schema = ModelSchema::from_value(document).map_err(|error| error.to_string())?;
    match schema.endpoint_id() {
        Some(other) if other != endpoint.as_str() => Err(format!("it is of {other}")),
        _ => Ok((schema, document.to_string().into())),
    }
}

/// Documents that a client keeps. The least recently used one makes room.
pub const MODELS_MAX: usize = 64;

/// How long a document is kept unless told otherwise: an hour.
///
/// Of 660 documents 248 got a field within five months, and 33 lost one (observed): an hour is short against that, and
/// long against a call.
pub const TIME_TO_LIVE_DEFAULT: Duration = Duration::from_secs(3600);

/// Files of a folder that are looked into for one model: 10,000.
pub const FILES_MAX: usize = 10_000;

/// Longest document or dump that is read from disk: 256 MiB. The whole catalogue has about 60.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 20;
