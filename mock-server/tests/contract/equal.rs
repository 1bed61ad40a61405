//! The same program, scenario, seed and requests: the same bytes and the same trace.

#![allow(clippy::unwrap_used, reason = "all of it is a test, and what fails shall end it")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Everything that chance, time and order could change.
const SCENARIO: &str = r#"
clock: { mode: virtual, start: 2026-01-31T12:00:00Z }
apps:
  - { endpoint: "fal-ai/**", runners: 1, cold_start: 20s, run_time: 90s }
rules:
  - name: tigers fail
    when: { endpoint: fal-ai/flux/dev, input: { /prompt: { contains: tiger } } }
    error: content_policy_violation
  - name: lions wait
    when: { endpoint: fal-ai/flux/dev, input: { /prompt: { contains: lion } } }
    timeline: { positions: [3, 1, 0], logs: [Loading, { at: 50%, message: Halfway, level: WARN }], requeue: 10s }
faults:
  - { name: busy, fault: status, status: 503, on: submit, nth: 3 }
  - { name: lost, fault: accept-then-reset, on: submit, nth: 4 }
  - { name: half, fault: truncate, on: result, nth: 2, after: { bytes: 20 } }
  - { name: broken, fault: corrupt-json, on: status, probability: 0.3 }
  - { name: gone, fault: reset, on: status, probability: 0.3, after: { bytes: 30 } }
  - { name: held, fault: stall, on: download, nth: 1, for: 5s }
  - { name: news again, fault: webhook-duplicate, times: 1 }
"#;

/// Until what does not come is given up.
const PATIENCE: Duration = Duration::from_secs(60);

const KEY: &str = "authorization: Key id:secret\r\n";

