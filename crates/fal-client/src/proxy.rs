use std::sync::Arc;

use async_trait::async_trait;
use fal_protocol::error::InputError;
use fal_protocol::hosts::Hosts;
use fal_protocol::proxy::Route;
use fal_protocol::wire::{Failure, Request};
use http::{HeaderName, HeaderValue};

use crate::transport::{Answer, Exchange, Transport, Upgrade};

/// A proxy that adds the key: for programs that must not hold it.
///
/// Calls go to the proxy's address with the real one in `x-fal-target-url`; it is what `fal-cli proxy`,
/// `@fal-ai/server-proxy` and the `proxyUrl` of the official clients speak. Files go to and from
/// their own addresses directly, and so do WebSockets: realtime needs a token, from a proxy that gives them
/// out (`fal-cli proxy --allow-tokens`) or from elsewhere.
///
/// ```
/// use fal_client::{Client, ProxyConfig};
///
/// let proxy = ProxyConfig::new("https://app.example/api/fal/proxy")?.header("cookie", "session=42")?;
/// let client = Client::builder().proxy(proxy).build()?; // It needs no key.
/// # Ok::<(), fal_client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    route: Route,
}

impl ProxyConfig {
    /// The proxy at this address.
    ///
    /// # Errors
    /// [`InputError::Address`] when it is not an absolute `http` or `https` address without a user name.
    pub fn new(url: impl AsRef<str>) -> Result<Self, InputError> {
        Ok(Self { route: Route::parse(url.as_ref())? })
    }

    /// Sends the client's own key to the proxy too. Default false.
    ///
    /// # Errors
    /// [`InputError::Address`] when the proxy is reached by plain `http` and not on this machine.
    pub fn send_key(mut self, send: bool) -> Result<Self, InputError> {
        self.route = self.route.with_key(send)?;
        Ok(self)
    }

    /// Adds a header that only the proxy is to see: a cookie, or a token by which it knows the caller.
    ///
    /// # Errors
    /// [`InputError::Option`] for a name or value that HTTP does not allow.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, InputError> {
        let refuse = |problem: &str| InputError::Option {
            name: format!("header {name:?}").into(),
            problem: problem.into(),
        };
        let parsed = name.parse::<HeaderName>().map_err(|_| refuse("this is not a header name"))?;
        let value = value
            .parse::<HeaderValue>()
            .map_err(|_| refuse("its value has a character that a header cannot carry"))?;
        self.route = self.route.with_header(parsed, value);
        Ok(self)
    }

    /// The transport that takes this way.
    pub(crate) fn over(self, inner: Arc<dyn Transport>, hosts: Hosts) -> Arc<dyn Transport> {
        Arc::new(Proxied { inner, route: self.route, hosts })
    }
}

/// Sends through the proxy what is for it.
#[derive(Debug)]
struct Proxied {
    inner: Arc<dyn Transport>,
    route: Route,
    hosts: Hosts,
}

#[async_trait]
impl Transport for Proxied {
    async fn send(self: Arc<Self>, mut exchange: Exchange) -> Result<Answer, Failure> {
        exchange.request = self.route.take(&self.hosts, exchange.request);
        Arc::clone(&self.inner).send(exchange).await
    }

    /// No proxy carries sockets: they go their own way, with a token that may have come through it.
    async fn upgrade(self: Arc<Self>, request: Request) -> Result<Upgrade, Failure> {
        Arc::clone(&self.inner).upgrade(request).await
    }
}
