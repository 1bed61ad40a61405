//! From a document to the arena: takes what can be used, and notes what cannot.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::defect::{Defect, DefectKind};
use super::finish::finish;
use super::format::Format;
use super::keywords::{
    Keywords, ObjectKeywords, STRAY, UNCHECKED, size_of, static_name, tuple_in_object, types_of,
};
use super::model::{Dialect, ModelSchema, Node, NodeId, Text, Types};
use super::pattern::Pattern;
use super::rules::{Choices, FieldRule, NamedField, ObjectRules, QuickBounds, RestRule};
use crate::error::excerpt;

impl ModelSchema {
    /// Loads a document, or a platform dump with exactly one model.
    ///
    /// # Errors
    /// Only if nothing can be used: no JSON, no operation, an error in the document's place, or a dump of
    /// several models, for which there is [`parse_dump`]. Every lesser fault is a
    /// [`Defect`] of the model.
    pub fn parse(document: &[u8]) -> Result<Self, SchemaError> {
        Self::from_value(&read_json(document)?)
    }

    /// The same, from a document that is already read.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_value(document: &Value) -> Result<Self, SchemaError> {
        match document.get("models").and_then(Value::as_array).map(Vec::as_slice) {
            Some([entry]) => entry_of(entry).model,
            Some(models) => Err(SchemaError::NotOneModel { count: models.len() }),
            None => load(document, None),
        }
    }
}

/// Loads each model of a platform dump, `{"models": [{"endpoint_id", "openapi"}]}`.
///
/// # Errors
/// If the bytes are not JSON, or not a dump. A model that cannot be loaded is an entry with an error.
///
/// Source: `GET https://api.fal.ai/v1/models?expand=openapi-3.0` (documented); errors in the place of
/// about one document in a hundred (observed).
pub fn parse_dump(dump: &[u8]) -> Result<Vec<DumpEntry>, SchemaError> {
    let dump = read_json(dump)?;
    let models = dump.get("models").and_then(Value::as_array).ok_or(SchemaError::NotADump)?;
    Ok(models.iter().map(entry_of).collect())
}

/// One model of a platform dump.
#[derive(Debug)]
#[non_exhaustive]
pub struct DumpEntry {
    /// The id beside the document.
    pub endpoint_id: Option<Box<str>>,
    /// The model, if its document can be used.
    pub model: Result<ModelSchema, SchemaError>,
}

/// Why nothing of a document can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaError {
    /// The bytes are not JSON.
    NotJson {
        /// What the parser said.
        problem: Box<str>,
    },
    /// An error stands in the document's place.
    Refused {
        /// The error, shortened.
        message: Box<str>,
    },
    /// The document describes no operation that takes an input.
    NoOperation,
    /// There is no list of models.
    NotADump,
    /// One model was wanted.
    NotOneModel {
        /// How many there are.
        count: usize,
    },
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson { problem } => write!(f, "the document is not JSON: {problem}"),
            Self::Refused { message } => write!(f, "the service has no document: {message}"),
            Self::NoOperation => f.write_str("the document has no operation that takes an input"),
            Self::NotADump => f.write_str("this is not a list of models"),
            Self::NotOneModel { count } => write!(f, "there are {count} models, not one"),
        }
    }
}

impl std::error::Error for SchemaError {}

fn read_json(bytes: &[u8]) -> Result<Value, SchemaError> {
    serde_json::from_slice(bytes)
        .map_err(|error| SchemaError::NotJson { problem: error.to_string().into() })
}

fn entry_of(entry: &Value) -> DumpEntry {
    let endpoint_id = entry.get("endpoint_id").and_then(Value::as_str);
    let model = match entry.get("openapi") {
        Some(document) => load(document, endpoint_id),
        None => Err(SchemaError::NoOperation),
    };
    DumpEntry { endpoint_id: endpoint_id.map(Into::into), model }
}

