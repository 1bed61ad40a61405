//! Connections that are not being opened: at rest, or shared.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::config::Config;
use crate::http1::Http1;
use crate::http2::Http2;
use crate::idle::{IdleSet, Limits};
use crate::origin::Origin;

/// The connections of one transport. Locked for a few instructions at a time, never across an await.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    idle_max: std::time::Duration,
}

#[derive(Debug)]
struct State {
    /// HTTP/1: each carries one exchange at a time, so those in use are not here.
    resting: IdleSet<Origin, Box<Http1>>,
    /// HTTP/2: one for each origin, shared by all its exchanges.
    shared: HashMap<Origin, (Instant, Http2)>,
}

/// A connection taken from the pool.
#[derive(Debug)]
pub(crate) enum Pooled {
    Http1(Box<Http1>),
    Http2(Http2),
}

impl Pool {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = Limits {
            per_key_max: config.idle_per_origin_max,
            total_max: config.idle_total_max,
            idle_max: config.idle_timeout,
        };
        let state = State { resting: IdleSet::new(limits), shared: HashMap::new() };
        Self { state: Mutex::new(state), idle_max: config.idle_timeout }
    }

    /// A connection to `origin` that was alive when last seen.
    pub(crate) fn take(&self, origin: &Origin) -> Option<Pooled> {
        let now = Instant::now();
        let mut state = self.lock();
        if origin.https
            && let Some((used_at, http2)) = state.shared.get_mut(origin)
        {
            let is_stale =
                !http2.is_busy() && now.saturating_duration_since(*used_at) >= self.idle_max;
            if !is_stale && !http2.is_closed() {
                *used_at = now;
                return Some(Pooled::Http2(http2.clone()));
            }
            let leaving = state.shared.remove(origin);
            drop(state);
            drop(leaving);
            state = self.lock();
        }
        let (taken, expired) = state.resting.take(now, origin);
        drop(state);
        drop(expired); // Closing sockets takes system calls, so it waits for the lock to be free.
        taken.map(Pooled::Http1)
    }

    /// Lets a connection rest until its origin is asked again.
    pub(crate) fn park(&self, http1: Box<Http1>) {
        let now = Instant::now();
        let origin = http1.origin().clone();
        let leaving = self.lock().resting.park(now, &origin, http1);
        drop(leaving);
    }

    /// Shares a new connection, unless another exchange was faster: then that one is to be used.
    pub(crate) fn share(&self, origin: &Origin, http2: Http2) -> Http2 {
        let now = Instant::now();
        let mut state = self.lock();
        match state.shared.get(origin) {
            Some((_, earlier)) if !earlier.is_closed() => earlier.clone(),
            _ => {
                let leaving = state.shared.insert(origin.clone(), (now, http2.clone()));
                drop(state);
                drop(leaving);
                http2
            }
        }
    }

    /// Stops giving out a shared connection that has proved unusable.
    pub(crate) fn forget(&self, origin: &Origin, http2: &Http2) {
        let mut state = self.lock();
        if state.shared.get(origin).is_some_and(|(_, shared)| shared.is_same(http2)) {
            let leaving = state.shared.remove(origin);
            drop(state);
            drop(leaving);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
