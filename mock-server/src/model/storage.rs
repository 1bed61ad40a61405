//! Uploads and downloads: the REST host starts an upload, the CDN takes and serves the file.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::exchange::{Host, Request, Response};
use super::failure::Failure;
use super::files::{Content, FileKey};
use super::id::digest;
use super::input::{self, Problem};
use super::picture::Picture;
use super::{Model, auth, reply};
use crate::render;

impl Model {
    /// Answers a call to the REST host.
    pub(crate) fn rest(&mut self, request: &Request<'_>) -> Response {
        if request.path == "/.well-known/jwks.json" {
            return self.key_set(request);
        }
        if request.path.trim_end_matches('/') != "/storage/upload/initiate" {
            return reply::not_emulated(
                self.mint_other(),
                &format!("https://rest.fal.ai{}", request.path),
            );
        }
        if *request.method != Method::POST {
            return reply::wrong_method(self.mint_other(), "POST");
        }
        if let Err(denied) = auth::check(&self.config, request, None) {
            return reply::refuse(StatusCode::UNAUTHORIZED, self.mint_other(), &denied.text(None));
        }
        match read_initiate(request) {
            Ok((content_type, name)) => self.initiate(request, content_type, &name),
            Err(problems) => reply::failure(self.mint_other(), &Failure::invalid(&problems)),
        }
    }

    /// The keys of webhooks, for everybody.
    fn key_set(&mut self, request: &Request<'_>) -> Response {
        let id = self.mint_other();
        match *request.method {
            Method::GET | Method::HEAD => {
                let keys = self.deliveries.signer.key_set(self.config.seed);
                reply::json(StatusCode::OK, id, keys)
            }
            _ => reply::wrong_method(id, "GET, HEAD"),
        }
    }

    fn initiate(&mut self, request: &Request<'_>, content_type: Box<str>, name: &str) -> Response {
        self.age += 1;
        let key = FileKey::new(digest(self.config.seed, &[b"upload", &self.age.to_le_bytes()]));
        let rest = format!("_{}", safe_name(name));
        self.files.put(self.age, key, &rest, Content::Awaited { content_type });
        let path = key.path(&rest);
        let expires = self.unix_now().saturating_add(self.config.upload_time_max.as_secs());
        let mut body = Vec::with_capacity(512);
        body.extend_from_slice(b"{\"file_url\":\"");
        let start = body.len();
        request.door.push_base(&mut body, Host::Cdn);
        body.extend_from_slice(path.as_bytes());
        let end = body.len();
        body.extend_from_slice(b"\",\"upload_url\":\"");
        body.extend_from_within(start..end);
        body.extend_from_slice(b"?signature=");
        body.extend_from_slice(self.signature(&path, expires).as_bytes());
        body.extend_from_slice(b"&expires=");
        render::push_number(&mut body, expires);
        body.extend_from_slice(b"\"}");
        reply::json(StatusCode::OK, self.mint_other(), body)
    }

    /// Answers a call to the CDN.
    pub(crate) fn cdn(&mut self, request: &Request<'_>) -> Response {
        let mut response = self.cdn_answer(request);
        // Observed on every file, whether or not a browser asks.
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }

    fn cdn_answer(&mut self, request: &Request<'_>) -> Response {
        if request.path.starts_with("/files/upload") || request.path.contains("/multipart") {
            return reply::not_emulated(
                self.mint_other(),
                "uploads with a CDN token, nor in parts",
            );
        }
        let Some(key) = FileKey::from_path(request.path) else {
            return reply::refuse(StatusCode::NOT_FOUND, self.mint_other(), "File not found");
        };
        // The address up to the key has one form only, so the rest is what remains.
        let rest = &request.path[key.path("").len()..];
        match *request.method {
            Method::GET | Method::HEAD => self.download(request, key, rest),
            Method::PUT => self.upload(request, key, rest),
            _ => reply::wrong_method(self.mint_other(), "GET, HEAD, PUT, OPTIONS"),
        }
    }

