//! Our client through a proxy that adds the key.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fal_client::transport::{Answer, Exchange, Transport, Upgrade};
use fal_client::{Client, ErrorKind, Host, Hosts, ProxyConfig, RetryPolicy};
use fal_mock::MockFal;
use fal_protocol::wire::{Failure, FailureKind, Request};
use serde_json::json;

use crate::support::raw::{Act, Raw, Seen, answer, well};
use crate::support::{FLUX, KEY, in_time};

#[tokio::test]
async fn calls_carry_their_address_and_no_key() {
    // It answers as the hosts would whose addresses the header has.
    let script = |seen: &Seen| {
        let target = seen.header("x-fal-target-url").and_then(|url| url.strip_prefix("https:/"));
        well(&Seen { target: target.unwrap_or("/").to_owned(), ..seen.clone() })
    };
    let server = Raw::start(script).await;
    let proxy = ProxyConfig::new(format!("{}/api/fal/proxy", server.url())).unwrap();
    let proxy = proxy.header("Cookie", "session=1").unwrap();
    let client = Client::builder().key(KEY).proxy(proxy).build().unwrap();
    in_time(client.subscribe(FLUX).input(json!({ "prompt": "x" })).max_queue_length(7))
        .await
        .unwrap();
    let seen = server.seen();
    let targets: Vec<_> = seen.iter().filter_map(|seen| seen.header("x-fal-target-url")).collect();
    assert_eq!(targets.len(), seen.len());
    assert_eq!(targets[0], "https://queue.fal.run/fal-ai/flux/dev?fal_max_queue_length=7");
    assert!(targets[1].ends_with("/status/stream?logs=1"), "{targets:?}");
    for seen in &seen {
        assert_eq!(seen.target, "/api/fal/proxy");
        assert_eq!(
            (seen.header("authorization"), seen.header("cookie")),
            (None, Some("session=1"))
        );
    }
    assert_eq!(seen[0].body, br#"{"prompt":"x"}"#);
}

#[tokio::test]
async fn refusals_of_a_proxy_are_told_in_its_words() {
    let words = br#""Unauthorized: sign in first""#;
    let server = Raw::start(|_| Act::Say(answer(401, &[], words))).await;
    let client = Client::builder().proxy_url(server.url()).build().unwrap();
    let error = in_time(client.subscribe(FLUX)).await.unwrap_err();
    assert_eq!(error.to_string(), "401 Unauthorized: Unauthorized: sign in first");
    let Some(ErrorKind::Api(api)) = error.kind() else { panic!("{error:?}") };
    assert!(api.fields.is_empty() && api.error_type.is_none());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn files_go_their_own_way() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let proxy = ProxyConfig::new(format!("{}/api/fal/proxy", mock.url())).unwrap();
    // The mock is no proxy that has a key, so it must be given one.
    let proxy = proxy.send_key(true).unwrap();
    let hosts = Hosts::fal().with(Host::Cdn, &format!("{}/v3.fal.media", mock.url())).unwrap();
    let client = Client::builder().hosts(hosts).key(KEY).proxy(proxy).build().unwrap();
    let url =
        in_time(client.upload(Bytes::from_static(b"a picture")).named("a.txt")).await.unwrap();
    assert_eq!(&in_time(client.download(url)).await.unwrap()[..], b"a picture");
    let seen = mock.requests();
    let addresses: Vec<_> = seen.iter().map(|seen| seen.address.as_str()).collect();
    assert_eq!((addresses.len(), addresses[0]), (3, "rest.fal.ai/storage/upload/initiate"));
    assert!(addresses[1..].iter().all(|a| a.starts_with("v3.fal.media/files/")), "{addresses:?}");
}

#[tokio::test]
async fn backup_hosts_are_no_way_around_a_proxy() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let quick =
        RetryPolicy::default().with_attempts_paid(2).with_backoff(Duration::ZERO, Duration::ZERO);
    let client = Client::builder().proxy_url(format!("http://127.0.0.1:{port}/p")).retry(quick);
    let error = in_time(client.build().unwrap().run(FLUX)).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::Transport(_))), "{error:?}");
    assert!(error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn sockets_go_their_own_way_with_a_token_that_came_through_the_proxy() {
    let recorder = Arc::new(Recorder::default());
    let client = Client::builder()
        .proxy_url("https://app.example/p")
        .transport(recorder.clone())
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    let mut session = client.realtime("acme/app").start().unwrap();
    session.send(&json!({})).await.unwrap();
    in_time(session.recv()).await.expect("the socket is refused").unwrap_err();
    let seen = recorder.0.lock().unwrap().clone();
    let through: Vec<bool> =
        seen.iter().map(|request| request.headers.contains_key("x-fal-target-url")).collect();
    assert_eq!(through, [true, false], "{seen:?}");
    assert_eq!((seen[0].uri.host(), seen[1].uri.host()), (Some("app.example"), Some("fal.run")));
}

/// A transport that gives out a token and opens nothing.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<Request>>);

#[async_trait]
impl Transport for Recorder {
    async fn send(self: Arc<Self>, exchange: Exchange) -> Result<Answer, Failure> {
        self.0.lock().unwrap().push(exchange.request);
        let token = Bytes::from_static(br#""a-token-of-the-service""#);
        Ok(Answer::Whole(http::Response::new(token)))
    }

    async fn upgrade(self: Arc<Self>, request: Request) -> Result<Upgrade, Failure> {
        self.0.lock().unwrap().push(request);
        Err(Failure::connect(FailureKind::Tls, "no sockets here"))
    }
}

#[test]
fn bad_proxies_are_refused_when_the_client_is_built() {
    let error = Client::builder().proxy_url("/api/fal/proxy").build().unwrap_err();
    assert!(error.to_string().contains("http"), "{error}");
    ProxyConfig::new("https://x.test").unwrap().header("a b", "c").unwrap_err();
    ProxyConfig::new("https://x.test").unwrap().header("a", "b\nc").unwrap_err();
}
