//! `CONNECT` tunnels.

use std::net::SocketAddr;

use fal_protocol::wire::{FailureKind, Phase, Sent};
use fal_transport_hyper::{Config, Transport, TransportError};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::*;
use crate::tls::{Authority, answer_ok, https, tls_peer};

/// A proxy that says `answer` to each `CONNECT`, opens the tunnel if that is a 200, and reports what it
/// was asked.
async fn proxy(answer: &'static str) -> (SocketAddr, UnboundedReceiver<String>) {
    let (asked_tx, asked) = unbounded_channel();
    let address = peer(move |_, mut stream| {
        let asked_tx = asked_tx.clone();
        async move {
            let asked = request(&mut stream).await;
            let target = asked.split(' ').nth(1).unwrap_or_default().to_owned();
            asked_tx.send(asked).unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.contains(" 200 ") {
                let mut onward = TcpStream::connect(target).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            }
        }
    })
    .await;
    (address, asked)
}

fn through(authority: &Authority, proxy: &str, no_proxy: &str) -> Transport {
    let config = Config::default()
        .with_extra_root_pem(authority.pem.clone())
        .with_https_proxy(proxy)
        .with_no_proxy(no_proxy);
    Transport::new(config).unwrap()
}

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[tokio::test]
async fn https_goes_through_the_tunnel() {
    let authority = Authority::new();
    let address = tls_peer(authority.acceptor("127.0.0.1", &[]), answer_ok).await;
    for (user, auth) in [("", None), ("me:p%40ss@", Some("Basic bWU6cEBzcw=="))] {
        let (proxy, mut asked) = proxy(ESTABLISHED).await;
        let transport = through(&authority, &format!("http://{user}{proxy}"), "fal.run");
        for _ in 0..2 {
            assert_eq!(whole(&transport, https(address)).await.unwrap().body(), "ok");
        }
        let head = asked.recv().await.unwrap();
        assert!(head.starts_with(&format!("CONNECT {address} HTTP/1.1\r\n")), "{head}");
        let found = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
        assert_eq!(found, auth);
        assert!(asked.try_recv().is_err(), "the tunnel is kept");
        assert!(!format!("{transport:?}").contains("p@ss"));
        assert!(!format!("{transport:?}").contains("p%40ss"));
    }
}

#[tokio::test]
async fn plain_http_and_excepted_hosts_go_direct() {
    let authority = Authority::new();
    let (proxy, mut asked) = proxy(ESTABLISHED).await;
    let tls = tls_peer(authority.acceptor("127.0.0.1", &[]), answer_ok).await;
    for no_proxy in ["127.0.0.1", "fal.run, 127.0.0.0/8", "*"] {
        let transport = through(&authority, &proxy.to_string(), no_proxy);
        assert_eq!(whole(&transport, https(tls)).await.unwrap().body(), "ok", "{no_proxy}");
        assert_eq!(asked.try_recv().ok(), None, "{no_proxy}");
    }
    let transport = through(&authority, &proxy.to_string(), "");
    assert_eq!(whole(&transport, get(says(OK).await, "/")).await.unwrap().body(), "ok");
    assert_eq!(asked.try_recv().ok(), None, "plain http");
}

#[tokio::test]
async fn a_refusing_proxy_is_named_as_such() {
    let authority = Authority::new();
    for answer in [
        "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\n\r\n",
        "garbage\r\n\r\n",
        "",
    ] {
        let (proxy, _asked) = proxy(answer).await;
        let transport = through(&authority, &format!("http://me:secret@{proxy}"), "");
        let result = whole(&transport, https(proxy)).await;
        let failure = fails(result, Phase::Connect, Sent::No, FailureKind::Proxy);
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
    let (listener, closed) = listen().await;
    drop(listener);
    let transport = through(&authority, &closed.to_string(), "");
    let result = whole(&transport, https(closed)).await;
    let failure = fails(result, Phase::Connect, Sent::No, FailureKind::Proxy);
    assert!(failure.message.contains("connection refused"), "{failure}");
}

#[tokio::test]
async fn what_no_proxy_can_be_is_refused() {
    for bad in ["", "::::", "ftp://proxy", "http://user:secret@"] {
        let error = Transport::new(Config::default().with_https_proxy(bad)).unwrap_err();
        assert!(matches!(error, TransportError::Proxy { .. }), "{bad}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    for unsupported in ["socks5://127.0.0.1:9", "https://127.0.0.1:9"] {
        let transport = Transport::new(Config::default().with_https_proxy(unsupported)).unwrap();
        let (_listener, address) = listen().await;
        let result = whole(&transport, https(address)).await;
        fails(result, Phase::Connect, Sent::No, FailureKind::Proxy);
    }
}
