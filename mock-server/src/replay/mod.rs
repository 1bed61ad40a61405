//! Replay: a service that answers from recordings, as pure as the model.
//!
//! Its contract is that of [`Model`](crate::model::Model): call one `handle_*`, then drain `poll_output`. What it does not
//! [take](Player::takes) is the model's: uploads, tokens, and what no recording has of the platform API.

mod ask;
mod job;
mod library;
mod matching;
mod play;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fal_protocol::rand::SplitMix64;
use http::Method;

use crate::model::{Config, Door, Host, Output, Request, RequestId, Response};

use job::Job;
pub(crate) use library::Library;

/// How recordings are replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay {
    /// Where the recordings are.
    pub dir: PathBuf,
    /// Which of them answers.
    pub matching: ReplayMatch,
    /// When it does.
    pub timing: ReplayTiming,
}

impl Replay {
    /// The recordings in `dir`, as they were recorded.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), matching: ReplayMatch::default(), timing: ReplayTiming::default() }
    }

    /// Sets which recording answers.
    #[must_use]
    pub const fn matching(mut self, matching: ReplayMatch) -> Self {
        self.matching = matching;
        self
    }

    /// Sets when it answers.
    #[must_use]
    pub const fn timing(mut self, timing: ReplayTiming) -> Self {
        self.timing = timing;
        self
    }
}

/// Which recording answers a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayMatch {
    /// One of the same method, host, path, query and body. Addresses of files are compared by their endings, since every
    /// upload has a new one; order and white space of JSON do not count, nor do headers.
    #[default]
    Strict,
    /// The one of the same method, host and path from which the fewest fields differ.
    Nearest,
}

/// When a recording answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayTiming {
    /// After the time that the real service took, by the clock of the tenant.
    #[default]
    Recorded,
    /// At once: jobs are over when they have been submitted.
    Instant,
}

/// A word of `--replay-match` or `--replay-timing` that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseReplayError(&'static str);

impl fmt::Display for ParseReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "give {}", self.0)
    }
}

impl std::error::Error for ParseReplayError {}

impl FromStr for ReplayMatch {
    type Err = ParseReplayError;

    fn from_str(text: &str) -> Result<Self, ParseReplayError> {
        match text {
            "strict" => Ok(Self::Strict),
            "nearest" => Ok(Self::Nearest),
            _ => Err(ParseReplayError("strict or nearest")),
        }
    }
}

impl FromStr for ReplayTiming {
    type Err = ParseReplayError;

    fn from_str(text: &str) -> Result<Self, ParseReplayError> {
        match text {
            "recorded" => Ok(Self::Recorded),
            "instant" => Ok(Self::Instant),
            _ => Err(ParseReplayError("recorded or instant")),
        }
    }
}

/// What is replayed, as a part of [`Config`].
#[derive(Clone, Debug)]
pub(crate) struct Recordings {
    pub(crate) library: Arc<Library>,
    pub(crate) matching: ReplayMatch,
    pub(crate) timing: ReplayTiming,
}

/// A service that answers from recordings.
#[derive(Debug)]
pub(crate) struct Player {
    library: Arc<Library>,
    matching: ReplayMatch,
    timing: ReplayTiming,
    config: Config,
    /// The latest instant that anybody has named.
    now: Instant,
    ids: SplitMix64,
    /// How many answers of each group of equal requests have been given.
    given: HashMap<usize, usize>,
    jobs: BTreeMap<RequestId, Job>,
    /// Jobs, the oldest first.
    order: VecDeque<RequestId>,
    open: BTreeMap<u64, Open>,
    /// When exchanges go on.
    due: BTreeSet<(Instant, u64)>,
    /// When the status of each job next changes.
    turns: BTreeSet<(Instant, RequestId)>,
    out: VecDeque<Output>,
    news: VecDeque<News>,
}

/// The end of a job that its caller wants to hear of.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) id: RequestId,
    pub(crate) url: Box<str>,
    pub(crate) response: Response,
}

