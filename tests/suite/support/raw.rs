//! A server that says exactly what it is told, and remembers exactly what it heard.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a server does with a request that it has read whole.
#[derive(Debug)]
pub(crate) enum Act {
    /// Writes this and waits for the next request.
    Say(Vec<u8>),
    /// Writes this byte by byte, each in a segment of its own, and waits for the next request.
    Trickle(Vec<u8>),
    /// Writes this and closes the connection.
    SayAndClose(Vec<u8>),
    /// Writes this, and nothing more until the peer goes away.
    SayAndHang(Vec<u8>),
}

impl Act {
    pub(crate) const CLOSE: Self = Self::SayAndClose(Vec::new());
    pub(crate) const HANG: Self = Self::SayAndHang(Vec::new());
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Which connection it came by, from 0.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Which step of a job it asks for: `submit`, `stream`, `status`, `result`, `cancel` or `run`.
    pub(crate) fn step(&self) -> &'static str {
        let path = self.target.split('?').next().unwrap_or_default();
        match (self.method.as_str(), path) {
            (_, path) if path.starts_with("/fal.run/") => "run",
            ("PUT", path) if path.ends_with("/cancel") => "cancel",
            ("GET", path) if path.ends_with("/status/stream") => "stream",
            ("GET", path) if path.ends_with("/status") => "status",
            ("GET", path) if path.contains("/requests/") => "result",
            ("POST", path) if path.starts_with("/queue.fal.run/") => "submit",
            _ => "other",
        }
    }
}

pub(crate) struct Raw {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    script: Box<dyn Fn(&Seen) -> Act + Send + Sync>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    /// Connections that the peer closed while it was left without the rest of an answer.
    abandoned: AtomicUsize,
}

impl Raw {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, script)
    }

    pub(crate) fn on(
        listener: TcpListener,
        script: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
        });
        let server = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { url, shared, server }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The steps asked for so far.
    pub(crate) fn steps(&self) -> Vec<&'static str> {
        self.seen().iter().map(Seen::step).collect()
    }

    pub(crate) fn count(&self, step: &str) -> usize {
        self.steps().into_iter().filter(|found| *found == step).count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::SeqCst)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A peer that goes away is what half of these tests are about.
            let _ = serve(stream, number, &shared).await;
        });
    }
}

async fn serve(stream: TcpStream, number: usize, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read(&mut stream, number).await? {
        let act = (shared.script)(&seen);
        shared.seen.lock().unwrap().push(seen);
        match act {
            Act::Say(bytes) => stream.write_all(&bytes).await?,
            Act::Trickle(bytes) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await?;
                    stream.flush().await?;
                    tokio::task::yield_now().await;
                }
            }
            Act::SayAndClose(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
            Act::SayAndHang(bytes) => {
                stream.write_all(&bytes).await?;
                // Ends with the peer: in order or by a reset.
                let _ = stream.read(&mut [0; 64]).await;
                shared.abandoned.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn read(stream: &mut BufReader<TcpStream>, connection: usize) -> io::Result<Option<Seen>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let mut first = lines[0].split(' ').map(str::to_owned);
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers: Vec<(String, String)> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    stream.read_exact(&mut body).await?;
    Ok(Some(Seen { method, target, headers, body, connection }))
}

/// An answer with the right length.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = head(status, headers);
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A head alone; its body ends with the connection unless a header says otherwise.
pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Said\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

pub(crate) fn json(status: u16, body: &Value) -> Vec<u8> {
    json_with(status, &[], body)
}

pub(crate) fn json_with(status: u16, headers: &[(&str, &str)], body: &Value) -> Vec<u8> {
    let headers = [&[("content-type", "application/json")], headers].concat();
    answer(status, &headers, body.to_string().as_bytes())
}

/// The beginning of a status stream that carries these events.
pub(crate) fn events(events: &[Value]) -> Vec<u8> {
    let mut bytes = head(200, &[("content-type", "text/event-stream")]);
    for event in events {
        bytes.extend_from_slice(format!("data: {event}\n\n").as_bytes());
    }
    bytes
}

/// A job that goes well: accepted as `job-1`, completed when first asked for.
pub(crate) fn well(seen: &Seen) -> Act {
    let completed = serde_json::json!({ "status": "COMPLETED", "request_id": JOB });
    match seen.step() {
        "submit" => Act::Say(json(200, &serde_json::json!({ "request_id": JOB }))),
        "stream" => Act::SayAndClose(events(&[completed])),
        "status" => Act::Say(json(200, &completed)),
        "result" | "run" => Act::Say(json_with(
            200,
            &[("x-fal-request-id", JOB)],
            &serde_json::json!({ "seed": 7 }),
        )),
        "cancel" => {
            let body = serde_json::json!({ "status": "CANCELLATION_REQUESTED" });
            Act::Say(json(202, &body))
        }
        _ => Act::Say(json(404, &serde_json::json!({ "detail": "not scripted" }))),
    }
}

pub(crate) const JOB: &str = "job-1";
