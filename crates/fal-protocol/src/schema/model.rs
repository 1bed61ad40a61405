//! A loaded document: an arena of schemas, and cursors into it.

use std::fmt;

use serde_json::Value;

use super::defect::Defect;
use super::number::Num;
use super::rules::{
    ArrayRules, Choices, FieldRule, NumberRules, ObjectRules, RestRule, StringRules, Union,
};

/// What one endpoint takes and gives.
///
/// All schemas of a document lie in one arena, all its texts in one string: a document of the
/// catalogue takes about a third of the size of its JSON.
#[derive(Clone)]
pub struct ModelSchema {
    pub(super) nodes: Vec<Node>,
    pub(super) text: Box<str>,
    pub(super) endpoint_id: Option<Text>,
    pub(super) category: Option<Text>,
    pub(super) title: Option<Text>,
    pub(super) description: Option<Text>,
    pub(super) input: NodeId,
    pub(super) output: NodeId,
    pub(super) dialect: Dialect,
    pub(super) defects: Vec<Defect>,
}

impl ModelSchema {
    /// The endpoint's id, such as `fal-ai/flux/dev`, as the document or its dump states it.
    #[must_use]
    pub fn endpoint_id(&self) -> Option<&str> {
        self.endpoint_id.map(|text| self.text(text))
    }

    /// The category of the catalogue, such as `text-to-image`. May be empty for private apps.
    #[must_use]
    pub fn category(&self) -> Option<&str> {
        self.category.map(|text| self.text(text))
    }

    /// The document's title.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.title.map(|text| self.text(text))
    }

    /// The document's description.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.map(|text| self.text(text))
    }

    /// What the endpoint takes.
    #[must_use]
    pub const fn input(&self) -> Schema<'_> {
        Schema { model: self, id: self.input }
    }

    /// What the endpoint gives.
    ///
    /// Answers are looser than this: any field but the key ones can be null, and new fields appear.
    #[must_use]
    pub const fn output(&self) -> Schema<'_> {
        Schema { model: self, id: self.output }
    }

    /// How the document writes optional values.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What is wrong with the document and was worked around.
    #[must_use]
    pub fn defects(&self) -> &[Defect] {
        &self.defects
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The node, or the one that it stands for if it says nothing but that.
    #[inline]
    pub(super) fn followed(&self, id: NodeId) -> &Node {
        let node = self.node(id);
        match node.alias {
            Some(id) => self.node(id),
            None => node,
        }
    }

    /// As [`text`](Self::text), without finding out whether characters begin and end there.
    pub(super) fn bytes(&self, text: Text) -> &[u8] {
        &self.text.as_bytes()[text.start as usize..text.end as usize]
    }

    pub(super) fn text(&self, text: Text) -> &str {
        &self.text[text.start as usize..text.end as usize]
    }
}

impl fmt::Debug for ModelSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelSchema")
            .field("endpoint_id", &self.endpoint_id())
            .field("schemas", &self.nodes.len())
            .field("defects", &self.defects)
            .finish_non_exhaustive()
    }
}

/// How a document writes optional values.
///
/// Nearly all documents changed from the one to the other between January and June 2026, so a missing
/// null alternative means "not null" only in the newer kind (observed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// No null alternative anywhere: whether a field may be null was lost.
    NullsFolded,
    /// Optional values are unions with null.
    NullsStated,
}

/// One schema of a document. A cursor: cheap to copy.
#[derive(Clone, Copy)]
pub struct Schema<'a> {
    pub(super) model: &'a ModelSchema,
    pub(super) id: NodeId,
}

impl<'a> Schema<'a> {
    /// The schema that this one refers to, through references and single `allOf`s; else itself.
    ///
    /// Texts and defaults beside a reference belong to the reference: read them first.
    #[must_use]
    pub fn resolved(self) -> Self {
        let mut schema = self;
        for _ in 0..REFERENCES_MAX {
            let Some(next) = schema.referent() else { break };
            schema = next;
        }
        schema
    }

    fn referent(self) -> Option<Self> {
        let node = self.node();
        let only = match &node.union {
            Some(union) if union.all_of.len() == 1 && union.is_all_of_alone() => {
                Some(union.all_of[0])
            }
            _ => None,
        };
        node.reference.or(only).map(|id| Self { id, ..self })
    }

