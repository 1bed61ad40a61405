//! The grammar of `key=value`, `key:=JSON` and `key@file`, and the tree that they build.

use serde_json::{Map, Value};

/// One argument, read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    /// The path of names that leads to the place.
    path: Vec<String>,
    /// Whether it is added to a list there.
    is_item: bool,
    value: Leaf,
}

/// What is put there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Leaf {
    Json(Value),
    File(FileArg),
}

/// A file of the input, as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileArg {
    /// Its path, or `-` for stdin.
    pub(crate) path: String,
    /// The media type after `;type=`.
    pub(crate) content_type: Option<String>,
}

/// An input under construction: JSON that may hold files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Json(Value),
    File(FileArg),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Field {
    /// What leads to this place.
    pub(crate) const fn new(path: Vec<String>, is_item: bool, value: Leaf) -> Self {
        Self { path, is_item, value }
    }

    /// Reads one argument. The error says which rule it breaks.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refuse = |problem: &str| format!("{text:?} is not key=value: {problem}");
        let at = text
            .find(['=', '@'])
            .ok_or_else(|| refuse("write key=value, key:=JSON or key@file"))?;
        let (key, rest) = (&text[..at], &text[at + 1..]);
        let (key, value) = if text[at..].starts_with('@') {
            if rest.is_empty() {
                return Err(refuse("a file's name must follow the @"));
            }
            (key, Leaf::File(FileArg::parse(rest)))
        } else if let Some(key) = key.strip_suffix(':') {
            let value = serde_json::from_str(rest)
                .map_err(|error| refuse(&format!("after := must stand JSON: {error}")))?;
            (key, Leaf::Json(value))
        } else {
            let value = serde_json::from_str(rest).unwrap_or_else(|_| Value::String(rest.into()));
            (key, Leaf::Json(value))
        };
        let (names, is_item) = match key.strip_suffix("[]") {
            Some(names) => (names, true),
            None => (key, false),
        };
        let path: Vec<String> = names.split('.').map(str::to_owned).collect();
        if path.len() > DEPTH_MAX {
            return Err(refuse(&format!("a key has at most {DEPTH_MAX} names")));
        }
        for name in &path {
            if name.is_empty() {
                return Err(refuse("a name in the key is empty"));
            }
            if !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
                return Err(refuse(
                    "a key has letters, digits, _ and -, with dots between names and [] at the end; \
                     give others with --input",
                ));
            }
        }
        Ok(Self { path, is_item, value })
    }
}

impl FileArg {
    pub(crate) fn parse(text: &str) -> Self {
        match text.rsplit_once(";type=") {
            Some((path, content_type)) if !path.is_empty() && content_type.contains('/') => {
                Self { path: path.to_owned(), content_type: Some(content_type.to_owned()) }
            }
            _ => Self { path: text.to_owned(), content_type: None },
        }
    }
}

impl Tree {
    /// Adds fields in order to `base`. A field replaces what `base` had; the same field twice is refused,
    /// because one of them was a slip.
    pub(crate) fn build(base: Option<Value>, fields: Vec<Field>) -> Result<Self, String> {
        if fields.is_empty() {
            return Ok(Self::Json(base.unwrap_or_else(|| Value::Object(Map::new()))));
        }
        let mut tree = match base.unwrap_or_else(|| Value::Object(Map::new())) {
            Value::Object(map) => Self::object(map),
            _ => return Err("fields can only be added to a JSON object".to_owned()),
        };
        let mut seen: Vec<(Vec<String>, bool)> = Vec::new();
        for field in fields {
            let key = field.path.join(".");
            if seen
                .iter()
                .any(|(path, is_item)| *path == field.path && !(*is_item && field.is_item))
            {
                return Err(format!("{key:?} is given twice; a list is built with {key}[]"));
            }
            // The first item of a list replaces what the base had there.
            let starts = !seen.iter().any(|(path, _)| *path == field.path);
            seen.push((field.path.clone(), field.is_item));
            let leaf = match field.value {
                Leaf::Json(value) => Self::Json(value),
                Leaf::File(file) => Self::File(file),
            };
            let place = tree.place(&field.path).map_err(|name| {
                format!("{key:?} leads through {name:?}, which is not an object")
            })?;
            match (field.is_item, place) {
                (false, place) => *place = leaf,
                (true, Self::List(items)) if !starts => items.push(leaf),
                (true, place) => *place = Self::List(vec![leaf]),
            }
        }
        Ok(tree)
    }

    /// The files in it, with the keys that lead there.
    pub(crate) fn files(&self) -> Vec<(String, &FileArg)> {
        let mut files = Vec::new();
        self.collect("", &mut files);
        files
    }

    fn collect<'a>(&'a self, key: &str, files: &mut Vec<(String, &'a FileArg)>) {
        match self {
            Self::Json(_) => {}
            Self::File(file) => files.push((key.to_owned(), file)),
            Self::List(items) => items.iter().for_each(|item| item.collect(key, files)),
            Self::Object(fields) => {
                for (name, value) in fields {
                    let dot = if key.is_empty() { "" } else { "." };
                    value.collect(&format!("{key}{dot}{name}"), files);
                }
            }
        }
    }

    fn object(map: Map<String, Value>) -> Self {
        Self::Object(map.into_iter().map(|(name, value)| (name, Self::Json(value))).collect())
    }

