//! Runs over a WebSocket: the table, the contract, and that each input has one end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as RunnerConfig, RngAlgorithm, TestRng, TestRunner};

use super::driver::{Move, epoch, ms};
use super::script::{Odd, failure, odd};
use super::service;
use super::tables::compare;
use crate::auth::Key;
use crate::error::{Error, ErrorKind};
use crate::machine::Output;
use crate::settings::Settings;
use crate::wire::{Close, ExchangeId, Failure, Head, Message, Response};
use crate::ws::{Closed, Config, Event, Runs};

proptest! {
    #[test]
    fn runs_keep_the_contract(knobs in knobs(), steps in steps()) {
        let (first, second) = (play(&knobs, &steps), play(&knobs, &steps));
        prop_assert_eq!(&first.said, &second.said, "the same inputs led to other outputs");
        prop_assert!(!first.said.contains(service::SECRET), "the key is in {}", first.said);
    }

    /// Nothing answers any more: it ends by itself, and each input has one end.
    #[test]
    fn inputs_have_one_end_each(knobs in knobs(), steps in steps()) {
        let mut world = play(&knobs, &steps);
        world.give(Input::Close);
        for _ in 0..ROUNDS_MAX {
            if world.done.is_some() {
                break;
            }
            prop_assert!(world.pass_to_timeout(), "it waits for the peer without a limit");
        }
        prop_assert!(world.done.is_some());
        for number in 1..=world.number {
            prop_assert_eq!(world.ends.get(&number), Some(&1), "input {}: {}", number, world.said);
        }
    }
}

#[test]
fn table_of_runs() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(RunnerConfig::default(), rng);
    let mut moves = BTreeSet::new();
    for _ in 0..SCRIPTS {
        let tree = (knobs(), steps()).new_tree(&mut runner);
        let (knobs, steps) = tree.expect("any value is good").current();
        moves.extend(play(&knobs, &steps).moves);
    }
    compare(include_str!("../ws.rs"), &moves);
}

#[derive(Clone, Debug)]
struct Knobs {
    seed: u64,
    deadline_ms: Option<u64>,
    attempts: u32,
}

fn knobs() -> impl Strategy<Value = Knobs> {
    (
        any::<u64>(),
        proptest::option::weighted(0.3, prop_oneof![0_u64..5_000, 0_u64..200_000]),
        1_u32..4,
    )
        .prop_map(|(seed, deadline_ms, attempts)| Knobs { seed, deadline_ms, attempts })
}

#[derive(Clone, Debug)]
enum Step {
    Send,
    Close,
    Odd(Odd),
    Fail(Failure),
    Open,
    Message(usize),
    /// A whole answer to the oldest input.
    Answer(usize),
    Ended(Option<u16>),
    Timeout(u64),
    Pass(u64),
    Stale(Box<Self>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 0..40)
}

fn step() -> impl Strategy<Value = Step> {
    let plain = prop_oneof![
        6 => Just(Step::Send),
        1 => odd().prop_map(Step::Odd),
        1 => failure().prop_map(Step::Fail),
        5 => Just(Step::Open),
        3 => (0..MESSAGES.len()).prop_map(Step::Message),
        4 => (0_usize..3).prop_map(Step::Answer),
        1 => select(&[None, Some(1000), Some(1011)][..]).prop_map(Step::Ended),
    ];
    prop_oneof![
        20 => plain.clone(),
        1 => plain.prop_map(|step| Step::Stale(Box::new(step))),
        3 => prop_oneof![4 => Just(0_u64), 1 => 1_u64..100_000].prop_map(Step::Timeout),
        1 => (1_u64..40_000).prop_map(Step::Pass),
        1 => (0_u8..4).prop_map(|n| if n == 0 { Step::Close } else { Step::Send }),
    ]
}

