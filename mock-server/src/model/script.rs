//! Streams whose pieces are known when they begin: the chunks of a sound, the steps of a workflow.

use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::rand::SplitMix64;
use http::HeaderValue;
use serde_json::Value;

use super::endpoint::is_text;
use super::failure::Failure;
use super::id::RequestId;
use super::media::{Sound, SoundFormat};
use crate::render;

/// What such a stream consists of.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) kind: Kind,
    pub(crate) content_type: HeaderValue,
    pub(crate) pieces: Vec<Bytes>,
}

/// The two kinds of streams with a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes of a sound, cut anywhere; no events.
    Sound,
    /// Events of a workflow.
    Workflow,
}

impl Kind {
    /// The kind of an endpoint's stream, by its id; most have none.
    pub(crate) fn of(endpoint: &EndpointId) -> Option<Self> {
        if endpoint.namespace() == Some("workflows") {
            return Some(Self::Workflow);
        }
        let id = endpoint.as_str();
        let has = |words: &[&str]| id.split(['/', '-', '_', '.']).any(|word| words.contains(&word));
        (!is_text(id) && has(&SOUND_WORDS) && !has(&["video"])).then_some(Self::Sound)
    }

    /// Before which piece a stream of `pieces` breaks off, if it does.
    pub(crate) const fn breaks_at(self, pieces: usize) -> usize {
        match self {
            Self::Sound => pieces / 2,
            // Its second step has been told then, so that it can fail.
            Self::Workflow => 3,
        }
    }
}

/// A sound of [`SOUND_MILLIS`], in the format that the input asks for under one of [`FORMAT_FIELDS`].
pub(crate) fn sound(seed: u64, input: &Value) -> Script {
    let format = FORMAT_FIELDS.iter().find_map(|name| input[name].as_str()).unwrap_or_default();
    let sound = |format| Sound::new(SOUND_MILLIS, RATE, seed, format);
    let (content_type, bytes) = if format.starts_with("mp3") {
        ("audio/mpeg", sound(SoundFormat::Mp3).make())
    } else if format.starts_with("pcm") {
        ("audio/pcm", sound(SoundFormat::Wav).pcm())
    } else {
        ("audio/wav", sound(SoundFormat::Wav).make())
    };
    let bytes = Bytes::from(bytes);
    let chunk = bytes.len().div_ceil(SOUND_PIECES);
    let pieces = (0..bytes.len())
        .step_by(chunk)
        .map(|at| bytes.slice(at..(at + chunk).min(bytes.len())))
        .collect();
    Script { kind: Kind::Sound, content_type: HeaderValue::from_static(content_type), pieces }
}

/// Two steps, one after the other, and the output of the whole, which is that of the second.
///
/// Source: docs.fal.ai, workflows page (documented).
pub(crate) fn workflow(seed: u64, prompt: &str, output: &[u8]) -> Script {
    let mut ids = SplitMix64::new(seed);
    let mut pieces = Vec::new();
    for (node, app) in NODES {
        let mut submit = b"{\"type\":\"submit\",\"node_id\":".to_vec();
        render::push_string(&mut submit, node);
        submit.extend_from_slice(b",\"app_id\":");
        render::push_string(&mut submit, app);
        submit.extend_from_slice(b",\"request_id\":");
        render::push_string(&mut submit, &RequestId::mint(&mut ids).to_string());
        submit.push(b'}');
        pieces.push(event(&submit));
        let mut completion = b"{\"type\":\"completion\",\"node_id\":".to_vec();
        render::push_string(&mut completion, node);
        completion.extend_from_slice(b",\"output\":");
        if node == NODES[0].0 {
            completion.extend_from_slice(b"{\"output\":");
            render::push_string(&mut completion, &format!("{prompt}, in detail"));
            completion.push(b'}');
        } else {
            completion.extend_from_slice(output);
        }
        completion.push(b'}');
        pieces.push(event(&completion));
    }
    pieces.push(event(&[b"{\"type\":\"output\",\"output\":", output, b"}"].concat()));
    let content_type = HeaderValue::from_static("text/event-stream");
    Script { kind: Kind::Workflow, content_type, pieces }
}

