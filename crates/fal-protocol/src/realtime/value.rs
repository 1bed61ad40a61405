//! Any message as a tree, for those who have no type for it.

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::codec::{DEPTH_MAX, DecodeError};
use crate::wire::Message;

/// What msgpack can say, which is what JSON can and bytes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number of 64 bits, with a sign or without.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes, such as a picture. Only in binary messages.
    Bytes(Bytes),
    /// A list.
    List(Vec<Self>),
    /// Names and values, in the order in which they came. A name that occurs twice stands twice.
    Map(Vec<(String, Self)>),
}

impl Value {
    /// Reads a message whole.
    ///
    /// # Errors
    /// [`DecodeError`] when it is neither msgpack nor JSON, has more than [`VALUES_MAX`] values, a name
    /// that is no text, or an extension of msgpack, which fal does not use.
    pub fn of(message: &Message) -> Result<Self, DecodeError> {
        let left = Cell::new(VALUES_MAX);
        let seed = Seed(&left);
        match message {
            Message::Text(bytes) => {
                let mut deserializer = serde_json::Deserializer::from_slice(bytes);
                let value = seed.deserialize(&mut deserializer).map_err(DecodeError::new)?;
                deserializer.end().map_err(DecodeError::new)?;
                Ok(value)
            }
            Message::Binary(bytes) => {
                let mut deserializer = rmp_serde::Deserializer::from_read_ref(&bytes[..]);
                deserializer.set_max_depth(DEPTH_MAX);
                seed.deserialize(&mut deserializer).map_err(DecodeError::new)
            }
            Message::Close(_) => Err(DecodeError::new("the end of a connection has no content")),
        }
    }

    /// The value of this name, if this is a map that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.iter().find(|(n, _)| n == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if these are some.
    #[must_use]
    pub const fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => serializer.serialize_u64(value),
                (_, Ok(value)) => serializer.serialize_i64(value),
                _ => Err(serde::ser::Error::custom("the number has more than 64 bits")),
            },
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// Reads one value, and counts it.
#[derive(Clone, Copy)]
struct Seed<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or_else(|| de::Error::custom("it has too many values"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without extensions")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(Bytes::copy_from_slice(bytes)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            map.push((name, members.next_value_seed(self)?));
        }
        Ok(Value::Map(map))
    }
}

/// Most values that one message may have as a tree: a million. One of msgpack's takes a byte, one of
/// the tree's some fifty.
pub const VALUES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::realtime::codec::encode;

    #[track_caller]
    fn check(bytes: &'static [u8], expected: Value) {
        let message = Message::Binary(Bytes::from_static(bytes));
        assert_eq!(Value::of(&message), Ok(expected.clone()));
        // Read after written it is the same, though not always in the same spelling.
        let again = Message::Binary(encode(&expected).unwrap());
        assert_eq!(Value::of(&again), Ok(expected));
    }

    #[test]
    fn every_kind_is_read() {
        check(b"\xc0", Value::Null);
        check(b"\xc3", Value::Bool(true));
        check(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Value::Integer(u64::MAX.into()));
        check(b"\xd3\x80\0\0\0\0\0\0\0", Value::Integer(i64::MIN.into()));
        check(b"\xca\x3f\x80\0\0", Value::Float(1.0));
        check(b"\xa2\xc3\xbc", Value::Text("ü".into()));
        check(b"\xc4\x02\x00\xff", Value::Bytes(Bytes::from_static(b"\x00\xff")));
        check(
            b"\x82\xa1a\x91\xc0\xa1b\x80",
            Value::Map(vec![
                ("a".into(), Value::List(vec![Value::Null])),
                ("b".into(), Value::Map(vec![])),
            ]),
        );
    }

    #[test]
    fn text_is_json() {
        let message = Message::text(json!({ "a": [1, "x", 0.5, null] }).to_string());
        let value = Value::of(&message).unwrap();
        let Some(Value::List(items)) = value.get("a") else { panic!("{value:?}") };
        assert_eq!((&items[0], items[1].as_text()), (&Value::Integer(1), Some("x")));
        assert!(Value::of(&Message::text("{} {}")).is_err());
    }

    #[test]
    fn what_fal_does_not_use_is_refused() {
        for bytes in [&b"\x81\x01\x02"[..], b"\xd4\x01\x00", b"\xa1", b"", b"\xc1"] {
            assert!(Value::of(&Message::Binary(Bytes::from_static(bytes))).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn values_have_a_limit() {
        let list = |count: u32| {
            let mut bytes = vec![0xdd];
            bytes.extend_from_slice(&count.to_be_bytes());
            bytes.resize(bytes.len() + count as usize, 0xc0);
            Value::of(&Message::Binary(bytes.into()))
        };
        let max = u32::try_from(VALUES_MAX).unwrap();
        assert!(list(max - 1).is_ok(), "the list is a value too");
        assert!(list(max).is_err());
    }
}
