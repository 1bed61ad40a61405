//! Streams and files, passed on piece by piece while they are kept.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use fal_protocol::wire;
use fal_transport_hyper::Chunks;
use http::{Method, Response, StatusCode, header};
use tokio::sync::mpsc;

use super::super::body::{Body, Piece};
use super::answer::{REQUEST_ID, bill, head_for_caller, headers_kept};
use super::{Call, Kind, Operation, files, now, text_of};
use crate::cassette::{Answered, Chunk, address, hole_id, millis};

/// Passes on a stream of events.
pub(super) fn events(call: Call, head: wire::Head, chunks: Chunks) -> Response<Body> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let shown = head_for_caller(&call, head.clone());
    tokio::spawn(async move {
        let mut tape = Tape::new(&call);
        if run_events(&call, &head, chunks, &sender, &mut tape).await.is_some() {
            tape.keep(&call, &head).await;
            // Who has gone has all that it wanted.
            let _ = sender.send(Piece::End).await;
        }
    });
    shown.map(|()| Body::Relayed { pieces, len: None, ended: false })
}

/// Passes on bytes: a file, or a stream of a sound.
pub(super) fn bytes(call: Call, head: wire::Head, chunks: Chunks) -> Response<Body> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let shown = head_for_caller(&call, head.clone());
    let len = chunks.remaining().filter(|_| call.method != Method::HEAD);
    tokio::spawn(async move {
        let is_done = match call.kind {
            Kind::File => run_file(&call, &head, chunks, &sender).await,
            _ => {
                let mut tape = Tape::new(&call);
                let done = run_bytes(&call, chunks, &sender, &mut tape).await;
                if done.is_some() {
                    tape.keep(&call, &head).await;
                }
                done
            }
        };
        if is_done.is_some() {
            let _ = sender.send(Piece::End).await;
        }
    });
    shown.map(|()| Body::Relayed { pieces, len, ended: false })
}

/// `None` if either side has gone before the end.
async fn run_events(
    call: &Call,
    head: &wire::Head,
    mut chunks: Chunks,
    sender: &mpsc::Sender<Piece>,
    tape: &mut Tape,
) -> Option<()> {
    let mut buffer = BytesMut::new();
    loop {
        let next = tokio::select! {
            next = chunks.next() => next,
            () = sender.closed() => return None,
        };
        let is_over = next.is_none();
        match next {
            Some(Ok(bytes)) => buffer.extend_from_slice(&bytes),
            Some(Err(failure)) => {
                call.recorder()
                    .note(&format!("a stream of {} is not recorded: {failure}", call.path));
                return None;
            }
            None => {}
        }
        while let Some(len) = event_len(&buffer).or_else(|| {
            (is_over || buffer.len() > EVENT_BYTES_MAX)
                .then_some(buffer.len())
                .filter(|len| *len > 0)
        }) {
            let event = buffer.split_to(len).freeze();
            let at = now();
            let shown = match std::str::from_utf8(&event) {
                Ok(text) => {
                    let real = call.real(text);
                    see_status(call, head, &real, at);
                    tape.add(call, at, real.as_bytes());
                    Bytes::from(address::through(&real, &call.door).into_owned())
                }
                Err(_) => {
                    tape.add(call, at, &event);
                    event
                }
            };
            sender.send(Piece::Event(shown)).await.ok()?;
        }
        if is_over {
            return Some(());
        }
    }
}

/// Shows an event of a status stream to the job's trace.
fn see_status(call: &Call, head: &wire::Head, event: &str, at: Instant) {
    if let Kind::Job(id, Operation::Status) = &call.kind
        && head.status() == StatusCode::OK
    {
        let data: Vec<&str> = event
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(str::trim_start)
            .collect();
        let data = data.join("\n");
        let text = call.redactor.text(&data);
        call.recorder().follow(id, |trace| trace.status(trace.at(at), &text, true));
    }
}

