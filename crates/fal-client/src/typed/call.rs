//! What a call is made of, and what it ends with.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use fal_protocol::EndpointId;
use fal_protocol::error::InputError;
use serde::de::DeserializeOwned;

use super::Endpoint;
use crate::error::Error;
use crate::input::{Input, IntoInput};
use crate::output::Output;

/// What can be called: an endpoint's id, whose output is untyped, or an input that implements [`Endpoint`].
pub trait Call {
    /// What awaiting the call gives.
    type Output: FromOutput;

    /// The endpoint's id.
    fn endpoint(&self) -> &str;

    /// The input, if it is part of the call.
    ///
    /// # Errors
    /// [`InputError`] when it is not within its limits, or cannot be JSON.
    fn into_input(self) -> Result<Option<Input>, InputError>;
}

impl<E: Endpoint> Call for E {
    type Output = Typed<E::Output>;

    fn endpoint(&self) -> &str {
        E::ID
    }

    fn into_input(self) -> Result<Option<Input>, InputError> {
        self.check()?;
        IntoInput::into_input(self).map(Some)
    }
}

/// An input that is sent without regard to the limits of its document; see [`Endpoint::unchecked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unchecked<E>(pub(super) E);

impl<E: Endpoint> Call for Unchecked<E> {
    type Output = Typed<E::Output>;

    fn endpoint(&self) -> &str {
        E::ID
    }

    fn into_input(self) -> Result<Option<Input>, InputError> {
        IntoInput::into_input(self.0).map(Some)
    }
}

macro_rules! call_by_id {
    ($($type:ty),*) => {
        $(impl Call for $type {
            type Output = Output;

            fn endpoint(&self) -> &str {
                self.as_ref()
            }

            fn into_input(self) -> Result<Option<Input>, InputError> {
                Ok(None)
            }
        })*
    };
}

call_by_id!(
    &str,
    &&str,
    String,
    &String,
    Box<str>,
    &Box<str>,
    Arc<str>,
    &Arc<str>,
    Cow<'_, str>,
    &Cow<'_, str>
);

macro_rules! call_by_parsed_id {
    ($($type:ty),*) => {
        $(impl Call for $type {
            type Output = Output;

            fn endpoint(&self) -> &str {
                self.as_str()
            }

            fn into_input(self) -> Result<Option<Input>, InputError> {
                Ok(None)
            }
        })*
    };
}

call_by_parsed_id!(EndpointId, &EndpointId);

/// What a call can end with: an untyped [`Output`], or one that is [`Typed`].
pub trait FromOutput: Sized + Send + 'static {
    /// Reads an output.
    ///
    /// # Errors
    /// [`Error::Decode`] when it does not fit.
    fn from_output(output: Output) -> Result<Self, Error>;
}

impl FromOutput for Output {
    fn from_output(output: Output) -> Result<Self, Error> {
        Ok(output)
    }
}

impl<T: DeserializeOwned + Send + 'static> FromOutput for Typed<T> {
    fn from_output(output: Output) -> Result<Self, Error> {
        Ok(Self { typed_value: output.json()?, raw_output: output })
    }
}

/// An output of a known type, with the output as it came: request id, billed units, and fields that the type
/// does not have.
#[derive(Clone, PartialEq)]
pub struct Typed<T> {
    typed_value: T,
    raw_output: Output,
}

impl<T> Typed<T> {
    /// The output as it came.
    #[must_use]
    pub const fn raw(&self) -> &Output {
        &self.raw_output
    }

    /// The value alone.
    #[must_use]
    pub fn into_value(self) -> T {
        self.typed_value
    }

    /// The value, and the output as it came.
    #[must_use]
    pub fn into_parts(self) -> (T, Output) {
        (self.typed_value, self.raw_output)
    }
}

impl<T> Deref for Typed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.typed_value
    }
}

impl<T: fmt::Debug> fmt::Debug for Typed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed")
            .field("value", &self.typed_value)
            .field("request_id", &self.raw_output.request_id())
            .finish_non_exhaustive()
    }
}
