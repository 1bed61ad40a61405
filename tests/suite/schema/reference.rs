//! The other validator.

use serde_json::{Value, json};

/// The other validator, on a document put into its words.
pub(super) struct Reference {
    schema: Value,
    pub(super) validator: jsonschema::Validator,
}

impl Reference {
    pub(super) fn new(document: &Value) -> Self {
        let mut components = document["components"]["schemas"].clone();
        translate(&mut components);
        let root = input_schema(document);
        let mut schema = root.as_object().cloned().unwrap_or_default();
        // What is not there passes anything.
        let mut targets = Vec::new();
        references(&components, &mut targets);
        references(root, &mut targets);
        for target in targets {
            let name = target.strip_prefix("#/components/schemas/").expect("references are local");
            let components = components.as_object_mut().expect("components are named");
            components.entry(name).or_insert_with(|| json!({}));
        }
        schema.insert("components".into(), json!({"schemas": components}));
        let schema = Value::Object(schema);
        let validator = jsonschema::draft202012::new(&schema).expect("the schema is valid");
        Self { schema, validator }
    }

    pub(super) fn root(&self) -> &Value {
        &self.schema
    }
}

/// Spells out what the documents mean beyond JSON Schema: `nullable`, and tuples that became objects.
fn translate(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(translate),
        Value::Object(object) => {
            object.values_mut().for_each(translate);
            let is_tuple = object.get("items").is_some_and(|items| items.get("0").is_some());
            if is_tuple && let Some(Value::Object(items)) = object.remove("items") {
                object.insert(
                    "prefixItems".into(),
                    items.into_iter().map(|(_, item)| item).collect(),
                );
            }
            if object.get("nullable") == Some(&Value::Bool(true)) {
                object.remove("nullable");
                let inner = Value::Object(std::mem::take(object));
                object.insert("anyOf".into(), json!([inner, {"type": "null"}]));
            }
        }
        _ => {}
    }
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        _ => {}
    }
}

/// What a document says of its endpoint's input.
pub(super) fn input_schema(document: &Value) -> &Value {
    let paths = document["paths"].as_object().expect("documents have paths");
    let post = paths.values().find_map(|item| item.get("post")).expect("one path takes an input");
    &post["requestBody"]["content"]["application/json"]["schema"]
}
