use fal_conformance::vectors::Vector;
use fal_protocol::schema::{Mode, ModelSchema};
use serde_json::{Value, json};

use super::expect;

/// The input is judged as expected.
pub(super) fn run(vector: &Vector) -> Result<(), String> {
    let document = document(vector);
    let model = ModelSchema::from_value(&document).map_err(|error| error.to_string())?;
    let mut body = model.validate(&vector.part("given")["input"], Mode::AsFal).to_json();
    for problem in body["detail"].as_array_mut().into_iter().flatten() {
        problem.as_object_mut().expect("a problem is an object").remove("url");
    }
    expect(vector.part("expect"), "detail", body["detail"].take())
}

/// A document whose input is the vector's.
pub(crate) fn document(vector: &Vector) -> Value {
    let given = vector.part("given");
    let mut components = match &given["components"] {
        Value::Null => json!({}),
        components => components.clone(),
    };
    components["Input"] = given["schema"].clone();
    json!({
        "paths": {"/acme/test": {"post": {"requestBody": {"content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/Input"}
        }}}}}},
        "components": {"schemas": components}
    })
}
