//! `proxy`, with the mock or a server of fixed words behind it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use fal_client::{Client, Event, ProxyConfig};
use fal_mock::MockFal;
use serde_json::{Value, json};

use crate::support::{Running, SECRET, Said, fal_cli};

const TARGET: &str = "https://fal.run/fal-ai/flux/dev";
const PASS: &str = "a-secret-of-callers";

#[tokio::test(flavor = "multi_thread")]
async fn known_callers_run_models_with_a_key_that_they_do_not_have() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let mut proxy = Proxy::start(&mock.url(), &["--allow-endpoint", "fal-ai/flux/**"]);
    let call = |pass: &str, target: &str| {
        let headers =
            format!("x-fal-target-url: {target}\r\n{pass}content-type: application/json\r\n");
        proxy.ask("POST", &headers, br#"{"prompt":"a cat"}"#)
    };
    let bearer = format!("Authorization: Bearer {PASS}\r\n");
    let answer = call(&bearer, TARGET);
    assert_eq!(answer.status, 200);
    assert!(answer.json()["images"][0]["url"].is_string());
    assert!(answer.header("x-fal-request-id").is_some());
    assert_eq!(call(&format!("authorization: Key {PASS}\r\n"), TARGET).status, 200);
    for (pass, target, status) in [
        ("", TARGET, 401),
        ("authorization: Bearer wrong-secret-of-callers\r\n", TARGET, 401),
        (bearer.as_str(), "https://fal.run/other/model", 400),
        (bearer.as_str(), "https://evil.test/fal-ai/flux/dev", 400),
        (bearer.as_str(), "http://fal.run/fal-ai/flux/dev", 400),
    ] {
        let answer = call(pass, target);
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.json().is_string(), "{answer:?}");
    }
    assert_eq!(mock.counters().runs, 2);
    let line = proxy.running.until("request");
    assert_eq!(
        (&line["method"], &line["target"], &line["status"]),
        (&json!("POST"), &json!("fal.run/fal-ai/flux/dev"), &json!(200))
    );
    assert!(line["bytes"].as_u64() > Some(0) && line["problem"].is_null(), "{line}");
    let said = proxy.stop();
    assert_eq!(said.lines().iter().filter(|line| line["event"] == "request").count(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_model_pass_as_they_are() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let proxy = Proxy::start(&mock.url(), &[]);
    let target = "https://fal.run/fal-ai/controlnet-ip-adapter";
    let headers = format!("{}content-type: application/json\r\n", known(target));
    let answer = proxy.ask("POST", &headers, br#"{"seed":"x"}"#);
    assert_eq!(answer.status, 422);
    assert!(answer.json()["detail"][0]["loc"].is_array(), "{answer:?}");
    assert!(answer.header("x-fal-request-id").is_some());
    proxy.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_needs_no_key_behind_it() {
    let mock = MockFal::builder().start().await.unwrap();
    let proxy = Proxy::start(&mock.url(), &[]);
    let way = ProxyConfig::new(&proxy.url).unwrap();
    let way = way.header("authorization", &format!("Bearer {PASS}")).unwrap();
    let client = Client::builder().proxy(way).build().unwrap();
    let mut job = client.subscribe("fal-ai/flux/dev").input(json!({ "prompt": "x" })).start();
    let mut logs = 0;
    while let Some(event) = job.next_event().await {
        logs += usize::from(matches!(event, Event::Log(_)));
    }
    assert!(job.await.unwrap().value().unwrap()["images"][0]["url"].is_string() && logs > 0);
    let stranger = Client::builder().proxy_url(&proxy.url).build().unwrap();
    let error = stranger.subscribe("fal-ai/flux/dev").await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(401));
    let said = proxy.stop();
    let streamed = |line: &Value| {
        line["target"].as_str().is_some_and(|target| target.ends_with("/status/stream?…"))
    };
    assert_eq!(said.lines().iter().filter(|line| streamed(line)).count(), 1);
}

#[test]
fn streams_pass_piece_by_piece_with_status_and_headers_first() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let upstream = upstream(move |_, _, stream| {
        let head = "HTTP/1.1 201 Created\r\ncontent-type: text/event-stream\r\nset-cookie: a=b\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            // Nothing more comes before the caller has seen what has come so far.
            gone.lock().unwrap().recv().unwrap();
            write!(stream, "{:x}\r\n{event}\r\n", event.len()).unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let mut proxy = Proxy::start(&upstream.url, &[]);
    let mut stream = proxy.send("POST", &known(&format!("{TARGET}/stream")), b"{}");
    let head = read_head(&mut stream);
    assert!(head[0].contains("201"), "{head:?}");
    assert!(!head.iter().any(|line| line.starts_with("set-cookie")), "{head:?}");
    for event in ["data: 1", "data: 2"] {
        go.send(()).unwrap();
        let mut line = String::new();
        while line.trim_end() != event {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "{event} did not come");
        }
    }
    let line = proxy.running.until("request");
    assert_eq!((&line["status"], &line["bytes"]), (&json!(201), &json!(18)));
    proxy.stop();
}

#[test]
fn a_stream_that_is_cut_is_cut_for_the_caller_too() {
    let upstream = upstream(|_, _, stream| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
        stream.write_all(head.as_bytes()).unwrap();
    });
    let mut proxy = Proxy::start(&upstream.url, &[]);
    let mut stream = proxy.send("POST", &known(TARGET), b"{}");
    let mut answer = String::new();
    // It may be over before its head is, or by a reset.
    let ended = stream.read_to_string(&mut answer);
    assert!(ended.is_err() || !answer.ends_with("0\r\n\r\n"), "it looks whole: {answer:?}");
    assert!(proxy.running.until("request")["problem"].is_string());
    proxy.stop();
}

#[test]
fn encoded_answers_pass_as_they_are_and_redirects_are_not_followed() {
    let upstream = upstream(|target, _, stream| {
        let head = match target.ends_with("/moved") {
            true => {
                "HTTP/1.1 302 Found\r\nlocation: https://evil.test/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            }
            false => {
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\nconnection: close\r\n\r\n\x1f\u{1}zz"
            }
        };
        stream.write_all(head.as_bytes()).unwrap();
    });
    let proxy = Proxy::start(&upstream.url, &[]);
    let answer = proxy.ask("POST", &known(TARGET), b"{}");
    assert_eq!(
        (answer.header("content-encoding"), &answer.body[..]),
        (Some("gzip"), &b"\x1f\x01zz"[..])
    );
    let answer = proxy.ask("POST", &known(&format!("{TARGET}/moved")), b"{}");
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://evil.test/")));
    assert_eq!(upstream.seen.lock().unwrap().len(), 2);
    proxy.stop();
}

#[test]
fn only_what_is_for_the_service_goes_there() {
    let upstream = upstream(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    });
    let proxy = Proxy::start(&upstream.url, &["--forward-header", "x-trace"]);
    let headers = known("https://queue.fal.run/acme/app?fal_webhook=x")
        + "cookie: session=1\r\nx-fal-queue-priority: low\r\nx-trace: 7\r\nx-other: 8\r\n";
    assert_eq!(proxy.ask("POST", &headers, b"{\"a\":1}").status, 200);
    let (line, headers) = upstream.seen.lock().unwrap()[0].clone();
    assert_eq!(line, "POST /queue.fal.run/acme/app?fal_webhook=x HTTP/1.1");
    let has = |start: &str| headers.iter().any(|line| line.to_ascii_lowercase().starts_with(start));
    assert!(has(&format!("authorization: key id:{SECRET}")), "{headers:?}");
    for start in [
        "x-fal-client-proxy: fal-cli/",
        "x-fal-queue-priority: low",
        "x-trace: 7",
        "content-length: 7",
    ] {
        assert!(has(start), "{start} in {headers:?}");
    }
    for start in ["cookie", "x-other", "x-fal-target-url", "origin"] {
        assert!(!has(start), "{start} in {headers:?}");
    }
    proxy.stop();
}

#[test]
fn long_bodies_are_refused_before_they_are_sent_on() {
    let upstream = upstream(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    });
    let proxy = Proxy::start(&upstream.url, &["--body-max", "1k"]);
    assert_eq!(proxy.ask("POST", &known(TARGET), &[b'x'; 1024]).status, 200);
    let answer = proxy.ask("POST", &known(TARGET), &[b'x'; 1025]);
    assert_eq!((answer.status, answer.json().is_string()), (413, true));
    assert_eq!(upstream.seen.lock().unwrap().len(), 1);
    proxy.stop();
}

