//! Messages of a session: inputs read, outputs written, in MessagePack or JSON.

use std::borrow::Cow;

use bytes::Bytes;
use rmp::Marker;
use serde_json::{Map, Value};

use super::Frame;
use crate::render;

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// MessagePack in a binary frame.
    Msgpack,
    /// JSON in a text frame.
    Json,
}

/// Reads an input, or says in a sentence why it is none.
pub(crate) fn read(frame: &Frame) -> Result<(Codec, Value), String> {
    match frame {
        Frame::Text(text) => serde_json::from_str(text)
            .map(|value| (Codec::Json, value))
            .map_err(|error| format!("The text is not JSON: {error}")),
        Frame::Binary(bytes) => read_msgpack(bytes).map(|value| (Codec::Msgpack, value)),
        Frame::Close(_) => Err("The session is closed".to_owned()),
    }
}

/// Reads one value that fills all bytes.
///
/// Bytes become an object that says how many there are: no model looks at them here. Extensions and keys
/// that are no texts are refused, since fal uses neither.
fn read_msgpack(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { rest: bytes, values_left: VALUES_MAX };
    let value = reader.value(DEPTH_MAX)?;
    match reader.rest.len() {
        0 => Ok(value),
        more => Err(format!("{more} bytes follow the value")),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    values_left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.values_left =
            self.values_left.checked_sub(1).ok_or("The input has too many values")?;
        let depth = depth.checked_sub(1).ok_or("The input is nested too deeply")?;
        let marker = Marker::from_u8(self.take(1)?[0]);
        Ok(match marker {
            Marker::Null => Value::Null,
            Marker::False => Value::Bool(false),
            Marker::True => Value::Bool(true),
            Marker::FixPos(number) => number.into(),
            Marker::FixNeg(number) => number.into(),
            Marker::U8 => u8::from_be_bytes(self.array()?).into(),
            Marker::U16 => u16::from_be_bytes(self.array()?).into(),
            Marker::U32 => u32::from_be_bytes(self.array()?).into(),
            Marker::U64 => u64::from_be_bytes(self.array()?).into(),
            Marker::I8 => i8::from_be_bytes(self.array()?).into(),
            Marker::I16 => i16::from_be_bytes(self.array()?).into(),
            Marker::I32 => i32::from_be_bytes(self.array()?).into(),
            Marker::I64 => i64::from_be_bytes(self.array()?).into(),
            Marker::F32 => f32::from_be_bytes(self.array()?).into(),
            Marker::F64 => f64::from_be_bytes(self.array()?).into(),
            Marker::FixStr(len) => self.text(len.into())?.into(),
            Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let len = self.length(marker)?;
                self.text(len)?.into()
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let len = self.length(marker)?;
                let mut described = Map::new();
                described.insert("bytes".to_owned(), self.take(len)?.len().into());
                Value::Object(described)
            }
            Marker::FixArray(len) => self.list(len.into(), depth)?,
            Marker::Array16 | Marker::Array32 => {
                let len = self.length(marker)?;
                self.list(len, depth)?
            }
            Marker::FixMap(len) => self.map(len.into(), depth)?,
            Marker::Map16 | Marker::Map32 => {
                let len = self.length(marker)?;
                self.map(len, depth)?
            }
            Marker::FixExt1
            | Marker::FixExt2
            | Marker::FixExt4
            | Marker::FixExt8
            | Marker::FixExt16
            | Marker::Ext8
            | Marker::Ext16
            | Marker::Ext32 => return Err("The input has an extension type".to_owned()),
            Marker::Reserved => return Err("The input has a reserved byte".to_owned()),
        })
    }

    /// The length behind a marker, in as many bytes as the marker says.
    fn length(&mut self, marker: Marker) -> Result<usize, String> {
        let len: u32 = match marker {
            Marker::Str8 | Marker::Bin8 => u8::from_be_bytes(self.array()?).into(),
            Marker::Str16 | Marker::Bin16 | Marker::Array16 | Marker::Map16 => {
                u16::from_be_bytes(self.array()?).into()
            }
            _ => u32::from_be_bytes(self.array()?),
        };
        usize::try_from(len).map_err(|_| CUT.to_owned())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were taken"))
    }

    fn text(&mut self, len: usize) -> Result<&'a str, String> {
        std::str::from_utf8(self.take(len)?).map_err(|_| "A text is not UTF-8".to_owned())
    }

    fn list(&mut self, len: usize, depth: usize) -> Result<Value, String> {
        // No room is made for what was only announced.
        let mut list = Vec::new();
        for _ in 0..len {
            list.push(self.value(depth)?);
        }
        Ok(Value::Array(list))
    }

    fn map(&mut self, len: usize, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        for _ in 0..len {
            let Value::String(key) = self.value(depth)? else {
                return Err("A key is not a text".to_owned());
            };
            map.insert(key, self.value(depth)?);
        }
        Ok(Value::Object(map))
    }
}

