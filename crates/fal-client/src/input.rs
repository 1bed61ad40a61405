mod marks;

pub(crate) use marks::preview;

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use fal_protocol::error::InputError;
use fal_protocol::lifecycle::Lifecycle;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use self::marks::Marked;
use crate::upload::UploadSource;

/// A model's input that may hold files.
///
/// Anything that is `Serialize` can be handed to `.input(..)`, also with a [`FileInput`] as a field. To build an
/// input by hand, there is `Input`: each file in it is uploaded first, and its address takes its place. A file that occurs several times (the same
/// path, or the same bytes, with the same marks) is uploaded once.
///
/// ```
/// use fal_client::Input;
/// use serde_json::json;
///
/// let input = Input::from(json!({ "prompt": "portrait of a man" }))
///     .with("reference_image_url", Input::file("face.png"))
///     .with("mask_url", Input::bytes(b"...".as_slice(), "image/png").named("mask.png"))
///     .with("style_url", Input::file("tiny.png").inline());
/// ```
pub struct Input {
    node: Node,
}

enum Node {
    Json(Value),
    Encoded(Box<RawValue>),
    Marked(Marked),
    List(Vec<Input>),
    Object(Vec<(String, Input)>),
    File(FileInput),
}

impl Input {
    /// A local file, read while it is uploaded.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> FileInput {
        FileInput::new(UploadSource::from(path.into()))
    }

    /// Bytes in memory as a file of this media type.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>, content_type: impl Into<String>) -> FileInput {
        FileInput::new(UploadSource::from(bytes.into())).content_type(content_type)
    }

    /// Adds a field, replacing one of that name. Anything but an object is replaced by an object.
    #[must_use]
    pub fn with(self, name: impl Into<String>, value: impl Into<Self>) -> Self {
        let name = name.into();
        let mut fields = match self.node {
            Node::Object(fields) => fields,
            Node::Json(Value::Object(map)) => {
                map.into_iter().map(|(name, v)| (name, v.into())).collect()
            }
            _ => Vec::new(),
        };
        fields.retain(|(existing, _)| *existing != name);
        fields.push((name, value.into()));
        Self { node: Node::Object(fields) }
    }

    /// JSON of this input. Files must have been replaced.
    pub(crate) fn encode(self) -> Result<Bytes, InputError> {
        match self.node {
            Node::Encoded(raw) => Ok(Bytes::from(String::from(Box::<str>::from(raw)))),
            node => fal_protocol::run::encode_input(&Resolved(&node)),
        }
    }

    /// The files in it, in order.
    pub(crate) fn files(&self) -> Vec<FileInput> {
        let mut files = Vec::new();
        self.collect(&mut files);
        files
    }

    fn collect(&self, files: &mut Vec<FileInput>) {
        match &self.node {
            Node::File(file) => files.push(file.clone()),
            Node::Marked(marked) => files.extend_from_slice(marked.files()),
            Node::List(items) => items.iter().for_each(|item| item.collect(files)),
            Node::Object(fields) => fields.iter().for_each(|(_, value)| value.collect(files)),
            Node::Json(_) | Node::Encoded(_) => {}
        }
    }

    /// Puts addresses where the files were, in the same order.
    pub(crate) fn fill(&mut self, urls: &mut impl Iterator<Item = String>) {
        match &mut self.node {
            Node::File(_) => {
                if let Some(url) = urls.next() {
                    self.node = Node::Json(Value::String(url));
                }
            }
            Node::Marked(marked) => marked.fill(urls),
            Node::List(items) => items.iter_mut().for_each(|item| item.fill(urls)),
            Node::Object(fields) => fields.iter_mut().for_each(|(_, value)| value.fill(urls)),
            Node::Json(_) | Node::Encoded(_) => {}
        }
    }
}

impl Default for Input {
    /// The empty object.
    fn default() -> Self {
        Self { node: Node::Object(Vec::new()) }
    }
}

/// Shows the shape without the values: inputs are private, and can be large.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Json(_) | Node::Encoded(_) => f.write_str("Json(..)"),
            Node::List(items) => f.debug_list().entries(items).finish(),
            Node::Object(fields) => {
                f.debug_map().entries(fields.iter().map(|(k, v)| (k, v))).finish()
            }
            Node::Marked(marked) => f.debug_list().entries(marked.files()).finish(),
            Node::File(file) => file.fmt(f),
        }
    }
}

