//! Many exchanges with peers that hang up at any moment: what a failure says must be true.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fal_protocol::rand::SplitMix64;
use fal_protocol::wire::{FailureKind, Phase, Sent};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;
use crate::tls::Authority;

/// Everything that a connection has received, over all its requests.
type Received = Arc<Mutex<Vec<Vec<u8>>>>;

/// Serves until its dice say otherwise: then it hangs up before, within or after a request.
async fn moody<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    tcp_of: fn(S) -> TcpStream,
    received: Received,
    connection: usize,
    mut dice: SplitMix64,
) {
    let mut pending: Vec<u8> = Vec::new();
    loop {
        let stays = !dice.next_u64().is_multiple_of(4);
        let patience = if stays { usize::MAX } else { (dice.next_u64() % 700) as usize };
        let mut buffer = [0; 97];
        loop {
            let whole = pending.windows(4).position(|window| window == b"\r\n\r\n");
            if whole.is_some_and(|head| pending.len() >= head + 4 + BODY_BYTES) {
                break;
            }
            if pending.len() >= patience {
                if dice.next_u64().is_multiple_of(2) {
                    reset(tcp_of(stream));
                }
                return;
            }
            let room = buffer.len().min(patience - pending.len());
            match stream.read(&mut buffer[..room]).await {
                Ok(count) if count > 0 => {
                    received.lock().unwrap()[connection].extend_from_slice(&buffer[..count]);
                    pending.extend_from_slice(&buffer[..count]);
                }
                _ => return,
            }
        }
        pending.clear();
        let cut = if dice.next_u64().is_multiple_of(8) {
            dice.next_u64() as usize % OK.len()
        } else {
            OK.len()
        };
        if stream.write_all(&OK[..cut]).await.is_err() || cut < OK.len() {
            return;
        }
        if stream.flush().await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsent_means_unseen_and_nothing_is_sent_twice() {
    for seed in 0..8 {
        check(seed, None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsent_means_unseen_under_tls_too() {
    let authority = Authority::new();
    for seed in 8..12 {
        check(seed, Some(&authority)).await;
    }
}

async fn check(seed: u64, authority: Option<&Authority>) {
    let received: Received = Arc::default();
    let address = {
        let received = Arc::clone(&received);
        let acceptor = authority.map(|authority| authority.acceptor("127.0.0.1", &["http/1.1"]));
        peer(move |number, stream| {
            let received = Arc::clone(&received);
            let connection = {
                let mut all = received.lock().unwrap();
                all.push(Vec::new());
                all.len() - 1
            };
            let dice = SplitMix64::new(seed << 32 | number as u64);
            let acceptor = acceptor.clone();
            async move {
                let Some(acceptor) = acceptor else {
                    return moody(stream, |tcp| tcp, received, connection, dice).await;
                };
                if let Ok(tls) = acceptor.accept(stream).await {
                    moody(tls, |tls| tls.into_inner().0, received, connection, dice).await;
                }
            }
        })
        .await
    };
    let scheme = if authority.is_some() { "https" } else { "http" };
    let transport = authority.map_or_else(transport, Authority::transport);
    let mut tasks = Vec::new();
    for task in 0..8 {
        let transport = transport.clone();
        tasks.push(tokio::spawn(async move {
            let mut results = Vec::new();
            for turn in 0..60 {
                let mut request = post(address, vec![b'b'; BODY_BYTES]);
                request.uri = format!("{scheme}://{address}/id-{task}-{turn}-").parse().unwrap();
                results.push((format!("id-{task}-{turn}-"), whole(&transport, request).await));
            }
            results
        }));
    }
    let mut results = HashMap::new();
    for task in tasks {
        results.extend(joined(task).await);
    }
    let received = received
        .lock()
        .unwrap()
        .iter()
        .fold(String::new(), |all, one| all + &String::from_utf8_lossy(one) + "\n");
    let mut counts = [0; 3];
    for (id, result) in results {
        let seen = received.matches(&id).count();
        assert!(seen <= 1, "seed {seed}: {id} was sent {seen} times");
        match result {
            Ok(response) => {
                assert_eq!((seen, &response.body()[..]), (1, &b"ok"[..]), "seed {seed}: {id}");
                counts[0] += 1;
            }
            Err(failure) => {
                assert_ne!(failure.phase, Phase::Connect, "seed {seed}: {failure:?}");
                assert_eq!(failure.kind, FailureKind::Closed, "seed {seed}: {failure:?}");
                if failure.sent == Sent::No {
                    assert_eq!(seen, 0, "seed {seed}: {id}: {failure:?}");
                    counts[1] += 1;
                } else {
                    counts[2] += 1;
                }
            }
        }
    }
    assert!(counts[0] > 0 && counts[2] > 0, "seed {seed}: tested nothing: {counts:?}");
}

const BODY_BYTES: usize = 300;
