//! Answers that are not what was asked for.

use fal_client::{Error, ErrorKind, RetryPolicy};
use fal_protocol::wire::FailureKind;
use http::StatusCode;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::raw::{Act, JOB, Raw, Seen, answer, head, json_with, well};
use crate::support::{FLUX, builder, client, in_time};

/// Answers the first request for a step oddly, and everything else well.
pub(super) async fn first(step: &'static str, odd: Act) -> Raw {
    let odd = std::sync::Mutex::new(Some(odd));
    Raw::start(move |seen: &Seen| match seen.step() == step {
        true => odd.lock().unwrap().take().unwrap_or_else(|| well(seen)),
        false => well(seen),
    })
    .await
}

#[track_caller]
pub(super) fn check_unknown(server: &Raw, error: &Error) {
    assert!(matches!(error.kind(), Some(ErrorKind::SubmitUnknown { .. })), "{error:?}");
    assert!(!error.is_retryable(), "it could pay twice: {error:?}");
    assert_eq!(server.steps(), ["submit"], "one submit, and nothing after it");
}

#[tokio::test]
async fn empty_answers_to_a_submit_leave_its_fate_unknown() {
    for odd in [
        head(204, &[]),
        answer(200, &[], b""),
        answer(200, &[("content-type", "application/json")], b"{}"),
        answer(200, &[("content-type", "application/json")], b"null"),
        answer(200, &[("content-type", "application/json")], br#"{"request_id":""}"#),
        answer(202, &[("content-type", "text/html")], b"<html>Welcome to the hotel</html>"),
    ] {
        let server = first("submit", Act::Say(odd)).await;
        let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
        check_unknown(&server, &error);
    }
}

#[tokio::test]
async fn the_header_names_a_job_that_the_body_does_not() {
    let server =
        first("submit", Act::Say(answer(200, &[("x-fal-request-id", "from-head")], b""))).await;
    let output = in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
    assert_eq!(output.request_id(), Some("from-head"));
    assert!(server.seen()[2].target.ends_with("/requests/from-head"));
}

#[tokio::test]
async fn a_page_of_an_ingress_at_submit_leaves_its_fate_unknown() {
    for status in [502, 503, 504] {
        let odd = answer(status, &[("content-type", "text/html")], PAGE);
        let server = first("submit", Act::Say(odd.clone())).await;
        let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
        check_unknown(&server, &error);
        assert_eq!(error.status().map(|found| found.as_u16()), Some(status));

        // Unless the caller takes the risk.
        let server = first("submit", Act::Say(odd)).await;
        let policy = RetryPolicy::default()
            .with_backoff(std::time::Duration::from_millis(1), std::time::Duration::from_millis(2))
            .with_repeat_ingress_submits(true);
        let client = builder(server.url()).retry(policy).build().unwrap();
        in_time(client.subscribe(FLUX)).await.unwrap();
        assert_eq!(server.steps(), ["submit", "submit", "stream", "result"]);
    }
}

#[tokio::test]
async fn a_refusal_of_the_service_at_submit_is_final() {
    let detail = json!({ "detail": "no capacity" });
    for (status, headers) in [
        (503, [("x-fal-request-id", "r")]),
        (500, [("x-fal-request-id", "r")]),
        (400, [("x-other", "")]),
        (404, [("x-other", "")]),
    ] {
        let server = first("submit", Act::Say(json_with(status, &headers, &detail))).await;
        let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
        assert!(matches!(error.kind(), Some(ErrorKind::Api(_))), "{error:?}");
        assert_eq!(error.status().map(|found| found.as_u16()), Some(status));
        assert_eq!(server.steps(), ["submit"]);
    }
}

#[tokio::test]
async fn a_full_queue_is_asked_again() {
    let count = AtomicUsize::new(0);
    let server = Raw::start(move |seen| match seen.step() {
        "submit" if count.fetch_add(1, Ordering::SeqCst) < 2 => {
            Act::Say(json_with(429, &[("retry-after", "0")], &json!({ "detail": "busy" })))
        }
        _ => well(seen),
    })
    .await;
    in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
    assert_eq!(server.steps(), ["submit", "submit", "submit", "stream", "result"]);
}

#[tokio::test]
async fn pages_of_an_ingress_at_status_and_result_pass() {
    let server = MockServer::start().await;
    let page = || ResponseTemplate::new(502).set_body_raw(PAGE, "text/html");
    let json = |body: &str| ResponseTemplate::new(200).set_body_raw(body, "application/json");
    Mock::given(method("POST"))
        .and(path("/queue.fal.run/fal-ai/flux/dev"))
        .respond_with(json(r#"{"request_id":"r"}"#))
        .expect(1)
        .mount(&server)
        .await;
    for (end, body) in [("/status", r#"{"status":"COMPLETED"}"#), ("/requests/r", r#"{"seed":7}"#)]
    {
        let at = || path_regex(format!("^/queue.fal.run/fal-ai/flux/?.*{end}$"));
        let twice = Mock::given(method("GET")).and(at()).respond_with(page());
        twice.up_to_n_times(2).expect(2).mount(&server).await;
        let then = Mock::given(method("GET")).and(at()).respond_with(json(body));
        then.expect(1).mount(&server).await;
    }
    let output = in_time(client(&server.uri()).subscribe(FLUX).status_stream(false)).await.unwrap();
    assert_eq!(output.value().unwrap(), json!({ "seed": 7 }));
    server.verify().await;
}

#[tokio::test]
async fn a_page_instead_of_a_status_is_asked_again() {
    let page = answer(200, &[("content-type", "text/html")], PAGE);
    let server = first("status", Act::Say(page)).await;
    let job = client(server.url()).subscribe(FLUX).status_stream(false);
    in_time(job.poll_interval(std::time::Duration::from_millis(1))).await.unwrap();
    assert_eq!(server.steps(), ["submit", "status", "status", "result"]);
}

#[tokio::test]
async fn a_page_as_a_result_is_handed_over_as_it_is() {
    let page = answer(200, &[("content-type", "text/html")], PAGE);
    let server = first("result", Act::Say(page)).await;
    let output = in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
    // Models may answer any media, so this is no error; reading it as JSON is.
    assert_eq!((output.content_type(), &output.bytes()[..]), (Some("text/html"), PAGE));
    let error = output.value().unwrap_err();
    assert_eq!(error.output().bytes(), PAGE);
}

#[tokio::test]
async fn a_stored_failure_is_told_and_one_of_the_way_is_not() {
    let failed = json!({ "detail": "no GPU", "error_type": "runner_scheduling_failure" });
    let stored = json_with(503, &[("x-fal-request-id", JOB)], &failed);
    let server = first("result", Act::Say(stored)).await;
    let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(error.error_type().map(|kind| kind.as_str()), Some("runner_scheduling_failure"));
    assert_eq!(error.request_id(), Some(JOB));
    assert_eq!(server.steps(), ["submit", "stream", "result"]);

    let server = first("result", Act::Say(answer(503, &[], PAGE))).await;
    in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
    assert_eq!(server.steps(), ["submit", "stream", "result", "result"]);
}

#[tokio::test]
async fn doubled_headers_do_no_harm() {
    let body = br#"{"request_id":"job-1"}"#;
    let doubled = answer(
        200,
        &[
            ("content-type", "application/json"),
            ("Content-Type", "text/plain"),
            ("x-fal-request-id", "a"),
            ("X-Fal-Request-Id", "b"),
            ("retry-after", "1"),
            ("retry-after", "x"),
            ("content-length", "22"),
        ],
        body,
    );
    let server = first("submit", Act::Say(doubled)).await;
    let output = in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
    assert_eq!(output.request_id(), Some("job-1"));

    let lengths = [head(200, &[("content-length", "22"), ("content-length", "5")]), body.to_vec()];
    let server = first("submit", Act::SayAndClose(lengths.concat())).await;
    let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
    check_unknown(&server, &error);
}

#[tokio::test]
async fn odd_values_in_headers_do_no_harm() {
    for odd in ["ü", "-1", "NaN", "1e400", "99999999999999999999", ""] {
        let names = [
            "x-fal-request-id",
            "x-fal-billable-units",
            "x-fal-error-type",
            "x-fal-needs-retry",
            "x-fal-retryable",
            "x-ratelimit-reset",
        ];
        let headers = names.map(|name| (name, odd));
        let server = Raw::start(move |seen| match seen.step() {
            "submit" => Act::Say(answer(200, &headers, br#"{"request_id":"job-1"}"#)),
            "stream" => Act::Say(answer(500, &headers, b"")),
            "status" => Act::Say(answer(200, &headers, br#"{"status":"COMPLETED"}"#)),
            _ => Act::Say(answer(200, &headers, br#"{"seed":7}"#)),
        })
        .await;
        let output = in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
        assert_eq!(output.request_id(), Some(JOB), "{odd:?}");
        let units = output.billable_units();
        assert!(units.is_none_or(|units| units.is_finite() && units >= 0.0), "{units:?}");

        let server = Raw::start(move |_| Act::Say(answer(418, &headers, b""))).await;
        let error = in_time(client(server.url()).run(FLUX)).await.unwrap_err();
        assert_eq!(error.status().map(|status| status.as_u16()), Some(418), "{odd:?}");
    }
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let hint = head(103, &[("link", "</style.css>; rel=preload")]);
    let interim = [head(100, &[]), hint.clone(), hint].concat();
    let accepted = answer(200, &[], br#"{"request_id":"job-1"}"#);
    let server = first("submit", Act::Say([interim, accepted].concat())).await;
    let output = in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
    assert_eq!(output.request_id(), Some("job-1"));
    assert_eq!(server.steps(), ["submit", "stream", "result"]);
}

#[tokio::test]
async fn endless_headers_are_cut_off() {
    let long = "x".repeat(4 << 20);
    let odd = answer(200, &[("x-long", &long)], br#"{"request_id":"job-1"}"#);
    let server = first("submit", Act::SayAndClose(odd)).await;
    let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
    check_unknown(&server, &error);
    assert!(error.to_string().len() < 1000, "{} bytes", error.to_string().len());
}

#[tokio::test]
async fn long_errors_are_cut_off() {
    let long = vec![b'x'; 20 << 20];
    let server = first("run", Act::Say(answer(500, &[("x-fal-request-id", "r")], &long))).await;
    let error = in_time(client(server.url()).run(FLUX)).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(error.request_id(), Some("r"));
    assert!(format!("{error} {error:?}").len() < 100_000, "an error is for people");

    // A status is never that long: it is not even read to its end.
    let server = first("status", Act::Say(answer(200, &[], &long))).await;
    let job = client(server.url()).subscribe(FLUX).status_stream(false);
    let error = in_time(job).await.unwrap_err();
    let too_large =
        matches!(error.kind(), Some(ErrorKind::Transport(f)) if f.kind == FailureKind::TooLarge);
    assert!(too_large, "{error:?}");
    assert_eq!(error.request_id(), Some(JOB), "the job is not lost");
}

#[tokio::test]
async fn unknown_words_are_kept() {
    let body = json!({ "detail": "odd", "error_type": "quantum_flux" });
    let server = first("result", Act::Say(json_with(418, &[], &body))).await;
    let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(418));
    assert_eq!(error.error_type().map(|kind| kind.as_str()), Some("quantum_flux"));
}

#[tokio::test]
async fn the_cause_of_an_unknown_fate_is_kept() {
    let server = first("submit", Act::Say(answer(200, &[], b"<html>"))).await;
    let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
    match error.kind() {
        Some(ErrorKind::SubmitUnknown { cause }) => {
            assert!(matches!(**cause, ErrorKind::Protocol(_)), "{cause:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains("<html>"), "what came instead helps: {error}");
}

const PAGE: &[u8] = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