/// An input as JSON, with an address in the place of each file that is not uploaded yet.
pub(crate) struct Preview<'a>(pub(crate) &'a Input);

impl Serialize for Preview<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.node {
            Node::Json(value) => value.serialize(serializer),
            Node::Encoded(raw) => raw.serialize(serializer),
            Node::List(items) => serializer.collect_seq(items.iter().map(Preview)),
            Node::Object(fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, Preview(value))))
            }
            Node::Marked(marked) => marked.preview().serialize(serializer),
            Node::File(file) => serializer.serialize_str(file.preview()),
        }
    }
}

/// What stands for a file that will be uploaded, in checks.
const UPLOAD_PREVIEW: &str = "https://v3.fal.media/files/uploaded";
const INLINE_PREVIEW: &str = "data:application/octet-stream;base64,";

struct Resolved<'a>(&'a Node);

impl Serialize for Resolved<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Node::Json(value) => value.serialize(serializer),
            Node::Encoded(raw) => raw.serialize(serializer),
            Node::List(items) => {
                serializer.collect_seq(items.iter().map(|item| Resolved(&item.node)))
            }
            Node::Object(fields) => serializer
                .collect_map(fields.iter().map(|(name, value)| (name, Resolved(&value.node)))),
            Node::Marked(marked) => marked.serialize(serializer),
            Node::File(_) => Err(S::Error::custom(NOT_UPLOADED)),
        }
    }
}

impl From<Value> for Input {
    fn from(value: Value) -> Self {
        Self { node: Node::Json(value) }
    }
}

impl From<FileInput> for Input {
    fn from(file: FileInput) -> Self {
        Self { node: Node::File(file) }
    }
}

impl<T: Into<Self>> From<Vec<T>> for Input {
    fn from(items: Vec<T>) -> Self {
        Self { node: Node::List(items.into_iter().map(Into::into).collect()) }
    }
}

macro_rules! from_plain {
    ($($type:ty),*) => {
        $(impl From<$type> for Input {
            fn from(value: $type) -> Self {
                Value::from(value).into()
            }
        })*
    };
}

from_plain!(&str, String, bool, i32, i64, u32, u64, f32, f64);

/// What `.input(..)` takes: any `Serialize`, or an [`Input`] with files.
pub trait IntoInput {
    /// Encodes it.
    ///
    /// # Errors
    /// [`InputError::Body`] when it cannot be JSON.
    fn into_input(self) -> Result<Input, InputError>;
}

impl<T: Serialize> IntoInput for T {
    fn into_input(self) -> Result<Input, InputError> {
        let encode = || serde_json::value::to_raw_value(&self);
        let (raw, files) = marks::collect(encode);
        let raw = raw.map_err(|e| InputError::Body { problem: e.to_string().into() })?;
        let node = match files.is_empty() {
            true => Node::Encoded(raw),
            false => Node::Marked(Marked::new(raw.get(), files)),
        };
        Ok(Input { node })
    }
}

impl IntoInput for Input {
    fn into_input(self) -> Result<Input, InputError> {
        Ok(self)
    }
}

/// A file inside an input, or one to upload on its own.
///
/// As a field of an input that is `Serialize`, it is uploaded and becomes its address. Elsewhere it cannot be
/// serialised, because it has no address yet.
#[derive(Clone, Debug)]
pub struct FileInput {
    pub(crate) source: UploadSource,
    pub(crate) name: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) lifecycle: Option<Lifecycle>,
    pub(crate) inline: bool,
}

impl FileInput {
    pub(crate) const fn new(source: UploadSource) -> Self {
        Self { source, name: None, content_type: None, lifecycle: None, inline: false }
    }

