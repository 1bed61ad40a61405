//! The realtime session: its table, its contract, and that nothing is lost in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as RunnerConfig, RngAlgorithm, TestRng, TestRunner};

use super::driver::{Move, epoch, ms};
use super::script::{Odd, failure, odd};
use super::service::{self, Asked, asked};
use super::tables::compare;
use crate::auth::Key;
use crate::machine::Output;
use crate::realtime::{Auth, Closed, Config, Event, Queue, Session, encode};
use crate::settings::Settings;
use crate::token::{Route, Token};
use crate::wire::{Close, ExchangeId, Expect, Failure, Head, Message, Request, Response};

proptest! {
    #[test]
    fn session_keeps_the_contract(knobs in knobs(), steps in proptest::collection::vec(step(), 0..60)) {
        let (first, second) = (play(&knobs, &steps), play(&knobs, &steps));
        prop_assert_eq!(&first.said, &second.said, "the same inputs led to other outputs");
        for secret in [service::SECRET, service::SIGNATURE] {
            prop_assert!(!first.said.contains(secret), "{} in {}", secret, first.said);
        }
    }

    /// Whatever has happened: once everything answers well, what is sent arrives.
    #[test]
    fn next_message_goes_out(knobs in knobs(), steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = World::new(&knobs);
        for step in steps.iter().filter(|step| !matches!(step, Step::Close)) {
            world.take(step);
        }
        world.give(Input::Send);
        let number = world.number;
        for _ in 0..ROUNDS_MAX {
            if world.transmitted.contains(&number) || world.dropped.contains_key(&number) {
                break;
            }
            if !world.answer_well() {
                prop_assert!(world.pass_to_timeout(), "it waits for nothing");
            }
        }
        // Only a full queue may refuse the newest; then it goes out before it does.
        prop_assert!(
            world.transmitted.contains(&number) || knobs.queue != Queue::Latest,
            "the newest message was not sent: {}", world.said
        );
    }

    /// After a close, each message was sent or its loss was told, and it ends in time.
    #[test]
    fn nothing_is_lost_in_silence(knobs in knobs(), steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = play(&knobs, &steps);
        world.give(Input::Close);
        let limit = world.now + knobs.config().close_timeout;
        for _ in 0..ROUNDS_MAX {
            if world.done.is_some() {
                break;
            }
            prop_assert!(world.pass_to_timeout(), "it waits for the peer without a limit");
        }
        prop_assert!(world.done.is_some() && world.now <= limit.max(world.began));
        for number in 1..=world.number {
            let is_told = world.transmitted.contains(&number) || world.dropped.contains_key(&number);
            prop_assert!(is_told, "message {} is gone: {}", number, world.said);
        }
    }
}

#[test]
fn table_of_session() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(RunnerConfig::default(), rng);
    let mut moves = BTreeSet::new();
    for _ in 0..SCRIPTS {
        let tree = (knobs(), proptest::collection::vec(step(), 0..60)).new_tree(&mut runner);
        let (knobs, steps) = tree.expect("any value is good").current();
        moves.extend(play(&knobs, &steps).moves);
    }
    compare(include_str!("../realtime/session.rs"), &moves);
}

#[derive(Clone, Debug)]
struct Knobs {
    seed: u64,
    auth: Auth,
    queue: Queue,
    throttle: Option<Duration>,
    refresh: bool,
    attempts: u32,
}

impl Knobs {
    fn config(&self) -> Config {
        let mut config = Config::new("fal-ai/flux-2/klein".parse().unwrap());
        (config.auth, config.queue) = (self.auth.clone(), self.queue);
        (config.throttle, config.refresh) = (self.throttle, self.refresh);
        config
    }

    fn session(&self) -> Session {
        let key = format!("an-id:{}", service::SECRET);
        let mut settings =
            Settings { credentials: Key::parse(&key).unwrap().into(), ..Settings::default() };
        settings.retry = settings.retry.with_attempts_read(self.attempts);
        Session::new(self.seed, &Arc::new(settings), self.config()).unwrap()
    }
}

