//! One logical call: its attempts, the rests between them, backup hosts and redirects.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Asking | success | Over | settled: the answer |
//! | Asking | redirect | Asking, Over | followed, or refused |
//! | Asking | refusal, timeout | Resting, Over | as [`crate::retry`] says; Abort first if it was the timeout |
//! | Asking | failure | Asking, Resting, Over | the same, after the backup host was asked |
//! | Resting | timeout | Asking | the next attempt |

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use crate::error::{ApiError, Error, ErrorKind, ProtocolError};
use crate::headers;
use crate::machine::{AttemptFailed, Ids, Out, Output, after, earliest, is_due};
use crate::rand::SplitMix64;
use crate::retry::{Purpose, Verdict, is_ingress};
use crate::settings::Settings;
use crate::wire::{Body, ExchangeId, Failure, FailureKind, Request, Response, Sent, location};

/// Repeats one request as the policy allows. Part of every machine.
#[derive(Debug)]
pub(crate) struct Call {
    purpose: Purpose,
    request: Request,
    settings: Arc<Settings>,
    jitter: SplitMix64,
    timeout: Duration,
    deadline: Option<Instant>,
    attempt: u32,
    /// An attempt may have been accepted although no answer said so.
    unknown: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Asking { id: ExchangeId, until: Option<Instant>, way: Way },
    Resting { until: Option<Instant> },
    Over,
}

/// Where the current attempt has come to.
#[derive(Debug)]
struct Way {
    /// The address that is asked now.
    uri: Uri,
    redirects: u8,
    /// A redirect led to a foreign host: from there on nobody gets the credentials.
    was_foreign: bool,
    /// Why the primary host could not be reached, when this is the backup.
    primary_failure: Option<Failure>,
}

/// How a call ended: with a 2xx answer, or not.
pub(crate) type Settled = Result<Response, Error>;

impl Call {
    /// A call that has not begun. `deadline` is the caller's; the call only avoids resting past it.
    pub(crate) fn new(
        settings: &Arc<Settings>,
        purpose: Purpose,
        request: Request,
        seed: u64,
        deadline: Option<Instant>,
    ) -> Self {
        let timeout = match purpose {
            Purpose::Run | Purpose::Stream => settings.run_timeout,
            Purpose::Put => settings.upload_idle_timeout,
            _ => settings.attempt_timeout,
        };
        Self {
            purpose,
            request,
            settings: Arc::clone(settings),
            jitter: SplitMix64::new(seed),
            timeout,
            deadline,
            attempt: 0,
            unknown: false,
            state: State::Over,
        }
    }

    /// The same call with another limit for each attempt.
    pub(crate) const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the first or the next attempt.
    pub(crate) fn start<E, T>(&mut self, now: Instant, ids: &mut Ids, out: &mut Out<E, T>) {
        self.attempt += 1;
        let request = self.request.clone();
        self.send(now, ids, out, request, None);
    }

    /// Forgets earlier attempts and asks again: the next poll of a loop.
    pub(crate) fn restart<E, T>(&mut self, now: Instant, ids: &mut Ids, out: &mut Out<E, T>) {
        self.attempt = 0;
        self.start(now, ids, out);
    }

    /// The exchange whose answer is awaited.
    pub(crate) const fn in_flight(&self) -> Option<ExchangeId> {
        match self.state {
            State::Asking { id, .. } => Some(id),
            _ => None,
        }
    }

    pub(crate) fn is_asking(&self, id: ExchangeId) -> bool {
        self.in_flight() == Some(id)
    }

    /// When `handle_timeout` has something to do.
    pub(crate) const fn until(&self) -> Option<Instant> {
        match self.state {
            State::Asking { until, .. } | State::Resting { until } => until,
            State::Over => None,
        }
    }

    /// Whether an attempt may have been accepted although no answer said so.
    pub(crate) const fn is_unknown(&self) -> bool {
        self.unknown
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        match self.state {
            State::Asking { .. } => "Asking",
            State::Resting { .. } => "Resting",
            State::Over => "Over",
        }
    }

