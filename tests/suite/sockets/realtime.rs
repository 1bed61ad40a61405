use bytes::Bytes;
use fal_client::realtime::{Queue, RealtimeEvent, Value, WhyDropped};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::support::socket::{Seen, Service};
use crate::support::{client, in_time};

const APP: &str = "acme/paint";

/// Answers every input with itself, until the other side closes.
async fn echo(mut peer: crate::support::socket::Peer) {
    while let Some(message) = peer.next().await {
        if let Message::Binary(bytes) = message {
            peer.send(Message::Binary(bytes)).await;
        }
    }
}

#[tokio::test]
async fn first_send_asks_for_a_token_connects_and_goes_out() {
    let service = Service::good(|peer, _| echo(peer)).await;
    let mut session = client(service.url()).realtime(APP).max_buffering(2).start().unwrap();
    assert!(service.seen().is_empty(), "nothing happens before the first message");
    session.send(&json!({ "prompt": "a cat" })).await.unwrap();
    let output = in_time(session.recv()).await.unwrap().unwrap();
    assert_eq!(output.decode::<serde_json::Value>().unwrap(), json!({ "prompt": "a cat" }));
    let seen = service.seen();
    assert_eq!(
        service.lines(),
        [
            "POST /rest.fal.ai/tokens/realtime",
            "GET /fal.run/acme/paint/realtime?fal_jwt_token=ey.token.1&max_buffering=2",
        ]
    );
    let Seen::Request { body, .. } = &seen[0] else { panic!("the first is the token") };
    assert_eq!(body, r#"{"allowed_apps":["acme/paint/realtime"],"duration":120}"#);
    assert!(seen[0].header("authorization").unwrap().starts_with("Key "));
    assert_eq!(seen[1].header("authorization"), None, "who has a token shows no key");
    assert!(seen[1].header("user-agent").unwrap().starts_with("fal-client/"));
    assert_eq!(seen.len(), 3, "one message: {seen:?}");
    let closed = in_time(session.close()).await.unwrap();
    assert_eq!(closed.close.unwrap().code, Some(1000));
    assert_eq!((closed.traffic.sent, closed.traffic.received), (1, 1));
    assert_eq!(service.closes(), [1000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_messages_are_told() {
    for (queue, expected, dropped) in [
        (Queue::Latest, vec![5], vec![(1, WhyDropped::Replaced), (4, WhyDropped::Replaced)]),
        (
            Queue::All { messages_max: 3 },
            vec![1, 2, 3],
            vec![(4, WhyDropped::Full), (5, WhyDropped::Full)],
        ),
    ] {
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let service = Service::start(
            move |line, earlier| {
                if line.starts_with("POST") {
                    tokio::task::block_in_place(|| gate.lock().unwrap().recv().unwrap());
                }
                crate::support::socket::good(line, earlier)
            },
            |peer, _| echo(peer),
        )
        .await;
        let mut session = client(service.url()).realtime(APP).queue(queue).start().unwrap();
        for number in 1..=5 {
            session.send(&number).await.unwrap();
        }
        release.send(()).unwrap();
        let (mut told, mut outputs) = (Vec::new(), Vec::new());
        while outputs.len() < expected.len() {
            match in_time(session.next_event()).await.unwrap() {
                RealtimeEvent::Dropped { number, why } => told.push((number, why)),
                RealtimeEvent::Output(output) => outputs.push(output.decode::<u64>().unwrap()),
                _ => {}
            }
        }
        assert_eq!(outputs, expected);
        for one in dropped {
            assert!(told.contains(&one), "{told:?}");
        }
        assert_eq!(told.len() + outputs.len(), 5);
    }
}

#[tokio::test]
async fn idle_end_is_no_error_and_the_next_message_connects_again() {
    let service = Service::good(|mut peer, number| async move {
        let input = peer.input().await;
        peer.say(&json!({ "n": number, "input": input })).await;
        peer.say(&json!({ "type": "x-fal-message", "action": "timings", "timing": 0.1 })).await;
        let reason = "no inputs, reconnect when needed!";
        peer.say(&json!({ "type": "x-fal-error", "error": "TIMEOUT", "reason": reason })).await;
        peer.close(Some(1000)).await;
    })
    .await;
    let mut session = client(service.url()).realtime(APP).start().unwrap();
    for round in 0..2 {
        session.send(&json!({ "round": round })).await.unwrap();
        let output = in_time(session.recv()).await.unwrap().unwrap();
        let expected = json!({ "n": round, "input": { "round": round } });
        assert_eq!(output.decode::<serde_json::Value>().unwrap(), expected);
        assert!(!output.is_binary());
        assert!(in_time(session.recv()).await.is_none(), "an end in order is no error");
    }
    let tokens = service.lines().iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(tokens, 2, "a new token for each connection");
}

#[tokio::test]
async fn errors_of_the_app_are_told_and_the_end_is_in_order() {
    let service = Service::good(|mut peer, _| async move {
        peer.input().await;
        let error = json!({ "type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "boom" });
        peer.say(&error).await;
        peer.close(Some(1000)).await;
    })
    .await;
    let mut session = client(service.url()).realtime(APP).start().unwrap();
    session.send(&json!({})).await.unwrap();
    let error = in_time(session.recv()).await.unwrap().unwrap_err();
    assert_eq!(error.error_type().unwrap().as_str(), "INTERNAL_ERROR");
    assert!(error.to_string().contains("boom"), "{error}");
    assert!(in_time(session.recv()).await.is_none());
}

#[tokio::test]
async fn close_codes_are_ends_or_errors() {
    for (code, is_clean) in [
        (Some(1000), true),
        (Some(1001), true),
        (None, true),
        (Some(1008), false),
        (Some(1011), false),
    ] {
        let service = Service::good(move |mut peer, _| async move {
            peer.input().await;
            peer.close(code).await;
        })
        .await;
        let mut session = client(service.url()).realtime(APP).start().unwrap();
        session.send(&json!({})).await.unwrap();
        let event = loop {
            match in_time(session.next_event()).await.unwrap() {
                RealtimeEvent::Connected => {}
                event => break event,
            }
        };
        match event {
            RealtimeEvent::Ended(ended) => {
                assert!(is_clean, "{code:?}: {ended:?}");
                assert_eq!((ended.close.unwrap().code, ended.traffic.sent), (code, 1));
            }
            RealtimeEvent::Failed { error, traffic, .. } => {
                assert!(!is_clean, "{code:?}: {error}");
                let text = error.to_string();
                assert!(
                    text.contains(&code.unwrap().to_string()) && text.contains("because"),
                    "{text}"
                );
                assert_eq!((traffic.sent, traffic.received), (1, 0), "one input is unanswered");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn lost_connection_is_an_error() {
    let service = Service::good(|mut peer, _| async move {
        peer.input().await; // And is gone: what browsers call 1006.
    })
    .await;
    let mut session = client(service.url()).realtime(APP).start().unwrap();
    session.send(&json!({})).await.unwrap();
    let error = in_time(session.recv()).await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), Some(fal_client::ErrorKind::Transport(_))), "{error:?}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Frame {
    image_bytes: Bytes,
    prompt: Option<String>,
    seed: u64,
    guidance: f64,
    extra: std::collections::BTreeMap<String, i64>,
}

#[tokio::test]
async fn bytes_survive_both_ways_and_large_messages_pass() {
    let service = Service::good(|peer, _| echo(peer)).await;
    let mut session = client(service.url()).realtime(APP).start().unwrap();
    for length in [3, 17 << 20] {
        let frame = Frame {
            image_bytes: vec![0xff; length].into(),
            prompt: None,
            seed: u64::MAX,
            guidance: 7.5,
            extra: [("low".to_owned(), i64::MIN)].into(),
        };
        session.send(&frame).await.unwrap();
        let output = in_time(session.recv()).await.unwrap().unwrap();
        assert!(output.is_binary());
        assert_eq!(output.decode::<Frame>().unwrap(), frame);
        let value = output.value().unwrap();
        assert_eq!(value.get("image_bytes").unwrap().as_bytes().unwrap().len(), length);
        assert_eq!(value.get("seed"), Some(&Value::Integer(u64::MAX.into())));
    }
}

#[tokio::test]
async fn messages_longer_than_allowed_end_the_connection() {
    let service = Service::good(|peer, _| echo(peer)).await;
    let mut session = client(service.url()).realtime(APP).message_bytes_max(1000).start().unwrap();
    session.send(&"x".repeat(900)).await.unwrap();
    in_time(session.recv()).await.unwrap().unwrap();
    session.send(&"x".repeat(1100)).await.unwrap();
    let error = in_time(session.recv()).await.unwrap().unwrap_err();
    let Some(fal_client::ErrorKind::Transport(failure)) = error.kind() else { panic!("{error:?}") };
    assert_eq!(failure.kind, fal_client::FailureKind::TooLarge);
}

#[tokio::test]
async fn dropping_a_session_closes_it_in_order() {
    let service = Service::good(|peer, _| echo(peer)).await;
    let mut session = client(service.url()).realtime(APP).start().unwrap();
    session.send(&json!({})).await.unwrap();
    in_time(session.recv()).await.unwrap().unwrap();
    drop(session);
    crate::support::eventually("the service sees the close", || service.closes() == [1000]).await;
}

#[tokio::test]
async fn raw_sockets_have_no_codec_and_no_path() {
    let service = Service::good(|mut peer, _| async move {
        while let Some(message) = peer.next().await {
            if matches!(message, Message::Text(_) | Message::Binary(_)) {
                peer.send(message).await;
            }
        }
    })
    .await;
    let mut socket = in_time(client(service.url()).realtime(APP).connect_raw()).await.unwrap();
    socket.send_text("no json").await.unwrap();
    let text = in_time(socket.recv()).await.unwrap().unwrap();
    assert_eq!(text, fal_protocol::wire::Message::text("no json"));
    socket.send_bytes(&b"\xc1"[..]).await.unwrap();
    let bytes = in_time(socket.recv()).await.unwrap().unwrap();
    assert_eq!(bytes.bytes(), b"\xc1");
    in_time(socket.close()).await.unwrap();
    assert_eq!(service.lines()[1], "GET /fal.run/acme/paint?fal_jwt_token=ey.token.1");
    assert_eq!(service.closes(), [1000]);
}
