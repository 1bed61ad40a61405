//! HTTPS: whom it trusts, and HTTP/2.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fal_protocol::wire::{Body, FailureKind, Phase, Request, Sent};
use fal_transport_hyper::{Config, Exchange, Source, Transport, TransportError};
use http::{Method, Response};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::*;

/// A certificate authority of one test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// What a server of `name` needs.
    pub(crate) fn acceptor(&self, name: &str, alpn: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate: CertificateDer<'static> =
            params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    pub(crate) fn transport(&self) -> Transport {
        Transport::new(Config::default().with_extra_root_pem(self.pem.clone())).unwrap()
    }
}

/// An HTTPS peer at 127.0.0.1.
pub(crate) async fn tls_peer<F, Fut>(acceptor: TlsAcceptor, serve: F) -> SocketAddr
where
    F: Fn(usize, TlsStream<TcpStream>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    peer(move |number, stream| {
        let (acceptor, serve) = (acceptor.clone(), serve.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(number, stream).await;
            }
        }
    })
    .await
}

/// Answers over HTTP/1.1 until the other side closes.
pub(crate) async fn answer_ok(_: usize, mut stream: TlsStream<TcpStream>) {
    while !request(&mut stream).await.is_empty() {
        stream.write_all(OK).await.unwrap();
    }
}

pub(crate) fn https(address: SocketAddr) -> Request {
    Request::new(Method::GET, format!("https://{address}/a?b").parse().unwrap())
}

#[tokio::test]
async fn an_extra_root_is_trusted() {
    let authority = Authority::new();
    let transport = authority.transport();
    for alpn in [&["http/1.1"][..], &[]] {
        let address = tls_peer(authority.acceptor("127.0.0.1", alpn), answer_ok).await;
        for _ in 0..2 {
            let response = whole(&transport, https(address)).await.unwrap();
            assert_eq!(response.body(), "ok");
        }
    }
}

#[tokio::test]
async fn an_extra_root_file_is_trusted_and_must_exist() {
    let authority = Authority::new();
    let path = std::env::temp_dir().join(format!("fal-transport-root-{}.pem", std::process::id()));
    std::fs::write(&path, &authority.pem).unwrap();
    let address = tls_peer(authority.acceptor("127.0.0.1", &[]), answer_ok).await;
    let transport = Transport::new(Config::default().with_extra_root_file(&path)).unwrap();
    let result = whole(&transport, https(address)).await;
    std::fs::remove_file(&path).unwrap();
    assert_eq!(result.unwrap().body(), "ok");
    let transport = Transport::new(Config::default().with_extra_root_file(path)).unwrap();
    let failure =
        fails(whole(&transport, https(address)).await, Phase::Connect, Sent::No, FailureKind::Tls);
    assert!(failure.message.contains("extra root"), "{failure}");
}

#[tokio::test]
async fn a_stranger_and_a_namesake_are_not_trusted() {
    let authority = Authority::new();
    let stranger = tls_peer(Authority::new().acceptor("127.0.0.1", &[]), answer_ok).await;
    let namesake = tls_peer(authority.acceptor("queue.fal.run", &[]), answer_ok).await;
    let transport = authority.transport();
    for (address, why) in [(stranger, "issuer is unknown"), (namesake, "for another host")] {
        let result = whole(&transport, https(address)).await;
        let failure = fails(result, Phase::Connect, Sent::No, FailureKind::Tls);
        assert!(failure.message.starts_with("certificate not trusted: "), "{failure}");
        assert!(failure.message.contains(why), "{failure}");
    }
}

#[tokio::test]
async fn a_handshake_that_is_cut_is_no_verdict() {
    let address = peer(|_, mut stream| async move {
        stream.read_exact(&mut [0; 10]).await.unwrap();
    })
    .await;
    let result = whole(&transport(), https(address)).await;
    fails(result, Phase::Connect, Sent::No, FailureKind::Closed);
    let plain = peer(|_, mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        until_closed(&mut stream).await;
    })
    .await;
    let result = whole(&transport(), https(plain)).await;
    fails(result, Phase::Connect, Sent::No, FailureKind::Tls);
}

