//! Waiting exchanges, streams, bodies, journals.

use std::time::Duration;

use fal_mock::MockFal;
use fal_mock::model::{Config, Control, Failure, JobState};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::client::{call, get, open, path_of, post, send};
use crate::instant;

fn quick() -> fal_mock::Builder {
    MockFal::builder().queue_time(Duration::from_millis(30)).run_time(Duration::from_millis(60))
}

/// A service in which nothing ends by itself while a test looks.
fn slow() -> fal_mock::Builder {
    MockFal::builder().queue_time(Duration::from_secs(3600)).run_time(Duration::from_secs(3600))
}

/// Waits until something is so. The mock has no event for it, so this asks again, up to ten seconds.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test]
async fn a_stream_arrives_piece_by_piece_and_ends() {
    let mock = quick().start().await.unwrap();
    let port = mock.port();
    let submitted = post(port, "/queue.fal.run/a/b", "{}").await.json();
    let target = path_of(submitted["status_url"].as_str().unwrap(), port) + "/stream?logs=1";
    let mut stream = open(
        port,
        call(Method::GET, &target).header("accept", "application/json, text/event-stream"),
        "",
    )
    .await
    .unwrap();
    assert_eq!(stream.head.headers["content-type"], "text/event-stream");
    assert_eq!(stream.head.headers["x-fal-request-id"], submitted["request_id"].as_str().unwrap());
    let mut text = String::new();
    while let Some(bytes) = stream.next().await.unwrap() {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    assert_eq!(serde_json::from_str::<Value>(last).unwrap()["status"], "COMPLETED");
    assert!(text.contains("IN_PROGRESS"), "{text}");
}

#[tokio::test]
async fn a_closed_stream_and_an_abandoned_run_are_noticed() {
    let mock = slow().start().await.unwrap();
    let port = mock.port();
    let submitted = post(port, "/queue.fal.run/a/b", "{}").await.json();
    let target = path_of(submitted["status_url"].as_str().unwrap(), port) + "/stream";
    let mut stream = open(port, call(Method::GET, &target), "").await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    drop(stream);

    let run = tokio::spawn(async move {
        open(port, call(Method::POST, "/fal.run/a/b"), "{}").await.is_some()
    });
    until("the run", || mock.counters().runs == 1).await;
    run.abort();
    until("the end of the run", || mock.counters().runs_abandoned == 1).await;
    assert_eq!(mock.jobs()[0].state, JobState::Queued, "the queued job goes on");
}

#[tokio::test]
async fn a_restart_cuts_what_is_open() {
    let mock = slow().start().await.unwrap();
    let port = mock.port();
    let submitted = post(port, "/queue.fal.run/a/b", "{}").await.json();
    let target = path_of(submitted["status_url"].as_str().unwrap(), port);
    let mut stream = open(port, call(Method::GET, &format!("{target}/stream")), "").await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    let run = tokio::spawn(async move {
        open(port, call(Method::POST, "/fal.run/a/b"), "{}").await.is_some()
    });
    until("the run", || mock.counters().runs == 1).await;
    mock.control(Control::Restart);
    assert!(stream.next().await.is_err(), "cut, not ended");
    assert!(!run.await.unwrap(), "no answer");
    assert_eq!(get(port, &target).await.json()["status"], "IN_QUEUE");
}

#[tokio::test]
async fn runs_answer_when_they_are_done() {
    let mock = quick().start().await.unwrap();
    let answer = post(mock.port(), "/fal.run/fal-ai/flux/dev", r#"{"prompt":"x","seed":5}"#).await;
    assert_eq!((answer.status, &answer.json()["seed"]), (StatusCode::OK, &Value::from(5)));
    assert!(
        answer.headers.contains_key("x-fal-request-id")
            && answer.headers.contains_key("x-fal-billable-units")
    );
    mock.fail_next(Failure::model_error(
        StatusCode::UNPROCESSABLE_ENTITY,
        "content_policy_violation",
        "no",
    ));
    let answer = post(mock.port(), "/fal.run/fal-ai/flux/dev", "{}").await;
    assert_eq!(answer.json()["detail"][0]["type"], "content_policy_violation");
    assert_eq!(mock.requests().iter().map(|seen| seen.status).collect::<Vec<_>>(), [200, 422]);
}

#[tokio::test]
async fn files_are_served_in_parts_and_by_head() {
    let mock = instant().await;
    let port = mock.port();
    let output = post(port, "/fal.run/a/b", r#"{"image_size":"square"}"#).await.json();
    let path = path_of(output["images"][0]["url"].as_str().unwrap(), port);
    let whole = get(port, &path).await;
    assert_eq!(&whole.body[1..4], b"PNG");
    let head = send(port, call(Method::HEAD, &path), "").await;
    assert_eq!(head.headers["content-length"], whole.body.len().to_string().as_str());
    assert!(head.body.is_empty());
    let part = send(port, call(Method::GET, &path).header("range", "bytes=1-3"), "").await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &b"PNG"[..]));
    let beyond = send(port, call(Method::GET, &path).header("range", "bytes=99999999-"), "").await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let mut config = Config::default();
    config.instant = true;
    config.body_bytes_max = 100;
    let mock = MockFal::builder().config(config).start().await.unwrap();
    let body = |n: usize| format!("{{\"p\":\"{}\"}}", "x".repeat(n - 8));
    assert_eq!(post(mock.port(), "/fal.run/a/b", &body(100)).await.status, StatusCode::OK);
    let refused = post(mock.port(), "/fal.run/a/b", &body(101)).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(refused.json()["detail"].is_string());
}

#[tokio::test]
async fn refusals_have_their_status() {
    let mock = MockFal::builder().instant().key("id:secret").start().await.unwrap();
    let port = mock.port();
    let without = send(port, http::Request::post("/queue.fal.run/a/b"), "{}").await;
    assert_eq!(without.status, StatusCode::UNAUTHORIZED);
    let wrong = send(
        port,
        http::Request::post("/queue.fal.run/a/b").header("authorization", "Key a:b"),
        "{}",
    )
    .await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let method = get(port, "/queue.fal.run/a/b").await;
    assert_eq!(
        (method.status, &method.headers["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
    );
    assert_eq!(post(port, "/fal.run/a/b", "[]").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let realtime = post(port, "/fal.run/a/b/realtime", "{}").await;
    assert_eq!(realtime.status, StatusCode::UPGRADE_REQUIRED);
    assert_eq!(get(port, "/queue.fal.run/a/b/requests/x").await.status, StatusCode::NOT_FOUND);
    assert_eq!(mock.submits(), 0);
}

#[tokio::test]
async fn busy_runners_refuse_runs() {
    let mock = slow().runners(1).start().await.unwrap();
    let port = mock.port();
    let first = tokio::spawn(async move {
        open(port, call(Method::POST, "/fal.run/a/b"), "{}").await.is_some()
    });
    until("the first run", || mock.counters().runs == 1).await;
    assert_eq!(post(port, "/fal.run/a/b", "{}").await.status, StatusCode::TOO_MANY_REQUESTS);
    first.abort();
}

#[tokio::test]
async fn requests_and_jobs_can_be_inspected() {
    let mock = slow().start().await.unwrap();
    let port = mock.port();
    let submit = call(Method::POST, "/queue.fal.run/a/b/c?x=1")
        .header("x-fal-runner-hint", "h")
        .header("x-fal-queue-priority", "low");
    send(port, submit, r#"{"prompt":"p"}"#).await;
    get(port, "/nowhere").await;
    let job = &mock.jobs()[0];
    assert_eq!(
        (job.endpoint.as_str(), job.state, &job.input[..]),
        ("a/b/c", JobState::Queued, &br#"{"prompt":"p"}"#[..])
    );
    assert!(job.is_low_priority && !job.cancel_asked);
    assert!(job.headers.iter().any(|(name, value)| name == "x-fal-runner-hint" && value == "h"));
    let seen: Vec<String> = mock
        .requests()
        .iter()
        .map(|seen| format!("{} {} {}", seen.method, seen.address, seen.status))
        .collect();
    assert_eq!(seen, ["POST queue.fal.run/a/b/c 200", "GET /nowhere 404"]);
    assert_eq!(mock.job(job.request_id).unwrap().request_id, job.request_id);
}

#[tokio::test]
async fn a_stopped_mock_frees_its_port_and_cuts_its_streams() {
    let mock = slow().start().await.unwrap();
    let port = mock.port();
    let submitted = post(port, "/queue.fal.run/a/b", "{}").await.json();
    let target = path_of(submitted["status_url"].as_str().unwrap(), port) + "/stream";
    let mut stream = open(port, call(Method::GET, &target), "").await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    mock.stop().await;
    assert!(stream.next().await.is_err());
    let again = MockFal::builder().port(port).start().await.expect("the port is free");
    assert!(again.jobs().is_empty(), "nothing is shared");
    drop(again);
    until("the end of the dropped mock", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    })
    .await;
}

#[tokio::test]
async fn many_mocks_do_not_meet() {
    let mut mocks = Vec::new();
    for seed in 0..50 {
        mocks.push(MockFal::builder().instant().seed(seed).start().await.unwrap());
    }
    for (n, mock) in mocks.iter().enumerate() {
        for _ in 0..n % 3 {
            post(mock.port(), "/queue.fal.run/a/b", "{}").await;
        }
    }
    for (n, mock) in mocks.iter().enumerate() {
        assert_eq!(mock.submits(), n as u64 % 3);
    }
}
