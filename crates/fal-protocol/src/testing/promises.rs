//! What the client promises its users, one property each.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use proptest::prelude::*;

use super::driver::{Driver, Entry, Input, Machine, ms};
use super::machines::Start;
use super::properties::run_to_end;
use super::script::{Knobs, Odd, Step, knobs, odd, plain_knobs, steps};
use super::service::{self, Asked, answer, asked};
use crate::Output;
use crate::error::{Aftermath, Error, ErrorKind};
use crate::headers;
use crate::queue::{Event, LogLine, Subscribe, Watch};
use crate::retry::{RETRY_COST, RetryPolicy};
use crate::stream;
use crate::wire::{ExchangeId, Response, Sent};

proptest! {
    #[test]
    fn never_paid_twice(knobs in plain_knobs(), steps in steps()) {
        assert_paid_once(&run_to_end(Start::run, &knobs, &steps));
        assert_paid_once(&run_to_end(Start::stream, &knobs, &steps));
        assert_paid_once(&run_to_end(Start::submit, &knobs, &steps));
        assert_paid_once(&run_to_end(Start::subscribe, &knobs, &steps));
    }

    /// Also of a caller who took the risk.
    #[test]
    fn unknown_fate_is_told(knobs in knobs(), steps in steps()) {
        assert_unknown_is_told(&run_to_end(Start::run, &knobs, &steps));
        assert_unknown_is_told(&run_to_end(Start::stream, &knobs, &steps));
        assert_unknown_is_told(&run_to_end(Start::submit, &knobs, &steps));
        assert_unknown_is_told(&run_to_end(Start::subscribe, &knobs, &steps));
    }

    #[test]
    fn never_lost(knobs in knobs(), steps in steps()) {
        assert_handle_first(&run_to_end(Start::submit, &knobs, &steps));
        assert_handle_first(&run_to_end(Start::subscribe, &knobs, &steps));
        assert_error_has_handle(&run_to_end(Start::watch, &knobs, &steps).done);
        assert_error_has_handle(&run_to_end(Start::fetch, &knobs, &steps).done);
        assert_error_has_handle(&run_to_end(Start::check, &knobs, &steps).done);
        assert_error_has_handle(&run_to_end(Start::cancel, &knobs, &steps).done);
        assert_error_has_handle(&run_to_end(Start::attach, &knobs, &steps).done);
    }

    /// Whatever has happened before, and although the connection shows life to the end.
    #[test]
    fn never_hangs(mut knobs in knobs(), steps in steps(), deadline in 0_u64..200_000) {
        knobs.deadline_ms = Some(deadline);
        assert_ends_in_time(Start::ask, &knobs, &steps);
        assert_ends_in_time(Start::run, &knobs, &steps);
        assert_ends_in_time(Start::stream, &knobs, &steps);
        assert_ends_in_time(Start::submit, &knobs, &steps);
        assert_ends_in_time(Start::watch, &knobs, &steps);
        assert_ends_in_time(Start::fetch, &knobs, &steps);
        assert_ends_in_time(Start::check, &knobs, &steps);
        assert_ends_in_time(Start::cancel, &knobs, &steps);
        assert_ends_in_time(Start::subscribe, &knobs, &steps);
        assert_ends_in_time(Start::upload, &knobs, &steps);
        assert_ends_in_time(Start::mint, &knobs, &steps);
        assert_ends_in_time(Start::upload_parts, &knobs, &steps);
        assert_ends_in_time(Start::upload_cdn_parts, &knobs, &steps);
        assert_ends_in_time(Start::upload_gcs_parts, &knobs, &steps);
    }

    /// The result is asked for in the same breath, wherever the event is cut.
    #[test]
    fn prompt(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5), wait in 0_u64..40_000) {
        let mut driver = streaming();
        driver.now += ms(wait.min(9_999));
        let event = service::event_of(0);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(event.len())).collect();
        cuts.sort_unstable();
        let (mut from, id) = (0, driver.open.as_ref().unwrap().0);
        for cut in cuts {
            driver.give(Input::Chunk(id, event.slice(from..cut)));
            prop_assert!(driver.is_open(id));
            from = cut;
        }
        let before = driver.sends().count();
        driver.give(Input::Chunk(id, event.slice(from..)));
        let (at, request) = driver.sends().nth(before).expect("one more request");
        prop_assert_eq!((at, asked(request)), (driver.now, Asked::Result));
    }

    #[test]
    fn log_lines_come_once_and_in_order(seed: u64, views in proptest::collection::vec(view(), 1..12)) {
        let knobs = Knobs { seed, ..calm() };
        let start = knobs.start();
        let mut driver = Driver::new(start.watch(), start.now, None);
        let (mut written, mut sent) = (0, 0);
        for view in views {
            written += view.new_lines;
            if !show(&mut driver, &view, written, &mut sent) {
                break;
            }
        }
        let told: Vec<&str> = driver.events().filter_map(text_of).collect();
        let all: Vec<String> = (0..written).map(text).collect();
        prop_assert_eq!(&told[..], &all[..told.len()]);
        // The last word is a poll with everything, or a stream that has said everything.
        finish_logs(&mut driver, written, sent);
        let told: Vec<&str> = driver.events().filter_map(text_of).collect();
        prop_assert_eq!(told, all);
    }

    /// A stored failure is replayed on the result: it is told at once, whole, and never asked again.
    #[test]
    fn stored_failures_are_told_at_once(odd in odd().prop_filter("an outcome", is_outcome), seed: u64) {
        let mut response = odd.response();
        response.headers_mut().insert(headers::REQUEST_ID, "r1".parse().unwrap());
        let start = Knobs { seed, ..calm() }.start();
        let mut driver = Driver::new(start.fetch(), start.now, None);
        let id = driver.open.as_ref().unwrap().0;
        driver.give(Input::Response(id, response.clone()));
        match driver.done.as_ref().expect("the end") {
            Ok(told) => prop_assert_eq!(&told.body, response.body()),
            Err(error) => {
                prop_assert_eq!(error.status(), Some(response.status()));
                prop_assert_eq!(error.request_id(), Some("r1"));
                let ErrorKind::Api(api) = error.kind() else { panic!("{error:?}") };
                prop_assert_eq!(&api.body, response.body());
            }
        }
    }

    /// A stream that was accepted is never asked for again; it succeeds only when it ended in order, and
    /// every failure from there on names the request.
    #[test]
    fn accepted_streams_end_honestly(knobs in knobs(), steps in steps()) {
        let driver = run_to_end(Start::stream, &knobs, &steps);
        let opened = driver.trace.iter().position(|(_, entry)| {
            matches!(entry, Entry::Out(Output::Event(stream::Event::Opened { .. })))
        });
        let Some(opened) = opened else {
            prop_assert!(matches!(driver.done, Some(Err(_))), "{:?}", driver.done);
            return Ok(());
        };
        let rest = &driver.trace[opened..];
        let sent = |entry: &Entry<_>| matches!(entry, Entry::Out(Output::Send { .. }));
        prop_assert!(!rest.iter().any(|(_, entry)| sent(entry)), "it is sent again");
        let Entry::Out(Output::Event(stream::Event::Opened { headers })) = &rest[0].1 else {
            panic!("it was found above");
        };
        match &driver.done {
            Some(Ok(streamed)) => {
                let items = driver.events().filter_map(|event| match event {
                    stream::Event::Item(item) => Some(item),
                    _ => None,
                });
                prop_assert_eq!(streamed.last.as_ref(), items.last());
                let last_in = driver.trace.iter().rev().find_map(|(_, entry)| match entry {
                    Entry::In(input) => Some(input),
                    Entry::Out(_) => None,
                });
                prop_assert!(matches!(last_in, Some(Input::End(_) | Input::Response(..))));
            }
            Some(Err(error)) => {
                let named = headers.get(headers::REQUEST_ID).map(|id| id.to_str().unwrap());
                prop_assert_eq!(error.request_id(), named);
                prop_assert!(!error.is_retryable(), "{:?}", error);
            }
            None => panic!("it has no end"),
        }
    }

    #[test]
    fn outcomes_are_honest(knobs in knobs(), steps in steps()) {
        let driver = run_to_end(Start::subscribe, &knobs, &steps);
        let failed = driver.events().any(
            |event| matches!(event, Event::Completed(completed) if completed.failure.is_some()),
        );
        prop_assert!(!failed || matches!(driver.done, Some(Err(_))), "{:?}", driver.done);
        let completed = driver.events().any(|event| matches!(event, Event::Completed(_)));
        prop_assert!(completed || matches!(driver.done, Some(Err(_))), "{:?}", driver.done);
    }

    #[test]
    fn keys_stay_at_home_and_unseen(knobs in knobs(), steps in steps()) {
        assert_no_secret(Start::run, &knobs, &steps);
        assert_no_secret(Start::stream, &knobs, &steps);
        assert_no_secret(Start::subscribe, &knobs, &steps);
        assert_no_secret(Start::attach, &knobs, &steps);
        assert_no_secret(Start::fetch, &knobs, &steps);
        assert_no_secret(Start::upload, &knobs, &steps);
        assert_no_secret(Start::mint, &knobs, &steps);
        assert_no_secret(Start::upload_parts, &knobs, &steps);
        assert_no_secret(Start::upload_cdn, &knobs, &steps);
        assert_no_secret(Start::upload_cdn_parts, &knobs, &steps);
        assert_no_secret(Start::upload_gcs_parts, &knobs, &steps);
        assert_no_secret(Start::upload_resumed, &knobs, &steps);
    }

    /// The user's rule decides before the service's word, and that before the status.
    #[test]
    fn rules_are_asked_in_order(
        odd in odd().prop_filter("a refusal", |odd| odd.status >= 400),
        rule in proptest::option::of(any::<bool>()),
        seed: u64,
    ) {
        let response = odd.response();
        let mut knobs = Knobs { seed, ..calm() };
        if let Some(repeat) = rule {
            knobs.retry = knobs.retry.with_status_rule(response.status(), repeat);
        }
        let own_timeout = odd.status == 504 && odd.headers & 1 << 4 != 0;
        let word = headers::retry_word(response.headers()).filter(|_| !own_timeout);
        for asked in [Asked::Paid, Asked::Status] {
            let retried = match asked {
                Asked::Paid => is_repeated(Start::submit, &knobs, &response),
                _ => is_repeated(Start::attach, &Knobs { is_eager: false, ..knobs.clone() }, &response),
            };
            match rule.or(word) {
                Some(expected) => prop_assert_eq!(retried, expected, "{:?}", asked),
                None if odd.status == 429 => prop_assert!(retried),
                None if matches!(odd.status, 400..=404 | 422) && odd.body != 7 && odd.headers & 8 == 0 => {
                    prop_assert!(!retried);
                }
                None => {}
            }
        }
    }

    /// A rest is as long as the service asked for, and nothing that costs money begins after the deadline.
    #[test]
    fn waits_are_respected(knobs in plain_knobs(), steps in steps()) {
        assert_waits(&run_to_end(Start::run, &knobs, &steps));
        assert_waits(&run_to_end(Start::stream, &knobs, &steps));
        assert_waits(&run_to_end(Start::submit, &knobs, &steps));
        assert_waits(&run_to_end(Start::subscribe, &knobs, &steps));
        assert_waits(&run_to_end(Start::cancel, &knobs, &steps));
    }

    #[test]
    fn budget_bounds_the_repeats_of_all_machines(budget in 0_u32..60, machines in 1_usize..30) {
        let start = Knobs { budget, ..calm() }.start();
        let mut repeats = 0;
        for seed in 0..machines {
            let start = Start { seed: seed as u64, ..start.clone() };
            let mut driver = Driver::new(start.submit(), start.now, None);
            while !driver.is_done() {
                match driver.open.as_ref().map(|(id, _)| *id) {
                    Some(id) => driver.give(Input::Response(id, answer(429, "{}"))),
                    None => assert!(driver.pass_to_timeout()),
                }
            }
            repeats += driver.sends().count() - 1;
        }
        prop_assert!(repeats <= (budget / RETRY_COST) as usize);
        prop_assert_eq!(repeats, ((budget / RETRY_COST) as usize).min(machines * 3));
    }
}

