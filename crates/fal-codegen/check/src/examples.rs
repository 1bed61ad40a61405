//! Values that a document says are right: each example of it, inside the smallest value that may hold it.

use fal_protocol::schema::{Mode, ModelSchema, Rest, Schema, Types};
use serde_json::{Map, Value, json};

/// One example, and where it stands in the document.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Example {
    /// Such as `input.loras[].scale #1`.
    pub place: String,
    /// The whole input or output around it.
    pub value: Value,
    /// Whether the whole value fits its schema.
    pub is_fit: bool,
}

/// Every example of what a model takes.
#[must_use]
pub fn of_input(model: &ModelSchema) -> Vec<Example> {
    of_root(model.input(), "input")
}

/// Every example of what a model gives.
#[must_use]
pub fn of_output(model: &ModelSchema) -> Vec<Example> {
    of_root(model.output(), "output")
}

fn of_root(schema: Schema<'_>, place: &str) -> Vec<Example> {
    // The smallest value is an example too.
    let smallest = minimal(schema, 0);
    let mut found = vec![(place.to_owned(), smallest)];
    collect(schema, place, &|value| value, &mut found, 0);
    let example = |(place, value)| {
        let is_fit = schema.accepts(&value, Mode::Strict);
        Example { place, value, is_fit }
    };
    found.into_iter().map(example).collect()
}

/// Adds the examples in a schema; `around` puts a value of it where it belongs.
fn collect(
    schema: Schema<'_>,
    place: &str,
    around: &dyn Fn(Value) -> Value,
    found: &mut Vec<(String, Value)>,
    depth: usize,
) {
    let beside = schema.examples();
    let schema = schema.resolved();
    let examples = if beside.is_empty() { schema.examples() } else { beside };
    for (index, example) in examples.iter().enumerate() {
        found.push((format!("{place} #{index}"), around(example.clone())));
    }
    if depth >= DEPTH_MAX {
        return;
    }
    for field in schema.fields() {
        let base = minimal(schema, depth);
        let inside = |value: Value| {
            let mut object = base.clone();
            object[field.name] = value;
            around(object)
        };
        collect(field.schema, &format!("{place}.{}", field.name), &inside, found, depth + 1);
    }
    if let Some(items) = schema.items() {
        let place = format!("{place}[]");
        collect(items, &place, &|value| around(json!([value])), found, depth + 1);
    }
    if let Rest::Each(each) = schema.rest() {
        let place = format!("{place}{{}}");
        collect(each, &place, &|value| around(json!({ "name": value })), found, depth + 1);
    }
    for alternative in schema.alternatives() {
        collect(alternative, place, around, found, depth + 1);
    }
}

/// A small value that fits, as far as one can be made up.
fn minimal(schema: Schema<'_>, depth: usize) -> Value {
    let schema = schema.resolved();
    if let Some(choice) = schema.choices().and_then(|choices| choices.first()) {
        return choice.clone();
    }
    let not_null = |alternative: &Schema<'_>| alternative.resolved().types() != Types::NULL;
    if let Some(alternative) = schema.alternatives().find(not_null) {
        return minimal(alternative, depth);
    }
    let types = schema.types();
    if schema.fields().len() > 0 || types == Types::OBJECT {
        let required = schema.fields().filter(|field| field.is_required && depth < DEPTH_MAX);
        let fields = required.map(|field| {
            let given = field.schema.examples().first();
            let given =
                given.filter(|example| field.schema.accepts(example, Mode::Strict)).cloned();
            (field.name.to_owned(), given.unwrap_or_else(|| minimal(field.schema, depth + 1)))
        });
        return Value::Object(fields.collect::<Map<_, _>>());
    }
    match types {
        Types::STRING => "https://example.com/a".into(),
        Types::BOOLEAN => true.into(),
        Types::INTEGER => schema.bounds().minimum.unwrap_or_else(|| 1.into()),
        Types::NUMBER => schema.bounds().minimum.unwrap_or_else(|| 0.5.into()),
        Types::ARRAY => {
            let count = usize::try_from(schema.items_count().min).unwrap_or_default().max(1);
            let mut items: Vec<Value> =
                schema.tuple().map(|item| minimal(item, depth + 1)).collect();
            while let Some(item) = schema.items().filter(|_| items.len() < count.min(ITEMS_MAX)) {
                items.push(minimal(item, depth + 1));
            }
            items.into()
        }
        _ => Value::Null,
    }
}

const DEPTH_MAX: usize = 8;
const ITEMS_MAX: usize = 16;
