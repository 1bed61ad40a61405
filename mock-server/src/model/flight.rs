//! Exchanges that a scenario watches: which fault happens to each, and how it changes what the model says.
//!
//! | When | Fault |
//! |---|---|
//! | the request is there | `status`, `error-type`, `rate-limit`, `ingress`, `refuse`: it is never looked at |
//! | its answer is there | `accept-then-reset`; `corrupt-json`, `wrong-type`; what happens to bytes is left to the shell by [`Wire`] |
//! | an event or message is there | `reset`, `truncate`, `stall`, `drop-event`, `duplicate-event`, `ws-close`, `corrupt-json`, `wrong-type` |

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::about::About;
use super::exchange::{Ending, Head, Output, Request, Response, Wire};
use super::{Due, Model, reply, spoil};
use crate::scenario::{Action, Effect};

/// An exchange that is watched until it is over.
#[derive(Debug)]
pub(crate) struct Flight {
    about: About,
    /// What is still to happen to it.
    effect: Option<Effect>,
    /// Events and messages so far.
    events: u64,
    /// Whether it has been counted by the expectations.
    is_noted: bool,
    /// What waits behind a stall, if it stalls.
    held: Option<VecDeque<Output>>,
    /// Bytes of its body that may leave by now, where they are let out one after the other.
    trickle: Option<Trickle>,
}

/// Bytes that leave with a rate.
#[derive(Clone, Copy, Debug)]
struct Trickle {
    released: u64,
    /// Each time.
    step: u64,
    every: Duration,
    /// Bytes of all events so far, for a stream.
    said: u64,
    /// How many there are, once that is known.
    total: Option<u64>,
}

impl Model {
    /// Looks at a request before it is answered. Returns whether a fault has answered it already.
    pub(super) fn meet(&mut self, id: u64, request: &Request<'_>, is_upgrade: bool) -> bool {
        if !self.play.as_ref().is_some_and(|play| play.is_watching()) {
            return false;
        }
        let about = self.about(request, is_upgrade);
        let Some(play) = &mut self.play else { return false };
        let effect = about.with(|facts| play.fault(facts));
        let action = effect.as_ref().map(|effect| effect.fault.action.clone());
        let mut flight =
            Flight { about, effect, events: 0, is_noted: false, held: None, trickle: None };
        let answer = match action {
            Some(Action::Fail(failure)) => {
                let mut response = reply::failure(self.mint_other(), &failure);
                stamp(flight.effect.as_ref(), response.headers_mut());
                Some(Output::Reply { id, response })
            }
            Some(Action::Ingress(status)) => {
                let mut response = ingress(status);
                stamp(flight.effect.as_ref(), response.headers_mut());
                Some(Output::Reply { id, response })
            }
            Some(Action::Refuse) => Some(Output::Reset { id }),
            Some(Action::RunnerLost) => {
                // What was decided goes with the call.
                let Some(effect) = flight.effect.take() else { return false };
                self.lost_after = Some(effect.fault.after.time.unwrap_or(LOSS_TIME));
                self.fire(&effect, &flight.about);
                None
            }
            _ => None,
        };
        let is_answered = answer.is_some();
        if is_answered && let Some(effect) = flight.effect.take() {
            self.fire(&effect, &flight.about);
        }
        self.flights.insert(id, flight);
        self.out.extend(answer);
        is_answered
    }

    fn fire(&mut self, effect: &Effect, about: &About) {
        let now = self.now;
        let Some(play) = &mut self.play else { return };
        let number = play.fired(now, effect, &about.whom());
        self.note_fault(effect, number, about);
    }

    /// Lets what was said pass the faults, once.
    pub(super) fn pass_outputs(&mut self) {
        while self.passed < self.out.len() {
            if self.flights.is_empty() {
                self.passed = self.out.len();
                return;
            }
            let fresh = self.out.split_off(self.passed);
            let mut through = Through::default();
            for output in fresh {
                self.pass(output, &mut through);
            }
            // What follows from an exchange that was ended has not passed yet.
            let more = self.out.split_off(self.passed);
            self.out.extend(through.outputs);
            self.passed = self.out.len();
            self.out.extend(more);
        }
    }