fn load(document: &Value, endpoint_id: Option<&str>) -> Result<ModelSchema, SchemaError> {
    let Some(paths) = document.get("paths").and_then(Value::as_object) else {
        return Err(match document.get("error") {
            Some(error) => {
                let text = error.get("message").and_then(Value::as_str);
                let text = text.map_or_else(|| error.to_string(), str::to_owned);
                SchemaError::Refused { message: excerpt(text.as_bytes()) }
            }
            None => SchemaError::NoOperation,
        });
    };
    let operation = Operation::find(paths).ok_or(SchemaError::NoOperation)?;

    let mut loader = Loader::new(document);
    let input = loader.root("input", operation.input, DefectKind::MissingInput);
    let output = loader.root("output", operation.output, DefectKind::MissingOutput);
    let info = document.get("info");
    let metadata = info.and_then(|info| info.get("x-fal-metadata"));
    let text = |of: Option<&'_ Value>, name: &str| of?.get(name)?.as_str().map(str::to_owned);
    let endpoint_id =
        text(metadata, "endpointId").or_else(|| endpoint_id.map(str::to_owned)).or_else(|| {
            Some(operation.path.trim_start_matches('/').to_owned()).filter(|p| !p.is_empty())
        });
    let mut model = ModelSchema {
        endpoint_id: endpoint_id.map(|text| loader.append(&text)),
        category: text(metadata, "category").map(|text| loader.append(&text)),
        title: text(info, "title").map(|text| loader.append(&text)),
        description: text(info, "description").map(|text| loader.append(&text)),
        input,
        output,
        dialect: loader.dialect,
        nodes: loader.nodes,
        text: loader.text.into(),
        defects: loader.defects,
    };
    finish(&mut model, &loader.places);
    Ok(model)
}

/// The operation that takes the model's input.
struct Operation<'a> {
    path: &'a str,
    input: Option<&'a Value>,
    output: Option<&'a Value>,
}

impl<'a> Operation<'a> {
    /// The first `post` with a body. The result is what the `get` of the request's address answers; an
    /// app's own document has no such address, and there the `post` itself answers with it.
    fn find(paths: &'a Map<String, Value>) -> Option<Self> {
        let is_request = |path: &str| path.contains("/requests/");
        let (path, post) = paths
            .iter()
            .filter(|(path, _)| !is_request(path))
            .find_map(|(path, item)| Some((path, item.get("post")?)))?;
        let input = json_schema(post.get("requestBody"));
        let result = paths.iter().find(|(path, _)| path.ends_with("/requests/{request_id}"));
        let answer = |operation: &'a Value| json_schema(operation.get("responses")?.get("200"));
        let output = match result {
            Some((_, item)) => item.get("get").and_then(answer),
            None => answer(post),
        };
        Some(Self { path, input, output })
    }
}

fn json_schema(holder: Option<&Value>) -> Option<&Value> {
    holder?.get("content")?.get("application/json")?.get("schema")
}

struct Loader<'a> {
    document: &'a Value,
    nodes: Vec<Node>,
    text: String,
    /// Texts that the document repeats, such as the names of common fields, are stored once.
    interned: BTreeMap<&'a str, Text>,
    /// What each reference leads to. Entered before its schema is read, so that circles close.
    components: BTreeMap<&'a str, NodeId>,
    /// Schemas with a default or examples, and where they are.
    places: Vec<(NodeId, Box<str>)>,
    at: Vec<&'a str>,
    depth: usize,
    dialect: Dialect,
    defects: Vec<Defect>,
}

impl<'a> Loader<'a> {
    fn new(document: &'a Value) -> Self {
        Self {
            document,
            nodes: vec![Node::anything()],
            text: String::new(),
            interned: BTreeMap::new(),
            components: BTreeMap::new(),
            places: Vec::new(),
            at: Vec::new(),
            depth: 0,
            dialect: Dialect::NullsFolded,
            defects: Vec::new(),
        }
    }

    fn root(&mut self, name: &'a str, schema: Option<&'a Value>, missing: DefectKind) -> NodeId {
        self.at = vec![name];
        let Some(schema) = schema else {
            self.note(missing);
            return NodeId::ANYTHING;
        };
        let root = self.schema(schema);
        if self.nodes[root.0 as usize].reference == Some(NodeId::ANYTHING) {
            self.note(missing);
        }
        root
    }

    fn below(&mut self, step: &'a str, schema: &'a Value) -> NodeId {
        self.at.push(step);
        let id = self.schema(schema);
        self.at.pop();
        id
    }

    fn schema(&mut self, schema: &'a Value) -> NodeId {
        let Some(id) = self.reserve() else { return NodeId::ANYTHING };
        self.fill(id, schema);
        id
    }

