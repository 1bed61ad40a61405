//! What a model takes and gives, and whether an input fits, found out before it costs money.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = fal_mock::MockFal::builder().instant().start().await?;
//! # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
//! use serde_json::json;
//!
//! let model = client.model("fal-ai/flux/schnell").await?;
//! let problem = model.check(&json!({ "promt": "a cat", "num_images": 9 })).unwrap_err();
//! assert_eq!(
//!     problem.to_string(),
//!     "the input does not fit fal-ai/flux/schnell:\n  \
//!      prompt: is required; allowed: string; did you mean it by `promt`?\n  \
//!      num_images: 9 is not allowed; allowed: 1 to 4"
//! );
//!
//! // The same before each submit, and nothing is submitted that would be refused.
//! let input = json!({ "prompt": "a cat" });
//! let output = client.subscribe("fal-ai/flux/schnell").input(input).checked(&model).await?;
//! # assert!(output.request_id().is_some());
//! # Ok(())
//! # }
//! ```
//!
//! | Where documents come from | How |
//! |---|---|
//! | the service | the default; kept for an hour, at most [`MODELS_MAX`] of them, shared by all clones of a client |
//! | a folder, a document or a dump on disk, without the service | [`Documents::at`], or the variable `FAL_SCHEMA` with `Client::from_env` |
//! | the same, and the service for the rest | [`Documents::or_service`] |
//! | bytes at hand | [`Model::parse`] |

mod check;
mod documents;
mod outline;

use std::fmt;
use std::future::IntoFuture;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fal_protocol::EndpointId;

use crate::client::Client;
use crate::error::Error;
use crate::platform::PLATFORM_DEADLINE_DEFAULT;

pub use check::{CheckError, Checkable};
pub(crate) use documents::Kept;
pub use documents::{DOCUMENT_BYTES_MAX, Documents, FILES_MAX, MODELS_MAX, TIME_TO_LIVE_DEFAULT};
pub use fal_protocol::schema::{Finding, Mode, ModelSchema, ProblemKind, Review};
pub use outline::TEXT_BYTES_MAX;

/// One model: what its document says, and checks by it. Cheap to clone.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
    mode: Mode,
}

struct Inner {
    endpoint: EndpointId,
    schema: ModelSchema,
    document: Box<str>,
}

impl Model {
    /// A model from the bytes of its document, or of a dump of the catalogue that has it.
    ///
    /// # Errors
    /// [`Error::Document`] when they are neither, or of other models; [`ErrorKind::Input`] when `endpoint` is no
    /// id.
    ///
    /// [`ErrorKind::Input`]: crate::ErrorKind::Input
    pub fn parse(endpoint: impl AsRef<str>, document: &[u8]) -> Result<Self, Error> {
        let endpoint = EndpointId::parse(endpoint.as_ref())?;
        let (schema, document) = documents::read(&endpoint, document)
            .map_err(|problem| Error::document(&endpoint, problem))?;
        Ok(Self::new(endpoint, schema, document))
    }

    fn new(endpoint: EndpointId, schema: ModelSchema, document: Box<str>) -> Self {
        Self { inner: Arc::new(Inner { endpoint, schema, document }), mode: Mode::AsFal }
    }

    /// The same with another closeness of checks. Default: [`Mode::AsFal`], what the service itself does.
    ///
    /// [`Mode::Lenient`] lets pass what a newer version of the model may accept, [`Mode::Strict`] takes the
    /// document by its word, and refuses fields that it does not have.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The model's id.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointId {
        &self.inner.endpoint
    }

    /// What the document says.
    #[must_use]
    pub fn schema(&self) -> &ModelSchema {
        &self.inner.schema
    }

    /// The document itself: OpenAPI, as JSON.
    #[must_use]
    pub fn document(&self) -> &str {
        &self.inner.document
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("endpoint", &self.inner.endpoint)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// A model to be looked up: `.await` it.
///
/// # Errors
/// [`Error::Document`] when there is no document of it or none that can be used, [`Error::File`] when a file
/// cannot be read, [`ErrorKind::Input`] when the id is none, and every kind of a read.
///
/// [`ErrorKind::Input`]: crate::ErrorKind::Input
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct ModelRequest {
    client: Client,
    endpoint: String,
    path: Option<PathBuf>,
    refresh: bool,
    deadline: Duration,
}

impl ModelRequest {
    pub(crate) fn new(client: Client, endpoint: &str) -> Self {
        let (endpoint, deadline) = (endpoint.to_owned(), PLATFORM_DEADLINE_DEFAULT);
        Self { client, endpoint, path: None, refresh: false, deadline }
    }

    /// Takes it from this document, dump, or folder of them, whatever the client's [`Documents`] are.
    pub fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Asks anew, even if it is kept.
    pub const fn refresh(mut self) -> Self {
        self.refresh = true;
        self
    }

    /// Sets when to give up. Default: 2 minutes, repeats included.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl IntoFuture for ModelRequest {
    type Output = Result<Model, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let endpoint = EndpointId::parse(&self.endpoint)?;
            match self.path {
                Some(path) => documents::load(endpoint, path).await,
                None => documents::find(&self.client, endpoint, self.refresh, self.deadline).await,
            }
        })
    }
}
