//! Model streams: what comes, how they end, and who is told when they stop.

use std::time::Duration;

use fal_client::{ErrorKind, FailureKind};
use fal_mock::MockFal;
use fal_mock::model::{Control, Failure, StreamFailure};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::raw::{Act, Raw, head};
use crate::support::{FLUX, client, eventually, in_time};

#[tokio::test]
async fn text_comes_as_it_grows_and_ends_whole() {
    let mock = MockFal::builder().run_time(Duration::from_millis(100)).start().await.unwrap();
    let mut stream = client(&mock.url()).stream("fal-ai/any-llm").input(input()).start();
    let mut items: Vec<Value> = Vec::new();
    while let Some(item) = in_time(stream.next_item()).await {
        let item = item.unwrap();
        assert!(item.is_event() && item.name().is_none());
        items.push(item.json().unwrap());
    }
    assert!(stream.request_id().is_some());
    assert_eq!(stream.content_type(), Some("text/event-stream"));
    let output = in_time(stream).await.unwrap();
    assert!(items.len() > 2);
    assert_eq!(Some(&output.value().unwrap()), items.last());
    assert!(output.request_id().is_some());
    assert_eq!(mock.requests()[0].address, "fal.run/fal-ai/any-llm/stream");
}

#[tokio::test]
async fn refusals_come_before_anything_else() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let call = client(&mock.url()).stream(FLUX).input(json!({ "seed": "x" }));
    let error = in_time(call).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    assert_eq!(error.fields()[0].path(), "seed");
    assert!(error.request_id().is_some());

    mock.fail_next(Failure::request_error(StatusCode::BAD_GATEWAY, "runner_server_error", "no"));
    let error = in_time(client(&mock.url()).stream(FLUX)).await.unwrap_err();
    assert_eq!(error.error_type().map(|name| name.as_str()), Some("runner_server_error"));
    assert_eq!(mock.requests().len(), 2, "neither was repeated");
}

#[tokio::test]
async fn a_cut_is_told_after_what_came() {
    let mock = MockFal::builder().run_time(Duration::from_millis(100)).start().await.unwrap();
    mock.control(Control::BreakNextStream(StreamFailure::Cut));
    let mut stream = client(&mock.url()).stream(FLUX).input(input()).start();
    for _ in 0..2 {
        in_time(stream.next_item()).await.unwrap().unwrap();
    }
    let error = in_time(stream.next_item()).await.unwrap().unwrap_err();
    let Some(ErrorKind::Transport(failure)) = error.kind() else { panic!("{error:?}") };
    assert_eq!(failure.kind, FailureKind::Closed);
    assert_eq!(error.request_id(), stream.request_id());
    assert!(error.request_id().is_some() && !error.is_retryable());
    assert!(in_time(stream.next_item()).await.is_none());
    in_time(stream).await.unwrap_err();
    assert_eq!(mock.requests().len(), 1, "it was not repeated");
}

#[tokio::test]
async fn dropping_a_stream_stops_the_model() {
    let mock = MockFal::builder().run_time(Duration::from_secs(3600)).start().await.unwrap();
    let mut stream = client(&mock.url()).stream(FLUX).input(input()).start();
    assert!(tokio::time::timeout(Duration::from_millis(100), stream.next_item()).await.is_err());
    assert!(stream.request_id().is_some(), "it has begun");
    drop(stream);
    eventually("the mock hears of it", || mock.counters().model_streams_abandoned == 1).await;
}

#[tokio::test]
async fn raw_bytes_are_given_in_pieces_or_whole() {
    let server = Raw::start(|_| Act::SayAndClose(audio(true))).await;
    let output = in_time(client(server.url()).stream("acme/voice")).await.unwrap();
    assert_eq!(&output.bytes()[..], b"one two");
    assert_eq!(output.content_type(), Some("audio/mpeg"));

    let mut stream = client(server.url()).stream("acme/voice").start();
    let mut bytes = Vec::new();
    while let Some(item) = in_time(stream.next_item()).await {
        let item = item.unwrap();
        assert!(!item.is_event());
        bytes.extend_from_slice(item.bytes());
    }
    assert_eq!(bytes, b"one two");

    let server = Raw::start(|_| Act::SayAndClose(audio(false))).await;
    let error = in_time(client(server.url()).stream("acme/voice")).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::Transport(_))), "{error:?}");
}