    fn pass(&mut self, output: Output, through: &mut Through) {
        let Some(id) = exchange_of(&output) else { return through.push(output) };
        if through.severed.contains(&id) {
            return;
        }
        let Some(mut flight) = self.flights.remove(&id) else { return through.push(output) };
        if let Some(held) = &mut flight.held {
            held.push_back(output);
            self.flights.insert(id, flight);
            return;
        }
        let is_over = match output {
            Output::Reply { id, response } => self.pass_reply(&mut flight, id, response, through),
            Output::Serve { id, head, pieces } => {
                let len = pieces.iter().map(super::Piece::len).sum();
                let mut head = head;
                match self.pass_head(&mut flight, id, &mut head, Some(len)) {
                    Pass::Reset => through.push(Output::Reset { id }),
                    Pass::Hold(time) => {
                        let output = Output::Serve { id, head, pieces };
                        self.hold(&mut flight, id, output, time);
                    }
                    Pass::Through => through.push(Output::Serve { id, head, pieces }),
                }
                flight.is_done()
            }
            Output::Stream { id, mut head } => {
                match self.pass_head(&mut flight, id, &mut head, None) {
                    Pass::Reset => {
                        self.gone(id);
                        through.sever(id, Output::Reset { id });
                        true
                    }
                    // Streams stall before an event, never before their head.
                    Pass::Hold(_) | Pass::Through => {
                        through.push(Output::Stream { id, head });
                        false
                    }
                }
            }
            Output::Accept { id } => {
                let status = flight.effect.is_none().then_some(StatusCode::SWITCHING_PROTOCOLS);
                self.note_once(&mut flight, status);
                match flight.effect.take() {
                    Some(effect) => {
                        self.fire(&effect, &flight.about);
                        self.gone(id);
                        through.sever(id, Output::Reset { id });
                        true
                    }
                    None => {
                        through.push(Output::Accept { id });
                        false
                    }
                }
            }
            Output::Event { id, bytes } => self.pass_event(&mut flight, id, bytes, through),
            Output::Frame { id, frame } => self.pass_frame(&mut flight, id, frame, through),
            output => {
                // What trickles goes on after the end of a stream, until everything has left.
                self.note_once(&mut flight, None);
                through.push(output);
                match &mut flight.trickle {
                    Some(trickle) => {
                        trickle.total = Some(trickle.said);
                        false
                    }
                    None => true,
                }
            }
        };
        if !is_over {
            self.flights.insert(id, flight);
        }
    }

    fn pass_reply(
        &mut self,
        flight: &mut Flight,
        id: u64,
        response: Response,
        through: &mut Through,
    ) -> bool {
        let (head, mut body) = response.into_parts();
        let mut head = Head::from_parts(head, ());
        let spoils = |effect: &mut Effect| {
            matches!(effect.fault.action, Action::CorruptJson | Action::WrongType(_))
        };
        if let Some(effect) = flight.effect.take_if(spoils)
            && let Some(spoilt) = spoiled(&effect, &body)
        {
            body = spoilt;
            stamp(Some(&effect), head.headers_mut());
            self.fire(&effect, &flight.about);
        }
        let len = body.len() as u64;
        match self.pass_head(flight, id, &mut head, Some(len)) {
            Pass::Reset => through.push(Output::Reset { id }),
            Pass::Hold(time) => {
                let output = Output::Reply { id, response: head.map(|()| body) };
                self.hold(flight, id, output, time);
            }
            Pass::Through => through.push(Output::Reply { id, response: head.map(|()| body) }),
        }
        flight.is_done()
    }

