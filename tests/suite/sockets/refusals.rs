use std::sync::{Arc, Mutex};

use fal_client::realtime::RealtimeEvent;
use fal_client::{Client, ErrorKind, TokenRoute};
use serde_json::json;

use crate::support::socket::{Peer, Reply, Seen, Service, good};
use crate::support::{KEY, builder, client, in_time};

const APP: &str = "acme/paint";

async fn answer_once(mut peer: Peer) {
    let input = peer.input().await;
    peer.say(&json!({ "echo": input })).await;
    peer.until_closed().await;
}

async fn unauthorized(mut peer: Peer) {
    peer.say(&json!({ "status": "error", "error": "Unauthorized" })).await;
    peer.close(Some(1008)).await;
}

fn tokens(service: &Service) -> usize {
    service.lines().iter().filter(|line| line.starts_with("POST")).count()
}

#[tokio::test]
async fn refused_token_is_replaced_once_and_nothing_is_lost() {
    let service = Service::good(|peer, number| async move {
        match number {
            0 => unauthorized(peer).await,
            _ => answer_once(peer).await,
        }
    })
    .await;
    let mut session = client(service.url()).realtime(APP).start().unwrap();
    session.send(&json!({ "n": 1 })).await.unwrap();
    let output = in_time(session.recv()).await.unwrap().unwrap();
    assert_eq!(output.decode::<serde_json::Value>().unwrap(), json!({ "echo": { "n": 1 } }));
    assert_eq!(tokens(&service), 2);
}

#[tokio::test]
async fn refused_twice_is_an_error_and_the_next_message_tries_again() {
    let service = Service::good(|peer, number| async move {
        match number {
            0 | 1 => unauthorized(peer).await,
            _ => answer_once(peer).await,
        }
    })
    .await;
    let mut session = client(service.url()).realtime(APP).start().unwrap();
    session.send(&json!({ "n": 1 })).await.unwrap();
    let error = in_time(session.recv()).await.unwrap().unwrap_err();
    assert_eq!(error.status().unwrap(), 401);
    assert_eq!(tokens(&service), 2);
    session.send(&json!({ "n": 2 })).await.unwrap();
    in_time(session.recv()).await.unwrap().unwrap();
    assert_eq!(tokens(&service), 3);
}

#[tokio::test]
async fn handshake_that_is_refused_is_tried_with_a_fresh_token() {
    let service = Service::start(
        |line, earlier| match (line.starts_with("GET"), earlier) {
            (true, 0) => Reply::json(401, &json!({ "detail": "Unauthorized" })),
            _ => good(line, earlier),
        },
        |peer, _| answer_once(peer),
    )
    .await;
    let mut session = client(service.url()).realtime(APP).start().unwrap();
    session.send(&json!({})).await.unwrap();
    in_time(session.recv()).await.unwrap().unwrap();
    let lines = service.lines();
    assert!(lines[1].ends_with("ey.token.1") && lines[3].ends_with("ey.token.2"), "{lines:?}");

    let raw = Service::start(
        |line, earlier| match (line.starts_with("GET"), earlier) {
            (true, 0) => Reply::json(401, &json!({ "detail": "Unauthorized" })),
            _ => good(line, earlier),
        },
        |peer, _| answer_once(peer),
    )
    .await;
    in_time(client(raw.url()).realtime(APP).connect_raw()).await.unwrap();
    assert_eq!(tokens(&raw), 2);
}

#[tokio::test]
async fn what_is_no_websocket_is_told() {
    for (status, kind) in [(200, "protocol"), (307, "protocol"), (404, "api"), (422, "api")] {
        let service = Service::start(
            move |line, earlier| match line.starts_with("GET") {
                true => Reply::json(status, &json!({ "detail": "no socket here" })),
                false => good(line, earlier),
            },
            |peer, _| answer_once(peer),
        )
        .await;
        let mut session = client(service.url()).realtime(APP).start().unwrap();
        session.send(&json!({})).await.unwrap();
        let error = in_time(session.recv()).await.unwrap().unwrap_err();
        let found = match error.kind() {
            Some(ErrorKind::Protocol(_)) => "protocol",
            Some(ErrorKind::Api(api)) if &*api.message == "no socket here" => "api",
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!(found, kind, "{status}: {error}");
    }
}

#[tokio::test]
async fn key_in_the_header_needs_no_token() {
    let service = Service::good(|peer, _| answer_once(peer)).await;
    let mut session = client(service.url()).realtime(APP).key_in_header().start().unwrap();
    session.send(&json!({})).await.unwrap();
    in_time(session.recv()).await.unwrap().unwrap();
    assert_eq!(service.lines(), ["GET /fal.run/acme/paint/realtime"]);
    assert_eq!(service.seen()[0].header("authorization"), Some(format!("Key {KEY}").as_str()));
}

#[tokio::test]
async fn provider_gives_tokens_for_the_whole_path() {
    let service = Service::good(|peer, _| answer_once(peer)).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&asked);
    let session =
        client(service.url()).realtime("123-app").path("//ws").token_provider(move |app| {
            told.lock().unwrap().push(app);
            async { Ok::<_, String>("ey.mine".to_owned()) }
        });
    let mut session = session.start().unwrap();
    session.send(&json!({})).await.unwrap();
    in_time(session.recv()).await.unwrap().unwrap();
    assert_eq!(*asked.lock().unwrap(), ["123/app/ws"]);
    assert_eq!(service.lines(), ["GET /fal.run/123/app/ws?fal_jwt_token=ey.mine"]);

    let session = client(service.url()).realtime(APP);
    let session = session.token_provider(|_| async { Err::<String, _>("out of tokens") });
    let mut session = session.start().unwrap();
    session.send(&json!({})).await.unwrap();
    let error = in_time(session.recv()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("out of tokens"), "{error}");
}

