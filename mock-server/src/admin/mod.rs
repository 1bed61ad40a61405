//! The control API below `/__mock/v1`: what a test, a script or a page sees of the worlds and does to them.
//!
//! One table, in `routes.rs`, says everything: what is answered, and what the document at `openapi.json` tells. A call is
//! about the first tenant unless the query names another one (`?tenant=`) or its key is in the call's header.
//!
//! Only programs on this machine and the mock's own page may call: see [`guard`].

mod clock;
mod document;
mod events;
mod guard;
mod har;
mod jobs;
mod ledger;
mod metrics;
mod problem;
mod records;
mod routes;
mod scenario;
mod service;
mod state;
mod tenants;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::http::{Body, Listener, Shared};
use crate::model::{Door, Head, Model, Piece, TenantId, parameters};
use crate::world::World;

use routes::ROUTES;

pub(crate) use events::event;
pub(crate) use guard::refusal;
pub(crate) use metrics::metrics;
pub(crate) use problem::Problem;

/// One operation. A `{name}` in the path stands for any one segment.
pub(super) struct Route {
    method: Method,
    path: &'static str,
    summary: &'static str,
    /// Parameters of the query, and what they do. `tenant` goes without saying.
    query: &'static [(&'static str, &'static str)],
    /// The component that its body has.
    body: Option<&'static str>,
    answer: Answer,
    handler: Handler,
}

