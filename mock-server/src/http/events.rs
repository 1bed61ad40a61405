//! What happens in the mock, told to those who look on.
//!
//! A listener is a place in one shared [`Ring`] and a waker: no task, no timer, no buffer of its own. The worlds write
//! down what changes only while somebody listens, and for [`LINGER`] after that, so that a connection that broke can be
//! resumed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::ring::{Place, Ring};
use crate::admin;
use crate::model::TenantId;
use crate::world::News;

/// The events, and who waits for them.
#[derive(Debug)]
pub(super) struct Events(Mutex<Hub>);

#[derive(Debug)]
struct Hub {
    ring: Ring,
    /// Who waits, and how to wake them.
    listeners: BTreeMap<u64, Option<Waker>>,
    last_listener: u64,
    /// When the last listener went away.
    alone_since: Option<Instant>,
}

/// Somebody who looks on.
#[derive(Debug)]
pub(crate) struct Listener {
    events: Arc<Events>,
    number: u64,
    place: Place,
}

impl Events {
    pub(super) fn new() -> Arc<Self> {
        // No two starts have the same, so ids of another one are known to be strange.
        let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let run = u64::try_from(run.as_nanos()).unwrap_or_default();
        let ring = Ring::new(run);
        let hub = Hub { ring, listeners: BTreeMap::new(), last_listener: 0, alone_since: None };
        Arc::new(Self(Mutex::new(hub)))
    }

    /// Adds a listener; `None` if there are [`LISTENERS_MAX`].
    pub(super) fn listen(
        self: &Arc<Self>,
        tenant: Option<TenantId>,
        last_id: Option<&str>,
    ) -> Option<Listener> {
        let mut hub = self.lock();
        if hub.listeners.len() >= LISTENERS_MAX {
            return None;
        }
        hub.last_listener += 1;
        hub.alone_since = None;
        let number = hub.last_listener;
        hub.listeners.insert(number, None);
        let place = hub.ring.place(tenant, last_id);
        Some(Listener { events: Arc::clone(self), number, place })
    }

    /// Whether anybody listens, or may come back. Where not, what follows is not to be published.
    pub(super) fn is_needed(&self, real: Instant) -> bool {
        let mut hub = self.lock();
        let is_over = |since: Instant| real.saturating_duration_since(since) > LINGER;
        let is_needed = !hub.listeners.is_empty() || !hub.alone_since.is_none_or(is_over);
        if !is_needed {
            hub.ring.interrupt();
        }
        is_needed
    }

    pub(super) fn publish(&self, news: &News<'_>) {
        let (kind, data) = admin::event(news);
        let mut hub = self.lock();
        // Of a clock that moves on in steps the last one suffices.
        hub.ring.push(news.tenant, kind, &data.to_string(), kind == "clock");
        // Those too whom it is not for: their place moves on, so that it is not overwritten.
        for waker in hub.listeners.values_mut().filter_map(Option::take) {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Hub> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// The next events.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let mut hub = self.events.lock();
        if let Some(bytes) = hub.ring.read(&mut self.place) {
            return Poll::Ready(bytes);
        }
        hub.listeners.insert(self.number, Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut hub = self.events.lock();
        hub.listeners.remove(&self.number);
        if hub.listeners.is_empty() {
            hub.alone_since = Some(tokio::time::Instant::now().into_std());
        }
    }
}

/// Who may look on at once.
pub(crate) const LISTENERS_MAX: usize = 256;

/// How long events are kept for a listener that may come back: 1 minute of real time.
pub(crate) const LINGER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(listener: &mut Listener) -> Option<String> {
        match listener.poll_read(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_went_away_can_come_back_for_a_while() {
        let events = Events::new();
        let now = Instant::now();
        assert!(!events.is_needed(now), "nobody has ever listened");
        let mut listener = events.listen(None, None).unwrap();
        let hello = read(&mut listener).unwrap();
        let id = hello.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
        assert_eq!(read(&mut listener), None);
        let before = tokio::time::Instant::now().into_std();
        drop(listener);
        assert!(events.is_needed(before + LINGER));
        let mut again = events.listen(None, Some(&id)).unwrap();
        assert!(read(&mut again).unwrap().contains("\"resumed\":true"));
        drop(again);
        let later = tokio::time::Instant::now().into_std() + LINGER + Duration::from_millis(1);
        assert!(!events.is_needed(later));
        let mut late = events.listen(None, Some(&id)).unwrap();
        assert!(read(&mut late).unwrap().contains("event: reset"), "events were lost meanwhile");
    }

    #[test]
    fn listeners_are_bounded() {
        let events = Events::new();
        let listeners: Vec<_> = (0..LISTENERS_MAX).map(|_| events.listen(None, None)).collect();
        assert!(listeners.iter().all(Option::is_some) && events.listen(None, None).is_none());
        drop(listeners);
        assert!(events.listen(None, None).is_some());
    }
}
