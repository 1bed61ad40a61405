//! Performs deliveries: one connection for each attempt, plain HTTP.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Shared;
use crate::model::{DeliveryResult, TenantId};

/// One attempt to deliver.
#[derive(Debug)]
pub(crate) struct Letter {
    /// The tenant, and which of its services.
    pub(crate) whose: (TenantId, u32),
    pub(crate) id: u64,
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) time_max: Duration,
}

/// Makes deliveries until dropped; dropping cuts those that are under way.
pub(crate) async fn deliver_all(shared: Arc<Shared>, mut letters: mpsc::UnboundedReceiver<Letter>) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            letter = letters.recv(), if under_way.len() < UNDER_WAY_MAX => {
                let Some(letter) = letter else { return };
                under_way.spawn(deliver(Arc::clone(&shared), letter));
            }
            Some(_) = under_way.join_next() => {}
        }
    }
}

async fn deliver(shared: Arc<Shared>, letter: Letter) {
    let (whose, id, time_max) = (letter.whose, letter.id, letter.time_max);
    let result = match tokio::time::timeout(time_max, post(letter)).await {
        Ok(Ok(status)) => DeliveryResult::Answered(status),
        Ok(Err(error)) => DeliveryResult::Failed(error.to_string().into()),
        Err(_) => DeliveryResult::Failed(format!("no answer within {time_max:?}").into()),
    };
    shared.was_delivered(whose, id, result);
}

async fn post(letter: Letter) -> Result<StatusCode, Box<dyn Error + Send + Sync>> {
    let host = letter.url.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, letter.url.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Dropped with this future, and the connection with it.
    let mut driver = JoinSet::new();
    driver.spawn(connection);

    let mut request = Request::new(Full::new(letter.body));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = letter.headers;
    let authority = letter.url.authority().map_or("", |authority| authority.as_str());
    // A user name in an address is for nobody but its owner.
    let authority = authority.rsplit('@').next().unwrap_or_default();
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(authority)?);
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let path = letter.url.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse()?;
    let (head, mut body) = sender.send_request(request).await?.into_parts();
    // The status says it all; the body is read so that the receiver can end in peace.
    let mut left = ANSWER_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(bytes) else { break };
        left = rest;
    }
    Ok(head.status)
}

/// Attempts at once; further ones wait.
const UNDER_WAY_MAX: usize = 100;

/// Of an answer's body this much is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
