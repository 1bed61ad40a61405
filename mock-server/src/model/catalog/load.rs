//! From the bytes of a file to entries: takes what can be used, and says what cannot.

use std::fmt;
use std::sync::Arc;

use fal_protocol::EndpointId;
use fal_protocol::schema::{ModelSchema, SchemaError};
use serde_json::Value;

use super::{Catalog, Document, Entry, Metadata, Packed};

/// What was found in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Documents that can be used.
    pub documents: usize,
    /// Those of them in which something was wrong and worked around.
    pub with_defects: usize,
    /// Endpoints without a usable document, and why it is none. They are listed all the same.
    pub unusable: Vec<(String, String)>,
}

impl Loaded {
    /// Adds what was found in another file.
    pub fn merge(&mut self, other: Self) {
        self.documents += other.documents;
        self.with_defects += other.with_defects;
        self.unusable.extend(other.unusable);
    }
}

/// Why a file has nothing for a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// It is neither a document nor a list of models.
    Schema(SchemaError),
    /// The document does not say which endpoint it is of.
    NoEndpoint,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema(error) => error.fmt(f),
            Self::NoEndpoint => f.write_str("the document names no endpoint id"),
        }
    }
}

impl std::error::Error for LoadError {}

impl Catalog {
    /// Adds what a file holds: one document, or a list of models as `GET /v1/models` answers it, with or
    /// without documents.
    ///
    /// What is there already is replaced; a list without documents adds what it says of each model.
    ///
    /// # Errors
    /// If the bytes are nothing of that. Single models of a list that cannot be used are listed in
    /// [`Loaded::unusable`].
    pub fn add(&mut self, bytes: &[u8]) -> Result<Loaded, LoadError> {
        self.add_from(bytes, false)
    }

    pub(super) fn add_bundled(&mut self, bytes: &[u8]) {
        let loaded = self.add_from(bytes, true).expect("bundled files are lists of models");
        debug_assert_eq!(loaded.unusable, [], "bundled documents can be used");
    }

    /// Adds what another catalog has, which goes before what is there.
    pub(crate) fn merge(&mut self, other: Self) {
        for (id, entry) in other.entries {
            // A list without documents is never worse than nothing.
            let known = self.entries.get(&id).filter(|_| entry.document.is_err());
            let document =
                known.map_or_else(|| entry.document.clone(), |known| known.document.clone());
            let metadata = match known.filter(|known| known.metadata.is_stated) {
                Some(known) if !entry.metadata.is_stated => known.metadata.clone(),
                _ => entry.metadata.clone(),
            };
            self.entries.insert(id.clone(), Arc::new(Entry { id, metadata, document }));
        }
        self.apps.extend(other.apps);
        self.prices.extend(other.prices);
    }

    fn add_from(&mut self, bytes: &[u8], is_bundled: bool) -> Result<Loaded, LoadError> {
        let whole: Value = serde_json::from_slice(bytes).map_err(|error| {
            LoadError::Schema(SchemaError::NotJson { problem: error.to_string().into() })
        })?;
        let mut loaded = Loaded::default();
        if let Some(models) = whole.get("models") {
            let models = models.as_array().ok_or(LoadError::Schema(SchemaError::NotADump))?;
            for (index, model) in models.iter().enumerate() {
                if let Err((name, why)) = self.add_listed(model, is_bundled, &mut loaded) {
                    let name = name.unwrap_or_else(|| format!("model {index} of the list"));
                    loaded.unusable.push((name, why));
                }
            }
            return Ok(loaded);
        }
        let schema = ModelSchema::from_value(&whole).map_err(LoadError::Schema)?;
        let id = schema.endpoint_id().and_then(endpoint_id).ok_or(LoadError::NoEndpoint)?;
        self.take(id, None, document(&whole, schema, is_bundled, &mut loaded), &whole);
        Ok(loaded)
    }

    /// One model of a list. The error has its name, if it has one.
    fn add_listed(
        &mut self,
        model: &Value,
        is_bundled: bool,
        loaded: &mut Loaded,
    ) -> Result<(), (Option<String>, String)> {
        let named = model.get("endpoint_id").and_then(Value::as_str);
        let Some(id) = named.and_then(endpoint_id) else {
            return Err((named.map(str::to_owned), "it has no valid endpoint id".to_owned()));
        };
        let metadata = model.get("metadata").filter(|metadata| metadata.is_object());
        let Some(openapi) = model.get("openapi") else {
            // A list without documents: it adds to what is known, and is never worse than nothing.
            let known = self.entries.get(&id).map(|entry| entry.document.clone());
            let document = known.unwrap_or_else(|| Err(NO_DOCUMENT.into()));
            self.take(id, metadata, document, &Value::Null);
            return Ok(());
        };
        match ModelSchema::from_value(openapi) {
            Ok(schema) => {
                let document = document(openapi, schema, is_bundled, loaded);
                self.take(id, metadata, document, openapi);
                Ok(())
            }
            Err(error) => {
                let (name, why) = (id.to_string(), error.to_string());
                let why_served = match error {
                    SchemaError::Refused { message } => message,
                    _ => NO_DOCUMENT.into(),
                };
                self.take(id, metadata, Err(why_served), openapi);
                Err((Some(name), why))
            }
        }
    }

    fn take(
        &mut self,
        id: Box<str>,
        metadata: Option<&Value>,
        document: Result<Arc<Document>, Box<str>>,
        openapi: &Value,
    ) {
        let known = self.entries.get(&id).map(|entry| &entry.metadata);
        let metadata = match (metadata, known) {
            (Some(stated), _) => Metadata::stated(&id, stated, openapi),
            (None, Some(known)) if known.is_stated => known.clone(),
            (None, _) => Metadata::derived(&id, openapi),
        };
        if let Ok(parsed) = EndpointId::parse(&id) {
            self.apps.insert(parsed.app().into());
        }
        self.entries.insert(id.clone(), Arc::new(Entry { id, metadata, document }));
    }
}

fn document(
    value: &Value,
    schema: ModelSchema,
    is_bundled: bool,
    loaded: &mut Loaded,
) -> Result<Arc<Document>, Box<str>> {
    loaded.documents += 1;
    loaded.with_defects += usize::from(!schema.defects().is_empty());
    let text = Packed::pack(value.to_string().as_bytes());
    Ok(Arc::new(Document { schema, text, is_bundled }))
}

/// The id in the form in which calls name it.
fn endpoint_id(text: &str) -> Option<Box<str>> {
    EndpointId::parse(text).ok().map(|id| id.as_str().into())
}

/// What the service says where it has no document.
///
/// Source: entries of served lists (observed).
const NO_DOCUMENT: &str = "OpenAPI schema not available for this endpoint";
