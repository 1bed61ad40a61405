//! Opens connections: name, TCP, proxy, TLS.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, vec};

use fal_protocol::wire::{Failure, FailureKind};
use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::config::Config;
use crate::error::{TransportError, explain_io, find};
use crate::http1::Http1;
use crate::http2::Http2;
use crate::io::Stream;
use crate::origin::Origin;
use crate::pool::Pooled;
use crate::tls::{ALPN_HTTP2, Offer, Tls};

/// Opens connections as a [`Config`] says.
pub(crate) struct Connector {
    tcp: HttpConnector<Resolver>,
    proxy: Option<Matcher>,
    tls: Tls,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(config: &Config) -> Result<Self, TransportError> {
        let mut tcp = HttpConnector::new_with_resolver(Resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEP_ALIVE));
        // Shared among the addresses of a host, so that one that swallows packets leaves time for the
        // others.
        tcp.set_connect_timeout(Some(config.connect_timeout));
        let proxy = match &config.https_proxy {
            Some(url) => matcher(url, &config.no_proxy)?,
            None => None,
        };
        Ok(Self { tcp, proxy, tls: Tls::new(config)?, timeout: config.connect_timeout })
    }

    /// Opens a connection to `origin`.
    pub(crate) async fn connect(&self, origin: &Origin) -> Result<Pooled, Failure> {
        let opening = Box::pin(self.open(origin)); // Large and rare: kept out of the caller's future.
        self.in_time(opening).await
    }

    /// Opens a connection to `origin` that speaks HTTP/1.1 alone, and on which nothing was said yet.
    #[cfg(feature = "websocket")]
    pub(crate) async fn connect_http1(&self, origin: &Origin) -> Result<Stream, Failure> {
        let opening = Box::pin(async {
            let (stream, _) = self.stream(origin, Offer::Http1).await?;
            Ok(stream)
        });
        self.in_time(opening).await
    }

    async fn in_time<T>(
        &self,
        opening: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(self.timeout, opening).await.unwrap_or_else(|_| {
            let message = format!("no connection within {:?}", self.timeout);
            Err(Failure::connect(FailureKind::Timeout, message))
        })
    }

    async fn open(&self, origin: &Origin) -> Result<Pooled, Failure> {
        let (stream, is_http2) = self.stream(origin, Offer::Any).await?;
        if !is_http2 {
            return http1(stream, origin).await;
        }
        Http2::new(stream).await.map(Pooled::Http2).map_err(|e| handshake_failed(&e))
    }

    /// A stream on which nothing of HTTP was said yet, and whether HTTP/2 is to be spoken.
    async fn stream(&self, origin: &Origin, offer: Offer) -> Result<(Stream, bool), Failure> {
        let uri = origin.uri(PathAndQuery::from_static("/"));
        let tcp = match self.proxy.as_ref().and_then(|proxy| proxy.intercept(&uri)) {
            Some(proxy) => self.tunnel(&proxy, uri).await?,
            None => self.dial(uri).await?,
        };
        if !origin.https {
            return Ok((Stream::Plain(tcp), false));
        }
        let tls = self.tls.connect(origin, tcp, offer).await?;
        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
        Ok((Stream::Tls(Box::new(tls)), is_http2))
    }

    async fn dial(&self, uri: Uri) -> Result<TcpStream, Failure> {
        let stream = self.tcp.clone().call(uri).await.map_err(|e| dial_failed(&e))?;
        Ok(stream.into_inner())
    }

    async fn tunnel(&self, proxy: &Intercept, uri: Uri) -> Result<TcpStream, Failure> {
        let refuse = |message: String| Err(Failure::connect(FailureKind::Proxy, message));
        if proxy.uri().scheme() != Some(&Scheme::HTTP) {
            return refuse("only proxies with an http:// address are supported".to_owned());
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp.clone());
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        match tunnel.call(uri).await {
            Ok(stream) => Ok(stream.into_inner()),
            Err(e) => match find::<io::Error>(&e).is_some() {
                true => {
                    refuse(format!("the proxy could not be reached: {}", dial_failed(&e).message))
                }
                // Says what the proxy did, without its words.
                false => refuse(format!("the proxy gave no tunnel: {e}")),
            },
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("proxy", &self.proxy.as_ref().map(|_| "***"))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

async fn http1(stream: Stream, origin: &Origin) -> Result<Pooled, Failure> {
    let http1 = Http1::new(stream, origin.clone()).await.map_err(|e| handshake_failed(&e))?;
    Ok(Pooled::Http1(Box::new(http1)))
}

fn handshake_failed(error: &hyper::Error) -> Failure {
    let (kind, message) = match find::<io::Error>(error) {
        Some(e) => explain_io(e.kind()),
        None => (FailureKind::Other, error.to_string().into()),
    };
    Failure::connect(kind, message)
}

fn dial_failed(error: &(dyn StdError + 'static)) -> Failure {
    if let Some(Unresolved(e)) = find::<Unresolved>(error) {
        // The system's text distinguishes an unknown name from a resolver that did not answer.
        let message = format!("no such host: {e}");
        return Failure::connect(FailureKind::Dns, message);
    }
    let (kind, message) = match find::<io::Error>(error) {
        Some(e) => explain_io(e.kind()),
        None => (FailureKind::Other, error.to_string().into()),
    };
    Failure::connect(kind, message)
}

/// The rules of a proxy; none if they except every host.
fn matcher(url: &str, no_proxy: &str) -> Result<Option<Matcher>, TransportError> {
    let probe = Uri::from_static("https://host.invalid/");
    // The builder ignores what it cannot parse, which would send everything past the proxy.
    if Matcher::builder().https(url).build().intercept(&probe).is_none() {
        let problem = "its address must have the form http://host:port".into();
        return Err(TransportError::Proxy { problem });
    }
    // The library's `*` does not except hosts that are numeric addresses; curl's does.
    if no_proxy.split(',').any(|entry| entry.trim() == "*") {
        return Ok(None);
    }
    Ok(Some(Matcher::builder().https(url).no(no_proxy).build()))
}

/// Resolves names as the operating system does, and says when that is what failed.
#[derive(Clone, Debug)]
struct Resolver;

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Unresolved>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unresolved)?;
            Ok(found.collect::<Vec<_>>().into_iter())
        })
    }
}

/// A name that did not resolve.
#[derive(Debug)]
struct Unresolved(io::Error);

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Unresolved {}

/// A silent connection is probed by the operating system after this time.
///
/// Exchanges wait for minutes while a model runs; a NAT that has forgotten them is noticed so.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);
