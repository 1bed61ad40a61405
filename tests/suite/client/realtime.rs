//! Realtime sessions, tokens and runs over WebSockets, with the mock at the other end.

use std::time::Duration;

use fal_client::realtime::{RealtimeEvent, Value as Tree};
use fal_client::ws::WsEvent;
use fal_mock::MockFal;
use fal_mock::model::{RealtimeConfig, TokenRefusal};
use serde_json::{Value, json};

use crate::support::{client, eventually, in_time};

const APP: &str = "acme/paint";

async fn mock(change: impl FnOnce(&mut RealtimeConfig)) -> MockFal {
    let mut config = fal_mock::model::Config::default();
    config.instant = true;
    change(&mut config.realtime);
    MockFal::builder().config(config).start().await.unwrap()
}

/// The picture of an output, as bytes.
fn picture(tree: &Tree) -> &[u8] {
    let Some(Tree::List(images)) = tree.get("images") else { panic!("{tree:?}") };
    images[0].get("content").unwrap().as_bytes().unwrap()
}

#[tokio::test]
async fn session_goes_from_token_to_pictures_and_ends_in_order() {
    let mock = mock(|_| {}).await;
    let mut session = client(&mock.url()).realtime(APP).max_buffering(2).start().unwrap();
    for number in 0..3 {
        let input = json!({ "prompt": "a cat", "request_id": format!("r-{number}") });
        session.send(&input).await.unwrap();
        let output = in_time(session.recv()).await.unwrap().unwrap();
        assert!(output.is_binary());
        let tree = output.value().unwrap();
        assert!(picture(&tree).starts_with(b"\x89PNG"), "{tree:?}");
        let id = tree.get("request_id").and_then(Tree::as_text);
        assert_eq!(id, Some(format!("r-{number}").as_str()));
    }
    assert_eq!(mock.sessions().len(), 1);
    let closed = in_time(session.close()).await.unwrap();
    assert_eq!(closed.close.unwrap().code, Some(1000));
    assert_eq!((closed.traffic.sent, closed.traffic.received), (3, 3));
    eventually("the session is over", || mock.sessions().is_empty()).await;
}

#[tokio::test]
async fn silence_ends_a_session_and_the_next_message_begins_another() {
    let short = Duration::from_millis(50);
    let mock = mock(|realtime| realtime.session_timeout = Some(short)).await;
    let mut session = client(&mock.url()).realtime(APP).start().unwrap();
    for _ in 0..2 {
        session.send(&json!({ "prompt": "a cat" })).await.unwrap();
        in_time(session.recv()).await.unwrap().unwrap();
        let ended = loop {
            if let RealtimeEvent::Ended(ended) = in_time(session.next_event()).await.unwrap() {
                break ended;
            }
        };
        assert!(ended.reason.unwrap().contains("reconnect"));
        assert_eq!(ended.close.unwrap().code, Some(1000));
    }
}

#[tokio::test]
async fn modes_and_timings_are_understood() {
    let mock = mock(|realtime| realtime.timings = true).await;
    let mut session = client(&mock.url()).realtime("acme/film-server-streaming").start().unwrap();
    session.send(&json!({ "prompt": "a cat" })).await.unwrap();
    let (mut outputs, mut timings) = (0, 0);
    let ended = loop {
        match in_time(session.next_event()).await.unwrap() {
            RealtimeEvent::Output(_) => outputs += 1,
            RealtimeEvent::Meta(meta) => timings += usize::from(meta.timing.is_some()),
            RealtimeEvent::Ended(ended) => break ended,
            RealtimeEvent::Connected => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(outputs > 1 && timings == 1, "{outputs} outputs, {timings} timings");
    assert_eq!((ended.traffic.sent, ended.traffic.received), (1, outputs));
}

#[tokio::test]
async fn key_and_token_both_open_sessions_and_a_wrong_token_none() {
    for refusal in [TokenRefusal::default(), TokenRefusal::Http] {
        let mock = mock(|realtime| realtime.refusal = refusal).await;
        let client = client(&mock.url());
        let token = in_time(client.token([format!("{APP}/realtime")])).await.unwrap();
        for session in [
            client.realtime(APP).key_in_header(),
            client.realtime(APP).token_provider(move |_| {
                let token = token.as_str().to_owned();
                async move { Ok::<_, String>(token) }
            }),
        ] {
            let mut session = session.start().unwrap();
            session.send(&json!({ "prompt": "a cat" })).await.unwrap();
            in_time(session.recv()).await.unwrap().unwrap();
        }
        let wrong =
            client.realtime(APP).token_provider(|_| async { Ok::<_, String>("ey.x".into()) });
        let mut session = wrong.start().unwrap();
        session.send(&json!({ "prompt": "a cat" })).await.unwrap();
        let error = in_time(session.recv()).await.unwrap().unwrap_err();
        assert_eq!(error.status().map(|status| status.as_u16()), Some(401), "{error}");
    }
}

#[tokio::test]
async fn raw_socket_speaks_what_it_is_told() {
    let mock = mock(|_| {}).await;
    let socket = client(&mock.url()).realtime(APP).path("realtime").connect_raw();
    let mut socket = in_time(socket).await.unwrap();
    socket.send_text(r#"{"prompt":"a cat"}"#).await.unwrap();
    let message = in_time(socket.recv()).await.unwrap().unwrap();
    let output: Value = serde_json::from_slice(message.bytes()).unwrap();
    assert!(output["images"].is_array(), "{output}");
    in_time(socket.close()).await.unwrap();
}

#[tokio::test]
async fn runs_over_a_websocket_have_their_outputs() {
    let mock = mock(|_| {}).await;
    let client = client(&mock.url());
    let output = in_time(client.ws(APP).run(&json!({ "prompt": "a cat" }))).await.unwrap();
    assert!(output.value().unwrap()["images"].is_array());
    assert!(output.request_id().is_some());

    let mut runs = client.ws(APP).connect().unwrap();
    for seed in [json!(1), json!("no number")] {
        runs.send(&json!({ "prompt": "a cat", "seed": seed })).await.unwrap();
    }
    let mut ends = Vec::new();
    while ends.len() < 2 {
        match in_time(runs.next_event()).await.unwrap() {
            WsEvent::Answered { number, .. } => ends.push((number, None)),
            WsEvent::Failed { number, error } => {
                ends.push((number, error.status().map(|status| status.as_u16())));
            }
            _ => {}
        }
    }
    assert_eq!(ends, [(1, None), (2, Some(422))]);
    in_time(runs.close()).await.unwrap();
}
