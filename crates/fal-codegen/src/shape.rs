//! What is to be generated: the types of one endpoint, before they are text.

mod input;
mod output;
mod union;

use std::collections::BTreeMap;

use fal_protocol::EndpointId;
use fal_protocol::schema::{ModelSchema, Schema, Types};
use serde_json::Value;

use crate::names::{self, Scope};

/// One endpoint with everything that its module holds.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) category: Option<String>,
    pub(crate) about: Option<String>,
    pub(crate) module: String,
    /// What the endpoint takes; the first is the whole input.
    pub(crate) items: Vec<Item>,
    /// Where the whole input and the whole output are in `items`.
    pub(crate) input: ItemId,
    pub(crate) output: ItemId,
}

pub(crate) type ItemId = usize;

/// One type.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) about: Option<String>,
    pub(crate) side: Side,
    pub(crate) kind: Kind,
}

/// Who writes values of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The caller: a builder, with limits.
    Input,
    /// The service: lenient.
    Output,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Struct(Vec<Field>),
    Enum(Enum),
    /// A text that is always the same; tells objects of a union apart.
    Fixed(String),
    /// Any JSON, because the document describes nothing.
    Open,
    /// Not filled yet: its fields are being looked at.
    Pending,
}

#[derive(Debug)]
pub(crate) struct Field {
    /// On the wire.
    pub(crate) wire: String,
    /// In Rust, not escaped.
    pub(crate) name: String,
    pub(crate) ty: Ty,
    pub(crate) presence: Presence,
    pub(crate) about: Option<String>,
    pub(crate) default: Option<Value>,
    pub(crate) limits: Limits,
    pub(crate) is_deprecated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// There always. In an input it is an argument of `new`.
    Required,
    /// In an input: always the one value that there is.
    Fixed,
    /// May be missing, or null if the service wrote it.
    Optional,
    /// May be missing, and null is something else than missing.
    OptionalOrNull,
    /// A list or map that is empty when it is missing or null.
    OrEmpty,
}

impl Presence {
    /// Whether an object without it is none of this type.
    pub(crate) const fn is_certain(self) -> bool {
        matches!(self, Self::Required | Self::Fixed)
    }
}

/// A set of texts, or of types, or of both.
#[derive(Debug, PartialEq)]
pub(crate) struct Enum {
    /// Variant and value.
    pub(crate) texts: Vec<(String, String)>,
    /// Variant and what it holds, in the order in which they are tried.
    pub(crate) holders: Vec<(String, Ty)>,
    /// What takes everything else: any text, or any JSON.
    pub(crate) rest: Ty,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ty {
    Bool,
    Int,
    Float,
    Text,
    /// A file that the caller gives: an address, or something to upload.
    Upload,
    /// A file that the model made.
    Media(Media),
    Json,
    List(Box<Self>),
    Map(Box<Self>),
    OrNull(Box<Self>),
    Named(ItemId),
    /// A type that holds itself.
    Boxed(ItemId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    File,
    Image,
    Video,
    Audio,
}

/// What is allowed, of the value or of what its list holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) above: Option<f64>,
    pub(crate) below: Option<f64>,
    pub(crate) step: Option<f64>,
    /// Least and most characters of a text, or elements of a list.
    pub(crate) length: (u64, Option<u64>),
    /// The numbers that are allowed, when they are listed.
    pub(crate) numbers: Vec<f64>,
    pub(crate) items: Option<Box<Self>>,
}

impl Limits {
    pub(crate) fn has_range(&self) -> bool {
        let bounds = [self.minimum, self.maximum, self.above, self.below, self.step];
        bounds.iter().any(Option::is_some)
    }

    pub(crate) fn has_length(&self) -> bool {
        self.length != (0, None)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.has_range()
            && !self.has_length()
            && self.numbers.is_empty()
            && self.items.as_ref().is_none_or(|items| items.is_empty())
    }
}

/// Looks at a model, whose names are decided already.
pub(crate) fn endpoint(
    model: &ModelSchema,
    id: &EndpointId,
    module: String,
    type_name: String,
) -> Endpoint {
    let mut builder = Builder {
        names: Scope::new(&RESERVED),
        items: Vec::new(),
        components: BTreeMap::new(),
        enums: Vec::new(),
    };
    let input_name = builder.names.give([type_name, format!("{}Input", names::input_type(id))]);
    let output_name = builder.names.give(["Output".to_owned()]);
    let input = builder.root(model.input(), Side::Input, input_name);
    let output = builder.root(model.output(), Side::Output, output_name);
    let text = |text: Option<&str>| text.filter(|text| !text.trim().is_empty()).map(str::to_owned);
    Endpoint {
        id: id.clone(),
        category: text(model.category()),
        about: text(model.description()),
        module,
        items: builder.items,
        input,
        output,
    }
}

struct Builder {
    names: Scope,
    items: Vec<Item>,
    /// Objects by their name in the document, which is unique there.
    components: BTreeMap<(Side, String), ItemId>,
    /// Enums that were given a name, to be found again.
    enums: Vec<ItemId>,
}

/// Where a schema stands, which names what has no name of its own.
#[derive(Clone, Copy)]
struct Place<'a> {
    side: Side,
    /// The type around it.
    parent: &'a str,
    /// The field that it is, or is inside of.
    field: &'a str,
}

