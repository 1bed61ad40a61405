//! The catalogue.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{next_cursor, text, texts};
use crate::EndpointId;
use crate::error::ProtocolError;
use crate::schema::{ModelSchema, SchemaError};

/// Which models, and how much of each. The default lists all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelsQuery {
    /// Words to find in name, description and category. The wire's `q`.
    pub text: Option<String>,
    /// A category, such as `text-to-image`. The set is open.
    pub category: Option<String>,
    /// `active` or `deprecated`. `None`: both.
    pub status: Option<String>,
    /// These alone, at most [`IDS_MAX`](super::IDS_MAX). Together with the others it narrows the result.
    pub endpoint_ids: Vec<EndpointId>,
    /// Models on a page, from 1. The service has a ceiling that it does not publish. Default: its own
    /// choice, and [`EXPANDED_LIMIT`](super::EXPANDED_LIMIT) with documents.
    pub limit: Option<u32>,
    /// Which page: what the one before said. `None`: the first.
    pub cursor: Option<Box<str>>,
    /// Puts each model's document in.
    pub openapi: bool,
    /// Puts each model's readiness for enterprises in.
    pub enterprise_status: bool,
}

/// One page of the catalogue. The order is by popularity and shifts between days (observed).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelsPage {
    /// The models.
    pub models: Vec<Model>,
    /// Where the next page begins; `None` on the last one.
    pub next_cursor: Option<Box<str>>,
}

impl ModelsPage {
    /// Reads a page. Entries without an id are passed over.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is no object with a list of models.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        const EXPECTED: &str = "a page of models";
        // Documents stay text: there may be ten of them, each as long as a book.
        #[derive(Deserialize)]
        struct Wire {
            models: Vec<Box<RawValue>>,
            #[serde(default)]
            next_cursor: Value,
            #[serde(default)]
            has_more: Value,
        }
        let wire: Wire = serde_json::from_slice(body)
            .map_err(|error| ProtocolError::body(EXPECTED, error, body))?;
        let tail =
            serde_json::json!({ "next_cursor": wire.next_cursor, "has_more": wire.has_more });
        let models = wire.models.iter().filter_map(|model| Model::read(model.get())).collect();
        Ok(Self { models, next_cursor: next_cursor(&tail) })
    }
}

/// One endpoint of the catalogue.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// Its id, such as `fal-ai/flux/dev`.
    pub endpoint_id: Box<str>,
    /// What the catalogue says of it. `None` for an id that was asked for and is not in it.
    pub metadata: Option<Metadata>,
    /// Its document, where it was asked for: one in a hundred is not to be had (observed).
    pub openapi: Option<Result<Document, ExpansionError>>,
    /// `ready`, `pending`, or another word, where it was asked for.
    pub enterprise_status: Option<Result<Box<str>, ExpansionError>>,
}

impl Model {
    fn read(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            endpoint_id: Box<str>,
            #[serde(default)]
            metadata: Value,
            #[serde(default, borrow)]
            openapi: Option<&'a RawValue>,
            #[serde(default)]
            enterprise_status: Value,
        }
        let wire: Wire<'_> = serde_json::from_str(json).ok()?;
        let enterprise_status = match &wire.enterprise_status {
            Value::String(status) => Some(Ok(status.as_str().into())),
            other => ExpansionError::read(other).map(Err),
        };
        Some(Self {
            endpoint_id: wire.endpoint_id,
            metadata: wire.metadata.is_object().then(|| Metadata::read(&wire.metadata)),
            openapi: wire.openapi.and_then(Document::read),
            enterprise_status,
        })
    }
}

