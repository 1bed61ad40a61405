//! The platform API: the catalogue, prices, request history, and storage of an account.
//!
//! A [`Question`] is what can be asked, the machine [`Ask`] asks it, and what comes back is read by the type
//! that the question names:
//!
//! | Question | Answer | Key |
//! |---|---|---|
//! | [`Question::models`] | [`ModelsPage`] | none needed |
//! | [`Question::prices`] | [`PricesPage`] | yes |
//! | [`Question::estimate`] | [`Cost`] | yes |
//! | [`Question::queue_size`] | [`QueueSize`] | yes, of the app's owner |
//! | [`Question::requests`] | [`RequestsPage`] | yes |
//! | [`Question::delete_payloads`] | [`Deleted`] | yes, with admin scope |
//! | [`Question::acl`], [`Question::set_acl`] | [`Acl`](crate::lifecycle::Acl) by [`parse_acl`] | yes, `assets:read`, `assets:write` |
//! | [`Question::sign`] | [`SignedUrl`] | yes, `assets:read` |
//! | [`Question::storage_settings`], [`Question::set_storage_settings`] | [`StorageSettings`] | yes, `account:settings:read`, `…:write` |
//! | [`Question::meta`] | [`Meta`] | none needed |
//!
//! Readers are tolerant: fields that are missing, unknown or of another type than documented are no
//! failure, and words of sets that may grow are texts.
//!
//! Source: the OpenAPI document of the platform API, as of August 2026 (documented); what is known from
//! served data is marked so.

mod ask;
mod models;
mod prices;
mod question;
mod requests;
mod storage;
#[cfg(test)]
mod tests;

pub use ask::Ask;
pub use models::{Document, ExpansionError, Group, Metadata, Model, ModelsPage, ModelsQuery};
pub use prices::{Cost, Estimate, Price, PricesPage};
pub use question::{EXPANDED_LIMIT, IDS_MAX, PAGE_BYTES_MAX, Question};
pub use requests::{
    Deleted, DeletedFile, HISTORY_LIMIT_MAX, Meta, QueueSize, RequestRecord, RequestsPage,
    RequestsQuery, SortBy,
};
pub use storage::{SIGNED_SECS_MAX, SignedUrl, StorageSettings, parse_acl};

use serde_json::Value;

use crate::error::ProtocolError;

/// The cursor of the next page, unless this is the last one.
///
/// Source: `has_more` is always there, `next_cursor` is a text or null; either ends the list (documented).
fn next_cursor(page: &Value) -> Option<Box<str>> {
    let is_last = page.get("has_more") == Some(&Value::Bool(false));
    text(page, "next_cursor").filter(|cursor| !is_last && !cursor.is_empty())
}

fn text(value: &Value, name: &str) -> Option<Box<str>> {
    value.get(name)?.as_str().map(Into::into)
}

fn texts(value: &Value, name: &str) -> Vec<Box<str>> {
    let list = value.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(Value::as_str).map(Into::into).collect()
}

/// The list under `name`, which is all that a page must have.
fn list<'a>(
    page: &'a Value,
    name: &str,
    expected: &'static str,
    body: &[u8],
) -> Result<&'a [Value], ProtocolError> {
    let list = page.get(name).and_then(Value::as_array);
    let missing = || ProtocolError::body(expected, format!("there is no list {name:?}"), body);
    list.map(Vec::as_slice).ok_or_else(missing)
}

fn json(expected: &'static str, body: &[u8]) -> Result<Value, ProtocolError> {
    serde_json::from_slice(body).map_err(|error| ProtocolError::body(expected, error, body))
}