    /// The kind of address that it becomes.
    const fn preview(&self) -> &'static str {
        if self.inline { INLINE_PREVIEW } else { UPLOAD_PREVIEW }
    }

    /// Whether it would become the same file at the service.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let marks = |file: &Self| (file.name.clone(), file.content_type.clone(), file.inline);
        marks(self) == marks(other)
            && self.lifecycle == other.lifecycle
            && self.source.is_same(&other.source)
    }

    /// Sets the name that the file gets. Default: its own; `upload` for bytes in memory.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the media type. Default: by the name's ending.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets how long the file lives and who may read it. Default: as the account says. A model that is not
    /// allowed to read it cannot work on it either.
    #[must_use]
    pub fn lifecycle(mut self, lifecycle: Lifecycle) -> Self {
        self.lifecycle = Some(lifecycle);
        self
    }

    /// Puts the content itself into the input, as a data URI, instead of uploading it. For small files:
    /// the request grows by four thirds of the file.
    #[must_use]
    pub const fn inline(mut self) -> Self {
        self.inline = true;
        self
    }
}

impl Serialize for FileInput {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match marks::stand_in(self) {
            Some(text) => serializer.serialize_str(&text),
            None => Err(S::Error::custom("a file has no address until the client has uploaded it")),
        }
    }
}

/// Whether they would become the same file at the service.
impl PartialEq for FileInput {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

const NOT_UPLOADED: &str = "a file of the input was not uploaded";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_filled_in_order() {
        let mut input = Input::from(json!({ "a": 1, "b": "x" }))
            .with("b", Input::file("1.png"))
            .with("list", vec![Input::from(Input::file("2.png")), "plain".into()]);
        assert_eq!(input.files().len(), 2);
        input.fill(&mut ["u1", "u2"].map(str::to_owned).into_iter());
        let encoded: Value = serde_json::from_slice(&input.encode().unwrap()).unwrap();
        assert_eq!(encoded, json!({ "a": 1, "b": "u1", "list": ["u2", "plain"] }));
    }

    #[test]
    fn a_plain_value_is_encoded_once() {
        #[derive(Serialize)]
        struct Mine {
            prompt: &'static str,
        }
        let encoded = Mine { prompt: "x" }.into_input().unwrap().encode().unwrap();
        assert_eq!(encoded, r#"{"prompt":"x"}"#);
        let unfilled = Input::default().with("f", Input::file("x")).encode().unwrap_err();
        assert!(unfilled.to_string().contains("not uploaded"));
    }

    #[test]
    fn files_in_a_plain_value_are_found() {
        #[derive(Serialize)]
        struct Mine {
            prompt: &'static str,
            images: Vec<FileInput>,
            mask: Option<FileInput>,
        }
        let file = |name: &str| Input::file(name);
        let mine =
            || Mine { prompt: "x", images: vec![file("b"), file("a")], mask: Some(file("c")) };
        let mut input = mine().into_input().unwrap();
        assert_eq!(input.files(), [file("b"), file("a"), file("c")]);
        input.fill(&mut ["u\"1", "u2", "u3"].map(str::to_owned).into_iter());
        let encoded: Value = serde_json::from_slice(&input.encode().unwrap()).unwrap();
        assert_eq!(encoded, json!({ "prompt": "x", "images": ["u\"1", "u2"], "mask": "u3" }));
        let unfilled = mine().into_input().unwrap().encode().unwrap_err();
        assert!(unfilled.to_string().contains("not uploaded"));
        let previewed = preview(|| serde_json::to_value(mine())).unwrap();
        assert_eq!(
            previewed,
            serde_json::to_value(Preview(&mine().into_input().unwrap())).unwrap()
        );
        assert_eq!(previewed["mask"], UPLOAD_PREVIEW);
        let elsewhere = serde_json::to_string(&mine()).unwrap_err();
        assert!(elsewhere.to_string().contains("no address"), "{elsewhere}");
    }

    #[test]
    fn a_plain_value_with_files_can_be_a_part() {
        let part = vec![Input::file("a")].into_input().unwrap();
        let mut input = Input::from(json!({ "b": 1 })).with("list", part);
        input.fill(&mut ["u1".to_owned()].into_iter());
        assert_eq!(input.encode().unwrap(), r#"{"b":1,"list":["u1"]}"#);
    }

    #[test]
    fn debug_shows_no_value() {
        let input = Input::from(json!({ "prompt": "secret" })).with("key", "secret");
        assert!(!format!("{input:?}").contains("secret"));
    }
}
