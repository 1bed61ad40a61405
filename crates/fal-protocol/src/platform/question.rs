//! What can be asked.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};

use super::storage::SIGNED_SECS_MAX;
use super::{Estimate, ModelsQuery, RequestsQuery, StorageSettings};
use crate::EndpointId;
use crate::error::InputError;
use crate::hosts::{Host, Hosts};
use crate::lifecycle::Acl;
use crate::wire::ANSWER_BYTES_MAX;

/// One question to the platform API, ready to be asked.
#[derive(Clone, PartialEq)]
pub struct Question {
    method: Method,
    /// Below `/v1/`.
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    headers: HeaderMap,
    bytes_max: usize,
}

impl Question {
    /// `GET /models`: one page of the catalogue, or the models of these ids.
    ///
    /// # Errors
    /// [`InputError::Option`] for more than [`IDS_MAX`] ids and for a limit of 0.
    pub fn models(query: &ModelsQuery) -> Result<Self, InputError> {
        let mut question = Self::get("models").with_ids(&query.endpoint_ids)?;
        question.add("q", query.text.as_deref());
        question.add("category", query.category.as_deref());
        question.add("status", query.status.as_deref());
        let limit = query.limit.or_else(|| query.openapi.then_some(EXPANDED_LIMIT));
        question.add_limit(limit, u32::MAX)?;
        question.add("cursor", query.cursor.as_deref());
        // Repeated, never with brackets: the service ignores those without a word.
        question.add("expand", query.openapi.then_some("openapi-3.0"));
        question.add("expand", query.enterprise_status.then_some("enterprise_status"));
        question.bytes_max = PAGE_BYTES_MAX;
        Ok(question)
    }

    /// `GET /models/pricing`: what a unit of these endpoints costs.
    ///
    /// # Errors
    /// [`InputError::Option`] unless there are 1 to [`IDS_MAX`] ids.
    pub fn prices(endpoint_ids: &[EndpointId], cursor: Option<&str>) -> Result<Self, InputError> {
        let mut question = Self::get("models/pricing").with_ids(endpoint_ids)?;
        if endpoint_ids.is_empty() {
            return Err(InputError::option("endpoint ids", "there must be at least one"));
        }
        question.add("cursor", cursor);
        Ok(question)
    }

    /// `POST /models/pricing/estimate`: what so many calls or units would cost.
    ///
    /// # Errors
    /// [`InputError::Option`] without endpoints, and for a quantity of nothing.
    pub fn estimate(estimate: &Estimate) -> Result<Self, InputError> {
        Ok(Self::new(Method::POST, "models/pricing/estimate").with_body(estimate.json()?))
    }

    /// `GET /serverless/apps/{owner}/{name}/queue`: how many requests wait for an app of one's own.
    #[must_use]
    pub fn queue_size(app: &EndpointId) -> Self {
        Self::get(format!("serverless/apps/{}/{}/queue", app.owner(), app.alias()))
    }

    /// `GET /models/requests/by-endpoint`: one page of the requests that an account has made.
    ///
    /// # Errors
    /// [`InputError::Option`] unless there are 1 to [`IDS_MAX`] endpoints, and for a limit out of range.
    pub fn requests(query: &RequestsQuery) -> Result<Self, InputError> {
        let mut question =
            Self::get("models/requests/by-endpoint").with_ids(&query.endpoint_ids)?;
        if query.endpoint_ids.is_empty() {
            return Err(InputError::option("endpoint ids", "there must be at least one"));
        }
        question.add("start", query.start.as_deref());
        question.add("end", query.end.as_deref());
        question.add("status", query.status.as_deref());
        question.add("request_id", query.request_id.as_deref());
        question.add("expand", query.payloads.then_some("payloads"));
        question.add("sort_by", query.sort_by.map(|sort| sort.as_str()));
        question.add_limit(query.limit, super::HISTORY_LIMIT_MAX)?;
        question.add("cursor", query.cursor.as_deref());
        question.bytes_max = PAGE_BYTES_MAX;
        Ok(question)
    }

    /// `DELETE /models/requests/{request_id}/payloads`: removes stored input and output of a request, and the
    /// files that it made; never the files that it took.
    ///
    /// # Errors
    /// [`InputError::Option`] when the id has another form than ids have.
    pub fn delete_payloads(request_id: &str) -> Result<Self, InputError> {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if request_id.is_empty() || request_id.len() > 64 || !request_id.bytes().all(is_id) {
            return Err(InputError::option("request id", "it is letters, digits and dashes"));
        }
        let path = format!("models/requests/{request_id}/payloads");
        Ok(Self::new(Method::DELETE, path))
    }

    /// `GET /storage/files/acl`: who may read a file.
    ///
    /// # Errors
    /// [`InputError::Address`] when `url` is no `https` or `http` address.
    pub fn acl(url: &str) -> Result<Self, InputError> {
        Self::get("storage/files/acl").with_url(url)
    }

