use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::driver::{Driver, Input, Machine, epoch, ms};
use super::machines::Start;
use super::service;
use crate::auth::Key;
use crate::hosts::Hosts;
use crate::retry::{RetryBudget, RetryPolicy};
use crate::settings::Settings;
use crate::wire::{ExchangeId, Expect, Failure, FailureKind, Phase, Response, Sent};

/// One step of a script. What it means depends on what is open when it is played, so that random
/// scripts reach deep and shrink well.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The open exchange gets an answer that fits; a stream gets its head and one event.
    Fit(usize),
    /// The open exchange gets an answer that may have nothing to do with it.
    Odd(Odd),
    /// The open exchange is redirected: to one of [`LOCATIONS`], or from twice their number on by the head
    /// of a streamed answer alone.
    Redirect(u16, usize),
    Fail(Failure),
    Head(Odd),
    /// A cut piece of a status event.
    Chunk(usize, Index, Index),
    End,
    /// Then the next steps are about another of the open exchanges.
    Progress(u64),
    /// An input for an exchange that was never opened, or is over.
    Stale(usize, Box<Self>),
    /// Time passes, and nobody says so. Of several open exchanges, the next steps are about another.
    Pass(u64),
    /// The instant that the machine waits for has come; `u64` ms late.
    Timeout(u64),
    /// A timeout although it is not time.
    Early,
    Cancel,
}

/// Status, headers (as bits into [`HEADERS`]) and body (as index into [`BODIES`]).
#[derive(Clone, Copy, Debug)]
pub(super) struct Odd {
    pub(super) status: u16,
    pub(super) headers: u8,
    pub(super) body: usize,
}

