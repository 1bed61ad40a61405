//! Machine: put a file where models can read it, in one piece or in parts, by one of three [`Route`]s.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Authorizing | success | Initiating, Putting, Over | the token is at hand: the CDN is asked |
//! | Authorizing | success | PuttingParts, Completing | the same for what another machine began |
//! | Initiating | success | Putting, PuttingParts, Over | the bytes go out, unless the addresses cannot be used |
//! | PuttingParts | success | PuttingParts, Completing, Over | the next part; after the last one all are put together |
//! | Putting, Completing | success | Over | `Done(Uploaded)`, unless it names no address |
//! | Authorizing | redirect, refusal, failure, timeout | Authorizing, Over | as [`crate::retry`] says |
//! | Initiating | redirect, refusal, failure, timeout | Initiating, Over | likewise |
//! | Putting | redirect, refusal, failure, timeout | Putting, Over | likewise |
//! | PuttingParts | redirect, refusal, failure, timeout | PuttingParts, Over | likewise, each part on its own |
//! | Completing | redirect, refusal, failure, timeout | Completing, Over | likewise; 404 after an attempt of unknown end is success |
//! | Authorizing | redirect, refusal, failure, timeout | Initiating | the next route begins |
//! | Initiating | redirect, refusal, failure, timeout, success | Authorizing, Initiating, Putting | likewise |
//! | Putting | redirect, refusal, failure, timeout | Authorizing, Initiating | likewise |
//! | Putting | success | Initiating | likewise, because the answer is of no use |
//! | PuttingParts | redirect, refusal, failure, timeout, success | Authorizing, Initiating | likewise |
//! | Completing | redirect, refusal, failure, timeout | Authorizing, Initiating | likewise |
//! | Putting | progress | Putting | its time limit is put off |
//! | PuttingParts | progress | PuttingParts | that part's time limit is put off |
//! | Authorizing, Initiating, Putting, PuttingParts, Completing | deadline, cancel | Over | with an Abort of all that is open |
//!
//! The next of [`Config::routes`] begins when one has failed for good, but not where the caller is at fault or
//! the content cannot be read. A token that was kept and is refused is asked for anew, once.
//!
//! **Several exchanges are open at once** while parts go out: at most [`Config::parallel`]. A signed address
//! gets no credentials, whatever host it names.
//!
//! Source: `storage.ts` of `@fal-ai/client` 1.10.1, `client.py` of `fal-client` 1.0.3, `providers/fal.py` of
//! fal's SDK (official client source).

mod config;
mod dialect;
mod parts;
mod plan;
mod route;
mod state;
mod token;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::StatusCode;

pub use config::{Config, PARALLEL_DEFAULT, PARALLEL_MAX};
pub use plan::{PART_BYTES_DEFAULT, PARTS_MAX, Plan};
pub use route::Route;
pub use state::{
    ETAG_BYTES_MAX, SOURCE_BYTES_MAX, STATE_BYTES_MAX, UPLOAD_ID_BYTES_MAX, UploadState,
};
pub use token::{CdnToken, TOKEN_MARGIN};

use crate::call::{Call, Settled};
use crate::error::{Aftermath, Error, ErrorKind, InputError};
use crate::machine::{AttemptFailed, Ids, Out, Output, earliest, is_due};
use crate::rand::SplitMix64;
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::wire::{ExchangeId, Failure, FailureKind, Request, Response, Sent};
use dialect::Label;
use parts::{Parts, What};

/// What happens during an upload.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// So much of the file has gone out. It goes back when something has to be sent again.
    Sent {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A part has arrived: [`Upload::state`] has changed.
    PartDone {
        /// Which part, from 1. They arrive in any order.
        number: u32,
        /// How many have arrived.
        done: u32,
        /// How many there are.
        parts: u32,
    },
    /// An exchange of a part failed and is repeated. The other parts go on.
    PartFailed {
        /// Which part, from 1.
        number: u32,
        /// What failed.
        failed: AttemptFailed,
    },
    /// An exchange failed and is repeated.
    AttemptFailed(AttemptFailed),
    /// A route has failed for good, and another one begins.
    RouteFailed {
        /// The route that failed.
        route: Route,
        /// The one that begins.
        next: Route,
        /// Why it failed.
        cause: ErrorKind,
    },
}

