//! Which endpoint a call is for. With strictness, what no document describes is not there.

use fal_protocol::EndpointId;
use http::{HeaderName, HeaderValue, StatusCode};

use super::exchange::{Request, Response};
use super::failure::Failure;
use super::{Model, reply};

impl Model {
    /// The endpoint that the path of a call names, or the refusal of one that names none.
    pub(crate) fn endpoint(&mut self, request: &Request<'_>) -> Result<EndpointId, Box<Response>> {
        let path = request.path.trim_matches('/');
        if let Some(endpoint) = self.endpoints.get(path) {
            return Ok(endpoint.clone());
        }
        let Ok(endpoint) = EndpointId::parse(path) else {
            let detail = format!("Application \"{path}\" not found");
            let refusal = reply::refuse(StatusCode::NOT_FOUND, self.mint_other(), &detail);
            return Err(Box::new(refusal));
        };
        if self.endpoints.len() < PATHS_MAX {
            self.endpoints.insert(path.into(), endpoint.clone());
        }
        Ok(endpoint)
    }

    /// In strict mode the refusal of an app that the catalog does not know.
    ///
    /// Source: observed by third parties (observed).
    pub(crate) fn unknown_app(&mut self, endpoint: &EndpointId) -> Option<Response> {
        if !self.config.strict || self.config.catalog.knows_app(endpoint.app()) {
            return None;
        }
        let detail = format!("Application \"{}\" not found", endpoint.alias());
        Some(reply::refuse(StatusCode::NOT_FOUND, self.mint_other(), &detail))
    }
}

/// A path that no document describes, in an app that is known: the app itself refuses it, so a queued call
/// finds out at its result.
///
/// Source: the serving SDK's handler of unknown paths (official SDK source).
pub(crate) fn unknown_path(endpoint: &str) -> Failure {
    let parsed = EndpointId::parse(endpoint).ok();
    let path = parsed.as_ref().and_then(EndpointId::path).unwrap_or_default();
    let detail = format!("Path /{path} not found");
    Failure::new(StatusCode::NOT_FOUND, crate::render::detail(&detail), &detail, None)
        .with_header(HeaderName::from_static("x-fal-billable-units"), HeaderValue::from_static("0"))
}

/// Paths whose endpoints are remembered.
const PATHS_MAX: usize = 1000;