impl Odd {
    pub(super) fn response(self) -> Response {
        let body = Bytes::from_static(BODIES[self.body % BODIES.len()].as_bytes());
        let mut response = http::Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        for (bit, (name, value)) in HEADERS.iter().enumerate() {
            if self.headers & (1 << bit) != 0 {
                let name = HeaderName::from_static(name);
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
        }
        response
    }
}

/// The world of one script.
#[derive(Clone, Debug)]
pub(super) struct Knobs {
    pub(super) seed: u64,
    pub(super) deadline_ms: Option<u64>,
    pub(super) is_eager: bool,
    pub(super) is_mock: bool,
    pub(super) budget: u32,
    pub(super) retry: RetryPolicy,
}

impl Knobs {
    /// A fresh start: nothing is shared with another run of the same script.
    pub(super) fn start(&self) -> Start {
        let hosts = if self.is_mock {
            Hosts::under("http://127.0.0.1:8787").unwrap()
        } else {
            Hosts::fal()
        };
        let key = format!("an-id:{}", service::SECRET);
        let settings = Settings {
            hosts,
            credentials: Key::parse(&key).unwrap().into(),
            retry: self.retry.clone(),
            budget: RetryBudget::new(self.budget),
            ..Settings::default()
        };
        Start {
            now: epoch(),
            seed: self.seed,
            settings: Arc::new(settings),
            deadline: self.deadline_ms.map(|deadline| epoch() + ms(deadline)),
            is_eager: self.is_eager,
        }
    }
}

/// Plays a script; stops early when the machine is done and has shown that it stays inert.
pub(super) fn play<M: Machine>(driver: &mut Driver<M>, steps: &[Step]) {
    let mut after_end = 0;
    for step in steps {
        if driver.is_done() {
            after_end += 1;
        }
        if after_end > INERT_STEPS {
            return;
        }
        let id = driver.open.as_ref().map(|(id, _)| *id);
        take(driver, step, id);
    }
}

fn take<M: Machine>(driver: &mut Driver<M>, step: &Step, id: Option<ExchangeId>) {
    let nobody = ExchangeId::new(u64::MAX);
    let id_or_nobody = id.unwrap_or(nobody);
    match step {
        Step::Fit(pick) => {
            let Some((id, request)) = driver.open.clone().filter(|(open, _)| Some(*open) == id)
            else {
                return;
            };
            let response = service::fitting(&request, *pick);
            // Some drivers do not stream.
            if request.expect != Expect::Chunks || *pick >= WHOLE_PICK_MIN {
                return driver.give(Input::Response(id, response));
            }
            let (parts, body) = response.into_parts();
            if !driver.is_headed {
                driver.give(Input::Head(id, http::Response::from_parts(parts, ())));
            }
            driver.give(Input::Chunk(id, body));
        }
        Step::Odd(odd) => driver.give(Input::Response(id_or_nobody, odd.response())),
        Step::Redirect(status, to) => {
            let mut response = Odd { status: *status, headers: 0, body: 0 }.response();
            let mut is_head = false;
            if let Some((_, request)) = &driver.open {
                is_head = request.expect == Expect::Chunks && *to >= LOCATIONS.len();
                let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
                let place = LOCATIONS[to % LOCATIONS.len()];
                if let Ok(value) = HeaderValue::try_from(place.replace("{path}", path)) {
                    response.headers_mut().insert(header::LOCATION, value);
                }
            }
            if is_head {
                return driver.give(Input::Head(id_or_nobody, response.map(drop)));
            }
            driver.give(Input::Response(id_or_nobody, response));
        }
        Step::Fail(failure) => driver.give(Input::Failure(id_or_nobody, failure.clone())),
        Step::Head(odd) => {
            let (parts, ()) = odd.response().map(drop).into_parts();
            driver.give(Input::Head(id_or_nobody, http::Response::from_parts(parts, ())));
        }
        Step::Chunk(pick, a, b) => {
            let event = service::event_of(*pick);
            let (a, b) = (a.index(event.len() + 1), b.index(event.len() + 1));
            driver.give(Input::Chunk(id_or_nobody, event.slice(a.min(b)..a.max(b))));
        }
        Step::End => driver.give(Input::End(id_or_nobody)),
        Step::Progress(bytes) => {
            driver.give(Input::Progress(id_or_nobody, *bytes));
            driver.turn();
        }
        Step::Stale(pick, step) => {
            let stale = driver.old_id(*pick).unwrap_or(nobody);
            take(driver, step, Some(stale));
        }
        Step::Pass(time) => {
            driver.now += ms(*time);
            driver.turn();
        }
        Step::Timeout(late) => {
            if let Some(until) = driver.until {
                driver.now = driver.now.max(until) + ms(*late);
                driver.give(Input::Timeout);
            }
        }
        Step::Early => driver.give(Input::Timeout),
        Step::Cancel => driver.give(Input::Cancel),
    }
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 0..40)
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_usize..WHOLE_PICK_MIN + 15).prop_map(Step::Fit),
        3 => odd().prop_map(Step::Odd),
        3 => (select(&[301_u16, 302, 303, 304, 307, 307, 308, 308][..]), 0_usize..2 * LOCATIONS.len())
            .prop_map(|(status, to)| Step::Redirect(status, to)),
        4 => failure().prop_map(Step::Fail),
        1 => odd().prop_map(Step::Head),
        2 => any::<(u8, Index, Index)>().prop_map(|(p, a, b)| Step::Chunk(p.into(), a, b)),
        1 => Just(Step::End),
        1 => any::<u64>().prop_map(Step::Progress),
        2 => (any::<u8>(), stale()).prop_map(|(pick, step)| {
            Step::Stale(pick.into(), Box::new(step))
        }),
        2 => (1_u64..70_000).prop_map(Step::Pass),
        6 => prop_oneof![4 => Just(0_u64), 1 => 1_u64..100_000].prop_map(Step::Timeout),
        1 => Just(Step::Early),
        1 => (0_u8..4).prop_map(|n| if n == 0 { Step::Cancel } else { Step::Early }),
    ]
}

fn stale() -> impl Strategy<Value = Step> {
    prop_oneof![
        odd().prop_map(Step::Odd),
        failure().prop_map(Step::Fail),
        Just(Step::Head(Odd { status: 200, headers: EVENT_STREAM, body: 0 })),
        any::<(u8, Index, Index)>().prop_map(|(p, a, b)| Step::Chunk(p.into(), a, b)),
        Just(Step::End),
        any::<u64>().prop_map(Step::Progress),
    ]
}

pub(super) fn odd() -> impl Strategy<Value = Odd> {
    (select(STATUSES), any::<u8>(), any::<u8>(), 0..BODIES.len()).prop_map(
        // Two masks, so that few headers are more likely than many.
        |(status, a, b, body)| Odd { status, headers: a & b, body },
    )
}

