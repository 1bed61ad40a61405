//! Tenants and their clocks through real sockets.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::sync::Arc;
use std::time::Duration;

use fal_mock::model::{Config, DeliveryState, JobState, RetryProfile};
use fal_mock::{ClockMode, MockFal, Settings, Tenant};
use http::{Method, StatusCode};
use tokio::task::JoinSet;

use crate::client::{Answer, call_as, get, open, path_of, send};
use crate::webhook::{listen, receive};

const HOUR: Duration = Duration::from_secs(3600);

async fn ask(port: u16, key: &str, method: Method, target: &str) -> Answer {
    let request = call_as(key, method, target);
    send(port, request, r#"{"prompt":"x"}"#).await
}

async fn submit(mock: &MockFal, tenant: &Tenant) -> String {
    let target = "/queue.fal.run/fal-ai/flux/dev";
    let submitted = ask(mock.port(), tenant.key(), Method::POST, target).await.json();
    submitted["request_id"].as_str().unwrap().to_owned()
}

/// A job of two hours, and a receiver that is busy for most of the two hours after it.
#[tokio::test]
async fn hours_of_training_and_of_attempts_to_deliver_pass_by_themselves() {
    let mut config = Config::default();
    config.run_time = 2 * HOUR;
    config.webhook_retry = RetryProfile::docs_2024();
    let mock = MockFal::builder().config(config).clock(ClockMode::Auto).start().await.unwrap();
    let (listener, hook) = listen().await;
    crate::webhook::submit(&mock, &hook).await;
    for _ in 0..10 {
        receive(&listener, "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
    }
    receive(&listener, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    crate::exchanges::until("it is delivered", || {
        mock.deliveries()[0].state == DeliveryState::Delivered
    })
    .await;
    let attempts = mock.deliveries().remove(0).attempts;
    let rested = attempts[10].at.duration_since(attempts[0].at).unwrap();
    assert!(rested > HOUR && rested < 2 * HOUR, "{rested:?}");
    // Kept for an hour, as everywhere.
    assert_eq!((mock.counters().completed, mock.jobs().len()), (1, 0));
    let shown = mock.clock().view().unwrap().now;
    assert!(shown.duration_since(attempts[0].at).unwrap() >= rested);
}

/// With a clock that is moved by hand, deliveries are made on the way.
#[tokio::test]
async fn a_clock_that_is_moved_waits_for_deliveries() {
    let mut config = Config::default();
    config.webhook_retry = RetryProfile::docs_2024();
    let mock = MockFal::builder().config(config).clock(ClockMode::Virtual).start().await.unwrap();
    let (listener, hook) = listen().await;
    let id = crate::webhook::submit(&mock, &hook).await;
    let receiver = async {
        receive(&listener, "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
        receive(&listener, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    };
    let mover = async {
        assert!(mock.clock().run_until_done(id).await);
        mock.clock().run_until_idle().await
    };
    let ((), events) = tokio::join!(receiver, mover);
    assert!(events >= 1, "{events}");
    let delivery = mock.deliveries().remove(0);
    assert_eq!((delivery.state, delivery.attempts.len()), (DeliveryState::Delivered, 2));
    // Within the first timeout of the second attempt: time stood still while it was made.
    let rested = delivery.attempts[1].at.duration_since(delivery.attempts[0].at).unwrap();
    assert_eq!(rested, Duration::from_secs(5));
}

#[tokio::test]
async fn a_tenant_is_moved_alone_and_ends_with_its_handle() {
    let mock = MockFal::builder().clock(ClockMode::Virtual).start().await.unwrap();
    let (one, other) = (mock.tenant(), mock.tenant());
    let ids = [submit(&mock, &one).await, submit(&mock, &other).await];
    assert_eq!(mock.clock().advance(HOUR).await, 0, "nothing is planned here");
    assert!(one.clock().advance(2 * Duration::from_secs(1)).await >= 2);
    assert_eq!(
        (one.jobs()[0].state, other.jobs()[0].state),
        (JobState::Succeeded, JobState::Queued)
    );
    assert_eq!(mock.jobs().len(), 0);

    // A stream of its is cut when it ends, and its file is gone.
    let path = format!("/queue.fal.run/fal-ai/flux/requests/{}", ids[0]);
    let result = ask(mock.port(), one.key(), Method::GET, &path).await.json();
    let file = path_of(result["images"][0]["url"].as_str().unwrap(), mock.port());
    assert_eq!(get(mock.port(), &file).await.status, StatusCode::OK);
    let stream = format!("/queue.fal.run/fal-ai/flux/requests/{}/status/stream", ids[1]);
    let request = call_as(other.key(), Method::GET, &stream);
    let mut stream = open(mock.port(), request, "").await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    let key = one.key().to_owned();
    drop((one, other));
    assert!(stream.next().await.is_err(), "it is cut");
    assert_eq!(get(mock.port(), &file).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(mock.port(), &key, Method::GET, &path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn two_hundred_tests_in_one_mock_do_not_meet() {
    let mock = Arc::new(MockFal::builder().instant().start().await.unwrap());
    let mut tests = JoinSet::new();
    for number in 0..200_usize {
        let mock = Arc::clone(&mock);
        tests.spawn(async move {
            let name = format!("test-{number}");
            let tenant = mock.tenant_with(&Settings::default().name(name)).unwrap();
            let jobs = 1 + number % 5;
            for _ in 0..jobs {
                let id = submit(&mock, &tenant).await;
                let path = format!("/queue.fal.run/fal-ai/flux/requests/{id}");
                let result = ask(mock.port(), tenant.key(), Method::GET, &path).await;
                assert_eq!(result.status, StatusCode::OK, "{number}");
            }
            assert_eq!((tenant.submits() as usize, tenant.jobs().len()), (jobs, jobs), "{number}");
            assert_eq!(tenant.requests().len(), 2 * jobs, "{number}");
        });
    }
    while let Some(test) = tests.join_next().await {
        test.unwrap();
    }
    assert_eq!((mock.submits(), mock.requests().len()), (0, 0));
}

#[tokio::test]
async fn scaled_time_is_told_to_the_wall() {
    let mock = MockFal::builder().clock(ClockMode::Scaled(1000.0)).run_time(20 * HOUR / 3600);
    let mock = mock.start().await.unwrap();
    let tenant = mock.first_tenant();
    submit(&mock, tenant).await;
    crate::exchanges::until("twenty seconds pass", || mock.jobs()[0].state == JobState::Succeeded)
        .await;
    mock.clock().set_mode(ClockMode::Virtual);
    let view = mock.clock().view().unwrap();
    assert_eq!(mock.clock().view().unwrap().now, view.now);
    assert_eq!(view.waits[0].1.what, fal_mock::model::WaitKind::JobExpiry);
}
