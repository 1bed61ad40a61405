//! Bodies: JSON and short texts where they belong, everything else in files by digest.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::json;
use crate::render::HEX;

/// A body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Content {
    Json(Box<RawValue>),
    Text(String),
    /// A name under `files/`.
    File(String),
}

/// A body, and the bytes that its file must have, if it has one.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) content: Content,
    pub(crate) file: Option<Bytes>,
}

impl Encoded {
    /// A text of which nothing is secret any more.
    pub(crate) fn text(text: &str, content_type: &str) -> Self {
        if text.len() > INLINE_BYTES_MAX {
            return Self::file(Bytes::copy_from_slice(text.as_bytes()), content_type);
        }
        let content = match serde_json::from_str::<Box<RawValue>>(text) {
            Ok(json) => Content::Json(json),
            Err(_) => Content::Text(text.to_owned()),
        };
        Self { content, file: None }
    }

    /// Bytes that are kept as they are.
    pub(crate) fn file(bytes: Bytes, content_type: &str) -> Self {
        let mut name = String::with_capacity(80);
        for byte in Sha256::digest(&bytes) {
            name.push(char::from(HEX[usize::from(byte >> 4)]));
            name.push(char::from(HEX[usize::from(byte & 15)]));
        }
        name.push('.');
        name.push_str(extension(content_type));
        Self { content: Content::File(name), file: Some(bytes) }
    }
}

impl Content {
    /// The text that stands here; `None` for a file.
    pub(crate) fn inline(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Json(json) => Some(Cow::Owned(json::compact(json.get()))),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::File(_) => None,
        }
    }
}

/// The ending of a file of this type.
fn extension(content_type: &str) -> &'static str {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let known = EXTENSIONS.iter().find(|(name, _)| kind.eq_ignore_ascii_case(name));
    known.map_or("bin", |(_, ending)| ending)
}

/// The same text with a hole where it names a request: as a segment of a path, or as a whole text.
pub(crate) fn hole_id<'a>(text: &'a str, id: &str) -> Cow<'a, str> {
    if id.is_empty() || !text.contains(id) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in text.match_indices(id) {
        let is_edge = |c: Option<char>| {
            c.is_none_or(|c| matches!(c, '"' | '/' | '?' | '\\' | '&' | '=') || c.is_whitespace())
        };
        if is_edge(text[..at].chars().next_back()) && is_edge(text[at + id.len()..].chars().next())
        {
            out.push_str(&text[done..at]);
            out.push_str(HOLE);
            done = at + id.len();
        }
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// Fills the holes.
pub(crate) fn fill_id(text: &str, id: &str) -> String {
    text.replace(HOLE, id)
}

/// What stands for the id of a request.
const HOLE: &str = "{{request_id}}";

/// Longer texts are kept in files: 64 KiB.
const INLINE_BYTES_MAX: usize = 64 << 10;

const EXTENSIONS: [(&str, &str); 22] = [
    ("application/json", "json"),
    ("application/pdf", "pdf"),
    ("application/zip", "zip"),
    ("audio/flac", "flac"),
    ("audio/mp4", "m4a"),
    ("audio/mpeg", "mp3"),
    ("audio/ogg", "ogg"),
    ("audio/pcm", "pcm"),
    ("audio/wav", "wav"),
    ("audio/x-wav", "wav"),
    ("image/gif", "gif"),
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/svg+xml", "svg"),
    ("image/webp", "webp"),
    ("model/gltf-binary", "glb"),
    ("model/obj", "obj"),
    ("text/event-stream", "txt"),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("video/mp4", "mp4"),
    ("video/webm", "webm"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_holes_where_they_are_segments() {
        let id = "7d0c-1";
        let text = r#"{"request_id":"7d0c-1","u":"https://q/requests/7d0c-1/status","f":"https://v/7d0c-1_a.png"}"#;
        let holes = hole_id(text, id);
        assert_eq!(
            holes,
            r#"{"request_id":"{{request_id}}","u":"https://q/requests/{{request_id}}/status","f":"https://v/7d0c-1_a.png"}"#
        );
        assert_eq!(fill_id(&holes, id), text);
        assert_eq!(hole_id(text, ""), text);
    }

    #[test]
    fn long_bodies_are_files() {
        let text = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
        let inline = Encoded::text(&text(INLINE_BYTES_MAX), "application/json");
        assert!(matches!(inline.content, Content::Json(_)) && inline.file.is_none());
        let long = Encoded::text(&text(INLINE_BYTES_MAX + 1), "application/json; charset=utf-8");
        let Content::File(name) = &long.content else { panic!("{long:?}") };
        assert!(name.len() == 64 + 5 && name.ends_with(".json"), "{name}");
        assert!(matches!(Encoded::text("<p>", "text/html").content, Content::Text(_)));
    }
}
