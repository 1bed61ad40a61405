//! The client's side: which requests go through a proxy, and how.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::TARGET_URL;
use crate::error::InputError;
use crate::hosts::{Host, Hosts};
use crate::wire::Request;

/// The way through a proxy.
///
/// Calls to the hosts of runs, the queue, uploads and account data go to the proxy's address, with the real
/// one in `x-fal-target-url`; method, body and other headers stay. Files go their own way: signed
/// addresses and downloads need no key.
///
/// Source: `middleware.ts` of `@fal-ai/client` 1.10.1 (official client source).
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    uri: Uri,
    sends_key: bool,
    headers: HeaderMap,
}

impl Route {
    /// The way through the proxy at this address, such as `https://app.example/api/fal/proxy`.
    ///
    /// # Errors
    /// [`InputError::Address`] when it is not an absolute `http` or `https` address, or has a user name.
    pub fn parse(url: &str) -> Result<Self, InputError> {
        let refuse = |why: &str| InputError::address(url, why);
        let uri: Uri =
            url.trim().parse().map_err(|e: http::uri::InvalidUri| refuse(&e.to_string()))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(refuse("it must begin with http:// or https://"));
        }
        let authority = uri.authority().ok_or_else(|| refuse("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("a user name in it would end up in logs; give a header instead"));
        }
        Ok(Self { uri, sends_key: false, headers: HeaderMap::new() })
    }

    /// Sends the client's key to the proxy. Default false: a proxy has its own.
    ///
    /// # Errors
    /// [`InputError::Address`] when the proxy is reached by plain `http` and not on this machine.
    pub fn with_key(mut self, send: bool) -> Result<Self, InputError> {
        let host = self.uri.host().unwrap_or_default();
        let is_here = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        if send && self.uri.scheme_str() == Some("http") && !is_here {
            let problem = "the key would go over the network unencrypted";
            return Err(InputError::address(&self.uri.to_string(), problem));
        }
        self.sends_key = send;
        Ok(self)
    }

    /// Adds a header that only the proxy is to see, such as a cookie or a token of its own. It is kept out of
    /// logs.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    /// The request as it goes out: through the proxy, or as it came when it is none of the proxy's business or
    /// has a target already.
    #[must_use]
    pub fn take(&self, hosts: &Hosts, mut request: Request) -> Request {
        if !Self::is_for_proxy(hosts, &request.uri) || request.headers.contains_key(TARGET_URL) {
            return request;
        }
        let Ok(mut target) = HeaderValue::try_from(request.uri.to_string()) else { return request };
        // Its query may be a secret: that keeps it out of what is printed.
        target.set_sensitive(true);
        request.uri = self.uri.clone();
        if !self.sends_key {
            request.headers.remove(header::AUTHORIZATION);
        }
        request.headers.extend(self.headers.clone());
        request.headers.insert(TARGET_URL, target);
        request
    }

    fn is_for_proxy(hosts: &Hosts, uri: &Uri) -> bool {
        let is_call = [Host::Run, Host::Queue, Host::Rest, Host::Platform]
            .into_iter()
            .any(|host| hosts.is_at(host, uri));
        // Everybody may read the keys of webhooks, and no stock proxy lets them through.
        is_call && !uri.path().ends_with("/.well-known/jwks.json")
    }
}