    /// Takes a signed upload. An `Authorization` header is ignored: the official Python client sends
    /// one by mistake.
    fn upload(&mut self, request: &Request<'_>, key: FileKey, rest: &str) -> Response {
        let expires = request.parameter("expires").and_then(|text| text.parse::<u64>().ok());
        let signed = expires.is_some_and(|expires| {
            request
                .parameter("signature")
                .is_some_and(|given| given == self.signature(request.path, expires))
        });
        if !signed {
            return reply::refuse(
                StatusCode::FORBIDDEN,
                self.mint_other(),
                "The signature is missing or wrong",
            );
        }
        if expires.is_some_and(|expires| expires < self.unix_now()) {
            return reply::refuse(
                StatusCode::FORBIDDEN,
                self.mint_other(),
                "The upload address has expired",
            );
        }
        let content_type = request
            .header("content-type")
            .or_else(|| self.files.content_type(key))
            .unwrap_or(OCTET_STREAM)
            .into();
        self.age += 1;
        self.counters.uploads += 1;
        self.files.put(
            self.age,
            key,
            rest,
            Content::Uploaded { content_type, bytes: request.body.clone() },
        );
        let mut response = Response::new(Bytes::new());
        response.headers_mut().insert(reply::REQUEST_ID, reply::id_value(self.mint_other()));
        response.headers_mut().insert(header::ETAG, etag(key, request.body.len()));
        response
    }

    fn download(&mut self, request: &Request<'_>, key: FileKey, rest: &str) -> Response {
        let id = self.mint_other();
        let Some((content_type, bytes)) = self.files.read(key, rest) else {
            return reply::refuse(StatusCode::NOT_FOUND, id, "File not found");
        };
        let content_type =
            HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static(OCTET_STREAM));
        let etag = etag(key, bytes.len());
        let whole = match request.headers.get(header::IF_RANGE) {
            Some(version) => *version != etag,
            None => false,
        };
        let range = match request.header("range") {
            Some(text) if !whole => parse_range(text, bytes.len()),
            _ => Range::Whole,
        };
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=5184000, immutable"),
        );
        headers.insert(header::ETAG, etag);
        headers.insert(reply::REQUEST_ID, reply::id_value(id));
        let (status, body) = match range {
            Range::Whole => (StatusCode::OK, bytes),
            Range::Part { from, to } => {
                let value = format!("bytes {from}-{}/{}", to - 1, bytes.len());
                headers.insert(header::CONTENT_RANGE, ascii(&value));
                (StatusCode::PARTIAL_CONTENT, bytes.slice(from..to))
            }
            Range::Beyond => {
                headers.insert(header::CONTENT_RANGE, ascii(&format!("bytes */{}", bytes.len())));
                (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
            }
        };
        if *request.method == Method::HEAD {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        } else {
            *response.body_mut() = body;
        }
        *response.status_mut() = status;
        response
    }

    /// Depends on everything that an upload address says. Deterministic, and no secret.
    fn signature(&self, path: &str, expires: u64) -> String {
        format!("{:032x}", digest(!self.config.seed, &[path.as_bytes(), &expires.to_le_bytes()]))
    }

    /// A picture that a download would draw, so that a shell can draw it without holding a lock.
    pub(crate) fn undrawn(&self, path: &str) -> Option<(FileKey, Picture)> {
        let key = FileKey::from_path(path)?;
        Some((key, self.files.undrawn(key)?))
    }

    /// Takes a picture that was drawn elsewhere.
    pub(crate) fn handle_drawn(&mut self, now: Instant, key: FileKey, bytes: Bytes) {
        self.advance(now);
        self.files.drawn(key, bytes);
        self.settle(now);
    }

    fn unix_now(&self) -> u64 {
        self.wall(self.now).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

/// Content type and file name of an initiate call.
fn read_initiate(request: &Request<'_>) -> Result<(Box<str>, Box<str>), Vec<Problem>> {
    let mut problems = Vec::new();
    if let Some(kind) =
        request.parameter("storage_type").filter(|kind| !STORAGE_TYPES.contains(&&**kind))
    {
        let msg = "Input should be 'fal-cdn-v3' or 'gcs'";
        let value = Value::String(kind.into_owned());
        problems.push(Problem::new(&["query", "storage_type"], "literal_error", msg, &value));
    }
    let body = match input::parse(&request.body) {
        Ok(body) => body,
        Err(found) => {
            problems.extend(found);
            return Err(problems);
        }
    };
    let Value::Object(object) = &body else {
        let msg = "Input should be a valid dictionary or object to extract fields from";
        problems.push(Problem::new(&["body"], "model_attributes_type", msg, &body));
        return Err(problems);
    };
    let mut text = |name: &'static str| match object.get(name) {
        Some(Value::String(text)) => text.as_str().into(),
        // The types of the official JavaScript client allow null for the content type.
        Some(Value::Null) if name == "content_type" => OCTET_STREAM.into(),
        None => {
            problems.push(Problem::missing(&["body", name], &body));
            Box::default()
        }
        Some(other) => {
            let msg = "Input should be a valid string";
            problems.push(Problem::new(&["body", name], "string_type", msg, other));
            Box::default()
        }
    };
    let found = (text("content_type"), text("file_name"));
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// A file name that can stand in an address as it is.
fn safe_name(name: &str) -> String {
    let safe =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let start = name.char_indices().rev().nth(NAME_CHARS_MAX - 1).map_or(0, |(at, _)| at);
    name[start..].chars().map(safe).collect()
}

/// The part of a file that a `Range` header wants.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    Part { from: usize, to: usize },
    Beyond,
}

