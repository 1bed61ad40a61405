//! What a rule answers with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;

use super::files::Files;
use super::read::{Object, Path, Reader};
use super::tree::{Data, Node};
use super::when::Input;

/// What a rule answers with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Output {
    /// What the model's document says.
    #[default]
    Synthesised,
    /// This JSON.
    Literal(Bytes),
    /// A value whose texts have holes.
    Template(Template),
}

/// A value whose texts have holes: `{{/prompt}}` is the input's value at that JSON pointer, `{{/seed | 42}}` one with
/// a default, `{{request_id}}` and `{{endpoint}}` those of the call, `{{file:NAME}}` the address of a file.
///
/// A text that is one hole alone becomes the value with its type; else the value's text is put in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    value: Value,
    bytes: usize,
    pub(crate) files: BTreeMap<Box<str>, Bytes>,
}

/// What fills the holes of a template.
pub(crate) trait Fill {
    /// The id of the call.
    fn request_id(&self) -> String;
    /// The endpoint of the call.
    fn endpoint(&self) -> &str;
    /// The address of a file of the template.
    fn file(&mut self, name: &str, bytes: &Bytes) -> String;
}

pub(crate) const OUTPUT: Object =
    Object { name: "output", keys: &["literal", "file", "template", "files"] };

impl Output {
    pub(crate) fn read(
        reader: &mut Reader,
        node: &Node,
        path: &Path<'_>,
        disk: &dyn Files,
    ) -> Option<Self> {
        if let Data::Text(text) = &node.data {
            if &**text == SYNTHESISED {
                return Some(Self::Synthesised);
            }
            let message = format!("give {SYNTHESISED}, or a map with {}", OUTPUT.keys.join(", "));
            reader.wrong(node.span, path, message);
            return None;
        }
        let fields = reader.fields(node, path, &OUTPUT)?;
        let kinds: Vec<&str> =
            ["literal", "file", "template"].into_iter().filter(|key| fields.has(key)).collect();
        let [kind] = kinds[..] else {
            let message = match kinds.is_empty() {
                true => "give one of literal, file and template",
                false => "literal, file and template exclude each other",
            };
            reader.wrong(node.span, path, message);
            return None;
        };
        if fields.has("files") && kind != "template" {
            let span = fields.get("files").map_or(node.span, |node| node.span);
            let message = "files need a template that names them, as in {{file:NAME}}";
            reader.wrong(span, &path.key("files"), message);
        }
        match kind {
            "literal" => {
                let value = fields.get("literal").map_or(Value::Null, |node| reader.json(node));
                Some(Self::Literal(value.to_string().into()))
            }
            "file" => {
                let (path, node) = (path.key("file"), fields.get("file")?);
                let name = reader.text(node, &path, "the path of a JSON file")?;
                let bytes = read_file(reader, node, &path, disk, name)?;
                if let Err(error) = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes) {
                    reader.wrong(node.span, &path, format!("{name} is no JSON: {error}"));
                    return None;
                }
                Some(Self::Literal(bytes))
            }
            _ => {
                let mut files = BTreeMap::new();
                if let Some(node) = fields.get("files") {
                    files = read_files(reader, node, &path.key("files"), disk);
                }
                let (path, node) = (path.key("template"), fields.get("template")?);
                let before = reader.problems.len();
                check(reader, node, &path, &files);
                let value = reader.json(node);
                let bytes = value.to_string().len();
                let template = Template { value, bytes, files };
                (reader.problems.len() == before).then_some(Self::Template(template))
            }
        }
    }
}

fn read_file(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
    disk: &dyn Files,
    name: &str,
) -> Option<Bytes> {
    disk.read(name).map_err(|why| reader.wrong(node.span, path, why)).ok()
}

fn read_files(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
    disk: &dyn Files,
) -> BTreeMap<Box<str>, Bytes> {
    let mut files = BTreeMap::new();
    let Some(map) = reader.map(node, path, "a map of names and paths of files") else {
        return files;
    };
    for (key, node) in map.iter() {
        let path = path.key(&key.text);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if key.text.is_empty() || !key.text.chars().all(is_plain) || key.text.starts_with('.') {
            let message =
                "the name of a file has letters, digits, dots and dashes, such as cat.png";
            reader.wrong(key.span, &path, message);
            continue;
        }
        let Some(name) = reader.text(node, &path, "the path of a file") else { continue };
        let bytes = read_file(reader, node, &path, disk, name);
        files.extend(bytes.map(|bytes| (key.text.clone(), bytes)));
    }
    files
}