impl From<AttemptFailed> for Event {
    fn from(failed: AttemptFailed) -> Self {
        Self::AttemptFailed(failed)
    }
}

/// A file that models can read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// Its public address: what to put into a model's input.
    pub url: String,
    /// The route that it came by.
    pub route: Route,
    /// In how many parts: 0 if in one piece.
    pub parts: u32,
}

/// Uploads one file. Does no I/O and reads no clock; see [`crate::machine`] for the contract, and tell
/// [`handle_progress`](Self::handle_progress) how bodies go out.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Upload {
    settings: Arc<Settings>,
    config: Config,
    label: Label,
    /// When it began: what [`Config::wall`] is the time of day of.
    began: Instant,
    /// Which of the routes is gone.
    at: usize,
    token: Option<CdnToken>,
    /// The token is the one of an earlier upload.
    is_token_old: bool,
    /// What is known of an upload in parts; it outlives the machine's end, so that another one can go on.
    stored: Option<UploadState>,
    seeds: SplitMix64,
    ids: Ids,
    out: Out<Event, Uploaded>,
    state: State,
}

#[derive(Debug)]
enum State {
    Authorizing {
        call: Call,
    },
    Initiating {
        call: Call,
        in_parts: bool,
    },
    /// `file_url` is `None` where only the answer tells it.
    Putting {
        call: Call,
        file_url: Option<String>,
    },
    PuttingParts {
        parts: Parts,
    },
    /// `may_be_done`: an earlier attempt may have succeeded without an answer.
    Completing {
        call: Call,
        may_be_done: bool,
    },
    Over,
}

