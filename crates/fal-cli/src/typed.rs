//! The model's own flags: `--num-images 2`, `--no-sync-mode`, `--image-urls @a.png`, typed by its document.

use fal_protocol::schema::{Mode, Schema, Types, nearest_name};
use serde_json::Value;

use crate::args::{Field, FileArg, Leaf};
use crate::command_line::Token;
use crate::problem::Problem;

/// Reads what the command line says of the input.
///
/// Without a schema a flag takes the word that follows it, if one does, as JSON or else as text. `own` are the
/// flags of this program: what is nearly one of them is a slip.
pub(crate) fn read(
    rest: Vec<Token>,
    schema: Option<Schema<'_>>,
    is_checked: bool,
    own: &[String],
) -> Result<Vec<Field>, Problem> {
    let mut flags = Vec::new();
    let mut tokens = rest.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let (name, value) = match token {
            Token::Word(text) => {
                flags.push(Given::Field(Field::parse(&text).map_err(Problem::usage)?));
                continue;
            }
            Token::Flag { name, value } => (name, value),
        };
        let place = match schema.and_then(|schema| Place::find(schema, &name)) {
            Some(place) => place,
            None if schema.is_some() && is_checked => {
                return Err(unknown(&name, schema, own));
            }
            None => Place::guess(&name, schema, own)?,
        };
        let is_word = |token: &Token| matches!(token, Token::Word(_));
        let value = match value {
            Some(value) => Some(value),
            None if place.is_no => None,
            None if place.is_boolean() => {
                let is_truth = |token: &Token| matches!(token, Token::Word(word) if matches!(&**word, "true" | "false"));
                tokens.next_if(is_truth).map(text_of)
            }
            None => tokens.next_if(is_word).map(text_of),
        };
        let value = match value {
            Some(value) => value,
            None if place.is_boolean() || place.schema.is_none() => (!place.is_no).to_string(),
            None => {
                let problem = format!("--{name} needs a value: {}", placeholder(place.schema));
                return Err(Problem::usage(problem));
            }
        };
        flags.push(Given::Flag(place, value));
    }
    let count = |path: &[String]| {
        let is_it =
            |given: &&Given<'_>| matches!(given, Given::Flag(place, _) if place.path == path);
        flags.iter().filter(is_it).count()
    };
    let counts: Vec<usize> = flags
        .iter()
        .map(|given| match given {
            Given::Flag(place, _) => count(&place.path),
            Given::Field(_) => 0,
        })
        .collect();
    let fields = flags.into_iter().zip(counts).map(|(given, count)| match given {
        Given::Field(field) => field,
        Given::Flag(place, value) => place.field(&value, count > 1),
    });
    Ok(fields.collect())
}

enum Given<'a> {
    Field(Field),
    Flag(Place<'a>, String),
}

fn text_of(token: Token) -> String {
    match token {
        Token::Word(text) | Token::Flag { name: text, .. } => text,
    }
}

/// Where a flag leads.
struct Place<'a> {
    path: Vec<String>,
    /// What the document says of it; without one nothing is known.
    schema: Option<Schema<'a>>,
    /// `--no-x`.
    is_no: bool,
}

impl<'a> Place<'a> {
    /// The field that a flag means: `--image-size.width`, `--no-sync-mode`.
    fn find(root: Schema<'a>, name: &str) -> Option<Self> {
        let exact = |name: &str| {
            let mut schema = root;
            let mut path = Vec::new();
            for part in name.split('.') {
                let (field, inner) = field_of(schema, part, 0)?;
                path.push(field.to_owned());
                schema = inner;
            }
            Some((path, schema))
        };
        if let Some((path, schema)) = exact(name) {
            return Some(Self { path, schema: Some(schema), is_no: false });
        }
        let (path, schema) = exact(name.strip_prefix("no-")?)?;
        let place = Self { path, schema: Some(schema), is_no: true };
        place.is_boolean().then_some(place)
    }

