//! What the three routes say and hear: requests out of values, values out of answers. No states.

use std::fmt::Write as _;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use serde::Deserialize;

use super::route::Route;
use super::state::{UploadState, is_etag, is_upload_id};
use super::token::CdnToken;
use crate::call::json_request;
use crate::error::{InputError, ProtocolError};
use crate::hosts::{Host, Hosts, push_encoded};
use crate::settings::Settings;
use crate::wire::{Body, Request, Response};

/// What is said of a file, ready for headers and bodies.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) file_name: String,
    pub(super) content_type: HeaderValue,
    /// Both names of the lifecycle header, or none.
    pub(super) lifecycle: HeaderMap,
}

impl Label {
    pub(super) fn new(
        file_name: String,
        content_type: &str,
        lifecycle: HeaderMap,
    ) -> Result<Self, InputError> {
        let content_type = HeaderValue::from_str(content_type).map_err(|_| {
            InputError::option("content type", "it has a character that a header cannot carry")
        })?;
        Ok(Self { file_name, content_type, lifecycle })
    }

    pub(super) fn content_type_text(&self) -> String {
        String::from_utf8_lossy(self.content_type.as_bytes()).into_owned()
    }

    /// The name as a header carries it: UTF-8 as it is, what no header may hold replaced.
    ///
    /// Source: `client.py` of `fal-client` 1.0.3 sends the bare name (official client source); what becomes of
    /// other characters than ASCII is not published.
    fn name_header(&self) -> HeaderValue {
        let name: String =
            self.file_name.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
        HeaderValue::try_from(name).expect("without control characters any text is a value")
    }
}

/// Where content goes, and where it can be read then.
pub(super) struct Addresses {
    pub(super) target: Uri,
    pub(super) file_url: String,
}

/// Asks for a signed address: for the whole file, or for its parts.
pub(super) fn initiate(
    settings: &Settings,
    route: Route,
    label: &Label,
    in_parts: bool,
) -> Result<Request, InputError> {
    let path =
        if in_parts { "storage/upload/initiate-multipart" } else { "storage/upload/initiate" };
    let uri = settings.hosts.uri(Host::Rest, path, &[("storage_type", route.storage_type())])?;
    let body = serde_json::json!({
        "content_type": label.content_type_text(),
        "file_name": label.file_name,
    });
    let body = Bytes::from(body.to_string());
    Ok(json_request(settings, Method::POST, uri, label.lifecycle.clone(), Some(body)))
}

/// Asks for a token of the CDN.
pub(super) fn token(settings: &Settings) -> Result<Request, InputError> {
    let query = [("storage_type", Route::Cdn.storage_type())];
    let uri = settings.hosts.uri(Host::Rest, "storage/auth/token", &query)?;
    let body = Bytes::from_static(b"{}");
    Ok(json_request(settings, Method::POST, uri, HeaderMap::new(), Some(body)))
}

/// Hands the whole file to the CDN, or begins with its parts.
pub(super) fn cdn_post(
    settings: &Settings,
    token: &CdnToken,
    label: &Label,
    whole: Option<Body>,
) -> Result<Request, InputError> {
    let path = if whole.is_some() { "files/upload" } else { "files/upload/multipart" };
    let uri = match token.base() {
        Some(base) if is_secret_safe(&settings.hosts, base) => below(base, path),
        _ => None,
    };
    let uri = uri.map_or_else(|| settings.hosts.uri(Host::Cdn, path, &[]), Ok)?;
    let mut request = Request::new(Method::POST, uri).with_body(whole.unwrap_or(Body::Empty));
    request.headers = label.lifecycle.clone();
    request.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request.headers.insert(header::CONTENT_TYPE, label.content_type.clone());
    request.headers.insert(FILE_NAME, label.name_header());
    Ok(with_token(settings, request, token))
}

/// Writes the whole file to its signed address.
///
/// Only the content type goes with it, as from the JavaScript client: the signature may cover more.
pub(super) fn put(settings: &Settings, label: &Label, target: Uri, body: Body) -> Request {
    unsigned(settings, Method::PUT, target)
        .with_header(header::CONTENT_TYPE, label.content_type.clone())
        .with_body(body)
}

/// Writes a part below the upload's address, or asks where to write it.
pub(super) fn part(
    settings: &Settings,
    token: Option<&CdnToken>,
    label: &Label,
    state: &UploadState,
    number: u32,
    body: Body,
) -> Result<Request, InputError> {
    let uri = step_uri(state, &number.to_string())?;
    match (state.route, token) {
        (Route::Initiate, _) => Ok(unsigned(settings, Method::PUT, uri).with_body(body)),
        (Route::Gcs, _) => {
            let json = HeaderValue::from_static("application/json");
            let request = unsigned(settings, Method::POST, uri).with_header(header::ACCEPT, json);
            Ok(sign_unless_signed(settings, request))
        }
        (Route::Cdn, Some(token)) => {
            check_cdn(&settings.hosts, token, &uri)?;
            let request = Request::new(Method::PUT, uri)
                .with_header(header::CONTENT_TYPE, label.content_type.clone())
                .with_body(body);
            Ok(with_token(settings, request, token))
        }
        (Route::Cdn, None) => Err(no_token()),
    }
}