/// A stream that only shows life has not told what the job does: a poll asks.
#[test]
fn heartbeat_is_no_progress() {
    let mut driver = streaming();
    let opened = driver.now;
    let id = driver.open.as_ref().unwrap().0;
    while driver.is_open(id) {
        driver.now += ms(3_000);
        match driver.until {
            Some(until) if until <= driver.now => assert!(driver.pass_to_timeout()),
            _ => driver.give(Input::Chunk(id, Bytes::from_static(b": ping\n\n"))),
        }
        assert!(driver.now <= opened + ms(12_000), "comments keep a silent stream open");
    }
}

#[test]
fn unknown_status_ends_nothing() {
    let mut driver = streaming();
    let id = driver.open.as_ref().unwrap().0;
    driver.give(Input::Chunk(id, service::event_of(7)));
    assert!(driver.is_open(id));
    let told = driver.events().last();
    assert_eq!(told, Some(&Event::UnknownStatus("MOVED_TO_MARS".into())));
}

/// Whether a result answer like this is the outcome of the job: not a redirect, and not "not ready".
fn is_outcome(odd: &Odd) -> bool {
    let response = odd.response();
    let goes_on = odd.status == 202
        || odd.status == 400 && response.body().starts_with(br#"{"detail":"Request is still"#);
    !response.status().is_redirection() && !goes_on
}

/// Whether an answer to a paid request says that no work was done for it.
fn says_no_work(response: &Response) -> bool {
    let is_repeat = matches!(response.status().as_u16(), 307 | 308);
    match headers::retry_word(response.headers()) {
        Some(repeat) => repeat,
        None => is_repeat || response.status() == StatusCode::TOO_MANY_REQUESTS,
    }
}

fn assert_paid_once<M: Machine>(driver: &Driver<M>) {
    let (mut open, mut may_be_paid) = (None, false);
    for (_, entry) in &driver.trace {
        match entry {
            Entry::Out(Output::Send { id, request }) if asked(request) == Asked::Paid => {
                assert!(!may_be_paid, "sent again although it may have been accepted");
                open = Some(*id);
            }
            Entry::Out(Output::Abort { id }) if open == Some(*id) => may_be_paid = true,
            Entry::In(Input::Response(id, response)) if open == Some(*id) => {
                may_be_paid |= !says_no_work(response);
            }
            // The head says it all: what becomes of the body afterwards changes nothing.
            Entry::In(Input::Head(id, head)) if open == Some(*id) => {
                may_be_paid |= !says_no_work(&head.clone().map(|()| Bytes::new()));
                open = None;
            }
            Entry::In(Input::Failure(id, failure)) if open == Some(*id) => {
                may_be_paid |= failure.sent != Sent::No;
            }
            _ => {}
        }
    }
}

fn assert_unknown_is_told<M: Machine>(driver: &Driver<M>) {
    let (mut open, mut unknown, mut refused) = (None, false, None);
    for (_, entry) in &driver.trace {
        match entry {
            Entry::Out(Output::Send { id, request }) if asked(request) == Asked::Paid => {
                unknown |= refused.take().is_some_and(|(_, answer)| leaves_unknown(&answer));
                open = Some(*id);
            }
            Entry::Out(Output::Abort { id }) if open == Some(*id) => unknown = true,
            Entry::In(Input::Response(id, response)) if open == Some(*id) => {
                if response.status().is_success() {
                    // Accepted, or known to be lost: another promise.
                    return;
                }
                unknown |= leaves_unknown(response);
            }
            Entry::In(Input::Head(id, head)) if open == Some(*id) => {
                if head.status().is_success() {
                    return;
                }
                refused = Some((*id, head.clone().map(|()| Bytes::new())));
                open = None;
            }
            // What the head leaves open, the body may tell.
            Entry::In(Input::Response(id, rest)) => add_rest(&mut refused, *id, rest.body()),
            Entry::In(Input::Chunk(id, piece)) => add_rest(&mut refused, *id, piece),
            Entry::In(Input::Failure(id, failure)) if open == Some(*id) => {
                unknown |= failure.sent == Sent::Maybe;
            }
            _ => {}
        }
    }
    unknown |= refused.is_some_and(|(_, answer)| leaves_unknown(&answer));
    let Some(Err(error)) = &driver.done else { panic!("it ended as {:?}", driver.done) };
    let told = match error.kind() {
        ErrorKind::SubmitUnknown { .. } => true,
        ErrorKind::Deadline { aftermath } | ErrorKind::Cancelled { aftermath } => {
            matches!(aftermath, Aftermath::Unknown | Aftermath::Disconnected)
        }
        _ => false,
    };
    assert!(!unknown || told, "a job may exist, but it ended as {error:?}");
    assert!(!told || !error.is_retryable(), "{error:?} invites to pay twice");
}

/// Adds to the body of the refusal that came by this exchange.
fn add_rest(refused: &mut Option<(ExchangeId, Response)>, id: ExchangeId, piece: &[u8]) {
    if let Some((_, answer)) = refused.as_mut().filter(|(refused, _)| *refused == id) {
        *answer.body_mut() = [answer.body(), piece].concat().into();
    }
}

/// Whether an answer other than 2xx leaves open what became of the request.
fn leaves_unknown(response: &Response) -> bool {
    let status = response.status();
    let front = matches!(status.as_u16(), 502..=504)
        && headers::retry_word(response.headers()).is_none()
        && !response.headers().contains_key(headers::REQUEST_ID)
        && !response.headers().contains_key(headers::ERROR_TYPE)
        && !response.body().starts_with(br#"{"detail""#);
    let moved = status.is_redirection() && !matches!(status.as_u16(), 307 | 308);
    front || moved
}

fn assert_handle_first<M: Machine<Event = Event>>(driver: &Driver<M>) {
    let mut accepted =
        driver.trace.iter().enumerate().filter_map(|(index, (_, entry))| match entry {
            Entry::In(Input::Response(id, response)) if response.status().is_success() => {
                let sent = driver.trace[..index].iter().any(|(_, entry)| {
                    matches!(entry, Entry::Out(Output::Send { id: sent, request })
                        if sent == id && asked(request) == Asked::Paid)
                });
                (sent && has_request_id(response)).then_some(index)
            }
            _ => None,
        });
    let Some(accepted) = accepted.next() else { return };
    let next = driver.trace[accepted + 1..].iter().find_map(|(_, entry)| match entry {
        Entry::Out(output) => Some(output),
        Entry::In(_) => None,
    });
    assert!(
        matches!(next, Some(Output::Event(Event::Submitted(handle))) if &*handle.request_id == "r1"),
        "accepted, and then: {next:?}"
    );
    if let Some(Err(error)) = &driver.done {
        assert!(error.handle().is_some(), "the handle is lost: {error:?}");
    }
}

fn has_request_id(response: &Response) -> bool {
    let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
    json["request_id"].is_string() || response.headers().contains_key(headers::REQUEST_ID)
}

fn assert_error_has_handle<T: std::fmt::Debug>(done: &Option<Result<T, Error>>) {
    if let Some(Err(error)) = done {
        assert_eq!(error.request_id(), Some("r1"), "{error:?}");
        assert!(error.to_string().contains("r1"), "{error}");
    }
}

fn assert_ends_in_time<M: Machine>(begin: fn(&Start) -> M, knobs: &Knobs, steps: &[Step]) {
    let start = knobs.start();
    let mut driver = Driver::new(begin(&start), start.now, start.deadline);
    super::script::play(&mut driver, steps);
    let limit = start.deadline.unwrap().max(driver.now) + start.settings.cancel_timeout;
    while !driver.is_done() {
        let until = driver.until.expect("a limit");
        // Life on the connection every second, but never an answer.
        if driver.now + ms(1_000) < until
            && let Some((id, _)) = driver.open
        {
            driver.now += ms(1_000);
            let sign = if driver.is_headed {
                Input::Chunk(id, Bytes::from_static(b": ping\n\n"))
            } else {
                Input::Progress(id, 1)
            };
            driver.give(sign);
        } else {
            assert!(driver.pass_to_timeout());
        }
        assert!(driver.now <= limit, "{:?} past its limit", driver.now - limit);
    }
}

fn assert_no_secret<M: Machine>(begin: fn(&Start) -> M, knobs: &Knobs, steps: &[Step]) {
    let hosts = &knobs.start().settings.hosts;
    let driver = run_to_end(begin, knobs, steps);
    for (_, request) in driver.sends() {
        let has_key = request.headers.contains_key(http::header::AUTHORIZATION);
        let credentials = request.headers.get(http::header::AUTHORIZATION);
        let is_token = credentials.is_some_and(|value| value.as_bytes().starts_with(b"Bearer "));
        let is_trusted = match is_token {
            true => request.uri.host().is_some_and(|host| host.ends_with(".fal.media")),
            false => hosts.trusts(&request.uri),
        };
        let is_trusted = is_trusted || hosts.is_at(crate::hosts::Host::Cdn, &request.uri);
        assert!(!has_key || is_trusted, "credentials go to {}", request.uri);
        let is_signed = request.uri.query().is_some_and(|query| query.contains("signature="));
        assert!(!has_key || is_token || !is_signed, "the key goes to a signed address");
        assert!(has_key || asked(request) != Asked::Paid, "a paid request without the key");
    }
    let mut said = format!("{:?}", driver.machine);
    for output in driver.outputs() {
        said.push_str(&format!("{output:?}"));
        if let Output::Done(Err(error)) = output {
            said.push_str(&error.to_string());
        }
    }
    for secret in [service::SECRET, service::SIGNATURE] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

/// Whether the first exchange, answered like this, is sent again.
fn is_repeated<M: Machine>(begin: fn(&Start) -> M, knobs: &Knobs, response: &Response) -> bool {
    let start = knobs.start();
    let mut driver = Driver::new(begin(&start), start.now, None);
    let (id, request) = driver.open.clone().unwrap();
    driver.give(Input::Response(id, response.clone()));
    if driver.is_done() {
        return false;
    }
    assert!(driver.pass_to_timeout());
    assert_eq!(driver.open.as_ref().map(|(_, again)| again), Some(&request));
    true
}

fn assert_waits<M: Machine>(driver: &Driver<M>) {
    let mut asked_for: Option<(std::time::Instant, Duration)> = None;
    for (at, entry) in &driver.trace {
        match entry {
            Entry::In(Input::Response(_, response)) if response.status().as_u16() == 429 => {
                let seconds = if response.headers().contains_key(http::header::RETRY_AFTER) {
                    7.0
                } else if response.headers().contains_key(headers::RATE_LIMIT_RESET) {
                    2.5
                } else {
                    0.0
                };
                asked_for = Some((*at, Duration::from_secs_f64(seconds)));
            }
            Entry::Out(Output::Send { request, .. }) => {
                let is_paid = asked(request) == Asked::Paid;
                if is_paid {
                    assert!(driver.deadline.is_none_or(|d| *at < d), "it is sent too late");
                }
                if let Some((since, rest)) = asked_for.take().filter(|_| is_paid) {
                    assert!(*at >= since + rest, "sent {:?} after a 429", *at - since);
                }
            }
            _ => {}
        }
    }
}

/// A world without trouble.
pub(super) fn calm() -> Knobs {
    Knobs {
        seed: 1,
        deadline_ms: None,
        is_eager: true,
        is_mock: false,
        budget: 500,
        retry: RetryPolicy::default(),
    }
}

/// A subscribe whose status stream has just opened.
fn streaming() -> Driver<Subscribe> {
    let start = calm().start();
    let mut driver = Driver::new(start.subscribe(), start.now, None);
    assert!(driver.answer_well());
    let (id, request) = driver.open.clone().unwrap();
    assert_eq!((asked(&request), &request.method), (Asked::Stream, &Method::GET));
    let (parts, _) = service::well(&request).into_parts();
    driver.give(Input::Head(id, http::Response::from_parts(parts, ())));
    driver
}

/// One connection of a job that logs.
#[derive(Clone, Debug)]
struct View {
    new_lines: usize,
    /// A stream that is opened again sends all lines, not only those that it has not sent.
    is_replay: bool,
    /// How the lines are cut into events, in lines per event.
    per_event: usize,
    /// How the connection ends.
    end: usize,
}

fn view() -> impl Strategy<Value = View> {
    (0_usize..6, any::<bool>(), 1_usize..4, 0_usize..3).prop_map(
        |(new_lines, is_replay, per_event, end)| View { new_lines, is_replay, per_event, end },
    )
}

/// Shows `written` lines over whatever connection the machine opens next; false when it opens none.
fn show(driver: &mut Driver<Watch>, view: &View, written: usize, sent: &mut usize) -> bool {
    while driver.open.is_none() {
        if driver.is_done() || !driver.pass_to_timeout() {
            return false;
        }
    }
    let (id, request) = driver.open.clone().unwrap();
    if asked(&request) == Asked::Status {
        driver.give(Input::Response(id, status_answer("IN_PROGRESS", 0..written)));
        *sent = written;
        return true;
    }
    let (parts, _) = service::well(&request).into_parts();
    driver.give(Input::Head(id, http::Response::from_parts(parts, ())));
    let mut from = if view.is_replay { 0 } else { *sent };
    while from < written {
        let to = (from + view.per_event).min(written);
        let body = status_answer("IN_PROGRESS", from..to).into_body();
        driver.give(Input::Chunk(id, [b"data: ", &body[..], b"\n\n"].concat().into()));
        from = to;
    }
    *sent = written;
    match view.end {
        0 => driver.give(Input::End(id)),
        1 => driver.give(Input::Failure(
            id,
            crate::wire::Failure::read(crate::wire::FailureKind::Closed, "reset"),
        )),
        _ => assert!(driver.pass_to_timeout(), "a stream has a limit"),
    }
    true
}

fn finish_logs(driver: &mut Driver<Watch>, written: usize, sent: usize) {
    while !driver.is_done() {
        let Some((id, request)) = driver.open.clone() else {
            assert!(driver.pass_to_timeout());
            continue;
        };
        if asked(&request) == Asked::Status {
            driver.give(Input::Response(id, status_answer("COMPLETED", 0..written)));
        } else {
            let (parts, _) = service::well(&request).into_parts();
            driver.give(Input::Head(id, http::Response::from_parts(parts, ())));
            let body = status_answer("COMPLETED", sent..written).into_body();
            driver.give(Input::Chunk(id, [b"data: ", &body[..], b"\n\n"].concat().into()));
        }
    }
}

fn status_answer(state: &str, lines: std::ops::Range<usize>) -> Response {
    let logs: Vec<_> = lines.map(|n| serde_json::json!({ "message": text(n) })).collect();
    let body = serde_json::json!({ "status": state, "logs": logs }).to_string();
    answer(200, "").map(|_| Bytes::from(body))
}

fn text(line: usize) -> String {
    format!("line {line}")
}

fn text_of(event: &Event) -> Option<&str> {
    match event {
        Event::Log(LogLine { message, .. }) => Some(message),
        _ => None,
    }
}
