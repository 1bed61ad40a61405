//! The client over a transport of the user's own, in virtual time.
//!
//! No socket takes part: the runtime's paused clock runs ahead of sockets, but not of this transport.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fal_client::transport::{Answer, ChunkStream, Exchange, Source, Transport};
use fal_client::{Aftermath, CancelOutcome, Client, ErrorKind, Event, OnDeadline, RetryPolicy};
use fal_protocol::wire::{Body, Expect, Failure, FailureKind, Request, Sent};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{FLUX, KEY};

#[tokio::test(start_paused = true)]
async fn a_transport_of_ones_own_is_all_it_takes() {
    let fake = Fake::new(|step, _| well(step));
    let mut job = fake.client().subscribe(FLUX).input(json!({ "prompt": "a cat" })).start();
    let mut handle = None;
    while let Some(event) = job.next_event().await {
        if let Event::Submitted(submitted) = event {
            handle = Some(submitted);
        }
    }
    let output = job.await.unwrap();
    assert_eq!(output.handle(), handle.as_ref());
    assert_eq!(output.value().unwrap(), json!({ "seed": 7 }));
    assert_eq!(fake.steps(), ["submit", "stream", "result"]);
    let addresses = fake.sent.lock().unwrap().clone();
    assert_eq!(addresses[0].1, "https://queue.fal.run/fal-ai/flux/dev");
}

