//! Types as text.

mod input;

use std::fmt::Write as _;

use crate::Options;
use crate::docs::Docs;
use crate::names;
use crate::shape::{Endpoint, Enum, Field, Item, Kind, Media, Presence, Side, Ty};

/// Writes the modules of endpoints.
pub(crate) struct Emitter<'a> {
    pub(crate) options: &'a Options,
    pub(crate) endpoint: &'a Endpoint,
    /// Whether each item has limits, its own or those of something inside.
    limited: Vec<bool>,
}

impl<'a> Emitter<'a> {
    pub(crate) fn new(options: &'a Options, endpoint: &'a Endpoint) -> Self {
        let mut emitter = Self { options, endpoint, limited: vec![false; endpoint.items.len()] };
        // Limits of inner types make outer ones limited; nesting is shallow.
        for _ in 0..endpoint.items.len() {
            let next: Vec<bool> =
                endpoint.items.iter().map(|item| emitter.is_limited_item(item)).collect();
            if next == emitter.limited {
                break;
            }
            emitter.limited = next;
        }
        emitter
    }

    /// The module of the endpoint, before it is formatted.
    pub(crate) fn module(&self) -> String {
        let mut code = String::new();
        let id = self.endpoint.id.as_str();
        let docs = Docs::default().paragraph(&format!("Types of `{id}`.")).attributes();
        let client = &self.options.client;
        _ = write!(
            code,
            "{docs}#[rustfmt::skip]\n\
             #[allow(dead_code, unreachable_pub, reason = {UNUSED:?})]\n\
             #[allow({LINTS}, reason = \"names and sizes are the model's\")]\n\
             pub mod {} {{\nuse {client}::typed::*;\n",
            self.endpoint.module,
        );
        for (at, item) in self.endpoint.items.iter().enumerate() {
            self.item(&mut code, at, item);
        }
        code.push_str("}\n");
        code
    }

    fn item(&self, code: &mut String, at: usize, item: &Item) {
        let name = &item.name;
        match &item.kind {
            Kind::Struct(fields) => match item.side {
                Side::Input => self.input_struct(code, at, item, fields),
                Side::Output => self.output_struct(code, at, item, fields),
            },
            Kind::Enum(kind) => self.item_enum(code, at, item, kind),
            Kind::Fixed(text) => {
                let docs = Docs::default().paragraph(&format!("Always {text:?}."));
                self.derive(code, &docs, "Clone, Copy, Debug, Default, PartialEq, Eq");
                _ = writeln!(
                    code,
                    "pub enum {name} {{ {}#[default] #[serde(rename = {text:?})] Fixed }}",
                    Docs::default().paragraph("The one value.").attributes(),
                );
            }
            Kind::Open | Kind::Pending if at == self.endpoint.input => self.open_input(code, item),
            Kind::Open | Kind::Pending => {
                let about = self.about(item.about.as_deref());
                let docs = Docs::default().paragraph("Any JSON: the document does not say what.");
                _ = writeln!(code, "{}pub type {name} = Value;", docs.quote(about).attributes());
            }
        }
        if at == self.endpoint.input {
            self.endpoint_impl(code, item);
        }
    }

    fn output_struct(&self, code: &mut String, at: usize, item: &Item, fields: &[Field]) {
        self.derive(code, &self.item_docs(at, item), "Clone, Debug, PartialEq");
        _ = writeln!(code, "pub struct {} {{", item.name);
        for field in fields {
            let fallback = format!("The field `{}`.", field.wire);
            let docs = self.docs_or(field.about.as_deref(), &fallback).attributes();
            let mut serde = self.rename(field);
            match field.presence {
                Presence::Required | Presence::Fixed => {}
                Presence::Optional | Presence::OptionalOrNull => serde.push(SKIP_NONE.to_owned()),
                Presence::OrEmpty => {
                    serde.push("default, deserialize_with = \"or_empty\"".to_owned());
                }
            }
            _ = writeln!(
                code,
                "{docs}{}pub {}: {},",
                attribute(&serde),
                names::escaped(&field.name),
                self.field_type(field)
            );
        }
        code.push_str("}\n");
    }

