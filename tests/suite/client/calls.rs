//! Calls that go well.

use std::collections::BTreeSet;
use std::time::Duration;

use fal_client::{CancelOutcome, ErrorKind, Event, Handle, Output, State};
use fal_mock::MockFal;
use fal_mock::model::{Control, JobState};
use serde_json::json;

use crate::support::{FLUX, client, in_time, name};

#[tokio::test]
async fn a_job_in_stream_mode_takes_three_requests() {
    let mock = quick().await;
    let mut job = client(&mock.url()).subscribe(FLUX).input(json!({ "prompt": "a cat" })).start();
    let mut events = Vec::new();
    while let Some(event) = in_time(job.next_event()).await {
        events.push(event);
    }
    let output = in_time(job).await.unwrap();

    check_output(&output);
    check_events(&events);
    assert!(events.iter().any(|event| name(event) == "started"), "{events:?}");
    let id = output.request_id().unwrap();
    let app = "queue.fal.run/fal-ai/flux";
    let expected = [
        ("POST", "queue.fal.run/fal-ai/flux/dev".to_owned(), 200),
        ("GET", format!("{app}/requests/{id}/status/stream"), 200),
        ("GET", format!("{app}/requests/{id}"), 200),
    ];
    assert_eq!(requests(&mock), expected.map(|(m, a, s)| (m.to_owned(), a, s)));
    assert_eq!(mock.counters().streams, 1);
}

#[tokio::test]
async fn a_job_in_polling_mode_gives_the_same() {
    let mock = quick().await;
    let mut job = client(&mock.url())
        .subscribe(FLUX)
        .input(json!({ "prompt": "a cat" }))
        .status_stream(false)
        .poll_interval(Duration::from_millis(5))
        .start();
    let mut events = Vec::new();
    while let Some(event) = in_time(job.next_event()).await {
        events.push(event);
    }
    let output = in_time(job).await.unwrap();

    check_output(&output);
    check_events(&events);
    assert_eq!(mock.counters().streams, 0);
    let requests = requests(&mock);
    let (first, polls, last) =
        (&requests[0], &requests[1..requests.len() - 1], &requests[requests.len() - 1]);
    assert_eq!((first.0.as_str(), last.0.as_str()), ("POST", "GET"));
    assert!(polls.iter().all(|(_, address, _)| address.ends_with("/status")), "{polls:?}");
    let (done, waiting) = polls.split_last().expect("there was a poll");
    assert!(waiting.iter().all(|(.., status)| *status == 202), "{polls:?}");
    assert_eq!(done.2, 200);
}

#[tokio::test]
async fn the_callback_hears_what_the_stream_of_events_tells() {
    let mock = quick().await;
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let teller = std::sync::Arc::clone(&heard);
    let job = client(&mock.url())
        .subscribe(FLUX)
        .input(json!({ "prompt": "a cat" }))
        .on_update(move |event| teller.lock().unwrap().push(event.clone()));
    in_time(job).await.unwrap();
    check_events(&heard.lock().unwrap());
}

#[tokio::test]
async fn logs_are_left_out_when_not_wanted() {
    let mock = quick().await;
    for stream in [true, false] {
        let mut job = client(&mock.url())
            .subscribe(FLUX)
            .input(json!({ "prompt": "a cat" }))
            .status_stream(stream)
            .logs(false)
            .start();
        while let Some(event) = in_time(job.next_event()).await {
            assert!(!matches!(event, Event::Log(_)), "{event:?}");
        }
        in_time(job).await.unwrap();
    }
}

