//! What goes to the service, and what goes back.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::target::Target;
use super::{CLIENT_PROXY, TARGET_URL};
use crate::wire::{Body, Expect, Request};

/// A call that may be forwarded.
#[derive(Clone, Debug)]
pub struct Forward {
    method: Method,
    target: Target,
    uri: Uri,
    headers: HeaderMap,
}

impl Forward {
    pub(super) fn new(
        method: Method,
        target: Target,
        headers: HeaderMap,
        base: Option<&str>,
    ) -> Self {
        let uri = match base {
            None => target.uri(),
            Some(base) => format!("{base}/{}", target.as_str())
                .parse()
                .expect("base and target were parsed as addresses before, and neither is long"),
        };
        Self { method, target, uri, headers }
    }

    /// The address that the caller named.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether the body of the call goes along. That of a GET does not.
    #[must_use]
    pub fn takes_body(&self) -> bool {
        self.method != Method::GET
    }

    /// The request to perform. Its answer is wanted in pieces, as they come. Do not follow redirects:
    /// a redirect is the caller's to see.
    #[must_use]
    pub fn request(self, body: Bytes) -> Request {
        let body = match self.takes_body() && !body.is_empty() {
            true => Body::Bytes(body),
            false => Body::Empty,
        };
        let mut request =
            Request::new(self.method, self.uri).with_body(body).with_expect(Expect::Chunks);
        request.headers = self.headers;
        request
    }
}

/// The caller's headers that are forwarded.
pub(super) fn request_headers(headers: &HeaderMap, more: &[HeaderName]) -> HeaderMap {
    let named = connection_headers(headers);
    let passes = |name: &HeaderName| {
        let is_fal = name.as_str().starts_with("x-fal-");
        (is_fal || *name == header::ACCEPT || *name == header::CONTENT_TYPE || more.contains(name))
            && !is_never_forwarded(name)
            && !named.contains(name)
    };
    let mut passed = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| passes(name)) {
        passed.append(name.clone(), value.clone());
    }
    passed.entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    passed
}

/// The service's headers that go back.
pub(super) fn answer_headers(headers: &HeaderMap, is_decoded: bool) -> HeaderMap {
    let named = connection_headers(headers);
    let passes = |name: &HeaderName| {
        let is_dropped = is_hop_by_hop(name)
            || named.contains(name)
            || NOT_FOR_CALLERS.contains(name)
            || name.as_str().starts_with("access-control-")
            || (is_decoded && *name == header::CONTENT_ENCODING);
        !is_dropped
    };
    let mut passed = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| passes(name)) {
        passed.append(name.clone(), value.clone());
    }
    passed
}

/// Credentials, the connection's own headers, and those that the proxy sets.
pub(super) fn is_never_forwarded(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 8] = [
        TARGET_URL,
        CLIENT_PROXY,
        header::AUTHORIZATION,
        header::COOKIE,
        header::HOST,
        header::CONTENT_LENGTH,
        header::ACCEPT_ENCODING,
        header::EXPECT,
    ];
    NEVER.contains(name) || is_hop_by_hop(name)
}

/// Headers that the `Connection` header names: they end here too. RFC 9110, section 7.6.1.
fn connection_headers(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    const HOP_BY_HOP: [HeaderName; 9] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    HOP_BY_HOP.contains(name)
}

const NOT_FOR_CALLERS: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::SET_COOKIE,
    header::ALT_SVC,
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("public-key-pins"),
];