    /// Reads a schema into the place that is reserved for it; a place not filled passes anything.
    fn fill(&mut self, id: NodeId, schema: &'a Value) {
        if self.depth >= SCHEMA_DEPTH_MAX {
            return self.note(DefectKind::TooDeep);
        }
        self.depth += 1;
        let node = match schema {
            Value::Bool(true) => Node::anything(),
            Value::Bool(false) => Node { types: Types::NONE, ..Node::anything() },
            Value::Object(schema) => self.object_schema(id, schema),
            _ => {
                self.note(DefectKind::NotASchema);
                Node::anything()
            }
        };
        self.depth -= 1;
        self.nodes[id.0 as usize] = node;
    }

    fn reserve(&mut self) -> Option<NodeId> {
        if self.nodes.len() >= NODES_MAX {
            self.note(DefectKind::TooManyNodes);
            return None;
        }
        let id = NodeId(u32::try_from(self.nodes.len()).expect("NODES_MAX fits"));
        self.nodes.push(Node::anything());
        Some(id)
    }

    fn object_schema(&mut self, id: NodeId, schema: &'a Map<String, Value>) -> Node {
        let mut node = Node::anything();
        let mut read = Keywords::default();
        for (keyword, value) in schema {
            self.keyword(&mut node, &mut read, keyword, value);
        }
        if let Some(target) = read.reference {
            node.reference = Some(self.reference(target));
        }
        if node.is_null() && node.types == Types::NULL {
            self.dialect = Dialect::NullsStated;
        }
        self.limits(&mut read);
        read.number.quick = QuickBounds::of(&read.number);
        node.number = read.has_number.then(|| Box::new(read.number));
        if let Some(Value::String(name)) = schema.get("format") {
            read.string.format = Format::of(name, read.string.size);
            read.has_string |= read.string.format.is_some();
        }
        node.string = read.has_string.then(|| Box::new(read.string));
        node.array = read.has_array.then(|| Box::new(read.array));
        node.union = read.has_union.then(|| Box::new(read.union));
        node.object = self.object_rules(&read.object);
        if read.has_notes {
            if read.notes.default.is_some() || !read.notes.examples.is_empty() {
                self.places.push((id, self.at.join(".").into()));
            }
            node.notes = Some(Box::new(read.notes));
        }
        node
    }

    fn keyword(
        &mut self,
        node: &mut Node,
        read: &mut Keywords<'a>,
        keyword: &'a str,
        value: &'a Value,
    ) {
        let known = match keyword {
            "type" => types_of(value).map(|types| node.types = types),
            "nullable" => value.as_bool().map(|is| node.is_nullable = is),
            "$ref" => value.as_str().map(|target| read.reference = Some(target)),
            "enum" => value.as_array().map(|values| self.choices(node, values)),
            // Beside an `enum` a `const` is the narrower of the two.
            "const" => {
                node.choices = Some(Box::new(Choices::new(vec![value.clone()])));
                Some(())
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                read.bound(keyword, value)
            }
            "ge" | "le" => read.limit(keyword, value),
            "minLength" => read.string_size(|size| &mut size.min, size_of(value)),
            "maxLength" => read.string_size(|size| size.max.get_or_insert(0), size_of(value)),
            "pattern" => value.as_str().map(|text| self.pattern(read, text)),
            "minItems" => read.array_size(|size| &mut size.min, size_of(value)),
            "maxItems" => read.array_size(|size| size.max.get_or_insert(0), size_of(value)),
            "uniqueItems" => value.as_bool().map(|is| {
                read.has_array |= is;
                read.array.is_unique = is;
            }),
            "items" => {
                self.items(read, value);
                Some(())
            }
            "prefixItems" => value.as_array().map(|items| {
                read.has_array = true;
                read.array.tuple = items.iter().map(|item| self.below("[]", item)).collect();
            }),
            "anyOf" => self.alternatives(value).map(|ids| {
                read.has_union = true;
                read.union.any_of = ids;
            }),
            "oneOf" => self.alternatives(value).map(|ids| {
                read.has_union = true;
                read.union.one_of = ids;
            }),
            "allOf" => self.alternatives(value).map(|ids| {
                read.has_union = true;
                read.union.all_of = ids;
            }),
            "properties" => value.as_object().map(|all| read.object.properties = Some(all)),
            "required" => value.as_array().map(|names| {
                read.object.required = names.iter().filter_map(Value::as_str).collect();
            }),
            "additionalProperties" => {
                read.object.rest = Some(value);
                Some(())
            }
            "x-fal-order-properties" => value.as_array().map(|names| {
                read.object.order = Some(names.iter().filter_map(Value::as_str).collect());
            }),
            "title" | "description" | "format" | "default" | "examples" | "deprecated" => {
                self.text_keyword(read, keyword, value)
            }
            other => {
                self.other_keyword(other);
                Some(())
            }
        };
        if known.is_none() {
            self.note(DefectKind::Malformed { keyword: static_name(keyword) });
        }
    }

