//! Files in the outputs of models, as typed values: [`File`], [`Image`], [`Video`], [`Audio`].
//!
//! Answers are looser than the documents of their models, so these types take all of it and lose nothing:
//!
//! | On the wire | Here |
//! |---|---|
//! | an object with a `url` | the type; a `url` that is missing or no text is the only error |
//! | a bare address (`http:`, `https:` or `data:`) where an object is declared | the type with nothing but its [`url`](File::url) |
//! | a field that is missing | `None` |
//! | a field that is null, or of another type than here | `None`, and the value is in [`extra`](File::extra) under its name |
//! | a whole number written as `512.0`, where a count is expected | the count |
//! | any other field | in [`extra`](File::extra) |
//!
//! ```
//! use fal_protocol::media::Image;
//!
//! let answer = r#"{"url":"https://v3.fal.media/files/a.png","width":512.0,"file_size":null,"blurhash":"LEHV"}"#;
//! let image: Image = serde_json::from_str(answer)?;
//! assert_eq!((image.width, image.file_size), (Some(512), None));
//! assert_eq!(image.extra["blurhash"], "LEHV");
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! The fields are those that several published documents declare. All of them may be missing: some documents
//! require sizes and names, and answers have had nulls there. A `content_type` is what the model claims, which
//! need not be what the file holds. What single documents add (`codec`, `container`, `map_type`,
//! `frame_count`, ...) is in `extra`.
//!
//! Source: 1,461 components of that kind in 1,420 published documents, January to June 2026 (observed); nulls
//! against the document: a defect report of an official integration (third party); bare addresses: the file
//! types of fal's own toolkit, which take them (official SDK source).

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Defines one kind of file: an address, then optional fields, then the rest.
macro_rules! media {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            /// Where it is: an address, or the content itself as a data URI.
            pub url: String,
            /// The media type, such as `image/png`, as the model claims.
            pub content_type: Option<String>,
            /// Its name. From a peer: not to be used as a path as it is.
            pub file_name: Option<String>,
            /// Its length in bytes.
            pub file_size: Option<u64>,
            $($(#[$field_doc])* pub $field: Option<$type>,)*
            /// All other fields, and those above whose value did not fit, nulls among them. Written back as
            /// they came, except where a field above has a value.
            pub extra: Map<String, Value>,
        }

        impl $name {
            /// One of which only the address is known.
            #[must_use]
            pub fn new(url: impl Into<String>) -> Self {
                Self {
                    url: url.into(),
                    content_type: None,
                    file_name: None,
                    file_size: None,
                    $($field: None,)*
                    extra: Map::new(),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let Parts { url, mut extra } = deserializer.deserialize_any(Reader)?;
                Ok(Self {
                    url,
                    content_type: take(&mut extra, "content_type"),
                    file_name: take(&mut extra, "file_name"),
                    file_size: take(&mut extra, "file_size"),
                    $($field: take(&mut extra, stringify!($field)),)*
                    extra,
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("url", &self.url)?;
                let mut known = vec!["url"];
                write("content_type", &self.content_type, &mut known, &mut map)?;
                write("file_name", &self.file_name, &mut known, &mut map)?;
                write("file_size", &self.file_size, &mut known, &mut map)?;
                $(write(stringify!($field), &self.$field, &mut known, &mut map)?;)*
                for (name, value) in &self.extra {
                    if !known.contains(&name.as_str()) {
                        map.serialize_entry(name, value)?;
                    }
                }
                map.end()
            }
        }

        /// Shows neither queries, which can be signed, nor the content of data URIs, nor the values of the rest.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("url", &shown(&self.url))
                    .field("content_type", &self.content_type)
                    .field("file_name", &self.file_name)
                    .field("file_size", &self.file_size)
                    $(.field(stringify!($field), &self.$field))*
                    .field("extra", &self.extra.keys().collect::<Vec<_>>())
                    .finish()
            }
        }

        /// Its address.
        impl From<$name> for String {
            fn from(file: $name) -> Self {
                file.url
            }
        }

        /// Its address.
        impl From<&$name> for String {
            fn from(file: &$name) -> Self {
                file.url.clone()
            }
        }
    };
}

media! {
    /// A file of any kind.
    ///
    /// Source: the component `File` (740 documents) (observed).
    File {}
}

media! {
    /// A picture.
    ///
    /// Source: the components `Image`, `ImageFile` and others of that shape (516 documents) (observed).
    Image {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    }
}

media! {
    /// A film.
    ///
    /// Source: the components `VideoFile` and `Video` (126 documents) (observed).
    Video {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// Frames per second.
        fps: f64,
        /// In seconds.
        duration: f64,
        /// Frames in all.
        num_frames: u64,
    }
}

media! {
    /// A sound.
    ///
    /// Source: the components `AudioFile` and `Audio` (20 documents) (observed).
    Audio {
        /// In seconds.
        duration: f64,
        /// A number of bits per second, or a text such as `192k`: documents have both.
        bitrate: Value,
        /// 1 for mono, 2 for stereo.
        channels: u32,
        /// Samples per second.
        sample_rate: u32,
    }
}

/// What all kinds are read into first.
struct Parts {
    url: String,
    extra: Map<String, Value>,
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Parts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a `url`, or the address of a file")
    }

    fn visit_str<E: de::Error>(self, url: &str) -> Result<Parts, E> {
        self.visit_string(url.to_owned())
    }

    fn visit_string<E: de::Error>(self, url: String) -> Result<Parts, E> {
        if !is_address(&url) {
            // Not the text itself: it can be anything, and long.
            return Err(E::custom("a text that is no address, where a file is expected"));
        }
        Ok(Parts { url, extra: Map::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts, A::Error> {
        let (mut url, mut extra) = (None, Map::new());
        while let Some(name) = map.next_key::<String>()? {
            if name == "url" {
                url = Some(map.next_value::<String>()?);
            } else {
                extra.insert(name, map.next_value()?);
            }
        }
        Ok(Parts { url: url.ok_or_else(|| de::Error::missing_field("url"))?, extra })
    }
}

/// The schemes that fal's toolkit takes in place of an object.
fn is_address(text: &str) -> bool {
    ["https://", "http://", "data:"].iter().any(|scheme| {
        text.as_bytes()
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    })
}

/// Moves a value out if it fits.
fn take<T: Fits>(extra: &mut Map<String, Value>, name: &str) -> Option<T> {
    match T::fit(extra.remove(name)?) {
        Ok(value) => Some(value),
        Err(other) => {
            extra.insert(name.to_owned(), other);
            None
        }
    }
}

fn write<M: SerializeMap>(
    name: &'static str,
    value: &Option<impl Serialize>,
    known: &mut Vec<&'static str>,
    map: &mut M,
) -> Result<(), M::Error> {
    if let Some(value) = value {
        map.serialize_entry(name, value)?;
        known.push(name);
    }
    Ok(())
}

/// Takes a value without losing anything of it, or gives it back.
trait Fits: Sized {
    fn fit(value: Value) -> Result<Self, Value>;
}

impl Fits for String {
    fn fit(value: Value) -> Result<Self, Value> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(other),
        }
    }
}

impl Fits for u64 {
    fn fit(value: Value) -> Result<Self, Value> {
        if let Some(count) = value.as_u64() {
            return Ok(count);
        }
        match value.as_f64() {
            Some(float) if float.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&float) => {
                Ok(float as Self)
            }
            _ => Err(value),
        }
    }
}