/// What the catalogue says of a model. Only those fields are left out that say nothing any more.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// Its name for people.
    pub display_name: Option<Box<str>>,
    /// Such as `text-to-image`; an open set.
    pub category: Option<Box<str>>,
    /// What it does.
    pub description: Option<Box<str>>,
    /// `active`, `deprecated`, or another word.
    pub status: Option<Box<str>>,
    /// Such as `new`.
    pub tags: Vec<Box<str>>,
    /// When the entry was changed, as ISO 8601.
    pub updated_at: Option<Box<str>>,
    /// When the model was added, as ISO 8601.
    pub date: Option<Box<str>>,
    /// Whether the caller likes it; `None` without a key.
    pub is_favorited: Option<bool>,
    /// Where it is run.
    pub model_url: Option<Box<str>>,
    /// Where it is streamed, if it streams.
    pub stream_url: Option<Box<str>>,
    /// A picture.
    pub thumbnail_url: Option<Box<str>>,
    /// A moving picture.
    pub thumbnail_animated_url: Option<Box<str>>,
    /// Its source.
    pub github_url: Option<Box<str>>,
    /// `commercial`, `research`, `private`, or another word.
    pub license_type: Option<Box<str>>,
    /// `inference`, `training`, or another word.
    pub kind: Option<Box<str>>,
    /// The family that it belongs to.
    pub group: Option<Group>,
    /// Endpoints that train for it.
    pub training_endpoint_ids: Vec<Box<str>>,
    /// Endpoints that use what it trains.
    pub inference_endpoint_ids: Vec<Box<str>>,
    /// How long a call takes, in minutes.
    pub duration_estimate: Option<f64>,
}

impl Metadata {
    fn read(value: &Value) -> Self {
        let text = |name: &str| text(value, name);
        let group = value.get("group").and_then(|group| {
            Some(Group { key: self::text(group, "key")?, label: self::text(group, "label") })
        });
        Self {
            display_name: text("display_name"),
            category: text("category"),
            description: text("description"),
            status: text("status"),
            tags: texts(value, "tags"),
            updated_at: text("updated_at"),
            date: text("date"),
            is_favorited: value.get("is_favorited").and_then(Value::as_bool),
            model_url: text("model_url"),
            stream_url: text("stream_url"),
            thumbnail_url: text("thumbnail_url"),
            thumbnail_animated_url: text("thumbnail_animated_url"),
            github_url: text("github_url"),
            license_type: text("license_type"),
            kind: text("kind"),
            group,
            training_endpoint_ids: texts(value, "training_endpoint_ids"),
            inference_endpoint_ids: texts(value, "inference_endpoint_ids"),
            duration_estimate: value.get("duration_estimate").and_then(Value::as_f64),
        }
    }

    /// Whether the service is about to drop it.
    #[must_use]
    pub fn is_deprecated(&self) -> bool {
        self.status.as_deref() == Some("deprecated")
    }
}

/// A family of models.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// Its name for programs.
    pub key: Box<str>,
    /// What sets this model apart in it.
    pub label: Option<Box<str>>,
}

/// The OpenAPI document of a model's queue, as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Document(Box<str>);

impl Document {
    fn read(raw: &RawValue) -> Option<Result<Self, ExpansionError>> {
        #[derive(Deserialize)]
        struct Shape {
            #[serde(default)]
            error: Value,
            paths: Option<IgnoredAny>,
        }
        match serde_json::from_str::<Shape>(raw.get()).ok()? {
            // A document has paths, whatever else somebody may have put into it.
            Shape { paths: Some(_), .. } => Some(Ok(Self(raw.get().into()))),
            Shape { error, .. } => match ExpansionError::of(&error) {
                Some(error) => Some(Err(error)),
                None => Some(Ok(Self(raw.get().into()))),
            },
        }
    }

    /// Its JSON, as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the model takes and gives.
    ///
    /// # Errors
    /// [`SchemaError`] when the document has neither.
    pub fn schema(&self) -> Result<ModelSchema, SchemaError> {
        ModelSchema::parse(self.0.as_bytes())
    }
}

/// Prints the length only.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.0.len())
    }
}

/// Why one part of one entry is missing from an answer that is well otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpansionError {
    /// `expansion_failed`, or another word.
    pub code: Box<str>,
    /// For people.
    pub message: Box<str>,
}

impl ExpansionError {
    /// Reads `{"error": {"code", "message"}}`.
    fn read(value: &Value) -> Option<Self> {
        Self::of(value.get("error")?)
    }

    fn of(error: &Value) -> Option<Self> {
        let code = text(error, "code").or_else(|| text(error, "type"))?;
        let message = text(error, "message").unwrap_or_else(|| code.clone());
        Some(Self { code, message })
    }
}

impl fmt::Display for ExpansionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl std::error::Error for ExpansionError {}
