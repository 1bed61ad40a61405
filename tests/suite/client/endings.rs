//! Calls that do not go well: refusals, failures, deadlines, cancels.

use std::time::Duration;

use fal_client::{Aftermath, CancelOutcome, Error, ErrorKind, Event, Handle, OnDeadline};
use fal_mock::MockFal;
use fal_mock::model::{Control, Failure, JobState, JobView};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::support::raw::{Act, Raw, well};
use crate::support::{FLUX, client, eventually, in_time, name};

#[tokio::test]
async fn an_invalid_input_names_every_field() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let (model, input) = ("fal-ai/controlnet-ip-adapter", json!({ "seed": "x" }));
    let run = in_time(client.run(model).input(input.clone())).await.unwrap_err();
    let job = in_time(client.subscribe(model).input(input)).await.unwrap_err();
    assert!(run.handle().is_none());
    let handle = job.handle().expect("the job was accepted");
    assert_eq!(job.request_id(), Some(&*handle.request_id));
    for error in [run, job] {
        assert!(matches!(error.kind(), Some(ErrorKind::Api(_))), "{error:?}");
        assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
        assert!(!error.is_retryable());
        assert!(error.request_id().is_some());
        let mut problems: Vec<(String, &str)> =
            error.fields().iter().map(|field| (field.path(), field.error_type.as_str())).collect();
        problems.sort();
        let missing = |name: &str| (name.to_owned(), "missing");
        let expected = [
            missing("ip_archive_url"),
            missing("prompt"),
            missing("reference_image_url"),
            missing("reference_pose_image_url"),
            ("seed".to_owned(), "int_parsing"),
        ];
        assert_eq!(problems, expected);
    }
}

#[tokio::test]
async fn a_failed_job_is_an_error_with_its_handle() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    for (status, error_type, is_retryable) in [
        (500, "runner_server_error", true),
        (504, "request_timeout", true),
        (400, "bad_request", false),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        mock.fail_next(Failure::request_error(status, error_type, "it fell over"));
        let before = mock.requests().len();
        let job = client(&mock.url()).subscribe(FLUX).input(json!({ "prompt": "a cat" }));
        let error = in_time(job).await.unwrap_err();
        assert_eq!(error.status(), Some(status));
        assert_eq!(error.error_type().map(|kind| kind.as_str()), Some(error_type));
        assert_eq!(error.is_retryable(), is_retryable, "{error:?}");
        assert!(error.to_string().contains("it fell over"), "{error}");
        let handle = error.handle().expect("the job was accepted");
        assert_eq!(mock.job(id(handle)).unwrap().state, JobState::Failed);
        assert_eq!(mock.requests().len() - before, 3, "a stored failure is not asked for again");
    }
}

#[tokio::test]
async fn the_word_of_the_service_about_repeats_is_heard() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    for (word, is_retryable) in [("1", true), ("0", false)] {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let failure = Failure::request_error(status, "internal_error", "it fell over").with_header(
            HeaderName::from_static("x-fal-needs-retry"),
            HeaderValue::from_static(word),
        );
        mock.fail_next(failure);
        let job = client(&mock.url()).subscribe(FLUX).input(json!({ "prompt": "a cat" }));
        assert_eq!(in_time(job).await.unwrap_err().is_retryable(), is_retryable);
    }
}

#[tokio::test]
async fn at_the_deadline_the_job_is_cancelled() {
    let mock = never_ending().await;
    let job = client(&mock.url())
        .subscribe(FLUX)
        .input(json!({ "prompt": "a cat" }))
        .deadline(Duration::from_millis(400));
    let error = in_time(job).await.unwrap_err();
    match error.kind() {
        Some(ErrorKind::Deadline { aftermath: Aftermath::Asked(outcome) }) => {
            assert!(matches!(outcome, CancelOutcome::Requested | CancelOutcome::Cancelled));
        }
        other => panic!("{other:?}"),
    }
    assert!(job_of(&mock, error.handle()).cancel_asked);
    eventually("the job ends", || job_of(&mock, error.handle()).state == JobState::Failed).await;
}