#[tokio::test(start_paused = true)]
async fn transport_without_websockets_says_so_at_once() {
    let fake = Fake::new(|step, _| well(step));
    let start = Instant::now();
    let mut session = fake.client().realtime("acme/paint").key_in_header().start().unwrap();
    session.send(&json!({})).await.unwrap();
    let error = session.recv().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("no WebSockets"), "{error}");
    check_time(start, 0.0, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_pieces_is_put_together() {
    let fake = Fake::new(|step, _| match step {
        "stream" => {
            let text = concat!(
                ": ping\n\ndata: {\"status\":\"IN_PROGRESS\",\"logs\":[{\"message\":\"ü\"}]}\n\n",
                "data: {\"status\":\"COMPLETED\"}\n\n"
            );
            let bytes: Vec<_> =
                text.bytes().map(|byte| Ok(Bytes::copy_from_slice(&[byte]))).collect();
            Reply::chunks(stream::iter(bytes).boxed())
        }
        _ => well(step),
    });
    let mut job = fake.client().subscribe(FLUX).start();
    let mut messages = Vec::new();
    while let Some(event) = job.next_event().await {
        if let Event::Log(line) = event {
            messages.push(line.message);
        }
    }
    job.await.unwrap();
    assert_eq!(messages, ["ü".into()]);
    assert_eq!(fake.steps(), ["submit", "stream", "result"]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for() {
    let fake = Fake::new(|step, earlier| match (step, earlier) {
        ("submit", 0) => Reply::of(429, &[("retry-after", "7")], json!({ "detail": "busy" })),
        _ => well(step),
    });
    let rests = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&rests);
    let job = fake.client().subscribe(FLUX).on_update(move |event| {
        if let Event::Retrying { rest, attempt, .. } = event {
            teller.lock().unwrap().push((*attempt, *rest));
        }
    });
    let start = Instant::now();
    job.await.unwrap();
    assert_eq!(*rests.lock().unwrap(), [(1, Duration::from_secs(7))]);
    check_time(start, 7.0, 7.0);
    assert_eq!(fake.count("submit"), 2);
}

#[tokio::test(start_paused = true)]
async fn retry_after_past_the_deadline_is_not_waited_for() {
    let fake = Fake::new(|step, _| match step {
        "submit" => Reply::of(429, &[("retry-after", "30")], json!({ "detail": "busy" })),
        _ => well(step),
    });
    let start = Instant::now();
    let job = fake.client().subscribe(FLUX).deadline(Duration::from_secs(20));
    let error = job.await.unwrap_err();
    // The cause is worth more than the news that a deadline passed, and is told at once.
    assert_eq!(error.status().map(|status| status.as_u16()), Some(429));
    assert!(error.is_retryable());
    check_time(start, 0.0, 0.0);
    assert_eq!(fake.steps(), ["submit"]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_bounded() {
    // The longest wait that is honoured is 5 minutes; what is no number of seconds is no wish at all.
    for (wish, min, max) in
        [("1e9", 300.0, 300.0), ("-5", 0.375, 0.625), ("NaN", 0.375, 0.625), ("soon", 0.375, 0.625)]
    {
        let fake = Fake::new(move |step, earlier| match (step, earlier) {
            ("submit", 0) => Reply::of(429, &[("retry-after", wish)], json!({})),
            _ => well(step),
        });
        let start = Instant::now();
        fake.client().subscribe(FLUX).await.unwrap();
        check_time(start, min, max);
    }
}

#[tokio::test(start_paused = true)]
async fn rests_grow_while_nothing_listens() {
    let fake = Fake::new(|_, _| Reply::failing(refused()));
    let start = Instant::now();
    let error = fake.client().subscribe(FLUX).await.unwrap_err();
    assert!(
        matches!(error.kind(), Some(ErrorKind::Transport(f)) if f.kind == FailureKind::Refused)
    );
    assert!(error.is_retryable(), "nothing was sent: {error:?}");
    // Four attempts at each of the two hosts, with rests of 0.5, 1 and 2 s, give or take a quarter.
    assert_eq!(fake.count("submit"), 8);
    let hosts: Vec<bool> =
        fake.sent.lock().unwrap().iter().map(|(_, uri)| uri.contains("queue.falrun.com")).collect();
    assert_eq!(hosts, [false, true].repeat(4));
    check_time(start, 3.5 * 0.75, 3.5 * 1.25);
}

#[tokio::test(start_paused = true)]
async fn a_submit_of_unknown_fate_is_never_repeated_unasked() {
    let lost = || Reply::failing(Failure::read(FailureKind::Closed, "connection reset"));
    let fake = Fake::new(move |step, earlier| match (step, earlier) {
        ("submit", 0) => lost(),
        _ => well(step),
    });
    let error = fake.client().subscribe(FLUX).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::SubmitUnknown { .. })), "{error:?}");
    assert!(!error.is_retryable());
    assert_eq!(fake.steps(), ["submit"]);

    let policy = RetryPolicy::default().with_repeat_unknown_submits(true);
    let client = fake.builder().retry(policy).build().unwrap();
    fake.sent.lock().unwrap().clear();
    client.subscribe(FLUX).await.unwrap();
    assert_eq!(fake.steps(), ["submit", "submit", "stream", "result"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_ends_with_the_attempt() {
    let fake = Fake::new(|step, _| match step {
        "submit" => well(step).after(Duration::from_secs(3600)),
        _ => well(step),
    });
    let start = Instant::now();
    let error = fake.client().subscribe(FLUX).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::SubmitUnknown { .. })), "{error:?}");
    check_time(start, 60.0, 60.0);
    assert_eq!((fake.steps(), fake.dropped()), (vec!["submit"], 1));
}

#[tokio::test(start_paused = true)]
async fn a_job_accepted_after_the_deadline_is_cancelled_all_the_same() {
    let fake = Fake::new(|step, _| match step {
        "submit" => well(step).after(Duration::from_secs(12)),
        _ => well(step),
    });
    let start = Instant::now();
    let job = fake.client().subscribe(FLUX).deadline(Duration::from_secs(10));
    let error = job.await.unwrap_err();
    assert_eq!(aftermath(&error), &Aftermath::Asked(CancelOutcome::Requested));
    assert_eq!(error.request_id(), Some(JOB));
    assert_eq!(fake.steps(), ["submit", "cancel"]);
    check_time(start, 12.0, 12.0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_waits_only_a_moment_for_the_cancel() {
    let fake = Fake::new(|step, _| match step {
        "stream" => Reply::chunks(stream::pending().boxed()),
        "cancel" => well(step).after(Duration::from_secs(3600)),
        _ => well(step),
    });
    let client = fake.client();
    let start = Instant::now();
    let job = client.subscribe(FLUX).deadline(Duration::from_secs(5));
    let error = job.await.unwrap_err();
    assert!(matches!(aftermath(&error), Aftermath::CancelFailed(_)), "{error:?}");
    check_time(start, 10.0, 10.0);

    let start = Instant::now();
    let job =
        client.subscribe(FLUX).deadline(Duration::from_secs(5)).on_deadline(OnDeadline::Leave);
    assert_eq!(aftermath(&job.await.unwrap_err()), &Aftermath::Left);
    check_time(start, 5.0, 5.0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_speaks_gives_way_to_polling() {
    for stream in [StreamKind::Silent, StreamKind::CommentsOnly] {
        let fake = Fake::new(move |step, _| match (step, stream) {
            ("stream", StreamKind::Silent) => Reply::chunks(stream::pending().boxed()),
            ("stream", StreamKind::CommentsOnly) => {
                let pings = stream::unfold((), |()| async {
                    tokio::time::sleep(Duration::from_secs(4)).await;
                    Some((Ok(Bytes::from_static(b": ping\n\n")), ()))
                });
                Reply::chunks(pings.boxed())
            }
            _ => well(step),
        });
        let start = Instant::now();
        fake.client().subscribe(FLUX).await.unwrap();
        let steps = fake.steps();
        assert_eq!(steps, ["submit", "stream", "stream", "stream", "status", "result"]);
        // 10 s of patience each, with rests of 0.5 and 1 s, give or take a quarter.
        check_time(start, 30.0 + 1.5 * 0.75, 30.0 + 1.5 * 1.25);
    }
}

#[derive(Clone, Copy)]
enum StreamKind {
    Silent,
    CommentsOnly,
}

#[tokio::test(start_paused = true)]
async fn clones_share_one_budget_of_retries() {
    let fake = Fake::new(|_, _| Reply::of(429, &[], json!({ "detail": "busy" })));
    let client = fake.client();
    for _ in 0..60 {
        client.clone().queue(FLUX).unwrap().submit(json!({})).await.unwrap_err();
    }
    // 500 tokens at 5 each: 100 repeats. Without the budget it would be three for each of the 60.
    assert_eq!(fake.count("submit"), 60 + 100);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_drops_its_exchange() {
    let fake = Fake::new(|step, _| match step {
        "result" => well(step).after(Duration::from_secs(3600)),
        _ => well(step),
    });
    let job = fake.client().subscribe(FLUX).into_future();
    let early = tokio::time::timeout(Duration::from_secs(30), job).await;
    assert!(early.is_err(), "the result takes an hour");
    assert_eq!((fake.count("result"), fake.dropped()), (1, 1));
    assert_eq!(fake.count("cancel"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_transport_is_given_the_source_of_an_upload() {
    let fake = Fake::new(|step, _| match step {
        "other" => Reply::of(
            200,
            &[],
            json!({ "file_url": "https://v3.fal.media/x", "upload_url": "https://v3.fal.media/x?s=1" }),
        ),
        _ => well(step),
    });
    let heard = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&heard);
    let upload = fake.client().upload(vec![1; 500]).on_update(move |event| {
        if let Event::Uploading { sent, total, .. } = event {
            teller.lock().unwrap().push((*sent, *total));
        }
    });
    assert_eq!(upload.await.unwrap(), "https://v3.fal.media/x");
    assert_eq!(*heard.lock().unwrap(), [(250, 500), (500, 500)]);
    assert_eq!(fake.uploaded.load(Ordering::SeqCst), 500);
}

/// A transport that does as its script says: the step, and how often it was asked for before.
struct Fake {
    script: Script,
    /// Steps and addresses, in order.
    sent: Mutex<Vec<(&'static str, String)>>,
    dropped: Arc<AtomicUsize>,
    uploaded: AtomicUsize,
}

type Script = Box<dyn Fn(&str, usize) -> Reply + Send + Sync>;

struct Reply {
    after: Duration,
    answer: Result<Answer, Failure>,
}

impl Reply {
    fn of(status: u16, headers: &[(&str, &str)], body: Value) -> Self {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(Bytes::from(body.to_string())).unwrap();
        Self { after: Duration::ZERO, answer: Ok(Answer::Whole(response)) }
    }

    fn chunks(chunks: ChunkStream) -> Self {
        let head = http::Response::builder().header("content-type", "text/event-stream");
        let answer = Ok(Answer::Chunks(head.body(()).unwrap(), chunks));
        Self { after: Duration::ZERO, answer }
    }

    fn failing(failure: Failure) -> Self {
        Self { after: Duration::ZERO, answer: Err(failure) }
    }

    fn after(mut self, time: Duration) -> Self {
        self.after = time;
        self
    }
}

/// A job that goes well.
fn well(step: &str) -> Reply {
    let completed = json!({ "status": "COMPLETED" });
    match step {
        "submit" => Reply::of(200, &[], json!({ "request_id": JOB })),
        "stream" => {
            let event = Bytes::from(format!("data: {completed}\n\n"));
            Reply::chunks(Box::pin(stream::iter([Ok(event)])))
        }
        "status" => Reply::of(200, &[], completed),
        "result" => Reply::of(200, &[], json!({ "seed": 7 })),
        "cancel" => Reply::of(202, &[], json!({ "status": "CANCELLATION_REQUESTED" })),
        _ => Reply::of(200, &[], json!({})),
    }
}

impl Fake {
    fn new(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            sent: Mutex::default(),
            dropped: Arc::default(),
            uploaded: AtomicUsize::new(0),
        })
    }

    fn builder(self: &Arc<Self>) -> fal_client::Builder {
        Client::builder().key(KEY).transport(Arc::<Self>::clone(self))
    }

    fn client(self: &Arc<Self>) -> Client {
        self.builder().build().unwrap()
    }

    fn steps(&self) -> Vec<&'static str> {
        self.sent.lock().unwrap().iter().map(|(step, _)| *step).collect()
    }

    fn count(&self, step: &str) -> usize {
        self.steps().into_iter().filter(|sent| *sent == step).count()
    }

    /// Exchanges that were dropped before their answer.
    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Transport for Fake {
    async fn send(self: Arc<Self>, exchange: Exchange) -> Result<Answer, Failure> {
        let step = step(&exchange.request);
        let reply = {
            let mut sent = self.sent.lock().unwrap();
            let earlier = sent.iter().filter(|(earlier, _)| *earlier == step).count();
            sent.push((step, exchange.request.uri.to_string()));
            (self.script)(step, earlier)
        };
        let whole = matches!(exchange.request.expect, Expect::Whole { .. });
        assert!(whole || step == "stream", "{step} is not to be streamed");
        if let (Some(Source::Bytes(bytes)), Some(on_sent), Body::Source { range }) =
            (&exchange.source, &exchange.on_sent, &exchange.request.body)
        {
            assert_eq!(*range, 0..bytes.len() as u64);
            for part in [2, 1] {
                on_sent(bytes.len() as u64 / part);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            self.uploaded.fetch_add(bytes.len(), Ordering::SeqCst);
        }
        let mut guard = Guard { dropped: Some(Arc::clone(&self.dropped)) };
        tokio::time::sleep(reply.after).await;
        guard.dropped = None;
        reply.answer
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

/// Counts an exchange that ends without its answer.
struct Guard {
    dropped: Option<Arc<AtomicUsize>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(dropped) = &self.dropped {
            dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn step(request: &Request) -> &'static str {
    let path = request.uri.path();
    match request.method.as_str() {
        "POST" if request.uri.host().is_some_and(|host| host.starts_with("queue.")) => "submit",
        "PUT" if path.ends_with("/cancel") => "cancel",
        "GET" if path.ends_with("/status/stream") => "stream",
        "GET" if path.ends_with("/status") => "status",
        "GET" if path.contains("/requests/") => "result",
        _ => "other",
    }
}

fn refused() -> Failure {
    let failure = Failure::connect(FailureKind::Refused, "connection refused");
    assert_eq!(failure.sent, Sent::No);
    failure
}

fn aftermath(error: &fal_client::Error) -> &Aftermath {
    match error.kind() {
        Some(ErrorKind::Deadline { aftermath }) => aftermath,
        other => panic!("{other:?}"),
    }
}

/// Virtual seconds since `start`; timers are exact to a millisecond.
#[track_caller]
fn check_time(start: Instant, min: f64, max: f64) {
    let passed = start.elapsed().as_secs_f64();
    assert!((min - 0.01..=max + 0.05).contains(&passed), "{passed} s");
}

const JOB: &str = "job-1";