    fn text_keyword(
        &mut self,
        read: &mut Keywords<'a>,
        keyword: &str,
        value: &'a Value,
    ) -> Option<()> {
        let notes = &mut read.notes;
        match keyword {
            "default" => notes.default = Some(value.clone()),
            "examples" => notes.examples = value.as_array()?.as_slice().into(),
            "deprecated" => notes.is_deprecated = value.as_bool()?,
            _ => {
                let text = Some(self.intern(value.as_str()?));
                match keyword {
                    "title" => notes.title = text,
                    "description" => notes.description = text,
                    _ => notes.format = text,
                }
            }
        }
        read.has_notes = true;
        Some(())
    }

    fn other_keyword(&mut self, keyword: &str) {
        if let Some(keyword) = UNCHECKED.iter().find(|name| **name == keyword) {
            self.note(DefectKind::Unchecked { keyword });
        } else if let Some(keyword) = STRAY.iter().find(|name| **name == keyword) {
            self.note(DefectKind::Stray { keyword });
        }
    }

    /// `ge` and `le` are what pydantic writes for the bounds of a union. Elsewhere they mean nothing.
    fn limits(&mut self, read: &mut Keywords<'a>) {
        if !read.union.any_of.is_empty() {
            read.union.limits = read.limits.take();
        }
        let Some(limits) = read.limits.take() else { return };
        for (keyword, bound) in [("ge", limits.minimum), ("le", limits.maximum)] {
            if bound.is_some() {
                self.note(DefectKind::Stray { keyword });
            }
        }
    }

    fn choices(&mut self, node: &mut Node, values: &[Value]) {
        let mut trimmed: Vec<&str> =
            values.iter().filter_map(Value::as_str).map(str::trim).collect();
        trimmed.sort_unstable();
        if trimmed.first() == Some(&"") {
            self.note(DefectKind::EnumEmptyMember);
        }
        if let Some(twins) = trimmed.windows(2).find(|pair| pair[0] == pair[1]) {
            self.note(DefectKind::EnumTwins { member: excerpt(twins[0].as_bytes()) });
        }
        // Keywords come in the order of their names, so a `const` may already be here.
        if node.choices.is_none() {
            node.choices = Some(Box::new(Choices::new(values.to_vec())));
        }
    }

    fn pattern(&mut self, read: &mut Keywords<'a>, text: &'a str) {
        let pattern = Pattern::parse(text);
        if pattern.is_none() {
            self.note(DefectKind::Unchecked { keyword: "pattern" });
        }
        read.has_string = true;
        read.string.pattern = Some((self.intern(text), pattern));
    }

    fn items(&mut self, read: &mut Keywords<'a>, value: &'a Value) {
        read.has_array = true;
        match tuple_in_object(value) {
            Some(items) => {
                self.note(DefectKind::BrokenTuple);
                read.array.tuple = items.iter().map(|item| self.below("[]", item)).collect();
            }
            None => read.array.items = Some(self.below("[]", value)),
        }
    }

    fn alternatives(&mut self, value: &'a Value) -> Option<Box<[NodeId]>> {
        let schemas = value.as_array()?;
        if schemas.iter().any(|schema| schema.get("format").is_some_and(|f| f == "binary")) {
            self.note(DefectKind::BinaryAlternative);
        }
        Some(schemas.iter().map(|schema| self.below("|", schema)).collect())
    }

