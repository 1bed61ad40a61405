//! Our client against the mock over WebSockets: the two were written apart and meet on the wire alone.

use std::time::Duration;

use fal_client::realtime::{RealtimeEvent, Value};
use fal_mock::MockFal;
use fal_mock::model::{Control, MessageFailure, RealtimeConfig, TokenRefusal};
use http::StatusCode;
use serde_json::json;

use crate::support::{client, eventually, in_time};

const APP: &str = "acme/paint";

async fn mock(change: impl FnOnce(&mut RealtimeConfig)) -> MockFal {
    let mut realtime = RealtimeConfig::default();
    realtime.input_time = Duration::from_millis(5);
    change(&mut realtime);
    MockFal::builder().run_time(Duration::from_millis(50)).realtime(realtime).start().await.unwrap()
}

#[tokio::test]
async fn a_session_goes_from_token_to_silence_and_begins_anew() {
    let mock = mock(|realtime| {
        realtime.session_timeout = Some(Duration::from_millis(200));
        realtime.timings = true;
    })
    .await;
    let mut session = client(&mock.url()).realtime(APP).start().unwrap();
    for round in ["one", "two"] {
        session.send(&json!({ "prompt": "a cat", "request_id": round })).await.unwrap();
        let output = in_time(session.recv()).await.unwrap().unwrap();
        assert!(output.is_binary());
        let output = output.value().unwrap();
        assert_eq!(output.get("request_id").and_then(Value::as_text), Some(round));
        let Some(Value::List(images)) = output.get("images") else { panic!("{output:?}") };
        let content = images[0].get("content").and_then(Value::as_bytes).unwrap();
        assert!(content.starts_with(b"\x89PNG"));
        assert!(in_time(session.recv()).await.is_none(), "silence is no error");
    }
    assert_eq!((mock.counters().run_tokens, mock.counters().sessions), (2, 2));
    in_time(session.close()).await.unwrap();
}

#[tokio::test]
async fn a_key_in_the_header_needs_no_token_and_a_close_is_answered() {
    let mock = mock(|_| {}).await;
    let mut session = client(&mock.url()).realtime(APP).key_in_header().start().unwrap();
    session.send(&json!({})).await.unwrap();
    in_time(session.recv()).await.unwrap().unwrap();
    let closed = in_time(session.close()).await.unwrap();
    assert_eq!(closed.close.unwrap().code, Some(1000));
    assert_eq!((mock.counters().run_tokens, mock.sessions().len()), (0, 0));
}

#[tokio::test]
async fn bad_tokens_are_refusals_in_both_forms() {
    for refusal in [TokenRefusal::InSession, TokenRefusal::Http] {
        let mock = mock(|realtime| realtime.refusal = refusal).await;
        let mut session = client(&mock.url())
            .realtime(APP)
            .token_provider(|_| async { Ok::<_, String>("ey.not.ours".to_owned()) })
            .start()
            .unwrap();
        session.send(&json!({})).await.unwrap();
        let error = in_time(session.recv()).await.unwrap().unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED), "{refusal:?}: {error:?}");
        assert_eq!(mock.counters().sessions, 0);
    }
}

#[tokio::test]
async fn failures_are_told_as_what_they_are() {
    let mock = mock(|_| {}).await;
    for failure in [
        MessageFailure::Error("it fell over".into()),
        MessageFailure::Close { code: Some(1011), reason: "no more".into() },
        MessageFailure::Drop,
    ] {
        mock.control(Control::FailNextMessage(failure.clone()));
        let mut session = client(&mock.url()).realtime(APP).start().unwrap();
        session.send(&json!({})).await.unwrap();
        let error = in_time(session.recv()).await.unwrap().unwrap_err();
        if let MessageFailure::Error(reason) = failure {
            assert_eq!(error.error_type().map(|name| name.as_str()), Some("INTERNAL_ERROR"));
            assert!(error.to_string().contains(&*reason), "{error}");
        }
        drop(session);
    }
    let mut session = client(&mock.url()).realtime(APP).start().unwrap();
    session.send(&json!({ "seed": "x" })).await.unwrap();
    let error = in_time(session.recv()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("seed"), "{error}");
    eventually("all sessions end", || mock.sessions().is_empty()).await;
}

#[tokio::test]
async fn streams_of_outputs_end_in_order() {
    let mock = mock(|_| {}).await;
    let mut session = client(&mock.url()).realtime("acme/paint-server-streaming").start().unwrap();
    session.send(&json!({})).await.unwrap();
    let mut outputs = 0;
    loop {
        match in_time(session.next_event()).await.unwrap() {
            RealtimeEvent::Output(_) => outputs += 1,
            RealtimeEvent::Ended(ended) => {
                assert_eq!(ended.close.unwrap().code, Some(1000));
                break;
            }
            _ => {}
        }
    }
    assert_eq!(outputs, 4);
}

#[tokio::test]
async fn runs_over_one_connection_have_outputs_events_and_errors() {
    let mock = mock(|_| {}).await;
    let client = client(&mock.url());
    let output = in_time(client.ws(APP).run(&json!({ "seed": 7 }))).await.unwrap();
    assert_eq!(output.value().unwrap()["seed"], 7);
    assert!(output.request_id().is_some());
    let prompt = json!({ "prompt": "hi" });
    let streamed = in_time(client.ws("fal-ai/any-llm").path("stream").run(&prompt)).await.unwrap();
    assert_eq!(streamed.value().unwrap()["partial"], false);
    let error = in_time(client.ws(APP).run(&json!({ "seed": "x" }))).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    assert_eq!(error.fields()[0].path(), "seed");
    assert_eq!((mock.counters().fronts, mock.counters().runs), (3, 2));
}
