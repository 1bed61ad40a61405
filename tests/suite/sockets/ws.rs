use fal_client::ErrorKind;
use fal_client::ws::WsEvent;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::support::socket::{Peer, Reply, Service, good};
use crate::support::{KEY, client, in_time};

const APP: &str = "fal-ai/any-llm";

async fn text(peer: &mut Peer) -> Value {
    match peer.next().await {
        Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
        other => panic!("an input is a text: {other:?}"),
    }
}

async fn start(peer: &mut Peer, id: &str, status: u16, content_type: &str) {
    let headers = json!({ "content-type": content_type });
    peer.say(&json!({ "type": "start", "request_id": id, "status": status, "headers": headers }))
        .await;
}

async fn end(peer: &mut Peer, id: &str, status: u16) {
    peer.say(&json!({
        "type": "end", "request_id": id, "status": status, "time_to_first_byte_seconds": 0.5
    }))
    .await;
}

/// Answers each input: with what a model would, or as the input wants.
async fn answer(mut peer: Peer) {
    let mut number = 0;
    while let Some(Message::Text(input)) = peer.next().await {
        number += 1;
        let id = format!("r-{number}");
        let input: Value = serde_json::from_str(&input).unwrap();
        match input["want"].as_str() {
            Some("refusal") => {
                start(&mut peer, &id, 422, "application/json").await;
                let detail = json!([{ "loc": ["body", "prompt"], "msg": "no", "type": "missing" }]);
                peer.say(&json!({ "detail": detail })).await;
                end(&mut peer, &id, 422).await;
            }
            Some("events") => {
                start(&mut peer, &id, 200, "text/event-stream").await;
                peer.send(Message::text("data: {\"output\":\"a\"}\n\nda")).await;
                peer.send(Message::binary("ta: {\"output\":\"ab\"}\n\n")).await;
                end(&mut peer, &id, 200).await;
            }
            Some("lookalike") => {
                start(&mut peer, &id, 200, "application/json").await;
                peer.say(&json!({ "type": "end", "request_id": "of somebody else" })).await;
                end(&mut peer, &id, 200).await;
            }
            Some("disorder") => end(&mut peer, &id, 200).await,
            Some("gone") => return,
            Some("cut") => {
                start(&mut peer, &id, 200, "application/json").await;
                return peer.close(Some(1011)).await;
            }
            _ => {
                start(&mut peer, &id, 200, "application/json").await;
                let body = input.to_string();
                let (a, b) = body.split_at(body.len() / 2);
                peer.send(Message::text(a)).await;
                peer.send(Message::binary(b.to_owned())).await;
                end(&mut peer, &id, 200).await;
            }
        }
    }
}

#[tokio::test]
async fn one_input_has_one_output() {
    let service = Service::good(|peer, _| answer(peer)).await;
    let output = in_time(client(service.url()).ws(APP).run(&json!({ "prompt": "hi" }))).await;
    let output = output.unwrap();
    assert_eq!(output.value().unwrap(), json!({ "prompt": "hi" }));
    assert_eq!(output.request_id(), Some("r-1"));
    assert_eq!(service.lines(), ["GET /ws.fal.run/fal-ai/any-llm"]);
    assert_eq!(service.seen()[0].header("authorization"), Some(format!("Key {KEY}").as_str()));
    let output = in_time(client(service.url()).ws(APP).run(&json!({ "want": "events" }))).await;
    assert_eq!(output.unwrap().value().unwrap(), json!({ "output": "ab" }), "the last event");
    let output = in_time(client(service.url()).ws(APP).run(&json!({ "want": "lookalike" }))).await;
    assert_eq!(output.unwrap().value().unwrap()["request_id"], "of somebody else");
}

#[tokio::test]
async fn inputs_ahead_are_answered_in_order() {
    let service = Service::good(|peer, _| answer(peer)).await;
    let mut runs = client(service.url()).ws(APP).path("stream").connect().unwrap();
    let inputs = [json!({ "n": 1 }), json!({ "want": "refusal" }), json!({ "want": "events" })];
    for (at, input) in inputs.iter().enumerate() {
        assert_eq!(in_time(runs.send(input)).await.unwrap(), at as u64 + 1);
    }
    let mut said = Vec::new();
    while said.last().is_none_or(|last: &String| last != "3 answered") {
        said.push(match in_time(runs.next_event()).await.unwrap() {
            WsEvent::Connected => "connected".to_owned(),
            WsEvent::Started { number, start } => {
                format!("{number} {} {}", start.status.as_u16(), start.request_id)
            }
            WsEvent::Item { number, item } => {
                format!("{number} {}", if item.is_event() { "event" } else { "chunk" })
            }
            WsEvent::Answered { number, time_to_first_byte } => {
                assert_eq!(time_to_first_byte, Some(0.5));
                format!("{number} answered")
            }
            WsEvent::Failed { number, error } => {
                assert_eq!(error.fields()[0].path(), "prompt");
                format!(
                    "{number} {} {}",
                    error.status().unwrap().as_u16(),
                    error.request_id().unwrap()
                )
            }
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(
        said,
        [
            "connected",
            "1 200 r-1",
            "1 chunk",
            "1 chunk",
            "1 answered",
            "2 422 r-2",
            "3 200 r-3",
            "3 event",
            "3 event",
            "3 answered",
        ]
    );
    in_time(runs.close()).await.unwrap();
    assert_eq!(service.closes(), [1000]);
    assert_eq!(service.lines(), ["GET /ws.fal.run/fal-ai/any-llm/stream"]);
}

#[tokio::test]
async fn inputs_without_an_answer_may_have_been_paid_for() {
    for (want, has_id) in [("gone", false), ("cut", true)] {
        let service = Service::good(|peer, _| answer(peer)).await;
        let error = in_time(client(service.url()).ws(APP).run(&json!({ "want": want }))).await;
        let error = error.unwrap_err();
        assert!(matches!(error.kind(), Some(ErrorKind::SubmitUnknown { .. })), "{want}: {error:?}");
        assert_eq!(error.request_id().is_some(), has_id, "{error:?}");
        assert!(!error.is_retryable());
        assert_eq!(service.lines().len(), 1, "it is not sent again");
    }
}

#[tokio::test]
async fn answers_out_of_order_end_all() {
    let service = Service::good(|peer, _| answer(peer)).await;
    let error = in_time(client(service.url()).ws(APP).run(&json!({ "want": "disorder" }))).await;
    let Some(ErrorKind::SubmitUnknown { cause }) = error.as_ref().unwrap_err().kind() else {
        panic!("{error:?}")
    };
    assert!(matches!(**cause, ErrorKind::Protocol(_)), "{cause:?}");
}

#[tokio::test]
async fn refused_connection_is_the_error_of_what_waits() {
    let service = Service::start(
        |line, earlier| match line.starts_with("GET") {
            true => Reply::json(401, &json!({ "detail": "No user found for Key ID and Secret" })),
            false => good(line, earlier),
        },
        |mut peer, _| async move {
            text(&mut peer).await;
        },
    )
    .await;
    let error = in_time(client(service.url()).ws(APP).run(&json!({}))).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 401);
}