    /// What a flag means by its looks.
    fn guess(name: &str, schema: Option<Schema<'_>>, own: &[String]) -> Result<Self, Problem> {
        if schema.is_none()
            && let Some(near) = nearest_name(name, own.iter().map(String::as_str))
        {
            let problem = format!("there is no flag --{name}");
            let key = name.replace('-', "_");
            return Err(Problem::usage(problem)
                .with_hint(format!("did you mean --{near}?"))
                .with_hint(format!("if the model has such a field, give it as {key}=VALUE")));
        }
        let (name, is_no) = match name.strip_prefix("no-") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let path: Vec<String> = name.split('.').map(|part| part.replace('-', "_")).collect();
        if path.iter().any(String::is_empty) {
            return Err(Problem::usage(format!("--{name} names no field")));
        }
        Ok(Self { path, schema: None, is_no })
    }

    fn is_boolean(&self) -> bool {
        self.schema.is_some_and(|schema| Kind::of(schema).is(Types::BOOLEAN))
    }

    fn field(self, text: &str, is_repeated: bool) -> Field {
        let Some(schema) = self.schema else {
            let leaf = match text.strip_prefix('@').filter(|path| !path.is_empty()) {
                Some(file) => Leaf::File(FileArg::parse(file)),
                None => Leaf::Json(parse(text).unwrap_or_else(|| text.into())),
            };
            return Field::new(self.path, is_repeated, leaf);
        };
        let kind = Kind::of(schema);
        let is_media = is_media(&self.path, &kind);
        let leaf = |kind: &Kind<'_>, schema: Schema<'_>| match text.strip_prefix('@') {
            Some(file) if is_media && !file.is_empty() => Leaf::File(FileArg::parse(file)),
            _ => Leaf::Json(typed(text, kind, schema)),
        };
        let whole = leaf(&kind, schema);
        let is_whole = match &whole {
            Leaf::Json(value) => value.is_array() || schema.accepts(value, Mode::AsFal),
            Leaf::File(_) => kind.types.has(Types::STRING) || kind.types.has(Types::OBJECT),
        };
        match kind.items {
            Some(items) if is_repeated || !is_whole => {
                let leaf = leaf(&Kind::of(items), items);
                Field::new(self.path, true, leaf)
            }
            _ => Field::new(self.path, false, whole),
        }
    }
}

/// A field of an object, or of the object among the alternatives. Names on the command line may have dashes.
fn field_of<'a>(schema: Schema<'a>, name: &str, depth: usize) -> Option<(&'a str, Schema<'a>)> {
    let schema = schema.resolved();
    let is_it = |field: &&str| **field == *name || field.replace('_', "-") == name;
    let mut fields = schema.fields();
    // The exact name first: `a_b` and `a-b` may both be there.
    if let Some(field) =
        schema.fields().find(|f| f.name == name).or_else(|| fields.find(|f| is_it(&f.name)))
    {
        return Some((field.name, field.schema));
    }
    if depth >= DEPTH_MAX {
        return None;
    }
    schema.alternatives().find_map(|inner| field_of(inner, name, depth + 1))
}

/// What kinds of value a field takes, with the alternatives put together.
pub(crate) struct Kind<'a> {
    /// Null left out.
    pub(crate) types: Types,
    /// What the elements are, if it takes a list.
    pub(crate) items: Option<Schema<'a>>,
    /// Whether it takes one of a list of values.
    pub(crate) has_choices: bool,
    /// Whether it takes an object with an address, which a file becomes.
    pub(crate) is_file: bool,
}

impl<'a> Kind<'a> {
    pub(crate) fn of(schema: Schema<'a>) -> Self {
        let mut kind = Self { types: Types::NONE, items: None, has_choices: false, is_file: false };
        kind.add(schema, 0);
        kind
    }

    fn add(&mut self, schema: Schema<'a>, depth: usize) {
        let schema = schema.resolved();
        if schema.alternatives().len() > 0 && depth < DEPTH_MAX {
            return schema.alternatives().for_each(|inner| self.add(inner, depth + 1));
        }
        self.has_choices |= schema.choices().is_some();
        let has = |name: &str| schema.fields().any(|field| field.name == name);
        self.is_file |= has("url") && has("content_type");
        for kind in [
            Types::BOOLEAN,
            Types::INTEGER,
            Types::NUMBER,
            Types::STRING,
            Types::ARRAY,
            Types::OBJECT,
        ] {
            if schema.types().has(kind) {
                self.types = self.types.or(kind);
            }
        }
        if schema.types().has(Types::ARRAY) {
            self.items = self.items.or_else(|| schema.items());
        }
    }

    pub(crate) fn is(&self, types: Types) -> bool {
        self.types == types
    }
}

