//! The mock as a proxy: tunnels to fal's hosts, absolute addresses, and what is refused.

use fal_mock::MockFal;
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::client::{call, get, send};
use crate::instant;
use crate::secure::{ask, dial, shake, tunnel};

#[tokio::test]
async fn a_tunnel_to_fal_ends_here_with_tls_and_without() {
    let mock = instant().await;
    let submit = || call(Method::POST, "/fal-ai/flux/dev");
    let stream = tunnel(mock.port(), "queue.fal.run:443").await.unwrap();
    let stream = shake(stream, mock.ca_pem(), "queue.fal.run").await.unwrap();
    let submitted = ask(stream, "queue.fal.run", submit(), r#"{"prompt":"x"}"#).await.json();
    let url = submitted["response_url"].as_str().unwrap();
    let path = url.strip_prefix("https://queue.fal.run").expect("a real address");
    let stream = tunnel(mock.port(), "queue.fal.run:443").await.unwrap();
    let stream = shake(stream, mock.ca_pem(), "queue.fal.run").await.unwrap();
    let output = ask(stream, "queue.fal.run", call(Method::GET, path), "").await.json();
    let file = output["images"][0]["url"].as_str().unwrap();
    assert!(file.starts_with("https://v3.fal.media/files/"), "{file}");

    let stream = tunnel(mock.port(), "queue.fal.run:80").await.unwrap();
    let submitted = ask(stream, "queue.fal.run", submit(), r#"{"prompt":"x"}"#).await.json();
    let url = submitted["response_url"].as_str().unwrap();
    assert!(url.starts_with("http://queue.fal.run/"), "back by the same door: {url}");
    assert_eq!((mock.submits(), mock.refused_connects()), (2, 0));
}

#[tokio::test]
async fn the_target_of_a_tunnel_stands_in_where_a_request_names_no_host() {
    let mock = instant().await;
    let mut stream = tunnel(mock.port(), "fal.run:80").await.unwrap();
    let ask = "GET /fal-ai/flux/dev/health HTTP/1.0\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(!answer.contains("is nothing here"), "{answer}");
    assert!(mock.requests().iter().any(|seen| seen.address.starts_with("fal.run/")), "{answer}");
}

#[tokio::test]
async fn a_tunnel_to_the_mock_itself_has_the_other_doors() {
    let mock = instant().await;
    let own = mock.address().to_string();
    let stream = tunnel(mock.port(), &own).await.unwrap();
    let run = call(Method::POST, "/fal.run/fal-ai/flux/dev");
    let output = ask(stream, &own, run, r#"{"prompt":"x"}"#).await.json();
    let url = output["images"][0]["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://{own}/v3.fal.media/")), "{url}");
    let stream = tunnel(mock.port(), &format!("localhost:{}", mock.port())).await.unwrap();
    assert!(shake(stream, mock.ca_pem(), "localhost").await.is_ok());
}

#[tokio::test]
async fn absolute_addresses_of_fal_are_answered() {
    let mock = instant().await;
    let port = mock.port();
    let run = call(Method::POST, "http://queue.fal.run/fal-ai/flux/dev").header("host", "other");
    let submitted = send(port, run, r#"{"prompt":"x"}"#).await.json();
    let status = submitted["status_url"].as_str().unwrap();
    assert!(status.starts_with("http://queue.fal.run/"), "{status}");
    let status = send(port, call(Method::GET, status), "").await;
    assert_eq!(status.json()["status"], "COMPLETED");

    // Some clients send such an address to their proxy instead of asking for a tunnel.
    let run = call(Method::POST, "https://queue.fal.run/fal-ai/flux/dev");
    let submitted = send(port, run, r#"{"prompt":"x"}"#).await.json();
    assert!(submitted["status_url"].as_str().unwrap().starts_with("https://queue.fal.run/"));
    let own = format!("http://127.0.0.1:{port}/fal.run/fal-ai/flux/dev");
    assert_eq!(send(port, call(Method::POST, &own), r#"{"prompt":"x"}"#).await.status, 200);
}

#[tokio::test]
async fn everything_else_is_refused_and_counted() {
    let mock = instant().await;
    let port = mock.port();
    for target in ["example.com:443", "api.openai.com:443", "127.0.0.1:1", "example.com:443"] {
        let refusal = tunnel(port, target).await.unwrap_err();
        assert!(refusal.starts_with("HTTP/1.1 403 "), "{refusal}");
        assert!(refusal.contains("content-type: application/json"), "{refusal}");
        assert!(refusal.contains(target) && refusal.contains("--passthrough"), "{refusal}");
    }
    for method in [Method::GET, Method::OPTIONS] {
        let answer = send(port, call(method, "http://example.com/fal.run/a/b"), "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("example.com"), "{detail}");
    }
    let refused = mock.refused();
    let counts: Vec<(&str, u64)> =
        refused.iter().map(|refused| (refused.target.as_str(), refused.count)).collect();
    let want =
        [("127.0.0.1:1", 1), ("api.openai.com:443", 1), ("example.com", 2), ("example.com:443", 2)];
    assert_eq!(counts, want);
    assert_eq!(mock.refused_connects(), 6);
    let seen = mock.requests();
    assert!(seen.iter().any(|seen| seen.method == Method::CONNECT && seen.status == 403));
    assert_eq!(get(port, "/").await.status, StatusCode::OK);
}

/// A server elsewhere that answers one request with what it was asked.
async fn elsewhere() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a caller");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole head"));
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close, x-hop\r\nx-hop: 1\r\n\r\n",
            head.len()
        );
        stream.write_all(answer.as_bytes()).await.expect("the caller reads");
        stream.write_all(&head).await.expect("the caller reads");
    });
    (port, task)
}