#[derive(Clone, Debug)]
enum Input {
    Send,
    Close,
    Response(ExchangeId, Response),
    Failure(ExchangeId, Failure),
    Head(ExchangeId, Head),
    Message(ExchangeId, Message),
    Timeout,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Open {
    Handshake,
    Socket,
    /// We have said that it is to end.
    Closing,
}

struct World {
    runs: Runs,
    began: Instant,
    now: Instant,
    deadline: Option<Instant>,
    open: Option<(ExchangeId, Open)>,
    closed: Vec<ExchangeId>,
    until: Option<Instant>,
    done: Option<Result<Closed, Error>>,
    number: u64,
    /// How many ends each input had.
    ends: BTreeMap<u64, u32>,
    said: String,
    moves: BTreeSet<Move>,
}

fn play(knobs: &Knobs, steps: &[Step]) -> World {
    let key = format!("an-id:{}", service::SECRET);
    let mut settings =
        Settings { credentials: Key::parse(&key).unwrap().into(), ..Settings::default() };
    settings.retry = settings.retry.with_attempts_read(knobs.attempts);
    let mut config = Config::new("fal-ai/any-llm".parse().unwrap());
    config.deadline = knobs.deadline_ms.map(|deadline| epoch() + ms(deadline));
    config.idle_timeout = Some(ms(60_000));
    let deadline = config.deadline;
    let runs = Runs::new(epoch(), knobs.seed, &Arc::new(settings), config).unwrap();
    let mut world = World {
        runs,
        began: epoch(),
        now: epoch(),
        deadline,
        open: None,
        closed: Vec::new(),
        until: None,
        done: None,
        number: 0,
        ends: BTreeMap::new(),
        said: String::new(),
        moves: BTreeSet::new(),
    };
    world.drain();
    for step in steps {
        world.take(step, None);
    }
    world
}

impl World {
    fn take(&mut self, step: &Step, stale: Option<ExchangeId>) {
        let nobody = ExchangeId::new(u64::MAX);
        let id = stale.or_else(|| self.open.map(|(id, _)| id)).unwrap_or(nobody);
        match step {
            Step::Send => self.give(Input::Send),
            Step::Close => self.give(Input::Close),
            Step::Odd(odd) => self.give(Input::Response(id, odd.response())),
            Step::Fail(failure) => self.give(Input::Failure(id, failure.clone())),
            Step::Open => {
                let mut head = Head::new(());
                *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                self.give(Input::Head(id, head));
            }
            Step::Message(pick) => {
                let message = match pick % 2 {
                    0 => Message::text(MESSAGES[*pick]),
                    _ => Message::Binary(Bytes::from_static(MESSAGES[*pick].as_bytes())),
                };
                self.give(Input::Message(id, message));
            }
            Step::Answer(pick) => {
                for part in [MESSAGES[[0, 2, 4][*pick]], "data: 1\n\n", MESSAGES[6]] {
                    self.give(Input::Message(id, Message::text(part)));
                }
            }
            Step::Ended(code) => {
                self.give(Input::Message(id, Message::Close(Close::new(*code))));
            }
            Step::Timeout(late) => {
                if let Some(until) = self.until {
                    self.now = self.now.max(until) + ms(*late);
                    self.give(Input::Timeout);
                }
            }
            Step::Pass(time) => self.now += ms(*time),
            Step::Stale(step) => {
                self.take(step, Some(self.closed.last().copied().unwrap_or(nobody)));
            }
        }
    }

    fn pass_to_timeout(&mut self) -> bool {
        let Some(until) = self.until else { return false };
        self.now = self.now.max(until);
        self.give(Input::Timeout);
        true
    }

    fn give(&mut self, input: Input) {
        let before = self.runs.state_name();
        if self.is_without_effect(&input) {
            let text = format!("{:?}", self.runs);
            self.apply(input.clone());
            assert_eq!(format!("{:?}", self.runs), text, "{input:?} changed something");
            assert_eq!(self.drain(), 0, "{input:?} led to outputs");
            return;
        }
        let word = self.word(&input);
        let is_timeout = matches!(input, Input::Timeout);
        match &input {
            Input::Response(..) | Input::Failure(..) => self.close(),
            Input::Message(_, Message::Close(_)) => self.close(),
            Input::Head(id, _) => self.open = Some((*id, Open::Socket)),
            _ => {}
        }
        self.apply(input);
        let outputs = self.drain();
        let after = self.runs.state_name();
        if outputs > 0 || before != after {
            self.moves.insert((before, word, after));
        }
        if is_timeout && let Some(until) = self.until {
            assert!(until > self.now, "after a timeout it waits for the past");
        }
    }

