//! What all machines of one client share.

use std::time::Duration;

use http::{HeaderValue, header};

use crate::auth::Credentials;
use crate::hosts::Hosts;
use crate::retry::{RetryBudget, RetryPolicy};
use crate::wire::Request;

/// Hosts, credentials and limits that every machine of a client reads. Share it in an `Arc`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Where the service is. Default: the real one.
    pub hosts: Hosts,
    /// Who calls. Default: nobody.
    pub credentials: Credentials,
    /// The `User-Agent`. Default: `fal-protocol/{version}`.
    pub user_agent: HeaderValue,
    /// Rules for repeats.
    pub retry: RetryPolicy,
    /// The store that retries draw from; clones share it.
    pub budget: RetryBudget,
    /// Longest wait for one answer, from sending the request to the last byte. Default 60 s.
    ///
    /// Not for direct runs and streams. Precedent: 120 s in the Python client, none in the JS client.
    pub attempt_timeout: Duration,
    /// The same for a direct run, whose answer comes when the model is done, and for the first byte of a
    /// stream. Default 61 min: fal ends an app's request after 60 min unless the app says otherwise.
    pub run_timeout: Duration,
    /// Longest wait between two pieces of an upload going out. Default 60 s.
    pub upload_idle_timeout: Duration,
    /// How long a cancel may take once the caller gave up. Default 5 s.
    pub cancel_timeout: Duration,
    /// Longest result taken. Default 256 MiB: a result may hold whole files as data URIs.
    pub result_bytes_max: usize,
}

impl Settings {
    /// Adds what every request to fal's own hosts carries. Foreign hosts get none of it.
    pub(crate) fn sign(&self, mut request: Request) -> Request {
        request.headers.insert(header::USER_AGENT, self.user_agent.clone());
        if self.hosts.trusts(&request.uri) {
            request.wants_credentials = true;
            request.authorize(&self.credentials);
        }
        request
    }

    /// Takes away what a foreign host, to which a redirect leads, is not to see.
    pub(crate) fn strip(request: &mut Request) {
        request.wants_credentials = false;
        let headers = &mut request.headers;
        let fal = |name: &header::HeaderName| {
            *name == header::AUTHORIZATION || name.as_str().starts_with("x-fal-")
        };
        let names: Vec<_> = headers.keys().filter(|name| fal(name)).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: Hosts::fal(),
            credentials: Credentials::Anonymous,
            user_agent: HeaderValue::from_static(concat!(
                "fal-protocol/",
                env!("CARGO_PKG_VERSION")
            )),
            retry: RetryPolicy::default(),
            budget: RetryBudget::default(),
            attempt_timeout: Duration::from_secs(60),
            run_timeout: Duration::from_secs(61 * 60),
            upload_idle_timeout: Duration::from_secs(60),
            cancel_timeout: Duration::from_secs(5),
            result_bytes_max: 256 << 20,
        }
    }
}
