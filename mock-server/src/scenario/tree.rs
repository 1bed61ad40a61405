//! YAML as a tree of values that know where they stand. JSON is read by the same parser.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use super::problem::{Place, Problem, Span};

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) data: Data,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and its place.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: Box<str>,
    pub(crate) span: Span,
}

impl Node {
    /// The same without places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(number) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.to_string()),
            Data::List(list) => list.iter().map(Self::to_json).collect(),
            Data::Map(map) => {
                let entry = |(key, node): &(Key, Self)| (key.text.to_string(), node.to_json());
                Value::Object(map.iter().map(entry).collect::<Map<_, _>>())
            }
        }
    }

    /// What it is, in a sentence.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "true or false",
            Data::Number(_) => "a number",
            Data::Text(_) => "a text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }
}

/// Reads one document. What is wrong with its form ends the reading; twice the same key does not.
pub(crate) fn parse(source: &str) -> Result<Node, Vec<Problem>> {
    if source.len() > SCENARIO_BYTES_MAX {
        let message = format!("a scenario is at most {SCENARIO_BYTES_MAX} bytes long");
        return Err(vec![Problem::new(START, String::new(), message)]);
    }
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let (source, joined) = join_surrogates(source);
    let place = |marker: &Marker| {
        let (line, column) = (marker.line(), marker.col() + 1);
        let before = |at: &&Place| at.line == line && at.column < column;
        Place { line, column: column + JOINED_CHARS * joined.iter().filter(before).count() }
    };
    let mut builder = Builder::default();
    for event in Parser::new_from_str(&source) {
        let (event, span) = event.map_err(|error| {
            let place = place(error.marker());
            let message = format!("this is no YAML: {}", error.info());
            vec![Problem::new(Span { start: place, end: place }, String::new(), message)]
        })?;
        let span = Span { start: place(&span.start), end: place(&span.end) };
        if let Err(message) = builder.take(event, span) {
            builder.problems.push(Problem::new(span, String::new(), message));
            return Err(builder.problems);
        }
    }
    match builder.root {
        Some(root) if builder.problems.is_empty() => Ok(root),
        Some(_) => Err(builder.problems),
        None => Ok(Node { span: START, data: Data::Null }),
    }
}

/// JSON writes characters beyond the first 65,536 as two escapes, which YAML does not read: they become one. Also
/// tells where, because what follows in those lines moves by [`JOINED_CHARS`] to the left.
fn join_surrogates(source: &str) -> (Cow<'_, str>, Vec<Place>) {
    if !source.trim_start().starts_with(['{', '[']) || !source.contains("\\u") {
        return (Cow::Borrowed(source), Vec::new());
    }
    let unit = |text: &str, range: std::ops::RangeInclusive<u32>| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok().filter(|unit| range.contains(unit))
    };
    let mut out = String::with_capacity(source.len());
    let mut places = Vec::new();
    let (mut line, mut column, mut rest) = (1, 1, source);
    while let Some(c) = rest.chars().next() {
        let high = unit(rest, 0xD800..=0xDBFF);
        let low = high.and_then(|_| unit(&rest[6..], 0xDC00..=0xDFFF));
        if let (Some(high), Some(low)) = (high, low) {
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            let _ = write!(out, "\\U{code:08X}");
            column += "\\U00010000".len();
            places.push(Place { line, column: column - 1 });
            rest = &rest[12..];
            continue;
        }
        // An escaped backslash begins no other escape.
        let end = if c == '\\' {
            1 + rest[1..].chars().next().map_or(0, char::len_utf8)
        } else {
            c.len_utf8()
        };
        out.push_str(&rest[..end]);
        match c {
            '\n' => (line, column) = (line + 1, 1),
            _ => column += rest[..end].chars().count(),
        }
        rest = &rest[end..];
    }
    (Cow::Owned(out), places)
}

/// By how many characters two escapes are longer than one.
const JOINED_CHARS: usize = 2;