    /// Decides about an answer whose head is there. `len` is that of its body, if it has one already.
    fn pass_head(
        &mut self,
        flight: &mut Flight,
        id: u64,
        head: &mut Head,
        len: Option<u64>,
    ) -> Pass {
        let is_lost = flight
            .effect
            .as_ref()
            .is_some_and(|effect| effect.fault.action == Action::AcceptThenReset);
        self.note_once(flight, Some(head.status()).filter(|_| !is_lost));
        if len.is_none() {
            // It is still to come, unless the stream ends before.
            stamp(flight.effect.as_ref(), head.headers_mut());
        }
        let Some(effect) = &flight.effect else { return Pass::Through };
        let after = effect.fault.after;
        // Streams go by events where nothing else is said, whole bodies by bytes.
        let bytes = match (after.bytes, len) {
            (Some(bytes), Some(len)) => Some(bytes.min(len)),
            (Some(bytes), None) => Some(bytes),
            (None, Some(len)) if after.events.is_none() => Some(len / 2),
            (None, _) => None,
        };
        let is_short = |bytes: u64| len.is_none_or(|len| bytes < len);
        let mut wire = Wire::default();
        match &effect.fault.action {
            Action::AcceptThenReset => {
                let Some(effect) = flight.effect.take() else { return Pass::Through };
                self.fire(&effect, &flight.about);
                return Pass::Reset;
            }
            Action::Reset => match bytes {
                Some(bytes) if is_short(bytes) || len == Some(0) => {
                    wire.ending = Some((bytes, Ending::Reset));
                }
                _ => return Pass::Through,
            },
            Action::Truncate => match bytes {
                Some(bytes) if is_short(bytes) => wire.ending = Some((bytes, Ending::Cut)),
                _ => return Pass::Through,
            },
            Action::Split(bytes) => {
                wire.split = Some(usize::try_from(bytes.get()).unwrap_or(usize::MAX));
            }
            Action::Stall(time) => {
                let time = *time;
                match after.bytes {
                    Some(bytes) if is_short(bytes) => {
                        wire.gate = Some(bytes);
                        if let Some(time) = time {
                            self.plan_after(time, Due::Resume(id));
                        }
                    }
                    Some(_) => return Pass::Through,
                    // Whole answers stall before their first byte, streams before an event.
                    None if len.is_some() && after.events.is_none() => {
                        let Some(effect) = flight.effect.take() else { return Pass::Through };
                        stamp(Some(&effect), head.headers_mut());
                        self.fire(&effect, &flight.about);
                        return Pass::Hold(time);
                    }
                    None => return Pass::Through,
                }
            }
            Action::Slow(rate) => {
                let first = after.bytes.unwrap_or_default();
                let trickle = Trickle::new(first, rate.get(), len);
                wire.gate = Some(first);
                self.plan_after(trickle.every, Due::Resume(id));
                flight.trickle = Some(trickle);
            }
            _ => return Pass::Through,
        }
        if let Some(effect) = flight.effect.take() {
            stamp(Some(&effect), head.headers_mut());
            self.fire(&effect, &flight.about);
        }
        if wire.gate.is_some() && flight.trickle.is_none() {
            // Everything at once, when its time has come.
            let (step, every) = (u64::MAX, Duration::ZERO);
            flight.trickle = Some(Trickle { released: 0, step, every, said: 0, total: len });
        }
        head.extensions_mut().insert(wire);
        Pass::Through
    }

    fn hold(&mut self, flight: &mut Flight, id: u64, output: Output, time: Option<Duration>) {
        flight.held = Some(VecDeque::from([output]));
        if let Some(time) = time {
            self.plan_after(time, Due::Resume(id));
        }
    }

