//! Downloads: who may, ranges, what comes with a file.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::super::content::Piece;
use super::super::exchange::{Head, Host, Output, Request, Response};
use super::super::files::{File, FileKey};
use super::super::lifecycle::Decision;
use super::super::media::Media;
use super::super::{Model, reply};
use super::cdn::quoted;
use super::{OCTET_STREAM, locate, show_to_pages};
use crate::render;

impl Model {
    /// Serves a file; `None` if its body is not all in memory, for then the answer is an output of its own.
    pub(super) fn download(
        &mut self,
        exchange: u64,
        request: &Request<'_>,
        key: FileKey,
        rest: &str,
    ) -> Option<Response> {
        let found = self.files.get(request.host, key, rest).filter(|file| file.is_there());
        let Some(file) = found else { return Some(self.no_file(request)) };
        match self.decide(request, key, file) {
            Decision::Allow => {}
            Decision::Hide => return Some(self.no_file(request)),
            Decision::Forbid => {
                let why = "You are not allowed to read this file";
                return Some(reply::refuse(StatusCode::FORBIDDEN, self.mint_other(), why));
            }
        }
        self.files.make(key);
        let id = self.mint_other();
        let Some((mut head, mut pieces)) = self.serve(request, key, rest) else {
            return Some(self.no_file(request));
        };
        head.headers_mut().insert(reply::REQUEST_ID, reply::id_value(id));
        self.counters.downloads += 1;
        if matches!(&*pieces, [] | [Piece::Memory(_)]) {
            let body = match pieces.pop() {
                Some(Piece::Memory(bytes)) => bytes,
                _ => Bytes::new(),
            };
            return Some(head.map(|()| body));
        }
        show_to_pages(&mut head);
        self.out.push_back(Output::Serve { id: exchange, head, pieces });
        None
    }

    /// A file for those who look on: whoever may read it, and without being counted. `None` if it is not there, is not
    /// complete, or was made by a model and has yet to be encoded.
    pub(crate) fn look(
        &self,
        url: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<(Head, Vec<Piece>)> {
        let (host, key, rest) = locate(url)?;
        self.serve(&Request::new(method, host, "", headers), key, rest)
    }

    /// The file, or the range of it that is asked for.
    fn serve(&self, request: &Request<'_>, key: FileKey, rest: &str) -> Option<(Head, Vec<Piece>)> {
        let file = self.files.get(request.host, key, rest)?;
        let readable = file.readable(key)?;
        let len = readable.len;
        let mut head = Head::new(());
        let headers = head.headers_mut();
        let content_type = HeaderValue::from_str(readable.content_type)
            .unwrap_or(HeaderValue::from_static(OCTET_STREAM));
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=5184000, immutable"),
        );
        let etag = quoted(&readable.etag);
        let whole = match request.headers.get(header::IF_RANGE) {
            Some(version) => *version != etag,
            None => false,
        };
        headers.insert(header::ETAG, etag);
        let range = match request.header("range") {
            Some(text) if !whole => parse_range(text, len),
            _ => Range::Whole,
        };
        let (status, from, to) = match range {
            Range::Whole => (StatusCode::OK, 0, len),
            Range::Part { from, to } => {
                let value = format!("bytes {from}-{}/{len}", to - 1);
                headers.insert(header::CONTENT_RANGE, ascii(&value));
                (StatusCode::PARTIAL_CONTENT, from, to)
            }
            Range::Beyond => {
                headers.insert(header::CONTENT_RANGE, ascii(&format!("bytes */{len}")));
                (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0)
            }
        };
        if *request.method == Method::HEAD {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
        }
        *head.status_mut() = status;
        let pieces = match *request.method {
            Method::HEAD => Vec::new(),
            _ => file.pieces(from, to),
        };
        Some((head, pieces))
    }

    /// Whether a caller may read a file: because of a signed address, or by its list.
    fn decide(&self, request: &Request<'_>, key: FileKey, file: &File) -> Decision {
        let Some(acl) = file.acl() else { return Decision::Allow };
        let decision = acl.decide(reader(request));
        if decision == Decision::Allow {
            return decision;
        }
        let is_signed = request.parameter("identity").is_some_and(|text| {
            let expires = text.split('-').next().and_then(|text| text.parse().ok());
            expires.is_some_and(|expires| {
                expires > self.unix_now() && *text == *self.identity(key, &file.rest, expires)
            })
        });
        if is_signed { Decision::Allow } else { decision }
    }

    /// The value that opens a file until then.
    pub(crate) fn identity(&self, key: FileKey, rest: &str, expires: u64) -> String {
        let mut text = Vec::new();
        render::push_number(&mut text, expires);
        text.push(b'-');
        text.extend_from_slice(self.signature("read", &key.path(rest), expires).as_bytes());
        String::from_utf8(text).expect("digits")
    }

    /// What a download would encode, so that a shell can do it without holding a lock.
    pub(crate) fn unmade(&self, path: &str) -> Option<(FileKey, Media)> {
        let (key, rest) = FileKey::split(path)?;
        self.files.get(Host::Cdn, key, rest)?;
        Some((key, self.files.unmade(key)?))
    }

    /// Takes what was encoded elsewhere.
    pub(crate) fn handle_made(&mut self, now: std::time::Instant, key: FileKey, bytes: Bytes) {
        self.advance(now);
        self.files.take_made(key, bytes);
        self.settle(now);
    }
}

/// The name of a reader, if they say who they are: the id of their key.
fn reader<'a>(request: &Request<'a>) -> Option<&'a str> {
    let (scheme, key) = request.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Key").then(|| key.trim().split(':').next()).flatten()
}

/// The part of a file that a `Range` header wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Range {
    Whole,
    Part { from: u64, to: u64 },
    Beyond,
}

/// One range of bytes; several ranges, other units and bad syntax mean the whole file (RFC 9110).
pub(crate) fn parse_range(text: &str, len: u64) -> Range {
    let Some((from, to)) =
        text.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Range::Whole;
    };
    match (from.trim(), to.trim()) {
        ("", last) => match last.parse::<u64>() {
            Ok(0) => Range::Beyond,
            Ok(_) if len == 0 => Range::Beyond,
            Ok(last) => Range::Part { from: len - last.min(len), to: len },
            Err(_) => Range::Whole,
        },
        (from, to) => match (from.parse::<u64>(), to.parse::<u64>()) {
            (Ok(from), Ok(to)) if to < from => Range::Whole,
            (Ok(from), Ok(to)) if from < len => Range::Part { from, to: to.min(len - 1) + 1 },
            (Ok(from), Err(_)) if to.is_empty() && from < len => Range::Part { from, to: len },
            (Ok(_), Ok(_)) => Range::Beyond,
            (Ok(_), Err(_)) if to.is_empty() => Range::Beyond,
            _ => Range::Whole,
        },
    }
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits and punctuation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let part = |from, to| Range::Part { from, to };
        for (text, want) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-9", part(0, 10)),
            ("bytes=5-", part(5, 10)),
            ("bytes=5-99", part(5, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-99", part(0, 10)),
            ("bytes=10-", Range::Beyond),
            ("bytes=10-11", Range::Beyond),
            ("bytes=-0", Range::Beyond),
            ("bytes=3-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("items=0-1", Range::Whole),
            ("bytes=x-1", Range::Whole),
            ("bytes=-", Range::Whole),
        ] {
            assert_eq!(parse_range(text, 10), want, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Range::Beyond);
        assert_eq!(parse_range("bytes=-1", 0), Range::Beyond);
    }
}
