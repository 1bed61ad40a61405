//! What the platform API says of a model, stated by a list or derived from its document.

use serde_json::{Map, Value, json};

use crate::render;

/// The `metadata` object of one model.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) display_name: Box<str>,
    pub(crate) category: Box<str>,
    pub(crate) description: Box<str>,
    pub(crate) is_deprecated: bool,
    /// Whether the model streams; then its entry has a `stream_url`.
    pub(crate) streams: bool,
    /// Whether a list said so; what is derived yields to it.
    pub(crate) is_stated: bool,
    /// The other members, written as the inside of an object.
    others: Box<str>,
}

impl Metadata {
    /// What a list says, with what it leaves out derived.
    pub(crate) fn stated(id: &str, stated: &Value, openapi: &Value) -> Self {
        let mut metadata = Self::derived(id, openapi);
        let text = |name: &str| stated.get(name).and_then(Value::as_str).map(Box::from);
        metadata.is_stated = true;
        metadata.is_deprecated = stated.get("status").and_then(Value::as_str) == Some("deprecated");
        metadata.streams = stated.get("stream_url").is_some();
        for (member, name) in [
            (&mut metadata.display_name, "display_name"),
            (&mut metadata.category, "category"),
            (&mut metadata.description, "description"),
        ] {
            if let Some(text) = text(name) {
                *member = text;
            }
        }
        let mut others = usual();
        for (name, value) in stated.as_object().into_iter().flatten() {
            if !OWN.contains(&name.as_str()) {
                others.insert(name.clone(), value.clone());
            }
        }
        metadata.others = inside(&others);
        metadata
    }

    /// What a document says, and the id.
    pub(crate) fn derived(id: &str, openapi: &Value) -> Self {
        let info = openapi.get("info");
        let of_fal = info.and_then(|info| info.get("x-fal-metadata"));
        let text = |of: Option<&Value>, name: &str| {
            of.and_then(|of| of.get(name)).and_then(Value::as_str).map(str::to_owned)
        };
        let mut others = usual();
        if let Some(thumbnail) = text(of_fal, "thumbnailUrl") {
            others.insert("thumbnail_url".into(), thumbnail.into());
        }
        let category = text(of_fal, "category").unwrap_or_default();
        let kind = if category == "training" { "training" } else { "inference" };
        others.insert("kind".into(), kind.into());
        let name = id.split_once('/').map_or(id, |(_, path)| path);
        Self {
            display_name: name.into(),
            category: category.into(),
            description: text(info, "description").unwrap_or_default().into(),
            is_deprecated: false,
            streams: id.ends_with("/stream"),
            is_stated: false,
            others: inside(&others),
        }
    }

    /// Writes the object. `push_url` writes the start of addresses on the run host.
    pub(crate) fn push(
        &self,
        out: &mut Vec<u8>,
        id: &str,
        is_favorited: &[u8],
        push_url: impl Fn(&mut Vec<u8>),
    ) {
        for (name, text) in [
            (&b"{\"display_name\":"[..], &*self.display_name),
            (b",\"category\":", &self.category),
            (b",\"description\":", &self.description),
            (b",\"status\":", if self.is_deprecated { "deprecated" } else { "active" }),
        ] {
            out.extend_from_slice(name);
            render::push_string(out, text);
        }
        out.extend_from_slice(b",\"is_favorited\":");
        out.extend_from_slice(is_favorited);
        let addresses = [
            (&b",\"model_url\":\""[..], true, ""),
            (b",\"stream_url\":\"", self.streams, "/stream"),
        ];
        for (name, _, end) in addresses.into_iter().filter(|(_, is_there, _)| *is_there) {
            out.extend_from_slice(name);
            push_url(out);
            out.push(b'/');
            out.extend_from_slice(id.as_bytes());
            if !id.ends_with("/stream") {
                out.extend_from_slice(end.as_bytes());
            }
            out.push(b'"');
        }
        out.push(b',');
        out.extend_from_slice(self.others.as_bytes());
        out.push(b'}');
    }

    /// Whether every word of a search occurs in what is said of the model.
    pub(crate) fn matches(&self, id: &str, words: &[String]) -> bool {
        let all =
            [id, &self.display_name, &self.description, &self.category].join("\n").to_lowercase();
        words.iter().all(|word| all.contains(word.as_str()))
    }
}

/// Members that are required and that nothing says anything about.
fn usual() -> Map<String, Value> {
    let members = json!({
        "tags": [],
        "updated_at": NO_DATE,
        "date": NO_DATE,
        "thumbnail_url": "",
        "highlighted": false,
        "pinned": false,
    });
    let Value::Object(members) = members else { unreachable!("an object was written") };
    members
}

/// The text of an object without its braces.
fn inside(members: &Map<String, Value>) -> Box<str> {
    let text = serde_json::to_string(members).expect("a map with text keys is JSON");
    text[1..text.len() - 1].into()
}

/// Members that [`Metadata::push`] writes by itself.
const OWN: [&str; 7] = [
    "category",
    "description",
    "display_name",
    "is_favorited",
    "model_url",
    "status",
    "stream_url",
];

/// The date of a model that has none.
const NO_DATE: &str = "2026-01-01T00:00:00.000Z";