#[tokio::test]
async fn sounds_are_whole_files_however_they_are_taken() {
    let mock = MockFal::builder().run_time(Duration::from_millis(100)).start().await.unwrap();
    let client = client(&mock.url());
    let mut stream = client.stream("fal-ai/maya").input(input()).start();
    let (mut pieces, mut bytes) = (0, Vec::new());
    while let Some(item) = in_time(stream.next_item()).await {
        let item = item.unwrap();
        assert!(!item.is_event());
        pieces += 1;
        bytes.extend_from_slice(item.bytes());
    }
    assert!(pieces > 1, "it comes as it grows");
    assert_eq!(stream.content_type(), Some("audio/wav"));
    assert!(stream.request_id().is_some());
    assert_is_wav(&bytes);
    assert!(in_time(stream).await.unwrap().bytes().is_empty(), "all of it was taken");

    let output = in_time(client.stream("fal-ai/maya").input(input())).await.unwrap();
    assert_is_wav(output.bytes());
    assert_eq!(output.content_type(), Some("audio/wav"));
    let run = client.stream("fal-ai/maya").input(json!({ "prompt": "hi", "output_format": "mp3" }));
    let output = in_time(run).await.unwrap();
    assert_eq!(output.content_type(), Some("audio/mpeg"));
    assert!(output.bytes().starts_with(b"\xFF\xFB"));
    assert_eq!(mock.requests()[0].address, "fal.run/fal-ai/maya/stream");
}

#[tokio::test]
async fn a_sound_that_fails_is_no_shorter_sound() {
    let mock = MockFal::builder().run_time(Duration::from_millis(100)).start().await.unwrap();
    let failure = Failure::model_error(StatusCode::UNPROCESSABLE_ENTITY, "value_error", "no");
    mock.control(Control::BreakNextStream(StreamFailure::Failed(failure.clone())));
    let client = client(&mock.url());
    let mut stream = client.stream("fal-ai/maya").input(input()).start();
    let mut bytes = Vec::new();
    let error = loop {
        match in_time(stream.next_item()).await.expect("it does not end in order") {
            Ok(item) => bytes.extend_from_slice(item.bytes()),
            Err(error) => break error,
        }
    };
    assert!(bytes.starts_with(b"RIFF"));
    let Some(ErrorKind::Transport(told)) = error.kind() else { panic!("{error:?}") };
    assert_eq!(told.kind, FailureKind::Closed);
    assert!(error.request_id().is_some() && !error.is_retryable());
    in_time(stream).await.unwrap_err();

    mock.control(Control::BreakNextStream(StreamFailure::Failed(failure)));
    let error = in_time(client.stream("fal-ai/maya").input(input())).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::Transport(_))), "{error:?}");
    assert_eq!(mock.requests().len(), 2, "neither was repeated");
}

/// Checks every number of a file of one chunk of PCM against its length and the others.
fn assert_is_wav(bytes: &[u8]) {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let half = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()) as usize;
    assert_eq!((&bytes[..4], &bytes[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
    assert_eq!((word(4) + 8, word(16), half(20)), (bytes.len(), 16, 1), "PCM, and whole");
    let (channels, rate, bits) = (half(22), word(24), half(34));
    assert!(channels > 0 && rate > 0 && bits == 16, "{channels} {rate} {bits}");
    assert_eq!((word(28), half(32)), (rate * channels * 2, channels * 2));
    assert_eq!((&bytes[36..40], word(40) + 44), (&b"data"[..], bytes.len()));
    assert!(word(40) > 0 && word(40).is_multiple_of(channels * 2));
    assert!(bytes[44..].iter().any(|byte| *byte != 0), "it is not silent");
}

/// Two chunks of sound, with or without the end of the body.
fn audio(is_whole: bool) -> Vec<u8> {
    let head = head(200, &[("content-type", "audio/mpeg"), ("transfer-encoding", "chunked")]);
    let end: &[u8] = if is_whole { b"0\r\n\r\n" } else { b"" };
    [&head[..], b"4\r\none \r\n3\r\ntwo\r\n", end].concat()
}

fn input() -> Value {
    json!({ "prompt": "a cat" })
}
