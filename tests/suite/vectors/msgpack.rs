use fal_conformance::vectors::Vector;
use fal_protocol::realtime::{Value as Tree, encode};
use fal_protocol::wire::Message;
use serde_json::{Value, json};

use super::bytes_of;

/// `given` is msgpack of this value, which survives being written again; or it is refused.
pub(super) fn run(vector: &Vector) -> Result<(), String> {
    let message = Message::Binary(bytes_of(vector.part("given")));
    let expected = vector.part("expect");
    let tree = match Tree::of(&message) {
        Ok(_) if expected["refused"] == true => return Err("it was taken".into()),
        Err(_) if expected["refused"] == true => return Ok(()),
        result => result.map_err(|error| format!("it was refused: {error}"))?,
    };
    let again = encode(&tree).map_err(|error| error.to_string())?;
    if Tree::of(&Message::Binary(again)).as_ref() != Ok(&tree) {
        return Err("it does not survive being written".into());
    }
    match expected["value"] == plain(&tree) {
        true => Ok(()),
        false => Err(format!("it is {}, expected {}", plain(&tree), expected["value"])),
    }
}

/// In the words of the vectors.
fn plain(tree: &Tree) -> Value {
    match tree {
        Tree::Bool(value) => json!(value),
        Tree::Integer(value) => {
            match i64::try_from(*value).ok().filter(|n| n.unsigned_abs() < 1 << 53) {
                Some(small) => json!(small),
                None => json!({ "$int": value.to_string() }),
            }
        }
        Tree::Float(value) => json!(value),
        Tree::Text(text) => json!(text),
        Tree::Bytes(bytes) => {
            use base64::Engine as _;
            json!({ "$bin": base64::engine::general_purpose::STANDARD.encode(bytes) })
        }
        Tree::List(items) => items.iter().map(plain).collect(),
        Tree::Map(members) => {
            members.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
        }
        _ => Value::Null,
    }
}