/// Whether a file may stand here: an object for a file, or a text or list whose name says so.
pub(crate) fn is_media(path: &[String], kind: &Kind<'_>) -> bool {
    let items = kind.items.map(Kind::of);
    if kind.is_file || items.as_ref().is_some_and(|items| items.is_file) {
        return true;
    }
    let takes_text = |kind: &Kind<'_>| kind.types.has(Types::STRING) && !kind.has_choices;
    let name = path.last().map(String::as_str).unwrap_or_default();
    let last = name.rsplit(['_', '-']).next().unwrap_or_default();
    (takes_text(kind) || items.as_ref().is_some_and(takes_text)) && MEDIA_WORDS.contains(&last)
}

/// The value that a text means to a field.
///
/// A text where the field takes texts only; else JSON if it is of a kind that fits, else the text, of which the check
/// then says what is wrong.
fn typed(text: &str, kind: &Kind<'_>, schema: Schema<'_>) -> Value {
    let as_text = Value::from(text);
    if kind.is(Types::STRING) {
        return as_text;
    }
    match parse(text) {
        Some(Value::String(_)) | None => as_text,
        Some(json) if !kind.types.has(Types::STRING) => json,
        Some(json) if schema.accepts(&json, Mode::Strict) => json,
        // A list or an object that is wrong is told better than a text that looks like one.
        Some(json) if json.is_array() && kind.types.has(Types::ARRAY) => json,
        Some(json) if json.is_object() && kind.types.has(Types::OBJECT) => json,
        Some(_) => as_text,
    }
}

fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// What stands for a value in help.
pub(crate) fn placeholder(schema: Option<Schema<'_>>) -> String {
    let Some(schema) = schema else { return "VALUE".to_owned() };
    let kind = Kind::of(schema);
    let mut words: Vec<String> = Vec::new();
    let mut add = |types: Types, word: &str| {
        if kind.types.has(types) && !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    };
    add(Types::STRING, if kind.has_choices { "CHOICE" } else { "TEXT" });
    add(Types::INTEGER, "N");
    if !kind.types.has(Types::INTEGER) {
        add(Types::NUMBER, "NUMBER");
    }
    add(Types::BOOLEAN, "BOOL");
    if let Some(items) = kind.items {
        add(Types::ARRAY, &placeholder_of_items(items));
    } else {
        add(Types::ARRAY, "JSON");
    }
    add(Types::OBJECT, "JSON");
    if words.is_empty() || words.len() > 4 { "JSON".to_owned() } else { words.join("|") }
}

fn placeholder_of_items(items: Schema<'_>) -> String {
    let kind = Kind::of(items);
    let is_plain = kind.items.is_none();
    if is_plain { placeholder(Some(items)) } else { "JSON".to_owned() }
}

/// A flag that neither this program nor the model has.
fn unknown(name: &str, schema: Option<Schema<'_>>, own: &[String]) -> Problem {
    let problem = Problem::usage(format!("the model has no input --{name}"));
    let fields: Vec<String> = schema
        .into_iter()
        .flat_map(|schema| schema.resolved().fields())
        .map(|field| flag_of(field.name))
        .collect();
    // Inside an object that is there, its own fields come first.
    if let (Some(schema), Some((parent, last))) = (schema, name.rsplit_once('.'))
        && let Some(Place { schema: Some(object), .. }) = Place::find(schema, parent)
    {
        let mut parts = Vec::new();
        add_names(object, 0, &mut parts);
        if let Some(near) = nearest_name(last, parts.iter().map(String::as_str)) {
            return problem.with_hint(format!("did you mean --{parent}.{near}?"));
        }
    }
    let bare = name.strip_prefix("no-").unwrap_or(name);
    let known = || fields.iter().chain(own).map(String::as_str);
    match nearest_name(name, known()).or_else(|| nearest_name(bare, known())) {
        Some(near) => problem.with_hint(format!("did you mean --{near}?")),
        None => problem,
    }
}

/// The names of the fields of an object, or of the objects among the alternatives, as flags have them.
fn add_names(schema: Schema<'_>, depth: usize, names: &mut Vec<String>) {
    let schema = schema.resolved();
    names.extend(schema.fields().map(|field| flag_of(field.name)));
    if depth < DEPTH_MAX {
        schema.alternatives().for_each(|inner| add_names(inner, depth + 1, names));
    }
}