fn knobs() -> impl Strategy<Value = Knobs> {
    let lifetime = Duration::from_secs(120);
    let auth = prop_oneof![
        3 => Just(Auth::Token { lifetime, route: Route::Both }),
        1 => Just(Auth::Token { lifetime: ms(30_000), route: Route::Alias }),
        1 => Just(Auth::Provided { lifetime: Some(lifetime) }),
        1 => Just(Auth::Provided { lifetime: None }),
        1 => Just(Auth::Header),
    ];
    let queue = prop_oneof![
        Just(Queue::Latest),
        Just(Queue::All { messages_max: 3 }),
        Just(Queue::All { messages_max: 0 })
    ];
    let throttle = proptest::option::of(prop_oneof![Just(ms(128)), Just(ms(30_000))]);
    (any::<u64>(), auth, queue, throttle, any::<bool>(), 1_u32..4).prop_map(
        |(seed, auth, queue, throttle, refresh, attempts)| Knobs {
            seed,
            auth,
            queue,
            throttle,
            refresh,
            attempts,
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Send,
    Close,
    /// What is open gets an answer that fits.
    Fit(usize),
    Odd(Odd),
    Redirect,
    Fail(bool, Failure),
    Open,
    Message(usize),
    Ended(Option<u16>),
    Token(bool),
    Timeout(u64),
    Early,
    Pass(u64),
    /// The same for an exchange that is over, or never was.
    Stale(Box<Self>),
}

fn step() -> impl Strategy<Value = Step> {
    let plain = prop_oneof![
        6 => Just(Step::Send),
        8 => (0_usize..12).prop_map(|pick| Step::Fit(pick.saturating_sub(6))),
        1 => odd().prop_map(Step::Odd),
        1 => Just(Step::Redirect),
        2 => (any::<bool>(), failure()).prop_map(|(socket, failure)| Step::Fail(socket, failure)),
        4 => Just(Step::Open),
        4 => (0..MESSAGES.len() + 2).prop_map(Step::Message),
        2 => select(&[None, Some(1000), Some(1001), Some(1008), Some(1011)][..])
            .prop_map(Step::Ended),
        4 => (0_u8..4).prop_map(|n| Step::Token(n > 0)),
    ];
    prop_oneof![
        30 => plain.clone(),
        2 => plain.prop_map(|step| Step::Stale(Box::new(step))),
        5 => prop_oneof![4 => Just(0_u64), 1 => 1_u64..100_000].prop_map(Step::Timeout),
        1 => Just(Step::Early),
        2 => (1_u64..40_000).prop_map(Step::Pass),
        1 => (0_u8..8).prop_map(|n| if n == 0 { Step::Close } else { Step::Send }),
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
    Token(ExchangeId, bool),
    Timeout,
}

#[derive(Clone, Debug, PartialEq)]
enum Open {
    Call(Box<Request>),
    Handshake,
    /// An open connection, and whether we have said that it is to end.
    Socket(bool),
    Provider,
}

struct World {
    session: Session,
    began: Instant,
    now: Instant,
    /// Whether connections show the key, so that no token is ever wanted.
    is_keyed: bool,
    open: BTreeMap<ExchangeId, Open>,
    closed: Vec<ExchangeId>,
    until: Option<Instant>,
    done: Option<Closed>,
    number: u64,
    transmitted: BTreeSet<u64>,
    dropped: BTreeMap<u64, String>,
    /// The last message that went over each connection.
    last: BTreeMap<ExchangeId, u64>,
    said: String,
    moves: BTreeSet<Move>,
}

fn play(knobs: &Knobs, steps: &[Step]) -> World {
    let mut world = World::new(knobs);
    for step in steps {
        world.take(step);
    }
    world
}

impl World {
    fn new(knobs: &Knobs) -> Self {
        let mut world = Self {
            session: knobs.session(),
            began: epoch(),
            now: epoch(),
            is_keyed: knobs.auth == Auth::Header,
            open: BTreeMap::new(),
            closed: Vec::new(),
            until: None,
            done: None,
            number: 0,
            transmitted: BTreeSet::new(),
            dropped: BTreeMap::new(),
            last: BTreeMap::new(),
            said: String::new(),
            moves: BTreeSet::new(),
        };
        assert_eq!(world.drain(), 0, "it does nothing by itself");
        world
    }

    /// The id of what is open and of this kind.
    fn find(&self, is_it: impl Fn(&Open) -> bool) -> Option<ExchangeId> {
        self.open.iter().find(|(_, open)| is_it(open)).map(|(id, _)| *id)
    }

    fn call(&self) -> Option<ExchangeId> {
        self.find(|open| matches!(open, Open::Call(_) | Open::Handshake))
    }

    fn socket(&self) -> Option<ExchangeId> {
        self.find(|open| matches!(open, Open::Socket(_)))
    }

    fn take(&mut self, step: &Step) {
        if let Step::Stale(step) = step {
            let stale = self.closed.last().copied().unwrap_or(ExchangeId::new(u64::MAX));
            return self.take_for(step, Some(stale));
        }
        self.take_for(step, None);
    }

    fn take_for(&mut self, step: &Step, stale: Option<ExchangeId>) {
        let nobody = ExchangeId::new(u64::MAX - 1);
        let call = stale.or_else(|| self.call()).unwrap_or(nobody);
        let socket = stale.or_else(|| self.socket()).unwrap_or(nobody);
        match step {
            Step::Send => self.give(Input::Send),
            Step::Close => self.give(Input::Close),
            Step::Fit(pick) => match self.open.get(&call) {
                Some(Open::Call(request)) => {
                    let response = service::fitting(request, *pick);
                    self.give(Input::Response(call, response));
                }
                _ => self.give(Input::Head(call, agreed())),
            },
            Step::Odd(odd) => self.give(Input::Response(call, odd.response())),
            Step::Redirect => {
                let odd = Odd { status: 307, headers: 0, body: 0 };
                let mut response = odd.response();
                let place = "/tokens/elsewhere".parse().expect("a path is a header");
                response.headers_mut().insert(http::header::LOCATION, place);
                self.give(Input::Response(call, response));
            }
            Step::Fail(is_socket, failure) => {
                let id = if *is_socket { socket } else { call };
                self.give(Input::Failure(id, failure.clone()));
            }
            Step::Open => self.give(Input::Head(call, agreed())),
            Step::Message(pick) => self.give(Input::Message(socket, message(*pick))),
            Step::Ended(code) => {
                self.give(Input::Message(socket, Message::Close(Close::new(*code))));
            }
            Step::Token(is_good) => {
                let id = stale.or_else(|| self.find(|open| *open == Open::Provider));
                self.give(Input::Token(id.unwrap_or(nobody), *is_good));
            }
            Step::Timeout(late) => {
                if let Some(until) = self.until {
                    self.now = self.now.max(until) + ms(*late);
                    self.give(Input::Timeout);
                }
            }
            Step::Early => self.give(Input::Timeout),
            Step::Pass(time) => self.now += ms(*time),
            Step::Stale(step) => self.take_for(step, stale),
        }
    }

    fn pass_to_timeout(&mut self) -> bool {
        let Some(until) = self.until else { return false };
        self.now = self.now.max(until);
        self.give(Input::Timeout);
        true
    }

    /// The answer that leads on; false when nothing is open that has one.
    fn answer_well(&mut self) -> bool {
        for (id, open) in self.open.clone() {
            match open {
                Open::Call(request) => self.give(Input::Response(id, service::well(&request))),
                Open::Handshake => self.give(Input::Head(id, agreed())),
                Open::Provider => self.give(Input::Token(id, true)),
                Open::Socket(_) if self.session.state_name() == "Ending" => {
                    self.give(Input::Message(id, Message::Close(Close::normal())));
                }
                Open::Socket(_) => continue,
            }
            return true;
        }
        false
    }

    fn give(&mut self, input: Input) {
        let before = self.session.state_name();
        if self.is_without_effect(&input) {
            let text = format!("{:?}", self.session);
            self.apply(input.clone());
            assert_eq!(format!("{:?}", self.session), text, "{input:?} changed something");
            assert_eq!(self.drain(), 0, "{input:?} led to outputs");
            return;
        }
        let word = word(&input);
        let is_timeout = matches!(input, Input::Timeout);
        match &input {
            Input::Response(id, _) | Input::Failure(id, _) | Input::Token(id, _) => self.close(*id),
            Input::Message(id, Message::Close(_)) => self.close(*id),
            Input::Head(id, _) => {
                self.open.insert(*id, Open::Socket(false));
            }
            _ => {}
        }
        self.apply(input);
        let outputs = self.drain();
        let after = self.session.state_name();
        if outputs > 0 || before != after {
            self.moves.insert((before, word, after));
        }
        if is_timeout && let Some(until) = self.until {
            assert!(until > self.now, "after a timeout it waits for the past");
        }
    }

    fn apply(&mut self, input: Input) {
        let (session, now) = (&mut self.session, self.now);
        match input {
            Input::Send => {
                let number = self.number + 1;
                let content = Bytes::copy_from_slice(&number.to_be_bytes());
                let given = session.handle_send(now, Message::Binary(content));
                if self.done.is_none() {
                    self.number = number;
                    assert_eq!(given, number);
                }
            }
            Input::Close => session.handle_close(now),
            Input::Response(id, response) => session.handle_response(now, id, response),
            Input::Failure(id, failure) => session.handle_failure(now, id, failure),
            Input::Head(id, head) => session.handle_head(now, id, &head),
            Input::Message(id, message) => session.handle_message(now, id, message),
            Input::Token(id, true) => {
                session.handle_token(now, id, Ok(Token::parse(service::SIGNATURE).unwrap()));
            }
            Input::Token(id, false) => session.handle_token(now, id, Err("none left".into())),
            Input::Timeout => session.handle_timeout(now),
        }
    }

    /// Inputs that the contract says change nothing.
    fn is_without_effect(&self, input: &Input) -> bool {
        if self.done.is_some() && !matches!(input, Input::Send) {
            return true;
        }
        match input {
            Input::Response(id, _) => {
                !matches!(self.open.get(id), Some(Open::Call(_) | Open::Handshake))
            }
            Input::Head(id, _) => !matches!(self.open.get(id), Some(Open::Handshake)),
            Input::Failure(id, _) => {
                !matches!(self.open.get(id), Some(open) if *open != Open::Provider)
            }
            Input::Message(id, _) => !matches!(self.open.get(id), Some(Open::Socket(_))),
            Input::Token(id, _) => !matches!(self.open.get(id), Some(Open::Provider)),
            Input::Timeout => self.until.is_none_or(|until| until > self.now),
            Input::Send | Input::Close => false,
        }
    }

    fn close(&mut self, id: ExchangeId) {
        if self.open.remove(&id).is_some() {
            self.closed.push(id);
        }
    }

    fn drain(&mut self) -> usize {
        for count in 0..=OUTPUTS_MAX {
            let output = self.session.poll_output();
            if let Output::Wait { until } = output {
                assert!(self.done.is_none() || until.is_none(), "it waits although it is done");
                self.until = until;
                return count;
            }
            self.said.push_str(&format!("{:?} {output:?}\n", self.now - self.began));
            assert!(self.done.is_none(), "after the end it says {output:?}");
            self.hear(output);
        }
        panic!("an input led to more than {OUTPUTS_MAX} outputs");
    }

    fn hear(&mut self, output: Output<Event, Closed>) {
        match output {
            Output::Send { id, request } => {
                let is_handshake = matches!(request.expect, Expect::WebSocket { .. });
                if is_handshake {
                    let has_key = request.headers.contains_key(http::header::AUTHORIZATION);
                    let has_token =
                        request.uri.query().is_some_and(|query| query.contains("fal_jwt_token="));
                    assert!(has_key != has_token, "one of both, and not both");
                    assert!(self.call().is_none() && self.socket().is_none(), "two connections");
                } else {
                    assert!(asked(&request) == Asked::Token && !self.is_keyed);
                    assert!(self.call().is_none(), "two calls");
                }
                assert!(!self.closed.contains(&id), "an id is used twice");
                let open =
                    if is_handshake { Open::Handshake } else { Open::Call(Box::new(request)) };
                assert!(self.open.insert(id, open).is_none());
            }
            Output::Abort { id } => {
                assert!(self.open.contains_key(&id), "{id:?} is aborted, but not open");
                self.close(id);
            }
            Output::Message { id, message } => {
                let Some(Open::Socket(is_ending)) = self.open.get_mut(&id) else {
                    panic!("a message to {id:?}, which is no open connection");
                };
                assert!(!*is_ending, "a message after the close");
                *is_ending = matches!(message, Message::Close(_));
                if let Message::Binary(content) = message {
                    let number = u64::from_be_bytes((&content[..]).try_into().unwrap());
                    let last = self.last.insert(id, number);
                    assert!(last < Some(number), "out of order on one connection");
                    self.transmitted.insert(number);
                }
            }
            Output::Event(Event::Dropped { number, why }) => {
                let earlier = self.dropped.insert(number, format!("{why:?}"));
                assert_eq!(earlier, None, "{number} is dropped twice");
            }
            Output::Event(Event::TokenWanted { id }) => {
                assert!(!self.is_keyed);
                // A question that was given up has no answer.
                let older = self.find(|open| *open == Open::Provider);
                older.into_iter().for_each(|id| self.close(id));
                self.open.insert(id, Open::Provider);
            }
            Output::Event(Event::Failed { .. } | Event::Ended(_) | Event::RefreshFailed(_)) => {
                let provider = self.find(|open| *open == Open::Provider);
                provider.into_iter().for_each(|id| self.close(id));
            }
            Output::Event(_) | Output::Wait { .. } => {}
            Output::Done(result) => {
                let provider = self.find(|open| *open == Open::Provider);
                provider.into_iter().for_each(|id| self.close(id));
                assert!(self.open.is_empty(), "it ends with something open");
                self.done = Some(result.expect("a session ends in order"));
            }
        }
    }
}

fn agreed() -> Head {
    let mut head = Head::new(());
    *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    head
}

fn message(pick: usize) -> Message {
    match MESSAGES.get(pick) {
        Some(text) if pick.is_multiple_of(2) => Message::text(*text),
        Some(text) => {
            let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            Message::Binary(encode(&value).unwrap())
        }
        None => Message::Binary(Bytes::from_static(b"\xc1")),
    }
}

fn word(input: &Input) -> &'static str {
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
        Input::Token(..) => "token",
        Input::Timeout => "timeout",
    }
}

const MESSAGES: [&str; 9] = [
    r#"{"images":[{"content_type":"image/jpeg"}],"request_id":"r1"}"#,
    r#"{"seed":7}"#,
    r#"{"type":"x-fal-message","action":"timings","timing":0.12}"#,
    r#"{"type":"x-fal-error","error":"TIMEOUT","reason":"no inputs, reconnect when needed!"}"#,
    r#"{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":"oh"}"#,
    r#"{"status":"error","error":"Unauthorized"}"#,
    r#"{"status":"error","error":"Unauthorized"}"#,
    r#"{"status":"error","error":"something else"}"#,
    "no JSON",
];

const OUTPUTS_MAX: usize = 16;
const ROUNDS_MAX: usize = 200;
const SCRIPTS: usize = 4_000;