    fn apply(&mut self, input: Input) {
        let (runs, now) = (&mut self.runs, self.now);
        match input {
            Input::Send => {
                let given = runs.handle_send(now, Bytes::from_static(b"{}"));
                if self.done.is_some() {
                    given.unwrap_err();
                } else {
                    self.number += 1;
                    assert_eq!(given, Ok(self.number));
                }
            }
            Input::Close => runs.handle_close(now),
            Input::Response(id, response) => runs.handle_response(now, id, response),
            Input::Failure(id, failure) => runs.handle_failure(now, id, failure),
            Input::Head(id, head) => runs.handle_head(now, id, &head),
            Input::Message(id, message) => runs.handle_message(now, id, message),
            Input::Timeout => runs.handle_timeout(now),
        }
    }

    fn is_without_effect(&self, input: &Input) -> bool {
        let is =
            |wanted: &ExchangeId| self.open.filter(|(id, _)| id == wanted).map(|(_, open)| open);
        if self.done.is_some() {
            return true;
        }
        match input {
            Input::Response(id, _) | Input::Head(id, _) => is(id) != Some(Open::Handshake),
            Input::Failure(id, _) => is(id).is_none(),
            Input::Message(id, _) => matches!(is(id), None | Some(Open::Handshake)),
            Input::Timeout => self.until.is_none_or(|until| until > self.now),
            Input::Send | Input::Close => false,
        }
    }

    fn close(&mut self) {
        self.closed.extend(self.open.take().map(|(id, _)| id));
    }

    fn drain(&mut self) -> usize {
        for count in 0.. {
            assert!(count <= OUTPUTS_MAX + self.number as usize, "too many outputs");
            let output = self.runs.poll_output();
            if let Output::Wait { until } = output {
                assert!(self.done.is_none() || until.is_none(), "it waits although it is done");
                self.until = until;
                return count;
            }
            self.said.push_str(&format!("{:?} {output:?}\n", self.now - self.began));
            assert!(self.done.is_none(), "after the end it says {output:?}");
            self.hear(output);
        }
        unreachable!("the count has a limit");
    }

    fn hear(&mut self, output: Output<Event, Closed>) {
        match output {
            Output::Send { id, request } => {
                assert!(request.headers.contains_key(http::header::AUTHORIZATION));
                assert!(self.open.replace((id, Open::Handshake)).is_none(), "two are open");
                assert!(!self.closed.contains(&id), "an id is used twice");
            }
            Output::Abort { id } => {
                assert_eq!(self.open.map(|(id, _)| id), Some(id), "this was not open");
                self.close();
            }
            Output::Message { id, message } => {
                assert_eq!(self.open, Some((id, Open::Socket)), "no open connection");
                if matches!(message, Message::Close(_)) {
                    self.open = Some((id, Open::Closing));
                }
            }
            Output::Event(Event::Answered { number, .. } | Event::Failed { number, .. }) => {
                *self.ends.entry(number).or_default() += 1;
            }
            Output::Event(_) | Output::Wait { .. } => {}
            Output::Done(result) => {
                assert!(self.open.is_none(), "it ends with something open");
                if let Err(error) = &result {
                    let is_unknown = matches!(error.kind(), ErrorKind::SubmitUnknown { .. });
                    assert!(!is_unknown, "that is told of each input");
                }
                self.done = Some(result);
            }
        }
    }

    fn word(&self, input: &Input) -> &'static str {
        match input {
            Input::Send => "send",
            Input::Close => "close",
            Input::Response(_, response) => match response.status().as_u16() {
                200..=299 => "success",
                300..=399 => "redirect",
                _ => "refusal",
            },
            Input::Failure(..) => "failure",
            Input::Head(..) => "open",
            Input::Message(_, Message::Close(_)) => "ended",
            Input::Message(..) => "message",
            Input::Timeout if self.deadline.is_some_and(|d| d <= self.now) => "deadline",
            Input::Timeout => "timeout",
        }
    }
}

const MESSAGES: [&str; 10] = [
    r#"{"type":"start","request_id":"r1","status":200,"headers":{"content-type":"application/json"}}"#,
    "raw bytes",
    r#"{"type":"start","request_id":"r1","headers":{"content-type":"text/event-stream"}}"#,
    "data: half",
    r#"{"type":"start","request_id":"r1","status":422}"#,
    "more",
    r#"{"type":"end","request_id":"r1","status":200}"#,
    "",
    r#"{"type":"end","request_id":"r2"}"#,
    r#"{"type":"end","request_id":"r1"}"#,
];

const OUTPUTS_MAX: usize = 12;
const ROUNDS_MAX: usize = 20;
const SCRIPTS: usize = 4_000;