struct Mock {
    child: Child,
    port: u16,
    /// All that was received, and how each connection ended.
    trace: String,
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Mock {
    fn start(seed: &str, scenario: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fal-mock"))
            .args(["--port", "0", "--quiet", "--seed", seed, "--scenario"])
            .arg(scenario)
            .env("XDG_DATA_HOME", std::env::temp_dir())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let first = BufReader::new(child.stdout.take().unwrap()).lines().next();
        let port = first.unwrap().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        Self { child, port, trace: String::new() }
    }

    /// Addresses are those of the service, so that no port stands in answers and signatures.
    fn begin(&self, method: &str, address: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (host, path) = address.split_at(address.find('/').unwrap());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        stream
    }

    /// Reads a connection to its end and writes that down.
    fn end(&mut self, what: &str, mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        let end = match stream.read_to_end(&mut bytes) {
            Ok(_) => "closed",
            Err(error) if error.kind() == ErrorKind::ConnectionReset => "reset",
            Err(error) => panic!("{what}: {error}"),
        };
        let text = bytes.escape_ascii();
        writeln!(self.trace, "{what}\n{text}\n{end}").unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn call(&mut self, method: &str, path: &str, body: &str) -> String {
        let stream = self.begin(method, path, KEY, body);
        self.end(&format!("{method} {path}"), stream)
    }

    /// The same, and returns once the mock has heard it: what comes next comes later.
    fn begin_heard(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let last = || self.ask("GET", "/__mock/v1/requests?limit=1", "");
        let before = last();
        let stream = self.begin(method, path, headers, body);
        while last() == before {}
        stream
    }

    /// The body of an answer of the control API, whose heads are dated by the machine.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut answer = String::new();
        let address = format!("127.0.0.1:{}{path}", self.port);
        self.begin(method, &address, "", body).read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn control(&mut self, method: &str, path: &str, body: &str) {
        let path = format!("/__mock/v1/{path}");
        let body = self.ask(method, &path, body).replace(&self.port.to_string(), "PORT");
        writeln!(self.trace, "{method} {path}\n{body}").unwrap();
    }
}

/// The value of a text member in an answer, if it has come whole.
fn member(answer: &str, name: &str) -> Option<String> {
    let (_, rest) = answer.split_once(&format!("\"{name}\":\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// One program's day: everything that it gets, byte for byte.
fn trace(seed: &str, scenario: &Path, listener: &TcpListener) -> String {
    let mut mock = Mock::start(seed, scenario);
    let hook = listener.local_addr().unwrap();
    let mut ids = Vec::new();
    for prompt in ["a cat", "a lion", "refused", "lost", "a tiger", "a dog"] {
        let path = match prompt {
            "a dog" => "queue.fal.run/fal-ai/flux/dev?fal_webhook=http%3A%2F%2FHOOK%2Fnews",
            _ => "queue.fal.run/fal-ai/flux/dev",
        };
        let path = path.replace("HOOK", &hook.to_string().replace(':', "%3A"));
        let body = format!(r#"{{"prompt":"{prompt}","seed":7}}"#);
        ids.extend(member(&mock.call("POST", &path, &body), "request_id"));
    }
    let first = ids[0].clone();
    let watched = format!("queue.fal.run/fal-ai/flux/requests/{}/status/stream?logs=1", ids[1]);
    let stream = mock.begin_heard("GET", &watched, KEY, "");
    let run = mock.begin_heard("POST", "fal.run/fal-ai/flux/schnell", KEY, r#"{"prompt":"x"}"#);
    for step in 0..6 {
        mock.control("POST", "clock/advance", r#"{"by":"30s"}"#);
        for id in &ids {
            mock.call(
                "GET",
                &format!("queue.fal.run/fal-ai/flux/requests/{id}/status?logs={step}"),
                "",
            );
        }
    }
    // Twice: this one is told again.
    let (told, news) = mpsc::channel();
    let receiver = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = receiver.accept().unwrap();
            told.send(read_request(&mut stream)).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    mock.control("POST", "clock/advance", r#"{"by":"1h"}"#);
    for _ in 0..2 {
        let news = news.recv_timeout(PATIENCE).expect("the webhook is called twice");
        writeln!(mock.trace, "news\n{news}").unwrap();
    }
    mock.end("status stream", stream);
    mock.end("run", run);
    for id in &ids {
        mock.call("GET", &format!("queue.fal.run/fal-ai/flux/requests/{id}"), "");
    }
    let result = mock.call("GET", &format!("queue.fal.run/fal-ai/flux/requests/{first}"), "");
    let picture = member(&result, "url").unwrap_or_default();
    let picture = picture.strip_prefix("http://").unwrap().to_owned();
    let download = mock.begin_heard("GET", &picture, "", "");
    mock.control("POST", "clock/advance", r#"{"by":"5s"}"#);
    mock.end("picture", download);

    let initiate = mock.call(
        "POST",
        "rest.fal.ai/storage/upload/initiate",
        r#"{"content_type":"text/plain","file_name":"a.txt"}"#,
    );
    let put = member(&initiate, "upload_url").unwrap();
    let put = put.strip_prefix("http://").unwrap().to_owned();
    mock.call("PUT", &put, "hello");
    for list in [
        "requests",
        "requests/har",
        "jobs",
        "ledger",
        "webhooks",
        "files",
        "faults",
        "verify",
        "counters",
        "clock",
    ] {
        mock.control("GET", list, "");
    }
    std::mem::take(&mut mock.trace)
}

/// A request whole, as it came.
fn read_request(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let start = text.len();
        assert!(reader.read_line(&mut text).unwrap() > 0, "the request ended: {text}");
        let line = text[start..].trim_end();
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    text + &String::from_utf8(body).unwrap()
}

#[test]
fn the_same_requests_get_the_same_bytes() {
    let scenario = std::env::temp_dir().join(format!("fal-mock-equal-{}.yaml", std::process::id()));
    std::fs::write(&scenario, SCENARIO).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let [one, two, other] = ["7", "7", "8"].map(|seed| trace(seed, &scenario, &listener));
    std::fs::remove_file(&scenario).unwrap();
    let differs = one.lines().zip(two.lines()).position(|(one, two)| one != two);
    if let Some(line) = differs {
        let at = |text: &str| text.lines().nth(line).unwrap_or_default().to_owned();
        panic!("line {line} differs:\n{}\n{}", at(&one), at(&two));
    }
    assert_eq!(one.len(), two.len());
    for happened in [
        "reset",
        "x-fal-mock-fault: broken",
        "x-fal-mock-fault: gone",
        "X-Fal-Webhook",
        "31 Jan 2026",
    ] {
        let found = one.to_ascii_lowercase().contains(&happened.to_ascii_lowercase());
        assert!(found, "{happened} is not in it");
    }
    assert_ne!(one, other, "the seed decides");
}