impl Builder {
    fn root(&mut self, schema: Schema<'_>, side: Side, name: String) -> ItemId {
        let schema = schema.resolved();
        let about = schema.description().map(str::to_owned);
        let item = self.push(Item { name: name.clone(), about, side, kind: Kind::Pending });
        let place = Place { side, parent: &name, field: "" };
        let kind = if schema.fields().len() > 0 {
            if let Some(component) = schema.component() {
                self.components.insert((side, component.to_owned()), item);
            }
            Kind::Struct(self.fields(schema, &name, side, true))
        } else if side == Side::Input && schema.types() == Types::OBJECT {
            // Nothing to give, or nothing that is described.
            Kind::Open
        } else if side == Side::Output && schema.alternatives().len() > 1 {
            match self.union(schema, place, Vec::new()) {
                union::Union::Enum(found) => Kind::Enum(found),
                _ => Kind::Open,
            }
        } else {
            Kind::Open
        };
        self.items[item].kind = kind;
        item
    }

    fn push(&mut self, item: Item) -> ItemId {
        self.items.push(item);
        self.items.len() - 1
    }

    fn fields(&mut self, schema: Schema<'_>, name: &str, side: Side, is_root: bool) -> Vec<Field> {
        match side {
            Side::Input => self.input_fields(schema, name),
            Side::Output => self.output_fields(schema, name, is_root),
        }
    }

    /// The type of a schema, and whether it admits null.
    fn ty(&mut self, schema: Schema<'_>, place: Place<'_>) -> (Ty, bool) {
        let is_nullable = schema.is_nullable() && !is_anything(schema);
        (self.ty_not_null(schema, place), is_nullable)
    }

    fn ty_or_null(&mut self, schema: Schema<'_>, place: Place<'_>) -> Ty {
        match self.ty(schema, place) {
            (Ty::Json, _) => Ty::Json,
            (ty, true) => Ty::OrNull(Box::new(ty)),
            (ty, false) => ty,
        }
    }

    fn ty_not_null(&mut self, schema: Schema<'_>, place: Place<'_>) -> Ty {
        let schema = schema.resolved();
        if let Some(choices) = schema.choices() {
            return self.choices(choices, place);
        }
        let alternatives: Vec<Schema<'_>> =
            schema.alternatives().filter(|s| !is_null(*s)).collect();
        if !alternatives.is_empty() {
            return match alternatives[..] {
                [only] => self.ty_not_null(only, place),
                _ => {
                    let found = self.union(schema, place, alternatives);
                    self.named_union(found, schema, place)
                }
            };
        }
        if schema.fields().len() > 0 {
            return self.object(schema, place);
        }
        match kind_of(schema.types()) {
            Some(Types::BOOLEAN) => Ty::Bool,
            Some(Types::INTEGER) => Ty::Int,
            Some(Types::NUMBER) => Ty::Float,
            Some(Types::STRING) => self.text(place),
            Some(Types::ARRAY) => self.list(schema, place),
            Some(Types::OBJECT) => match schema.rest() {
                fal_protocol::schema::Rest::Each(each) => {
                    Ty::Map(Box::new(self.ty_or_null(each, place)))
                }
                _ => Ty::Json,
            },
            _ => Ty::Json,
        }
    }

    fn text(&self, place: Place<'_>) -> Ty {
        if place.side == Side::Input && is_address(place.field) { Ty::Upload } else { Ty::Text }
    }

    fn list(&mut self, schema: Schema<'_>, place: Place<'_>) -> Ty {
        let mut of: Vec<Ty> = schema.tuple().map(|item| self.ty_or_null(item, place)).collect();
        of.extend(schema.items().map(|items| self.ty_or_null(items, place)));
        let same = of.first().cloned().filter(|first| of.iter().all(|ty| ty == first));
        let element = match same {
            Some(Ty::Boxed(item)) => Ty::Named(item),
            Some(ty) => ty,
            None => Ty::Json,
        };
        Ty::List(Box::new(element))
    }

    /// A type of listed values.
    fn choices(&mut self, choices: &[Value], place: Place<'_>) -> Ty {
        let values: Vec<&Value> = choices.iter().filter(|value| !value.is_null()).collect();
        let all = |is: fn(&Value) -> bool| values.iter().all(|value| is(value));
        if all(Value::is_string) {
            let texts: Vec<&str> = values.iter().filter_map(|value| value.as_str()).collect();
            return self.text_enum(&texts, place);
        }
        if all(Value::is_boolean) {
            return Ty::Bool;
        }
        if all(Value::is_number) {
            return if all(|value| value.is_i64()) { Ty::Int } else { Ty::Float };
        }
        Ty::Json
    }