#[tokio::test]
async fn at_the_deadline_the_job_can_be_left() {
    let mock = never_ending().await;
    let job = client(&mock.url())
        .subscribe(FLUX)
        .input(json!({ "prompt": "a cat" }))
        .deadline(Duration::from_millis(400))
        .on_deadline(OnDeadline::Leave);
    let error = in_time(job).await.unwrap_err();
    let left = matches!(error.kind(), Some(ErrorKind::Deadline { aftermath: Aftermath::Left }));
    assert!(left, "{error:?}");
    let handle = error.handle().unwrap().clone();
    assert!(mock.requests().iter().all(|seen| !seen.address.ends_with("/cancel")));

    assert!(mock.control(Control::Finish { request_id: id(&handle) }));
    in_time(client(&mock.url()).attach(handle)).await.expect("nothing is lost");
}

#[tokio::test]
async fn deadlines_of_any_length_are_fine() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let input = json!({ "prompt": "a cat" });
    let error = in_time(client.subscribe(FLUX).deadline(Duration::ZERO)).await.unwrap_err();
    let nothing = Aftermath::NothingSubmitted;
    assert!(
        matches!(error.kind(), Some(ErrorKind::Deadline { aftermath }) if *aftermath == nothing),
        "{error:?}"
    );
    assert_eq!(mock.requests(), [], "nobody waits for this job, so nobody pays for it");
    in_time(client.subscribe(FLUX).input(input.clone()).deadline(Duration::MAX)).await.unwrap();
    in_time(client.run(FLUX).input(input).deadline(Duration::MAX)).await.unwrap();
}

#[tokio::test]
async fn a_restart_of_the_service_is_survived() {
    let mock = never_ending().await;
    let mut job = client(&mock.url()).subscribe(FLUX).input(json!({ "prompt": "a cat" })).start();
    while !matches!(in_time(job.next_event()).await, Some(Event::Started)) {}
    assert!(mock.control(Control::Restart));
    while !matches!(in_time(job.next_event()).await, Some(Event::Retrying { .. })) {}
    assert!(mock.control(Control::Finish { request_id: id(job.handle().unwrap()) }));
    let output = in_time(job).await.unwrap();
    assert_eq!(output.files().len(), 1);
    assert_eq!((mock.submits(), mock.counters().streams), (1, 2));
}

#[tokio::test]
async fn a_job_that_loses_its_runner_is_followed_on() {
    let mock = never_ending().await;
    let mut job = client(&mock.url()).subscribe(FLUX).input(json!({ "prompt": "a cat" })).start();
    let mut names = Vec::new();
    let mut starts = 0;
    while let Some(event) = in_time(job.next_event()).await {
        if let Event::Started = event {
            starts += 1;
            let request_id = id(job.handle().unwrap());
            assert!(mock.control(match starts {
                1 => Control::Requeue { request_id },
                _ => Control::Finish { request_id },
            }));
        }
        names.push(name(&event));
    }
    in_time(job).await.unwrap();
    names.dedup();
    names.retain(|name| *name != "log");
    names.dedup();
    assert_eq!(names, ["submitted", "queued", "started", "queued", "started", "completed"]);
}

#[tokio::test]
async fn dropping_a_job_closes_the_connection_and_leaves_the_job() {
    let mock = never_ending().await;
    let mut job = client(&mock.url()).subscribe(FLUX).input(json!({ "prompt": "a cat" })).start();
    while job.handle().is_none() {
        in_time(job.next_event()).await;
    }
    let handle = job.handle().cloned();
    // It is followed, that is, the stream has been opened.
    let start = tokio::time::timeout(Duration::from_secs(10), async {
        while !matches!(job.next_event().await, Some(Event::Started)) {}
    });
    start.await.unwrap();
    drop(job);
    assert_eq!(mock.counters().streams, 1);
    assert!(!job_of(&mock, handle.as_ref()).cancel_asked);
    assert!(mock.control(Control::Finish { request_id: id(handle.as_ref().unwrap()) }));
    assert_eq!(job_of(&mock, handle.as_ref()).state, JobState::Succeeded);
    assert_eq!(mock.requests().len(), 2, "nothing was said after the drop");
}

#[tokio::test]
async fn dropping_any_call_closes_its_connection() {
    for step in ["submit", "stream", "result", "run"] {
        let server = Raw::start(move |seen| match seen.step() == step {
            true => Act::HANG,
            false => well(seen),
        })
        .await;
        let client = client(server.url());
        let call = async {
            match step {
                "run" => client.run(FLUX).await.map(drop),
                _ => client.subscribe(FLUX).await.map(drop),
            }
        };
        tokio::select! {
            result = call => panic!("{step}: {result:?}"),
            () = eventually("the server hears of it", || server.count(step) == 1) => {}
        }
        eventually("the connection is closed", || server.abandoned() == 1).await;
        assert_eq!(server.count(step), 1, "nothing was repeated");
    }
}

