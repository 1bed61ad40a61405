//! JSON as text: laid out for people and back, without a change of its order or its numbers.

/// Lays JSON out, two spaces for each level. `text` must be JSON.
pub(crate) fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3 / 2);
    let mut depth = 0_usize;
    let mut rest = text;
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(token) = next_token(&mut rest) {
        match token {
            "{" | "[" => {
                out.push_str(token);
                let mut ahead = rest;
                if let Some(end @ ("}" | "]")) = next_token(&mut ahead) {
                    out.push_str(end);
                    rest = ahead;
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push_str(token);
            }
            "," => {
                out.push(',');
                line(&mut out, depth);
            }
            ":" => out.push_str(": "),
            _ => out.push_str(token),
        }
    }
    out.push('\n');
    out
}

/// The same JSON without white space between its tokens.
pub(crate) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(token) = next_token(&mut rest) {
        out.push_str(token);
    }
    out
}

/// Takes the next token: a mark, a text with its quotes, or a word.
fn next_token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start_matches([' ', '\t', '\n', '\r']);
    let end = match text.as_bytes().first()? {
        b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
        b'"' => {
            let mut is_escaped = false;
            let end = text.bytes().skip(1).position(|byte| {
                let ends = byte == b'"' && !is_escaped;
                is_escaped = byte == b'\\' && !is_escaped;
                ends
            });
            end.map_or(text.len(), |end| end + 2)
        }
        _ => text
            .find(['{', '}', '[', ']', ',', ':', '"', ' ', '\t', '\n', '\r'])
            .unwrap_or(text.len()),
    };
    let (token, after) = text.split_at(end);
    *rest = after;
    Some(token)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn people_can_read_it() {
        let text = r#"{"b":[1.0,{"x":"a, \"b\": {"}],"a":{},"c":[ ]}"#;
        let want = "{\n  \"b\": [\n    1.0,\n    {\n      \"x\": \"a, \\\"b\\\": {\"\n    }\n  ],\n  \"a\": {},\n  \"c\": []\n}\n";
        assert_eq!(pretty(text), want);
        assert_eq!(
            compact(want),
            text.replace(' ', "").replace("a,\\\"b\\\":{", "a, \\\"b\\\": {")
        );
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost(value in json()) {
            let text = value.to_string();
            prop_assert_eq!(compact(&pretty(&text)), text.as_str());
            prop_assert_eq!(serde_json::from_str::<Value>(&pretty(&text)).unwrap(), value);
        }

        #[test]
        fn any_text_is_survived(text: String) {
            let _ = (pretty(&text), compact(&text));
        }
    }
}
