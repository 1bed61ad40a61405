//! Deliveries through sockets.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::time::{Duration, SystemTime};

use fal_mock::MockFal;
use fal_mock::model::{
    Config, Control, DeliveryResult, DeliveryState, DeliveryView, RequestId, RetryProfile,
};
use fal_protocol::webhook::{KeySet, Payload, verify};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{get, post};

/// Takes one request and gives this answer; returns its first line, its headers and its body.
pub(crate) async fn receive(listener: &TcpListener, answer: &str) -> (String, HeaderMap, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    let head_end = loop {
        read_more(&mut stream, &mut bytes).await;
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let first = lines.next().unwrap().to_owned();
    let headers: HeaderMap = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        })
        .collect();
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        read_more(&mut stream, &mut body).await;
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    (first, headers, body)
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) {
    assert_ne!(stream.read_buf(bytes).await.unwrap(), 0, "it ends too early");
}

pub(crate) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, format!("http%3A%2F%2F{address}%2Fhook%3Fa%3D1"))
}

pub(crate) async fn submit(mock: &MockFal, hook: &str) -> RequestId {
    let target = format!("/queue.fal.run/fal-ai/flux/dev?fal_webhook={hook}");
    let submitted = post(mock.port(), &target, r#"{"prompt":"x"}"#).await.json();
    submitted["request_id"].as_str().unwrap().parse().unwrap()
}

/// Waits until the only delivery has come to an end.
async fn settled(mock: &MockFal) -> DeliveryView {
    for _ in 0..2000 {
        let mut all = mock.deliveries();
        assert_eq!(all.len(), 1);
        let one = all.remove(0);
        if !matches!(one.state, DeliveryState::InFlight | DeliveryState::Resting) {
            return one;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no end within ten seconds");
}

/// Attempts follow each other at once.
fn hasty() -> Config {
    let mut config = Config::default();
    config.instant = true;
    config.webhook_retry = RetryProfile::docs_2026();
    config.webhook_retry.backoff_base = Duration::from_millis(1);
    config.webhook_retry.retries = 3;
    config
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_job_reports_its_end_and_the_signature_holds() {
    let mock = MockFal::builder().config(hasty()).start().await.unwrap();
    let (listener, hook) = listen().await;
    let id = submit(&mock, &hook).await;
    let (first, headers, body) = receive(&listener, OK).await;
    assert_eq!(first, "POST /hook?a=1 HTTP/1.1");
    assert_eq!(headers["host"], listener.local_addr().unwrap().to_string().as_str());

    let keys = get(mock.port(), "/rest.alpha.fal.ai/.well-known/jwks.json").await;
    let keys = KeySet::parse(&keys.body).unwrap();
    let body = bytes::Bytes::from(body);
    let verified = verify(&headers, &body, &keys, SystemTime::now()).unwrap();
    let delivery = verified.delivery(&body).unwrap();
    assert_eq!(delivery.request_id.parse(), Ok(id));
    let Ok(Payload::Output(output)) = delivery.outcome else { panic!("{delivery:?}") };
    let output: serde_json::Value = output.json().unwrap();
    let image = output["images"][0]["url"].as_str().unwrap();
    assert!(image.starts_with(&mock.url()), "{image}");

    let view = settled(&mock).await;
    assert_eq!((view.state, view.request_id), (DeliveryState::Delivered, id));
    assert_eq!(view.attempts[0].result, Some(DeliveryResult::Answered(StatusCode::OK)));

    assert!(mock.control(Control::Redeliver { request_id: id }));
    let (_, _, again) = receive(&listener, OK).await;
    assert_eq!(again, body);
}

#[tokio::test]
async fn attempts_are_repeated_until_one_is_taken() {
    let mock = MockFal::builder().config(hasty()).start().await.unwrap();
    let (listener, hook) = listen().await;
    submit(&mock, &hook).await;
    receive(&listener, BUSY).await;
    receive(&listener, "").await;
    receive(&listener, OK).await;
    let view = settled(&mock).await;
    assert_eq!(view.state, DeliveryState::Delivered);
    let results: Vec<_> = view.attempts.into_iter().map(|one| one.result.unwrap()).collect();
    assert_eq!(results[0], DeliveryResult::Answered(StatusCode::SERVICE_UNAVAILABLE));
    assert!(matches!(results[1], DeliveryResult::Failed(_)), "{results:?}");
    assert_eq!(results.len(), 3);
}

#[tokio::test]
async fn nobody_there_and_nobody_allowed_are_told_apart() {
    let mock = MockFal::builder().config(hasty()).start().await.unwrap();
    let (listener, hook) = listen().await;
    drop(listener);
    submit(&mock, &hook).await;
    let view = settled(&mock).await;
    assert_eq!((view.state, view.attempts.len()), (DeliveryState::GivenUp, 4));
    assert!(
        matches!(&view.attempts[0].result, Some(DeliveryResult::Failed(why)) if !why.is_empty())
    );

    let mock = MockFal::builder().config(hasty()).start().await.unwrap();
    submit(&mock, "https%3A%2F%2Fexample.com%2Fhook").await;
    let view = settled(&mock).await;
    assert!(matches!(view.state, DeliveryState::Refused(_)) && view.attempts.is_empty());
}

#[tokio::test]
async fn dropping_the_mock_cuts_a_delivery() {
    let (listener, hook) = listen().await;
    let mock = MockFal::builder().config(hasty()).start().await.unwrap();
    submit(&mock, &hook).await;
    let (mut stream, _) = listener.accept().await.unwrap();
    drop(mock);
    let mut rest = Vec::new();
    // Either end of the connection is fine; that it ends is what counts.
    let _ = stream.read_to_end(&mut rest).await;
}