#[test]
fn a_root_that_is_none_is_refused() {
    for bad in ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = Transport::new(Config::default().with_extra_root_pem(bad)).unwrap_err();
        assert!(matches!(error, TransportError::Root { .. }), "{bad:?}: {error}");
    }
}

#[tokio::test]
async fn a_connection_cut_without_the_end_of_tls_is_closed() {
    let authority = Authority::new();
    let address = tls_peer(authority.acceptor("127.0.0.1", &[]), |_, mut stream| async move {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhel").await.unwrap();
        stream.flush().await.unwrap();
    })
    .await;
    let result = whole(&authority.transport(), https(address)).await;
    fails(result, Phase::Read, Sent::Maybe, FailureKind::Closed);
}

#[tokio::test]
async fn a_connection_that_died_at_rest_is_replaced_under_tls_too() {
    let authority = Authority::new();
    for orderly in [true, false] {
        let (closed_tx, mut closed) = tokio::sync::mpsc::unbounded_channel();
        let arrived = Arc::new(tokio::sync::Notify::new());
        let may_close = Arc::clone(&arrived);
        let address = tls_peer(authority.acceptor("127.0.0.1", &[]), move |number, mut stream| {
            let (closed_tx, may_close) = (closed_tx.clone(), Arc::clone(&may_close));
            async move {
                request(&mut stream).await;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                if number > 0 {
                    return until_closed(&mut stream).await;
                }
                may_close.notified().await; // A reset would take the answer with it.
                match orderly {
                    true => stream.shutdown().await.unwrap(),
                    false => reset(stream.into_inner().0),
                }
                closed_tx.send(()).unwrap();
            }
        })
        .await;
        let transport = authority.transport();
        assert_eq!(whole(&transport, https(address)).await.unwrap().body(), "0");
        arrived.notify_one();
        in_time(closed.recv()).await.unwrap();
        settle().await;
        assert_eq!(whole(&transport, https(address)).await.unwrap().body(), "1", "{orderly}");
    }
}

/// An HTTP/2 peer that treats each stream as `serve` says.
async fn http2_peer<F>(authority: &Authority, serve: F) -> SocketAddr
where
    F: Fn(usize, http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>)
        + Clone
        + Send
        + Sync
        + 'static,
{
    tls_peer(authority.acceptor("127.0.0.1", &["h2"]), move |number, stream| {
        let serve = serve.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                serve(number, request, respond);
            }
        }
    })
    .await
}

#[tokio::test]
async fn http2_is_shared() {
    let authority = Authority::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let waiting = Arc::new(Mutex::new(Vec::new()));
    let address = {
        let (seen, waiting) = (Arc::clone(&seen), Arc::clone(&waiting));
        http2_peer(&authority, move |number, request, mut respond| {
            seen.lock().unwrap().push((
                number,
                request.uri().to_string(),
                request.headers().clone(),
            ));
            if request.method() == Method::GET {
                let head = Response::new(());
                respond.send_response(head, false).unwrap().send_data("ok".into(), true).unwrap();
                return;
            }
            // Posts are answered together, when three are there.
            let mut waiting = waiting.lock().unwrap();
            waiting.push(respond);
            if waiting.len() == 3 {
                for mut respond in waiting.drain(..) {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            }
        })
        .await
    };
    let transport = authority.transport();
    let response = whole(&transport, https(address)).await.unwrap();
    assert_eq!((response.version(), &response.body()[..]), (http::Version::HTTP_2, &b"ok"[..]));
    let mut posts = Vec::new();
    for _ in 0..3 {
        let transport = transport.clone();
        let mut post = https(address).with_body(Body::Bytes("{}".into()));
        post.method = Method::POST;
        posts.push(tokio::spawn(async move { whole(&transport, post).await }));
    }
    for post in posts {
        assert_eq!(joined(post).await.unwrap().body(), "");
    }
    let seen = seen.lock().unwrap();
    for (number, uri, headers) in &*seen {
        assert_eq!((*number, uri.as_str()), (0, &*format!("https://{address}/a?b")));
        assert_eq!(headers.get("host"), None);
    }
    assert_eq!(seen[1].2["content-length"], "2");
}

#[tokio::test]
async fn a_refused_stream_was_not_sent_and_a_cancelled_one_maybe() {
    let authority = Authority::new();
    for (reason, sent) in [
        (h2::Reason::REFUSED_STREAM, Sent::No),
        (h2::Reason::CANCEL, Sent::Maybe),
        (h2::Reason::INTERNAL_ERROR, Sent::Maybe),
    ] {
        let address =
            http2_peer(&authority, move |_, _, mut respond| respond.send_reset(reason)).await;
        let result = whole(&authority.transport(), https(address)).await;
        fails(result, Phase::Read, sent, FailureKind::Closed);
    }
}

/// Speaks just enough HTTP/2 to answer the first request with these frames.
async fn raw_http2_peer(authority: &Authority, frames: &'static [u8], closes: bool) -> SocketAddr {
    tls_peer(authority.acceptor("127.0.0.1", &["h2"]), move |_, mut stream| async move {
        stream.read_exact(&mut [0; 24]).await.unwrap(); // The preface.
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap(); // SETTINGS
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
            if head[3] == 1 {
                break; // HEADERS
            }
        }
        stream.write_all(frames).await.unwrap();
        stream.flush().await.unwrap();
        if !closes {
            until_closed(&mut stream).await;
        }
    })
    .await
}