/// Reports every hole that nothing fills.
fn check(reader: &mut Reader, node: &Node, path: &Path<'_>, files: &BTreeMap<Box<str>, Bytes>) {
    match &node.data {
        Data::Text(text) => {
            for part in parts(text) {
                let problem = match part {
                    Err(problem) => problem,
                    Ok(Part::Hole(Hole::File(name))) if !files.contains_key(name) => {
                        format!("there is no file {name:?} under files")
                    }
                    Ok(_) => continue,
                };
                reader.wrong(node.span, path, problem);
            }
        }
        Data::List(list) => {
            for (at, node) in list.iter().enumerate() {
                check(reader, node, &path.index(at), files);
            }
        }
        Data::Map(map) => {
            for (key, node) in map {
                check(reader, node, &path.key(&key.text), files);
            }
        }
        _ => {}
    }
}

/// A piece of a text with holes.
enum Part<'a> {
    Text(&'a str),
    Hole(Hole<'a>),
}

enum Hole<'a> {
    /// A JSON pointer, and what to take where it points at nothing.
    Input(&'a str, Option<Value>),
    RequestId,
    Endpoint,
    File(&'a str),
}

/// Splits a text at its holes.
fn parts(mut text: &str) -> Vec<Result<Part<'_>, String>> {
    let mut all = Vec::new();
    while let Some(start) = text.find("{{") {
        let Some(len) = text[start..].find("}}") else {
            all.push(Err("a hole that begins with {{ ends with }}".to_owned()));
            return all;
        };
        if start > 0 {
            all.push(Ok(Part::Text(&text[..start])));
        }
        all.push(hole(text[start + 2..start + len].trim()).map(Part::Hole));
        text = &text[start + len + 2..];
    }
    if !text.is_empty() || all.is_empty() {
        all.push(Ok(Part::Text(text)));
    }
    all
}

fn hole(text: &str) -> Result<Hole<'_>, String> {
    match text {
        "request_id" => return Ok(Hole::RequestId),
        "endpoint" => return Ok(Hole::Endpoint),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("file:") {
        return Ok(Hole::File(name.trim()));
    }
    let (pointer, default) = match text.split_once('|') {
        Some((pointer, default)) => (pointer.trim(), Some(default.trim())),
        None => (text, None),
    };
    if !pointer.starts_with('/') {
        return Err(format!(
            "{{{{{text}}}}} is no hole: give a JSON pointer such as {{{{/prompt}}}}, request_id, endpoint or \
             file:NAME"
        ));
    }
    // What is no JSON is a text, so that defaults need no quotes.
    let default = default.map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.into()));
    Ok(Hole::Input(pointer, default))
}

impl Template {
    /// The length of its text, about.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// The value with its holes filled.
    pub(crate) fn fill(&self, input: &Input<'_>, by: &mut dyn Fill) -> Value {
        self.filled(&self.value, input, by)
    }

    fn filled(&self, value: &Value, input: &Input<'_>, by: &mut dyn Fill) -> Value {
        match value {
            Value::String(text) => self.filled_text(text, input, by),
            Value::Array(list) => list.iter().map(|value| self.filled(value, input, by)).collect(),
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| (key.clone(), self.filled(value, input, by)))
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    fn filled_text(&self, text: &str, input: &Input<'_>, by: &mut dyn Fill) -> Value {
        let mut parts = parts(text);
        if let [Ok(Part::Hole(_))] = &parts[..]
            && let Some(Ok(Part::Hole(hole))) = parts.pop()
        {
            return self.value_of(&hole, input, by);
        }
        let mut out = String::new();
        for part in parts.into_iter().flatten() {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Hole(hole) => match self.value_of(&hole, input, by) {
                    Value::String(text) => out.push_str(&text),
                    Value::Null => {}
                    other => out.push_str(&other.to_string()),
                },
            }
        }
        Value::String(out)
    }

    fn value_of(&self, hole: &Hole<'_>, input: &Input<'_>, by: &mut dyn Fill) -> Value {
        match hole {
            Hole::Input(pointer, default) => {
                input.at(pointer).cloned().or_else(|| default.clone()).unwrap_or(Value::Null)
            }
            Hole::RequestId => by.request_id().into(),
            Hole::Endpoint => by.endpoint().into(),
            Hole::File(name) => match self.files.get(*name) {
                Some(bytes) => by.file(name, bytes).into(),
                None => Value::Null,
            },
        }
    }
}