    /// `PUT /storage/files/acl`: sets who may read a file. The answer is what was really set: rules for
    /// users that fal does not know are dropped (third-party reports).
    ///
    /// # Errors
    /// As [`acl`](Self::acl), and [`InputError::Option`] for rules that cannot be.
    pub fn set_acl(url: &str, acl: &Acl) -> Result<Self, InputError> {
        Ok(Self::new(Method::PUT, "storage/files/acl").with_url(url)?.with_body(acl.json()?))
    }

    /// `POST /storage/files/sign`: an address by which whoever has it may read the file, for so long.
    ///
    /// # Errors
    /// As [`acl`](Self::acl); [`InputError::Address`] when `url` has a query, and [`InputError::Option`] for
    /// less than a second or more than [`SIGNED_SECS_MAX`].
    pub fn sign(url: &str, time: Duration) -> Result<Self, InputError> {
        if url.contains('?') {
            return Err(InputError::address(url, "an address that has a query cannot be signed"));
        }
        let secs = time.as_secs();
        if secs == 0 || secs > SIGNED_SECS_MAX {
            let problem = format_args!("it must be 1 to {SIGNED_SECS_MAX} seconds");
            return Err(InputError::option("expiry", problem));
        }
        let body = json!({ "expiration_seconds": secs });
        Ok(Self::new(Method::POST, "storage/files/sign").with_url(url)?.with_body(body))
    }

    /// `GET /storage/settings`: how long files of the account live and who may read them, where a request says
    /// nothing else.
    #[must_use]
    pub fn storage_settings() -> Self {
        Self::get("storage/settings")
    }

    /// `PUT /storage/settings`: replaces all of them; what is `None` is cleared.
    ///
    /// # Errors
    /// [`InputError::Option`] for an expiry of no time and for rules that cannot be.
    pub fn set_storage_settings(settings: &StorageSettings) -> Result<Self, InputError> {
        Ok(Self::new(Method::PUT, "storage/settings").with_body(settings.json()?))
    }

    /// `GET /meta`: the networks that webhooks come from.
    #[must_use]
    pub fn meta() -> Self {
        Self::get("meta")
    }

    /// Sends this key, by which the service answers a repeat within 10 minutes as it answered the first time.
    ///
    /// # Errors
    /// [`InputError::Option`] for what cannot stand in a header.
    pub fn with_idempotency_key(mut self, key: &str) -> Result<Self, InputError> {
        let value = HeaderValue::from_str(key).ok().filter(|_| !key.is_empty());
        let value = value.ok_or_else(|| {
            InputError::option("idempotency key", "it is one or more visible characters")
        })?;
        self.headers.insert(HeaderName::from_static("idempotency-key"), value);
        Ok(self)
    }

    /// The address at these hosts.
    ///
    /// # Errors
    /// [`InputError::Address`] when it is longer than an address can be.
    pub fn uri(&self, hosts: &Hosts) -> Result<Uri, InputError> {
        let query: Vec<(&str, &str)> =
            self.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        hosts.uri(Host::Platform, &format!("v1/{}", self.path), &query)
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The body, if there is one.
    #[must_use]
    pub const fn body(&self) -> Option<&Value> {
        self.body.as_ref()
    }

    pub(super) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(super) fn into_parts(self) -> (Method, HeaderMap, Option<Bytes>) {
        (self.method, self.headers, self.body.map(|body| Bytes::from(body.to_string())))
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
            headers: HeaderMap::new(),
            bytes_max: ANSWER_BYTES_MAX,
        }
    }

    fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn with_ids(mut self, ids: &[EndpointId]) -> Result<Self, InputError> {
        if ids.len() > IDS_MAX {
            let problem = format_args!("there may be at most {IDS_MAX} in one question");
            return Err(InputError::option("endpoint ids", problem));
        }
        self.query.extend(ids.iter().map(|id| ("endpoint_id", id.to_string())));
        Ok(self)
    }

    fn with_url(mut self, url: &str) -> Result<Self, InputError> {
        let parsed: Option<Uri> = url.parse().ok();
        if !parsed.is_some_and(|uri| matches!(uri.scheme_str(), Some("https" | "http"))) {
            return Err(InputError::address(url, "it must be the absolute address of a file"));
        }
        self.query.push(("url", url.to_owned()));
        Ok(self)
    }

    fn add(&mut self, name: &'static str, value: Option<&str>) {
        self.query.extend(value.map(|value| (name, value.to_owned())));
    }

    fn add_limit(&mut self, limit: Option<u32>, max: u32) -> Result<(), InputError> {
        if limit.is_some_and(|limit| limit == 0 || limit > max) {
            return Err(InputError::option("limit", format_args!("it must be 1 to {max}")));
        }
        self.add("limit", limit.map(|limit| limit.to_string()).as_deref());
        Ok(())
    }
}

/// Prints no query: addresses of files stand there.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({} {})", self.method, self.path)
    }
}

/// Most ids in one question (documented).
pub const IDS_MAX: usize = 50;

/// How many models a page has at most when their documents are wanted and no limit is set: 10. The service
/// refuses 50 (third-party reports).
pub const EXPANDED_LIMIT: u32 = 10;

/// Longest page of models or requests: 64 MiB. The largest documents have a few hundred kilobytes, and stored
/// payloads may hold pictures.
pub const PAGE_BYTES_MAX: usize = 64 << 20;
