//! What a model takes and gives, as its OpenAPI document says, and whether an input fits.
//!
//! ```
//! use fal_protocol::schema::{Mode, ModelSchema};
//! use serde_json::json;
//!
//! let document = json!({
//!     "paths": {"/acme/paint": {"post": {"requestBody": {"content": {"application/json": {
//!         "schema": {"$ref": "#/components/schemas/PaintInput"}
//!     }}}}}},
//!     "components": {"schemas": {"PaintInput": {
//!         "type": "object",
//!         "required": ["prompt"],
//!         "properties": {
//!             "prompt": {"type": "string"},
//!             "steps": {"type": "integer", "minimum": 1, "default": 28}
//!         }
//!     }}}
//! });
//! let model = ModelSchema::from_value(&document)?;
//! let input = json!({"steps": 0});
//! let report = model.validate(&input, Mode::AsFal);
//! let types: Vec<&str> = report.problems().iter().map(|p| p.error_type()).collect();
//! assert_eq!(types, ["missing", "greater_than_equal"]);
//! # Ok::<(), fal_protocol::schema::SchemaError>(())
//! ```
//!
//! | Step | Call |
//! |---|---|
//! | load | [`ModelSchema::parse`], [`parse_dump`], [`ModelSchema::from_value`] |
//! | look | [`ModelSchema::input`], [`Schema::fields`], [`ModelSchema::defects`] |
//! | check | [`ModelSchema::is_valid`], [`ModelSchema::validate`] |
//! | explain | [`ModelSchema::review`], [`Schema::types_in_words`], [`Schema::limits_in_words`] |
//! | complete | [`ModelSchema::complete`] |
//!
//! Everything here is total and bounded: [`NODES_MAX`], [`SCHEMA_DEPTH_MAX`], [`DEFECTS_MAX`] for
//! documents; [`DEPTH_MAX`], [`WORK_MAX`], [`PROBLEMS_MAX`], [`ECHO_BYTES_MAX`] for inputs.

mod accepts;
mod complete;
mod defect;
mod explain;
mod finish;
mod fit;
mod format;
mod keywords;
mod model;
mod nearest;
mod number;
mod parse;
mod path;
mod pattern;
mod problem;
mod read;
mod review;
mod rules;
#[cfg(test)]
mod tests;
mod validate;
mod words;

pub use defect::{Defect, DefectKind};
pub use model::{Dialect, Field, ModelSchema, NumberBounds, Rest, Schema, SizeBounds, Types};
pub use nearest::nearest_name;
pub use parse::{
    DEFECTS_MAX, DumpEntry, NODES_MAX, SCHEMA_DEPTH_MAX, SchemaError, TEXT_BYTES_MAX, parse_dump,
};
pub use pattern::{PATTERN_ATOMS_MAX, PATTERN_SUBJECT_BYTES_MAX};
pub use problem::{ECHO_BYTES_MAX, Problem, ProblemKind};
pub use review::{Finding, Review};
pub use validate::{DEPTH_MAX, Mode, PROBLEMS_MAX, Report, WORK_MAX};
pub use words::CHOICES_IN_WORDS_MAX;