impl Fits for u32 {
    fn fit(value: Value) -> Result<Self, Value> {
        let count = u64::fit(value)?;
        Self::try_from(count).map_err(|_| Value::from(count))
    }
}

impl Fits for f64 {
    fn fit(value: Value) -> Result<Self, Value> {
        match value.as_f64() {
            Some(float) if value.is_f64() || float.abs() <= EXACT_MAX => Ok(float),
            _ => Err(value),
        }
    }
}

impl Fits for Value {
    fn fit(value: Value) -> Result<Self, Value> {
        if matches!(value, Self::Number(_) | Self::String(_)) { Ok(value) } else { Err(value) }
    }
}

fn shown(url: &str) -> String {
    match url.split_once(',') {
        Some((head, content)) if url.starts_with("data:") => {
            format!("{head},({} characters)", content.len())
        }
        _ => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
    }
}

/// Up to here a float holds every whole number: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read<T: for<'de> Deserialize<'de>>(value: &Value) -> T {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn fields_that_documents_declare_are_typed() {
        let video: Video = read(&json!({
            "url": "https://x/v.mp4", "content_type": "video/mp4", "file_name": "v.mp4", "file_size": 1e6,
            "width": 1280, "height": 720.0, "fps": 24, "duration": 5.04, "num_frames": 121, "codec": "h264",
        }));
        assert_eq!(
            (video.width, video.height, video.num_frames),
            (Some(1280), Some(720), Some(121))
        );
        assert_eq!(
            (video.fps, video.duration, video.file_size),
            (Some(24.0), Some(5.04), Some(1_000_000))
        );
        assert_eq!(video.extra, *json!({ "codec": "h264" }).as_object().unwrap());
        for bitrate in [json!("192k"), json!(192_000)] {
            let audio: Audio = read(
                &json!({ "url": "u", "bitrate": bitrate, "sample_rate": 44100, "channels": 2 }),
            );
            assert_eq!(audio.bitrate, Some(bitrate));
            assert_eq!(
                (audio.sample_rate, audio.channels, audio.duration),
                (Some(44_100), Some(2), None)
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_kept_beside() {
        let value = json!({
            "url": "u", "content_type": 7, "file_name": null, "file_size": -1, "width": 512.5, "height": "512",
        });
        let image: Image = read(&value);
        assert_eq!(
            (image.content_type.as_ref(), image.file_name.as_ref(), image.file_size),
            (None, None, None)
        );
        assert_eq!((image.width, image.height), (None, None));
        assert_eq!(image.extra.len(), 5);
        assert_eq!(serde_json::to_value(&image).unwrap(), value);
    }

    #[test]
    fn a_field_that_was_set_counts_and_not_what_came() {
        let mut image: Image = read(&json!({ "url": "u", "width": null }));
        image.width = Some(3);
        image.extra.insert("url".into(), "other".into());
        assert_eq!(serde_json::to_string(&image).unwrap(), r#"{"url":"u","width":3}"#);
    }

    #[test]
    fn bare_addresses_are_files_and_other_texts_are_none() {
        for url in ["https://x/a.png", "HTTP://x", "data:image/png;base64,AA=="] {
            assert_eq!(read::<Image>(&url.into()), Image::new(url));
        }
        for other in [json!("a cat"), json!(""), json!("ftp://x"), json!(1), json!(null), json!([])]
        {
            assert!(serde_json::from_value::<File>(other.clone()).is_err(), "{other}");
        }
    }

    #[test]
    fn only_the_address_is_required() {
        for (value, problem) in [
            (json!({}), "missing field `url`"),
            (json!({ "url": null }), "invalid type: null, expected a string"),
            (json!({ "url": 1 }), "expected a string"),
        ] {
            let error = serde_json::from_value::<File>(value).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let file: File =
            read(&json!({ "url": "https://x/a?signature=s3cret", "also_url": "https://x?s3cret" }));
        let inline = Image::new("data:image/png;base64,s3cret");
        assert!(!format!("{file:?}{inline:?}").contains("s3cret"));
        assert!(format!("{file:?}").contains("also_url"));
    }

    /// Numbers as their value: `512` and `512.0` are the same.
    fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
            }
            _ => a == b,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u32>().prop_map(Value::from),
            any::<u32>().prop_map(|n| f64::from(n).into()),
            any::<f64>().prop_map(Value::from),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number,
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    fn any_file() -> impl Strategy<Value = Value> {
        let names = prop::sample::select(vec![
            "content_type",
            "file_name",
            "file_size",
            "width",
            "height",
            "fps",
            "duration",
            "num_frames",
            "bitrate",
            "channels",
            "sample_rate",
            "codec",
            "extra",
        ]);
        let name =
            prop_oneof![4 => names.prop_map(str::to_owned), 1 => ".{0,6}".prop_map(String::from)];
        (".{0,20}", prop::collection::btree_map(name, any_json(), 0..10)).prop_map(
            |(url, fields)| {
                let mut fields: Map<String, Value> = fields.into_iter().collect();
                fields.insert("url".into(), url.into());
                fields.into()
            },
        )
    }

    fn round<T: Serialize + for<'de> Deserialize<'de> + PartialEq + fmt::Debug>(value: &Value) {
        // Through text, as answers come.
        let text = value.to_string();
        let file: T = serde_json::from_str(&text).unwrap();
        let back = serde_json::to_value(&file).unwrap();
        assert!(same(&serde_json::from_str(&text).unwrap(), &back), "{text} became {back}");
        assert_eq!(serde_json::from_value::<T>(back).unwrap(), file);
    }

    proptest! {
        #[test]
        fn every_object_with_an_address_is_read_and_written_whole(value in any_file()) {
            round::<File>(&value);
            round::<Image>(&value);
            round::<Video>(&value);
            round::<Audio>(&value);
        }
    }
}
