use bytes::Bytes;
use fal_protocol::Answer;
use fal_protocol::queue::{Finished, Handle};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::error::DecodeError;
use crate::files::{self, MediaFile};

/// What a model made: its output as it came, with the request id and the billed units.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
/// #[derive(serde::Deserialize)]
/// struct Images { images: Vec<fal_client::media::Image> }
///
/// let output = client.run("fal-ai/flux/dev").input(serde_json::json!({ "prompt": "a cat" })).await?;
/// let typed: Images = output.json()?;
/// let png = client.download(&typed.images[0]).await?;
/// assert_eq!((&png[..4], typed.images[0].width), (&b"\x89PNG"[..], Some(1024)));
/// assert!(output.request_id().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    answer: Answer,
    handle: Option<Handle>,
    metrics: Value,
}

impl Output {
    pub(crate) const fn direct(answer: Answer) -> Self {
        Self { answer, handle: None, metrics: Value::Null }
    }

    pub(crate) const fn queued(answer: Answer, handle: Handle, metrics: Value) -> Self {
        Self { answer, handle: Some(handle), metrics }
    }

    /// Reads the output as a type; it may borrow from the body (`&str`, `&RawValue`).
    ///
    /// # Errors
    /// [`DecodeError`], which names the place that did not fit and holds the output whole.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DecodeError> {
        let mut reader = serde_json::Deserializer::from_slice(&self.answer.body);
        serde_path_to_error::deserialize(&mut reader).map_err(|e| DecodeError::new(&e, self))
    }

    /// Reads the output as any JSON.
    ///
    /// # Errors
    /// [`DecodeError`] when it is no JSON: some models answer other media.
    pub fn value(&self) -> Result<Value, DecodeError> {
        self.json()
    }

    /// The output as it came.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.answer.body
    }

    /// The output as it came, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.answer.body
    }

    /// The request id: of the job, else of the answer.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.handle.as_ref().map(|handle| &*handle.request_id).or_else(|| self.answer.request_id())
    }

    /// Billed units, if the service told a number that can be billed.
    #[must_use]
    pub fn billable_units(&self) -> Option<f64> {
        self.answer.billable_units()
    }

    /// Which back end answered, if the service told; an open text.
    #[must_use]
    pub fn served_from(&self) -> Option<&str> {
        self.answer.served_from()
    }

    /// The hints that the runner holds now: what a later call may ask for as its `hint`.
    pub fn runner_hints(&self) -> impl Iterator<Item = &str> {
        self.answer.runner_hints()
    }

    /// The job; `None` after a direct run.
    #[must_use]
    pub const fn handle(&self) -> Option<&Handle> {
        self.handle.as_ref()
    }

    /// How long the model ran, in seconds, if the service told.
    #[must_use]
    pub fn inference_time(&self) -> Option<f64> {
        self.metrics.get("inference_time")?.as_f64()
    }

    /// The model's HTTP status, 2xx.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.answer.status
    }

    /// All headers of the answer.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.answer.headers
    }

    /// The media type, such as `application/json`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.answer.content_type()
    }

    /// Every media file that the output names, in order; empty if it is no JSON.
    #[must_use]
    pub fn files(&self) -> Vec<MediaFile> {
        self.value().map(|value| files::of(&value)).unwrap_or_default()
    }
}

impl From<Finished> for Output {
    fn from(finished: Finished) -> Self {
        Self::queued(finished.answer, finished.handle, finished.metrics)
    }
}