async fn run_bytes(
    call: &Call,
    mut chunks: Chunks,
    sender: &mpsc::Sender<Piece>,
    tape: &mut Tape,
) -> Option<()> {
    loop {
        let next = tokio::select! {
            next = chunks.next() => next,
            () = sender.closed() => return None,
        };
        match next {
            Some(Ok(bytes)) => {
                tape.add(call, now(), &bytes);
                sender.send(Piece::Event(bytes)).await.ok()?;
            }
            Some(Err(failure)) => {
                call.recorder()
                    .note(&format!("a stream of {} is not recorded: {failure}", call.path));
                return None;
            }
            None => return Some(()),
        }
    }
}

async fn run_file(
    call: &Call,
    head: &wire::Head,
    mut chunks: Chunks,
    sender: &mpsc::Sender<Piece>,
) -> Option<()> {
    let mut kept =
        (call.method == Method::GET && head.status() == StatusCode::OK).then(BytesMut::new);
    while let Some(bytes) = chunks.next().await {
        let bytes = bytes.ok()?;
        kept = kept.filter(|kept| kept.len() + bytes.len() <= files::FILE_BYTES_MAX);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&bytes);
        }
        sender.send(Piece::Event(bytes)).await.ok()?;
    }
    if let Some(kept) = kept {
        let content_type = text_of(head.headers(), &header::CONTENT_TYPE);
        call.recorder().keep_file(
            &address::real(&call.name, &call.path, None),
            content_type,
            kept.freeze(),
        );
    }
    Some(())
}

/// The length of the first whole event, with the empty line behind it.
fn event_len(buffer: &[u8]) -> Option<usize> {
    let mut ends = buffer.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    ends.find_map(|at| match &buffer[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// The pieces of a stream with their times. Status streams have none: their job is kept instead.
struct Tape {
    chunks: Option<Vec<Chunk>>,
    bytes: usize,
}

impl Tape {
    fn new(call: &Call) -> Self {
        let is_kept = matches!(call.kind, Kind::Run(..));
        Self { chunks: is_kept.then(Vec::new), bytes: 0 }
    }

    fn add(&mut self, call: &Call, at: Instant, bytes: &[u8]) {
        let Some(chunks) = &mut self.chunks else { return };
        self.bytes += bytes.len();
        if self.bytes > STREAM_BYTES_MAX || chunks.len() >= CHUNKS_MAX {
            call.recorder().note(&format!("a stream of {} is too long to be recorded", call.path));
            self.chunks = None;
            return;
        }
        let at_ms = millis(at.saturating_duration_since(call.since));
        let (text, base64) = match std::str::from_utf8(bytes) {
            Ok(text) => (Some(call.redactor.text(text).into_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(bytes))),
        };
        chunks.push(Chunk { at_ms, text, base64 });
    }

    async fn keep(self, call: &Call, head: &wire::Head) {
        let (Some(mut chunks), Kind::Run(endpoint, _)) = (self.chunks, &call.kind) else { return };
        bill(call, head.headers());
        let id = text_of(head.headers(), &REQUEST_ID);
        for text in chunks.iter_mut().filter_map(|chunk| chunk.text.as_mut()) {
            files::fetch(call, text).await;
            *text = hole_id(text, id).into_owned();
        }
        let answered = Answered {
            after_ms: chunks.first().map_or(0, |chunk| chunk.at_ms),
            status: head.status().as_u16(),
            headers: headers_kept(call, head.headers(), id),
            body: None,
            chunks: Some(chunks),
        };
        if let Some(asked) = call.asked.clone() {
            call.recorder().add(endpoint.as_str(), asked, answered);
        }
    }
}

/// Pieces that wait for a slow reader.
const PIECES_MAX: usize = 64;

/// Longest event that is taken apart from the next one: 64 MiB.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// Longest stream that is kept: 64 MiB.
const STREAM_BYTES_MAX: usize = 64 << 20;

/// Pieces of one stream that are kept.
const CHUNKS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_at_empty_lines() {
        for (text, want) in [
            ("data: a\n\ndata: b\n\n", Some(9)),
            ("data: a\r\n\r\nx", Some(11)),
            (": ping\n\n", Some(8)),
            ("data: a\ndata: b\n", None),
            ("", None),
        ] {
            assert_eq!(event_len(text.as_bytes()), want, "{text:?}");
        }
    }
}