    fn text_enum(&mut self, texts: &[&str], place: Place<'_>) -> Ty {
        if texts.is_empty() || texts.len() > TEXTS_MAX {
            return Ty::Text;
        }
        let kind = Enum { texts: variants(texts), holders: Vec::new(), rest: Ty::Text };
        self.named_enum(kind, None, place)
    }

    /// An enum under the name of its field, unless there is an equal one.
    fn named_enum(&mut self, kind: Enum, about: Option<String>, place: Place<'_>) -> Ty {
        let is_equal = |item: &&ItemId| {
            let item = &self.items[**item];
            item.side == place.side && matches!(&item.kind, Kind::Enum(known) if *known == kind)
        };
        let wish = names::type_name(place.field);
        let known = self
            .enums
            .iter()
            .find(|item| is_equal(item) && self.items[**item].name.starts_with(&wish));
        if let Some(item) = known {
            return Ty::Named(*item);
        }
        let name = self.name(wish, place);
        let item = self.push(Item { name, about, side: place.side, kind: Kind::Enum(kind) });
        self.enums.push(item);
        Ty::Named(item)
    }

    fn name(&mut self, wish: String, place: Place<'_>) -> String {
        let side = match place.side {
            Side::Input => format!("{}{wish}", place.parent),
            Side::Output => format!("{wish}Output"),
        };
        self.names.give([wish, side])
    }

    /// A struct, under the name of its component or its field.
    fn object(&mut self, schema: Schema<'_>, place: Place<'_>) -> Ty {
        if place.side == Side::Output
            && let Some(media) = output::media(schema)
        {
            return Ty::Media(media);
        }
        let key = schema.component().map(|component| (place.side, component.to_owned()));
        if let Some(item) = key.as_ref().and_then(|key| self.components.get(key)) {
            return match self.items[*item].kind {
                Kind::Pending => Ty::Boxed(*item),
                _ => Ty::Named(*item),
            };
        }
        let wish = names::type_name(schema.component().unwrap_or(place.field));
        let name = self.name(wish, place);
        let about = schema.description().map(str::to_owned);
        let kind = Kind::Pending;
        let item = self.push(Item { name: name.clone(), about, side: place.side, kind });
        if let Some(key) = key {
            self.components.insert(key, item);
        }
        self.items[item].kind = Kind::Struct(self.fields(schema, &name, place.side, false));
        Ty::Named(item)
    }

    /// The type of a constant that tells objects apart.
    fn fixed(&mut self, text: &str, place: Place<'_>) -> Ty {
        let name = self.name(format!("{}{}", place.parent, names::type_name(place.field)), place);
        let kind = Kind::Fixed(text.to_owned());
        Ty::Named(self.push(Item { name, about: None, side: place.side, kind }))
    }
}

/// Variants for texts, each with a name of its own.
fn variants(texts: &[&str]) -> Vec<(String, String)> {
    let mut scope = Scope::new(&["Other", "Custom"]);
    let named = texts.iter().map(|text| (scope.give([names::variant(text)]), (*text).to_owned()));
    named.collect()
}

/// The one type that is not null, if there is one.
fn kind_of(types: Types) -> Option<Types> {
    let kinds =
        [Types::BOOLEAN, Types::NUMBER, Types::INTEGER, Types::STRING, Types::ARRAY, Types::OBJECT];
    // A number may be an integer too, which need not be told apart.
    let found = kinds.into_iter().find(|kind| types.has(*kind))?;
    let is_only = |extra: Types| types == extra || types == extra.or(Types::NULL);
    (is_only(found) || is_only(found.or(Types::INTEGER))).then_some(found)
}

fn is_anything(schema: Schema<'_>) -> bool {
    let schema = schema.resolved();
    schema.types() == Types::ANY
        && schema.choices().is_none()
        && schema.alternatives().len() == 0
        && schema.fields().len() == 0
}

fn is_null(schema: Schema<'_>) -> bool {
    schema.resolved().types() == Types::NULL
}

/// Whether a field's name says that it holds the address of a file: `url`, `mask_url`, `image_urls`,
/// `audio_url_person1`.
///
/// Source: fal's page on inputs and outputs names the endings that its playground takes for files
/// (documented); no media field of the published documents is named otherwise (observed).
fn is_address(field: &str) -> bool {
    field.split('_').any(|word| matches!(word, "url" | "urls"))
}

/// Longer lists of texts, of voices mostly, are texts.
pub(crate) const TEXTS_MAX: usize = 128;

/// Names that mean something else in a module.
const RESERVED: [&str; 31] = [
    "Audio",
    "BTreeMap",
    "Box",
    "Check",
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "Deserialize",
    "Endpoint",
    "Err",
    "File",
    "From",
    "Image",
    "InputError",
    "Into",
    "IntoIterator",
    "Iterator",
    "None",
    "Ok",
    "Option",
    "Range",
    "Result",
    "Self",
    "Serialize",
    "Some",
    "String",
    "UploadOrUrl",
    "Value",
    "Vec",
    "Video",
];
