//! WebSockets: the handshake, what it is refused with, TLS, proxies, and messages.

use bytes::Bytes;
use fal_protocol::wire::{Close, Expect, Failure, FailureKind, Message, Phase, Request, Sent};
use fal_transport_hyper::{Config, Transport, Upgrade, WebSocket};
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::*;
use crate::tls::{Authority, https, tls_peer};

fn asking(request: Request) -> Request {
    request.with_expect(Expect::WebSocket { message_bytes_max: 1 << 20 })
}

async fn open(transport: &Transport, request: Request) -> Result<WebSocket, Failure> {
    match in_time(transport.upgrade(asking(request))).await? {
        Upgrade::Open(head, socket) => {
            assert_eq!(head.status(), 101);
            Ok(socket)
        }
        Upgrade::Refused(response) => panic!("refused: {response:?}"),
    }
}

/// Agrees to a handshake; returns what was asked.
async fn agree(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), more: &str) -> String {
    let asked = request(stream).await;
    let key = asked.lines().find_map(|line| line.strip_prefix("Sec-Websocket-Key: "));
    let accept = derive_accept_key(key.expect("a key").as_bytes());
    let text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    asked
}

/// Says hello, and then repeats what it hears.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    use futures_util::{SinkExt, StreamExt};
    agree(&mut stream, "").await;
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    socket.send("hello".into()).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() || message.is_binary() {
            socket.send(message).await.unwrap();
        }
    }
}

async fn speaks(mut socket: WebSocket) {
    assert_eq!(in_time(socket.next()).await, Some(Ok(Message::text("hello"))));
    for message in [Message::text("ü"), Message::Binary(Bytes::from(vec![7; 70_000]))] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(in_time(socket.next()).await, Some(Ok(message)));
    }
    socket.send(Message::Close(Close::normal().with_reason("é".repeat(100)))).await.unwrap();
    let Some(Ok(Message::Close(close))) = in_time(socket.next()).await else { panic!("a close") };
    assert_eq!(close.code, Some(1000));
    assert_eq!(in_time(socket.next()).await, None);
}

#[tokio::test]
async fn messages_go_both_ways_and_the_end_is_in_order() {
    let address = peer(|_, stream| echo(stream)).await;
    speaks(open(&transport(), get(address, "/a?b")).await.unwrap()).await;
}

