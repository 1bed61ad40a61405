use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::service;
use crate::error::Error;
use crate::machine::Output;
use crate::wire::{ExchangeId, Expect, Failure, Head, Request, Response};

/// The naming contract of all machines as a trait, for tests alone.
pub(super) trait Machine: fmt::Debug {
    type Event: Clone + fmt::Debug + PartialEq;
    type Value: Clone + fmt::Debug + PartialEq;

    fn on_response(&mut self, now: Instant, id: ExchangeId, response: Response);
    fn on_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure);
    fn on_timeout(&mut self, now: Instant);
    fn poll(&mut self) -> Output<Self::Event, Self::Value>;
    fn state(&self) -> &'static str;
    fn on_head(&mut self, _now: Instant, _id: ExchangeId, _head: &Head) {}
    fn on_chunk(&mut self, _now: Instant, _id: ExchangeId, _chunk: Bytes) {}
    fn on_end(&mut self, _now: Instant, _id: ExchangeId) {}
    fn on_progress(&mut self, _now: Instant, _id: ExchangeId, _bytes: u64) {}
    fn on_cancel(&mut self, _now: Instant) {}
    /// How many exchanges it may have open now.
    fn open_max(&self) -> usize {
        1
    }
}

/// One call of a `handle_*` method.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Response(ExchangeId, Response),
    Failure(ExchangeId, Failure),
    Head(ExchangeId, Head),
    Chunk(ExchangeId, Bytes),
    End(ExchangeId),
    Progress(ExchangeId, u64),
    Timeout,
    Cancel,
}

impl Input {
    const fn id(&self) -> Option<ExchangeId> {
        match self {
            Self::Response(id, _)
            | Self::Failure(id, _)
            | Self::Head(id, _)
            | Self::Chunk(id, _)
            | Self::End(id)
            | Self::Progress(id, _) => Some(*id),
            Self::Timeout | Self::Cancel => None,
        }
    }
}