/// The word for answers that follow from the model's document.
pub(crate) const SYNTHESISED: &str = "synthesised";

/// Documents of an app, as paths.
pub(crate) fn documents(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
    disk: &dyn Files,
) -> Vec<PathBuf> {
    reader.one_or_more(node, path, DOCUMENTS_MAX, |reader, node, path| {
        let name = reader.text(node, path, "the path of a document or of a folder of them")?;
        disk.find(name).map_err(|why| reader.wrong(node.span, path, why)).ok()
    })
}

/// Documents of one app.
const DOCUMENTS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::files::{FilesOf, NoFiles};
    use super::super::tree;
    use super::*;

    fn output(yaml: &str) -> Result<Output, Vec<String>> {
        let disk = FilesOf(vec![("out.json", &b"{\"a\": 1}"[..]), ("cat.png", b"PNG")]);
        let mut reader = Reader::default();
        let node = tree::parse(yaml).unwrap();
        let output = Output::read(&mut reader, &node, &Path::Root, &disk);
        match reader.problems.is_empty() {
            true => Ok(output.unwrap()),
            false => Err(reader.problems.into_iter().map(|problem| problem.message).collect()),
        }
    }

    struct Filler(Vec<String>);

    impl Fill for Filler {
        fn request_id(&self) -> String {
            "ID".into()
        }
        fn endpoint(&self) -> &str {
            "acme/app"
        }
        fn file(&mut self, name: &str, bytes: &Bytes) -> String {
            self.0.push(name.to_owned());
            format!("http://x/{}/{name}", bytes.len())
        }
    }

    #[test]
    fn holes_are_filled() {
        let yaml = r#"
template:
  same: "{{/num}}"
  text: "{{/prompt}} x{{ /num }}, {{/list/1}} {{/none}}."
  none: "{{/none}}"
  default: ["{{/none | 42}}", "{{/none|big cat}}", "{{/num | 1}}"]
  call: "{{endpoint}}#{{request_id}}"
  url: "{{file:cat.png}}"
  plain: { n: 5 }
files: { cat.png: cat.png }
"#;
        let Output::Template(template) = output(yaml).unwrap() else { panic!("no template") };
        let bytes = br#"{"prompt":"a cat","num":3,"list":[1,{"k":2}]}"#;
        let mut filler = Filler(Vec::new());
        let filled = template.fill(&Input::new(bytes), &mut filler);
        assert_eq!(
            filled,
            json!({
                "same": 3, "text": "a cat x3, {\"k\":2} .", "none": null,
                "default": [42, "big cat", 3], "call": "acme/app#ID",
                "url": "http://x/3/cat.png", "plain": {"n": 5},
            })
        );
        assert_eq!(filler.0, ["cat.png"]);
    }

    #[test]
    fn outputs_come_from_files_too() {
        assert_eq!(output("{file: out.json}").unwrap(), Output::Literal("{\"a\": 1}".into()));
        assert_eq!(
            output("{literal: {a: [1, x]}}").unwrap(),
            Output::Literal(r#"{"a":[1,"x"]}"#.into())
        );
        assert_eq!(output("{literal: }").unwrap(), Output::Literal("null".into()));
        assert_eq!(output("synthesised").unwrap(), Output::Synthesised);
        let mut reader = Reader::default();
        let node = tree::parse("{file: out.json}").unwrap();
        assert_eq!(Output::read(&mut reader, &node, &Path::Root, &NoFiles), None);
        assert!(reader.problems[0].message.contains("names no files"));
    }

    #[test]
    fn wrong_ones_are_told_all_at_once() {
        for (yaml, want) in [
            ("other", &["give synthesised"][..]),
            ("{}", &["give one of"]),
            ("{literal: 1, file: x}", &["exclude each other"]),
            ("{file: nowhere.json}", &["nowhere.json"]),
            ("{file: cat.png}", &["no JSON"]),
            ("{literal: 1, files: {a: cat.png}}", &["need a template"]),
            ("{template: '{{prompt}} {{/a'}", &["no hole", "ends with }}"]),
            ("{template: ['{{file:dog.png}}']}", &["no file \"dog.png\""]),
            ("{template: x, files: {../a: cat.png, b: no.png}}", &["letters", "no.png"]),
        ] {
            let problems = output(yaml).unwrap_err();
            assert_eq!(problems.len(), want.len(), "{yaml}: {problems:?}");
            for (problem, want) in problems.iter().zip(want) {
                assert!(problem.contains(want), "{yaml}: {problem}");
            }
        }
    }
}
