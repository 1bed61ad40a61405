//! JSON as it came, with other white space: numbers, order and escapes stay what the model sent.

/// On one line.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    each_token(json, |token, _| out.push_str(token));
    out
}

/// Indented by two spaces.
pub(crate) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut just_opened = false;
    each_token(json, |token, kind| {
        match kind {
            Token::Open => {
                if just_opened {
                    new_line(&mut out, depth);
                }
                out.push_str(token);
                depth += 1;
            }
            Token::Close => {
                depth = depth.saturating_sub(1);
                if !just_opened {
                    new_line(&mut out, depth);
                }
                out.push_str(token);
            }
            Token::Comma => {
                out.push_str(token);
                new_line(&mut out, depth);
            }
            Token::Colon => out.push_str(": "),
            Token::Other => {
                if just_opened {
                    new_line(&mut out, depth);
                }
                out.push_str(token);
            }
        }
        just_opened = kind == Token::Open;
    });
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    Colon,
    Other,
}

/// Calls `each` with every token of `json`, which must be JSON; white space between them is left out.
fn each_token(json: &str, mut each: impl FnMut(&str, Token)) {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let kind = match byte {
            b'{' | b'[' => Token::Open,
            b'}' | b']' => Token::Close,
            b',' => Token::Comma,
            b':' => Token::Colon,
            _ => Token::Other,
        };
        let length = match byte {
            b' ' | b'\n' | b'\r' | b'\t' => {
                at += 1;
                continue;
            }
            b'"' => string_length(&bytes[at..]),
            _ if kind != Token::Other => 1,
            _ => bytes[at..]
                .iter()
                .position(|b| b" \n\r\t,:{}[]\"".contains(b))
                .unwrap_or(bytes.len() - at),
        };
        each(&json[at..at + length], kind);
        at += length;
    }
}

/// The length of a string with both its quotes.
fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'\\' => 2,
            b'"' => return at + 1,
            _ => 1,
        };
    }
    bytes.len()
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_white_space_changes() {
        let json = "{ \"b\" :1.0,\n\"a\":[ ],\"c\":[1e400,{\"x\":\"\\\" , {\"}],\"d\":{}}";
        let expected = "{\n  \"b\": 1.0,\n  \"a\": [],\n  \"c\": [\n    1e400,\n    {\n      \
                        \"x\": \"\\\" , {\"\n    }\n  ],\n  \"d\": {}\n}";
        assert_eq!(pretty(json), expected);
        assert_eq!(
            compact(expected),
            "{\"b\":1.0,\"a\":[],\"c\":[1e400,{\"x\":\"\\\" , {\"}],\"d\":{}}"
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::hash_map("\\PC*", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_serde_json_would_write(value in any_json()) {
            let short = serde_json::to_string(&value).unwrap();
            let long = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(pretty(&short), &long[..]);
            prop_assert_eq!(compact(&long), short);
        }

        #[test]
        fn any_text_ends(text in "\\PC*") {
            pretty(&text);
            compact(&text);
        }
    }
}
