//! Checks of inputs.

use std::fmt;

use fal_protocol::EndpointId;
use fal_protocol::error::{FieldError, InputError};
use fal_protocol::schema::Review;
use serde::Serialize;
use serde_json::Value;

use super::{Mode, Model};
use crate::error::Error;
use crate::input::{Input, Preview};
use crate::model::outline::outline;

impl Model {
    /// Whether an input fits. What it returns are warnings, such as fields that the model does not have.
    ///
    /// Takes anything that is `Serialize`, and an [`Input`] whose files are not uploaded yet: they count as the
    /// addresses that they become. Costs about as much as encoding the input; a file inside it, as a data URI, is
    /// not copied.
    ///
    /// # Errors
    /// [`Error::Check`] with everything that is wrong, and [`ErrorKind::Input`] when the input cannot be JSON.
    ///
    /// [`ErrorKind::Input`]: crate::ErrorKind::Input
    pub fn check(&self, input: &(impl Checkable + ?Sized)) -> Result<Review, Error> {
        self.check_value(&input.outline()?)
    }

    /// The same for JSON that is at hand, which is not copied at all.
    ///
    /// # Errors
    /// [`Error::Check`] with everything that is wrong.
    pub fn check_value(&self, input: &Value) -> Result<Review, Error> {
        let review = self.schema().review(input, self.mode);
        if review.is_valid() {
            return Ok(review);
        }
        let report = self.schema().validate(input, self.mode);
        let fields = report.problems().iter().map(FieldError::from).collect();
        Err(Error::Check(Box::new(CheckError {
            endpoint: self.endpoint().clone(),
            review,
            fields,
        })))
    }

    /// How closely it checks.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }
}

/// What can be checked: anything that is `Serialize`, and an [`Input`] with files.
pub trait Checkable {
    /// The input as JSON, without the ends of texts of more than [`TEXT_BYTES_MAX`](super::TEXT_BYTES_MAX).
    ///
    /// # Errors
    /// [`InputError::Body`] when it cannot be JSON.
    fn outline(&self) -> Result<Value, InputError>;
}

impl<T: Serialize + ?Sized> Checkable for T {
    fn outline(&self) -> Result<Value, InputError> {
        outline(self)
    }
}

impl Checkable for Input {
    fn outline(&self) -> Result<Value, InputError> {
        outline(&Preview(self))
    }
}

/// An input that its model would refuse. Nothing was sent.
///
/// Printed, it is a line for what it is about, and an indented one for each problem and warning.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckError {
    endpoint: EndpointId,
    review: Review,
    fields: Box<[FieldError]>,
}

impl CheckError {
    /// The model that would refuse it.
    #[must_use]
    pub const fn endpoint(&self) -> &EndpointId {
        &self.endpoint
    }

    /// What is wrong, with what is allowed and what may have been meant.
    #[must_use]
    pub const fn review(&self) -> &Review {
        &self.review
    }

    /// What is wrong in the service's own words: what it would have answered.
    #[must_use]
    pub const fn fields(&self) -> &[FieldError] {
        &self.fields
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the input does not fit {}:", self.endpoint)?;
        for line in self.review.to_string().lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CheckError {}
