//! The servers: the mock, a bare hyper server with fixed bodies, and a tiny queue for the clients.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Error;

/// Serves until it is ended; the first line of output is the port.
pub(crate) fn serve(name: &str) -> Result<(), Error> {
    // As the mock's program does it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match name {
            "mock" => {
                let mock = fal_mock::MockFal::builder().instant().start().await?;
                announce(mock.port())?;
                std::future::pending::<()>().await;
            }
            "limit" => accept(|request| Box::pin(limit(request))).await?,
            "queue" => {
                let polls = Arc::new(Mutex::new((0, BTreeMap::new())));
                accept(move |request| Box::pin(queue(request, Arc::clone(&polls)))).await?;
            }
            _ => return Err(format!("no server is named {name}").into()),
        }
        Ok(())
    })
}

type Answer = std::pin::Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

async fn accept(
    answer: impl Fn(Request<Incoming>) -> Answer + Clone + Send + 'static,
) -> Result<(), Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    announce(listener.local_addr()?.port())?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            // A client that goes away ends its connection, not the server.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn announce(port: u16) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{port}")?;
    Ok(out.flush()?)
}

/// No router, no state: the body of each kind as the mock sends it.
async fn limit(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = if *request.method() == Method::POST {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        SUBMIT
    } else if request.uri().path().ends_with("/status") {
        STATUS
    } else {
        RESULT
    };
    json(Bytes::from_static(body.as_bytes()))
}

/// Remembers how often each job was polled: COMPLETED at the third, or on its stream after 1 ms.
async fn queue(
    request: Request<Incoming>,
    polls: Arc<Mutex<(u64, BTreeMap<u64, u32>)>>,
) -> Response<Full<Bytes>> {
    let host =
        request.headers().get("host").and_then(|h| h.to_str().ok()).unwrap_or_default().to_owned();
    let path = request.uri().path().to_owned();
    if *request.method() == Method::POST {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        let id = {
            let mut polls = polls.lock().unwrap_or_else(PoisonError::into_inner);
            polls.0 += 1;
            let id = polls.0;
            polls.1.insert(id, 0);
            id
        };
        let base = format!("http://{host}/queue.fal.run/fal-ai/flux/requests/{id:08}");
        return json(Bytes::from(format!(
            r#"{{"status":"IN_QUEUE","request_id":"{id:08}","queue_position":0,"response_url":"{base}","status_url":"{base}/status","cancel_url":"{base}/cancel"}}"#
        )));
    }
    let id =
        path.split("/requests/").nth(1).and_then(|rest| rest.get(..8)?.parse().ok()).unwrap_or(0);
    if path.ends_with("/stream") {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let event = r#"data: {"status":"COMPLETED","request_id":"x","logs":null,"metrics":{"inference_time":0.8}}"#;
        let mut response = Response::new(Full::new(Bytes::from(format!("{event}\n\n"))));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        return response;
    }
    if !path.ends_with("/status") {
        return json(Bytes::from_static(RESULT.as_bytes()));
    }
    let mut polls = polls.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = polls.1.entry(id).or_default();
    *seen += 1;
    json(Bytes::from_static(match *seen {
        1 => br#"{"status":"IN_QUEUE","request_id":"x","queue_position":0,"logs":null,"metrics":{}}"#,
        2 => br#"{"status":"IN_PROGRESS","request_id":"x","logs":null,"metrics":{}}"#,
        _ => br#"{"status":"COMPLETED","request_id":"x","logs":null,"metrics":{"inference_time":0.8}}"#,
    }))
}

fn json(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

const SUBMIT: &str = r#"{"status":"IN_QUEUE","request_id":"764cabcf-b745-4b3e-ae38-1200304cf45b","response_url":"http://127.0.0.1/queue.fal.run/fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b","status_url":"http://127.0.0.1/queue.fal.run/fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b/status","cancel_url":"http://127.0.0.1/queue.fal.run/fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b/cancel","queue_position":0,"logs":null,"metrics":{}}"#;
const STATUS: &str = r#"{"status":"COMPLETED","request_id":"764cabcf-b745-4b3e-ae38-1200304cf45b","response_url":"http://127.0.0.1/queue.fal.run/fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b","status_url":"http://127.0.0.1/queue.fal.run/fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b/status","cancel_url":"http://127.0.0.1/queue.fal.run/fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b/cancel","logs":null,"metrics":{"inference_time":0.8}}"#;
const RESULT: &str = r#"{"images":[{"url":"http://127.0.0.1/v3.fal.media/files/otter/764cabcf-b745-4b3e-ae38-1200304cf45b.png","width":1024,"height":768,"content_type":"image/png","file_name":"764cabcf.png","file_size":51234}],"timings":{"inference":0.8},"seed":1234567890,"has_nsfw_concepts":[false],"prompt":"Extreme close-up of a single tiger eye, direct frontal view."}"#;