/// Writes a part to the address that the store gave for it alone.
pub(super) fn put_part(settings: &Settings, target: Uri, body: Body) -> Request {
    unsigned(settings, Method::PUT, target).with_body(body)
}

/// Puts the parts together: all of them, in order.
pub(super) fn complete(
    settings: &Settings,
    token: Option<&CdnToken>,
    state: &UploadState,
) -> Result<Request, InputError> {
    let uri = step_uri(state, "complete")?;
    let mut body = String::with_capacity(64 * state.etags.len());
    body.push_str("{\"parts\":[");
    let name = if state.route == Route::Gcs { "part_number" } else { "partNumber" };
    for (number, etag) in (1_u32..).zip(&state.etags) {
        let etag = etag.as_deref().unwrap_or_default();
        let etag = serde_json::Value::from(etag);
        let comma = if number == 1 { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(body, "{comma}{{\"{name}\":{number},\"etag\":{etag}}}");
    }
    body.push_str("]}");
    let body = Bytes::from(body);
    let json = HeaderValue::from_static("application/json");
    let request = unsigned(settings, Method::POST, uri)
        .with_header(header::CONTENT_TYPE, json.clone())
        .with_header(header::ACCEPT, json)
        .with_body(Body::Bytes(body));
    match (state.route, token) {
        (Route::Initiate, _) => Ok(request),
        (Route::Gcs, _) => Ok(sign_unless_signed(settings, request)),
        (Route::Cdn, Some(token)) => {
            check_cdn(&settings.hosts, token, &request.uri)?;
            Ok(with_token(settings, request, token))
        }
        (Route::Cdn, None) => Err(no_token()),
    }
}

/// Where to write, and where it can be read then.
pub(super) fn read_initiated(hosts: &Hosts, body: &[u8]) -> Result<Addresses, ProtocolError> {
    #[derive(Deserialize)]
    struct Wire {
        file_url: String,
        upload_url: String,
    }
    let refuse =
        |problem: &dyn std::fmt::Display| ProtocolError::secret_body("upload addresses", problem);
    // serde's message may quote a text of the body, so it tells only where.
    let wire: Wire = serde_json::from_slice(body).map_err(|e| {
        refuse(&format_args!("two addresses were expected at column {}", e.column()))
    })?;
    let target = signed_address(hosts, &wire.upload_url).map_err(|problem| refuse(&problem))?;
    Ok(Addresses { target, file_url: wire.file_url })
}

/// Where the older store wants a part.
pub(super) fn read_part_address(hosts: &Hosts, body: &[u8]) -> Result<Uri, ProtocolError> {
    #[derive(Deserialize)]
    struct Wire {
        upload_url: String,
    }
    let refuse = |problem: &dyn std::fmt::Display| {
        ProtocolError::secret_body("the address of a part", problem)
    };
    let wire: Wire = serde_json::from_slice(body)
        .map_err(|e| refuse(&format_args!("an address was expected at column {}", e.column())))?;
    signed_address(hosts, &wire.upload_url).map_err(|problem| refuse(&problem))
}

/// The address of a file that the CDN took whole.
pub(super) fn read_access(body: &[u8]) -> Result<String, ProtocolError> {
    #[derive(Deserialize)]
    struct Wire {
        access_url: String,
    }
    let wire: Wire = serde_json::from_slice(body)
        .map_err(|error| ProtocolError::body("the file's address", error, body))?;
    Ok(wire.access_url)
}

/// The address of a file that the CDN takes in parts, and its name for the upload.
pub(super) fn read_created(
    hosts: &Hosts,
    token: &CdnToken,
    body: &[u8],
) -> Result<(Addresses, Option<String>), ProtocolError> {
    #[derive(Deserialize)]
    struct Wire {
        access_url: String,
        #[serde(rename = "uploadId")]
        upload_id: String,
    }
    let refuse =
        |problem: &dyn std::fmt::Display| ProtocolError::body("an upload in parts", problem, body);
    let wire: Wire = serde_json::from_slice(body).map_err(|error| refuse(&error))?;
    let target: Uri = wire.access_url.parse().map_err(|error| refuse(&error))?;
    check_cdn(hosts, token, &target).map_err(|error| refuse(&error))?;
    if !is_upload_id(&wire.upload_id) {
        return Err(refuse(&"its uploadId is empty, too long or no text"));
    }
    Ok((Addresses { target, file_url: wire.access_url }, Some(wire.upload_id)))
}

/// The store's name for a part: from the body as the JavaScript client reads it, else from the header as the
/// Python client does. The older store's is passed on without its quotes.
///
/// Source: `storage.ts` of `@fal-ai/client` 1.10.1, `client.py` of `fal-client` 1.0.3, `providers/fal.py` of
/// fal's SDK (official client source).
pub(super) fn read_etag(route: Route, response: &Response) -> Result<Box<str>, ProtocolError> {
    #[derive(Deserialize)]
    struct Wire {
        etag: String,
    }
    let said = serde_json::from_slice::<Wire>(response.body()).ok().map(|wire| wire.etag);
    let header = response.headers().get(header::ETAG).and_then(|value| value.to_str().ok());
    let etag = said.as_deref().filter(|etag| !etag.is_empty()).or(header).unwrap_or_default();
    let etag = match route {
        Route::Gcs => etag.trim_matches('"'),
        Route::Initiate | Route::Cdn => etag,
    };
    if is_etag(etag) {
        return Ok(etag.into());
    }
    Err(ProtocolError::body("the etag of a part", "it is missing, or no text", response.body()))
}

/// Whether an upload that was stored can be gone on with: its address may be used.
pub(super) fn check_target(hosts: &Hosts, state: &UploadState) -> Result<(), InputError> {
    signed_address(hosts, &state.target.to_string())
        .map(drop)
        .map_err(|problem| InputError::option("upload state", problem))
}

/// The address of a part or of the end. The number goes into the path, and the query stays behind it.
fn step_uri(state: &UploadState, step: &str) -> Result<Uri, InputError> {
    let uri = &state.target;
    let mut path = uri.path().trim_end_matches('/').to_owned();
    if let Some(id) = &state.upload_id {
        path.push_str("/multipart/");
        push_encoded(&mut path, id);
    }
    path.push('/');
    path.push_str(step);
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let refuse = |problem: String| InputError::option("upload address", problem);
    let mut parts = uri.clone().into_parts();
    parts.path_and_query =
        Some(PathAndQuery::try_from(path).map_err(|error| refuse(error.to_string()))?);
    Uri::from_parts(parts).map_err(|error| refuse(error.to_string()))
}

/// `path` below a base that may have a path of its own.
fn below(base: &Uri, path: &str) -> Option<Uri> {
    let mut parts = base.clone().into_parts();
    let path = format!("{}/{path}", base.path().trim_end_matches('/'));
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

/// An absolute address to which private content may go.
fn signed_address(hosts: &Hosts, text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "this is no address")?;
    if !is_secret_safe(hosts, &uri) {
        return Err("this is not an https address");
    }
    Ok(uri)
}

fn is_secret_safe(hosts: &Hosts, uri: &Uri) -> bool {
    let is_safe = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => hosts.allow_plain_http(),
        _ => false,
    };
    is_safe && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
}

