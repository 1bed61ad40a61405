//! Recording: what is sent to the real service, what it may cost, and what is kept of it.

mod budget;
mod job;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::cassette::{Answered, Asked, Content, Encoded, Entry, Handle, Store};
use crate::model::Catalog;

pub(crate) use budget::{Budget, Refusal};
pub(crate) use job::Trace;

/// How the real service is recorded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Where recordings are kept.
    pub dir: PathBuf,
    /// Where the service is, if not at its own names: its hosts stand below this address as first segment of the path,
    /// as they do below a mock.
    pub upstream: Option<String>,
    /// Calls that cost money, at most: submits, runs and model streams. Default: [`RECORD_CALLS_MAX`].
    pub calls_max: u64,
    /// What they may cost together, in US dollars. Default: no limit.
    pub cost_max: Option<f64>,
}

impl Record {
    /// Recordings of the real service, kept in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), upstream: None, calls_max: RECORD_CALLS_MAX, cost_max: None }
    }

    /// Sets where the service is.
    #[must_use]
    pub fn upstream(mut self, base: impl Into<String>) -> Self {
        self.upstream = Some(base.into());
        self
    }

    /// Sets how many calls may cost money.
    #[must_use]
    pub const fn calls_max(mut self, calls: u64) -> Self {
        self.calls_max = calls;
        self
    }

    /// Sets what they may cost together, in US dollars.
    ///
    /// A call is counted with one unit of its price before it is sent, and with its `x-fal-billable-units` once they are
    /// told. Prices come from [`Builder::prices`](crate::Builder::prices), else from the platform API, asked with the key of
    /// the caller; a call whose price nobody knows counts as [`RECORD_UNKNOWN_COST`].
    #[must_use]
    pub const fn cost_max(mut self, usd: f64) -> Self {
        self.cost_max = Some(usd);
        self
    }
}

/// What a recording has come to.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Recorded {
    /// Calls that may have cost money.
    pub calls: u64,
    /// What they cost by what is known, in US dollars; 0 where no limit asks for it.
    pub cost: f64,
    /// Calls that were refused because of a limit.
    pub refused: u64,
    /// Entries that were written.
    pub entries: u64,
    /// What could not be written, the first few.
    pub problems: Vec<String>,
}

/// A recording that is being made.
pub(crate) struct Recorder {
    upstream: Option<String>,
    has_cost_max: bool,
    state: Mutex<State>,
    /// Wakes who waits for a problem.
    noted: Arc<Notify>,
}

struct State {
    store: Store,
    budget: Budget,
    jobs: BTreeMap<String, Tracked>,
    entries: u64,
    problems: Vec<String>,
    noted: Arc<Notify>,
}