#[tokio::test]
async fn tokens_come_by_either_route_and_in_four_shapes() {
    for (body, newer) in [
        (r#"{"token":"ey.a.b"}"#, 200),
        (r#""ey.a.b""#, 200),
        (r#"{"detail":"ey.a.b"}"#, 404),
        ("ey.a.b", 405),
    ] {
        let service = Service::start(
            move |line, _| match line.ends_with("/tokens/realtime") && newer != 200 {
                true => Reply::json(newer, &json!({ "detail": "unknown route" })),
                false => Reply::Http(200, body.to_owned()),
            },
            |peer, _| answer_once(peer),
        )
        .await;
        let token = in_time(client(service.url()).token(["acme/paint/realtime"])).await.unwrap();
        assert_eq!(token.as_str(), "ey.a.b");
        let Some(Seen::Request { line, body, .. }) = service.seen().pop() else { panic!("asked") };
        match newer {
            200 => assert_eq!(line, "POST /rest.fal.ai/tokens/realtime"),
            _ => {
                assert_eq!(line, "POST /rest.fal.ai/tokens/");
                assert_eq!(body, r#"{"allowed_apps":["paint"],"token_expiration":120}"#);
            }
        }
    }
}

#[tokio::test]
async fn refused_and_malformed_tokens_are_told_without_secrets() {
    for (status, body) in [
        (401, r#"{"detail":"No user found for Key ID and Secret"}"#),
        (200, r#"{"jwt":"ey.very-secret"}"#),
    ] {
        let service = Service::start(
            move |_, _| Reply::Http(status, body.to_owned()),
            |peer, _| answer_once(peer),
        )
        .await;
        let request = client(service.url()).token([APP]).route(TokenRoute::Realtime);
        let error = in_time(request).await.unwrap_err();
        assert_eq!(error.status().map(|status| status.as_u16()), (status == 401).then_some(401));
        assert!(!format!("{error} {error:?}").contains("very-secret"), "{error:?}");
        let mut session = client(service.url()).realtime(APP).start().unwrap();
        session.send(&json!({})).await.unwrap();
        in_time(session.recv()).await.unwrap().unwrap_err();
    }
    let nothing: [&str; 0] = [];
    let error = in_time(Client::builder().key(KEY).build().unwrap().token(nothing)).await;
    assert!(matches!(error.unwrap_err().kind(), Some(ErrorKind::Input(_))));
}

#[tokio::test]
async fn handshakes_without_an_answer_end_in_time() {
    let service = Service::start(
        |line, earlier| match line.starts_with("GET") {
            true => Reply::Hang,
            false => good(line, earlier),
        },
        |peer, _| answer_once(peer),
    )
    .await;
    let client = builder(service.url()).build().unwrap();
    let mut session = client.realtime(APP).start().unwrap();
    session.send(&json!({})).await.unwrap();
    let mut retries = 0;
    let error = loop {
        match in_time(session.next_event()).await.unwrap() {
            RealtimeEvent::Retrying { .. } => retries += 1,
            RealtimeEvent::Failed { error, queued, .. } => {
                assert_eq!(queued, 1, "what was not sent waits");
                break error;
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(error.kind(), Some(ErrorKind::Transport(_))), "{error:?}");
    assert_eq!(retries, 7, "opening a connection costs nothing and is repeated");
}

#[tokio::test]
async fn options_out_of_range_are_refused_here() {
    let client = Client::builder().key(KEY).build().unwrap();
    for buffering in [0, 61] {
        let error = client.realtime(APP).max_buffering(buffering).start().unwrap_err();
        assert!(error.to_string().contains("max_buffering"), "{error}");
    }
    assert!(client.realtime("nonsense").start().is_err());
    assert!(client.realtime(APP).path("a b").start().is_err());
}
