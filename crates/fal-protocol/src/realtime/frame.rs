//! What a message of the service means.
//!
//! | Message | Meaning |
//! |---|---|
//! | `{"type":"x-fal-message","action":"timings","timing":0.12}` | [`Frame::Meta`], with the time |
//! | `{"type":"x-fal-message",…}` otherwise | [`Frame::Meta`] |
//! | `{"type":"x-fal-error","error":"TIMEOUT","reason":"…"}` | [`Frame::End`]: a normal end |
//! | `{"type":"x-fal-error","error":CODE,"reason":"…"}` | [`Frame::Error`], whatever the code is |
//! | `{"status":"error","error":"Unauthorized"}` | [`Frame::Unauthorized`] |
//! | `{"status":"error",…}` otherwise | [`Frame::Error`], of an older gateway |
//! | any other msgpack or JSON | [`Frame::Output`] |
//!
//! Binary messages and texts are read alike. The Python client looks at texts alone and raises for
//! TIMEOUT; the JS client drops the messages of an older gateway.
//!
//! Source: `realtime.ts` of `@fal-ai/client` 1.10.1, `client.py` of `fal-client` 1.0.3 and
//! `realtime.py` of fal's serverless SDK (official client source).

use std::fmt;

use http::StatusCode;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::codec::decode;
use crate::error::{ApiError, ErrorType, ProtocolError};
use crate::wire::Message;

/// What a message of the service means.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Frame {
    /// What the model made: everything that is nothing else.
    Output,
    /// About the session, not of the model.
    Meta(Meta),
    /// The session ends in order: no input has come for a while, or a model that streams is done.
    End {
        /// For people.
        reason: Box<str>,
    },
    /// The service does not accept the token. Its status is 401.
    Unauthorized(ApiError),
    /// The model or the service failed. Nearly always the end follows.
    Error(ApiError),
}

/// A message about the session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Meta {
    /// What it is about, such as `timings`.
    pub action: Option<Box<str>>,
    /// How long the model took, in seconds (inferred), if it tells.
    pub timing: Option<f64>,
}

impl Frame {
    /// Reads a message of the service.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is neither msgpack nor JSON, as its kind demands.
    pub fn of(message: &Message) -> Result<Self, ProtocolError> {
        let head: Head = decode(message).map_err(|error| {
            let expected = match message {
                Message::Binary(_) => "msgpack",
                _ => "JSON",
            };
            ProtocolError::body(expected, error, message.bytes())
        })?;
        let (error, reason) = (head.error.as_deref(), head.reason.as_deref());
        Ok(match (head.kind.as_deref(), head.status.as_deref()) {
            (Some("x-fal-message"), _) => {
                let action = head.action.map(String::into_boxed_str);
                Self::Meta(Meta { action, timing: head.timing })
            }
            (Some("x-fal-error"), _) => match error {
                Some(TIMEOUT) => Self::End { reason: reason.unwrap_or(TIMEOUT).into() },
                code => {
                    let code = code.unwrap_or("UNKNOWN_ERROR");
                    let mut error = api_error(reason.unwrap_or_default(), code, message);
                    error.error_type = Some(ErrorType::new(code));
                    Self::Error(error)
                }
            },
            (_, Some("error")) => match error {
                Some("Unauthorized") => {
                    let mut error = api_error("", "Unauthorized", message);
                    error.status = Some(StatusCode::UNAUTHORIZED);
                    Self::Unauthorized(error)
                }
                // The words of today's TIMEOUT (inferred: nobody has published the older form).
                Some(text @ (TIMEOUT | IDLE)) => Self::End { reason: text.into() },
                text => {
                    let text = text.or(reason).unwrap_or_default();
                    Self::Error(api_error(text, "the service reported an error", message))
                }
            },
            _ => Self::Output,
        })
    }
}

fn api_error(text: &str, fallback: &str, message: &Message) -> ApiError {
    let body = match message {
        Message::Text(bytes) | Message::Binary(bytes) => bytes.clone(),
        Message::Close(_) => bytes::Bytes::new(),
    };
    ApiError::from_message(if text.is_empty() { fallback } else { text }, body)
}

const TIMEOUT: &str = "TIMEOUT";
const IDLE: &str = "no inputs, reconnect when needed!";

/// The members of a map that decide what it means. Whatever else a message is, it has none of them.
#[derive(Debug, Default)]
struct Head {
    kind: Option<String>,
    status: Option<String>,
    error: Option<String>,
    reason: Option<String>,
    action: Option<String>,
    timing: Option<f64>,
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeadVisitor)
    }
}

struct HeadVisitor;

/// Written out, because a derived one would take lists for maps, and numbers for names.
impl<'de> Visitor<'de> for HeadVisitor {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let mut head = Head::default();
        while let Some(name) = map.next_key::<Word>()? {
            let place = match name.text.as_deref() {
                Some("type") => &mut head.kind,
                Some("status") => &mut head.status,
                Some("error") => &mut head.error,
                Some("reason") => &mut head.reason,
                Some("action") => &mut head.action,
                Some("timing") => {
                    head.timing = map.next_value::<Word>()?.number;
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *place = map.next_value::<Word>()?.text;
        }
        Ok(head)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Head, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| Head::default())
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Head, D::Error> {
        IgnoredAny.visit_newtype_struct(inner).map(|_| Head::default())
    }

    fn visit_unit<E>(self) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Head, E> {
        Ok(Head::default())
    }
}

/// A text or a number; anything else is passed over.
#[derive(Default)]
struct Word {
    text: Option<String>,
    number: Option<f64>,
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Word, E> {
        Ok(Word { text: Some(text.to_owned()), number: None })
    }

