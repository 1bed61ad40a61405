//! A service that answers calls for tokens and holds WebSockets, each as a test says.

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

/// What is answered to a request.
pub(crate) enum Reply {
    /// This status and this body.
    Http(u16, String),
    /// The handshake is agreed to.
    Agree,
    /// The connection is closed without a word.
    Hang,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::Http(status, body.to_string())
    }
}

/// A request, or the end of a connection as the service saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Request { line: String, headers: Vec<(String, String)>, body: String },
    Message(Message),
}

impl Seen {
    pub(crate) fn line(&self) -> Option<&str> {
        match self {
            Self::Request { line, .. } => Some(line),
            Self::Message(_) => None,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let Self::Request { headers, .. } = self else { return None };
        headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

type Journal = Arc<Mutex<Vec<Seen>>>;

/// The service's end of a connection.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
    journal: Journal,
}

impl Peer {
    /// The next message that is no ping; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let message = self.socket.next().await?.ok()?;
            if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                self.journal.lock().unwrap().push(Seen::Message(message.clone()));
                return Some(message);
            }
        }
    }

    /// The next message, as msgpack.
    pub(crate) async fn input(&mut self) -> Value {
        match self.next().await {
            Some(Message::Binary(bytes)) => {
                let message = fal_protocol::wire::Message::Binary(bytes);
                fal_protocol::realtime::decode(&message).unwrap()
            }
            other => panic!("an input is binary: {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, value: &Value) {
        self.socket.send(Message::text(value.to_string())).await.unwrap();
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Closes with this code, and waits for the other side.
    pub(crate) async fn close(&mut self, code: Option<u16>) {
        let frame = code.map(|code| CloseFrame { code: code.into(), reason: "because".into() });
        // A peer that has gone already needs no goodbye.
        let _ = self.socket.close(frame).await;
        while self.next().await.is_some() {}
    }

    /// Waits for the other side's close, and answers it.
    pub(crate) async fn until_closed(&mut self) {
        while self.next().await.is_some() {}
    }
}

pub(crate) struct Service {
    url: String,
    journal: Journal,
    server: JoinHandle<()>,
}

impl Service {
    /// `answer` has the first line of each request and how many began so before; `hold` has each open
    /// connection, and how many were open before.
    pub(crate) async fn start<F: Future<Output = ()> + Send + 'static>(
        answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
        hold: impl Fn(Peer, usize) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let journal = Journal::default();
        let seen = Arc::clone(&journal);
        let (answer, hold) = (Arc::new(answer), Arc::new(hold));
        let opened = Arc::new(Mutex::new(0));
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, opened) = (Arc::clone(&seen), Arc::clone(&opened));
                let (answer, hold) = (Arc::clone(&answer), Arc::clone(&hold));
                connections.spawn(async move {
                    if let Some(socket) = serve(stream, &*answer, &seen).await {
                        let number = {
                            let mut opened = opened.lock().unwrap();
                            *opened += 1;
                            *opened - 1
                        };
                        hold(Peer { socket, journal: seen }, number).await;
                    }
                });
            }
        });
        Self { url, journal, server }
    }

    /// A service that gives tokens, agrees to every handshake, and holds connections as said.
    pub(crate) async fn good<F: Future<Output = ()> + Send + 'static>(
        hold: impl Fn(Peer, usize) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::start(good, hold).await
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.journal.lock().unwrap().clone()
    }

    /// The first lines of all requests, without the version.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().filter_map(Seen::line).map(str::to_owned).collect()
    }

    /// The codes with which the other side closed; 1005 stands for none.
    pub(crate) fn closes(&self) -> Vec<u16> {
        let seen = self.seen();
        let closes = seen.iter().filter_map(|seen| match seen {
            Seen::Message(Message::Close(frame)) => {
                Some(frame.as_ref().map_or(1005, |frame| u16::from(frame.code)))
            }
            _ => None,
        });
        closes.collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Tokens by the newer route, numbered; every handshake is agreed to.
pub(crate) fn good(line: &str, earlier: usize) -> Reply {
    match line.split(' ').next() {
        Some("POST") => Reply::Http(200, format!(r#"{{"token":"ey.token.{}"}}"#, earlier + 1)),
        _ => Reply::Agree,
    }
}

/// Answers requests until a handshake is agreed to.
async fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&str, usize) -> Reply + Send + Sync),
    journal: &Journal,
) -> Option<WebSocketStream<TcpStream>> {
    stream.set_nodelay(true).unwrap();
    loop {
        let seen = read(&mut stream).await?;
        let line = seen.line().unwrap_or_default().to_owned();
        let earlier = {
            let mut journal = journal.lock().unwrap();
            let method = line.split(' ').next();
            let same = |seen: &&Seen| {
                seen.line().is_some_and(|earlier| earlier.split(' ').next() == method)
            };
            let earlier = journal.iter().filter(same).count();
            journal.push(seen.clone());
            earlier
        };
        match answer(&line, earlier) {
            Reply::Hang => return None,
            Reply::Http(status, body) => {
                let text = format!(
                    "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(text.as_bytes()).await.ok()?;
            }
            Reply::Agree => {
                let accept = derive_accept_key(seen.header("sec-websocket-key")?.as_bytes());
                let text = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: keep-alive, Upgrade\r\n\
                     upgrade: WebSocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
                );
                stream.write_all(text.as_bytes()).await.ok()?;
                let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
                let socket =
                    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
                return Some(socket);
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen::Request { line, headers, body: String::from_utf8(body).unwrap() })
}