/// The last event of a stream that fails in the middle; `None` where there are no events.
///
/// Source: docs.fal.ai, workflows page, for workflows (documented); fal defines no form for others.
pub(crate) fn failed(kind: Option<Kind>, failure: &Failure) -> Option<Bytes> {
    let body = match failure.body.is_empty() {
        true => b"null",
        false => &failure.body[..],
    };
    match kind {
        Some(Kind::Sound) => None,
        None => Some(event(&[b"{\"error\":", body, b"}"].concat())),
        Some(Kind::Workflow) => {
            let mut data = b"{\"type\":\"error\",\"node_id\":".to_vec();
            render::push_string(&mut data, NODES[1].0);
            data.extend_from_slice(b",\"message\":");
            render::push_string(&mut data, &failure.error);
            data.extend_from_slice(b",\"error\":{\"status\":");
            render::push_number(&mut data, failure.status.as_u16().into());
            data.extend_from_slice(b",\"body\":");
            data.extend_from_slice(body);
            data.extend_from_slice(b"}}");
            Some(event(&data))
        }
    }
}

fn event(data: &[u8]) -> Bytes {
    [b"data: ", data, b"\n\n"].concat().into()
}

/// Words in the ids of models whose streams are sounds.
const SOUND_WORDS: [&str; 7] = ["audio", "maya", "music", "sound", "speech", "tts", "voice"];

/// Where inputs name a format: `mp3…`, `pcm…`; all others mean WAV.
///
/// Source: published documents of models with sound (documented).
const FORMAT_FIELDS: [&str; 3] = ["output_format", "audio_format", "format"];

/// Chunks of a sound.
const SOUND_PIECES: usize = 8;

/// How long a sound is.
const SOUND_MILLIS: u64 = 1000;

/// Samples in a second.
const RATE: u32 = 16_000;

/// The steps of every workflow.
const NODES: [(&str, &str); 2] =
    [("node-text", "fal-ai/any-llm"), ("node-image", "fal-ai/flux/dev")];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_say_what_streams() {
        let kind = |id: &str| Kind::of(&EndpointId::parse(id).unwrap());
        for id in ["fal-ai/maya", "fal-ai/minimax/speech-02-hd", "acme/text-to-speech"] {
            assert_eq!(kind(id), Some(Kind::Sound), "{id}");
        }
        assert_eq!(kind("workflows/acme/flow"), Some(Kind::Workflow));
        for id in ["fal-ai/flux", "fal-ai/speech-to-text", "acme/audio-to-video", "acme/voices"] {
            assert_eq!(kind(id), None, "{id}");
        }
    }

    #[test]
    fn sounds_are_whole_in_every_format() {
        for (input, kind, start, len) in [
            (json!({}), "audio/wav", &b"RIFF"[..], 44 + 32_000),
            (json!({"output_format": "mp3_44100"}), "audio/mpeg", &b"\xFF\xFB"[..], 39 * 104),
            (json!({"format": "pcm"}), "audio/pcm", &b""[..], 32_000),
        ] {
            let script = sound(7, &input);
            let whole = script.pieces.concat();
            assert_eq!((script.content_type.to_str().unwrap(), whole.len()), (kind, len));
            assert!(whole.starts_with(start));
            assert_eq!(script.pieces.len(), SOUND_PIECES);
        }
        let wav = sound(7, &Value::Null).pieces.concat();
        let word = |at: usize| u32::from_le_bytes(wav[at..at + 4].try_into().unwrap());
        assert_eq!((word(4), word(24), word(28), word(40)), (32_036, 16_000, 32_000, 32_000));
        assert_eq!((&wav[12..16], &wav[36..40]), (&b"fmt "[..], &b"data"[..]));
        assert_ne!(wav, sound(8, &Value::Null).pieces.concat());
    }
}