impl Upload {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError::Option`] when the content type cannot stand in a header, when the lifecycle is not one,
    /// without a route, and for a part size or number of parts at a time out of range.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        config: Config,
    ) -> Result<Self, InputError> {
        config.check()?;
        let lifecycle = config.lifecycle_headers()?;
        let label = Label::new(config.file_name.clone(), &config.content_type, lifecycle)?;
        let mut upload = Self::rest(now, seed, settings, config, label);
        upload.begin_route(now)?;
        Ok(upload)
    }

    /// Goes on with an upload that another machine began: only the parts that are missing are sent. Name,
    /// media type, route and part size are those of the state; the body must be the same content.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`InputError::Option`] when the body has another length than the upload, or
    /// the state has an address that may not be used.
    pub fn resume(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        mut config: Config,
        stored: UploadState,
    ) -> Result<Self, InputError> {
        config.routes = vec![stored.route()];
        config.check()?;
        if config.body.len() != stored.plan().total() {
            let problem = format_args!(
                "it is about a file of {} bytes, and this one has {}",
                stored.plan().total(),
                config.body.len()
            );
            return Err(InputError::option("upload state", problem));
        }
        dialect::check_target(&settings.hosts, &stored)?;
        let name = stored.file_name().to_owned();
        let label = Label::new(name, stored.content_type(), http::HeaderMap::new())?;
        let mut upload = Self::rest(now, seed, settings, config, label);
        upload.stored = Some(stored);
        upload.begin_route(now)?;
        Ok(upload)
    }

    fn rest(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        mut config: Config,
        label: Label,
    ) -> Self {
        let token = config.token.take();
        Self {
            settings: Arc::clone(settings),
            config,
            label,
            began: now,
            at: 0,
            is_token_old: token.is_some(),
            token,
            stored: None,
            seeds: SplitMix64::new(seed),
            ids: Ids::default(),
            out: Out::new(),
            state: State::Over,
        }
    }

    /// What another machine needs to go on from here, if this upload goes in parts and they have a place.
    /// It stays after an end without success, and after [`handle_cancel`](Self::handle_cancel).
    #[must_use]
    pub const fn state(&self) -> Option<&UploadState> {
        self.stored.as_ref()
    }

    /// The token of the CDN that this machine used, for the next one. `None` if it is known to be no good.
    #[must_use]
    pub const fn token(&self) -> Option<&CdnToken> {
        self.token.as_ref()
    }

    /// So many bytes of this exchange's body have gone out. Its time limit starts anew.
    pub fn handle_progress(&mut self, now: Instant, id: ExchangeId, bytes: u64) {
        let total = self.config.body.len();
        let sent = match &mut self.state {
            State::Putting { call, .. } if call.is_asking(id) => {
                call.touch(now);
                Some(bytes)
            }
            State::PuttingParts { parts } => {
                let done = self.stored.as_ref().map_or(0, UploadState::bytes_done);
                parts.handle_progress(now, id, bytes).map(|open| done.saturating_add(open))
            }
            _ => None,
        };
        if let Some(bytes) = sent {
            self.out.push_back(Output::Event(Event::Sent { bytes, total }));
        }
    }

    /// An answer arrived.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        let (ids, out) = (&mut self.ids, &mut self.out);
        let settled = match &mut self.state {
            State::Over => return,
            State::PuttingParts { parts } => {
                let settled = parts.handle_response(now, ids, id, response, out);
                return self.settle_part(now, settled);
            }
            State::Completing { call, may_be_done } => {
                *may_be_done |= call.is_asking(id) && response.status().is_server_error();
                call.handle_response(now, ids, id, response, out)
            }
            State::Authorizing { call }
            | State::Initiating { call, .. }
            | State::Putting { call, .. } => call.handle_response(now, ids, id, response, out),
        };
        self.settle(now, settled);
    }

    /// An exchange ended without an answer.
    pub fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        let (ids, out) = (&mut self.ids, &mut self.out);
        let settled = match &mut self.state {
            State::Over => return,
            State::PuttingParts { parts } => {
                let settled = parts.handle_failure(now, ids, id, failure, out);
                return self.settle_part(now, settled);
            }
            State::Completing { call, may_be_done } => {
                *may_be_done |= call.is_asking(id) && failure.sent == Sent::Maybe;
                call.handle_failure(now, ids, id, failure, out)
            }
            State::Authorizing { call }
            | State::Initiating { call, .. }
            | State::Putting { call, .. } => call.handle_failure(now, ids, id, failure, out),
        };
        self.settle(now, settled);
    }

    /// An instant that the machine waited for has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.state, State::Over) {
            return;
        }
        if is_due(self.config.deadline, now) {
            let aftermath = Aftermath::NothingSubmitted;
            self.abort();
            return self.finish(Err(ErrorKind::Deadline { aftermath }.into()));
        }
        let (ids, out) = (&mut self.ids, &mut self.out);
        let settled = match &mut self.state {
            State::Over => None,
            State::PuttingParts { parts } => match parts.handle_timeout(now, ids, out) {
                Ok(()) => None,
                Err(error) => Some(Err(error)),
            },
            State::Completing { call, may_be_done } => {
                *may_be_done |= call.in_flight().is_some() && is_due(call.until(), now);
                call.handle_timeout(now, ids, out)
            }
            State::Authorizing { call }
            | State::Initiating { call, .. }
            | State::Putting { call, .. } => call.handle_timeout(now, ids, out),
        };
        self.settle(now, settled);
    }

    /// The caller wants no more of it now: everything under way is given up, and it ends as
    /// [`ErrorKind::Cancelled`]. [`state`](Self::state) has what it takes to go on later.
    pub fn handle_cancel(&mut self, _now: Instant) {
        if !matches!(self.state, State::Over) {
            let aftermath = Aftermath::NothingSubmitted;
            self.abort();
            self.finish(Err(ErrorKind::Cancelled { aftermath }.into()));
        }
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<Event, Uploaded> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        match self.state {
            State::Authorizing { .. } => "Authorizing",
            State::Initiating { .. } => "Initiating",
            State::Putting { .. } => "Putting",
            State::PuttingParts { .. } => "PuttingParts",
            State::Completing { .. } => "Completing",
            State::Over => "Over",
        }
    }

    /// How many exchanges may be open in this state.
    #[cfg(test)]
    pub(crate) const fn open_max(&self) -> usize {
        match self.state {
            State::PuttingParts { .. } => self.config.parallel,
            _ => 1,
        }
    }

    fn until(&self) -> Option<Instant> {
        let next = match &self.state {
            State::Over => return None,
            State::PuttingParts { parts } => parts.until(),
            State::Authorizing { call }
            | State::Initiating { call, .. }
            | State::Putting { call, .. }
            | State::Completing { call, .. } => call.until(),
        };
        earliest(next, self.config.deadline)
    }

    /// The time of day, if the caller told it at the start.
    fn wall(&self, now: Instant) -> Option<SystemTime> {
        self.config.wall?.checked_add(now.saturating_duration_since(self.began))
    }

    fn route(&self) -> Route {
        self.config.routes.get(self.at).copied().unwrap_or(Route::Initiate)
    }

    /// Whether the file is too long to go in one piece by the current route.
    fn is_long(&self) -> bool {
        let over = self.config.multipart_over.unwrap_or_else(|| self.route().multipart_over());
        self.config.body.len() > over
    }

    fn has_fresh_token(&self, now: Instant) -> bool {
        let wall = self.wall(now);
        self.token.as_ref().zip(wall).is_some_and(|(token, wall)| token.is_fresh(wall))
    }

    /// Begins the current route, or goes on with what is stored.
    fn begin_route(&mut self, now: Instant) -> Result<(), InputError> {
        let is_cdn = self.route() == Route::Cdn;
        if is_cdn && !self.has_fresh_token(now) {
            let call = self.call(now, Purpose::Initiate, dialect::token(&self.settings)?);
            self.state = State::Authorizing { call };
            return Ok(());
        }
        if self.stored.is_some() {
            self.state = State::PuttingParts { parts: Parts::new() };
            return self.fill(now);
        }
        if is_cdn { self.post(now) } else { self.initiate(now) }
    }

    fn initiate(&mut self, now: Instant) -> Result<(), InputError> {
        let in_parts = self.is_long();
        let request = dialect::initiate(&self.settings, self.route(), &self.label, in_parts)?;
        let call = self.call(now, Purpose::Initiate, request);
        self.state = State::Initiating { call, in_parts };
        Ok(())
    }

    /// The first request to the CDN: the content itself, or the wish to send parts.
    fn post(&mut self, now: Instant) -> Result<(), InputError> {
        let in_parts = self.is_long();
        let whole = (!in_parts).then(|| self.config.body.clone());
        let token = self.token.as_ref().ok_or_else(dialect::no_token)?;
        let request = dialect::cdn_post(&self.settings, token, &self.label, whole)?;
        self.state = if in_parts {
            State::Initiating { call: self.call(now, Purpose::Initiate, request), in_parts }
        } else {
            State::Putting { call: self.call(now, Purpose::Put, request), file_url: None }
        };
        Ok(())
    }

    /// A call that has begun.
    fn call(&mut self, now: Instant, purpose: Purpose, request: Request) -> Call {
        let seed = self.seeds.next_u64();
        let mut call = Call::new(&self.settings, purpose, request, seed, self.config.deadline);
        call.start(now, &mut self.ids, &mut self.out);
        call
    }

    fn settle(&mut self, now: Instant, settled: Option<Settled>) {
        let Some(settled) = settled else { return };
        let next = match (settled, std::mem::replace(&mut self.state, State::Over)) {
            (Err(error), State::Completing { may_be_done: true, .. })
                if error.status() == Some(StatusCode::NOT_FOUND) =>
            {
                // The store forgets an upload when it is complete: the attempt without an answer was it.
                self.succeed_in_parts();
                Ok(())
            }
            (Err(error), state) => {
                self.state = state;
                Err(error)
            }
            (Ok(response), State::Authorizing { .. }) => self.authorized(now, &response),
            (Ok(response), State::Initiating { in_parts, .. }) => {
                self.initiated(now, in_parts, &response)
            }
            (Ok(_), State::Putting { file_url: Some(url), .. }) => {
                self.succeed(url, 0);
                Ok(())
            }
            (Ok(response), State::Putting { file_url: None, .. }) => {
                let url = dialect::read_access(response.body());
                url.map(|url| self.succeed(url, 0)).map_err(Error::from)
            }
            (Ok(_), State::Completing { .. }) => {
                self.succeed_in_parts();
                Ok(())
            }
            (Ok(_), State::PuttingParts { .. } | State::Over) => Ok(()),
        };
        if let Err(error) = next {
            self.fail(now, error);
        }
    }

    /// A token is at hand: what was to be done with it begins.
    fn authorized(&mut self, now: Instant, response: &Response) -> Result<(), Error> {
        self.token = Some(CdnToken::parse(response.body())?);
        self.is_token_old = false;
        if self.stored.is_some() {
            self.state = State::PuttingParts { parts: Parts::new() };
            return Ok(self.fill(now)?);
        }
        Ok(self.post(now)?)
    }

    /// The upload has a place: the content goes there.
    fn initiated(
        &mut self,
        now: Instant,
        in_parts: bool,
        response: &Response,
    ) -> Result<(), Error> {
        let hosts = &self.settings.hosts;
        let (addresses, upload_id) = match (self.route(), &self.token) {
            (Route::Cdn, Some(token)) => dialect::read_created(hosts, token, response.body())?,
            _ => (dialect::read_initiated(hosts, response.body())?, None),
        };
        if !in_parts {
            let body = self.config.body.clone();
            let request = dialect::put(&self.settings, &self.label, addresses.target, body);
            let call = self.call(now, Purpose::Put, request);
            self.state = State::Putting { call, file_url: Some(addresses.file_url) };
            return Ok(());
        }
        let plan = Plan::new(self.config.body.len(), self.config.part_bytes)?;
        let stored = UploadState::new(self.route(), &self.label, plan, addresses, upload_id);
        self.stored = Some(stored);
        self.state = State::PuttingParts { parts: Parts::new() };
        Ok(self.fill(now)?)
    }

    fn settle_part(&mut self, now: Instant, settled: Option<(What, Settled)>) {
        let Some((what, settled)) = settled else { return };
        let next = settled.and_then(|response| self.part_settled(now, what, &response));
        if let Err(error) = next {
            self.fail(now, error);
        }
    }

    fn part_settled(&mut self, now: Instant, what: What, response: &Response) -> Result<(), Error> {
        let Some(stored) = &mut self.stored else { return Ok(()) };
        match what {
            What::Renewal => {
                self.token = Some(CdnToken::parse(response.body())?);
                self.is_token_old = false;
            }
            What::Opening(number) => {
                let target = dialect::read_part_address(&self.settings.hosts, response.body())?;
                let body = parts::slice(&self.config.body, stored.plan().range(number));
                let request = dialect::put_part(&self.settings, target, body);
                self.push(now, What::Putting(number), Purpose::Put, request);
            }
            What::Putting(number) => {
                stored.put(number, dialect::read_etag(stored.route(), response)?);
                let (done, parts) = (stored.parts_done(), stored.plan().parts());
                self.out.push_back(Output::Event(Event::PartDone { number, done, parts }));
            }
        }
        Ok(self.fill(now)?)
    }

    /// Sends as many parts as may go at once; when all have arrived, puts them together.
    fn fill(&mut self, now: Instant) -> Result<(), InputError> {
        loop {
            let State::PuttingParts { parts } = &self.state else { return Ok(()) };
            let Some(stored) = &self.stored else { return Ok(()) };
            let missing = stored.next_missing(parts.next());
            let is_full = parts.len() >= self.config.parallel || parts.is_renewing();
            let Some(number) = missing.filter(|_| !is_full) else { break };
            if stored.route() == Route::Cdn && self.is_renewal_due(now, parts) {
                let request = dialect::token(&self.settings)?;
                self.push(now, What::Renewal, Purpose::Initiate, request);
                continue;
            }
            let body = parts::slice(&self.config.body, stored.plan().range(number));
            let token = self.token.as_ref();
            let request = dialect::part(&self.settings, token, &self.label, stored, number, body)?;
            match stored.route() {
                Route::Gcs => self.push(now, What::Opening(number), Purpose::Initiate, request),
                _ => self.push(now, What::Putting(number), Purpose::Put, request),
            }
        }
        let is_all_there = matches!(&self.state, State::PuttingParts { parts } if parts.is_empty());
        if let Some(stored) = self.stored.as_ref().filter(|_| is_all_there) {
            let request = dialect::complete(&self.settings, self.token.as_ref(), stored)?;
            let call = self.call(now, Purpose::Complete, request);
            self.state = State::Completing { call, may_be_done: false };
        }
        Ok(())
    }

    fn push(&mut self, now: Instant, what: What, purpose: Purpose, request: Request) {
        let call = self.call(now, purpose, request);
        if let State::PuttingParts { parts } = &mut self.state {
            parts.push(now, what, call);
        }
    }

    /// Whether the token is about to end. One that was new a moment ago is not asked for again, however
    /// short its life is.
    fn is_renewal_due(&self, now: Instant, parts: &Parts) -> bool {
        let is_recent = |since: Instant| now.saturating_duration_since(since) < TOKEN_MARGIN;
        self.config.wall.is_some()
            && !self.has_fresh_token(now)
            && !is_recent(parts.renewed().unwrap_or(self.began))
    }

    fn succeed_in_parts(&mut self) {
        if let Some(stored) = self.stored.take() {
            self.succeed(stored.file_url().to_owned(), stored.plan().parts());
        }
    }

    fn succeed(&mut self, url: String, parts: u32) {
        let route = self.route();
        self.finish(Ok(Uploaded { url, route, parts }));
    }

    /// The current route has failed: asks for another token, takes the next route, or ends.
    fn fail(&mut self, now: Instant, error: Error) {
        self.abort();
        let is_refused =
            matches!(error.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN));
        let mut next = None;
        if self.route() == Route::Cdn && is_refused && self.token.take().is_some() {
            // A token that was kept may have been revoked; a new one that is refused is the answer.
            next = std::mem::take(&mut self.is_token_old).then_some(self.at);
        }
        let following = self.config.routes.get(self.at + 1).copied();
        if let Some(following) =
            following.filter(|_| next.is_none() && is_of_the_route(error.kind()))
        {
            let (route, cause) = (self.route(), error.kind().clone());
            self.out.push_back(Output::Event(Event::RouteFailed { route, next: following, cause }));
            self.stored = None;
            next = Some(self.at + 1);
        }
        match next {
            None => self.finish(Err(error)),
            Some(at) => {
                self.at = at;
                if let Err(error) = self.begin_route(now) {
                    self.finish(Err(error.into()));
                }
            }
        }
    }

    /// Gives up all that is open.
    fn abort(&mut self) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => {}
            State::PuttingParts { mut parts } => {
                self.out.extend(parts.stop().map(|id| Output::Abort { id }));
            }
            State::Authorizing { mut call }
            | State::Initiating { mut call, .. }
            | State::Putting { mut call, .. }
            | State::Completing { mut call, .. } => {
                self.out.extend(call.stop().map(|id| Output::Abort { id }));
            }
        }
    }

    fn finish(&mut self, result: Result<Uploaded, Error>) {
        self.state = State::Over;
        self.out.push_back(Output::Done(result));
    }
}

/// Whether another route may do better: not where the caller is at fault, or the content cannot be read.
fn is_of_the_route(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::Api(_) | ErrorKind::Protocol(_) => true,
        ErrorKind::Transport(failure) => failure.kind != FailureKind::Source,
        _ => false,
    }
}