    /// The name of the component, if it is one.
    #[must_use]
    pub fn component(self) -> Option<&'a str> {
        self.note(|notes| notes.component)
    }

    /// The title: for a component the class of the model's author, for a field its label.
    #[must_use]
    pub fn title(self) -> Option<&'a str> {
        self.note(|notes| notes.title)
    }

    /// The description. The text belongs to the model's author.
    #[must_use]
    pub fn description(self) -> Option<&'a str> {
        self.note(|notes| notes.description)
    }

    /// The `format`, such as `uri`: a note that validation ignores.
    #[must_use]
    pub fn format(self) -> Option<&'a str> {
        self.note(|notes| notes.format)
    }

    /// The default; on outputs it means nothing.
    #[must_use]
    pub fn default(self) -> Option<&'a Value> {
        self.node().notes.as_ref()?.default.as_ref()
    }

    /// The examples.
    #[must_use]
    pub fn examples(self) -> &'a [Value] {
        self.node().notes.as_ref().map_or(&[], |notes| &notes.examples)
    }

    /// Whether the author advises against its use.
    #[must_use]
    pub fn is_deprecated(self) -> bool {
        self.node().notes.as_ref().is_some_and(|notes| notes.is_deprecated)
    }

    /// The types that this schema itself allows, without regard to what it refers to.
    #[must_use]
    pub fn types(self) -> Types {
        self.node().types
    }

    /// Whether null is allowed: by type, by `nullable`, or as an alternative.
    #[must_use]
    pub fn is_nullable(self) -> bool {
        self.admits_null(&mut { NULL_STEPS_MAX })
    }

    fn admits_null(self, steps: &mut usize) -> bool {
        let node = self.node();
        if node.is_nullable || *steps == 0 {
            return node.is_nullable;
        }
        *steps -= 1;
        let mut of = |id: &NodeId| Self { id: *id, ..self }.admits_null(steps);
        node.types.has(Types::NULL)
            && node.choices.as_ref().is_none_or(|choices| choices.holds(&Value::Null, false))
            && node.reference.as_ref().is_none_or(&mut of)
            && node.union.as_ref().is_none_or(|union| {
                union.all_of.iter().all(&mut of)
                    && (union.any_of.is_empty() || union.any_of.iter().any(&mut of))
                    && (union.one_of.is_empty() || union.one_of.iter().any(&mut of))
            })
    }

    /// The values of `enum`, or the one of `const`.
    #[must_use]
    pub fn choices(self) -> Option<&'a [Value]> {
        self.node().choices.as_ref().map(|choices| &*choices.values)
    }

    /// The alternatives of `anyOf`, or else of `oneOf`.
    pub fn alternatives(self) -> impl ExactSizeIterator<Item = Self> {
        let ids: &'a [NodeId] = match &self.node().union {
            Some(union) if !union.any_of.is_empty() => &union.any_of,
            Some(union) => &union.one_of,
            None => &[],
        };
        ids.iter().map(move |id| Self { id: *id, ..self })
    }

    /// The fields, in the order that fal shows them: `x-fal-order-properties`; without it the required
    /// ones first, each group by name.
    pub fn fields(self) -> impl ExactSizeIterator<Item = Field<'a>> {
        let rules: &'a [FieldRule] =
            self.node().object.as_ref().map_or(&[], |object| &object.fields);
        rules.iter().map(move |rule| Field {
            name: self.model.text(rule.name),
            is_required: rule.is_required,
            schema: Self { id: rule.node, ..self },
        })
    }

    /// What the fields that [`fields`](Self::fields) does not list may hold.
    #[must_use]
    pub fn rest(self) -> Rest<'a> {
        match self.node().object.as_ref().map(|object| object.rest) {
            None | Some(RestRule::Anything) => Rest::Anything,
            Some(RestRule::Nothing) => Rest::Nothing,
            Some(RestRule::Each(id)) => Rest::Each(Self { id, ..self }),
        }
    }

    /// What the elements of a list are, after those of [`tuple`](Self::tuple).
    #[must_use]
    pub fn items(self) -> Option<Self> {
        let id = self.node().array.as_ref()?.items?;
        Some(Self { id, ..self })
    }

    /// What the first elements of a list are, one by one.
    pub fn tuple(self) -> impl ExactSizeIterator<Item = Self> {
        let ids: &'a [NodeId] = self.node().array.as_ref().map_or(&[], |array| &array.tuple);
        ids.iter().map(move |id| Self { id: *id, ..self })
    }

    /// How many elements a list has.
    #[must_use]
    pub fn items_count(self) -> SizeBounds {
        self.node().array.as_ref().map_or_else(SizeBounds::default, |array| array.size)
    }

    /// How many characters a text has.
    #[must_use]
    pub fn length(self) -> SizeBounds {
        self.node().string.as_ref().map_or_else(SizeBounds::default, |string| string.size)
    }

    /// The regular expression that a text matches.
    #[must_use]
    pub fn pattern(self) -> Option<&'a str> {
        let (text, _) = self.node().string.as_ref()?.pattern.as_ref()?;
        Some(self.model.text(*text))
    }

    /// The limits of a number.
    #[must_use]
    pub fn bounds(self) -> NumberBounds {
        self.node().number.as_deref().map_or_else(NumberBounds::default, NumberBounds::of)
    }

    /// The limits of a whole union.
    pub(super) fn limits(self) -> Option<NumberBounds> {
        self.node().union.as_ref()?.limits.as_deref().map(NumberBounds::of)
    }

    pub(super) fn node(self) -> &'a Node {
        self.model.node(self.id)
    }

    fn note(self, of: impl Fn(&Notes) -> Option<Text>) -> Option<&'a str> {
        of(self.node().notes.as_ref()?).map(|text| self.model.text(text))
    }
}

