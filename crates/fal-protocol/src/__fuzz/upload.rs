//! Uploads in parts: any plan, any state, any script of answers.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::Output;
use crate::settings::Settings;
use crate::upload::{Config, PARTS_MAX, Plan, Route, Upload, UploadState};
use crate::wire::{Body, ExchangeId, Failure, FailureKind, Request, Response, Sent};

/// Cuts, reads a state, and drives an upload in parts by the bytes, from any instant on: the parts are the
/// file, no more of them are under way than may be, and what is put together is all of them in order.
pub fn upload(start: Instant, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(state) = text.parse::<UploadState>()
    {
        assert_eq!(state.to_string().parse().as_ref(), Ok(&state));
        assert!(state.bytes_done() <= state.plan().total());
    }
    let (head, script) = bytes.split_at(bytes.len().min(HEAD_BYTES));
    let mut numbers = [0; HEAD_BYTES];
    numbers[..head.len()].copy_from_slice(head);
    let number = |at: usize| numbers[at..at + 8].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    let (total, part_bytes) = (number(2).max(1), number(10).max(1));
    let plan = Plan::new(total, part_bytes).expect("both are at least one");
    check(plan);

    let mut config = Config::new("a", "a/b", Body::Source { range: 0..total });
    config.routes = match numbers[0] % 4 {
        0 => vec![Route::Initiate],
        1 => vec![Route::Gcs],
        2 => vec![Route::Cdn],
        _ => Route::CDN_THEN_GCS.to_vec(),
    };
    config.multipart_over = Some(0);
    config.part_bytes = part_bytes;
    config.parallel = usize::from(numbers[1] % 4) + 1;
    config.wall = Some(SystemTime::UNIX_EPOCH);
    config.deadline = start.checked_add(Duration::from_secs(600));
    let parallel = config.parallel;
    let machine = Upload::new(start, 1, &Arc::new(Settings::default()), config);
    let machine = machine.expect("nothing in this upload is impossible");
    Player { machine, now: start, until: None, open: Vec::new(), parallel, plan, is_done: false }
        .play(script);
}

/// Every byte of the file is in one part.
fn check(plan: Plan) {
    assert!((1..=PARTS_MAX).contains(&plan.parts()));
    let mut end = 0;
    for number in 1..=plan.parts() {
        let range = plan.range(number);
        assert!(range.start == end && range.end > end);
        end = range.end;
    }
    assert_eq!(end, plan.total());
}

struct Player {
    machine: Upload,
    now: Instant,
    until: Option<Instant>,
    open: Vec<(ExchangeId, Request)>,
    parallel: usize,
    plan: Plan,
    is_done: bool,
}

impl Player {
    fn play(mut self, script: &[u8]) {
        self.drain();
        for byte in script {
            self.step(*byte);
            self.drain();
        }
        while !self.is_done {
            self.now = self.now.max(self.until.expect("it waits without a limit"));
            self.machine.handle_timeout(self.now);
            self.drain();
            assert!(self.is_done || self.until > Some(self.now), "it waits for the past");
        }
        if let Some(state) = self.machine.state() {
            assert_eq!(state.to_string().parse().as_ref(), Ok(state));
        }
    }

    fn step(&mut self, byte: u8) {
        let pick = usize::from(byte >> 3).checked_rem(self.open.len());
        let id = pick.map_or(ExchangeId::new(u64::MAX), |pick| self.open[pick].0);
        let close = |open: &mut Vec<(ExchangeId, Request)>| open.retain(|(open, _)| *open != id);
        match byte & 7 {
            action @ 0..=3 => {
                let mut response = Response::new(Bytes::from_static(GOOD.as_bytes()));
                match action {
                    2 => *response.body_mut() = Bytes::from_static(b"{}"),
                    3 => *response.status_mut() = STATUSES[usize::from(byte >> 3) % STATUSES.len()],
                    _ => {}
                }
                close(&mut self.open);
                self.machine.handle_response(self.now, id, response);
            }
            action @ 4..=5 => {
                let mut failure = Failure::read(FailureKind::Closed, "broken");
                failure.sent = if action == 4 { Sent::No } else { Sent::Maybe };
                close(&mut self.open);
                self.machine.handle_failure(self.now, id, failure);
            }
            6 => {
                self.now = self.until.map_or(self.now, |until| until.max(self.now));
                self.machine.handle_timeout(self.now);
            }
            _ if byte == u8::MAX => self.machine.handle_cancel(self.now),
            _ => self.machine.handle_progress(self.now, id, u64::from(byte) << 40),
        }
    }

    fn drain(&mut self) {
        loop {
            match self.machine.poll_output() {
                Output::Send { id, request } => {
                    if request.method == Method::POST && request.uri.path().ends_with("/complete") {
                        self.check_end(&request);
                    }
                    self.open.push((id, request));
                    assert!(self.open.len() <= self.parallel, "too many are under way");
                }
                Output::Abort { id } => {
                    let before = self.open.len();
                    self.open.retain(|(open, _)| *open != id);
                    assert_eq!(self.open.len() + 1, before, "this was not open");
                }
                Output::Message { .. } => panic!("an upload has no socket"),
                Output::Event(_) => assert!(!self.is_done, "an event after the end"),
                Output::Done(_) => {
                    assert!(!self.is_done && self.open.is_empty());
                    self.is_done = true;
                }
                Output::Wait { until } => {
                    self.until = until;
                    return;
                }
            }
        }
    }

    /// All parts are listed, in order, and nothing else is under way.
    fn check_end(&self, request: &Request) {
        assert!(self.open.is_empty(), "parts are under way");
        let Body::Bytes(body) = &request.body else { panic!("it lists no parts") };
        let body: Value = serde_json::from_slice(body).expect("it is JSON");
        let numbers = body["parts"].as_array().expect("a list").iter().map(|part| {
            let number = part.get("partNumber").or_else(|| part.get("part_number"));
            number.and_then(Value::as_u64).expect("a number")
        });
        assert!(numbers.eq(1..=u64::from(self.plan.parts())));
    }
}

/// Route, parts at once, total, bytes of a part.
const HEAD_BYTES: usize = 18;

/// What every question of an upload is answered with.
const GOOD: &str = r#"{"file_url":"https://v3.fal.media/a","upload_url":"https://v3.fal.media/a?s","token":"t",
    "expires_at":"1970-01-02T00:00:00Z","access_url":"https://v3.fal.media/a","uploadId":"u","etag":"\"e\""}"#;

const STATUSES: [StatusCode; 6] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::TEMPORARY_REDIRECT,
];