#[tokio::test]
async fn other_hosts_are_reached_only_where_they_may_pass() {
    let mock = MockFal::builder().instant().passthrough(true).start().await.unwrap();
    let (other, _task) = elsewhere().await;
    let mut stream = tunnel(mock.port(), &format!("127.0.0.1:{other}")).await.unwrap();
    stream.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("GET /a HTTP/1.1\r\n\r\n"), "{answer}");

    let (other, _task) = elsewhere().await;
    let request = Request::get(format!("http://127.0.0.1:{other}/a?b=1"))
        .header("connection", "x-mine")
        .header("x-mine", "1")
        .header("proxy-authorization", "secret")
        .header("x-kept", "2");
    let answer = send(mock.port(), request, "").await;
    assert!(!answer.headers.contains_key("x-hop"));
    let asked = String::from_utf8(answer.body.to_vec()).unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("get /a?b=1 http/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: 127.0.0.1:{other}\r\n")), "{asked}");
    assert!(asked.contains("x-kept: 2") && !asked.contains("x-mine"), "{asked}");
    assert!(!asked.contains("secret"), "{asked}");

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refusal = tunnel(mock.port(), &closed.to_string()).await.unwrap_err();
    assert!(refusal.starts_with("HTTP/1.1 502 "), "{refusal}");
    assert_eq!(mock.refused_connects(), 0);
    // Hosts of fal's never pass.
    let stream = tunnel(mock.port(), "new.fal.ai:80").await.unwrap();
    let answer = ask(stream, "new.fal.ai", call(Method::GET, "/"), "").await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn stopping_the_mock_cuts_tunnels() {
    let mock = instant().await;
    let stream = tunnel(mock.port(), "fal.run:443").await.unwrap();
    let mut stream = shake(stream, mock.ca_pem(), "fal.run").await.unwrap();
    mock.stop().await;
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest).await;
    assert!(ended.is_err() || rest.is_empty());
}

#[tokio::test]
async fn a_closed_connection_without_a_word_is_no_trouble() {
    let mock = instant().await;
    drop(dial(mock.port()).await);
    drop(tunnel(mock.port(), "fal.run:443").await.unwrap());
    assert_eq!(get(mock.port(), "/").await.status, StatusCode::OK);
}