/// Names the schema only: documents are large.
impl fmt::Debug for Schema<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("component", &self.component())
            .field("types", &self.types())
            .finish_non_exhaustive()
    }
}

/// One field of an object.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Field<'a> {
    /// Its name on the wire.
    pub name: &'a str,
    /// Whether a caller must give it.
    pub is_required: bool,
    /// What it holds.
    pub schema: Schema<'a>,
}

/// What an object may hold beside its described fields.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Rest<'a> {
    /// Whatever the caller likes; the service ignores it.
    Anything,
    /// Nothing.
    Nothing,
    /// Values like this: the object is a map.
    Each(Schema<'a>),
}

/// The limits of a number, as the document writes them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct NumberBounds {
    /// `minimum`.
    pub minimum: Option<Value>,
    /// `maximum`.
    pub maximum: Option<Value>,
    /// `exclusiveMinimum`.
    pub above: Option<Value>,
    /// `exclusiveMaximum`.
    pub below: Option<Value>,
    /// `multipleOf`.
    pub multiple_of: Option<Value>,
}

impl NumberBounds {
    fn of(rules: &NumberRules) -> Self {
        let value = |num: Option<Num>| num.map(Num::to_value);
        Self {
            minimum: value(rules.minimum),
            maximum: value(rules.maximum),
            above: value(rules.above),
            below: value(rules.below),
            multiple_of: value(rules.multiple_of),
        }
    }
}

/// How long or how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SizeBounds {
    /// At least; 0 if nothing is said.
    pub min: u64,
    /// At most.
    pub max: Option<u64>,
}

/// A set of JSON types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types(u8);

impl Types {
    /// No type: the schema `false`.
    pub const NONE: Self = Self(0);
    /// `null`.
    pub const NULL: Self = Self(1);
    /// `boolean`.
    pub const BOOLEAN: Self = Self(1 << 1);
    /// `integer`: a number without a fraction.
    pub const INTEGER: Self = Self(1 << 2);
    /// `number`.
    pub const NUMBER: Self = Self(1 << 3);
    /// `string`.
    pub const STRING: Self = Self(1 << 4);
    /// `array`.
    pub const ARRAY: Self = Self(1 << 5);
    /// `object`.
    pub const OBJECT: Self = Self(1 << 6);
    /// Every type: the schema says nothing about it.
    pub const ANY: Self = Self(0x7f);

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in both sets.
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Both sets together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u32);

impl NodeId {
    /// The schema that everything fits.
    pub(super) const ANYTHING: Self = Self(0);
}

/// A range of the document's texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// One schema. Most have one or two of the rules, so each lies behind a pointer.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) types: Types,
    /// What fits whatever the mode: values of a kind about which nothing more is said. An integer is one here
    /// only if its text has no fraction. Worked out when everything is loaded, as is the rest down to `alias`.
    pub(super) free: Types,
    /// Nothing but types and the rules of each type.
    pub(super) is_plain: bool,
    /// A list of texts, and nothing else.
    pub(super) is_choice: bool,
    /// What this is another name of: a reference without anything beside it.
    pub(super) alias: Option<NodeId>,
    pub(super) is_nullable: bool,
    pub(super) reference: Option<NodeId>,
    pub(super) choices: Option<Box<Choices>>,
    pub(super) number: Option<Box<NumberRules>>,
    pub(super) string: Option<Box<StringRules>>,
    pub(super) array: Option<Box<ArrayRules>>,
    pub(super) object: Option<Box<ObjectRules>>,
    pub(super) union: Option<Box<Union>>,
    pub(super) notes: Option<Box<Notes>>,
}

impl Node {
    pub(super) const fn anything() -> Self {
        Self {
            types: Types::ANY,
            free: Types::NONE,
            is_plain: false,
            is_choice: false,
            alias: None,
            is_nullable: false,
            reference: None,
            choices: None,
            number: None,
            string: None,
            array: None,
            object: None,
            union: None,
            notes: None,
        }
    }

    /// The values that it allows. Beside a union pydantic writes none, so there they are an author's note, which only
    /// JSON Schema takes for a rule (inferred; there are published examples outside of such lists).
    pub(super) fn choices(&self, is_lax: bool) -> Option<&Choices> {
        let is_note = is_lax && self.union.as_ref().is_some_and(|union| !union.any_of.is_empty());
        self.choices.as_deref().filter(|_| !is_note)
    }

    /// `{"type": "null"}`: the alternative that makes a union optional.
    pub(super) fn is_null(&self) -> bool {
        self.types == Types::NULL && self.reference.is_none() && self.union.is_none()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    pub(super) component: Option<Text>,
    pub(super) title: Option<Text>,
    pub(super) description: Option<Text>,
    pub(super) format: Option<Text>,
    pub(super) default: Option<Value>,
    pub(super) examples: Box<[Value]>,
    pub(super) is_deprecated: bool,
}

/// A chain of references longer than this is taken for a circle.
pub(super) const REFERENCES_MAX: usize = 32;

/// Schemas looked at to find out whether null is allowed; circles of unions end here.
const NULL_STEPS_MAX: usize = 256;