#[tokio::test]
async fn a_run_takes_one_request() {
    let mock = quick().await;
    let input = json!({ "prompt": "a cat", "num_images": 2, "seed": 5 });
    let output = in_time(client(&mock.url()).run(FLUX).input(input)).await.unwrap();
    assert!(output.request_id().is_some());
    assert!(output.handle().is_none(), "nobody can come back to a run");
    assert_eq!(output.value().unwrap()["seed"], 5);
    assert_eq!((output.files().len(), output.billable_units()), (2, Some(2.0)));
    let run = ("POST".to_owned(), "fal.run/fal-ai/flux/dev".to_owned(), 200);
    assert_eq!(requests(&mock), [run]);
}

#[tokio::test]
async fn the_queue_goes_step_by_step() {
    let mock = never_ending().await;
    let queue = client(&mock.url()).queue(FLUX).unwrap();
    let handle = in_time(queue.submit(json!({ "prompt": "a cat" }))).await.unwrap();
    let id = handle.request_id.parse().unwrap();

    let status = in_time(queue.status(&handle, true)).await.unwrap();
    assert!(matches!(status.state, State::InQueue | State::InProgress), "{status:?}");
    let early = in_time(queue.result(&handle)).await.unwrap_err();
    assert!(matches!(early.kind(), Some(ErrorKind::NotReady)), "{early:?}");
    assert_eq!(early.handle(), Some(&handle));

    assert!(mock.control(Control::Finish { request_id: id }));
    let completed = in_time(queue.watch(&handle)).await.unwrap();
    assert!(completed.failure.is_none());
    // A bare id names the job as well.
    let status = in_time(queue.status(&*handle.request_id, true)).await.unwrap();
    assert_eq!(status.state, State::Completed);
    assert!(!status.logs.is_empty());
    let output = in_time(queue.result(&*handle.request_id)).await.unwrap();
    assert_eq!(output.request_id(), Some(&*handle.request_id));
    let late = in_time(queue.cancel(&handle)).await.unwrap();
    assert_eq!(late, CancelOutcome::AlreadyCompleted);
}

#[tokio::test]
async fn unknown_jobs_are_not_found() {
    let mock = quick().await;
    let queue = client(&mock.url()).queue(FLUX).unwrap();
    let nobody = "00000000-0000-4000-8000-000000000000";
    let error = in_time(queue.status(nobody, false)).await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(404));
    assert_eq!(error.request_id(), Some(nobody), "the id that was asked for");
    in_time(queue.result(nobody)).await.unwrap_err();
    assert_eq!(in_time(queue.cancel(nobody)).await.unwrap(), CancelOutcome::NotFound);
}

#[tokio::test]
async fn a_cancel_says_what_became_of_the_job() {
    let mock = MockFal::builder()
        .queue_time(Duration::ZERO)
        .run_time(Duration::from_secs(3600))
        .runners(1)
        .start()
        .await
        .unwrap();
    let queue = client(&mock.url()).queue(FLUX).unwrap();
    let running = in_time(queue.submit(json!({ "prompt": "1" }))).await.unwrap();
    let waiting = in_time(queue.submit(json!({ "prompt": "2" }))).await.unwrap();
    let state = |handle: &Handle| mock.job(handle.request_id.parse().unwrap()).unwrap().state;
    assert_eq!((state(&running), state(&waiting)), (JobState::Running, JobState::Queued));

    assert_eq!(in_time(queue.cancel(&waiting)).await.unwrap(), CancelOutcome::Cancelled);
    assert_eq!(in_time(queue.cancel(&running)).await.unwrap(), CancelOutcome::Requested);
    for handle in [waiting, running] {
        let error = in_time(queue.watch(&handle)).await.unwrap_err();
        assert_eq!(error.error_type().map(|kind| kind.as_str()), Some("client_cancelled"));
        assert_eq!(error.handle(), Some(&handle));
    }
}

