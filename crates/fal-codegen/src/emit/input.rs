//! Types that callers build.

use std::fmt::Write as _;

use super::{Emitter, SKIP_NONE, attribute};
use crate::docs::{Docs, allowed, one_line, value};
use crate::names;
use crate::shape::{Enum, Field, Item, Limits, Presence, Ty};

impl Emitter<'_> {
    pub(super) fn input_struct(&self, code: &mut String, at: usize, item: &Item, fields: &[Field]) {
        let needs_nothing = !fields.iter().any(|field| field.presence == Presence::Required);
        let default = if needs_nothing { "Default, " } else { "" };
        self.derive(code, &self.item_docs(at, item), &format!("Clone, Debug, {default}PartialEq"));
        let name = &item.name;
        _ = writeln!(code, "{MUST_USE}pub struct {name} {{");
        for field in fields {
            let mut serde = self.rename(field);
            match field.presence {
                Presence::OptionalOrNull => {
                    serde.push("default, deserialize_with = \"stated\"".to_owned());
                    serde.push(SKIP_NONE.to_owned());
                }
                Presence::Optional => serde.push(SKIP_NONE.to_owned()),
                Presence::Required | Presence::Fixed | Presence::OrEmpty => {}
            }
            let (name, ty) = (names::escaped(&field.name), self.field_type(field));
            _ = writeln!(code, "{}{name}: {ty},", attribute(&serde));
        }
        _ = writeln!(code, "}}\nimpl {name} {{");
        self.constructor(code, fields, needs_nothing);
        let mut taken: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        for field in fields {
            self.setter(code, field, &mut taken);
        }
        code.push_str("}\n");
        if self.limited[at] && at != self.endpoint.input {
            _ = writeln!(
                code,
                "impl Check for {name} {{ fn check(&self) -> Result<(), InputError> {{ {} Ok(()) }} }}",
                self.checks(fields)
            );
        }
    }

    fn constructor(&self, code: &mut String, fields: &[Field], needs_nothing: bool) {
        if needs_nothing {
            let docs =
                Docs::default().paragraph("Nothing set: the service fills in what it needs.");
            _ = writeln!(code, "{}pub fn new() -> Self {{ Self::default() }}", docs.attributes());
            return;
        }
        let required: Vec<&Field> =
            fields.iter().filter(|field| field.presence == Presence::Required).collect();
        let items: Vec<String> = required.iter().map(|field| self.argument_docs(field)).collect();
        let docs = Docs::default().paragraph("With what must be given:").list(&items);
        let arguments: Vec<String> = required
            .iter()
            .map(|field| format!("{}: {}", names::escaped(&field.name), self.argument(&field.ty)))
            .collect();
        _ = writeln!(
            code,
            "{}pub fn new({}) -> Self {{ Self {{",
            docs.attributes(),
            arguments.join(", ")
        );
        for field in fields {
            let name = names::escaped(&field.name);
            _ = match field.presence {
                Presence::Required => match self.converted(&field.ty, &name) {
                    same if same == name => writeln!(code, "{name},"),
                    value => writeln!(code, "{name}: {value},"),
                },
                Presence::Fixed => writeln!(code, "{name}: Default::default(),"),
                _ => writeln!(code, "{name}: None,"),
            };
        }
        code.push_str("} }\n");
    }

    fn argument_docs(&self, field: &Field) -> String {
        let about = one_line(self.about(field.about.as_deref()).unwrap_or_default());
        let mut text = format!("`{}`", field.name);
        for part in [about, self.facts(field)] {
            if !part.is_empty() {
                text.push_str(if text.ends_with('`') { ": " } else { " " });
                text.push_str(&part);
            }
        }
        text
    }

    fn setter(&self, code: &mut String, field: &Field, taken: &mut Vec<&str>) {
        if !matches!(field.presence, Presence::Optional | Presence::OptionalOrNull) {
            return;
        }
        let name = names::escaped(&field.name);
        let fallback = format!("Sets `{}`.", field.wire);
        let docs = self.docs_or(field.about.as_deref(), &fallback).paragraph(&self.facts(field));
        let deprecated = match field.is_deprecated {
            true => "#[deprecated(note = \"the model's author advises against it\")]\n",
            false => "",
        };
        let (argument, value) = (self.argument(&field.ty), self.converted(&field.ty, &name));
        let value = match field.presence {
            Presence::OptionalOrNull => format!("Some({value})"),
            _ => value,
        };
        _ = writeln!(
            code,
            "{}{deprecated}pub fn {name}(mut self, {name}: {argument}) -> Self {{ \
             self.{name} = Some({value}); self }}",
            docs.attributes()
        );
        let without = format!("without_{}", field.name);
        if field.presence == Presence::OptionalOrNull && !taken.contains(&without.as_str()) {
            let text = format!("Sets `{}` to null, which is not its default.", field.wire);
            _ = writeln!(
                code,
                "{}{deprecated}pub fn {without}(mut self) -> Self {{ self.{name} = Some(None); self }}",
                Docs::default().paragraph(&text).attributes()
            );
        }
    }

    /// Default and limits, in words.
    fn facts(&self, field: &Field) -> String {
        let mut facts = Vec::new();
        facts.extend(
            field.default.as_ref().and_then(value).map(|value| format!("Default: {value}.")),
        );
        let of = match &field.ty {
            Ty::OrNull(ty) => ty,
            ty => ty,
        };
        let text = allowed(&field.limits, matches!(of, Ty::Text | Ty::Upload));
        if !text.is_empty() {
            facts.push(format!("Allowed: {text}."));
        }
        if let (Some(limits), Ty::List(item)) = (&field.limits.items, of) {
            let text = allowed(limits, matches!(**item, Ty::Text | Ty::Upload));
            facts.push(format!("Allowed in it: {text}."));
        }
        facts.join(" ")
    }

    /// The type of an argument, as wide as the field can take.
    fn argument(&self, ty: &Ty) -> String {
        match ty {
            Ty::Text => "impl Into<String>".to_owned(),
            Ty::Upload => "impl Into<FileOrUrl>".to_owned(),
            Ty::Json => "impl Into<Value>".to_owned(),
            Ty::List(item) => format!("impl IntoIterator<Item = {}>", self.argument_inside(item)),
            Ty::Map(each) => {
                format!(
                    "impl IntoIterator<Item = (impl Into<String>, {})>",
                    self.argument_inside(each)
                )
            }
            Ty::Boxed(_) => format!("impl Into<{}>", self.ty(ty)),
            ty => self.ty(ty),
        }
    }

    fn argument_inside(&self, ty: &Ty) -> String {
        match ty {
            Ty::Text | Ty::Upload | Ty::Json => self.argument(ty),
            ty => self.ty(ty),
        }
    }

    fn converted(&self, ty: &Ty, name: &str) -> String {
        let is_wide = |ty: &Ty| matches!(ty, Ty::Text | Ty::Upload | Ty::Json);
        match ty {
            Ty::Text | Ty::Upload | Ty::Json | Ty::Boxed(_) => format!("{name}.into()"),
            Ty::List(item) if is_wide(item) => {
                format!("{name}.into_iter().map(Into::into).collect()")
            }
            Ty::List(_) => format!("{name}.into_iter().collect()"),
            Ty::Map(each) => {
                let each = if is_wide(each) { "value.into()" } else { "value" };
                format!("{name}.into_iter().map(|(name, value)| (name.into(), {each})).collect()")
            }
            _ => name.to_owned(),
        }
    }

    /// An input of which nothing is known.
    pub(super) fn open_input(&self, code: &mut String, item: &Item) {
        let path = format!("{}::typed::serde", self.options.client);
        let docs = self.item_docs(self.endpoint.input, item);
        let docs = docs.paragraph("The document does not say what is in it.");
        let name = &item.name;
        _ = writeln!(
            code,
            "{}#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]\n\
             #[serde(crate = {path:?}, transparent)]\n#[non_exhaustive]\n{MUST_USE}pub struct {name}(pub Value);\n\
             impl {name} {{ {}pub fn new(input: impl Into<Value>) -> Self {{ Self(input.into()) }} }}",
            docs.attributes(),
            Docs::default().paragraph("With any JSON.").attributes(),
        );
    }

    /// What makes the input a call.
    pub(super) fn endpoint_impl(&self, code: &mut String, item: &Item) {
        let (id, name) = (self.endpoint.id.as_str(), &item.name);
        let output = &self.endpoint.items[self.endpoint.output].name;
        _ = writeln!(
            code,
            "impl Endpoint for {name} {{ type Output = {output}; const ID: &'static str = {id:?};"
        );
        if let crate::shape::Kind::Struct(fields) = &item.kind
            && self.limited[self.endpoint.input]
        {
            _ = writeln!(
                code,
                "fn check(&self) -> Result<(), InputError> {{ {} Ok(()) }}",
                self.checks(fields)
            );
        }
        code.push_str("}\n");
    }

    pub(super) fn check_of_enum(&self, code: &mut String, item: &Item, kind: &Enum) {
        let name = &item.name;
        _ = writeln!(
            code,
            "impl Check for {name} {{ fn check(&self) -> Result<(), InputError> {{ match self {{"
        );
        for (variant, _) in kind.holders.iter().filter(|(_, ty)| self.holds_limited(ty)) {
            _ = writeln!(code, "Self::{variant}(value) => value.check(),");
        }
        code.push_str("_ => Ok(()), } } }\n");
    }

    /// Statements that refuse what is not allowed.
    fn checks(&self, fields: &[Field]) -> String {
        let mut code = String::new();
        for field in fields {
            let at = format!("{:?}, &self.{}", field.wire, names::escaped(&field.name));
            let limits = &field.limits;
            check_limits(&mut code, &at, limits, "");
            if let Some(limits) = &limits.items {
                check_limits(&mut code, &at, limits, "each_");
            }
            if self.holds_limited(&field.ty) {
                _ = writeln!(code, "limits::inside({at})?;");
            }
        }
        code
    }
}

fn check_limits(code: &mut String, at: &str, limits: &Limits, each: &str) {
    if !limits.numbers.is_empty() {
        _ = writeln!(code, "limits::one_of({at}, &{:?})?;", limits.numbers);
    }
    if limits.has_range() {
        let mut range = "Range::NONE".to_owned();
        let bounds = [
            ("min", limits.minimum),
            ("max", limits.maximum),
            ("above", limits.above),
            ("below", limits.below),
            ("step", limits.step),
        ];
        for (name, bound) in bounds {
            if let Some(bound) = bound {
                _ = write!(range, ".{name}({bound:?})");
            }
        }
        _ = writeln!(code, "limits::range({at}, {range})?;");
    }
    if limits.has_length() {
        let (min, max) = limits.length;
        _ = writeln!(code, "limits::{each}length({at}, {min}, {max:?})?;");
    }
}

const MUST_USE: &str = "#[must_use = \"an input does nothing until it is run\"]\n";
