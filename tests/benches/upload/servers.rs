//! The servers: the mock, and a bare hyper server that forgets what it takes.

use std::convert::Infallible;
use std::io::Write;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Error;

/// Serves until it is ended; the first line of output is the port.
pub(crate) fn serve(name: &str) -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match name {
            "mock" => {
                let mock = fal_mock::MockFal::builder().instant().start().await?;
                announce(mock.port())?;
                std::future::pending::<()>().await;
                Ok(())
            }
            "limit" => accept().await,
            _ => Err(format!("no server is named {name}").into()),
        }
    })
}

async fn accept() -> Result<(), Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    announce(port)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(move |request| async move {
                Ok::<_, Infallible>(limit(request, port).await)
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

/// Takes whatever comes, and answers all that an upload wants to know.
async fn limit(request: Request<Incoming>, port: u16) -> Response<Full<Bytes>> {
    let is_put = *request.method() == Method::PUT;
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let text = match is_put {
        true => r#"{"partNumber":1,"etag":"e"}"#.to_owned(),
        false => {
            let url = format!("http://127.0.0.1:{port}/film");
            format!(r#"{{"file_url":"{url}","upload_url":"{url}?signature=s"}}"#)
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