fn len_of(len: usize) -> u32 {
    u32::try_from(len).expect("messages are far below 4 GiB")
}

const TAKEN: &str = "a Vec takes all";

/// What a message says, before it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Null,
    Bool(bool),
    /// Beyond 64 bits it is written as a float.
    Whole(i128),
    Float(f64),
    Text(String),
    /// JSON has no bytes: there they are a list of numbers, and nobody writes them so.
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(Vec<(Cow<'static, str>, Self)>),
}

impl From<Value> for Item {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(flag),
            Value::Number(number) => match number.as_i128() {
                Some(whole) => Self::Whole(whole),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(text),
            Value::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            Value::Object(fields) => {
                let fields = fields.into_iter();
                Self::Map(fields.map(|(name, value)| (name.into(), value.into())).collect())
            }
        }
    }
}

impl Item {
    pub(crate) fn map<const N: usize>(fields: [(&'static str, Self); N]) -> Self {
        Self::Map(fields.into_iter().map(|(name, item)| (name.into(), item)).collect())
    }

    /// The frame that says it.
    pub(crate) fn write(&self, codec: Codec) -> Frame {
        let mut out = Vec::new();
        match codec {
            Codec::Msgpack => {
                self.push_msgpack(&mut out);
                Frame::Binary(Bytes::from(out))
            }
            Codec::Json => {
                self.push_json(&mut out);
                Frame::Text(String::from_utf8(out).expect("made of texts"))
            }
        }
    }

    fn push_msgpack(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => rmp::encode::write_nil(out).expect(TAKEN),
            Self::Bool(flag) => rmp::encode::write_bool(out, *flag).expect(TAKEN),
            Self::Whole(number) => {
                if let Ok(number) = u64::try_from(*number) {
                    rmp::encode::write_uint(out, number).expect(TAKEN);
                } else if let Ok(number) = i64::try_from(*number) {
                    rmp::encode::write_sint(out, number).expect(TAKEN);
                } else {
                    rmp::encode::write_f64(out, *number as f64).expect(TAKEN);
                }
            }
            Self::Float(number) => rmp::encode::write_f64(out, *number).expect(TAKEN),
            Self::Text(text) => rmp::encode::write_str(out, text).expect(TAKEN),
            Self::Bytes(bytes) => rmp::encode::write_bin(out, bytes).expect(TAKEN),
            Self::List(items) => {
                rmp::encode::write_array_len(out, len_of(items.len())).expect(TAKEN);
                for item in items {
                    item.push_msgpack(out);
                }
            }
            Self::Map(fields) => {
                rmp::encode::write_map_len(out, len_of(fields.len())).expect(TAKEN);
                for (name, item) in fields {
                    rmp::encode::write_str(out, name).expect(TAKEN);
                    item.push_msgpack(out);
                }
            }
        }
    }

    fn push_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(flag) => out.extend_from_slice(flag.to_string().as_bytes()),
            Self::Whole(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Float(number) => out.extend_from_slice(format!("{number:?}").as_bytes()),
            Self::Text(text) => render::push_string(out, text),
            Self::Bytes(bytes) => {
                let numbers = bytes.iter().map(|byte| Self::Whole((*byte).into())).collect();
                Self::List(numbers).push_json(out);
            }
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.push_json(out);
                }
                out.push(b']');
            }
            Self::Map(fields) => {
                out.push(b'{');
                for (at, (name, item)) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    render::push_string(out, name);
                    out.push(b':');
                    item.push_json(out);
                }
                out.push(b'}');
            }
        }
    }
}