    fn item_enum(&self, code: &mut String, at: usize, item: &Item, kind: &Enum) {
        let is_plain = kind.holders.is_empty() && kind.rest == Ty::Text;
        let derives =
            if is_plain { "Clone, Debug, PartialEq, Eq, Hash" } else { "Clone, Debug, PartialEq" };
        self.derive(code, &self.item_docs(at, item), derives);
        let rule = RULES
            .iter()
            .find(|(_, rule)| kind.texts.iter().all(|(name, text)| rule(name) == *text));
        let is_ruled = rule.is_some() && kind.texts.len() > 1;
        if let Some((rule, _)) = rule.filter(|(rule, _)| is_ruled && *rule != "none") {
            _ = writeln!(code, "#[serde(rename_all = {rule:?})]");
        }
        _ = writeln!(code, "pub enum {} {{", item.name);
        for (variant, text) in &kind.texts {
            let docs = Docs::default().paragraph(&quoted(text)).attributes();
            let is_same = is_ruled || variant == text;
            let rename =
                if is_same { String::new() } else { attribute(&[format!("rename = {text:?}")]) };
            _ = writeln!(code, "{docs}{rename}{variant},");
        }
        for (variant, ty) in &kind.holders {
            let docs = Docs::default().paragraph(holder_docs(ty)).attributes();
            _ = writeln!(code, "{docs}#[serde(untagged)] {variant}({}),", self.ty(ty));
        }
        let (docs, holds) = match kind.rest {
            Ty::Text => ("Any other text.", "String"),
            _ => ("Anything else.", "Value"),
        };
        let docs = Docs::default().paragraph(docs).attributes();
        _ = writeln!(code, "{docs}#[serde(untagged)] Other({holds}),\n}}");
        if self.limited[at] {
            self.check_of_enum(code, item, kind);
        }
    }

    fn derive(&self, code: &mut String, docs: &Docs, derives: &str) {
        let path = format!("{}::typed::serde", self.options.client);
        _ = writeln!(
            code,
            "{}#[derive({derives}, Deserialize, Serialize)]\n#[serde(crate = {path:?})]\n#[non_exhaustive]",
            docs.attributes()
        );
    }

    fn item_docs(&self, at: usize, item: &Item) -> Docs {
        let id = self.endpoint.id.as_str();
        let about = self.about(item.about.as_deref());
        if at == self.endpoint.input {
            let category = self.endpoint.category.as_deref().map(|text| format!(" ({text})"));
            let first = format!("What `{id}` takes{}.", category.unwrap_or_default());
            let page = format!("<https://fal.ai/models/{id}>");
            // The description that the service makes up says nothing.
            let document = self.endpoint.about.as_deref().filter(|text| !text.starts_with(MADE_UP));
            let about = about.or_else(|| self.about(document));
            return Docs::default().paragraph(&first).quote(about).paragraph(&page);
        }
        if at == self.endpoint.output {
            return Docs::default().paragraph(&format!("What `{id}` gives.")).quote(about);
        }
        self.docs_or(
            about,
            &format!(
                "A part of what `{id}` {}.",
                match item.side {
                    Side::Input => "takes",
                    Side::Output => "gives",
                }
            ),
        )
    }

    fn docs_or(&self, about: Option<&str>, fallback: &str) -> Docs {
        match self.about(about) {
            Some(about) => Docs::default().quote(Some(about)),
            None => Docs::default().paragraph(fallback),
        }
    }

