//! What callers give.

use fal_protocol::schema::{Field as Described, Schema};
use serde_json::Value;

use super::{Builder, Field, Kind, Limits, Place, Presence, Side, Ty};
use crate::names::{self, Scope};

impl Builder {
    pub(super) fn input_fields(&mut self, schema: Schema<'_>, parent: &str) -> Vec<Field> {
        let mut scope = Scope::new(&["new"]);
        let described: Vec<Described<'_>> = schema.fields().collect();
        let name = |field: &Described<'_>| scope.give([names::field(field.name)]);
        let rust_names: Vec<String> = described.iter().map(name).collect();
        let pairs = described.into_iter().zip(rust_names);
        pairs.map(|(field, name)| self.input_field(field, name, parent)).collect()
    }

    fn input_field(&mut self, field: Described<'_>, name: String, parent: &str) -> Field {
        let Described { name: wire, is_required, schema, .. } = field;
        let place = Place { side: Side::Input, parent, field: wire };
        let default = schema.default().or_else(|| schema.resolved().default()).cloned();
        let (ty, is_nullable) = match fixed_text(schema).filter(|_| is_required) {
            Some(text) => (self.fixed(text, place), false),
            None => self.ty(schema, place),
        };
        let is_fixed =
            matches!(ty, Ty::Named(item) if matches!(self.items[item].kind, Kind::Fixed(_)));
        let (ty, presence) = match (is_required, is_nullable) {
            (true, _) if is_fixed => (ty, Presence::Fixed),
            (true, true) if ty != Ty::Json => (Ty::OrNull(Box::new(ty)), Presence::Required),
            (true, _) => (ty, Presence::Required),
            // Where null is the default, it need not be said.
            (false, true) if default.as_ref().is_some_and(|default| !default.is_null()) => {
                (ty, Presence::OptionalOrNull)
            }
            (false, _) => (ty, Presence::Optional),
        };
        Field {
            wire: wire.to_owned(),
            name,
            presence,
            about: about(schema),
            default: default.filter(|default| !default.is_null() && !is_required),
            limits: limits(schema, &ty),
            is_deprecated: schema.is_deprecated(),
            ty,
        }
    }
}

/// The description, or the title where it says more than the name.
pub(super) fn about(schema: Schema<'_>) -> Option<String> {
    let text = schema.description().or_else(|| schema.resolved().description());
    text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The text of a constant.
pub(super) fn fixed_text(schema: Schema<'_>) -> Option<&str> {
    match schema.resolved().choices()? {
        [Value::String(text)] => Some(text),
        _ => None,
    }
}

/// The limits of a value, as far as its type can be held to them: those of a union's parts are the service's.
fn limits(schema: Schema<'_>, ty: &Ty) -> Limits {
    let schema = sole(schema);
    let mut limits = Limits::default();
    let ty = match ty {
        Ty::OrNull(ty) => ty,
        ty => ty,
    };
    match ty {
        Ty::Int | Ty::Float => {
            let bounds = schema.bounds();
            let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_f64);
            limits.minimum = number(&bounds.minimum);
            limits.maximum = number(&bounds.maximum);
            limits.above = number(&bounds.above);
            limits.below = number(&bounds.below);
            limits.step = number(&bounds.multiple_of).filter(|step| *step > 0.0);
            let choices = schema.choices().unwrap_or_default();
            limits.numbers = choices.iter().filter_map(Value::as_f64).collect();
        }
        Ty::Text | Ty::Upload => {
            let size = schema.length();
            limits.length = (size.min, size.max);
        }
        Ty::List(item) => {
            let size = schema.items_count();
            limits.length = (size.min, size.max);
            let of = schema.items().map(|items| self::limits(items, item));
            limits.items = of.filter(|limits| !limits.is_empty()).map(Box::new);
        }
        _ => {}
    }
    limits
}

/// The schema without its null alternative.
fn sole(schema: Schema<'_>) -> Schema<'_> {
    let schema = schema.resolved();
    let mut others = schema.alternatives().filter(|alternative| !super::is_null(*alternative));
    match (others.next(), others.next()) {
        (Some(only), None) => sole(only),
        _ => schema,
    }
}
