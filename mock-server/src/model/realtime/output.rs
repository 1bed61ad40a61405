//! What a session says: outputs of a model, and the messages about the session itself.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::Frame;
use super::codec::{Codec, Item};
use crate::model::media::Picture;
use crate::render;

/// A message of the service that may have yet to be drawn.
#[derive(Clone, Debug)]
pub struct FrameDraft {
    content: Content,
    /// Whether its end is cut off, so that nobody can read it.
    is_corrupt: bool,
}

#[derive(Clone, Debug)]
enum Content {
    Ready(Frame),
    Output(Box<Output>),
}

impl FrameDraft {
    pub(crate) const fn ready(frame: Frame) -> Self {
        Self { content: Content::Ready(frame), is_corrupt: false }
    }

    pub(crate) fn output(output: Output) -> Self {
        Self { content: Content::Output(Box::new(output)), is_corrupt: false }
    }

    /// Whether [`Self::render`] returns at once; else it draws pictures, which takes milliseconds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.content {
            Content::Ready(_) => true,
            Content::Output(output) => matches!(output.made, Made::Body(_)),
        }
    }

    /// The message itself. The same draft gives the same bytes.
    #[must_use]
    pub fn render(self) -> Frame {
        let mut frame = match self.content {
            Content::Ready(frame) => frame,
            Content::Output(output) => output.item().write(output.codec),
        };
        match &mut frame {
            Frame::Text(text) if self.is_corrupt => drop(text.pop()),
            Frame::Binary(bytes) if self.is_corrupt => {
                bytes.truncate(bytes.len().saturating_sub(1))
            }
            _ => {}
        }
        frame
    }

    /// The same message without its end.
    pub(crate) fn corrupted(mut self) -> Self {
        self.is_corrupt = true;
        self
    }
}

/// One output of a model.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) codec: Codec,
    pub(crate) made: Made,
    pub(crate) request_id: Option<Box<str>>,
}

/// What the model made.
#[derive(Clone, Debug)]
pub(crate) enum Made {
    Pictures {
        pictures: Vec<Picture>,
        /// As data addresses and not as bytes.
        as_addresses: bool,
        seed: i128,
        prompt: Box<str>,
        time: Duration,
    },
    Text {
        text: String,
        is_partial: bool,
    },
    /// JSON, as calls by HTTP have it.
    Body(Vec<u8>),
}

impl Output {
    /// Pictures are raw bytes under `content`, which JSON cannot carry.
    ///
    /// Source: published document of `fal-ai/flux-2/klein/realtime` (documented).
    fn item(&self) -> Item {
        let mut item = match &self.made {
            Made::Text { text, is_partial } => Item::map([
                ("output", Item::Text(text.clone())),
                ("partial", Item::Bool(*is_partial)),
                ("error", Item::Null),
            ]),
            Made::Pictures { pictures, as_addresses, seed, prompt, time } => {
                let as_addresses = *as_addresses || self.codec == Codec::Json;
                let images = pictures.iter().map(|picture| image(picture, as_addresses)).collect();
                let safe = pictures.iter().map(|_| Item::Bool(false)).collect();
                Item::map([
                    ("images", Item::List(images)),
                    ("seed", Item::Whole(*seed)),
                    ("prompt", Item::Text(prompt.to_string())),
                    ("timings", Item::map([("inference", Item::Float(time.as_secs_f64()))])),
                    ("has_nsfw_concepts", Item::List(safe)),
                ])
            }
            Made::Body(json) => {
                Item::from(serde_json::from_slice::<Value>(json).unwrap_or_default())
            }
        };
        // What is no object has no room for it.
        if let (Some(id), Item::Map(fields)) = (&self.request_id, &mut item) {
            fields.retain(|(name, _)| name != "request_id");
            fields.push(("request_id".into(), Item::Text(id.to_string())));
        }
        item
    }
}

fn image(picture: &Picture, as_address: bool) -> Item {
    let bytes = picture.render();
    let content = if as_address {
        let encoded = BASE64_STANDARD.encode(bytes);
        ("url", Item::Text(format!("data:{PICTURE_TYPE};base64,{encoded}")))
    } else {
        ("content", Item::Bytes(bytes))
    };
    Item::map([
        content,
        ("content_type", Item::Text(PICTURE_TYPE.to_owned())),
        ("width", Item::Whole(picture.size.width.into())),
        ("height", Item::Whole(picture.size.height.into())),
    ])
}

/// How long an output took, as apps tell that ask for it.
pub(crate) fn timings(time: Duration) -> FrameDraft {
    let mut text = b"{\"type\":\"x-fal-message\",\"action\":\"timings\",\"timing\":".to_vec();
    render::push_seconds(&mut text, time);
    text.push(b'}');
    FrameDraft::ready(text_frame(text))
}

/// The session has come to its end.
///
/// Source: `realtime.py` of fal's serverless SDK; the older form: `realtime.ts` of `@fal-ai/client`
/// 1.10.1 still drops it (official client source).
pub(crate) fn ended(is_legacy: bool) -> FrameDraft {
    if is_legacy {
        let mut text = b"{\"status\":\"error\",\"error\":".to_vec();
        render::push_string(&mut text, END_REASON);
        text.push(b'}');
        return FrameDraft::ready(text_frame(text));
    }
    failed("TIMEOUT", END_REASON)
}

/// The session failed.
pub(crate) fn failed(code: &str, reason: &str) -> FrameDraft {
    let mut text = b"{\"type\":\"x-fal-error\",\"error\":".to_vec();
    render::push_string(&mut text, code);
    text.extend_from_slice(b",\"reason\":");
    render::push_string(&mut text, reason);
    text.push(b'}');
    FrameDraft::ready(text_frame(text))
}

/// The token is not good.
pub(crate) fn unauthorized() -> FrameDraft {
    FrameDraft::ready(Frame::Text("{\"status\":\"error\",\"error\":\"Unauthorized\"}".to_owned()))
}

fn text_frame(text: Vec<u8>) -> Frame {
    Frame::Text(String::from_utf8(text).expect("made of texts"))
}

const PICTURE_TYPE: &str = "image/png";

/// The reason of every normal end, also where a stream simply is over.
const END_REASON: &str = "no inputs, reconnect when needed!";
