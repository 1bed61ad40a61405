//! How far a failed exchange had come.

use std::time::Duration;

use fal_protocol::wire::{FailureKind, Phase, Request, Sent};
use fal_transport_hyper::{Config, Transport};
use http::{Method, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

#[tokio::test]
async fn nobody_listens() {
    let (listener, address) = listen().await;
    drop(listener);
    let result = whole(&transport(), post(address, "{}")).await;
    let failure = fails(result, Phase::Connect, Sent::No, FailureKind::Refused);
    assert_eq!(failure.to_string(), "could not connect: connection refused");
}

#[tokio::test]
async fn the_name_does_not_exist() {
    let uri = Uri::from_static("http://nonexistent.invalid/?secret");
    let result = whole(&transport(), Request::new(Method::GET, uri)).await;
    let failure = fails(result, Phase::Connect, Sent::No, FailureKind::Dns);
    assert!(failure.message.contains("no such host") && !failure.message.contains("secret"));
}

#[tokio::test]
async fn the_address_is_no_http_address() {
    for uri in ["ftp://127.0.0.1/", "/relative"] {
        let result = whole(&transport(), Request::new(Method::GET, Uri::from_static(uri))).await;
        fails(result, Phase::Connect, Sent::No, FailureKind::Other);
    }
}

#[tokio::test]
async fn the_handshake_takes_too_long() {
    let config = Config::default().with_connect_timeout(Duration::from_millis(100));
    let transport = Transport::new(config).unwrap();
    // Accepts by its backlog and never says a word.
    let (_listener, address) = listen().await;
    let uri = format!("https://{address}/").parse().unwrap();
    let result = whole(&transport, Request::new(Method::GET, uri)).await;
    let failure = fails(result, Phase::Connect, Sent::No, FailureKind::Timeout);
    assert!(failure.message.contains("100ms"), "{failure}");
}

#[tokio::test]
async fn the_peer_closes_without_a_word() {
    for orderly in [true, false] {
        let address = peer(move |_, mut stream| async move {
            request(&mut stream).await;
            if orderly { drop(stream) } else { reset(stream) }
        })
        .await;
        let result = whole(&transport(), post(address, "{}")).await;
        fails(result, Phase::Read, Sent::Maybe, FailureKind::Closed);
    }
}

#[tokio::test]
async fn the_peer_closes_in_the_middle_of_the_request() {
    for orderly in [true, false] {
        let address = peer(move |_, mut stream| async move {
            stream.read_exact(&mut vec![0; 100_000]).await.unwrap();
            if orderly { drop(stream) } else { reset(stream) }
        })
        .await;
        let result = whole(&transport(), post(address, vec![0; 64 << 20])).await;
        fails(result, Phase::Write, Sent::Maybe, FailureKind::Closed);
    }
}

/// Whether the client had written when the end arrived is a race; what it says must fit.
#[tokio::test]
async fn the_peer_closes_at_once() {
    for round in 0..50 {
        let address = peer(|_, stream| async { drop(stream) }).await;
        let failure = whole(&transport(), post(address, "{}")).await.unwrap_err();
        let fits = match failure.sent {
            Sent::No => failure.phase == Phase::Write,
            _ => failure.phase != Phase::Connect,
        };
        assert!(fits && failure.kind == FailureKind::Closed, "round {round}: {failure:?}");
    }
}

#[tokio::test]
async fn the_peer_speaks_first() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 ready\r\n").await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        rest.len()
    });
    let failure = whole(&transport(), post(address, "{}")).await.unwrap_err();
    let written = joined(server).await;
    assert_eq!(failure.kind, FailureKind::Malformed, "{failure:?}");
    assert!(written == 0 || failure.sent == Sent::Maybe, "{written} bytes and {failure:?}");
}

#[tokio::test]
async fn a_reused_connection_dies_under_the_request() {
    let (accepted_tx, mut accepted) = tokio::sync::mpsc::unbounded_channel();
    let address = peer(move |number, mut stream| {
        accepted_tx.send(number).unwrap();
        async move {
            request(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            request(&mut stream).await;
        }
    })
    .await;
    let transport = transport();
    whole(&transport, get(address, "/")).await.unwrap();
    let result = whole(&transport, post(address, "{}")).await;
    fails(result, Phase::Read, Sent::Maybe, FailureKind::Closed);
    assert_eq!(accepted.recv().await, Some(0));
    assert!(accepted.try_recv().is_err(), "a request that was written is not repeated");
}

#[tokio::test]
async fn an_early_answer_beats_the_write_error() {
    for orderly in [true, false] {
        let address = peer(move |_, mut stream| async move {
            stream.read_exact(&mut vec![0; 1000]).await.unwrap();
            let answer =
                b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig";
            stream.write_all(answer).await.unwrap();
            if orderly {
                stream.shutdown().await.unwrap(); // And read no more: the rest is reset.
            }
        })
        .await;
        let response = whole(&transport(), post(address, vec![0; 32 << 20])).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.body()[..]), (413, &b"big"[..]));
    }
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_upload() {
    let address = peer(|_, mut stream| async move {
        stream.read_exact(&mut vec![0; 1000]).await.unwrap();
        stream.write_all(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await; // Neither reads nor closes.
    })
    .await;
    let response = whole(&transport(), post(address, vec![0; 32 << 20])).await.unwrap();
    assert_eq!(response.status().as_u16(), 403);
}
