//! Answers made from a model's output schema, the same for the same seed, endpoint and input.
//!
//! An answer is worked out once, as text with holes: addresses, lengths and times depend on who asks and
//! when. Its files are encoded only when somebody fetches them.

mod asked;
pub(crate) mod speech;
#[cfg(test)]
mod tests;
mod wanted;
mod write;

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use fal_protocol::schema::ModelSchema;
use serde_json::Value;

use super::answer::Store;
use super::exchange::{Door, Host};
use super::files::{FileKey, Files};
use super::media::Media;
use crate::render;

use asked::Asked;
use write::Writer;

/// An answer with its holes.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    text: Box<[u8]>,
    /// Where each hole is, in order.
    holes: Box<[(usize, Hole)]>,
    files: Box<[Media]>,
    key: u128,
    /// The text that grows in a stream, token by token.
    speech: Box<[String]>,
    /// Whether files stand in the answer as data URIs.
    is_inline: bool,
    /// What it costs, in the units of its kind.
    units: u64,
}

/// Something that is known only when the answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// The address of a file, or its content.
    Url(usize),
    /// The last segment of its address.
    FileName(usize),
    /// Its length. Large pictures have none where it may be null.
    FileSize { file: usize, may_be_null: bool },
    /// How long the run took.
    Seconds,
    /// The text that a model says.
    Speech,
    /// Whether more of it follows.
    Partial,
}

impl Made {
    /// Works out the answer to a valid input. `input` has its defaults.
    pub(crate) fn new(
        schema: &ModelSchema,
        category: &str,
        endpoint: &str,
        input: &Value,
        key: u128,
        files: &Files,
    ) -> Self {
        let empty = serde_json::Map::new();
        let fields = input.as_object().unwrap_or(&empty);
        let asked = Asked { endpoint, category, fields, files };
        Writer::new(asked, key).finish(schema.output())
    }

    /// What it costs: pictures, or seconds of film and sound, or 1.
    pub(crate) const fn units(&self) -> u64 {
        self.units
    }

    /// A number that follows from seed, endpoint and input.
    pub(crate) const fn draw(&self) -> u64 {
        self.key as u64
    }

    /// How many events a stream of it has; the last one is the answer itself.
    pub(crate) fn frames(&self) -> Option<usize> {
        let is_text = self.files.is_empty() && !self.speech.is_empty();
        is_text.then_some(self.speech.len())
    }

    /// The length of the body, up to what depends on the door.
    pub(crate) fn bytes(&self) -> usize {
        let media: usize = self.files.iter().map(|media| size_of::<Media>() + media.bytes()).sum();
        let speech: usize = self.speech.iter().map(String::len).sum();
        size_of::<Self>() + self.text.len() + self.holes.len() * HOLE_BYTES + media + 2 * speech
    }

    /// The body, with its files put into the store. In a stream `left` more events follow.
    pub(crate) fn publish(
        &self,
        store: &mut Store<'_>,
        door: &Door<'_>,
        time: Duration,
        left: usize,
    ) -> Vec<u8> {
        // Until the last event the pictures are drafts; a text is the final one from its first token on.
        let draft = if self.frames().is_some() { 0 } else { left as u64 };
        let key = store.key(self.key.wrapping_add(u128::from(draft) << 64));
        let file = |index: usize| FileKey::new(key.wrapping_add(index as u128));
        for (index, media) in self.files.iter().enumerate() {
            store.put(file(index), media.extension(), || media.draft(draft));
        }
        let made = |index: usize| store.files.make(file(index)).unwrap_or_default();
        self.render(key, door, time, left, made)
    }

    /// Fills the holes. `made` gives the content of a file, where its length or more is needed.
    fn render(
        &self,
        key: u128,
        door: &Door<'_>,
        time: Duration,
        left: usize,
        mut made: impl FnMut(usize) -> Bytes,
    ) -> Vec<u8> {
        let file = |index: usize| FileKey::new(key.wrapping_add(index as u128));
        let mut out = Vec::with_capacity(self.bytes());
        let mut from = 0;
        for (at, hole) in &self.holes {
            out.extend_from_slice(&self.text[from..*at]);
            from = *at;
            match *hole {
                Hole::Url(index) => {
                    let media = &self.files[index];
                    out.push(b'"');
                    if self.is_inline {
                        out.extend_from_slice(b"data:");
                        out.extend_from_slice(media.content_type().as_bytes());
                        out.extend_from_slice(b";base64,");
                        out.extend_from_slice(BASE64_STANDARD.encode(made(index)).as_bytes());
                    } else {
                        door.push_base(&mut out, Host::Cdn);
                        file(index).push_path(&mut out, media.extension());
                    }
                    out.push(b'"');
                }
                Hole::FileName(index) => {
                    out.push(b'"');
                    file(index).push_name(&mut out, self.files[index].extension());
                    out.push(b'"');
                }
                Hole::FileSize { file, may_be_null } => {
                    if may_be_null && self.files[file].is_heavy() {
                        out.extend_from_slice(b"null");
                    } else {
                        render::push_number(&mut out, made(file).len() as u64);
                    }
                }
                Hole::Seconds => render::push_seconds(&mut out, time),
                Hole::Speech => {
                    let said = self.speech.len().saturating_sub(left);
                    render::push_string(&mut out, &self.speech[..said].concat());
                }
                Hole::Partial => out.extend_from_slice(if left > 0 { b"true" } else { b"false" }),
            }
        }
        out.extend_from_slice(&self.text[from..]);
        out
    }
}

/// What a hole adds to the length, about: most are addresses.
const HOLE_BYTES: usize = 90;