    /// The place that a path names, made where it is missing; the name that is no object otherwise.
    fn place(&mut self, path: &[String]) -> Result<&mut Self, String> {
        let mut tree = self;
        let mut parent = "the input";
        for name in path {
            if let Self::Json(Value::Object(map)) = tree {
                *tree = Self::object(std::mem::take(map));
            }
            let Self::Object(fields) = tree else { return Err(parent.to_owned()) };
            let at =
                fields.iter().position(|(existing, _)| existing == name).unwrap_or_else(|| {
                    fields.push((name.clone(), Self::Json(Value::Object(Map::new()))));
                    fields.len() - 1
                });
            tree = &mut fields[at].1;
            parent = name;
        }
        Ok(tree)
    }
}

/// Names in one key. The models' inputs are three or four deep.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(base: Option<Value>, fields: &[&str]) -> Result<Value, String> {
        let fields: Result<Vec<_>, _> = fields.iter().map(|text| Field::parse(text)).collect();
        Tree::build(base, fields?).map(|tree| plain(&tree))
    }

    /// The tree as JSON, with `@path` where a file stands.
    fn plain(tree: &Tree) -> Value {
        match tree {
            Tree::Json(value) => value.clone(),
            Tree::File(file) => Value::String(format!("@{}", file.path)),
            Tree::List(items) => Value::Array(items.iter().map(plain).collect()),
            Tree::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
            }
        }
    }

    #[test]
    fn values_are_json_or_else_text() {
        let fields = [
            "prompt=a cat, 100% = @home",
            "seed=7",
            "flag=true",
            "year=\"2024\"",
            "empty=",
            "loras:=[{\"path\":\"x\"}]",
            "ratio=16:9",
        ];
        let expected = json!({
            "prompt": "a cat, 100% = @home", "seed": 7, "flag": true, "year": "2024", "empty": "",
            "loras": [{ "path": "x" }], "ratio": "16:9",
        });
        assert_eq!(check(None, &fields), Ok(expected));
    }

    #[test]
    fn keys_nest_and_lists_grow() {
        let fields =
            ["size.width=1", "size.height=2", "urls[]@a.png", "urls[]=https://x", "a.b[]@c d.png"];
        let expected = json!({
            "size": { "width": 1, "height": 2 }, "urls": ["@a.png", "https://x"],
            "a": { "b": ["@c d.png"] },
        });
        assert_eq!(check(None, &fields), Ok(expected));
    }

    #[test]
    fn fields_replace_what_the_base_had() {
        let base = json!({ "seed": 1, "size": { "width": 1, "x": 2 }, "list": [1, 2] });
        let fields = ["seed=9", "size.width=5", "list[]=3", "list[]=4"];
        let expected = json!({ "seed": 9, "size": { "width": 5, "x": 2 }, "list": [3, 4] });
        assert_eq!(check(Some(base), &fields), Ok(expected));
        assert_eq!(check(Some(json!([1])), &[]), Ok(json!([1])));
    }

    #[test]
    fn slips_are_refused() {
        for (fields, part) in [
            (&["prompt"][..], "key:=JSON"),
            (&["=x"], "empty"),
            (&["a..b=x"], "empty"),
            (&["a b=x"], "letters"),
            (&["a[0]=x"], "letters"),
            (&["a@"], "must follow"),
            (&["a:=[1,"], "column 3"),
            (&["a=1", "a=2"], "twice"),
            (&["a=1", "a[]=2"], "twice"),
            (&["a=1", "a.b=2"], "not an object"),
            (&["a[]=1", "a.b=2"], "not an object"),
        ] {
            let problem = check(None, fields).unwrap_err();
            assert!(problem.contains(part), "{fields:?}: {problem}");
        }
        let problem = check(Some(json!([])), &["a=1"]).unwrap_err();
        assert!(problem.contains("object"), "{problem}");
        Field::parse(&format!("{}a=1", "a.".repeat(DEPTH_MAX))).unwrap_err();
        Field::parse(&format!("{}a=1", "a.".repeat(DEPTH_MAX - 1))).unwrap();
    }

    #[test]
    fn a_media_type_may_follow_the_file() {
        let file = |text: &str| match Field::parse(text).unwrap().value {
            Leaf::File(file) => (file.path, file.content_type),
            Leaf::Json(value) => panic!("{value}"),
        };
        assert_eq!(file("a@-;type=image/png"), ("-".to_owned(), Some("image/png".to_owned())));
        assert_eq!(file("a@x;type=y"), ("x;type=y".to_owned(), None));
        assert_eq!(file("a@b=c@d"), ("b=c@d".to_owned(), None));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            if let Ok(field) = Field::parse(&text) {
                prop_assert!(field.path.iter().all(|name| !name.is_empty()));
                Tree::build(None, vec![field]).unwrap();
            }
        }

        #[test]
        fn any_value_comes_back(text in "\\PC*", seed: i64) {
            let quoted = serde_json::to_string(&text).unwrap();
            let input = check(None, &[&format!("a={quoted}"), &format!("b={seed}")]).unwrap();
            prop_assert_eq!(input, json!({ "a": text, "b": seed }));
        }

        #[test]
        fn fields_of_distinct_names_never_collide(names in proptest::collection::hash_set("[a-z_]{1,8}", 1..8)) {
            let fields: Vec<String> = names.iter().map(|name| format!("{name}=1")).collect();
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let input = check(None, &fields).unwrap();
            prop_assert_eq!(input.as_object().unwrap().len(), names.len());
        }
    }
}