/// Puts events together.
#[derive(Default)]
struct Builder {
    /// What is open, outermost first, with the number of its anchor (0 if it has none).
    open: Vec<(Node, usize, Option<Key>)>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Node>,
    /// Values so far, those of aliases counted each time.
    nodes: usize,
    documents: usize,
    problems: Vec<Problem>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("a file has one scenario: take out the second document".into());
                }
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err("this alias names something that it is itself a part of".into());
                };
                self.count(size(&node))?;
                self.check_depth(depth(&node))?;
                self.put(Node { span, ..node }, span)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = match tag.as_deref() {
                    None => style != ScalarStyle::Plain,
                    Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
                    Some(tag) => return Err(format!("the tag {tag} means nothing here")),
                };
                self.count(1)?;
                let data = if is_text { Data::Text(text.into()) } else { plain(&text)? };
                let node = Node { span, data };
                if anchor > 0 {
                    self.anchors.insert(anchor, node.clone());
                }
                self.put(node, span)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(Data::List(Vec::new()), anchor, tag.is_some(), span)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(Data::Map(Vec::new()), anchor, tag.is_some(), span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((mut node, anchor, _)) = self.open.pop() else { return Ok(()) };
                node.span.end = span.end;
                if anchor > 0 {
                    self.anchors.insert(anchor, node.clone());
                }
                let span = node.span;
                self.put(node, span)?;
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        data: Data,
        anchor: usize,
        is_tagged: bool,
        span: Span,
    ) -> Result<(), String> {
        if is_tagged {
            return Err("tags of lists and maps mean nothing here".into());
        }
        self.check_depth(1)?;
        self.count(1)?;
        self.open.push((Node { span, data }, anchor, None));
        Ok(())
    }

    /// Whether so many levels more are allowed here.
    fn check_depth(&self, more: usize) -> Result<(), String> {
        match self.open.len() + more > DEPTH_MAX {
            true => Err(format!("nothing is nested deeper than {DEPTH_MAX} levels")),
            false => Ok(()),
        }
    }

    fn count(&mut self, more: usize) -> Result<(), String> {
        self.nodes += more;
        if self.nodes > NODES_MAX {
            return Err(format!(
                "a scenario has at most {NODES_MAX} values, aliases counted each time"
            ));
        }
        Ok(())
    }

    /// Gives a whole value to what it is a part of.
    fn put(&mut self, node: Node, span: Span) -> Result<(), String> {
        let Some((parent, _, pending)) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.data {
            Data::List(list) => list.push(node),
            Data::Map(map) => match pending.take() {
                Some(key) => {
                    if let Some((first, _)) = map.iter().find(|(other, _)| other.text == key.text) {
                        let message = format!(
                            "the key {:?} stands here twice, first in line {}",
                            key.text, first.span.start.line
                        );
                        self.problems.push(Problem::new(key.span, String::new(), message));
                    } else {
                        map.push((key, node));
                    }
                }
                None => {
                    let text = match node.data {
                        Data::Text(text) => text,
                        Data::Null => "null".into(),
                        Data::Bool(value) => value.to_string().into(),
                        Data::Number(number) => number.to_string().into(),
                        Data::List(_) | Data::Map(_) => {
                            return Err("a key is a text, not a list or a map".into());
                        }
                    };
                    *pending = Some(Key { text, span });
                }
            },
            _ => unreachable!("only lists and maps are opened"),
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.data {
        Data::List(list) => list.iter().map(size).sum(),
        Data::Map(map) => map.iter().map(|(_, node)| size(node)).sum(),
        _ => 0,
    }
}

/// Levels of lists and maps.
fn depth(node: &Node) -> usize {
    match &node.data {
        Data::List(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Data::Map(map) => 1 + map.iter().map(|(_, node)| depth(node)).max().unwrap_or(0),
        _ => 0,
    }
}

/// A plain scalar by the core schema of YAML 1.2.
fn plain(text: &str) -> Result<Data, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "true" | "True" | "TRUE" => Data::Bool(true),
        "false" | "False" | "FALSE" => Data::Bool(false),
        ".inf" | "-.inf" | "+.inf" | ".Inf" | "-.Inf" | ".nan" | ".NaN" => {
            return Err("JSON knows no such number".into());
        }
        _ => match number(text) {
            Some(number) => Data::Number(number),
            None => Data::Text(text.into()),
        },
    })
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16)
            .ok()
            .filter(|_| !digits.starts_with('+'))
            .map(Into::into);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8)
            .ok()
            .filter(|_| !digits.starts_with('+'))
            .map(Into::into);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_digits(unsigned) {
        let text = text.strip_prefix('+').unwrap_or(text);
        if let Ok(number) = text.parse::<u64>() {
            return Some(number.into());
        }
        if let Ok(number) = text.parse::<i64>() {
            return Some(number.into());
        }
        return text.parse().ok().and_then(Number::from_f64);
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_number = (is_digits(whole) || whole.is_empty() && is_digits(part))
        && (is_digits(part) || part.is_empty())
        && exponent.is_none_or(|text| is_digits(text.strip_prefix(['-', '+']).unwrap_or(text)));
    is_number.then(|| text.parse().ok().and_then(Number::from_f64)).flatten()
}

const START: Span = Span { start: Place { line: 1, column: 1 }, end: Place { line: 1, column: 1 } };

/// Longest scenario file: 1 MiB.
pub const SCENARIO_BYTES_MAX: usize = 1 << 20;

