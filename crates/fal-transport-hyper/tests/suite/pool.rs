//! Which connection an exchange takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::support::*;
use fal_transport_hyper::{Config, Transport};

/// A peer that answers every request with the number of its connection.
async fn counting() -> std::net::SocketAddr {
    peer(|number, mut stream| async move {
        while !request(&mut stream).await.is_empty() {
            let body = number.to_string();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

async fn number(transport: &Transport, address: std::net::SocketAddr) -> String {
    let response = whole(transport, get(address, "/")).await.unwrap();
    String::from_utf8(response.into_body().to_vec()).unwrap()
}

#[tokio::test]
async fn a_connection_is_reused() {
    let transport = transport();
    let address = counting().await;
    for _ in 0..10 {
        assert_eq!(number(&transport, address).await, "0");
    }
    assert_eq!(number(&transport.clone(), address).await, "0", "clones share");
}

#[tokio::test]
async fn origins_do_not_mix() {
    let transport = transport();
    let (a, b) = (counting().await, counting().await);
    assert_eq!(number(&transport, a).await, "0");
    assert_eq!(number(&transport, b).await, "0");
    assert_eq!(number(&transport, a).await, "0");
}

#[tokio::test]
async fn the_idle_set_is_bounded_and_last_in_first_out() {
    let transport = Transport::new(Config::default().with_idle_max(2, 100)).unwrap();
    let open = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(tokio::sync::Barrier::new(5));
    let address = {
        let (open, gate) = (Arc::clone(&open), Arc::clone(&gate));
        peer(move |_, mut stream| {
            let (open, gate) = (Arc::clone(&open), Arc::clone(&gate));
            async move {
                open.fetch_add(1, Ordering::SeqCst);
                request(&mut stream).await;
                gate.wait().await; // All five are open at once.
                stream.write_all(OK).await.unwrap();
                until_closed(&mut stream).await;
                open.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await
    };
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let transport = transport.clone();
        tasks
            .push(tokio::spawn(async move { whole(&transport, get(address, "/")).await.unwrap() }));
    }
    for task in tasks {
        joined(task).await;
    }
    in_time(async {
        while open.load(Ordering::SeqCst) != 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn rest_is_limited() {
    let transport = Transport::new(Config::default().with_idle_timeout(Duration::ZERO)).unwrap();
    let address = counting().await;
    assert_eq!(number(&transport, address).await, "0");
    assert_eq!(number(&transport, address).await, "1");
}

#[tokio::test]
async fn connection_close_is_obeyed() {
    let transport = transport();
    let address = peer(|number, mut stream| async move {
        request(&mut stream).await;
        let answer =
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n{number}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        until_closed(&mut stream).await;
    })
    .await;
    assert_eq!(number(&transport, address).await, "0");
    assert_eq!(number(&transport, address).await, "1");
}

#[tokio::test]
async fn a_connection_that_died_at_rest_is_replaced() {
    for orderly in [true, false] {
        let transport = transport();
        let (closed_tx, closed_rx) = tokio::sync::oneshot::channel();
        let closed_tx = std::sync::Mutex::new(Some(closed_tx));
        let arrived = Arc::new(tokio::sync::Notify::new());
        let may_close = Arc::clone(&arrived);
        let address = peer(move |number, mut stream| {
            let closed_tx = closed_tx.lock().unwrap().take();
            let may_close = Arc::clone(&may_close);
            async move {
                request(&mut stream).await;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
                stream.write_all(answer.as_bytes()).await.unwrap();
                if number > 0 {
                    return until_closed(&mut stream).await;
                }
                may_close.notified().await; // A reset would take the answer with it.
                if orderly {
                    drop(stream)
                } else {
                    reset(stream)
                }
                closed_tx.unwrap().send(()).unwrap();
            }
        })
        .await;
        assert_eq!(number(&transport, address).await, "0");
        arrived.notify_one();
        in_time(closed_rx).await.unwrap();
        settle().await;
        assert_eq!(number(&transport, address).await, "1", "orderly: {orderly}");
    }
}

#[tokio::test]
async fn dropping_an_exchange_closes_its_connection() {
    let transport = transport();
    let (listener, address) = listen().await;
    let sending = {
        let transport = transport.clone();
        tokio::spawn(async move { transport.send(get(address, "/").into()).await })
    };
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(request(&mut stream).await.starts_with("GET / HTTP/1.1\r\n"));
    sending.abort();
    in_time(until_closed(&mut stream)).await;
}

#[tokio::test]
async fn dropping_chunks_closes_and_finishing_them_keeps() {
    let transport = transport();
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            request(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
            stream.write_all(answer).await.unwrap();
            stream.write_all(b"2\r\nde\r\n0\r\n\r\n").await.unwrap();
        }
        until_closed(&mut stream).await;
        drop(listener);
    });
    let mut first = chunks(&transport, get(address, "/")).await.unwrap();
    let mut text = Vec::new();
    while let Some(piece) = in_time(first.next()).await {
        text.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(text, b"abcde");
    assert!(in_time(first.next()).await.is_none(), "it stays at its end");
    let second = chunks(&transport, get(address, "/")).await.unwrap();
    drop(second);
    joined(server).await;
}

#[tokio::test]
async fn chunks_dropped_when_only_the_end_was_left_keep_their_connection() {
    let transport = transport();
    let address = peer(|number, mut stream| async move {
        while !request(&mut stream).await.is_empty() {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{number}\r\n0\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    for _ in 0..3 {
        let mut answer = chunks(&transport, get(address, "/")).await.unwrap();
        assert_eq!(
            in_time(answer.next()).await.unwrap().unwrap(),
            "0",
            "always the first connection"
        );
        drop(answer);
    }
}

#[tokio::test]
async fn a_connection_that_rested_too_long_is_not_used() {
    let transport = transport();
    let address = counting().await;
    assert_eq!(number(&transport, address).await, "0");
    for (secs, expected) in [(89, "0"), (91, "1")] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(secs)).await;
        tokio::time::resume();
        assert_eq!(number(&transport, address).await, expected);
    }
}