/// GOAWAY without an error, whose last stream is 0.
const GOAWAY_BELOW: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// GOAWAY without an error, whose last stream is 1: the first request.
const GOAWAY_AT: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
/// GOAWAY with INTERNAL_ERROR, whose last stream is 1.
const GOAWAY_ERROR_AT: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];

#[tokio::test]
async fn a_goaway_disowns_only_what_it_does_not_name() {
    let authority = Authority::new();
    for (frames, sent) in [
        (GOAWAY_BELOW, Sent::No),
        (GOAWAY_AT, Sent::Maybe),
        (GOAWAY_ERROR_AT, Sent::Maybe),
        (&[], Sent::Maybe),
    ] {
        let address = raw_http2_peer(&authority, frames, true).await;
        let result = whole(&authority.transport(), https(address)).await;
        fails(result, Phase::Read, sent, FailureKind::Closed);
    }
}

#[tokio::test]
async fn after_a_goaway_another_connection_is_opened() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", &["h2"]);
    let address = tls_peer(acceptor, |number, stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let body = number.to_string().into();
            respond.send_response(Response::new(()), false).unwrap().send_data(body, true).unwrap();
            connection.graceful_shutdown();
        }
    })
    .await;
    let transport = authority.transport();
    let mut last = String::new();
    for _ in 0..3 {
        let body = whole(&transport, https(address)).await.unwrap().into_body();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_ne!(body, last);
        last = body;
        settle().await; // The GOAWAY follows the answer.
    }
}

#[tokio::test]
async fn dropping_a_stream_resets_it_and_keeps_the_connection() {
    let authority = Authority::new();
    let (reset_tx, mut resets) = tokio::sync::mpsc::unbounded_channel();
    let address = http2_peer(&authority, move |number, request, mut respond| {
        if request.method() == Method::GET {
            let body = number.to_string().into();
            respond.send_response(Response::new(()), false).unwrap().send_data(body, true).unwrap();
            return;
        }
        let reset_tx = reset_tx.clone();
        tokio::spawn(async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data("start".into(), false).unwrap();
            let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
            reset_tx.send(reason).unwrap();
        });
    })
    .await;
    let transport = authority.transport();
    let mut post = https(address);
    post.method = Method::POST;
    let mut chunks = chunks(&transport, post).await.unwrap();
    assert_eq!(in_time(chunks.next()).await.unwrap().unwrap(), "start");
    drop(chunks);
    assert_eq!(in_time(resets.recv()).await, Some(h2::Reason::CANCEL));
    assert_eq!(whole(&transport, https(address)).await.unwrap().body(), "0");
}

