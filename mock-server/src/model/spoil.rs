//! Answers that are not what they should be.

use bytes::Bytes;
use serde_json::Value;

/// A body that begins like the JSON that it was and is none; `None` if it was none before.
pub(super) fn corrupt(body: &[u8], draw: u64) -> Option<Bytes> {
    serde_json::from_slice::<&serde_json::value::RawValue>(body).ok()?;
    let text = body.trim_ascii_end();
    let mut bad = match draw % 3 {
        // Cut short, a bracket too many, and a comma that nothing follows.
        0 => text[..text.len() - 1].to_vec(),
        1 => [text, b"}"].concat(),
        _ => [&text[..text.len() - 1], b",", &text[text.len() - 1..]].concat(),
    };
    // A number that was cut is another number.
    if serde_json::from_slice::<&serde_json::value::RawValue>(&bad).is_ok() {
        bad.push(b'}');
    }
    Some(bad.into())
}

/// The body with one value of another type: the one at `pointer`, or one by chance. `None` if there is none.
pub(super) fn retype(body: &[u8], pointer: Option<&str>, draw: u64) -> Option<Bytes> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    let target = match pointer {
        Some(pointer) => value.pointer_mut(pointer)?,
        None => {
            let count = count(&value);
            let mut at = draw % count.max(1);
            find(&mut value, &mut at)?
        }
    };
    *target = match target.take() {
        Value::Null => Value::from(0),
        Value::Bool(value) => Value::from(value.to_string()),
        Value::Number(number) => Value::from(number.to_string()),
        Value::String(_) => Value::from(draw % 1000),
        Value::Array(mut list) => match list.is_empty() {
            true => Value::from("[]"),
            false => list.swap_remove(0),
        },
        Value::Object(map) => Value::Array(map.into_iter().map(|(_, value)| value).collect()),
    };
    Some(value.to_string().into())
}

/// How many values have no others in them.
fn count(value: &Value) -> u64 {
    match value {
        Value::Array(list) if !list.is_empty() => list.iter().map(count).sum(),
        Value::Object(map) if !map.is_empty() => map.values().map(count).sum(),
        _ => 1,
    }
}

fn find<'a>(value: &'a mut Value, at: &mut u64) -> Option<&'a mut Value> {
    let is_leaf = match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => true,
    };
    if is_leaf {
        let left = at.checked_sub(1);
        *at = left.unwrap_or_default();
        return left.is_none().then_some(value);
    }
    match value {
        Value::Array(list) => list.iter_mut().find_map(|value| find(value, at)),
        Value::Object(map) => map.values_mut().find_map(|value| find(value, at)),
        _ => None,
    }
}

/// The same for an event of a stream.
pub(super) fn in_event(event: &[u8], spoil: impl FnOnce(&[u8]) -> Option<Bytes>) -> Option<Bytes> {
    let data = event.strip_prefix(b"data: ")?.strip_suffix(b"\n\n")?;
    Some([b"data: ", &spoil(data)?[..], b"\n\n"].concat().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn body() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\]{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_corrupt_is_no_json(value in body(), draw: u64) {
            let bad = corrupt(value.to_string().as_bytes(), draw).unwrap();
            prop_assert!(serde_json::from_slice::<Value>(&bad).is_err(), "{:?}", bad);
        }

        #[test]
        fn what_is_retyped_is_other_json(value in body(), draw: u64) {
            let bytes = retype(value.to_string().as_bytes(), None, draw).unwrap();
            let other: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_ne!(other, value);
        }
    }

    #[test]
    fn pointers_say_what_is_retyped() {
        let body = json!({"a": [1, {"b": "x"}]}).to_string();
        let at = |pointer| {
            let bytes = retype(body.as_bytes(), Some(pointer), 7)?;
            serde_json::from_slice::<Value>(&bytes).ok()
        };
        assert_eq!(at("/a/1/b"), Some(json!({"a": [1, {"b": 7}]})));
        assert_eq!(at("/a/0"), Some(json!({"a": ["1", {"b": "x"}]})));
        assert_eq!(at("/a"), Some(json!({"a": 1})));
        assert_eq!(at("/c"), None);
        assert_eq!(retype(b"<html>", None, 0), None);
        assert_eq!(corrupt(b"<html>", 0), None);
        let event = in_event(b"data: {\"a\":1}\n\n", |data| retype(data, None, 0)).unwrap();
        assert_eq!(event, "data: {\"a\":\"1\"}\n\n");
        assert_eq!(in_event(b": keep-alive\n\n", |_| None), None);
    }
}
