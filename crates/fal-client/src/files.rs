use serde_json::Value;

use crate::content_type::ending_of;

/// A media file that a model's output names.
///
/// Source: the shared components `File`, `Image`, `Video` and `Audio` of the published model
/// documents: an object with `url`, and all else optional or null (observed).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MediaFile {
    /// Where it is: an address, or the content itself as a data URI.
    pub url: String,
    /// The media type, if the model told.
    pub content_type: Option<String>,
    /// The name, if the model told. From a peer: [`local_name`](Self::local_name) makes it safe.
    pub file_name: Option<String>,
    /// Where the output names it, as a JSON pointer such as `/images/0`.
    pub pointer: String,
}

impl MediaFile {
    /// A name to save it under: without folders, never empty, with an ending that fits its type.
    #[must_use]
    pub fn local_name(&self) -> String {
        let named = self.file_name.as_deref().and_then(safe_name);
        let from_url = || {
            let path = self.url.split(['?', '#']).next()?;
            path.split_once("://")?.1.rsplit_once('/').and_then(|(_, last)| safe_name(last))
        };
        named.or_else(from_url).unwrap_or_else(|| {
            let stem = self.pointer.trim_matches('/').replace('/', "-");
            let stem = safe_name(&stem).unwrap_or_else(|| "file".into());
            let declared = self.content_type.as_deref();
            let inline =
                || self.url.strip_prefix("data:").and_then(|rest| rest.split([';', ',']).next());
            format!("{stem}.{}", ending_of(declared.or_else(inline).unwrap_or_default()))
        })
    }
}

/// Its address.
impl From<&MediaFile> for String {
    fn from(file: &MediaFile) -> Self {
        file.url.clone()
    }
}

/// Every object with a `url` that can be fetched, depth first, and bare addresses under names that end in `url`.
pub(crate) fn of(value: &Value) -> Vec<MediaFile> {
    let mut found = Vec::new();
    walk(value, String::new(), &mut found, 0);
    found
}

fn walk(value: &Value, pointer: String, found: &mut Vec<MediaFile>, depth: usize) {
    if depth > DEPTH_MAX || found.len() >= FILES_MAX {
        return;
    }
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, format!("{pointer}/{index}"), found, depth + 1);
            }
        }
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
            if let Some(url) = text("url").filter(|url| is_fetchable(url)) {
                let (content_type, file_name) = (text("content_type"), text("file_name"));
                found.push(MediaFile { url, content_type, file_name, pointer: pointer.clone() });
            }
            for (name, field) in fields {
                let pointer = format!("{pointer}/{name}");
                match field {
                    Value::String(url) if name.ends_with("_url") && is_fetchable(url) => {
                        let url = url.clone();
                        found.push(MediaFile { url, content_type: None, file_name: None, pointer });
                    }
                    _ => walk(field, pointer, found, depth + 1),
                }
            }
        }
        _ => {}
    }
}

fn is_fetchable(url: &str) -> bool {
    ["https://", "http://", "data:"].iter().any(|scheme| url.starts_with(scheme))
}

/// The last part of a path, if it can name a file anywhere; long ones keep their ending.
fn safe_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last
        .chars()
        .map(|c| if c.is_alphanumeric() || "-_. ()".contains(c) { c } else { '_' })
        .collect();
    let clean = clean.trim_matches(['.', ' ']);
    let skip = clean.chars().count().saturating_sub(NAME_CHARS_MAX);
    let short: String = clean.chars().skip(skip).collect();
    (!short.is_empty()).then_some(short)
}

/// Most files looked for in one output.
const FILES_MAX: usize = 1000;
const DEPTH_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_found_wherever_they_are() {
        let found = of(&json!({
            "images": [{ "url": "https://x/a.png", "file_name": null }, { "url": "data:image/png;base64,AA==" }],
            "video": { "url": "http://x/v", "content_type": "video/mp4", "file_name": "../../etc/passwd" },
            "model_mesh_url": "https://x/m.glb?sig=1",
            "seed": 1, "prompt": "https://not-a-file", "other": { "url": "relative" },
        }));
        let names: Vec<(String, String)> =
            found.iter().map(|f| (f.pointer.clone(), f.local_name())).collect();
        let expected = [
            ("/images/0", "a.png"),
            ("/images/1", "images-1.png"),
            ("/model_mesh_url", "m.glb"),
            ("/video", "passwd"),
        ];
        assert_eq!(names, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn names_are_safe() {
        for (name, safe) in [
            ("a/b\\c.png", Some("c.png")),
            ("..", None),
            ("", None),
            ("a\0b:c.png", Some("a_b_c.png")),
            (".hidden", Some("hidden")),
        ] {
            assert_eq!(safe_name(name).as_deref(), safe, "{name:?}");
        }
        assert_eq!(safe_name(&format!("{}.png", "x".repeat(500))).unwrap().len(), NAME_CHARS_MAX);
    }
}