/// A state, the word for an input, the state after it.
pub(super) type Move = (&'static str, &'static str, &'static str);

/// What went in or came out, and when.
#[derive(Clone, Debug)]
pub(super) enum Entry<M: Machine> {
    In(Input),
    Out(Output<M::Event, M::Value>),
}

/// Plays inputs to a machine as a driver would, and panics at each breach of the contract.
pub(super) struct Driver<M: Machine> {
    pub(super) machine: M,
    pub(super) now: Instant,
    pub(super) deadline: Option<Instant>,
    /// The open exchange that scripts are about now.
    pub(super) open: Option<(ExchangeId, Request)>,
    /// Further ones, of machines that may have several.
    pub(super) others: VecDeque<(ExchangeId, Request)>,
    /// The open exchange has sent the head of a streamed answer.
    pub(super) is_headed: bool,
    pub(super) until: Option<Instant>,
    pub(super) done: Option<Result<M::Value, Error>>,
    pub(super) trace: Vec<(Instant, Entry<M>)>,
    pub(super) moves: BTreeSet<Move>,
    closed: Vec<ExchangeId>,
}

impl<M: Machine> Driver<M> {
    pub(super) fn new(machine: M, now: Instant, deadline: Option<Instant>) -> Self {
        let mut driver = Self {
            machine,
            now,
            deadline,
            open: None,
            others: VecDeque::new(),
            is_headed: false,
            until: None,
            done: None,
            trace: Vec::new(),
            moves: BTreeSet::new(),
            closed: Vec::new(),
        };
        driver.drain(0);
        driver
    }

    /// Gives one input now, and takes all outputs.
    pub(super) fn give(&mut self, input: Input) {
        if self.is_without_effect(&input) {
            let before = format!("{:?}", self.machine);
            self.apply(input.clone());
            assert_eq!(format!("{:?}", self.machine), before, "{input:?} changed something");
            let outputs = self.drain(0);
            assert_eq!(outputs, 0, "{input:?} led to outputs");
            return;
        }
        let before = self.machine.state();
        let word = self.word(&input);
        let size = match &input {
            Input::Response(_, response) => response.body().len(),
            Input::Chunk(_, chunk) => chunk.len(),
            _ => 0,
        };
        self.trace.push((self.now, Entry::In(input.clone())));
        let was_timeout = matches!(input, Input::Timeout);
        match &input {
            Input::Response(id, _) | Input::Failure(id, _) | Input::End(id) => self.close(*id),
            Input::Head(..) => self.is_headed = true,
            _ => {}
        }
        self.apply(input);
        let outputs = self.drain(size);
        if outputs > 0 || before != self.machine.state() {
            self.moves.insert((before, word, self.machine.state()));
        }
        if was_timeout && let Some(until) = self.until {
            assert!(until > self.now, "after a timeout it waits for the past");
        }
    }

    /// Moves time on to what the machine waits for, and tells it.
    pub(super) fn pass_to_timeout(&mut self) -> bool {
        let Some(until) = self.until else { return false };
        self.now = self.now.max(until);
        self.give(Input::Timeout);
        true
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.is_some()
    }

    /// An exchange that is no longer open, if there was one.
    pub(super) fn old_id(&self, pick: usize) -> Option<ExchangeId> {
        (!self.closed.is_empty()).then(|| self.closed[pick % self.closed.len()])
    }

    /// Nothing answers any more: the machine must end by its own limits.
    pub(super) fn drive_in_silence(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if self.is_done() {
                return;
            }
            assert!(self.pass_to_timeout(), "it waits for an answer without a limit");
        }
        panic!("it has not ended after {ROUNDS_MAX} timeouts");
    }

    /// Everything answers well from now on: the machine must end.
    pub(super) fn drive_well(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if self.is_done() {
                return;
            }
            if !self.answer_well() {
                assert!(self.pass_to_timeout(), "it waits for nothing");
            }
        }
        panic!("it has not ended after {ROUNDS_MAX} good answers");
    }

    /// The fitting, successful answer to what is open; false when nothing is.
    pub(super) fn answer_well(&mut self) -> bool {
        let Some((id, request)) = self.open.clone() else { return false };
        let response = service::well(&request);
        if request.expect != Expect::Chunks {
            self.give(Input::Response(id, response));
            return true;
        }
        let (parts, body) = response.into_parts();
        if !self.is_headed {
            self.give(Input::Head(id, http::Response::from_parts(parts, ())));
        }
        if self.is_open(id) {
            self.give(Input::Chunk(id, body));
        }
        if self.is_open(id) {
            self.give(Input::End(id));
        }
        true
    }

    pub(super) fn is_open(&self, id: ExchangeId) -> bool {
        self.request_of(id).is_some()
    }

    /// What was asked by an open exchange.
    pub(super) fn request_of(&self, id: ExchangeId) -> Option<&Request> {
        let mut all = self.open.iter().chain(&self.others);
        all.find(|(open, _)| *open == id).map(|(_, request)| request)
    }

    /// Turns to another open exchange, if there is one.
    pub(super) fn turn(&mut self) {
        if let Some(next) = self.others.pop_front() {
            self.others.extend(self.open.replace(next));
        }
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = &Output<M::Event, M::Value>> {
        self.trace.iter().filter_map(|(_, entry)| match entry {
            Entry::Out(output) => Some(output),
            Entry::In(_) => None,
        })
    }

    pub(super) fn sends(&self) -> impl Iterator<Item = (Instant, &Request)> {
        self.trace.iter().filter_map(|(at, entry)| match entry {
            Entry::Out(Output::Send { request, .. }) => Some((*at, request)),
            _ => None,
        })
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &M::Event> {
        self.outputs().filter_map(|output| match output {
            Output::Event(event) => Some(event),
            _ => None,
        })
    }

    /// Inputs that the contract says change nothing.
    fn is_without_effect(&self, input: &Input) -> bool {
        if self.is_done() || input.id().is_some_and(|id| !self.is_open(id)) {
            return true;
        }
        let asked = input.id().and_then(|id| self.request_of(id));
        let chunks = asked.is_some_and(|request| request.expect == Expect::Chunks);
        match input {
            Input::Head(..) | Input::Chunk(..) | Input::End(_) => !chunks,
            Input::Timeout => self.until.is_none_or(|until| until > self.now),
            _ => false,
        }
    }

    fn apply(&mut self, input: Input) {
        let (machine, now) = (&mut self.machine, self.now);
        match input {
            Input::Response(id, response) => machine.on_response(now, id, response),
            Input::Failure(id, failure) => machine.on_failure(now, id, failure),
            Input::Head(id, head) => machine.on_head(now, id, &head),
            Input::Chunk(id, chunk) => machine.on_chunk(now, id, chunk),
            Input::End(id) => machine.on_end(now, id),
            Input::Progress(id, bytes) => machine.on_progress(now, id, bytes),
            Input::Timeout => machine.on_timeout(now),
            Input::Cancel => machine.on_cancel(now),
        }
    }

    /// Takes outputs to `Wait`; returns how many there were. `size` is the input's, in bytes.
    fn drain(&mut self, size: usize) -> usize {
        // A status of n bytes cannot hold more than n / 2 log lines.
        let limit = 12 + size + 4 * self.machine.open_max();
        for count in 0..=limit {
            let output = self.machine.poll();
            if let Output::Wait { until } = output {
                assert!(!self.is_done() || until.is_none(), "it waits although it is done");
                self.until = until;
                return count;
            }
            assert!(!self.is_done(), "after the end it says {output:?}");
            match &output {
                Output::Send { id, request } => {
                    let open = usize::from(self.open.is_some()) + self.others.len();
                    assert!(open < self.machine.open_max(), "{} exchanges are open", open + 1);
                    assert!(!self.closed.contains(id) && !self.is_open(*id), "an id is used twice");
                    let sent = (*id, request.clone());
                    match self.open {
                        Some(_) => self.others.push_back(sent),
                        None => self.open = Some(sent),
                    }
                    self.is_headed = false;
                }
                Output::Abort { id } => {
                    assert!(self.is_open(*id), "{id:?} is aborted, but not open");
                    self.close(*id);
                }
                Output::Done(result) => {
                    assert!(self.open.is_none(), "it ends with an open exchange");
                    assert!(self.others.is_empty(), "it ends with open exchanges");
                    self.done = Some(result.clone());
                }
                Output::Message { id, .. } => panic!("{id:?} is no WebSocket"),
                Output::Event(_) | Output::Wait { .. } => {}
            }
            self.trace.push((self.now, Entry::Out(output)));
        }
        panic!("an input of {size} bytes led to more than {limit} outputs");
    }

    fn close(&mut self, id: ExchangeId) {
        if self.open.as_ref().is_some_and(|(open, _)| *open == id) {
            self.open = self.others.pop_front();
        } else {
            self.others.retain(|(open, _)| *open != id);
        }
        self.closed.push(id);
    }

    /// The input's name in the tables of transitions.
    fn word(&self, input: &Input) -> &'static str {
        let gave_up = matches!(self.machine.state(), "Rescuing" | "Cancelling");
        match input {
            Input::Response(_, response) => match response.status().as_u16() {
                200..=299 => "success",
                300..=399 => "redirect",
                _ => "refusal",
            },
            Input::Failure(..) => "failure",
            Input::Head(..) => "head",
            Input::Chunk(..) => "chunk",
            Input::End(_) => "end",
            Input::Progress(..) => "progress",
            Input::Timeout if !gave_up && self.deadline.is_some_and(|d| d <= self.now) => {
                "deadline"
            }
            Input::Timeout => "timeout",
            Input::Cancel => "cancel",
        }
    }
}

/// Where model time starts. All tests of a process share it, so that runs can be compared.
pub(crate) fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "there is no other way to a first instant")]
    *EPOCH.get_or_init(Instant::now)
}

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Steps after which a machine that has not ended is taken to hang.
const ROUNDS_MAX: usize = 200;
