//! Calls of which the types are known: what `fal-codegen` writes, and what it is written with.
//!
//! An input that implements [`Endpoint`] knows its model and what comes back. Give it to
//! [`Client::subscribe`](crate::Client::subscribe), [`run`](crate::Client::run) or
//! [`stream`](crate::Client::stream) in the place of an id, and the result is [`Typed`]:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = fal_mock::MockFal::builder().instant().start().await?;
//! # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
//! use fal_client::media::Image;
//! use fal_client::typed::Endpoint;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize)]
//! struct FluxDev { prompt: String }
//!
//! #[derive(Deserialize)]
//! struct Pictures { images: Vec<Image> }
//!
//! impl Endpoint for FluxDev {
//!     type Output = Pictures;
//!     const ID: &'static str = "fal-ai/flux/dev";
//! }
//!
//! let output = client.subscribe(FluxDev { prompt: "a cat".into() }).await?;
//! println!("{} by job {:?}", output.images[0].url, output.raw().request_id());
//! # Ok(())
//! # }
//! ```
//!
//! An output that does not fit its type is [`Error::Decode`](crate::Error::Decode), which has it whole.

mod call;
mod file;
pub mod limits;

use serde::Deserializer;
use serde::de::DeserializeOwned;

pub use call::{Call, FromOutput, Typed, Unchecked};
pub use file::FileOrUrl;
pub use limits::{Check, Range};

#[doc(hidden)]
pub use crate::media::{Audio, File, Image, Video};
#[doc(hidden)]
pub use fal_protocol::error::InputError;
#[doc(hidden)]
pub use serde::{self, Deserialize, Serialize};
#[doc(hidden)]
pub use serde_json::Value;
#[doc(hidden)]
pub use std::collections::BTreeMap;

/// An input that knows which model it is for, and what that model gives.
pub trait Endpoint: Serialize {
    /// What the model gives.
    type Output: DeserializeOwned + Send + 'static;

    /// The model's id, such as `fal-ai/flux/dev`.
    const ID: &'static str;

    /// Finds out whether the input is within the limits of the model's document: ranges, lengths, counts. Every call
    /// does so before anything is sent.
    ///
    /// # Errors
    /// [`InputError::Field`], which names the field and what is allowed.
    fn check(&self) -> Result<(), InputError> {
        Ok(())
    }

    /// The same input, to be sent as it is: the service has the last word on what it takes, and documents age.
    fn unchecked(self) -> Unchecked<Self>
    where
        Self: Sized,
    {
        Unchecked(self)
    }
}

/// Reads a list or a map that is empty when it is null.
///
/// # Errors
/// Those of `T`.
pub fn or_empty<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads a field in which null is something else than missing.
///
/// # Errors
/// Those of `T`.
pub fn stated<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
