//! What the client says on the wire, and what it keeps to itself.

use std::time::Duration;

use fal_client::{Client, Credentials, Error, ErrorKind, Hosts, Priority, RetryPolicy};
use fal_mock::MockFal;
use fal_protocol::wire::FailureKind;
use http::{HeaderValue, Method};
use serde_json::json;

use crate::support::raw::{Act, Raw, Seen, answer, well};
use crate::support::{FLUX, KEY, builder, client, in_time};

#[tokio::test]
async fn every_setting_of_a_job_reaches_the_wire() {
    let server = Raw::start(well).await;
    let client =
        builder(server.url()).user_agent(HeaderValue::from_static("my-app/2")).build().unwrap();
    let hook = "https://example.com/hook?a=1&b=ü";
    let job = client
        .subscribe(FLUX)
        .input(json!({ "prompt": "ü" }))
        .start_timeout(Duration::from_millis(2500))
        .priority(Priority::Low)
        .hint("lora-1")
        .header("X-My-Trace", "42")
        .webhook(hook)
        .max_queue_length(7)
        .logs(false);
    in_time(job).await.unwrap();

    let seen = server.seen();
    let submit = &seen[0];
    check_submit(submit, &[("fal_webhook", hook), ("fal_max_queue_length", "7")]);
    assert_eq!(submit.header("user-agent"), Some("my-app/2"));
    assert_eq!(seen[1].step(), "stream");
    assert!(seen[1].target.ends_with("?logs=0"), "{}", seen[1].target);
    assert_eq!(seen[1].header("accept"), Some("text/event-stream"));
    for step in &seen {
        assert_eq!(step.header("authorization"), Some("Key key-id:very-secret"));
        assert_eq!(step.header("user-agent"), Some("my-app/2"));
    }
    // What is for the job is not repeated with every question about it.
    assert!(seen[1..].iter().all(|seen| seen.header("x-my-trace").is_none()));
}

#[tokio::test]
async fn every_setting_of_a_submit_reaches_the_wire() {
    let server = Raw::start(well).await;
    let submit = client(server.url())
        .queue(FLUX)
        .unwrap()
        .submit(json!({ "prompt": "ü" }))
        .start_timeout(Duration::from_millis(2500))
        .priority(Priority::Low)
        .hint("lora-1")
        .header("x-my-trace", "42")
        .max_queue_length(7)
        .webhook("http://127.0.0.1:1/");
    in_time(submit).await.unwrap();
    let expected = [("fal_webhook", "http://127.0.0.1:1/"), ("fal_max_queue_length", "7")];
    check_submit(&server.seen()[0], &expected);
}

#[track_caller]
fn check_submit(seen: &Seen, query: &[(&str, &str)]) {
    let (path, found) = seen.target.split_once('?').expect("it has a query");
    assert_eq!((seen.method.as_str(), path), ("POST", "/queue.fal.run/fal-ai/flux/dev"));
    let encoded: Vec<String> = query
        .iter()
        .map(|(name, value)| {
            let value: String = value
                .bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                        char::from(byte).to_string()
                    }
                    _ => format!("%{byte:02X}"),
                })
                .collect();
            format!("{name}={value}")
        })
        .collect();
    assert_eq!(found, encoded.join("&"));
    for (name, value) in [
        ("x-fal-request-start-timeout", "2.5"),
        ("x-fal-request-timeout", "2.5"),
        ("x-fal-queue-priority", "low"),
        ("x-fal-runner-hint", "lora-1"),
        ("x-my-trace", "42"),
        ("content-type", "application/json"),
        ("accept", "application/json"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.body, r#"{"prompt":"ü"}"#.as_bytes());
}

#[tokio::test]
async fn nothing_is_sent_unless_set() {
    let server = Raw::start(well).await;
    in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].target, "/queue.fal.run/fal-ai/flux/dev");
    assert_eq!(seen[0].body, b"{}", "an input is an object even where none was given");
    let own = seen[0].headers.iter().filter(|(name, _)| name.starts_with("x-"));
    assert_eq!(own.collect::<Vec<_>>(), [] as [&(String, String); 0]);
    assert!(seen[1].target.ends_with("?logs=1"), "{}", seen[1].target);
    let agent = seen[0].header("user-agent").unwrap();
    assert!(agent.starts_with("fal-client/") && agent.ends_with("(rust)"), "{agent}");
}

#[tokio::test]
async fn runs_go_with_any_method() {
    let server = Raw::start(well).await;
    let run = client(server.url())
        .run("acme/app/status")
        .method(Method::PUT)
        .input(json!([1]))
        .header("x-my-trace", "42");
    in_time(run).await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!((&*seen.method, &*seen.target), ("PUT", "/fal.run/acme/app/status"));
    assert_eq!((seen.header("x-my-trace"), &*seen.body), (Some("42"), &b"[1]"[..]));
}