/// A queued request whose end is awaited.
struct Tracked {
    endpoint: String,
    handle: Handle,
    trace: Trace,
    age: u64,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl Recorder {
    /// # Errors
    /// `InvalidData`, when the directory cannot be used, or the address of the service cannot.
    pub(crate) fn start(record: &Record, prices: &Catalog) -> io::Result<Self> {
        let upstream = match &record.upstream {
            None => None,
            Some(base) => {
                let is_base = base.parse::<http::Uri>().is_ok_and(|uri| {
                    uri.authority().is_some()
                        && matches!(uri.scheme_str(), Some("http" | "https"))
                        && uri.query().is_none()
                });
                if !is_base {
                    let why = "the upstream of a recording must be an address such as http://127.0.0.1:8787";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                Some(base.trim_end_matches('/').to_owned())
            }
        };
        let noted = Arc::new(Notify::new());
        let state = State {
            store: Store::open(&record.dir)?,
            budget: Budget::new(record.calls_max, record.cost_max, prices),
            jobs: BTreeMap::new(),
            entries: 0,
            problems: Vec::new(),
            noted: Arc::clone(&noted),
        };
        let has_cost_max = record.cost_max.is_some();
        Ok(Self { upstream, has_cost_max, state: Mutex::new(state), noted })
    }

    /// Where the service is, without a slash at the end; `None` at its own names.
    pub(crate) fn upstream(&self) -> Option<&str> {
        self.upstream.as_deref()
    }

    pub(crate) fn recorded(&self) -> Recorded {
        let state = self.lock();
        Recorded {
            calls: state.budget.calls(),
            cost: state.budget.cost(),
            refused: state.budget.refused(),
            entries: state.entries,
            problems: state.problems.clone(),
        }
    }

    /// The first thing that could not be written, once there is one.
    pub(crate) async fn problem(&self) -> String {
        loop {
            let noted = self.noted.notified();
            if let Some(first) = self.recorded().problems.into_iter().next() {
                return first;
            }
            noted.await;
        }
    }

    /// Whether the price of an endpoint has to be asked for.
    pub(crate) fn wants_price(&self, endpoint: &str) -> bool {
        self.has_cost_max && !self.lock().budget.knows(endpoint)
    }

    /// Takes what one unit of an endpoint costs; `None` if nobody can say.
    pub(crate) fn priced(&self, endpoint: &str, usd: Option<f64>) {
        self.lock().budget.priced(endpoint, usd);
    }

    /// Counts a call that costs money, before it is sent.
    pub(crate) fn admit(&self, endpoint: &str) -> Result<(), Refusal> {
        self.lock().budget.admit(endpoint)
    }

    /// Takes back a call of which nothing was sent.
    pub(crate) fn unsent(&self, endpoint: &str) {
        self.lock().budget.unsent(endpoint);
    }

    /// Takes how many units a call has come to.
    pub(crate) fn billed(&self, endpoint: &str, units: f64) {
        self.lock().budget.billed(endpoint, units);
    }

    /// Keeps a body. What cannot be written is a problem of the recording, not of the caller.
    pub(crate) fn keep(&self, encoded: Encoded) -> Option<Content> {
        let mut state = self.lock();
        match state.store.keep(encoded) {
            Ok(content) => Some(content),
            Err(error) => {
                state.note(&error);
                None
            }
        }
    }

    /// Keeps what stands at an address of the service.
    pub(crate) fn keep_file(&self, url: &str, content_type: &str, bytes: Bytes) {
        let mut state = self.lock();
        if let Err(error) = state.store.keep_file(url, content_type, bytes) {
            state.note(&error);
        }
    }

    /// Whether what stands at an address has been kept, now or by an earlier run.
    pub(crate) fn has_file(&self, url: &str) -> bool {
        self.lock().store.index().files.contains_key(url)
    }

    /// Keeps a request and its answer.
    pub(crate) fn add(&self, endpoint: &str, request: Asked, response: Answered) {
        let host = request.host.clone();
        self.lock().add(&host, endpoint, Entry { request, response, job: None });
    }

    /// Keeps a submit. What becomes of it is added by [`Self::follow`].
    pub(crate) fn add_job(
        &self,
        endpoint: &str,
        id: &str,
        request: Asked,
        response: Answered,
        trace: Trace,
    ) {
        let mut state = self.lock();
        let host = request.host.clone();
        let entry = Entry { request, response, job: Some(trace.job().clone()) };
        let handle = state.add(&host, endpoint, entry);
        let age = state.entries;
        state
            .jobs
            .insert(id.to_owned(), Tracked { endpoint: endpoint.to_owned(), handle, trace, age });
        if state.jobs.len() > JOBS_MAX {
            let oldest = state.jobs.iter().min_by_key(|(_, tracked)| tracked.age);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                state.jobs.remove(&id);
            }
        }
    }

    /// Shows something to the trace of a job; writes it if that was worth it. `None` for jobs of before.
    pub(crate) fn follow(&self, id: &str, see: impl FnOnce(&mut Trace) -> bool) -> Option<()> {
        let mut state = self.lock();
        let State { jobs, store, .. } = &mut *state;
        let tracked = jobs.get_mut(id)?;
        if see(&mut tracked.trace) {
            let job = tracked.trace.job().clone();
            if let Err(error) = store.change(&tracked.handle, |entry| entry.job = Some(job)) {
                state.note(&error);
            }
        }
        Some(())
    }

    /// The endpoint of a job that is followed.
    pub(crate) fn endpoint_of(&self, id: &str) -> Option<String> {
        self.lock().jobs.get(id).map(|tracked| tracked.endpoint.clone())
    }

    pub(crate) fn is_followed(&self, id: &str) -> bool {
        self.lock().jobs.contains_key(id)
    }

    /// Something else could not be recorded.
    pub(crate) fn note(&self, problem: &dyn fmt::Display) {
        self.lock().note(problem);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, host: &str, endpoint: &str, entry: Entry) -> Handle {
        let (handle, written) = self.store.add(host, endpoint, entry);
        match written {
            Ok(()) => self.entries += 1,
            Err(error) => self.note(&error),
        }
        handle
    }

    fn note(&mut self, problem: &dyn fmt::Display) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.to_string());
            self.noted.notify_waiters();
        }
    }
}

/// Calls that cost money, unless said otherwise.
pub const RECORD_CALLS_MAX: u64 = 25;

/// What a call counts whose price nobody knows: 1 US dollar.
pub const RECORD_UNKNOWN_COST: f64 = 1.0;

/// Queued requests that are followed at once; the oldest is not followed any more.
const JOBS_MAX: usize = 10_000;

/// Problems that are remembered.
const PROBLEMS_MAX: usize = 20;
