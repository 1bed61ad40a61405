use std::fmt;
use std::str::FromStr;

use http::Uri;
use serde::{Deserialize, Serialize};

use crate::EndpointId;
use crate::endpoint::RESERVED_SEGMENT;
use crate::error::{InputError, excerpt};
use crate::hosts::{Host, Hosts, push_encoded};

/// A job: enough to follow it, take its result or cancel it, from any process on any machine.
///
/// Plain data without credentials. As JSON it has these fields; as text, `{endpoint}/requests/{id}`:
///
/// ```
/// use fal_protocol::queue::Handle;
///
/// let handle: Handle = "fal-ai/flux/dev/requests/7d0c".parse()?;
/// assert_eq!((handle.endpoint.as_str(), &*handle.request_id), ("fal-ai/flux/dev", "7d0c"));
/// assert_eq!(handle.to_string(), "fal-ai/flux/dev/requests/7d0c");
/// # Ok::<(), fal_protocol::InputError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Handle {
    /// The endpoint that the job was submitted to.
    pub endpoint: EndpointId,
    /// The service's id of the job; opaque, a UUID in practice.
    pub request_id: Box<str>,
    /// Where the service said that the status is. Followed only at the configured queue host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_url: Option<Box<str>>,
    /// Where the service said that the result is; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_url: Option<Box<str>>,
    /// Where the service said that the job is cancelled; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_url: Option<Box<str>>,
}

impl Handle {
    /// The handle of a job whose addresses follow from its id.
    #[must_use]
    pub fn new(endpoint: EndpointId, request_id: impl Into<Box<str>>) -> Self {
        let request_id = request_id.into();
        Self { endpoint, request_id, status_url: None, response_url: None, cancel_url: None }
    }

    pub(crate) fn status_uri(&self, hosts: &Hosts, logs: bool) -> Result<Uri, InputError> {
        let uri = self.address(hosts, self.status_url.as_deref(), "/status")?;
        with_logs(&uri, "", logs)
    }

    pub(crate) fn stream_uri(&self, hosts: &Hosts, logs: bool) -> Result<Uri, InputError> {
        let uri = self.address(hosts, self.status_url.as_deref(), "/status")?;
        with_logs(&uri, "/stream", logs)
    }

    pub(crate) fn response_uri(&self, hosts: &Hosts) -> Result<Uri, InputError> {
        self.address(hosts, self.response_url.as_deref(), "")
    }

    pub(crate) fn cancel_uri(&self, hosts: &Hosts) -> Result<Uri, InputError> {
        self.address(hosts, self.cancel_url.as_deref(), "/cancel")
    }

    /// The address that the service gave, if it lies at the queue host; else the one that the id gives.
    ///
    /// Built from the app alone, without the endpoint's path, as both official clients do. The model
    /// documents name the longer form, which no client uses.
    fn address(&self, hosts: &Hosts, given: Option<&str>, tail: &str) -> Result<Uri, InputError> {
        let given = given.and_then(|url| url.parse::<Uri>().ok());
        if let Some(uri) = given.filter(|uri| hosts.is_at(Host::Queue, uri)) {
            return Ok(uri);
        }
        let mut path = format!("{}/{RESERVED_SEGMENT}/", self.endpoint.app());
        push_encoded(&mut path, &self.request_id);
        path.push_str(tail);
        hosts.uri(Host::Queue, &path, &[])
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{RESERVED_SEGMENT}/{}", self.endpoint, self.request_id)
    }
}