/// Levels of lists and maps in a file.
pub const DEPTH_MAX: usize = 64;

/// Values in a file, those of aliases counted each time.
pub const NODES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn value(source: &str) -> Value {
        parse(source).unwrap_or_else(|problems| panic!("{source:?}: {problems:?}")).to_json()
    }

    fn problem(source: &str) -> (usize, usize, String) {
        let mut problems = parse(source).unwrap_err();
        let problem = problems.remove(0);
        (problem.line, problem.column, problem.message)
    }

    #[test]
    fn scalars_are_those_of_the_core_schema() {
        for (text, want) in [
            ("~", json!(null)),
            ("", json!(null)),
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("007", json!(7)),
            ("-3", json!(-3)),
            ("+3", json!(3)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("1.5e3", json!(1500.0)),
            (".5", json!(0.5)),
            ("1_000", json!("1_000")),
            ("18446744073709551615", json!(u64::MAX)),
            ("1e", json!("1e")),
            ("2h", json!("2h")),
            ("'5'", json!("5")),
            ("!!str 5", json!("5")),
            ("2026-01-02T03:04:05Z", json!("2026-01-02T03:04:05Z")),
        ] {
            assert_eq!(value(text), want, "{text}");
        }
    }

    #[test]
    fn anchors_are_copied_within_limits() {
        assert_eq!(value("a: &x [1, 2]\nb: *x"), json!({"a": [1, 2], "b": [1, 2]}));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let alias = format!("*a{}", level - 1);
            let items = vec![alias; 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(problem(&bomb).2.contains("100000 values"), "{:?}", problem(&bomb));
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        assert!(problem(&deep).2.contains("nested deeper"));
        assert!(parse(&("[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX))).is_ok());
        let wall = |n: usize, inner: &str| format!("{}{inner}{}", "[".repeat(n), "]".repeat(n));
        let deep = format!("a: &a {}\nb: {}", wall(40, "1"), wall(40, "*a"));
        assert!(problem(&deep).2.contains("nested deeper"));
        let long = "#".repeat(SCENARIO_BYTES_MAX + 1);
        assert!(problem(&long).2.contains("bytes long"));
        assert!(parse(&long[1..]).is_ok());
    }

    #[test]
    fn places_count_from_one() {
        assert_eq!(problem("a: 1\nb: 2\n a: 3\n").0, 3);
        let (line, column, message) = problem("é: 1\n'b': 2\na: 3\na: 4");
        assert_eq!((line, column), (4, 1), "{message}");
        assert!(message.contains("first in line 3"));
        let root = parse("rules:\n  - when: x\n").unwrap();
        let Data::Map(map) = &root.data else { panic!() };
        let Data::List(list) = &map[0].1.data else { panic!() };
        let Data::Map(rule) = &list[0].data else { panic!() };
        assert_eq!(rule[0].0.span.start, Place { line: 2, column: 5 });
        assert_eq!(rule[0].1.span.start, Place { line: 2, column: 11 });
        assert_eq!(rule[0].1.span.end, Place { line: 2, column: 12 });
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for (source, what) in [
            ("a: !thing 5", "tag"),
            ("a: !!map {}", "tags"),
            ("? [1]\n: 2", "a key is a text"),
            ("a: 1\n---\nb: 2", "one scenario"),
            ("a: .inf", "no such number"),
            ("a: &x [*x]", "a part of"),
            ("a: [1, 2", "no YAML"),
            ("a: *nowhere", "no YAML"),
        ] {
            assert!(problem(source).2.contains(what), "{source:?}: {:?}", problem(source));
        }
    }

    #[test]
    fn json_is_read_as_json() {
        let text = r#"{
	"a": "tabs \u00e9 \ud83d\ude00 \/ \" \\ \n",
	"b": [1, 2.5, -3e2, true, false, null, {}],
	"c": {"d":"x: y # z", "e" :"", "f":[]}
}"#;
        assert_eq!(value(text), serde_json::from_str::<Value>(text).unwrap());
        // What follows two escapes that became one stays where it is.
        let text = r#"{"a": "\\ud83d \ud83d\ude00\ud83d\ude00", "a": 1}"#;
        let (line, column, message) = problem(text);
        assert_eq!((line, column), (1, text.rfind("\"a\"").unwrap() + 1), "{message}");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_read_as_json(json in json(), is_pretty: bool) {
            let text = match is_pretty {
                true => serde_json::to_string_pretty(&json),
                false => serde_json::to_string(&json),
            }
            .unwrap();
            prop_assert_eq!(value(&text), json);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), yaml in "[-a-c:{}\\[\\]&*!|>'\",\n 0-9?#%]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&yaml);
        }
    }
}