/// What an operation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The component that its JSON has.
    Json(&'static str),
    /// A document of this content type.
    Document(&'static str),
    /// 204.
    Nothing,
}

/// How an operation is done.
#[derive(Clone, Copy)]
enum Handler {
    Now(fn(&Call<'_>) -> Result<Reply, Problem>),
    /// Time may have to pass in the world.
    Later(for<'a> fn(&'a Call<'a>) -> Doing<'a>),
}

type Doing<'a> = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send + 'a>>;

/// What comes of an operation.
#[derive(Debug)]
pub(super) enum Reply {
    Json(Value),
    Created(Value),
    Document(&'static str, Bytes),
    /// A file of somebody's.
    File(Head, Vec<Piece>),
    Events(Listener),
    Nothing,
}

/// One call.
pub(super) struct Call<'a> {
    shared: &'a Arc<Shared>,
    method: &'a Method,
    tenant: TenantId,
    /// Whether it says whom it is about.
    names_tenant: bool,
    /// What stands for the names in the path, in their order.
    segments: Vec<&'a str>,
    query: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

impl<'a> Call<'a> {
    /// A parameter of the query.
    fn parameter(&self, name: &str) -> Option<String> {
        parameters(self.query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The same as a number.
    fn number(&self, name: &str) -> Result<Option<usize>, Problem> {
        let Some(text) = self.parameter(name) else { return Ok(None) };
        let wrong = |_| Problem::invalid(format!("{name} must be a whole number, not {text:?}"));
        text.parse().map(Some).map_err(wrong)
    }

    /// The body; an empty one is an empty object.
    fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body = if self.body.is_empty() { b"{}" } else { self.body };
        serde_json::from_slice(body)
            .map_err(|error| Problem::invalid(format!("the body is not what is expected: {error}")))
    }

    /// Looks at the world that it is about, or changes it.
    fn world<T>(&self, f: impl FnOnce(&mut World, std::time::Instant) -> T) -> Result<T, Problem> {
        let ended = || Problem::missing("the tenant has ended");
        self.shared.with_world(self.tenant, f).ok_or_else(ended)
    }

    /// The same for the model in it, at the time that its clock shows.
    fn model<T>(&self, f: impl FnOnce(&mut Model) -> T) -> Result<T, Problem> {
        self.world(|world, real| {
            world.tick_to(real);
            f(&mut world.model)
        })
    }

    /// Addresses in answers lead back the way that the call came.
    fn door(&self) -> Door<'a> {
        Door::Prefix { is_secure: false, authority: self.authority().to_owned().into() }
    }

    /// The name by which the caller knows the mock.
    fn authority(&self) -> &str {
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.unwrap_or_else(|| self.shared.listening())
    }
}

/// Whether a path is one of the control API, or that of the counts beside it.
pub(crate) fn is_control(path: &str) -> bool {
    path == METRICS
        || path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a call.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response<Body> {
    if path == METRICS {
        return text(metrics(shared));
    }
    let result = match find(method, path) {
        Ok((route, segments)) => {
            let query = query.unwrap_or_default();
            let (tenant, names_tenant) = (TenantId::FIRST, false);
            let mut call =
                Call { shared, method, tenant, names_tenant, segments, query, headers, body };
            match tenant_of(&call) {
                Ok(tenant) => {
                    call.names_tenant = tenant.is_some();
                    call.tenant = tenant.unwrap_or_default();
                    match route.handler {
                        Handler::Now(handler) => handler(&call),
                        Handler::Later(handler) => handler(&call).await,
                    }
                }
                Err(problem) => Err(problem),
            }
        }
        Err(problem) => Err(problem),
    };
    render(result)
}

/// Whom a call is about.
fn tenant_of(call: &Call<'_>) -> Result<Option<TenantId>, Problem> {
    let by_name = call.parameter("tenant");
    let key = call.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = key.and_then(|value| value.split_once(' ')).map(|(_, key)| key.trim());
    call.shared.with_worlds(TenantId::FIRST, |worlds, _| match (by_name, key) {
        (Some(name), _) => worlds.by_name(&name).map(Some).ok_or_else(|| tenants::unknown(&name)),
        (None, Some(key)) => Ok(Some(worlds.by_key(key).unwrap_or_default())),
        (None, None) => Ok(None),
    })
}

/// The operation of a path, and what stands for the names in it.
fn find<'a>(method: &Method, path: &'a str) -> Result<(&'static Route, Vec<&'a str>), Problem> {
    let below = path.strip_prefix(BASE).unwrap_or(path).trim_matches('/');
    let mut methods = Vec::new();
    for route in ROUTES {
        let Some(segments) = captures(route.path, below) else { continue };
        // What can be read can also be asked for without its body; hyper leaves that away.
        if route.method == *method || (*method == Method::HEAD && route.method == Method::GET) {
            return Ok((route, segments));
        }
        methods.push(route.method.as_str());
    }
    if methods.is_empty() {
        let detail = format!("{BASE}/{below} is no operation: {BASE}/openapi.json lists all");
        return Err(Problem::missing(detail));
    }
    let detail = format!("{BASE}/{below} takes {}", methods.join(", "));
    Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail))
}

fn captures<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut segments = path.split('/');
    for part in pattern.trim_start_matches('/').split('/') {
        let segment = segments.next()?;
        if part.starts_with('{') {
            found.push(segment);
        } else if part != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(found)
}

fn render(result: Result<Reply, Problem>) -> Response<Body> {
    let whole = |text: String| Body::whole(text.into());
    let (status, content_type, body) = match result {
        Ok(Reply::Json(value)) => (StatusCode::OK, JSON, whole(value.to_string())),
        Ok(Reply::Created(value)) => (StatusCode::CREATED, JSON, whole(value.to_string())),
        Ok(Reply::Document(content_type, bytes)) => {
            (StatusCode::OK, content_type, Body::whole(bytes))
        }
        Ok(Reply::File(mut head, pieces)) => {
            isolate(head.headers_mut());
            return head.map(|()| Body::pieces(pieces));
        }
        Ok(Reply::Events(listener)) => {
            (StatusCode::OK, "text/event-stream", Body::Listening(listener))
        }
        Ok(Reply::Nothing) => {
            let mut response = Response::new(Body::whole(Bytes::new()));
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        Err(problem) => {
            let body = whole(problem.to_json().to_string());
            (problem.status, "application/problem+json", body)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn text(text: String) -> Response<Body> {
    let mut response = Response::new(Body::whole(text.into()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Where scrapers look for counts.
const METRICS: &str = "/metrics";

/// Whatever somebody has uploaded: where it is opened as a page it must not reach the control API.
fn isolate(headers: &mut HeaderMap) {
    let isolating =
        HeaderValue::from_static("sandbox; default-src 'none'; style-src 'unsafe-inline'");
    headers.insert(header::CONTENT_SECURITY_POLICY, isolating);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

const JSON: &str = "application/json";

/// Where the control API stands.
pub(crate) const BASE: &str = "/__mock/v1";

/// Longest body of a call: 64 MiB, for documents of many models.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

/// Entries of a list in one answer.
const LIMIT_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_operation() {
        let found = |method: Method, path: &'static str| {
            find(&method, path).map(|(route, segments)| (route.path, segments))
        };
        assert_eq!(found(Method::GET, "/__mock/v1/live").unwrap(), ("/live", vec![]));
        assert_eq!(found(Method::HEAD, "/__mock/v1/live/").unwrap(), ("/live", vec![]));
        let job = found(Method::POST, "/__mock/v1/jobs/x/finish").unwrap();
        assert_eq!(job, ("/jobs/{request_id}/finish", vec!["x"]));
        let status = |method, path: &str| find(&method, path).map(drop).unwrap_err().status;
        assert_eq!(status(Method::PUT, "/__mock/v1/clock"), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(status(Method::GET, "/__mock/v1/clock/x/y"), StatusCode::NOT_FOUND);
        assert!(
            is_control("/__mock/v1") && is_control("/__mock/v1/x") && !is_control("/__mock/v10")
        );
    }

    #[test]
    fn every_operation_stands_there_once() {
        for (at, one) in ROUTES.iter().enumerate() {
            let is_same = |other: &Route| other.method == one.method && other.path == one.path;
            assert!(!ROUTES[..at].iter().any(is_same), "{} {}", one.method, one.path);
        }
    }
}
