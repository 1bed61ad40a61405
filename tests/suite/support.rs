//! What several files of the suite need.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

pub(crate) mod raw;
pub(crate) mod socket;

use std::time::{Duration, Instant};

use fal_client::{Builder, Client, Event, RetryPolicy};

/// Waits until something is so. Looks often and gives up late: a busy machine is no failure.
#[track_caller]
pub(crate) fn eventually<'a>(
    what: &'a str,
    mut is_so: impl FnMut() -> bool + 'a,
) -> impl Future<Output = ()> + 'a {
    let place = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "never happened: {what}, wanted at {place}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Awaits something that must end. Where it does not, a test fails instead of hanging.
#[track_caller]
pub(crate) fn in_time<T>(work: impl IntoFuture<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    let work = tokio::time::timeout(PATIENCE, work.into_future());
    async move { work.await.unwrap_or_else(|_| panic!("this did not end: {place}")) }
}

/// A client of a server on this machine that repeats as it always would, but without long rests.
pub(crate) fn builder(url: &str) -> Builder {
    let (base, max) = (Duration::from_millis(1), Duration::from_millis(5));
    Client::builder().base_url(url).key(KEY).retry(RetryPolicy::default().with_backoff(base, max))
}

pub(crate) fn client(url: &str) -> Client {
    builder(url).build().expect("key and address are well-formed")
}

/// The kind of an event, for comparisons of their order.
pub(crate) fn name(event: &Event) -> &'static str {
    match event {
        Event::Uploading { .. } => "uploading",
        Event::Uploaded { .. } => "uploaded",
        Event::Submitted(_) => "submitted",
        Event::Queued { .. } => "queued",
        Event::Started => "started",
        Event::Log(_) => "log",
        Event::UnknownStatus(_) => "unknown status",
        Event::Completed(_) => "completed",
        Event::NotReady => "not ready",
        Event::Retrying { .. } => "retrying",
        _ => "other",
    }
}

/// Of the form of a real key, with a second half that must never show.
pub(crate) const KEY: &str = "key-id:very-secret";
pub(crate) const FLUX: &str = "fal-ai/flux/dev";

/// Longer than anything here takes, even where two cores serve a whole team.
const PATIENCE: Duration = Duration::from_secs(20);