#[tokio::test]
async fn services_can_be_apart() {
    let (run, queue) = (Raw::start(well).await, Raw::start(well).await);
    let hosts = Hosts::fal()
        .with(fal_client::Host::Run, run.url())
        .and_then(|hosts| hosts.with(fal_client::Host::Queue, queue.url()))
        .unwrap();
    let client = Client::builder().hosts(hosts).key(KEY).build().unwrap();
    // The path that follows the host is no part of a base that names one service alone.
    let _ = in_time(client.run(FLUX)).await;
    let _ = in_time(client.queue(FLUX).unwrap().submit(json!({}))).await;
    let targets = |server: &Raw| server.seen().into_iter().map(|s| s.target).collect::<Vec<_>>();
    assert_eq!(targets(&run), ["/fal-ai/flux/dev"]);
    assert_eq!(targets(&queue), ["/fal-ai/flux/dev"]);
}

#[tokio::test]
async fn attempts_and_results_are_bounded_as_set() {
    let server = Raw::start(|seen| match seen.step() {
        "run" => Act::Say(answer(200, &[], &[b'1'; 1000])),
        _ => Act::HANG,
    })
    .await;
    let client = builder(server.url())
        .attempt_timeout(Duration::from_millis(30))
        .result_bytes_max(999)
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    let failed = |error: &Error| match error.kind() {
        Some(ErrorKind::Transport(failure)) => failure.kind,
        other => panic!("{other:?}"),
    };
    let slow = in_time(client.queue(FLUX).unwrap().status("x", false)).await.unwrap_err();
    assert_eq!(failed(&slow), FailureKind::Timeout);
    let long = in_time(client.run(FLUX)).await.unwrap_err();
    // The model ran, and its answer is lost: it must not look as if it could be run again.
    assert!(matches!(long.kind(), Some(ErrorKind::SubmitUnknown { .. })), "{long:?}");
    assert!(!long.is_retryable(), "{long:?}");
    assert_eq!(server.count("run"), 1);
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_never_shown() {
    let mock = MockFal::builder().key("another:key").start().await.unwrap();
    let client = client(&mock.url());
    let run = in_time(client.run(FLUX)).await.unwrap_err();
    let job = in_time(client.subscribe(FLUX)).await.unwrap_err();
    let upload = in_time(client.upload(b"x".to_vec())).await.unwrap_err();
    for error in [&run, &job, &upload] {
        assert_eq!(error.status().map(|status| status.as_u16()), Some(401), "{error:?}");
        assert!(!error.is_retryable());
        check_secrecy(&format!("{error} {error:?} {error:#?}"));
    }
    check_secrecy(&format!("{client:?} {:?} {:?}", client.run(FLUX), client.subscribe(FLUX)));
    check_secrecy(&format!("{:?}", builder(&mock.url())));
    assert_eq!(mock.requests().len(), 3, "a refusal is final");
}

#[track_caller]
fn check_secrecy(text: &str) {
    assert!(!text.contains("very-secret"), "{text}");
}

#[tokio::test]
async fn nobody_needs_no_key() {
    let mock = MockFal::builder().require_key(false).instant().start().await.unwrap();
    let client =
        Client::builder().base_url(mock.url()).credentials(Credentials::Anonymous).build().unwrap();
    let output = in_time(client.subscribe(FLUX).input(json!({ "prompt": "a cat" }))).await.unwrap();
    assert_eq!(output.files().len(), 1);
    let error = Client::builder().base_url(mock.url()).build().unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_before_anything_is() {
    let server = Raw::start(well).await;
    let client = client(server.url());
    let job = || client.subscribe(FLUX);
    for job in [
        client.subscribe("no-slash"),
        job().hint("ü"),
        job().start_timeout(Duration::from_millis(100)),
        job().webhook("/relative"),
        job().header("Authorization", "Key a:b"),
        job().header("x", "a\r\nb: c"),
        job().input(std::collections::BTreeMap::from([((1, 2), 3)])),
    ] {
        let error = in_time(job).await.unwrap_err();
        assert!(matches!(error.kind(), Some(ErrorKind::Input(_))), "{error:?}");
    }
    for key in ["", "no-colon", ":", "a:b\r\nc"] {
        let error = Client::builder().base_url(server.url()).key(key).build().unwrap_err();
        assert!(matches!(error.kind(), Some(ErrorKind::Input(_))), "{error:?}");
        assert!(key.is_empty() || !format!("{error:?}{error}").contains("no-colon"), "{error:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_mock_takes_every_setting() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let job = client(&mock.url())
        .subscribe(FLUX)
        .input(json!({ "prompt": "a cat" }))
        .start_timeout(Duration::from_secs(30))
        .priority(Priority::Low)
        .hint("lora-1")
        .max_queue_length(7);
    in_time(job).await.unwrap();
    let job = &mock.jobs()[0];
    assert!(job.is_low_priority);
    assert_eq!(job.input, r#"{"prompt":"a cat"}"#);
    let header = |name: &str| job.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    assert_eq!(header("x-fal-runner-hint").unwrap(), "lora-1");
    assert_eq!(header("x-fal-request-start-timeout").unwrap(), "30");
}