    fn object_rules(&mut self, read: &ObjectKeywords<'a>) -> Option<Box<ObjectRules>> {
        if read.properties.is_none() && read.required.is_empty() && read.rest.is_none() {
            return None;
        }
        let empty = Map::new();
        let mut fields = Vec::new();
        if let Some(properties) = read.properties {
            for (name, schema) in properties {
                let node = self.below(name, schema);
                let is_required = read.required.contains(&name.as_str());
                let text = self.intern(name);
                fields.push((
                    name.as_str(),
                    FieldRule { name: text, node, is_required, is_null_absent: false },
                ));
            }
        }
        let properties = read.properties.unwrap_or(&empty);
        self.sort_fields(&mut fields, read.order.as_deref());
        let mut by_name: Vec<_> =
            fields.iter().map(|(name, rule)| (*name, NamedField::new(name, rule))).collect();
        by_name.sort_unstable_by_key(|(name, _)| *name);
        let mut elsewhere: Vec<&str> =
            read.required.iter().copied().filter(|name| !properties.contains_key(*name)).collect();
        elsewhere.sort_unstable();
        elsewhere.dedup();
        for name in &elsewhere {
            self.note(DefectKind::RequiredUnknown { name: excerpt(name.as_bytes()) });
        }
        let rest = match read.rest {
            None | Some(Value::Bool(true)) => RestRule::Anything,
            Some(Value::Bool(false)) => RestRule::Nothing,
            Some(schema) => RestRule::Each(self.below("*", schema)),
        };
        let is_required =
            |name: &str| fields.iter().any(|(n, rule)| *n == name && rule.is_required);
        let is_file = is_required("url") && properties.contains_key("content_type");
        let fields: Box<[FieldRule]> = fields.into_iter().map(|(_, rule)| rule).collect();
        let required = fields.iter().filter(|field| field.is_required).count();
        Some(Box::new(ObjectRules {
            by_name: by_name.into_iter().map(|(_, field)| field).collect(),
            required_count: u32::try_from(required).expect("there are fewer fields than nodes"),
            required_elsewhere: elsewhere.iter().map(|name| self.append(name)).collect(),
            rest,
            is_open: read.rest == Some(&Value::Bool(true)),
            is_file,
            fields,
        }))
    }

    /// Key order means nothing: the service shuffles it.
    fn sort_fields(&mut self, fields: &mut [(&'a str, FieldRule)], order: Option<&[&str]>) {
        let mut ranks = BTreeMap::new();
        for (rank, name) in order.unwrap_or_default().iter().enumerate() {
            ranks.entry(*name).or_insert(rank);
        }
        if order.is_some()
            && (ranks.len() != fields.len() || !fields.iter().all(|(n, _)| ranks.contains_key(n)))
        {
            self.note(DefectKind::OrderMismatch);
        }
        fields.sort_by_key(|(name, rule)| {
            (ranks.get(name).copied().unwrap_or(usize::MAX), !rule.is_required, *name)
        });
    }

    fn reference(&mut self, target: &'a str) -> NodeId {
        if let Some(id) = self.components.get(target) {
            return *id;
        }
        let found = target.strip_prefix('#').and_then(|pointer| self.document.pointer(pointer));
        let Some(schema) = found.filter(|found| found.is_object() || found.is_boolean()) else {
            self.note(DefectKind::DanglingReference { target: excerpt(target.as_bytes()) });
            self.components.insert(target, NodeId::ANYTHING);
            return NodeId::ANYTHING;
        };
        let Some(id) = self.reserve() else { return NodeId::ANYTHING };
        self.components.insert(target, id);
        self.fill(id, schema);
        let component = self.intern(target.rsplit('/').next().unwrap_or(target));
        self.nodes[id.0 as usize].notes.get_or_insert_default().component = Some(component);
        id
    }

    fn intern(&mut self, text: &'a str) -> Text {
        if let Some(known) = self.interned.get(text) {
            return *known;
        }
        let stored = self.append(text);
        self.interned.insert(text, stored);
        stored
    }

    fn append(&mut self, text: &str) -> Text {
        if self.text.len() + text.len() > TEXT_BYTES_MAX {
            self.note(DefectKind::TooMuchText);
            return Text { start: 0, end: 0 };
        }
        let offset = |at: usize| u32::try_from(at).expect("TEXT_BYTES_MAX fits");
        let start = offset(self.text.len());
        self.text.push_str(text);
        Text { start, end: offset(self.text.len()) }
    }

    fn note(&mut self, kind: DefectKind) {
        if self.defects.len() < DEFECTS_MAX {
            self.defects.push(Defect { at: self.at.join(".").into(), kind });
        }
    }
}

/// Deepest nesting of schemas in a document: 64. The deepest of the catalogue has 9.
pub const SCHEMA_DEPTH_MAX: usize = 64;

/// Most schemas in one document.
pub const NODES_MAX: usize = 20_000;

/// Most text in one document: 16 MiB.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// Most defects kept of one document.
pub const DEFECTS_MAX: usize = 256;