/// The CDN's token goes to where the service said that it is good, to the configured CDN, and to the CDN's
/// sister hosts; nowhere else, whatever an answer or a stored state says.
///
/// Source: `v3.fal.media` and `v3b.fal.media` are both seen in answers (observed).
fn check_cdn(hosts: &Hosts, token: &CdnToken, uri: &Uri) -> Result<(), InputError> {
    let is_good_for = |base: &Uri| {
        base.scheme() == uri.scheme() && base.authority() == uri.authority() && {
            let rest = uri.path().strip_prefix(base.path().trim_end_matches('/'));
            rest.is_some_and(|rest| rest.starts_with('/'))
        }
    };
    let is_sister = || {
        uri.scheme() == Some(&Scheme::HTTPS)
            && uri.port().is_none()
            && uri.host().is_some_and(|host| host.ends_with(".fal.media"))
    };
    let is_walking = uri.path().split('/').any(|segment| segment == "..");
    let is_good =
        hosts.is_at(Host::Cdn, uri) || token.base().is_some_and(is_good_for) || is_sister();
    if is_good && !is_walking && is_secret_safe(hosts, uri) {
        return Ok(());
    }
    Err(InputError::address(&uri.to_string(), "the CDN's token does not go there"))
}

fn with_token(settings: &Settings, request: Request, token: &CdnToken) -> Request {
    request
        .with_header(header::USER_AGENT, settings.user_agent.clone())
        .with_header(header::AUTHORIZATION, token.header())
}

/// The CDN was to be asked without one, which no state leads to.
pub(super) fn no_token() -> InputError {
    InputError::option("token", "the CDN asks for one")
}

/// The older store's own addresses ask for the key, which goes to the configured hosts alone. They have no
/// query: one that has is signed and needs nothing more.
///
/// Source: `providers/fal.py` of fal's SDK, which joins texts to that address (official client source).
fn sign_unless_signed(settings: &Settings, request: Request) -> Request {
    if request.uri.query().is_some() { request } else { settings.sign(request) }
}

/// A request without credentials, whatever host it goes to: its address is all the permission it needs.
fn unsigned(settings: &Settings, method: Method, uri: Uri) -> Request {
    Request::new(method, uri).with_header(header::USER_AGENT, settings.user_agent.clone())
}

/// The name that a file gets on the CDN.
const FILE_NAME: HeaderName = HeaderName::from_static("x-fal-file-name");

#[cfg(test)]
mod tests;