    fn pass_event(
        &mut self,
        flight: &mut Flight,
        id: u64,
        bytes: Bytes,
        through: &mut Through,
    ) -> bool {
        if let Some(trickle) = &mut flight.trickle {
            trickle.said += bytes.len() as u64;
        }
        let is_comment = bytes.starts_with(b":");
        let number = flight.events;
        flight.events += u64::from(!is_comment);
        let is_due = |effect: &mut Effect| {
            let from = match effect.fault.action {
                Action::Reset | Action::Truncate | Action::Stall(_) => 1,
                _ => 0,
            };
            !is_comment && number == effect.fault.after.events.unwrap_or(from)
        };
        let Some(effect) = flight.effect.take_if(is_due) else {
            through.push(Output::Event { id, bytes });
            return false;
        };
        let ends = |model: &mut Self, end: Output, through: &mut Through| {
            model.gone(id);
            through.sever(id, end);
        };
        let spoil = |bytes: &Bytes| spoil::in_event(bytes, |data| spoiled(&effect, data));
        match effect.fault.action {
            Action::Reset => ends(self, Output::Reset { id }, through),
            Action::Truncate => ends(self, Output::Cut { id }, through),
            Action::Stall(time) => self.hold(flight, id, Output::Event { id, bytes }, time),
            Action::DropEvent => {}
            Action::DuplicateEvent(copies) => {
                for _ in 0..=copies {
                    through.push(Output::Event { id, bytes: bytes.clone() });
                }
            }
            _ => match spoil(&bytes) {
                Some(bytes) => through.push(Output::Event { id, bytes }),
                None => {
                    // A piece of a sound is no JSON.
                    through.push(Output::Event { id, bytes });
                    return false;
                }
            },
        }
        self.fire(&effect, &flight.about);
        matches!(effect.fault.action, Action::Reset | Action::Truncate)
    }

    fn pass_frame(
        &mut self,
        flight: &mut Flight,
        id: u64,
        frame: super::FrameDraft,
        through: &mut Through,
    ) -> bool {
        let about = flight.about.frame();
        let effect = match &mut self.play {
            Some(play) => about.with(|facts| play.fault(facts)),
            None => None,
        };
        flight.events += 1;
        self.note(&about, None);
        let Some(effect) = effect else {
            through.push(Output::Frame { id, frame });
            return false;
        };
        self.fire(&effect, &about);
        match &effect.fault.action {
            Action::Reset => {
                self.gone(id);
                through.sever(id, Output::Reset { id });
                true
            }
            Action::WsClose { code, reason } => {
                self.gone(id);
                let (code, reason) = (Some(*code), reason.clone());
                through.sever(id, Output::Close { id, code, reason });
                true
            }
            Action::Stall(time) => {
                self.hold(flight, id, Output::Frame { id, frame }, *time);
                false
            }
            Action::DropEvent => false,
            Action::DuplicateEvent(copies) => {
                for _ in 0..=*copies {
                    through.push(Output::Frame { id, frame: frame.clone() });
                }
                false
            }
            _ => {
                through.push(Output::Frame { id, frame: frame.corrupted() });
                false
            }
        }
    }

    /// A stall is over, or the next bytes may leave.
    pub(super) fn resume(&mut self, id: u64) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        if let Some(held) = flight.held.take() {
            // What it held has been decided about; what follows has not.
            let is_over = held.iter().any(ends_exchange);
            let rest = self.out.split_off(self.passed);
            self.out.extend(held);
            self.passed = self.out.len();
            self.out.extend(rest);
            if is_over {
                self.flights.remove(&id);
            }
            return;
        }
        let Some(trickle) = &mut flight.trickle else { return };
        trickle.released = trickle.released.saturating_add(trickle.step);
        let is_over = trickle.total.is_some_and(|total| trickle.released >= total);
        let is_all = is_over || trickle.released == u64::MAX;
        let (bytes, every) = (if is_all { u64::MAX } else { trickle.released }, trickle.every);
        if is_all {
            flight.trickle = None;
        }
        if is_over {
            self.flights.remove(&id);
        }
        if !is_all {
            self.plan_after(every, Due::Resume(id));
        }
        let rest = self.out.split_off(self.passed);
        self.out.push_back(Output::Release { id, bytes });
        self.passed = self.out.len();
        self.out.extend(rest);
    }

    /// Writes down that something was asked and answered so.
    pub(super) fn note(&mut self, about: &About, status: Option<StatusCode>) {
        if let Some(play) = &mut self.play {
            about.with(|facts| play.note(facts, status));
        }
    }

    fn note_once(&mut self, flight: &mut Flight, status: Option<StatusCode>) {
        if !std::mem::replace(&mut flight.is_noted, true) {
            self.note(&flight.about, status);
        }
    }

    /// Everything that waits behind a stall is cut, as by a restart.
    pub(super) fn cut_flights(&mut self) {
        for (id, flight) in std::mem::take(&mut self.flights) {
            if flight.held.is_some() && !self.open.contains_key(&id) {
                self.out.push_back(Output::Cut { id });
            }
        }
    }
}

