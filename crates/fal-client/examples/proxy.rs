//! A proxy inside a server of your own: the page calls this server, which adds the key.
//!
//! `cargo run -p fal-client --example proxy`, then point `proxyUrl` of a client at the address that it
//! prints. With FAL_KEY it calls the real service, without it a mock in the same process.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use fal_client::{Credentials, Key};
use fal_protocol::proxy::{Caller, Policy, Refusal};
use fal_transport_hyper::{Answer, Config, Exchange, Transport};
use futures_util::TryStreamExt as _;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

type Body = UnsyncBoxBody<Bytes, fal_client::Failure>;

struct Proxy {
    policy: Policy,
    key: Option<HeaderValue>,
    transport: Transport,
}

impl Proxy {
    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        // 1. Who calls, and may they do that? No body has been read yet.
        let caller = caller(&parts.headers);
        let judged = self.policy.judge(&parts.method, &parts.headers, caller, self.key.as_ref());
        let forward = match judged {
            Ok(forward) => forward,
            Err(refusal) => return whole(self.policy.refuse(&refusal)),
        };
        // 2. The body, up to the limit.
        let body = Limited::new(body, self.policy.body_bytes_max()).collect().await;
        let Ok(body) = body else { return whole(self.policy.refuse(&Refusal::BodyTooLong)) };
        // 3. Perform it, and pass the answer on as it comes.
        let exchange = Exchange::new(forward.request(body.to_bytes()));
        match self.transport.send(exchange).await {
            Ok(Answer::Chunks(head, chunks)) => {
                let body = StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync();
                let mut response = Response::new(body);
                *response.status_mut() = head.status();
                *response.headers_mut() = Policy::answer_headers(head.headers(), false);
                response
            }
            Ok(Answer::Whole(answer)) => whole(answer),
            Err(failure) => whole(Policy::tell(StatusCode::BAD_GATEWAY, &failure.to_string())),
        }
    }
}

/// Here your session belongs: a cookie that is looked up, a token that is verified.
fn caller(headers: &HeaderMap) -> Caller {
    match headers.get("cookie") {
        Some(cookie) if cookie == "session=of-a-customer" => Caller::Known,
        _ => Caller::Anonymous,
    }
}

fn whole(answer: Response<Bytes>) -> Response<Body> {
    answer.map(|bytes| Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut policy = Policy::default().with_endpoints(["fal-ai/flux/**"])?;
    let mock = fal_mock::MockFal::builder().start().await?;
    let key = match std::env::var("FAL_KEY") {
        Ok(key) => Key::parse(&key)?,
        Err(_) => {
            policy = policy.with_base(&mock.url())?;
            Key::parse("any:key")?
        }
    };
    let key = Credentials::from(key).header();
    let transport = Transport::new(Config::from_env())?;
    let proxy = Arc::new(Proxy { policy, key, transport });

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("proxy at http://{}/api/fal/proxy", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let proxy = Arc::clone(&proxy);
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.respond(request).await) }
        });
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}
