//! What is for other hosts, where it may pass.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::accept::After;
use super::body::{Body, Passed};
use super::{Shared, json};

/// Passes a request on to `target`, or opens a tunnel to it.
pub(super) async fn on(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    target: String,
    after: &After,
) -> Response<Body> {
    let method = request.method().clone();
    let result = match method {
        Method::CONNECT => open(request, &target, after).await,
        _ => forward(request, &target).await,
    };
    let response = result.unwrap_or_else(|error| {
        let text = format!("fal-mock could not reach {target}: {error}");
        json(StatusCode::BAD_GATEWAY, &text).map(Body::whole)
    });
    shared.note(&method, &target, "", response.status());
    response
}

/// Opens a tunnel in which it understands nothing.
async fn open(
    mut request: Request<Incoming>,
    target: &str,
    after: &After,
) -> Result<Response<Body>, Error> {
    let mut there = dial(request.uri(), target).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    after.then(Box::pin(async move {
        if let Ok(here) = upgrade.await {
            // How it ends is between those two.
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(here), &mut there).await;
        }
    }));
    Ok(Response::new(Body::whole(Bytes::new())))
}

/// Asks over plain HTTP and passes the answer on as it comes.
async fn forward(mut request: Request<Incoming>, target: &str) -> Result<Response<Body>, Error> {
    if request.uri().scheme() != Some(&http::uri::Scheme::HTTP) {
        return Err("only http:// is passed on like this: ask for a tunnel with CONNECT".into());
    }
    let stream = dial(request.uri(), target).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // Its error is the body's error as well.
        let _ = connection.await;
    });
    *request.uri_mut() =
        request.uri().path_and_query().map_or("/", |path| path.as_str()).parse()?;
    drop_hops(request.headers_mut());
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(target)?);
    let mut response = sender.send_request(request).await?;
    drop_hops(response.headers_mut());
    Ok(response.map(|body| Body::Passed(Box::new(Passed { body, _driver: driver }))))
}

async fn dial(uri: &Uri, target: &str) -> Result<TcpStream, Error> {
    let host = uri.host().unwrap_or(target).trim_matches(['[', ']']);
    let connecting = TcpStream::connect((host, uri.port_u16().unwrap_or(80)));
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
    Ok(tokio::time::timeout(CONNECT_TIME_MAX, connecting).await.map_err(late)??)
}

/// Removes the headers that are between two neighbours only.
pub(super) fn drop_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let hops = [
        header::CONNECTION,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in named.into_iter().chain(hops) {
        headers.remove(name);
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Until another host has taken the connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