pub(super) fn failure() -> impl Strategy<Value = Failure> {
    let kinds = select(
        &[
            FailureKind::Dns,
            FailureKind::Refused,
            FailureKind::Tls,
            FailureKind::Proxy,
            FailureKind::Timeout,
            FailureKind::Closed,
            FailureKind::Malformed,
            FailureKind::TooLarge,
            FailureKind::Source,
            FailureKind::Unsupported,
            FailureKind::Other,
        ][..],
    );
    let phases = select(
        &[
            (Phase::Connect, Sent::No),
            (Phase::Connect, Sent::No),
            (Phase::Connect, Sent::Maybe),
            (Phase::Write, Sent::No),
            (Phase::Write, Sent::Maybe),
            (Phase::Read, Sent::Maybe),
            (Phase::Read, Sent::No),
        ][..],
    );
    (kinds, phases).prop_map(|(kind, (phase, sent))| Failure {
        phase,
        sent,
        kind,
        message: "it broke".into(),
    })
}

/// Any world, with bolder policies than the default among them.
pub(super) fn knobs() -> impl Strategy<Value = Knobs> {
    (
        plain_knobs(),
        1_u32..5,
        1_u32..6,
        any::<[bool; 2]>(),
        proptest::option::weighted(0.1, any::<bool>()),
    )
        .prop_map(|(mut knobs, paid, read, [unknown, ingress], rule)| {
            knobs.retry = RetryPolicy::default()
                .with_attempts_paid(paid)
                .with_attempts_read(read)
                .with_repeat_unknown_submits(unknown)
                .with_repeat_ingress_submits(ingress);
            if let Some(repeat) = rule {
                knobs.retry = knobs.retry.with_status_rule(StatusCode::BAD_GATEWAY, repeat);
            }
            knobs
        })
}

/// Any world with the default policy.
pub(super) fn plain_knobs() -> impl Strategy<Value = Knobs> {
    let deadline = proptest::option::of(prop_oneof![0_u64..5_000, 0_u64..500_000]);
    let budget = prop_oneof![3 => Just(500_u32), 1 => 0_u32..20];
    (any::<u64>(), deadline, any::<bool>(), any::<bool>(), budget).prop_map(
        |(seed, deadline_ms, is_eager, is_mock, budget)| Knobs {
            seed,
            deadline_ms,
            is_eager,
            is_mock,
            budget,
            retry: RetryPolicy::default(),
        },
    )
}

/// From this pick on even a stream is answered in one piece.
const WHOLE_PICK_MIN: usize = 30;

/// Steps played after the end.
const INERT_STEPS: usize = 4;

const STATUSES: &[u16] = &[
    200, 201, 202, 204, 304, 400, 401, 403, 404, 408, 409, 413, 422, 429, 429, 499, 500, 502, 502,
    503, 503, 504, 504, 599,
];

/// The bit of the content type in [`HEADERS`].
const EVENT_STREAM: u8 = 1 << 7;

pub(super) const HEADERS: [(&str, &str); 8] = [
    ("x-fal-request-id", "r1"),
    ("x-fal-needs-retry", "1"),
    ("x-fal-retryable", "false"),
    ("x-fal-error-type", "runner_disconnected"),
    ("x-fal-request-timeout-type", "user"),
    ("retry-after", "7"),
    ("x-ratelimit-reset", "2.5"),
    ("content-type", "text/event-stream"),
];

pub(super) const BODIES: [&str; 12] = [
    "",
    "<html>nginx</html>",
    "[]",
    "{}",
    r#""a bare text""#,
    r#"{"status":"IN_QUEUE","request_id":"r1"}"#,
    r#"{"status":"COMPLETED"}"#,
    r#"{"detail":"no","error_type":"internal_error"}"#,
    r#"{"detail":[{"loc":["body"],"msg":"too many","type":"concurrent_requests_limit"}]}"#,
    r#"{"detail":"Request is still in progress"}"#,
    r#"{"status":"ALREADY_COMPLETED"}"#,
    "data: {\"status\":\"COMPLETED\"}\n\ndata: {}\n\n",
];

const LOCATIONS: [&str; 8] = [
    "{path}",
    "https://queue.fal.run{path}",
    "https://evil.test{path}",
    "//evil.test{path}",
    "http://queue.fal.run{path}",
    "http://127.0.0.1:8787{path}",
    "https://user@queue.fal.run{path}",
    "?elsewhere",
];
