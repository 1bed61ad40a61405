//! WebSockets through real sockets, by a client of the library.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::time::Duration;

use fal_mock::MockFal;
use fal_mock::model::{Control, Frame, MessageFailure, RealtimeConfig, TokenRefusal};
use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::client::{get, post};
use crate::instant;
use crate::secure::{shake, tunnel};

type Socket = WebSocketStream<TcpStream>;

/// Opens a WebSocket with a key, or without one.
async fn connect(mock: &MockFal, path: &str, has_key: bool) -> Result<Socket, Error> {
    let stream = TcpStream::connect(mock.address()).await.unwrap();
    let mut request = format!("ws://{}{path}", mock.address()).into_client_request().unwrap();
    if has_key {
        request.headers_mut().insert("authorization", "Key id:secret".parse().unwrap());
    }
    client_async(request, stream).await.map(|(socket, _)| socket)
}

async fn open(mock: &MockFal, path: &str) -> Socket {
    connect(mock, path, true).await.unwrap()
}

/// The status with which a handshake is refused.
async fn refused(mock: &MockFal, path: &str, has_key: bool) -> StatusCode {
    match connect(mock, path, has_key).await {
        Err(Error::Http(response)) => StatusCode::from_u16(response.status().as_u16()).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn say(socket: &mut Socket, input: &str) {
    socket.send(Message::text(input)).await.unwrap();
}

/// The next message, which is a text of JSON.
async fn hear(socket: &mut Socket) -> Value {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The code of the close that comes next; `None` if it has none, an error if the connection is cut.
async fn closed(socket: &mut Socket) -> Result<Option<u16>, Error> {
    match socket.next().await {
        Some(Ok(Message::Close(frame))) => Ok(frame.map(|frame| frame.code.into())),
        Some(Err(error)) => Err(error),
        other => panic!("{other:?}"),
    }
}

/// A mock whose jobs complete at once, with these settings of sessions.
async fn with(change: impl FnOnce(&mut RealtimeConfig)) -> MockFal {
    let mut config = fal_mock::model::Config::default();
    config.instant = true;
    change(&mut config.realtime);
    MockFal::builder().config(config).start().await.unwrap()
}

const SESSION: &str = "/fal.run/acme/app/realtime";

#[tokio::test]
async fn a_session_by_token_goes_from_handshake_to_silence() {
    let mock = with(|realtime| realtime.session_timeout = Some(Duration::from_millis(200))).await;
    let body = r#"{"allowed_apps":["app"],"token_expiration":60}"#;
    let token = post(mock.port(), "/rest.fal.ai/tokens/", body).await.json();
    let path = format!("{SESSION}?fal_jwt_token={}", token.as_str().unwrap());
    let mut socket = connect(&mock, &path, false).await.unwrap();
    // {"prompt": "a cat"} in MessagePack.
    let input = b"\x81\xa6prompt\xa5a cat";
    socket.send(Message::binary(&input[..])).await.unwrap();
    let Some(Ok(Message::Binary(output))) = socket.next().await else { panic!("an output") };
    assert!(output.windows(8).any(|bytes| bytes == b"\x89PNG\r\n\x1a\n"));
    assert_eq!(mock.sessions()[0].outputs, 1);
    assert_eq!(hear(&mut socket).await["error"], "TIMEOUT");
    assert_eq!(closed(&mut socket).await.unwrap(), Some(1000));
    assert!(mock.sessions().is_empty());
    let seen = mock.requests().pop().unwrap();
    assert_eq!((&*seen.address, seen.status), ("fal.run/acme/app/realtime", 101));
}

#[tokio::test]
async fn bad_tokens_are_refused_either_way() {
    let mock = instant().await;
    let path = format!("{SESSION}?fal_jwt_token=x");
    let mut socket = connect(&mock, &path, false).await.unwrap();
    assert_eq!(hear(&mut socket).await, json!({"status": "error", "error": "Unauthorized"}));
    assert_eq!(closed(&mut socket).await.unwrap(), Some(1008));
    let mock = with(|realtime| realtime.refusal = TokenRefusal::Http).await;
    assert_eq!(refused(&mock, &path, false).await, StatusCode::UNAUTHORIZED);
    assert_eq!(refused(&mock, SESSION, false).await, StatusCode::UNAUTHORIZED);
    let doubled = format!("{SESSION}/realtime");
    assert_eq!(refused(&mock, &doubled, true).await, StatusCode::NOT_FOUND);
    assert_eq!(refused(&mock, "/rest.fal.ai/tokens/", true).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_end_has_its_code() {
    let mock = instant().await;
    for (code, want) in [(Some(1011), Some(1011)), (Some(1001), Some(1001)), (None, None)] {
        let mut socket = open(&mock, SESSION).await;
        let reason = "as asked".into();
        mock.control(Control::CloseSession { session: None, code, reason });
        assert_eq!(closed(&mut socket).await.unwrap(), want);
    }
    let mut socket = open(&mock, SESSION).await;
    mock.control(Control::DropSession { session: None });
    closed(&mut socket).await.unwrap_err();

    // A client that gives no code is answered with 1000, others with their own.
    for (code, want) in [(None, 1000), (Some(4000), 4000)] {
        let mut socket = open(&mock, SESSION).await;
        let frame = code.map(|code: u16| tokio_tungstenite::tungstenite::protocol::CloseFrame {
            code: code.into(),
            reason: "".into(),
        });
        socket.close(frame).await.unwrap();
        assert_eq!(closed(&mut socket).await.unwrap(), Some(want));
    }
    assert!(mock.sessions().is_empty());
}

#[tokio::test]
async fn a_client_that_vanishes_ends_its_session() {
    let mock = instant().await;
    let socket = open(&mock, SESSION).await;
    assert_eq!(mock.sessions().len(), 1);
    drop(socket);
    crate::exchanges::until("the end of the session", || mock.sessions().is_empty()).await;
}

#[tokio::test]
async fn a_stopped_mock_drops_its_sessions() {
    let mock = instant().await;
    let mut socket = open(&mock, SESSION).await;
    mock.stop().await;
    closed(&mut socket).await.unwrap_err();
}

#[tokio::test]
async fn long_messages_pass_up_to_the_limit() {
    let mock = instant().await;
    let mut socket = open(&mock, SESSION).await;
    let long = "x".repeat(17 << 20);
    let size = r#""image_size":{"width":8,"height":8}"#;
    say(&mut socket, &format!(r#"{{"image_url":"data:{long}",{size}}}"#)).await;
    assert!(hear(&mut socket).await["images"].is_array());

    let mock = with(|realtime| realtime.message_bytes_max = 20).await;
    for (input, is_taken) in
        [(r#"{"prompt":"0123456"}"#, true), (r#"{"prompt":"01234567"}"#, false)]
    {
        let mut socket = open(&mock, SESSION).await;
        assert_eq!(input.len(), if is_taken { 20 } else { 21 });
        say(&mut socket, input).await;
        if is_taken {
            assert!(hear(&mut socket).await["images"].is_array());
        } else {
            assert_eq!(closed(&mut socket).await.unwrap(), Some(1009));
        }
    }
}

#[tokio::test]
async fn messages_of_a_test_reach_the_client() {
    let mock = instant().await;
    let mut socket = open(&mock, SESSION).await;
    let news = r#"{"type":"x-fal-message","action":"news"}"#;
    mock.control(Control::Say { session: None, frame: Frame::Text(news.to_owned()) });
    assert_eq!(hear(&mut socket).await["action"], "news");
    mock.control(Control::FailNextMessage(MessageFailure::Error("it fell over".into())));
    say(&mut socket, "{}").await;
    let error = hear(&mut socket).await;
    assert_eq!(
        (&error["error"], &error["reason"]),
        (&json!("INTERNAL_ERROR"), &json!("it fell over"))
    );
    assert_eq!(closed(&mut socket).await.unwrap(), Some(1000));
}

#[tokio::test]
async fn pings_are_answered() {
    let mock = instant().await;
    let mut socket = open(&mock, SESSION).await;
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
}

#[tokio::test]
async fn calls_over_one_connection_are_answered_in_order() {
    let mock = instant().await;
    let mut socket = open(&mock, "/ws.fal.run/acme/app").await;
    let inputs = [r#"{"seed":1}"#, r#"{"seed":"x"}"#, r#"{"seed":3}"#];
    for input in inputs {
        say(&mut socket, input).await;
    }
    for (status, seed) in [(200, json!(1)), (422, Value::Null), (200, json!(3))] {
        let start = hear(&mut socket).await;
        assert_eq!((&start["type"], &start["status"]), (&json!("start"), &json!(status)));
        assert_eq!(start["headers"]["content-type"], "application/json");
        assert_eq!(hear(&mut socket).await["seed"], seed);
        let end = hear(&mut socket).await;
        assert_eq!((&end["type"], &end["request_id"]), (&json!("end"), &start["request_id"]));
        assert!(end["time_to_first_byte_seconds"].is_f64(), "{end}");
    }
    socket.close(None).await.unwrap();
    assert_eq!(closed(&mut socket).await.unwrap(), Some(1000));
    assert_eq!(mock.counters().fronts, 1);
    assert_eq!(refused(&mock, "/ws.fal.run/acme/app", false).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let mock = instant().await;
    let plain = get(mock.port(), "/ws.fal.run/acme/app").await;
    assert_eq!(plain.status, StatusCode::UPGRADE_REQUIRED);
    for route in ["ice", "session", "session/heartbeat"] {
        let answer = post(mock.port(), &format!("/wma.fal.run/{route}"), "{}").await;
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
        assert!(answer.json()["detail"].as_str().unwrap().contains("WebRTC"));
    }
    let path = "/wma.fal.run/session";
    assert_eq!(refused(&mock, path, true).await, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn hard_coded_addresses_are_reached_through_a_tunnel_with_tls() {
    let mock = instant().await;
    for (host, path) in [("fal.run", "/acme/app/realtime"), ("ws.fal.run", "/acme/app")] {
        let stream = tunnel(mock.port(), &format!("{host}:443")).await.unwrap();
        let stream = shake(stream, mock.ca_pem(), host).await.unwrap();
        let mut request = format!("wss://{host}{path}").into_client_request().unwrap();
        request.headers_mut().insert("authorization", "Key id:secret".parse().unwrap());
        let (mut socket, answer) = client_async(request, stream).await.unwrap();
        assert_eq!(answer.status().as_u16(), 101);
        socket.send(Message::text(r#"{"seed":7}"#)).await.unwrap();
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("a text") };
        assert!(text.contains("\"seed\":7") || text.contains("\"start\""), "{text}");
    }
    assert_eq!((mock.counters().sessions, mock.counters().fronts), (1, 1));
    assert_eq!(mock.refused_connects(), 0);
}

#[tokio::test]
async fn sounds_arrive_as_raw_chunks() {
    let mock = instant().await;
    let answer = post(mock.port(), "/fal.run/fal-ai/maya/stream", r#"{"prompt":"hi"}"#).await;
    assert_eq!(answer.headers["content-type"], "audio/wav");
    assert!(answer.headers.contains_key("x-fal-request-id"));
    assert_eq!((&answer.body[..4], answer.body.len()), (&b"RIFF"[..], 32_044));
}