#[tokio::test]
async fn a_dead_http2_connection_is_noticed() {
    let authority = Authority::new();
    let (asked_tx, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let acceptor = authority.acceptor("127.0.0.1", &["h2"]);
    let address = tls_peer(acceptor, move |_, mut stream| {
        let asked_tx = asked_tx.clone();
        async move {
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap(); // SETTINGS
            stream.read_exact(&mut [0; 24]).await.unwrap();
            asked_tx.send(()).unwrap();
            until_closed(&mut stream).await; // Answers neither request nor ping.
        }
    })
    .await;
    let transport = authority.transport();
    let sending = tokio::spawn(async move { transport.send(Exchange::new(https(address))).await });
    in_time(asked.recv()).await.unwrap();
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    let result = sending.await.unwrap();
    fails(result, Phase::Read, Sent::Maybe, FailureKind::Timeout);
    assert!(before.elapsed() <= Duration::from_secs(31), "{:?}", before.elapsed());
}

#[tokio::test]
async fn an_upload_over_http2_is_flow_controlled_and_told() {
    let authority = Authority::new();
    let (taken_tx, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let address = http2_peer(&authority, move |_, request, mut respond| {
        let taken_tx = taken_tx.clone();
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut total = 0;
            while let Some(Ok(piece)) = body.data().await {
                body.flow_control().release_capacity(piece.len()).unwrap();
                total += piece.len();
            }
            taken_tx.send(total).unwrap();
            let _ = respond.send_response(Response::new(()), true);
        });
    })
    .await;
    let transport = authority.transport();
    let upload = |range| {
        let mut put = https(address).with_body(Body::Source { range });
        put.method = Method::PUT;
        put
    };
    let told = Arc::new(Mutex::new(0));
    let exchange = {
        let told = Arc::clone(&told);
        Exchange::new(upload(0..3_000_000))
            .with_source(Source::bytes(vec![7; 3_000_000]))
            .with_on_sent(move |sent| *told.lock().unwrap() = sent)
    };
    assert_eq!(whole(&transport, exchange).await.unwrap().body(), "");
    assert_eq!(*told.lock().unwrap(), 3_000_000);
    assert_eq!(taken.recv().await, Some(3_000_000));

    let missing = Source::file("/nonexistent/fal-transport");
    let exchange = Exchange::new(upload(0..9)).with_source(missing);
    let failure = whole(&transport, exchange).await.unwrap_err();
    assert_eq!((failure.phase, failure.kind), (Phase::Write, FailureKind::Source), "{failure}");
}

#[tokio::test]
async fn an_early_answer_over_http2_ends_the_upload() {
    let authority = Authority::new();
    let address = raw_http2_peer(&authority, REFUSAL_AND_RESET, false).await;
    let mut put = https(address).with_body(Body::Bytes(vec![0; 8 << 20].into()));
    put.method = Method::PUT;
    let response = whole(&authority.transport(), put).await.unwrap();
    assert_eq!(response.status().as_u16(), 413);
}

/// HEADERS with status 413 and the end of the stream, then RST_STREAM with NO_ERROR.
const REFUSAL_AND_RESET: &[u8] =
    b"\0\0\x05\x01\x05\0\0\0\x01\x48\x03413\0\0\x04\x03\0\0\0\0\x01\0\0\0\0";
/// HEADERS with status 200, DATA, then RST_STREAM with NO_ERROR.
const START_AND_RESET: &[u8] =
    b"\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x02\0\0\0\0\0\x01hi\0\0\x04\x03\0\0\0\0\x01\0\0\0\0";
/// HEADERS with status 200, DATA, then RST_STREAM with CANCEL.
const START_AND_CANCEL: &[u8] =
    b"\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x02\0\0\0\0\0\x01hi\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08";
/// HEADERS with status 200, then DATA, both without an end.
const START: &[u8] = b"\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x02\0\0\0\0\0\x01hi";

#[tokio::test]
async fn a_body_cut_by_http2_is_a_failure() {
    let authority = Authority::new();
    for (frames, closes) in [(START_AND_RESET, false), (START_AND_CANCEL, false), (START, true)] {
        let address = raw_http2_peer(&authority, frames, closes).await;
        let result = whole(&authority.transport(), https(address)).await;
        fails(result, Phase::Read, Sent::Maybe, FailureKind::Closed);
    }
}