#[test]
fn a_service_that_is_down_may_be_asked_again_and_no_other() {
    // A port that nobody listens at: no byte can have been sent.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(&format!("http://{free}"), &[]);
    let answer = proxy.ask("POST", &known(TARGET), b"{}");
    assert_eq!((answer.status, answer.header("x-fal-needs-retry")), (502, Some("1")));
    proxy.stop();
    // It took the call and says nothing: nobody knows what it did.
    let upstream = upstream(|_, _, _| {});
    let proxy = Proxy::start(&upstream.url, &[]);
    let answer = proxy.ask("POST", &known(TARGET), b"{}");
    assert_eq!((answer.status, answer.header("x-fal-needs-retry")), (502, None));
    proxy.stop();
}

#[test]
fn another_server_may_know_the_callers() {
    let service = upstream(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    });
    let hook = upstream(|_, headers, stream| {
        let has = |text: &str| headers.iter().any(|line| line.to_ascii_lowercase() == text);
        let status = match () {
            () if has("cookie: session=good") => "204 No Content",
            () if has("cookie: session=odd") => "500 Oops",
            () => "401 Unauthorized",
        };
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    let auth_url = format!("{}/auth?x=1", hook.url);
    let proxy = Proxy::start(&service.url, &["--auth-url", &auth_url]);
    for (cookie, status) in [("good", 200), ("bad", 401), ("odd", 502)] {
        let headers = format!("x-fal-target-url: {TARGET}\r\ncookie: session={cookie}\r\n");
        assert_eq!(proxy.ask("POST", &headers, b"{}").status, status, "{cookie}");
    }
    let seen = hook.seen.lock().unwrap().clone();
    assert_eq!(seen[0].0, "GET /auth?x=1 HTTP/1.1");
    assert!(seen[0].1.contains(&"x-original-method: POST".to_owned()), "{seen:?}");
    assert!(seen[0].1.contains(&format!("x-fal-target-url: {TARGET}")), "{seen:?}");
    assert_eq!(service.seen.lock().unwrap().len(), 1);
    proxy.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_origins_may_call() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let args = ["--anonymous", "--origin", "https://app.example"];
    let proxy = Proxy::start(&mock.url(), &args);
    let call = |method: &str, origin: &str, more: &str| {
        let headers = format!("origin: {origin}\r\nx-fal-target-url: {TARGET}\r\n{more}");
        proxy.ask(method, &headers, b"{\"prompt\":\"x\"}")
    };
    let asked = "access-control-request-headers: x-fal-target-url\r\n";
    let answer = call("OPTIONS", "https://app.example", asked);
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-fal-target-url"));
    let answer = call("POST", "https://app.example", "");
    assert_eq!(answer.status, 200);
    let allowed = "access-control-allow-origin";
    assert_eq!(answer.header(allowed), Some("https://app.example"));
    for method in ["OPTIONS", "POST"] {
        let answer = call(method, "https://evil.test", asked);
        assert_eq!((answer.status, answer.header(allowed)), (403, None), "{method}");
    }
    assert_eq!(mock.counters().runs, 1);
    proxy.stop();
}

#[test]
fn nothing_is_served_by_accident() {
    for (args, secret, code, part) in [
        (&[][..], None, 2, "nobody could be known"),
        (&[], Some("short"), 2, "at least 16"),
        (&["--anonymous", "--allow-url", "**"], None, 2, "must name its host"),
        (&["--anonymous", "--allow-endpoint", "a{b}"], None, 2, "--allow-endpoint"),
        (&["--anonymous", "--forward-header", "cookie"], None, 2, "never forwarded"),
        (&["--anonymous", "--origin", "*"], None, 2, "origin"),
        (&["--auth-url", "ftp://x/y"], None, 2, "--auth-url"),
        (&["--forward-client-auth"], Some(PASS), 2, "would send FAL_PROXY_SECRET"),
        (&["--require-header", "x-fal-pass"], Some(PASS), 2, "goes on to the service"),
        (
            &["--require-header", "a", "--forward-header", "a"],
            Some(PASS),
            2,
            "goes on to the service",
        ),
    ] {
        let mut command = fal_cli("http://127.0.0.1:1");
        command.arg("proxy").args(args).env_remove("FAL_PROXY_SECRET");
        command.envs(secret.map(|secret| ("FAL_PROXY_SECRET", secret)));
        let said = Said::of(&mut command).expect(code);
        assert!(said.stderr.contains(part), "{args:?}: {}", said.stderr);
    }
    let mut command = fal_cli("http://127.0.0.1:1");
    command.args(["proxy", "--anonymous"]).env_remove("FAL_KEY");
    let said = Said::of(&mut command).expect(3);
    assert!(said.stderr.contains("no API key"), "{}", said.stderr);
}

/// A running proxy whose callers are known by [`PASS`].
pub(crate) struct Proxy {
    pub(crate) running: Running,
    pub(crate) url: String,
}

impl Proxy {
    #[track_caller]
    pub(crate) fn start(base_url: &str, args: &[&str]) -> Self {
        let mut command: Command = fal_cli(base_url);
        command.args(["proxy", "--listen", "127.0.0.1:0"]).args(args);
        command.env("FAL_PROXY_SECRET", PASS);
        let mut running = Running::start(&mut command);
        let listening: Value = running.until("listening");
        let url = listening["url"].as_str().expect("it says where").to_owned();
        Self { running, url }
    }

    /// Sends a call; the answer can be read from what comes back.
    fn send(&self, method: &str, headers: &str, body: &[u8]) -> BufReader<TcpStream> {
        let rest = self.url.strip_prefix("http://").expect("plain http");
        let (authority, path) = rest.split_once('/').expect("a path");
        let mut stream = TcpStream::connect(authority).expect("it listens");
        let head = format!(
            "{method} /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n{headers}\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("it reads");
        BufReader::new(stream)
    }

    /// Sends a call and reads the whole answer.
    fn ask(&self, method: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.send(method, headers, body);
        let head = read_head(&mut stream);
        let status = head[0].split(' ').nth(1).expect("a status").parse().expect("a number");
        let mut body = Vec::new();
        // Whoever refuses a body may close before it has read all of it.
        let _ = stream.read_to_end(&mut body);
        Answer { status, head, body }
    }

    /// Ends it as Ctrl-C does.
    #[track_caller]
    pub(crate) fn stop(self) -> Said {
        self.running.signal("INT");
        self.running.end().expect(0)
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: Vec<String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head[1..]
            .iter()
            .find_map(|line| line.split_once(": ").filter(|(n, _)| *n == name));
        line.map(|(_, value)| value)
    }

    /// The body as JSON, where it came in one piece or in chunks.
    #[track_caller]
    fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        let text = match self.header("transfer-encoding") {
            None => text.into_owned(),
            Some(_) => text.split("\r\n").skip(1).step_by(2).collect(),
        };
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn known(target: &str) -> String {
    format!("x-fal-target-url: {target}\r\nauthorization: Bearer {PASS}\r\n")
}

fn read_head(stream: &mut BufReader<TcpStream>) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).expect("it answers") > 0, "no answer after {lines:?}");
        let line = line.trim_end();
        if line.is_empty() {
            return lines;
        }
        lines.push(line.to_owned());
    }
}

/// A server that does with each request what it is told, and closes the connection then.
struct Upstream {
    url: String,
    seen: Arc<Mutex<Vec<Head>>>,
}

/// A request line, and the headers.
type Head = (String, Vec<String>);

fn upstream(answer: impl Fn(&str, &[String], &mut TcpStream) + Send + Sync + 'static) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut head = read_head(&mut reader);
                let length = head.iter().find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse::<usize>()
                        .ok()
                });
                reader.read_exact(&mut vec![0; length.unwrap_or(0)]).expect("the whole body");
                let line = head.remove(0);
                log.lock().expect("no test has failed").push((line.clone(), head.clone()));
                let target = line.split(' ').nth(1).expect("a target").to_owned();
                answer(&target, &head, reader.get_mut());
            });
        }
    });
    Upstream { url, seen }
}
