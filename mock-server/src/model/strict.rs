//! Strictness: what no document describes is not there.

use fal_protocol::EndpointId;
use http::StatusCode;

use super::exchange::Response;
use super::{Model, reply};

impl Model {
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