    /// Sends nothing new that costs money: the caller has given up.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.deadline = earliest(self.deadline, Some(now));
    }

    /// Whether nobody waits any more for what would be paid for.
    pub(crate) fn is_too_late(&self, now: Instant) -> bool {
        self.purpose.is_paid() && is_due(self.deadline, now)
    }

    /// The call has succeeded, and its exchange goes on: what follows is read by somebody else.
    pub(crate) fn accept(&mut self) {
        self.settings.budget.deposit();
        self.state = State::Over;
    }

    /// Ends the call; returns the exchange to abort.
    pub(crate) fn stop(&mut self) -> Option<ExchangeId> {
        let id = self.in_flight();
        self.state = State::Over;
        id
    }

    /// Puts the attempt's limit off, because bytes are moving.
    pub(crate) fn touch(&mut self, now: Instant) {
        let until = after(now, self.timeout);
        if let State::Asking { until: limit, .. } = &mut self.state {
            *limit = until;
        }
    }

    pub(crate) fn handle_response<E: From<AttemptFailed>, T>(
        &mut self,
        now: Instant,
        ids: &mut Ids,
        id: ExchangeId,
        response: Response,
        out: &mut Out<E, T>,
    ) -> Option<Settled> {
        if !self.is_asking(id) {
            return None;
        }
        let status = response.status();
        if status.is_success() {
            self.settings.budget.deposit();
            return self.settle(Ok(response));
        }
        if status.is_redirection() {
            return match self.follow(now, &response) {
                Ok((request, way)) => {
                    self.send_on(now, ids, out, request, way);
                    None
                }
                Err(error) => {
                    // Only 307 and 308 say that the request is still to be done.
                    self.unknown |= self.purpose.is_paid() && !is_repeat_elsewhere(status);
                    self.fail(ErrorKind::Protocol(error))
                }
            };
        }
        self.unknown |= self.purpose.is_paid() && is_fate_unknown(&response);
        let verdict = self.settings.retry.judge_response(self.purpose, &response);
        let error = ApiError::parse(status, response.headers(), response.body());
        self.judge(now, verdict, ErrorKind::Api(error), out)
    }

    pub(crate) fn handle_failure<E: From<AttemptFailed>, T>(
        &mut self,
        now: Instant,
        ids: &mut Ids,
        id: ExchangeId,
        failure: Failure,
        out: &mut Out<E, T>,
    ) -> Option<Settled> {
        if !self.is_asking(id) {
            return None;
        }
        let is_too_late = self.is_too_late(now);
        let State::Asking { way, .. } = &mut self.state else { return None };
        let is_unreachable = failure.is_unreachable();
        let failure = match way.primary_failure.take() {
            None if is_unreachable && way.redirects == 0 && !is_too_late => {
                if let Some(uri) = self.settings.hosts.backup(&self.request.uri) {
                    let mut request = self.request.clone();
                    request.uri = uri;
                    self.send(now, ids, out, request, Some(failure));
                    return None;
                }
                failure
            }
            // Both hosts out of reach: the primary's trouble is the one to tell.
            Some(primary) if is_unreachable => primary,
            _ => failure,
        };
        let verdict = self.settings.retry.judge_failure(self.purpose, &failure);
        if failure.sent == Sent::Maybe && self.purpose.is_paid() {
            self.unknown = true;
        }
        self.judge(now, verdict, ErrorKind::Transport(failure), out)
    }

    pub(crate) fn handle_timeout<E: From<AttemptFailed>, T>(
        &mut self,
        now: Instant,
        ids: &mut Ids,
        out: &mut Out<E, T>,
    ) -> Option<Settled> {
        match self.state {
            State::Resting { until } if is_due(until, now) => {
                self.start(now, ids, out);
                None
            }
            State::Asking { id, until, .. } if is_due(until, now) => {
                out.push_back(Output::Abort { id });
                let message = format!("no answer within {:?}", self.timeout);
                let failure = Failure::read(FailureKind::Timeout, message);
                self.handle_failure(now, ids, id, failure, out)
            }
            _ => None,
        }
    }

    fn send<E, T>(
        &mut self,
        now: Instant,
        ids: &mut Ids,
        out: &mut Out<E, T>,
        request: Request,
        primary_failure: Option<Failure>,
    ) {
        let uri = request.uri.clone();
        let way = Way { uri, redirects: 0, was_foreign: false, primary_failure };
        self.send_on(now, ids, out, request, way);
    }

    fn send_on<E, T>(
        &mut self,
        now: Instant,
        ids: &mut Ids,
        out: &mut Out<E, T>,
        request: Request,
        way: Way,
    ) {
        let id = ids.next();
        self.state = State::Asking { id, until: after(now, self.timeout), way };
        out.push_back(Output::Send { id, request });
    }

    /// Rests for another attempt, or settles.
    fn judge<E: From<AttemptFailed>, T>(
        &mut self,
        now: Instant,
        verdict: Verdict,
        cause: ErrorKind,
        out: &mut Out<E, T>,
    ) -> Option<Settled> {
        if verdict == Verdict::Unknown {
            self.unknown = true;
        }
        let rest = match verdict {
            Verdict::Retry { after }
                if self.attempt < self.settings.retry.attempts(self.purpose) =>
            {
                self.rest(now, after)
            }
            _ => None,
        };
        let Some(rest) = rest else { return self.fail(cause) };
        let attempt = self.attempt;
        out.push_back(Output::Event(
            AttemptFailed { purpose: self.purpose, attempt, rest, cause }.into(),
        ));
        self.state = State::Resting { until: after(now, rest) };
        None
    }

    /// How long to rest; `None` when another attempt is not worth it or not allowed.
    fn rest(&mut self, now: Instant, asked: Option<Duration>) -> Option<Duration> {
        let policy = &self.settings.retry;
        let backoff = policy.backoff(self.attempt, &mut self.jitter);
        let mut rest = asked.map_or(backoff, |asked| asked.max(backoff));
        let left =
            self.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
        // A paid request that could only be repeated after the deadline fails now, with its cause; a
        // read rests until the deadline, which then decides.
        if self.purpose.is_paid() && rest >= left {
            return None;
        }
        if !self.settings.budget.withdraw() {
            if self.purpose.is_paid() {
                return None;
            }
            rest = rest.max(policy.backoff_max);
        }
        Some(rest.min(left))
    }

    /// Settles with this cause, or with what it leaves unknown.
    fn fail(&mut self, cause: ErrorKind) -> Option<Settled> {
        let kind =
            if self.unknown { ErrorKind::SubmitUnknown { cause: Box::new(cause) } } else { cause };
        self.settle(Err(kind.into()))
    }

    fn settle(&mut self, settled: Settled) -> Option<Settled> {
        self.state = State::Over;
        Some(settled)
    }

    /// The request that a redirect asks for.
    ///
    /// A read follows up to [`REDIRECTS_MAX`] redirects, without credentials from the first foreign
    /// host on; anything else follows only 307 and 308 on its own host, which promise that nothing
    /// was done yet.
    fn follow(&self, now: Instant, response: &Response) -> Result<(Request, Way), ProtocolError> {
        let refuse = |problem: &str| Err(ProtocolError::Redirect { problem: problem.into() });
        let State::Asking { way, .. } = &self.state else {
            return refuse("nothing was asked");
        };
        let Some(target) = location(&way.uri, response.headers()) else {
            return refuse("it names no usable address");
        };
        let hosts = &self.settings.hosts;
        if target.scheme_str() == Some("http") && !hosts.allow_plain_http() {
            return refuse("it leads to plain http");
        }
        if self.is_too_late(now) {
            return refuse("the deadline had passed");
        }
        if way.redirects >= REDIRECTS_MAX {
            return refuse("there were too many in a row");
        }
        let mut request = self.request.clone();
        let was_foreign = way.was_foreign || !hosts.trusts(&target);
        if request.method == Method::GET && !self.purpose.is_paid() {
            if was_foreign {
                Settings::strip(&mut request);
            }
        } else {
            let stays = target.authority() == way.uri.authority() && hosts.trusts(&target);
            if !is_repeat_elsewhere(response.status()) || !stays {
                return refuse(
                    "only a 307 or 308 on the same host is followed for a run, POST or PUT",
                );
            }
        }
        request.uri = target.clone();
        let redirects = way.redirects + 1;
        Ok((request, Way { uri: target, redirects, was_foreign, primary_failure: None }))
    }
}

/// Whether a redirect says that the same request is still to be done, at another address.
const fn is_repeat_elsewhere(status: StatusCode) -> bool {
    matches!(status.as_u16(), 307 | 308)
}

/// Whether a paid request may have been accepted although this answer is no success: it was made in
/// front of the service, which has said nothing.
fn is_fate_unknown(response: &Response) -> bool {
    matches!(response.status().as_u16(), 502..=504)
        && headers::retry_word(response.headers()).is_none()
        && is_ingress(response)
}

/// A request whose answer is JSON, with an optional JSON body, signed.
pub(crate) fn json_request(
    settings: &Settings,
    method: Method,
    uri: Uri,
    extra: HeaderMap,
    body: Option<Bytes>,
) -> Request {
    let mut request = Request::new(method, uri);
    request.headers = extra;
    request.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(body) = body {
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.body = Body::Bytes(body);
    }
    settings.sign(request)
}

/// Most redirects followed in a row.
pub(crate) const REDIRECTS_MAX: u8 = 5;
