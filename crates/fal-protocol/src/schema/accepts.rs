//! Whether a value fits one schema of a document.

use serde_json::Value;

use super::{Mode, Schema};

impl Schema<'_> {
    /// Whether a value fits this schema, by the rules and limits of [`ModelSchema::is_valid`].
    ///
    /// Texts beside a reference change nothing; restrictions beside it count. Allocates nothing.
    ///
    /// [`ModelSchema::is_valid`]: super::ModelSchema::is_valid
    #[must_use]
    pub fn accepts(self, value: &Value, mode: Mode) -> bool {
        self.model.fits(self.id, value, mode)
    }
}
