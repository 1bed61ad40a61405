//! The platform API at `api.fal.ai/v1`: finds the route, checks the key, writes refusals.
//!
//! A route is one line in [`ROUTES`]; its handler returns the body of a 200 or a [`Refusal`].

mod files;
mod history;
mod models;
mod page;
mod pricing;
pub(super) mod time;

use http::{Method, StatusCode};

use super::auth::{self, Denied};
use super::exchange::{Request, Response};
use super::id::RequestId;
use super::{Model, reply};
use crate::render;

/// Why a call is refused: its status, the name under `type`, and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    /// 400: a parameter or the body is not what the operation takes.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "validation_error", message: message.into() }
    }

    /// 404: what is asked for is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, kind: "not_found", message: message.into() }
    }

    fn unauthorized(denied: Denied) -> Self {
        let message = denied.text(None);
        Self { status: denied.status(), kind: "authorization_error", message }
    }

    /// 501: the service has it and this one has not. The status of this type is inferred.
    fn not_emulated(what: &str) -> Self {
        let message = format!("fal-mock does not emulate {what}");
        Self { status: StatusCode::NOT_IMPLEMENTED, kind: "not_implemented", message }
    }

    /// Source: the platform's own OpenAPI document, which gives every refusal this form (documented).
    fn answer(&self, id: RequestId) -> Response {
        let mut body = b"{\"error\":{\"type\":".to_vec();
        render::push_string(&mut body, self.kind);
        body.extend_from_slice(b",\"message\":");
        render::push_string(&mut body, &self.message);
        body.extend_from_slice(b",\"request_id\":\"");
        body.extend_from_slice(&id.to_text());
        body.extend_from_slice(b"\"}}");
        reply::json(self.status, id, body)
    }
}

/// Answers one operation with the body of a 200.
type Handler = fn(&mut Model, &Request<'_>) -> Result<Vec<u8>, Refusal>;

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Anyone,
    /// Whoever has a key. The scopes of keys (API, ADMIN) are not told apart.
    Key,
}

/// One operation. A `*` in the path stands for any one segment.
struct Route {
    method: Method,
    path: &'static str,
    access: Access,
    handler: Handler,
}

const fn route(method: Method, path: &'static str, access: Access, handler: Handler) -> Route {
    Route { method, path, access, handler }
}

/// The operations that are played, below `/v1`.
///
/// Source: the platform's own OpenAPI document, also for who may call them (documented).
static ROUTES: [Route; 11] = [
    route(Method::GET, "/models", Access::Anyone, Model::list_models),
    route(Method::GET, "/models/pricing", Access::Key, Model::list_prices),
    route(Method::POST, "/models/pricing/estimate", Access::Key, Model::estimate),
    route(Method::GET, "/models/requests/by-endpoint", Access::Key, Model::list_requests),
    route(Method::GET, "/serverless/apps/*/*/queue", Access::Key, Model::queue_size),
    route(Method::GET, "/storage/files/acl", Access::Key, Model::file_acl),
    route(Method::PUT, "/storage/files/acl", Access::Key, Model::put_file_acl),
    route(Method::POST, "/storage/files/sign", Access::Key, Model::sign_file),
    route(Method::GET, "/storage/settings", Access::Key, Model::file_settings),
    route(Method::PUT, "/storage/settings", Access::Key, Model::put_file_settings),
    route(Method::GET, "/meta", Access::Anyone, Model::meta),
];

impl Model {
    /// Answers a call to the platform API.
    pub(crate) fn api(&mut self, request: &Request<'_>) -> Response {
        let answer = self.api_answer(request);
        let id = self.mint_other();
        match answer {
            Ok(body) => reply::json(StatusCode::OK, id, body),
            Err(refusal) => refusal.answer(id),
        }
    }

    fn api_answer(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let path = request.path.strip_prefix("/v1").unwrap_or_default().trim_end_matches('/');
        let found = ROUTES
            .iter()
            .find(|route| route.method == *request.method && is_path_of(route.path, path));
        let Some(route) = found else {
            let group = path.split('/').nth(1).unwrap_or_default();
            let is_group = GROUPS.contains(&group);
            return Err(if is_group {
                Refusal::not_emulated(&format!(
                    "{} https://api.fal.ai{}",
                    request.method, request.path
                ))
            } else {
                Refusal::not_found("Resource not found")
            });
        };
        if route.access == Access::Key {
            auth::check(&self.config, request, None).map_err(Refusal::unauthorized)?;
        }
        (route.handler)(self, request)
    }

    /// Where webhooks come from. Ours come from this machine.
    fn meta(&mut self, _: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        Ok(b"{\"webhook_ip_ranges\":[\"127.0.0.1/32\",\"::1/128\"]}".to_vec())
    }
}

fn is_path_of(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// The values of a parameter that takes a list: repeated, separated by commas, or both.
fn values(request: &Request<'_>, name: &str) -> Vec<String> {
    let query = request.query.unwrap_or_default();
    super::exchange::parameters(query)
        .filter(|(key, _)| key == name)
        .flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>())
        .filter(|value| !value.is_empty())
        .collect()
}

/// The endpoint ids that a query names.
fn endpoint_ids(request: &Request<'_>) -> Result<Vec<String>, Refusal> {
    let mut ids = values(request, "endpoint_id");
    if ids.len() > LIST_MAX {
        return Err(Refusal::invalid(format!("endpoint_id: at most {LIST_MAX} values")));
    }
    let mut seen = std::collections::BTreeSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    Ok(ids)
}

/// The first segments of all operations that the service has.
///
/// Source: the platform's own OpenAPI document (documented).
const GROUPS: [&str; 10] = [
    "account",
    "assets",
    "compute",
    "keys",
    "models",
    "openapi.json",
    "organization",
    "serverless",
    "storage",
    "workflows",
];

/// Most values of a parameter that takes a list.
///
/// Source: the platform's own OpenAPI document (documented).
const LIST_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_one_segment() {
        let queue = "/serverless/apps/*/*/queue";
        assert!(is_path_of(queue, "/serverless/apps/acme/paint/queue"));
        for other in [
            "/serverless/apps/acme/queue",
            "/serverless/apps//paint/queue",
            "/serverless/apps/a/b/queue/c",
        ] {
            assert!(!is_path_of(queue, other), "{other}");
        }
    }

    #[test]
    fn every_route_belongs_to_a_group() {
        for route in &ROUTES {
            let group = route.path.split('/').nth(1).unwrap();
            assert!(GROUPS.contains(&group) || group == "meta", "{}", route.path);
        }
    }
}