impl Flight {
    /// What was to happen to it belongs to another scenario.
    pub(super) fn forget(&mut self) {
        self.effect = None;
    }

    /// Whether something of it is held back.
    const fn is_stalled(&self) -> bool {
        self.held.is_some() || self.trickle.is_some()
    }

    /// Whether nothing can follow a whole answer.
    const fn is_done(&self) -> bool {
        !self.is_stalled()
    }
}

impl Trickle {
    /// `rate` bytes in a second, in steps that are neither too many nor too quick.
    fn new(released: u64, rate: u64, len: Option<u64>) -> Self {
        let left = len.unwrap_or(0).saturating_sub(released);
        let total = Duration::try_from_secs_f64(left as f64 / rate as f64).unwrap_or(Duration::MAX);
        let every = STEP_TIME_MIN.max(total / STEPS_MAX).min(super::TIME_MAX);
        let step = (rate as f64 * every.as_secs_f64()).ceil();
        // A rate beyond what can be counted is no limit.
        let step = if step < u64::MAX as f64 { step as u64 } else { u64::MAX - 1 };
        Self { released, step: step.max(1), every, said: 0, total: len }
    }
}

/// Tells an answer's reader which fault it meets.
fn stamp(effect: Option<&Effect>, headers: &mut HeaderMap) {
    if let Some(effect) = effect
        && let Ok(name) = HeaderValue::from_str(&effect.fault.name)
    {
        headers.insert(FAULT, name);
    }
}

/// What has passed.
#[derive(Debug, Default)]
struct Through {
    outputs: Vec<Output>,
    /// Exchanges that were ended; what was said in them after that is for nobody.
    severed: Vec<u64>,
}

impl Through {
    fn push(&mut self, output: Output) {
        self.outputs.push(output);
    }

    fn sever(&mut self, id: u64, end: Output) {
        self.outputs.push(end);
        self.severed.push(id);
    }
}

/// What becomes of an answer.
enum Pass {
    Through,
    Reset,
    Hold(Option<Duration>),
}

fn spoiled(effect: &Effect, body: &[u8]) -> Option<Bytes> {
    match &effect.fault.action {
        Action::WrongType(pointer) => spoil::retype(body, pointer.as_deref(), effect.draw),
        _ => spoil::corrupt(body, effect.draw),
    }
}

/// The exchange that an output is about, of those that can be watched.
const fn exchange_of(output: &Output) -> Option<u64> {
    match output {
        Output::Reply { id, .. }
        | Output::Serve { id, .. }
        | Output::Stream { id, .. }
        | Output::Event { id, .. }
        | Output::End { id }
        | Output::Cut { id }
        | Output::Reset { id }
        | Output::Accept { id }
        | Output::Frame { id, .. }
        | Output::Close { id, .. } => Some(*id),
        Output::Release { .. }
        | Output::Deliver { .. }
        | Output::Work { .. }
        | Output::StopWork { .. }
        | Output::Wait { .. } => None,
    }
}

const fn ends_exchange(output: &Output) -> bool {
    matches!(
        output,
        Output::Reply { .. }
            | Output::Serve { .. }
            | Output::End { .. }
            | Output::Cut { .. }
            | Output::Reset { .. }
            | Output::Close { .. }
    )
}

/// What an ingress answers in place of the service: HTML, and no request id.
///
/// Source: `client.py` of `fal-client`, which tells it by that (official client source).
fn ingress(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or("Error");
    let title = format!("{} {reason}", status.as_u16());
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response = Response::new(page.into());
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

/// The fault that an answer meets.
const FAULT: HeaderName = HeaderName::from_static("x-fal-mock-fault");

/// When a runner is lost where nothing is said.
const LOSS_TIME: Duration = Duration::from_millis(100);

/// Between two lots of bytes of a slow answer at least.
const STEP_TIME_MIN: Duration = Duration::from_millis(50);

/// Lots of a slow answer whose length is known.
const STEPS_MAX: u32 = 200;