const CUT: &str = "The input ends too early";

/// Deeper values are refused.
const DEPTH_MAX: usize = 64;

/// Values of one input; a value costs more room here than on the wire.
const VALUES_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], want: Result<Value, &str>) {
        let found = read_msgpack(bytes);
        match want {
            Ok(value) => assert_eq!(found, Ok(value)),
            Err(why) => {
                let error = found.expect_err("it is refused");
                assert!(error.contains(why), "{error}");
            }
        }
    }

    #[test]
    fn every_form_is_read() {
        check(b"\x80", Ok(json!({})));
        check(b"\x81\xa6prompt\xa3cat", Ok(json!({"prompt": "cat"})));
        check(b"\xde\x00\x01\xd9\x01a\xc0", Ok(json!({"a": null})));
        check(b"\xdf\x00\x00\x00\x01\xda\x00\x01a\xc3", Ok(json!({"a": true})));
        check(b"\x93\xcc\xff\xd0\x80\xff", Ok(json!([255, -128, -1])));
        check(b"\xdc\x00\x02\xcd\x01\x00\xd1\xff\x00", Ok(json!([256, -256])));
        check(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Ok(json!(u64::MAX)));
        check(b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", Ok(json!(i64::MIN)));
        check(b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", Ok(json!(1.5)));
        check(b"\xca\x3f\xc0\x00\x00", Ok(json!(1.5)));
        check(b"\x81\xa1b\xc4\x02\x00\xff", Ok(json!({"b": {"bytes": 2}})));
    }

    #[test]
    fn what_is_no_input_is_refused() {
        check(b"", Err("too early"));
        check(b"\x81\xa1a", Err("too early"));
        check(b"\xdb\xff\xff\xff\xffx", Err("too early"));
        check(b"\xdd\xff\xff\xff\xff\xc0", Err("too early"));
        check(b"\x80\x80", Err("1 bytes follow"));
        check(b"\x81\x01\x01", Err("key"));
        check(b"\xa1\xff", Err("UTF-8"));
        check(b"\xd4\x00\x00", Err("extension"));
        check(b"\xc1", Err("reserved"));
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth: usize| [vec![0x91; depth - 1], vec![0xc0]].concat();
        assert!(read_msgpack(&nested(DEPTH_MAX)).is_ok());
        check(&nested(DEPTH_MAX + 1), Err("deeply"));
        let wide = |values: usize| {
            let len = u32::try_from(values - 1).unwrap().to_be_bytes();
            [&[0xdd][..], &len, &vec![0xc0; values - 1]].concat()
        };
        assert!(read_msgpack(&wide(VALUES_MAX)).is_ok());
        check(&wide(VALUES_MAX + 1), Err("too many"));
    }

    #[test]
    fn both_codecs_say_the_same() {
        let item = Item::map([
            ("text", Item::Text("é\"\n".to_owned())),
            (
                "list",
                Item::List(vec![Item::Null, Item::Bool(true), Item::Whole(-3), Item::Float(0.5)]),
            ),
            ("large", Item::Whole(u64::MAX.into())),
            ("small", Item::Whole(i64::MIN.into())),
        ]);
        let want = json!({"text": "é\"\n", "list": [null, true, -3, 0.5], "large": u64::MAX,
            "small": i64::MIN});
        for codec in [Codec::Msgpack, Codec::Json] {
            assert_eq!(read(&item.write(codec)), Ok((codec, want.clone())));
        }
        let beyond = Item::Whole(1 << 70);
        assert_eq!(read(&beyond.write(Codec::Msgpack)).unwrap().1, json!(2f64.powi(70)));
        assert_eq!(
            Item::Bytes(vec![1, 2]).write(Codec::Msgpack),
            Frame::Binary(Bytes::from_static(b"\xc4\x02\x01\x02"))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_msgpack(&bytes);
        }
    }
}