#[tokio::test]
async fn a_dropped_run_stops_the_model() {
    let mock = never_ending().await;
    let client = client(&mock.url());
    tokio::select! {
        result = client.run(FLUX).input(json!({ "prompt": "a cat" })) => panic!("{result:?}"),
        () = eventually("it runs", || mock.counters().runs == 1) => {}
    }
    eventually("the mock hears of it", || mock.counters().runs_abandoned == 1).await;
}

#[tokio::test]
async fn a_run_past_its_deadline_stops_the_model() {
    let mock = never_ending().await;
    let run = client(&mock.url())
        .run(FLUX)
        .input(json!({ "prompt": "a cat" }))
        .deadline(Duration::from_millis(300));
    let error = in_time(run).await.unwrap_err();
    let aftermath = match error.kind() {
        Some(ErrorKind::Deadline { aftermath }) => aftermath,
        other => panic!("{other:?}"),
    };
    assert_eq!(*aftermath, Aftermath::Disconnected);
    eventually("the mock hears of it", || mock.counters().runs_abandoned == 1).await;
    assert_eq!(mock.counters().runs, 1);
}

#[tokio::test]
async fn a_cancelled_job_ends_with_what_the_service_said() {
    let mock = never_ending().await;
    let mut job = client(&mock.url()).subscribe(FLUX).input(json!({ "prompt": "a cat" })).start();
    while !matches!(in_time(job.next_event()).await, Some(Event::Started)) {}
    job.cancel();
    let handle = job.handle().cloned();
    let error = in_time(job).await.unwrap_err();
    let expected = Aftermath::Asked(CancelOutcome::Requested);
    match error.kind() {
        Some(ErrorKind::Cancelled { aftermath }) => assert_eq!(*aftermath, expected),
        other => panic!("{other:?}"),
    }
    assert_eq!(error.handle(), handle.as_ref());
    assert!(job_of(&mock, handle.as_ref()).cancel_asked);
}

#[tokio::test]
async fn a_job_cancelled_before_it_begins_is_never_submitted() {
    let mock = never_ending().await;
    let mut job = client(&mock.url()).subscribe(FLUX).start();
    job.cancel();
    let error = in_time(job).await.unwrap_err();
    let nothing = Aftermath::NothingSubmitted;
    assert!(
        matches!(error.kind(), Some(ErrorKind::Cancelled { aftermath }) if *aftermath == nothing),
        "{error:?}"
    );
    assert_eq!(mock.requests(), []);
}

#[tokio::test]
async fn an_output_of_another_type_comes_back_whole() {
    #[derive(Debug, Deserialize)]
    struct Wrong {
        #[expect(dead_code, reason = "it never fits")]
        images: Vec<Image>,
    }
    #[derive(Debug, Deserialize)]
    struct Image {
        #[expect(dead_code, reason = "it never fits")]
        width: String,
    }
    let mock = MockFal::builder().instant().start().await.unwrap();
    let job = client(&mock.url()).subscribe(FLUX).input(json!({ "prompt": "a cat" }));
    let output = in_time(job).await.unwrap();
    let error = output.json::<Wrong>().unwrap_err();
    assert_eq!(error.path(), "images[0].width");
    assert_eq!(error.output(), &output);
    let error = Error::from(error);
    assert_eq!(error.handle(), output.handle());
    assert!(error.to_string().contains("images[0].width"), "{error}");
    assert!(matches!(error, Error::Decode(_)));
}

async fn never_ending() -> MockFal {
    MockFal::builder()
        .queue_time(Duration::from_millis(100))
        .run_time(Duration::from_secs(3600))
        .start()
        .await
        .unwrap()
}

fn id(handle: &Handle) -> fal_mock::model::RequestId {
    handle.request_id.parse().unwrap()
}

#[track_caller]
fn job_of(mock: &MockFal, handle: Option<&Handle>) -> JobView {
    mock.job(id(handle.expect("the job was accepted"))).expect("the mock keeps it")
}