/// A field's name as a flag has it.
pub(crate) fn flag_of(name: &str) -> String {
    name.replace('_', "-")
}

/// Last words of the names of fields that take a file's address.
///
/// Source: the naming rules of fal's playground (documented), and names of the published documents (observed).
const MEDIA_WORDS: [&str; 18] = [
    "url", "urls", "image", "images", "mask", "masks", "video", "videos", "audio", "audios",
    "file", "files", "archive", "mesh", "frame", "frames", "path", "uri",
];

/// How far alternatives inside each other are looked into.
const DEPTH_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use fal_protocol::schema::ModelSchema;
    use serde_json::json;

    use super::*;
    use crate::args::Tree;

    fn model() -> ModelSchema {
        ModelSchema::from_value(&json!({
            "paths": { "/acme/paint": { "post": { "requestBody": { "content": { "application/json": { "schema": {
                "type": "object", "required": ["prompt"], "properties": {
                    "prompt": { "type": "string" },
                    "num_images": { "type": "integer", "maximum": 4 },
                    "strength": { "anyOf": [{ "type": "number" }, { "type": "null" }] },
                    "sync_mode": { "type": "boolean" },
                    "duration": { "type": "string", "enum": ["5", "10"] },
                    "image_url": { "type": "string" },
                    "image_urls": { "type": "array", "items": { "type": "string" } },
                    "mask": { "$ref": "#/components/schemas/File" },
                    "words": { "type": "array", "items": { "type": "string" } },
                    "sizes": { "type": "array", "items": { "type": "integer" } },
                    "style": { "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] },
                    "image_size": { "anyOf": [
                        { "$ref": "#/components/schemas/Size" }, { "type": "string", "enum": ["square"] }
                    ] },
                    "loras": { "type": "array", "items": { "$ref": "#/components/schemas/Lora" } },
                    "any": {}
                }
            } } } } } } },
            "components": { "schemas": {
                "File": { "type": "object", "required": ["url"],
                    "properties": { "url": { "type": "string" }, "content_type": { "type": "string" } } },
                "Size": { "type": "object", "properties": { "width": { "type": "integer" }, "height": { "type": "integer" } } },
                "Lora": { "type": "object", "required": ["path"], "properties": { "path": { "type": "string" } } }
            } }
        }))
        .unwrap()
    }

    fn tokens(line: &[&str]) -> Vec<Token> {
        let token = |text: &&str| match text.strip_prefix("--") {
            Some(flag) => match flag.split_once('=') {
                Some((name, value)) => {
                    Token::Flag { name: name.to_owned(), value: Some(value.to_owned()) }
                }
                None => Token::Flag { name: flag.to_owned(), value: None },
            },
            None => Token::Word((*text).to_owned()),
        };
        line.iter().map(token).collect()
    }

    fn plain(tree: &Tree) -> Value {
        match tree {
            Tree::Json(value) => value.clone(),
            Tree::File(file) => Value::String(format!("file {}", file.path)),
            Tree::List(items) => Value::Array(items.iter().map(plain).collect()),
            Tree::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
            }
        }
    }

    fn own() -> Vec<String> {
        vec!["deadline".to_owned(), "out".to_owned()]
    }

    #[track_caller]
    fn check(line: &[&str], expected: &Value) {
        let model = model();
        let fields = read(tokens(line), Some(model.input()), true, &own()).unwrap();
        assert_eq!(plain(&Tree::build(None, fields).unwrap()), *expected, "{line:?}");
    }

    #[test]
    fn values_are_what_the_document_says() {
        check(&["--prompt", "7", "--num_images", "2"], &json!({ "prompt": "7", "num_images": 2 }));
        check(
            &["--prompt={\"a\":1}", "--strength", "0.5"],
            &json!({ "prompt": "{\"a\":1}", "strength": 0.5 }),
        );
        check(
            &["--strength=null", "--duration", "5"],
            &json!({ "strength": null, "duration": "5" }),
        );
        check(&["--num-images", "two"], &json!({ "num_images": "two" }));
        check(&["--sync-mode", "prompt=x"], &json!({ "sync_mode": true, "prompt": "x" }));
        check(&["--no-sync-mode", "--prompt", "x"], &json!({ "sync_mode": false, "prompt": "x" }));
        check(&["--sync-mode", "false"], &json!({ "sync_mode": false }));
        check(&["--sync-mode=false"], &json!({ "sync_mode": false }));
        check(&["--any", "[1]", "--prompt", "true"], &json!({ "any": [1], "prompt": "true" }));
    }

    #[test]
    fn lists_are_repeated_flags_or_json() {
        check(&["--words", "a", "--words", "7"], &json!({ "words": ["a", "7"] }));
        check(&["--words", "a"], &json!({ "words": ["a"] }));
        check(&["--words", "[\"a\",\"b\"]"], &json!({ "words": ["a", "b"] }));
        check(&["--sizes", "1", "--sizes", "2"], &json!({ "sizes": [1, 2] }));
        check(&["--style", "a"], &json!({ "style": "a" }));
        check(&["--style", "a", "--style", "b"], &json!({ "style": ["a", "b"] }));
        check(
            &["--loras", "{\"path\":\"x\"}", "--loras={\"path\":\"y\"}"],
            &json!({ "loras": [{ "path": "x" }, { "path": "y" }] }),
        );
    }

    #[test]
    fn objects_are_json_or_their_fields() {
        check(&["--image-size", "square"], &json!({ "image_size": "square" }));
        check(&["--image-size", "{\"width\":1}"], &json!({ "image_size": { "width": 1 } }));
        check(
            &["--image-size.width", "1", "--image_size.height=2"],
            &json!({ "image_size": { "width": 1, "height": 2 } }),
        );
    }

    #[test]
    fn files_stand_where_media_do() {
        check(
            &["--image-url", "@a.png", "--prompt", "@home"],
            &json!({ "image_url": "file a.png", "prompt": "@home" }),
        );
        check(
            &["--image-urls", "@a.png", "--image-urls", "https://x"],
            &json!({ "image_urls": ["file a.png", "https://x"] }),
        );
        check(&["--image-urls", "@a.png"], &json!({ "image_urls": ["file a.png"] }));
        check(&["--mask", "@m.png"], &json!({ "mask": "file m.png" }));
        check(&["--words", "@a"], &json!({ "words": ["@a"] }));
    }

    #[test]
    fn slips_are_told_with_what_was_meant() {
        for (line, message, hint) in [
            (&["--promt", "x"][..], "no input --promt", "did you mean --prompt?"),
            (&["--numImages", "x"], "no input --numImages", "did you mean --num-images?"),
            (&["--deadlin", "10m"], "no input --deadlin", "did you mean --deadline?"),
            (&["--no-prompt"], "no input --no-prompt", "did you mean --prompt?"),
            (&["--image-size.widht", "1"], "no input", "did you mean --image-size.width?"),
            (&["--num-images"], "--num-images needs a value: N", ""),
            (&["--num-images", "--prompt", "x"], "--num-images needs a value: N", ""),
            (&["prompt"], "is not key=value", ""),
        ] {
            let model = model();
            let problem = read(tokens(line), Some(model.input()), true, &own()).unwrap_err();
            assert!(problem.message.contains(message), "{line:?}: {}", problem.message);
            assert_eq!(problem.hints.first().map_or("", String::as_str), hint, "{line:?}");
        }
    }

    #[test]
    fn without_a_document_flags_are_taken_by_their_looks() {
        let line = [
            "--prompt",
            "a cat",
            "--num-images",
            "2",
            "--fast",
            "--no-slow",
            "--url",
            "@a.png",
            "--x.y=1",
            "--w",
            "1",
            "--w",
            "2",
        ];
        let fields = read(tokens(&line), None, true, &own()).unwrap();
        let expected = json!({
            "prompt": "a cat", "num_images": 2, "fast": true, "slow": false, "url": "file a.png", "x": { "y": 1 },
            "w": [1, 2],
        });
        assert_eq!(plain(&Tree::build(None, fields).unwrap()), expected);
        let problem = read(tokens(&["--deadlin", "10m"]), None, true, &own()).unwrap_err();
        assert_eq!(problem.hints[0], "did you mean --deadline?");
        let model = model();
        let fields = read(tokens(&["--promt", "x"]), Some(model.input()), false, &own()).unwrap();
        assert_eq!(plain(&Tree::build(None, fields).unwrap()), json!({ "promt": "x" }));
    }
}