#[tokio::test]
async fn a_stored_handle_is_enough_to_come_back() {
    let mock = never_ending().await;
    let submitted = client(&mock.url()).queue(FLUX).unwrap().submit(json!({ "prompt": "a cat" }));
    let handle = in_time(submitted).await.unwrap();
    let (as_json, as_text) = (serde_json::to_string(&handle).unwrap(), handle.to_string());
    assert!(!as_json.contains("secret"), "{as_json}");
    assert!(mock.control(Control::Finish { request_id: handle.request_id.parse().unwrap() }));

    for stored in [as_json, as_text] {
        let handle: Handle = stored.parse().unwrap();
        let fresh = client(&mock.url());
        let mut job = fresh.attach(handle.clone()).start();
        assert_eq!(job.handle(), Some(&handle));
        let mut events = Vec::new();
        while let Some(event) = in_time(job.next_event()).await {
            events.push(name(&event));
        }
        assert_eq!(events.last(), Some(&"completed"));
        let output = in_time(job).await.unwrap();
        assert_eq!(output.handle(), Some(&handle));
    }
    assert_eq!(mock.submits(), 1, "coming back submits nothing");
}

#[tokio::test]
async fn two_hundred_jobs_at_once_all_end() {
    let mock = MockFal::builder()
        .queue_time(Duration::from_millis(5))
        .run_time(Duration::from_millis(20))
        .runners(50)
        .start()
        .await
        .unwrap();
    let client = client(&mock.url());
    let jobs = (0..200).map(|seed| {
        let job = client.subscribe(FLUX).input(json!({ "prompt": "a cat", "seed": seed }));
        async move { (seed, job.await) }
    });
    let ended = in_time(futures_util::future::join_all(jobs)).await;
    let mut ids = BTreeSet::new();
    for (seed, result) in ended {
        let output = result.unwrap();
        assert_eq!(output.value().unwrap()["seed"], seed, "an output went to another caller");
        ids.insert(output.request_id().unwrap().to_owned());
    }
    assert_eq!((ids.len(), mock.submits(), mock.counters().completed), (200, 200, 200));
}

/// A mock whose jobs wait long enough to be followed before they start.
async fn quick() -> MockFal {
    let (queue, run) = (Duration::from_millis(500), Duration::from_millis(100));
    MockFal::builder().queue_time(queue).run_time(run).start().await.unwrap()
}

/// A mock whose jobs end when the test says so.
async fn never_ending() -> MockFal {
    MockFal::builder().run_time(Duration::from_secs(3600)).start().await.unwrap()
}

fn requests(mock: &MockFal) -> Vec<(String, String, u16)> {
    let seen = mock.requests().into_iter();
    seen.map(|seen| (seen.method.to_string(), seen.address, seen.status)).collect()
}

#[track_caller]
fn check_output(output: &Output) {
    assert_eq!(output.value().unwrap()["prompt"], "a cat");
    assert_eq!(output.files().len(), 1);
    assert_eq!(output.billable_units(), Some(1.0));
    assert!(output.inference_time().is_some_and(|time| time > 0.0));
    assert!(output.handle().is_some_and(|h| Some(&*h.request_id) == output.request_id()));
    assert_eq!(output.content_type(), Some("application/json"));
}

/// The handle first, then forward only, each log line once and in order, the end last.
#[track_caller]
fn check_events(events: &[Event]) {
    let names: Vec<&str> = events.iter().map(name).collect();
    assert_eq!(names[0], "submitted");
    assert_eq!(names.iter().filter(|name| **name == "submitted").count(), 1, "{names:?}");
    assert_eq!(names.last(), Some(&"completed"), "{names:?}");
    let started = names.iter().position(|name| *name == "started").unwrap_or(names.len());
    assert!(!names[started..].contains(&"queued"), "{names:?}");
    let lines: Vec<(String, String)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Log(line) => Some((
                line.timestamp.clone().unwrap_or_default().into(),
                line.message.clone().into(),
            )),
            _ => None,
        })
        .collect();
    assert!(lines.len() > 1, "{names:?}");
    assert!(lines.is_sorted_by_key(|(time, _)| time), "{lines:?}");
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len(), "{lines:?}");
}