/// One range of bytes; several ranges, other units and bad syntax mean the whole file (RFC 9110).
fn parse_range(text: &str, len: usize) -> Range {
    let Some((from, to)) =
        text.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Range::Whole;
    };
    match (from.trim(), to.trim()) {
        ("", last) => match last.parse::<usize>() {
            Ok(0) => Range::Beyond,
            Ok(_) if len == 0 => Range::Beyond,
            Ok(last) => Range::Part { from: len - last.min(len), to: len },
            Err(_) => Range::Whole,
        },
        (from, to) => match (from.parse::<usize>(), to.parse::<usize>()) {
            (Ok(from), Ok(to)) if to < from => Range::Whole,
            (Ok(from), Ok(to)) if from < len => Range::Part { from, to: to.min(len - 1) + 1 },
            (Ok(from), Err(_)) if to.is_empty() && from < len => Range::Part { from, to: len },
            (Ok(_), Ok(_)) => Range::Beyond,
            (Ok(_), Err(_)) if to.is_empty() => Range::Beyond,
            _ => Range::Whole,
        },
    }
}

fn etag(key: FileKey, len: usize) -> HeaderValue {
    let mut text = b"\"".to_vec();
    key.push_name(&mut text, &format!("-{len:x}\""));
    HeaderValue::from_bytes(&text).expect("digits and punctuation")
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits and punctuation")
}

const OCTET_STREAM: &str = "application/octet-stream";

/// Values of `storage_type`; absent means the same as the first.
///
/// Source: `storage.ts` of `@fal-ai/client` 1.10.1, `client.py` of `fal-client` 1.0.3 (official client
/// source).
const STORAGE_TYPES: [&str; 2] = ["fal-cdn-v3", "gcs"];

/// Of a longer file name the end is kept, because it has the extension.
const NAME_CHARS_MAX: usize = 100;

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

    #[test]
    fn names_are_made_safe() {
        assert_eq!(safe_name("cat (1).png"), "cat__1_.png");
        assert_eq!(safe_name("../é\"?.jpg"), "..____.jpg");
        assert_eq!(safe_name(&format!("{}.png", "a".repeat(200))).len(), NAME_CHARS_MAX);
    }
}
