//! Msgpack and JSON, to and from Rust types.
//!
//! Inputs go out as msgpack maps, whose fields have the names that they have in JSON. Bytes survive:
//! whatever a type hands to serde as bytes (`bytes::Bytes`, `serde_bytes`) is a `bin`, not a list.
//!
//! Source: `realtime.ts` of `@fal-ai/client` 1.10.1, `client.py` of `fal-client` 1.0.3 and
//! `realtime.py` of fal's serverless SDK (official client source).

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::InputError;
use crate::wire::Message;

/// Encodes an input as msgpack.
///
/// Types are written as for people: what is a text in JSON is a text here too.
///
/// # Errors
/// [`InputError::Body`] when the type cannot be encoded.
pub fn encode<T: Serialize + ?Sized>(input: &T) -> Result<Bytes, InputError> {
    let mut bytes = Vec::new();
    let mut serializer =
        rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable();
    input
        .serialize(&mut serializer)
        .map_err(|error| InputError::Body { problem: format!("as msgpack: {error}").into() })?;
    Ok(bytes.into())
}

/// Decodes a message: msgpack if it is binary, JSON if it is text. The type may borrow from it.
///
/// What follows the first value of a binary message is passed over.
///
/// # Errors
/// [`DecodeError`]: it is neither, or not of this type.
pub fn decode<'a, T: Deserialize<'a>>(message: &'a Message) -> Result<T, DecodeError> {
    match message {
        Message::Text(bytes) => serde_json::from_slice(bytes).map_err(DecodeError::new),
        Message::Binary(bytes) => from_msgpack(bytes),
        Message::Close(_) => Err(DecodeError::new("the end of a connection has no content")),
    }
}

fn from_msgpack<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(DEPTH_MAX);
    let mut deserializer = deserializer.with_human_readable();
    T::deserialize(&mut deserializer).map_err(DecodeError::new)
}

/// A message that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    problem: Box<str>,
}

impl DecodeError {
    pub(super) fn new(problem: impl fmt::Display) -> Self {
        Self { problem: problem.to_string().into() }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for DecodeError {}

/// How deep lists and maps of a message may lie in each other: 128, as `serde_json` has it.
pub const DEPTH_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Image {
        content: Bytes,
        content_type: String,
        width: u32,
        height: Option<u32>,
    }

    #[track_caller]
    fn survives<T: Serialize + for<'a> Deserialize<'a> + PartialEq + fmt::Debug>(value: &T) {
        let message = Message::Binary(encode(value).unwrap());
        assert_eq!(decode::<T>(&message).as_ref(), Ok(value));
    }

    #[test]
    fn what_has_no_form_is_told_without_another_forms_name() {
        struct Odd;
        impl Serialize for Odd {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no form"))
            }
        }
        let error = encode(&Odd).unwrap_err().to_string();
        assert!(
            error.contains("the input cannot be sent: as msgpack:") && !error.contains("JSON"),
            "{error}"
        );
        let error = crate::run::encode_input(&Odd).unwrap_err().to_string();
        assert_eq!(error, "the input cannot be sent: no form");
    }

    #[test]
    fn everything_survives() {
        let content = Bytes::from_static(b"\xff\xd8\x00");
        survives(&Image { content, content_type: "image/jpeg".into(), width: 512, height: None });
        survives(&json!({ "a": { "b": [null, true, -1, 1.5, "ü", {}] }, "c": {} }));
        survives(&(u64::MAX, i64::MIN, f64::MIN_POSITIVE, f32::MAX));
        survives(&BTreeMap::<String, u8>::new());
    }

    #[test]
    fn bytes_are_bin_and_fields_have_names() {
        let image = Image {
            content: Bytes::from_static(b"\x01\x02"),
            content_type: "x".into(),
            width: 1,
            height: None,
        };
        let expected =
            b"\x84\xa7content\xc4\x02\x01\x02\xaccontent_type\xa1x\xa5width\x01\xa6height\xc0";
        assert_eq!(encode(&image).unwrap(), &expected[..]);
        assert_eq!(encode(&json!({})).unwrap(), &b"\x80"[..]);
        // A list of numbers stays one, whatever they are.
        assert_eq!(encode(&[1_u8, 2]).unwrap(), &b"\x92\x01\x02"[..]);
    }

    #[test]
    fn types_may_borrow() {
        #[derive(Deserialize)]
        struct Borrowed<'a> {
            content: &'a [u8],
            name: &'a str,
        }
        let message =
            Message::Binary(Bytes::from_static(b"\x82\xa7content\xc4\x01\x07\xa4name\xa1x"));
        let borrowed: Borrowed<'_> = decode(&message).unwrap();
        assert_eq!((borrowed.content, borrowed.name), (&[7_u8][..], "x"));
    }

    #[test]
    fn depth_has_a_limit() {
        let nested = |depth: usize| {
            let mut bytes = vec![0x91; depth];
            bytes.push(0xc0);
            Message::Binary(bytes.into())
        };
        // The value at the bottom counts too.
        assert!(decode::<serde::de::IgnoredAny>(&nested(DEPTH_MAX - 1)).is_ok());
        assert!(decode::<serde::de::IgnoredAny>(&nested(DEPTH_MAX + 1)).is_err());
    }
}