/// An exchange that waits.
#[derive(Debug)]
enum Open {
    /// For its answer.
    Late(Box<Response>),
    /// For the next piece of a recorded stream.
    Chunks { entry: usize, next: usize, since: Instant, id: RequestId, door: Door<'static> },
    /// For the next status of a job.
    Watch(Watch),
}

/// An open status stream.
#[derive(Debug)]
struct Watch {
    job: RequestId,
    wants_logs: bool,
    door: Door<'static>,
    told: Option<(String, Option<u64>)>,
    lines: usize,
    last: Instant,
}

impl Player {
    /// For a tenant that starts now, if it replays anything.
    pub(crate) fn of(config: &Config, now: Instant) -> Option<Self> {
        let recordings = config.recordings.as_ref()?;
        Some(Self {
            library: Arc::clone(&recordings.library),
            matching: recordings.matching,
            timing: recordings.timing,
            config: config.clone(),
            now,
            // Apart from the ids of the model, whose answers the same tenant may get.
            ids: SplitMix64::new(config.seed ^ IDS_SALT),
            given: HashMap::new(),
            jobs: BTreeMap::new(),
            order: VecDeque::new(),
            open: BTreeMap::new(),
            due: BTreeSet::new(),
            turns: BTreeSet::new(),
            out: VecDeque::new(),
            news: VecDeque::new(),
        })
    }

    /// A copy with the same jobs and the same answers given, without what is open.
    pub(crate) fn snapshot(&self) -> Self {
        Self {
            library: Arc::clone(&self.library),
            config: self.config.clone(),
            ids: self.ids.clone(),
            given: self.given.clone(),
            jobs: self.jobs.clone(),
            order: self.order.clone(),
            turns: self.turns.clone(),
            open: BTreeMap::new(),
            due: BTreeSet::new(),
            out: VecDeque::new(),
            news: VecDeque::new(),
            ..*self
        }
    }

    /// Whether a request is answered from recordings, or refused because there is none.
    pub(crate) fn takes(&self, request: &Request<'_>) -> bool {
        match request.host {
            Host::Queue | Host::Run | Host::Ws => true,
            Host::Cdn | Host::Gcs => {
                let is_read = matches!(*request.method, Method::GET | Method::HEAD);
                is_read && self.library.file(request.host, request.path).is_some()
            }
            Host::Api | Host::Site => {
                self.library.has_target(request.method, request.host, request.path)
            }
            Host::Rest => false,
        }
    }

    /// The peer of an exchange has gone away.
    pub(crate) fn handle_gone(&mut self, now: Instant, id: u64) {
        self.advance(now);
        self.open.remove(&id);
        self.due.retain(|(_, exchange)| *exchange != id);
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// What to do next; `None` when drained.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// The next end that somebody wants to hear of.
    pub(crate) fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty() || !self.news.is_empty()
    }

    /// The next instant at which something happens by itself.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let exchange = self.due.first().map(|(at, _)| *at);
        exchange.into_iter().chain(self.turns.first().map(|(at, _)| *at)).min()
    }

    /// The same without what only shows that a line is alive.
    pub(crate) fn next_progress(&self) -> Option<Instant> {
        // What a status stream waits for is a turn of its job.
        let is_progress = |exchange| !matches!(self.open.get(exchange), Some(Open::Watch(_)));
        let open = self.due.iter().find(|(_, exchange)| is_progress(exchange)).map(|(at, _)| *at);
        open.into_iter().chain(self.turns.first().map(|(at, _)| *at)).min()
    }

    /// Whether a job has yet to end; `None` if there is none of this id.
    pub(crate) fn is_open(&self, id: RequestId) -> Option<bool> {
        self.jobs.get(&id).map(|job| self.end_of(job) > self.now)
    }

    fn mint(&mut self) -> RequestId {
        RequestId::mint(&mut self.ids)
    }

    /// When something happens that was recorded so long after a moment.
    fn after(&self, since: Instant, ms: u64) -> Instant {
        match self.timing {
            ReplayTiming::Instant => since,
            ReplayTiming::Recorded => {
                let time = Duration::from_millis(ms).min(crate::model::TIME_MAX);
                since.checked_add(time).unwrap_or(since)
            }
        }
    }
}

const IDS_SALT: u64 = 0x5245_504c_4159_4944;
