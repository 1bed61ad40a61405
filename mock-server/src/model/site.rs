//! The website, as far as programs read it: the document of an endpoint.

use http::{Method, StatusCode};

use super::exchange::{Request, Response};
use super::{Model, reply};

impl Model {
    /// Answers a call to the website. Nothing there needs a key.
    ///
    /// Source: docs.fal.ai names the address for tools that read documents, and that unknown ids are 404
    /// (documented); the body of that 404 is ours.
    pub(crate) fn site(&mut self, request: &Request<'_>) -> Response {
        let id = self.mint_other();
        if request.path != DOCUMENT_PATH {
            return reply::not_emulated(id, &format!("https://fal.ai{}", request.path));
        }
        if !matches!(*request.method, Method::GET | Method::HEAD) {
            return reply::wrong_method(id, "GET, HEAD");
        }
        let endpoint = request.parameter("endpoint_id").unwrap_or_default();
        match self.config.catalog.document(&endpoint) {
            Some(document) => reply::json(StatusCode::OK, id, document.text()),
            None => {
                let detail = format!("No OpenAPI document for \"{endpoint}\"");
                reply::refuse(StatusCode::NOT_FOUND, id, &detail)
            }
        }
    }
}

/// Where the documents of endpoints are.
const DOCUMENT_PATH: &str = "/api/openapi/queue/openapi.json";
