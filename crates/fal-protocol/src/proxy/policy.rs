//! What a proxy lets through.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::forward::{self, Forward};
use super::glob::{Pattern, PatternError};
use super::refusal::Refusal;
use super::target::{TARGET_BYTES_MAX, Target};
use super::{CLIENT_PROXY, TARGET_URL};
use crate::error::InputError;

/// The rules of one proxy. The default lets callers that are known use every model, and upload.
#[derive(Clone, Debug)]
pub struct Policy {
    urls: Vec<Pattern>,
    endpoints: Vec<Pattern>,
    allows_anonymous: bool,
    forwards_client_auth: bool,
    more_headers: Vec<HeaderName>,
    documented_codes: bool,
    name: HeaderValue,
    body_bytes_max: usize,
    base: Option<Box<str>>,
}

/// Who calls, as far as the server has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a server that knows more decides before it asks")]
pub enum Caller {
    /// Somebody who may spend what the key pays for.
    Known,
    /// Anybody.
    Anonymous,
}

impl Policy {
    /// Replaces the addresses that may be reached. Default: [`PATTERNS_DEFAULT`]. An empty list allows
    /// nothing.
    ///
    /// # Errors
    /// [`PatternError`] for the first that is no pattern.
    pub fn with_urls<'a>(
        mut self,
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, PatternError> {
        self.urls = patterns.into_iter().map(Pattern::url).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Also allows the routes that give tokens for realtime and streams: [`PATTERNS_TOKENS`]. Off by
    /// default, because whoever has a token needs the proxy no more until it expires.
    #[must_use]
    pub fn with_tokens(mut self) -> Self {
        let tokens = PATTERNS_TOKENS.iter().map(|text| built_in(text));
        self.urls.extend(tokens);
        self
    }

    /// Sets the endpoints that may be run. Default: all. Jobs that exist already may be asked about and
    /// cancelled all the same, by whoever knows their ids.
    ///
    /// Holds for every POST outside of `fal.ai`, as in fal's library, and for every other method
    /// that would run a model.
    ///
    /// # Errors
    /// [`PatternError`] for the first that is no pattern.
    pub fn with_endpoints<'a>(
        mut self,
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, PatternError> {
        self.endpoints = patterns.into_iter().map(Pattern::endpoint).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Serves callers that nobody knows. Default false: they would spend the owner's money.
    #[must_use]
    pub const fn with_anonymous(mut self, allow: bool) -> Self {
        self.allows_anonymous = allow;
        self
    }

    /// Forwards the caller's own `Authorization`, if there is one, in place of the key. Default false.
    #[must_use]
    pub const fn with_forward_client_auth(mut self, forward: bool) -> Self {
        self.forwards_client_auth = forward;
        self
    }

    /// Forwards one more header of the caller. Without it these pass: `x-fal-*`, `accept` and
    /// `content-type`.
    ///
    /// # Errors
    /// [`InputError::Option`] for headers that are never forwarded: credentials, cookies, those of
    /// the connection, and those that the proxy sets itself.
    pub fn with_forward_header(mut self, name: HeaderName) -> Result<Self, InputError> {
        if forward::is_never_forwarded(&name) {
            return Err(InputError::option(name.as_str(), "this header is never forwarded"));
        }
        self.more_headers.push(name);
        Ok(self)
    }

    /// Answers refusals with the codes of the documented formula (405, 412, 415) instead of those of fal's
    /// library (400), and takes only JSON in a POST. Default false.
    #[must_use]
    pub const fn with_documented_codes(mut self, documented: bool) -> Self {
        self.documented_codes = documented;
        self
    }

    /// Sets how the proxy names itself in `x-fal-client-proxy`. Default: `fal-protocol/{version}`.
    #[must_use]
    pub fn with_name(mut self, name: HeaderValue) -> Self {
        self.name = name;
        self
    }

    /// Sets the longest body. Default: [`BODY_BYTES_MAX`].
    #[must_use]
    pub const fn with_body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Reaches every host below this address, with the host's name as first segment, as a mock server offers
    /// them. The key goes there too.
    ///
    /// # Errors
    /// [`InputError::Address`] as [`Hosts::under`](crate::Hosts::under), and for more than
    /// [`TARGET_BYTES_MAX`] bytes.
    pub fn with_base(mut self, base: &str) -> Result<Self, InputError> {
        let base = base.trim().trim_end_matches('/');
        crate::Hosts::under(base)?;
        if base.len() > TARGET_BYTES_MAX {
            return Err(InputError::address(base, "it is too long"));
        }
        self.base = Some(base.into());
        Ok(self)
    }

    /// The longest body that is taken. The server holds to it while it reads.
    #[must_use]
    pub const fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// Whether callers that nobody knows are served.
    #[must_use]
    pub const fn allows_anonymous(&self) -> bool {
        self.allows_anonymous
    }

    /// Judges a call by its head. The body is of no matter, so it need not have been read.
    ///
    /// `key` is what [`Credentials::header`](crate::Credentials::header) gives.
    ///
    /// # Errors
    /// [`Refusal`], in this order: method, target, its address, the caller, the endpoint, the key.
    pub fn judge(
        &self,
        method: &Method,
        headers: &HeaderMap,
        caller: Caller,
        key: Option<&HeaderValue>,
    ) -> Result<Forward, Refusal> {
        if ![Method::GET, Method::POST, Method::PUT, Method::DELETE].contains(method) {
            return Err(Refusal::Method);
        }
        let target = target_of(headers)?;
        if !self.urls.iter().any(|pattern| pattern.is_match(target.as_str())) {
            return Err(Refusal::TargetNotAllowed { is_fal: target.is_fal() });
        }
        if caller == Caller::Anonymous && !self.allows_anonymous {
            return Err(Refusal::CallerUnknown);
        }
        if !self.allows_endpoint(method, &target) {
            return Err(Refusal::EndpointNotAllowed);
        }
        if self.documented_codes && *method == Method::POST && !is_json(headers) {
            return Err(Refusal::ContentType);
        }
        let own = headers.get(header::AUTHORIZATION).filter(|_| self.forwards_client_auth);
        let authorization = own.or(key).ok_or(Refusal::NoKey)?;
        let mut passed = forward::request_headers(headers, &self.more_headers);
        if target.is_fal() {
            let mut authorization = authorization.clone();
            authorization.set_sensitive(true);
            passed.insert(header::AUTHORIZATION, authorization);
        }
        passed.insert(CLIENT_PROXY, self.name.clone());
        Ok(Forward::new(method.clone(), target, passed, self.base.as_deref()))
    }

    /// The headers of the service's answer that go back to the caller.
    ///
    /// `is_decoded` says that the body was decompressed on the way, as JavaScript's `fetch` does;
    /// then its encoding is no longer the one that the header names.
    ///
    /// Dropped are the length (the server frames the body itself), headers of the connection, cookies,
    /// and what would bind the caller's browser to the service: HSTS, `alt-svc`, CORS.
    #[must_use]
    pub fn answer_headers(headers: &HeaderMap, is_decoded: bool) -> HeaderMap {
        forward::answer_headers(headers, is_decoded)
    }

    /// The answer to a call that is not forwarded: its body is a JSON string, as in fal's library.
    #[must_use]
    pub fn refuse(&self, refusal: &Refusal) -> Response<Bytes> {
        Self::tell(refusal.status(self.documented_codes), &refusal.to_string())
    }

    /// An answer of the proxy's own, in the same shape: for what goes wrong while it forwards.
    #[must_use]
    pub fn tell(status: StatusCode, message: &str) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(serde_json::Value::from(message).to_string()));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }

    fn allows_endpoint(&self, method: &Method, target: &Target) -> bool {
        let is_free = target.is_fal_ai() || (*method != Method::POST && !target.is_run());
        let id = &target.path()[1..];
        self.endpoints.is_empty()
            || is_free
            || self.endpoints.iter().any(|pattern| pattern.is_match(id))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            urls: PATTERNS_DEFAULT.iter().map(|text| built_in(text)).collect(),
            endpoints: Vec::new(),
            allows_anonymous: false,
            forwards_client_auth: false,
            more_headers: Vec::new(),
            documented_codes: false,
            name: HeaderValue::from_static(concat!("fal-protocol/", env!("CARGO_PKG_VERSION"))),
            body_bytes_max: BODY_BYTES_MAX,
            base: None,
        }
    }
}

fn target_of(headers: &HeaderMap) -> Result<Target, Refusal> {
    let mut values = headers.get_all(TARGET_URL).iter();
    let value = values.next().ok_or(Refusal::TargetMissing)?;
    if values.next().is_some() {
        return Err(Refusal::TargetRepeated);
    }
    // What is no visible ASCII is no address either; the parser says so.
    let text = value.to_str().unwrap_or("\u{fffd}");
    Target::parse(text).map_err(Refusal::TargetMalformed)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

fn built_in(text: &str) -> Pattern {
    Pattern::url(text).expect("a test parses the built-in patterns")
}

/// Addresses that may be reached unless others are given.
///
/// Source: the list of `@fal-ai/server-proxy` 1.2.1 (official client source), and `initiate-multipart`, which
/// that list lacks, so that uploads of more than 90 MiB fail behind it.
pub const PATTERNS_DEFAULT: [&str; 5] = [
    "fal.run/**",
    "queue.fal.run/**",
    r"rest.fal.ai/storage/upload/initiate\?storage_type=fal-cdn-v3",
    r"rest.fal.ai/storage/upload/initiate-multipart\?storage_type=fal-cdn-v3",
    r"rest.fal.ai/storage/upload/complete-multipart\?storage_type=fal-cdn-v3",
];

/// The routes that give tokens: see [`Policy::with_tokens`].
///
/// Source: `auth.ts` of `@fal-ai/client` 1.10.1 (official client source).
pub const PATTERNS_TOKENS: [&str; 2] = ["rest.fal.ai/tokens/", "rest.fal.ai/tokens/realtime"];

/// Longest body unless told otherwise: 32 MiB. Files go to their signed address directly; what passes
/// here is JSON, at most with a picture or two as data URIs.
pub const BODY_BYTES_MAX: usize = 32 << 20;