#[tokio::test]
async fn handshake_has_what_belongs_to_it_and_nothing_else() {
    let (asked_tx, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let address = peer(move |_, mut stream| {
        let asked_tx = asked_tx.clone();
        async move {
            asked_tx.send(agree(&mut stream, "").await).unwrap();
            until_closed(&mut stream).await;
        }
    })
    .await;
    let mut key = HeaderValue::from_static("Key id:secret");
    key.set_sensitive(true);
    let request = get(address, "/a?b").with_header(http::header::AUTHORIZATION, key);
    let socket = open(&transport(), request).await.unwrap();
    assert!(!format!("{socket:?}").contains("secret"));
    let head = asked.recv().await.unwrap();
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    for line in [
        format!("Host: {address}"),
        "Connection: Upgrade".to_owned(),
        "Upgrade: websocket".to_owned(),
        "Sec-Websocket-Version: 13".to_owned(),
        "Authorization: Key id:secret".to_owned(),
    ] {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    assert!(!head.contains("Extensions"), "{head}");
}

#[tokio::test]
async fn tls_offers_http1_alone() {
    let authority = Authority::new();
    let address = tls_peer(authority.acceptor("127.0.0.1", &["h2", "http/1.1"]), |_, stream| {
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        echo(stream)
    })
    .await;
    speaks(open(&authority.transport(), https(address)).await.unwrap()).await;
    let result = open(&transport(), https(address)).await.map(|_| ());
    fails(result, Phase::Connect, Sent::No, FailureKind::Tls);
}

#[tokio::test]
async fn it_goes_through_the_tunnel() {
    let authority = Authority::new();
    let address = tls_peer(authority.acceptor("127.0.0.1", &[]), |_, stream| echo(stream)).await;
    let proxy = peer(|_, mut stream| async move {
        let asked = request(&mut stream).await;
        let target = asked.split(' ').nth(1).unwrap().to_owned();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        let mut onward = TcpStream::connect(target).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut onward).await;
    })
    .await;
    let config = Config::default()
        .with_extra_root_pem(authority.pem.clone())
        .with_https_proxy(proxy.to_string());
    speaks(open(&Transport::new(config).unwrap(), https(address)).await.unwrap()).await;
    let refusing = says("HTTP/1.1 403 Forbidden\r\n\r\n").await;
    let config = Config::default().with_https_proxy(refusing.to_string());
    let result = open(&Transport::new(config).unwrap(), https(address)).await.map(|_| ());
    fails(result, Phase::Connect, Sent::No, FailureKind::Proxy);
}

#[tokio::test]
async fn refusals_come_whole() {
    for (answer, status, body) in [
        (&b"HTTP/1.1 401 No\r\ncontent-length: 5\r\n\r\nsorry"[..], 401, "sorry"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok"),
        (b"HTTP/1.1 307 Go\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", 307, ""),
    ] {
        let request = asking(get(says(answer).await, "/"));
        let Ok(Upgrade::Refused(response)) = in_time(transport().upgrade(request)).await else {
            panic!("it was no agreement")
        };
        assert_eq!((response.status().as_u16(), &response.body()[..]), (status, body.as_bytes()));
    }
}

#[tokio::test]
async fn failures_say_how_far_it_came() {
    let (listener, closed) = listen().await;
    drop(listener);
    let result = open(&transport(), get(closed, "/")).await.map(|_| ());
    fails(result, Phase::Connect, Sent::No, FailureKind::Refused);
    let result = open(&transport(), get(says_and_closes("").await, "/")).await.map(|_| ());
    fails(result, Phase::Read, Sent::Maybe, FailureKind::Closed);
    let result = open(&transport(), get(says("garbage\r\n\r\n").await, "/")).await.map(|_| ());
    fails(result, Phase::Read, Sent::Maybe, FailureKind::Malformed);
    let request = get(closed, "/").with_expect(Expect::Chunks);
    let result = in_time(transport().upgrade(request)).await.map(|_| ());
    fails(result, Phase::Connect, Sent::No, FailureKind::Other);
}

#[tokio::test]
async fn false_agreements_are_refused() {
    for answer in [
        "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n",
        "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ] {
        let result = open(&transport(), get(says(answer).await, "/")).await.map(|_| ());
        fails(result, Phase::Read, Sent::Maybe, FailureKind::Malformed);
    }
    for more in
        ["Sec-WebSocket-Extensions: permessage-deflate\r\n", "Sec-WebSocket-Protocol: x\r\n"]
    {
        let address = peer(move |_, mut stream| async move {
            agree(&mut stream, more).await;
            until_closed(&mut stream).await;
        })
        .await;
        let result = open(&transport(), get(address, "/")).await.map(|_| ());
        fails(result, Phase::Read, Sent::Maybe, FailureKind::Malformed);
    }
}

/// Frames by hand, because no library writes them wrong.
async fn after(frames: &'static [u8]) -> WebSocket {
    let address = peer(move |_, mut stream| async move {
        agree(&mut stream, "").await;
        stream.write_all(frames).await.unwrap();
        if frames.is_empty() {
            return reset(stream);
        }
        stream.shutdown().await.unwrap();
        until_closed(&mut stream).await;
    })
    .await;
    open(&transport(), get(address, "/")).await.unwrap()
}

#[tokio::test]
async fn broken_connections_and_frames_are_failures() {
    for (frames, kind) in [
        (&b""[..], FailureKind::Closed),
        (b"\x81\x05he", FailureKind::Closed),          // Cut.
        (b"\x81\x02\xff\xfe", FailureKind::Malformed), // No UTF-8.
        (b"\xc1\x00", FailureKind::Malformed),         // A bit that nobody agreed to.
        (b"\x82\x7f\0\0\0\0\x00\x20\0\0", FailureKind::TooLarge),
    ] {
        let mut socket = after(frames).await;
        let failure = in_time(socket.next()).await.unwrap().unwrap_err();
        assert_eq!((failure.phase, failure.kind), (Phase::Read, kind), "{frames:?}: {failure}");
    }
}

#[tokio::test]
async fn ends_and_pieces_are_put_together() {
    let mut socket = after(b"\x01\x02he\x89\x01!\x80\x03llo\x88\x05\x03\xf3bye").await;
    assert_eq!(in_time(socket.next()).await, Some(Ok(Message::text("hello"))));
    let close = Message::Close(Close::new(Some(1011)).with_reason("bye"));
    assert_eq!(in_time(socket.next()).await, Some(Ok(close)));
    let mut socket = after(b"\x88\x00").await;
    assert_eq!(in_time(socket.next()).await, Some(Ok(Message::Close(Close::new(None)))));
    let refused = socket.start_send(Message::Text(Bytes::from_static(b"\xff"))).unwrap_err();
    assert_eq!(refused.kind, FailureKind::Source);
}
