//! The control API as an OpenAPI document, made of the table of operations.

use serde_json::{Map, Value, json};

use super::routes::ROUTES;
use super::{Answer, BASE, Route};

/// The document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(format!("{BASE}{}", route.path)).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "fal-mock control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a test, a script or a page sees of the mock and does to it.",
        },
        "paths": paths,
        "components": { "schemas": components() },
    })
}

fn operation(route: &Route) -> Value {
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| {
            let schema = json!({ "type": "string" });
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    let tenant = (
        "tenant",
        "Whom it is about, by name. Default: whose key is in the header, else the first.",
    );
    for (name, what) in route.query.iter().chain([&tenant]) {
        let schema = json!({ "type": "string" });
        parameters
            .push(json!({ "name": name, "in": "query", "description": what, "schema": schema }));
    }
    let content = |component: &str| {
        json!({ "application/json": {
            "schema": { "$ref": format!("#/components/schemas/{component}") }
        }})
    };
    let (status, answer) = match route.answer {
        Answer::Json("MadeTenant") => {
            ("201", json!({ "description": "Made.", "content": content("MadeTenant") }))
        }
        Answer::Json(component) => {
            ("200", json!({ "description": "Done.", "content": content(component) }))
        }
        Answer::Document(kind) => {
            ("200", json!({ "description": "The document.", "content": { kind: {} } }))
        }
        Answer::Nothing => ("204", json!({ "description": "Done." })),
    };
    let problem = json!({
        "description": "It could not be done, and why.",
        "content": { "application/problem+json": {
            "schema": { "$ref": "#/components/schemas/Problem" }
        }},
    });
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": { status: answer, "default": problem },
    });
    if let Some(component) = route.body {
        operation["requestBody"] = json!({ "content": content(component) });
    }
    operation
}

/// The forms of bodies and answers.
fn components() -> Value {
    serde_json::from_str(include_str!("components.json")).expect("it is tested")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_that_is_named_is_there() {
        let document = document();
        let components = document["components"]["schemas"].as_object().unwrap();
        let text = document.to_string();
        let named = text.split("#/components/schemas/").skip(1);
        let mut used: Vec<&str> = named.map(|rest| rest.split('"').next().unwrap()).collect();
        used.sort_unstable();
        used.dedup();
        for name in &used {
            assert!(components.contains_key(*name), "{name}");
        }
        let known: Vec<&str> = components.keys().map(String::as_str).collect();
        assert_eq!(used, known, "nothing stands there that nobody uses");
    }
}
