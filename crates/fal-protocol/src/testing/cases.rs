//! Single cases that the properties found, or that they reach too seldom.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, header};

use super::driver::{Driver, Input, Machine, epoch, ms};
use super::machines::Start;
use super::promises::calm;
use super::service::{self, Asked, answer, asked};
use crate::Output;
use crate::error::{Aftermath, Error, ErrorKind};
use crate::settings::Settings;
use crate::wire::{Failure, FailureKind, Request, Response};

#[test]
fn whole_answer_to_a_stream_is_not_aborted() {
    let start = calm().start();
    let mut driver = Driver::new(start.watch(), start.now, None);
    respond(&mut driver, answer(404, r#"{"status":"NOT_FOUND"}"#));
    assert_eq!(asked_now(&driver), Asked::Status);
    assert!(!driver.outputs().any(|output| matches!(output, Output::Abort { .. })));
}

#[test]
fn backup_and_redirects_make_no_circle() {
    let start = Start { is_eager: false, ..calm().start() };
    let mut driver = Driver::new(start.watch(), start.now, None);
    let sends = |driver: &Driver<_>| driver.sends().count();
    refuse(&mut driver);
    redirect(&mut driver, 307, "https://evil.test/status");
    refuse(&mut driver);
    assert_eq!((sends(&driver), driver.open.is_none()), (3, true), "it rests before it goes on");
}

#[test]
fn relative_redirect_leads_on_from_where_it_was_given() {
    let start = Start { is_eager: false, ..calm().start() };
    let mut driver = Driver::new(start.fetch(), start.now, None);
    redirect(&mut driver, 302, "https://evil.test/a");
    redirect(&mut driver, 302, "/b");
    assert_eq!(driver.open.as_ref().unwrap().1.uri, "https://evil.test/b");
}

#[test]
fn credentials_do_not_come_back_from_a_foreign_host() {
    let start = calm().start();
    let mut driver = Driver::new(start.fetch(), start.now, None);
    let has_key = |driver: &Driver<_>| {
        let request = &driver.open.as_ref().expect("an open exchange").1;
        request.headers.contains_key(header::AUTHORIZATION)
    };
    redirect(&mut driver, 302, "/elsewhere");
    assert!(has_key(&driver));
    redirect(&mut driver, 302, "https://evil.test/a");
    assert!(!has_key(&driver));
    redirect(&mut driver, 302, "https://queue.fal.run/fal-ai/flux/requests/r2");
    assert!(!has_key(&driver), "a foreign host chose this address");
}

#[test]
fn deferred_credentials_are_wanted_at_home_only() {
    let settings = Settings { credentials: crate::Credentials::Deferred, ..Settings::default() };
    let start = Start { settings: Arc::new(settings), ..calm().start() };
    let mut driver = Driver::new(start.fetch(), start.now, None);
    let wants = |driver: &Driver<_>| {
        let request = &driver.open.as_ref().expect("an open exchange").1;
        assert!(!request.headers.contains_key(header::AUTHORIZATION));
        request.wants_credentials
    };
    assert!(wants(&driver));
    redirect(&mut driver, 302, "/elsewhere");
    assert!(wants(&driver));
    redirect(&mut driver, 302, "https://evil.test/a");
    assert!(!wants(&driver));
    redirect(&mut driver, 302, "https://queue.fal.run/fal-ai/flux/requests/r2");
    assert!(!wants(&driver), "a foreign host chose this address");
}

#[test]
fn no_credentials_are_not_looked_for_at_the_backup() {
    let start = Start { is_eager: false, ..calm().start() };
    let mut driver = Driver::new(start.run(), start.now, None);
    let id = driver.open.as_ref().unwrap().0;
    driver.give(Input::Failure(id, Failure::credentials("none")));
    assert_eq!(driver.sends().count(), 1);
    let error = failure_of(&driver);
    let ErrorKind::Transport(failure) = error.kind() else { panic!("{error:?}") };
    assert_eq!(failure.kind, FailureKind::Credentials);
    assert!(error.to_string().starts_with("there were no credentials"), "{error}");
}

#[test]
fn run_by_get_is_not_redirected_like_a_read() {
    let start = Start { is_eager: false, ..calm().start() };
    let mut driver = Driver::new(start.run(), start.now, None);
    redirect(&mut driver, 302, "https://fal.run/fal-ai/flux/dev");
    let error = failure_of(&driver);
    assert!(matches!(error.kind(), ErrorKind::SubmitUnknown { .. }), "{error:?}");
}

#[test]
fn nothing_is_paid_for_when_the_deadline_has_passed() {
    fn check<M: Machine>(begin: fn(&Start) -> M) {
        let start = calm().start();
        let start = Start { deadline: Some(start.now), ..start };
        let driver = Driver::new(begin(&start), start.now, start.deadline);
        assert_eq!(driver.sends().count(), 0);
        let aftermath = Aftermath::NothingSubmitted;
        assert_eq!(failure_of(&driver).kind(), &ErrorKind::Deadline { aftermath });
    }
    check(Start::run);
    check(Start::stream);
    check(Start::submit);
    check(Start::subscribe);
}

#[test]
fn odd_fields_do_not_cost_the_handle() {
    let start = calm().start();
    let mut driver = Driver::new(start.submit(), start.now, None);
    let body = r#"{"request_id":"r9","status_url":5,"cancel_url":{},"queue_position":"x"}"#;
    respond(&mut driver, http::Response::new(Bytes::from_static(body.as_bytes())));
    let handle = driver.done.as_ref().expect("the end").as_ref().expect("a handle");
    assert_eq!((&*handle.request_id, &handle.status_url), ("r9", &None));
}

#[test]
fn fate_stays_unknown_when_repeats_are_used_up() {
    let mut knobs = calm();
    knobs.retry = knobs.retry.with_repeat_ingress_submits(true);
    let start = knobs.start();
    let mut driver = Driver::new(start.submit(), start.now, None);
    while !driver.is_done() {
        if driver.open.is_some() {
            let page = Bytes::from_static(b"<html>nginx</html>");
            let mut response = http::Response::new(page);
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            respond(&mut driver, response);
        } else {
            assert!(driver.pass_to_timeout());
        }
    }
    assert_eq!(driver.sends().count(), 4);
    let error = failure_of(&driver);
    assert!(matches!(error.kind(), ErrorKind::SubmitUnknown { .. }), "{error:?}");
}

#[test]
fn rescue_and_cancel_share_one_limit() {
    let start = calm().start();
    let limit = start.settings.cancel_timeout;
    let mut driver = Driver::new(start.subscribe(), start.now, None);
    driver.give(Input::Cancel);
    driver.now += limit - ms(1_000);
    assert!(driver.answer_well());
    assert_eq!(asked_now(&driver), Asked::Cancel);
    driver.drive_in_silence();
    assert_eq!(driver.now, start.now + limit);
    let error = failure_of(&driver);
    assert_eq!(error.request_id(), Some("r1"));
}

#[test]
fn nothing_new_is_submitted_once_the_caller_gave_up() {
    for answer in ["refused", "redirect", "429"] {
        let start = calm().start();
        let mut driver = Driver::new(start.subscribe(), start.now, None);
        driver.give(Input::Cancel);
        match answer {
            "refused" => refuse(&mut driver),
            "redirect" => redirect(&mut driver, 307, "/fal-ai/flux/dev"),
            _ => respond(&mut driver, service::answer(429, "")),
        }
        assert_eq!(driver.sends().count(), 1, "{answer}");
        let aftermath = Aftermath::NothingSubmitted;
        assert_eq!(failure_of(&driver).kind(), &ErrorKind::Cancelled { aftermath }, "{answer}");
    }
}

#[test]
fn trouble_on_the_way_to_the_result_does_not_hide_the_failure() {
    let mut knobs = calm();
    knobs.is_eager = false;
    knobs.retry = knobs.retry.with_attempts_read(1);
    let start = knobs.start();
    let mut driver = Driver::new(start.attach(), start.now, None);
    let failed = r#"{"status":"COMPLETED","error":"boom","error_type":"internal_error"}"#;
    respond(&mut driver, answer(200, failed));
    let mut page = http::Response::new(Bytes::from_static(b"<html>nginx</html>"));
    *page.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    respond(&mut driver, page);
    assert_eq!(failure_of(&driver).error_type().map(|name| name.as_str()), Some("internal_error"));
}

#[test]
fn upload_error_does_not_quote_the_signed_address() {
    let start = calm().start();
    let mut driver = Driver::new(start.upload(), start.now, None);
    respond(&mut driver, answer(200, r#""https://storage.test/a?signature=secret""#));
    let error = failure_of(&driver);
    assert!(!format!("{error} {error:?}").contains("signature="), "{error}");
}

#[test]
fn budget_is_not_spent_on_repeats_that_never_come() {
    let start = calm().start();
    let start = Start { deadline: Some(start.now + ms(100)), ..start };
    let settings: Arc<Settings> = Arc::clone(&start.settings);
    let mut driver = Driver::new(start.submit(), start.now, start.deadline);
    respond(&mut driver, answer(429, ""));
    assert!(driver.is_done());
    assert_eq!(settings.budget.tokens(), crate::retry::RETRY_BUDGET_TOKENS);
}

#[test]
fn stream_that_stops_inside_an_event_has_failed() {
    for (body, succeeds) in [("data: {}\n\n", true), ("data: {}\n\n: ping", true), ("", true)]
        .into_iter()
        .chain([("data: {}\n\ndata: {}\n", false), ("data: {}", false)])
    {
        let mut driver = Driver::new(calm().start().stream(), epoch(), None);
        let (id, request) = driver.open.clone().unwrap();
        driver.give(Input::Head(id, service::well(&request).map(drop)));
        driver.give(Input::Chunk(id, Bytes::from_static(body.as_bytes())));
        driver.give(Input::End(id));
        assert_eq!(driver.done.as_ref().unwrap().is_ok(), succeeds, "{body:?}");
    }
}

#[test]
fn any_byte_ends_the_silence_of_a_stream() {
    let mut driver = Driver::new(calm().start().stream(), epoch(), None);
    let (id, request) = driver.open.clone().unwrap();
    driver.give(Input::Head(id, service::well(&request).map(drop)));
    for _ in 0..9 {
        driver.now += ms(59_999);
        driver.give(Input::Chunk(id, Bytes::from_static(b":")));
        assert!(driver.is_open(id));
    }
    assert!(driver.pass_to_timeout());
    assert_eq!(driver.now, epoch() + ms(9 * 59_999 + 60_000));
    let error = failure_of(&driver);
    let ErrorKind::Transport(failure) = error.kind() else { panic!("{error:?}") };
    assert_eq!((failure.kind, error.request_id()), (FailureKind::Timeout, Some("r1")));
}

#[test]
fn refusal_of_a_stream_is_kept_up_to_a_limit() {
    let mut driver = Driver::new(calm().start().stream(), epoch(), None);
    let id = driver.open.as_ref().unwrap().0;
    driver.give(Input::Head(id, answer(500, "").map(drop)));
    for _ in 0..100 {
        driver.give(Input::Chunk(id, Bytes::from(vec![b'x'; 10_000])));
    }
    driver.give(Input::End(id));
    let ErrorKind::Api(api) = failure_of(&driver).kind() else { panic!("an answer") };
    assert_eq!(api.body.len(), crate::error::RAW_BODY_BYTES_MAX);
}

/// Whoever asks for a foreign address: the key is not given.
#[test]
fn foreign_request_is_not_signed() {
    let settings = calm().start().settings;
    for (uri, is_signed) in [("https://queue.fal.run/a/b", true), ("https://evil.test/a/b", false)]
    {
        let request = settings.sign(Request::new(Method::GET, Uri::from_static(uri)));
        assert_eq!(request.headers.contains_key(header::AUTHORIZATION), is_signed, "{uri}");
    }
}

#[test]
fn success_gives_to_the_budget() {
    let start = calm().start();
    let budget = &start.settings.budget;
    assert!(budget.withdraw());
    let before = budget.tokens();
    let mut driver = Driver::new(start.run(), start.now, None);
    assert!(driver.answer_well());
    assert_eq!(budget.tokens(), before + 1);
}

#[track_caller]
fn respond<M: Machine>(driver: &mut Driver<M>, response: Response) {
    let id = driver.open.as_ref().expect("an open exchange").0;
    driver.give(Input::Response(id, response));
}

#[track_caller]
fn redirect<M: Machine>(driver: &mut Driver<M>, status: u16, to: &'static str) {
    let mut response = answer(status, "");
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    respond(driver, response);
}

#[track_caller]
fn refuse<M: Machine>(driver: &mut Driver<M>) {
    let id = driver.open.as_ref().expect("an open exchange").0;
    driver.give(Input::Failure(id, Failure::connect(FailureKind::Refused, "refused")));
}

#[track_caller]
fn failure_of<M: Machine>(driver: &Driver<M>) -> &Error {
    driver.done.as_ref().expect("the end").as_ref().expect_err("an error")
}

#[track_caller]
fn asked_now<M: Machine>(driver: &Driver<M>) -> Asked {
    asked(&driver.open.as_ref().expect("an open exchange").1)
}