    fn about<'b>(&self, about: Option<&'b str>) -> Option<&'b str> {
        about.filter(|about| self.options.has_descriptions && !about.trim().is_empty())
    }

    fn rename(&self, field: &Field) -> Vec<String> {
        // A raw identifier has the name of the keyword already.
        let is_same = field.name == field.wire && !names::escaped(&field.name).ends_with('_')
            || names::escaped(&field.name) == field.wire;
        if is_same { Vec::new() } else { vec![format!("rename = {:?}", field.wire)] }
    }

    fn field_type(&self, field: &Field) -> String {
        let ty = self.ty(&field.ty);
        match field.presence {
            Presence::Required | Presence::Fixed | Presence::OrEmpty => ty,
            Presence::Optional => format!("Option<{ty}>"),
            Presence::OptionalOrNull => format!("Option<Option<{ty}>>"),
        }
    }

    fn ty(&self, ty: &Ty) -> String {
        match ty {
            Ty::Bool => "bool".to_owned(),
            Ty::Int => "i64".to_owned(),
            Ty::Float => "f64".to_owned(),
            Ty::Text => "String".to_owned(),
            Ty::Upload => "FileOrUrl".to_owned(),
            Ty::Media(media) => match media {
                Media::File => "File",
                Media::Image => "Image",
                Media::Video => "Video",
                Media::Audio => "Audio",
            }
            .to_owned(),
            Ty::Json => "Value".to_owned(),
            Ty::List(ty) => format!("Vec<{}>", self.ty(ty)),
            Ty::Map(ty) => format!("BTreeMap<String, {}>", self.ty(ty)),
            Ty::OrNull(ty) => format!("Option<{}>", self.ty(ty)),
            Ty::Named(item) => self.endpoint.items[*item].name.clone(),
            Ty::Boxed(item) => format!("Box<{}>", self.endpoint.items[*item].name),
        }
    }

    fn is_limited_item(&self, item: &Item) -> bool {
        item.side == Side::Input
            && match &item.kind {
                Kind::Struct(fields) => fields.iter().any(|field| self.is_limited(field)),
                Kind::Enum(kind) => kind.holders.iter().any(|(_, ty)| self.holds_limited(ty)),
                _ => false,
            }
    }

    fn is_limited(&self, field: &Field) -> bool {
        !field.limits.is_empty() || self.holds_limited(&field.ty)
    }

    fn holds_limited(&self, ty: &Ty) -> bool {
        match ty {
            Ty::Named(item) | Ty::Boxed(item) => self.limited[*item],
            Ty::List(ty) | Ty::Map(ty) | Ty::OrNull(ty) => self.holds_limited(ty),
            _ => false,
        }
    }
}

fn attribute(parts: &[String]) -> String {
    if parts.is_empty() { String::new() } else { format!("#[serde({})]\n", parts.join(", ")) }
}

/// A value of an enum as it is told in its doc comment.
fn quoted(text: &str) -> String {
    if text.contains('`') || text.trim() != text || text.is_empty() {
        return crate::docs::one_line(&format!("{text:?}")) + ".";
    }
    format!("`{text}`.")
}

fn holder_docs(ty: &Ty) -> &'static str {
    match ty {
        Ty::Bool => "Yes or no.",
        Ty::Int | Ty::Float => "A number.",
        Ty::Text => "A text.",
        Ty::Upload => "A file, or its address.",
        Ty::Media(_) => "A file.",
        Ty::Json => "Any JSON.",
        Ty::List(_) => "A list.",
        Ty::Map(_) => "Values by name.",
        Ty::OrNull(ty) => holder_docs(ty),
        Ty::Named(_) | Ty::Boxed(_) => "An object.",
    }
}

/// Rules of serde that turn all variants of an enum into its values.
type Rule = (&'static str, fn(&str) -> String);
const RULES: [Rule; 6] = [
    ("none", str::to_owned),
    ("lowercase", str::to_lowercase),
    ("snake_case", |variant| separated(variant, '_').to_lowercase()),
    ("kebab-case", |variant| separated(variant, '-').to_lowercase()),
    ("UPPERCASE", str::to_uppercase),
    ("SCREAMING_SNAKE_CASE", |variant| separated(variant, '_').to_uppercase()),
];

/// A variant's words, as serde cuts them: before each capital letter.
fn separated(variant: &str, separator: char) -> String {
    let mut text = String::new();
    for (at, c) in variant.char_indices() {
        if at > 0 && c.is_uppercase() {
            text.push(separator);
        }
        text.push(if c == '_' { separator } else { c });
    }
    text
}

/// Why code that nobody uses is there.
pub(crate) const UNUSED: &str = "no program uses all of a model";

/// What clippy would have named or cut otherwise.
const LINTS: &str = "clippy::enum_variant_names, clippy::large_enum_variant, clippy::should_implement_trait, \
                     clippy::too_many_arguments, clippy::type_complexity, clippy::wrong_self_convention";

const MADE_UP: &str = "The OpenAPI schema for the";

const SKIP_NONE: &str = "skip_serializing_if = \"Option::is_none\"";
