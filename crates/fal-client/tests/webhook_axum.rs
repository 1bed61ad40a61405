//! The axum example against the mock.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

#[path = "../examples/webhook_axum/receiver.rs"]
mod receiver;

use std::time::Duration;

use fal_client::Client;
use fal_client::webhook::Payload;
use fal_mock::MockFal;
use fal_mock::model::{Control, DeliveryResult, DeliveryView};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

#[tokio::test]
async fn each_job_is_handled_once() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = Client::builder().base_url(mock.url()).key("id:secret").build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (jobs, mut deliveries) = mpsc::channel(1);
    let app = receiver::router(&client, jobs);
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let hook = format!("http://{address}/fal");
    let queue = client.queue("fal-ai/flux/dev").unwrap();
    let submit = || queue.submit(json!({ "prompt": "a cat" })).webhook(&hook);
    let job = submit().await.unwrap();
    let delivery = in_time(deliveries.recv()).await.unwrap();
    assert_eq!(delivery.request_id, job.request_id);
    let Ok(Payload::Output(_)) = &delivery.outcome else { panic!("{delivery:?}") };
    let output = client.webhooks().output("fal-ai/flux/dev", delivery).await.unwrap();
    assert_eq!(output.request_id(), Some(&*job.request_id));
    assert!(output.value().unwrap()["images"][0]["url"].is_string());

    // The same once more: answered like the first, and handled no second time.
    let view = mock.jobs()[0].request_id;
    assert!(mock.control(Control::Redeliver { request_id: view }));
    let second = delivered(&mock, 1).await;
    assert_eq!(second.attempts[0].result, Some(DeliveryResult::Answered(StatusCode::OK)));
    assert!(deliveries.try_recv().is_err());

    // An output that no delivery can carry is fetched.
    mock.control(Control::WithholdNextPayload);
    let job = submit().await.unwrap();
    let delivery = in_time(deliveries.recv()).await.unwrap();
    let Ok(Payload::NotIncluded { .. }) = &delivery.outcome else { panic!("{delivery:?}") };
    let output = client.webhooks().output("fal-ai/flux/dev", delivery).await.unwrap();
    assert_eq!(output.request_id(), Some(&*job.request_id));
    let value: Value = output.value().unwrap();
    assert!(value["images"][0]["url"].is_string());

    // A failure is an error, as the queue would give it.
    let job = queue.submit(json!({ "seed": "x" })).webhook(&hook).await.unwrap();
    let delivery = in_time(deliveries.recv()).await.unwrap();
    let error = client.webhooks().output("fal-ai/flux/dev", delivery).await.unwrap_err();
    let handle = error.handle().unwrap();
    assert_eq!((&*error.fields()[0].path(), &handle.request_id), ("seed", &job.request_id));

    // Somebody else's words.
    let body = r#"{"request_id":"r","status":"OK","payload":{}}"#;
    assert_eq!(post(address, "", body).await, 401);
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let headers = format!(
        "x-fal-webhook-request-id: r\r\nx-fal-webhook-user-id: u\r\nx-fal-webhook-timestamp: {seconds}\r\nx-fal-webhook-signature: {}\r\n",
        "0".repeat(128)
    );
    assert_eq!(post(address, &headers, body).await, 401);
    assert!(deliveries.try_recv().is_err());

    // No room for the work: it is to come again.
    submit().await.unwrap();
    submit().await.unwrap();
    let refused = || {
        mock.deliveries().iter().any(|delivery| {
            let results = delivery.attempts.iter().map(|attempt| &attempt.result);
            let busy = DeliveryResult::Answered(StatusCode::SERVICE_UNAVAILABLE);
            results.flatten().any(|result| *result == busy)
        })
    };
    in_time(async {
        while !refused() {
            tokio::task::yield_now().await
        }
    })
    .await;
    server.abort();
}

/// The delivery of this number, once it is over.
async fn delivered(mock: &MockFal, attempts: usize) -> DeliveryView {
    in_time(async {
        loop {
            let last = mock.deliveries().pop().unwrap();
            if last.attempts.iter().filter(|attempt| attempt.result.is_some()).count() == attempts {
                return last;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn post(address: std::net::SocketAddr, headers: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /fal HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("it ends in time")
}
