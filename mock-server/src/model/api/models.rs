//! `GET /models`: list, find and search the models of the catalog.

use std::sync::Arc;

use super::super::Model;
use super::super::auth;
use super::super::catalog::Entry;
use super::super::exchange::{Host, Request};
use super::page::{self, Page};
use super::{Refusal, endpoint_ids, values};
use crate::render;

impl Model {
    /// Every model, those of given ids, or those that fit a search.
    pub(super) fn list_models(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let (mut with_documents, mut with_readiness) = (false, false);
        for name in values(request, "expand") {
            match name.as_str() {
                "openapi-3.0" => with_documents = true,
                "enterprise_status" => with_readiness = true,
                other => return Err(Refusal::invalid(format!("expand: unknown value {other:?}"))),
            }
        }
        let is_deprecated = match request.parameter("status").as_deref() {
            None => None,
            Some("active") => Some(false),
            Some("deprecated") => Some(true),
            Some(_) => return Err(Refusal::invalid("status: must be 'active' or 'deprecated'")),
        };
        let max = if with_documents { WITH_DOCUMENTS_MAX } else { MODELS_MAX };
        if with_documents && page::limit(request)?.is_some_and(|limit| limit > max) {
            let message = format!("limit: at most {max} with expand=openapi-3.0");
            return Err(Refusal::invalid(message));
        }
        let page = Page::of(request, max.min(MODELS_DEFAULT), max)?;
        let category = request.parameter("category");
        let words: Vec<String> = request
            .parameter("q")
            .map(|q| q.split_whitespace().map(str::to_lowercase).collect())
            .unwrap_or_default();
        let fits = |entry: &Entry| {
            let metadata = &entry.metadata;
            category.as_ref().is_none_or(|category| **category == *metadata.category)
                && is_deprecated.is_none_or(|wanted| wanted == metadata.is_deprecated)
                && metadata.matches(&entry.id, &words)
        };
        let is_search = category.is_some() || is_deprecated.is_some() || !words.is_empty();
        let catalog = Arc::clone(&self.config.catalog);
        let asked = endpoint_ids(request)?;
        let found: Vec<Found<'_>> = if asked.is_empty() {
            catalog.entries().filter(|entry| fits(entry)).map(Found::Known).collect()
        } else {
            // An id that nobody knows is answered as it is, instead of failing; no search finds it.
            let found = asked.iter().filter_map(|id| match catalog.get(id) {
                Some(entry) => fits(entry).then_some(Found::Known(entry)),
                None => (!is_search).then_some(Found::Bare(id)),
            });
            found.collect()
        };
        let is_known = request.headers.contains_key(http::header::AUTHORIZATION)
            && auth::check(&self.config, request, None).is_ok();
        let mut out = b"{\"models\":[".to_vec();
        for (index, one) in page.cut(&found).iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let with = With { documents: with_documents, readiness: with_readiness, is_known };
            one.push(&mut out, request, with);
        }
        out.extend_from_slice(b"],");
        page.push_next(&mut out, found.len());
        out.push(b'}');
        Ok(out)
    }
}

/// What is written of each model.
#[derive(Clone, Copy)]
struct With {
    documents: bool,
    readiness: bool,
    /// Whether the caller has a key: then there is an answer to whether the model is a favourite.
    is_known: bool,
}

/// One model of an answer.
enum Found<'a> {
    Known(&'a Entry),
    Bare(&'a str),
}

impl Found<'_> {
    fn push(&self, out: &mut Vec<u8>, request: &Request<'_>, with: With) {
        out.extend_from_slice(b"{\"endpoint_id\":");
        match self {
            Self::Bare(id) => {
                render::push_string(out, id);
                if with.documents {
                    push_failure(out, "openapi", "OpenAPI schema not available for this endpoint");
                }
            }
            Self::Known(entry) => {
                render::push_string(out, &entry.id);
                out.extend_from_slice(b",\"metadata\":");
                let is_favorited: &[u8] = if with.is_known { b"false" } else { b"null" };
                let base = |out: &mut Vec<u8>| request.door.push_base(out, Host::Run);
                entry.metadata.push(out, &entry.id, is_favorited, base);
                match &entry.document {
                    _ if !with.documents => {}
                    Ok(document) => {
                        out.extend_from_slice(b",\"openapi\":");
                        out.extend_from_slice(&document.text());
                    }
                    Err(why) => push_failure(out, "openapi", why),
                }
                if with.readiness {
                    out.extend_from_slice(b",\"enterprise_status\":\"ready\"");
                }
            }
        }
        out.push(b'}');
    }
}

/// What stands in the place of an expansion that failed.
///
/// Source: served lists, about one entry in a hundred (observed).
fn push_failure(out: &mut Vec<u8>, name: &str, message: &str) {
    out.push(b',');
    render::push_string(out, name);
    out.extend_from_slice(b":{\"error\":{\"code\":\"expansion_failed\",\"message\":");
    render::push_string(out, message);
    out.extend_from_slice(b"}}");
}

/// Models on one page; more are cut (the service's own limit is not published).
const MODELS_MAX: usize = 100;

/// Models on one page where the call does not say (inferred).
const MODELS_DEFAULT: usize = 50;

/// Models on one page with their documents; more are refused.
///
/// Source: third-party catalogue clients, which report refusals of 50 (observed); the number is inferred.
const WITH_DOCUMENTS_MAX: usize = 10;