    fn visit_f64<E>(self, number: f64) -> Result<Word, E> {
        Ok(Word { text: None, number: Some(number) })
    }

    #[expect(clippy::cast_precision_loss, reason = "a time in seconds has no 53 bits")]
    fn visit_i64<E>(self, number: i64) -> Result<Word, E> {
        Ok(Word { text: None, number: Some(number as f64) })
    }

    #[expect(clippy::cast_precision_loss, reason = "a time in seconds has no 53 bits")]
    fn visit_u64<E>(self, number: u64) -> Result<Word, E> {
        Ok(Word { text: None, number: Some(number as f64) })
    }

    fn visit_unit<E>(self) -> Result<Word, E> {
        Ok(Word::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Word, E> {
        Ok(Word::default())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Word, E> {
        Ok(Word::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Word, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| Word::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Word, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Word::default())
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Word, D::Error> {
        IgnoredAny.visit_newtype_struct(inner).map(|_| Word::default())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::realtime::codec::encode;

    /// Text and binary mean the same.
    #[track_caller]
    fn check(value: &Value, expected: impl Fn(&Frame) -> bool) {
        let text = Frame::of(&Message::text(value.to_string())).unwrap();
        let binary = Frame::of(&Message::Binary(encode(value).unwrap())).unwrap();
        assert!(expected(&text), "{text:?}");
        assert!(expected(&binary), "{binary:?}");
    }

    #[test]
    fn control_messages_are_told_from_outputs() {
        check(&json!({ "type": "x-fal-message", "action": "timings", "timing": 0.125 }), |frame| {
            let Frame::Meta(meta) = frame else { return false };
            meta.action.as_deref() == Some("timings") && meta.timing == Some(0.125)
        });
        check(&json!({ "type": "x-fal-message", "action": ["?"] }), |frame| {
            *frame == Frame::Meta(Meta { action: None, timing: None })
        });
        let end = json!({ "type": "x-fal-error", "error": "TIMEOUT", "reason": "no inputs" });
        check(&end, |frame| *frame == Frame::End { reason: "no inputs".into() });
        check(&json!({ "type": "x-fal-error", "error": "TIMEOUT" }), |frame| {
            *frame == Frame::End { reason: "TIMEOUT".into() }
        });
        let legacy = json!({ "status": "error", "error": "no inputs, reconnect when needed!" });
        check(&legacy, |frame| matches!(frame, Frame::End { .. }));
        for output in [
            json!({ "images": [], "status": "ok" }),
            json!({ "type": "x-fal-other" }),
            json!({ "status": ["error"], "type": { "x-fal-error": 1 } }),
            json!(["x-fal-error", "TIMEOUT"]),
            json!("x-fal-error"),
            json!(null),
            json!(true),
            json!(-1),
            json!(2.5),
        ] {
            check(&output, |frame| *frame == Frame::Output);
        }
    }

    #[test]
    fn errors_keep_what_they_say() {
        let with = |code: Value, reason: &str| json!({ "type": "x-fal-error", "error": code, "reason": reason });
        let check_error = |value: &Value, code: Option<&str>, text: &str| {
            check(value, |frame| {
                let Frame::Error(error) = frame else { return false };
                error.error_type.as_ref().map(ErrorType::as_str) == code
                    && &*error.message == text
                    && !error.body.is_empty()
            });
        };
        check_error(&with(json!("INTERNAL_ERROR"), "boom"), Some("INTERNAL_ERROR"), "boom");
        check_error(&with(json!("INTERNAL_ERROR"), ""), Some("INTERNAL_ERROR"), "INTERNAL_ERROR");
        check_error(&with(json!("NEW"), "x"), Some("NEW"), "x");
        check_error(&with(json!(null), "x"), Some("UNKNOWN_ERROR"), "x");
        check_error(&json!({ "status": "error", "error": "oh" }), None, "oh");
        check_error(&json!({ "status": "error", "a": 1 }), None, "the service reported an error");
        check(
            &json!({ "status": "error", "error": "Unauthorized" }),
            |frame| matches!(frame, Frame::Unauthorized(error) if error.status == Some(StatusCode::UNAUTHORIZED)),
        );
    }

    #[test]
    fn other_keys_and_extensions_are_outputs() {
        for bytes in [
            &b"\x81\x00\xabx-fal-error"[..], // A number is no name.
            b"\xd4\x01\x00",                 // An extension.
            b"\x81\xa4type\xd4\x01\x00",
            b"\x81\xa4type\xc4\x0bx-fal-error",
        ] {
            let frame = Frame::of(&Message::Binary(Bytes::from_static(bytes)));
            assert_eq!(frame, Ok(Frame::Output), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_neither_is_malformed() {
        for message in [
            Message::text("hello"),
            Message::text("{} x"),
            Message::text(""),
            Message::Binary(Bytes::new()),
            Message::Binary(Bytes::from_static(b"\x81\xa4type")),
            Message::Binary(Bytes::from_static(b"\xc1")),
        ] {
            assert!(Frame::of(&message).is_err(), "{message:?}");
        }
    }
}