/// Reads JSON, the text form, or an address of the job at the service.
impl FromStr for Handle {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let text = text.trim();
        let refuse = |problem: String| InputError::Handle { problem: problem.into() };
        if text.starts_with('{') {
            let handle: Self = serde_json::from_str(text).map_err(|e| refuse(e.to_string()))?;
            let empty = handle.request_id.is_empty();
            return if empty { Err(refuse("its request_id is empty".into())) } else { Ok(handle) };
        }
        let form = || {
            let shown = excerpt(text.as_bytes());
            refuse(format!(
                "{shown:?} has not the form fal-ai/flux/dev/requests/ID, nor is it JSON"
            ))
        };
        let path = match text.split_once("://") {
            Some((_, rest)) => rest.split_once('/').ok_or_else(form)?.1,
            None => text,
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path =
            path.strip_prefix(Host::Queue.name()).and_then(|p| p.strip_prefix('/')).unwrap_or(path);
        let separator = format!("/{RESERVED_SEGMENT}/");
        let (endpoint, rest) = path.split_once(&separator).ok_or_else(form)?;
        let request_id = rest.split('/').next().unwrap_or_default();
        if request_id.is_empty() {
            return Err(form());
        }
        Ok(Self::new(endpoint.parse()?, request_id))
    }
}

/// `uri` with `tail` after its path and `logs=1` or `logs=0` in its query, as documented. The Python
/// client sends `true` and `false` instead; the service takes both.
fn with_logs(uri: &Uri, tail: &str, logs: bool) -> Result<Uri, InputError> {
    let mut path = uri.path().trim_end_matches('/').to_owned();
    path.push_str(tail);
    path.push('?');
    if let Some(query) = uri.query() {
        path.push_str(query);
        path.push('&');
    }
    path.push_str(if logs { "logs=1" } else { "logs=0" });
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(
        path.parse()
            .map_err(|e: http::uri::InvalidUri| InputError::address(&path, &e.to_string()))?,
    );
    Uri::from_parts(parts).map_err(|e| InputError::address(uri.path(), &e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(id: &str) -> Handle {
        Handle::new("workflows/acme/flow/a/b".parse().unwrap(), id)
    }

    #[test]
    fn addresses_follow_from_the_app() {
        let (handle, hosts) = (handle("r/1"), Hosts::fal());
        let base = "https://queue.fal.run/workflows/acme/flow/requests/r%2F1";
        assert_eq!(
            handle.status_uri(&hosts, true).unwrap(),
            format!("{base}/status?logs=1").as_str()
        );
        assert_eq!(
            handle.stream_uri(&hosts, false).unwrap(),
            format!("{base}/status/stream?logs=0").as_str()
        );
        assert_eq!(handle.response_uri(&hosts).unwrap(), base);
        assert_eq!(handle.cancel_uri(&hosts).unwrap(), format!("{base}/cancel").as_str());
    }

    #[test]
    fn given_addresses_are_followed_only_at_the_queue() {
        let hosts = Hosts::fal();
        let mut handle = handle("r1");
        handle.response_url = Some("https://queue.falrun.com/x/requests/r1/response".into());
        handle.status_url = Some("https://queue.fal.run/x/requests/r1/status?a=1".into());
        handle.cancel_url = Some("https://evil.test/cancel".into());
        assert_eq!(
            handle.response_uri(&hosts).unwrap(),
            "https://queue.falrun.com/x/requests/r1/response"
        );
        assert_eq!(
            handle.stream_uri(&hosts, true).unwrap(),
            "https://queue.fal.run/x/requests/r1/status/stream?a=1&logs=1"
        );
        assert_eq!(
            handle.cancel_uri(&hosts).unwrap(),
            "https://queue.fal.run/workflows/acme/flow/requests/r1/cancel"
        );
    }

    #[test]
    fn every_form_is_read_back() {
        let mut full = handle("r1");
        full.status_url = Some("https://queue.fal.run/x/requests/r1/status".into());
        let json = serde_json::to_string(&full).unwrap();
        assert_eq!(json.parse::<Handle>().unwrap(), full);
        for text in [
            "workflows/acme/flow/a/b/requests/r1",
            "https://queue.fal.run/workflows/acme/flow/a/b/requests/r1/status?logs=1",
            "http://127.0.0.1:8787/queue.fal.run/workflows/acme/flow/a/b/requests/r1",
        ] {
            assert_eq!(text.parse::<Handle>().unwrap(), handle("r1"), "{text}");
        }
        for bad in
            ["", "r1", "{}", "a/b/requests/", "https://x", r#"{"endpoint":"a/b","request_id":""}"#]
        {
            bad.parse::<Handle>().unwrap_err();
        }
    }
}
