//! What becomes of odd answers.

use bytes::Bytes;
use fal_protocol::wire::{Expect, FailureKind, Phase, Sent};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tokio::io::AsyncWriteExt;

use crate::support::*;

#[track_caller]
fn body_is(result: Result<fal_protocol::wire::Response, fal_protocol::wire::Failure>, body: &[u8]) {
    assert_eq!(result.unwrap().body(), body);
}

#[tokio::test]
async fn the_head_is_what_was_asked() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let text = request(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        text
    });
    let mut sent = post(address, "{}")
        .with_header(HeaderName::from_static("x-fal-thing"), HeaderValue::from_static("yes"));
    sent.uri = format!("http://me:pw@{address}/a/b?c=%20d").parse().unwrap();
    sent.headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("999"));
    body_is(whole(&transport(), sent).await, b"ok");
    let text = joined(server).await.to_lowercase();
    assert!(text.starts_with("post /a/b?c=%20d http/1.1\r\n"), "{text}");
    assert!(text.contains(&format!("\r\nhost: {address}\r\n")), "{text}");
    assert!(text.contains("\r\nx-fal-thing: yes\r\n"), "{text}");
    assert!(text.contains("\r\ncontent-length: 2\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n{}"), "{text}");
    assert!(!text.contains("accept-encoding") && !text.contains("pw"), "{text}");
}

#[tokio::test]
async fn an_empty_post_says_so_and_a_get_does_not() {
    for (method, says_zero) in
        [(Method::POST, true), (Method::PUT, true), (Method::GET, false), (Method::DELETE, false)]
    {
        let (listener, address) = listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let text = request(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            text
        });
        let mut sent = get(address, "/");
        sent.method = method.clone();
        body_is(whole(&transport(), sent).await, b"ok");
        let text = joined(server).await;
        assert_eq!(text.contains("content-length: 0\r\n"), says_zero, "{method}: {text}");
        assert!(!text.contains("transfer-encoding"), "{method}: {text}");
    }
}

#[tokio::test]
async fn every_framing_is_read() {
    let transport = transport();
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\ntrailer: 1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        body_is(whole(&transport, get(says(answer).await, "/")).await, b"hello");
    }
    let closing = says_and_closes("HTTP/1.0 200 OK\r\n\r\nhello").await;
    body_is(whole(&transport, get(closing, "/")).await, b"hello");
    let empty = says("HTTP/1.1 204 No Content\r\n\r\n").await;
    body_is(whole(&transport, get(empty, "/")).await, b"");
}

#[tokio::test]
async fn duplicate_headers_are_kept_and_no_status_is_judged() {
    let answer = "HTTP/1.1 503 Busy\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 0\r\n\r\n";
    let response = whole(&transport(), get(says(answer).await, "/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a", "b"]);
}

#[tokio::test]
async fn the_length_that_a_head_answer_declares_is_not_awaited() {
    let address = says("HTTP/1.1 200 OK\r\ncontent-length: 123456789\r\n\r\n").await;
    let mut sent = get(address, "/");
    sent.method = Method::HEAD;
    body_is(whole(&transport(), sent).await, b"");
}

#[tokio::test]
async fn a_cut_body_is_a_failure() {
    let transport = transport();
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let result = whole(&transport, get(says_and_closes(answer).await, "/")).await;
        let failure = fails(result, Phase::Read, Sent::Maybe, FailureKind::Closed);
        assert_eq!(&*failure.message, "the peer closed the connection", "{answer}");
    }
}

#[tokio::test]
async fn pieces_arrive_as_they_are_sent() {
    let (listener, address) = listen().await;
    let (go_tx, mut go) = tokio::sync::mpsc::unbounded_channel();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        while let Some(piece) = go.recv().await {
            stream.write_all(piece).await.unwrap();
        }
    });
    let mut chunks = chunks(&transport(), get(address, "/")).await.unwrap();
    for (piece, data) in [(&b"3\r\nabc\r\n"[..], "abc"), (b"2\r\nde\r\n", "de")] {
        go_tx.send(piece).unwrap();
        assert_eq!(in_time(chunks.next()).await.unwrap().unwrap(), data);
    }
    assert_eq!(chunks.remaining(), None);
    go_tx.send(b"0\r\n\r\n").unwrap();
    assert_eq!(in_time(chunks.next()).await, None);
    assert_eq!(chunks.remaining(), Some(0));
    drop(go_tx);
    joined(server).await;
}

#[tokio::test]
async fn cut_chunks_end_with_one_error() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let mut chunks = chunks(&transport(), get(says_and_closes(answer).await, "/")).await.unwrap();
    assert_eq!(in_time(chunks.next()).await, Some(Ok(Bytes::from_static(b"hello"))));
    let last = in_time(chunks.next()).await.unwrap();
    fails(last, Phase::Read, Sent::Maybe, FailureKind::Closed);
    assert_eq!(in_time(chunks.next()).await, None);
}

#[tokio::test]
async fn a_long_answer_is_refused_declared_or_not() {
    let transport = transport();
    let limit = |address, bytes_max| get(address, "/").with_expect(Expect::Whole { bytes_max });
    for answer in [
        // Only the head: the declaration suffices.
        "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n",
    ] {
        let result = whole(&transport, limit(says(answer).await, 10)).await;
        let failure = fails(result, Phase::Read, Sent::Maybe, FailureKind::TooLarge);
        assert!(failure.message.contains("10 bytes"), "{failure}");
    }
    let fits = says("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world").await;
    body_is(whole(&transport, limit(fits, 11)).await, b"hello world");
    let huge = says("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551614\r\n\r\n").await;
    let result = whole(&transport, get(huge, "/")).await;
    assert!(matches!(result.unwrap_err().kind, FailureKind::TooLarge | FailureKind::Malformed));
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let transport = transport();
    let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut plain =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    plain.extend_from_slice(&body);
    body_is(whole(&transport, get(says(plain).await, "/")).await, &body);
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(70_001) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    body_is(whole(&transport, get(says(chunked).await, "/")).await, &body);
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    let transport = transport();
    let many: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    for answer in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(),
        "HTTP/1.1 2x0 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)),
    ] {
        let address = says(answer).await;
        let failure = fails(
            whole(&transport, get(address, "/?secret")).await,
            Phase::Read,
            Sent::Maybe,
            FailureKind::Malformed,
        );
        assert!(!failure.message.contains("secret"), "{failure}");
    }
}

#[tokio::test]
async fn a_broken_chunk_header_is_malformed() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n";
    let result = whole(&transport(), get(says(answer).await, "/")).await;
    fails(result, Phase::Read, Sent::Maybe, FailureKind::Malformed);
}
