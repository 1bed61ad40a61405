use proptest::prelude::*;

use super::*;

/// Decodes `chunks` and renders each item, so that a failure shows what differs.
fn decode<'a>(
    limits: Limits,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<String>, Decoder) {
    let mut decoder = Decoder::new(limits);
    let mut items = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(item) = decoder.next_event() {
            items.push(match item {
                Ok(Item::Comment) => ":".to_owned(),
                Ok(Item::Event(event)) => {
                    render(&event.data, event.name.as_ref(), event.id.as_ref())
                }
                Err(error) => format!("{error:?}"),
            });
        }
    }
    (items, decoder)
}

fn render(data: &Text, name: Option<&Text>, id: Option<&Text>) -> String {
    let part = |mark: &str, text: Option<&Text>| {
        text.map_or_else(String::new, |text| format!("{mark}{}", text.to_str().escape_debug()))
    };
    format!("{}{}{}", data.to_str().escape_debug(), part("@", name), part("#", id))
}

/// Whole, byte by byte, split at every offset, and with bytes behind it.
#[track_caller]
fn check(stream: impl AsRef<[u8]>, expected: &[&str]) {
    let stream = stream.as_ref();
    let whole = decode(Limits::default(), [stream]);
    assert_eq!(whole.0, expected, "whole");
    let bytewise = decode(Limits::default(), stream.chunks(1));
    assert_eq!(bytewise.0, expected, "byte by byte");
    assert_eq!(bytewise.1.is_mid_event(), whole.1.is_mid_event());
    for at in 0..=stream.len() {
        let (left, right) = stream.split_at(at);
        let split = decode(Limits::default(), [left, b"", right]);
        assert_eq!(split.0, expected, "split at {at}");
        assert_eq!(split.1.is_mid_event(), whole.1.is_mid_event(), "split at {at}");
        assert_eq!(split.1.last_event_id(), whole.1.last_event_id(), "split at {at}");
        assert_eq!(split.1.retry(), whole.1.retry(), "split at {at}");
    }
    let mut longer = stream.to_vec();
    longer.extend_from_slice(b"\n\ndata: behind\n\n");
    let items = decode(Limits::default(), [&longer[..]]).0;
    assert!(items.starts_with(&whole.0) && items.last().unwrap().contains("behind"), "{items:?}");
}

#[test]
fn every_line_end_ends_a_line() {
    for end in ["\n", "\r", "\r\n"] {
        let stream = "data: a\n\ndata: b\ndata: c\n: ping\n\n".replace('\n', end);
        check(stream, &["a", ":", "b\\nc"]);
    }
    check("data: a\r\n\ndata: b\n\r\n", &["a", "b"]);
}

#[test]
fn fields_follow_the_standard() {
    check("event: add\nid: 7\ndata: x\n\ndata: y\n\n", &["x@add#7", "y"]);
    check(
        "data:x\n\ndata:  two spaces\n\ndata\n\ndata:\ndata:\n\n",
        &["x", " two spaces", "", "\\n"],
    );
    check("event: lost\n\ndata: x\n\n", &["x"]);
    check("event: a\nevent:\ndata: x\n\n", &["x"]);
    check("unknown: 1\nDATA: 2\n data: 3\ndata: 4\nfoo\n\n", &["4"]);
    check(
        "id: a\0b\ndata: nul in an id\n\ndata: nul\0in data\n\n",
        &["nul in an id", "nul\\0in data"],
    );
    check("data: a:b: c\n\n", &["a:b: c"]);
    check(": one\n:two\n:\n\n", &[":", ":", ":"]);
    check("data: a\n: between\ndata: b\n\n", &[":", "a\\nb"]);
    check("\n\n\n", &[]);
}

#[test]
fn byte_order_mark_is_dropped_once_and_only_first() {
    check("\u{feff}data: x\n\ndata: y\n\n", &["x", "y"]);
    check("\u{feff}: c\n\n", &[":"]);
    check("\u{feff}\u{feff}data: x\n\ndata: y\n\n", &["y"]);
    check("data: x\n\n\u{feff}data: y\n\n", &["x"]);
}

#[test]
fn characters_survive_any_cut_and_bad_bytes_are_replaced() {
    check("data: grüße 🦀 \u{2028}\n\n", &["grüße 🦀 \\u{2028}"]);
    check(b"data: \xff\xf0\x9f\n\ndata: ok\n\n", &["\u{fffd}\u{fffd}", "ok"]);
}

#[test]
fn unterminated_event_is_dropped_but_visible() {
    for (stream, is_mid_event) in [
        ("", false),
        ("data: x\n\n", false),
        ("data: x\n\n: ping", false),
        ("data: x\n\n: ping\n", false),
        ("data: x", true),
        ("data: x\n", true),
        ("data: x\r", true),
        ("event: x\n", true),
        ("data: x\n\nd", true),
    ] {
        let (_, decoder) = decode(Limits::default(), [stream.as_bytes()]);
        assert_eq!(decoder.is_mid_event(), is_mid_event, "{stream:?}");
    }
    check("data: x\n\ndata: cut\n", &["x"]);
}

#[test]
fn reconnect_values_persist() {
    let after = |stream: &str| decode(Limits::default(), [stream.as_bytes()]).1;
    let decoder = after("id: 1\nretry: 2500\ndata: x\n\ndata: y\n\nid: open\n");
    assert_eq!(decoder.last_event_id(), Some(&b"1"[..]));
    assert_eq!(decoder.retry(), Some(Duration::from_millis(2500)));
    assert_eq!(after("id: 1\n\n").last_event_id(), Some(&b"1"[..]), "even without data");
    assert_eq!(
        after("id: 1\ndata: x\n\nid\n\n").last_event_id(),
        Some(&b""[..]),
        "reset by an empty one"
    );
    for bad in ["", "-1", "+1", "1.5", "1s", "99999999999999999999"] {
        assert_eq!(
            after(&format!("retry: 7\nretry: {bad}\n")).retry(),
            Some(Duration::from_millis(7))
        );
    }
}

#[test]
fn event_in_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b": c\n\ndata: first\n\nevent: e\ndata: second\n\n");
    let mut decoder = Decoder::default();
    decoder.push(chunk.clone());
    let range = chunk.as_ptr_range();
    while let Some(item) = decoder.next_event() {
        if let Item::Event(event) = item.unwrap() {
            assert!(range.contains(&event.data.as_bytes().as_ptr()));
        }
    }
}

#[test]
fn limits_hold_on_both_sides_in_any_chunking() {
    let limits = Limits::default().with_event_bytes_max(10).with_field_bytes_max(12);
    let too_long = format!("{:?}", SseError::EventTooLong { bytes_max: 10 });
    let field_too_long = format!("{:?}", SseError::FieldTooLong { bytes_max: 12 });
    for (stream, expected) in [
        ("data: 0123456789\n\n", "0123456789"),
        ("data: 0123456789X\n\n", &too_long),
        ("data: 0123456789X", &too_long),
        ("data: 01234\ndata: 6789\n\n", "01234\\n6789"),
        ("data: 01234\ndata: 6789X\n\n", &too_long),
        ("data: 0123456789\ndata\n\n", &too_long),
        (": 0123456789\n", ":"),
        (": 0123456789X\n", &field_too_long),
        (": 0123456789X", &field_too_long),
        ("event: 01234\ndata: x\n\n", "x@01234"),
        ("event: 012345\ndata: x\n\n", &field_too_long),
    ] {
        for prefix in ["", "\u{feff}", "data: y\n\n"] {
            let stream = format!("{prefix}{stream}");
            let whole = decode(limits, [stream.as_bytes()]).0;
            assert_eq!(whole.last().map(String::as_str), Some(expected), "{stream:?}");
            assert_eq!(
                decode(limits, stream.as_bytes().chunks(1)).0,
                whole,
                "{stream:?} byte by byte"
            );
        }
    }
}

#[test]
fn failed_decoder_is_inert_and_keeps_nothing() {
    let mut decoder = Decoder::new(Limits::default().with_event_bytes_max(1000));
    let mut errors = 0;
    for _ in 0..10_000 {
        decoder.push(Bytes::from_static(b"data: x"));
        while let Some(item) = decoder.next_event() {
            errors += usize::from(item.is_err());
        }
        assert!(decoder.line.bytes.capacity() <= 2100 && decoder.queue.is_empty());
    }
    assert_eq!(errors, 1);
    assert!(!decoder.is_mid_event());
}

#[test]
fn chunks_may_be_pushed_ahead() {
    let mut decoder = Decoder::default();
    for chunk in ["da", "ta: a", "\n", "\nda", "ta: b\n\n"] {
        decoder.push(chunk.into());
    }
    let items: Vec<Item> =
        std::iter::from_fn(|| decoder.next_event()).map(Result::unwrap).collect();
    let [Item::Event(a), Item::Event(b)] = &items[..] else { panic!("{items:?}") };
    assert!(a.data == "a" && b.data == "b");
}

/// The standard's algorithm, line by line over the whole stream.
fn reference(stream: &[u8]) -> Vec<String> {
    let stream = stream.strip_prefix(BOM).unwrap_or(stream);
    let mut lines = vec![Vec::new()];
    let mut bytes = stream.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if(|next| **next == b'\n');
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            other => lines.last_mut().unwrap().push(*other),
        }
    }
    lines.pop();
    let (mut items, mut data, mut name, mut id) = (Vec::new(), Vec::new(), None, None);
    for line in lines {
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(0) => {
                items.push(":".to_owned());
                continue;
            }
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = Text(Bytes::copy_from_slice(value));
        match field {
            b"" => {
                let (data, name, id) = (std::mem::take(&mut data), name.take(), id.take());
                if let Some(data) = data.strip_suffix(b"\n") {
                    let data = Text(Bytes::copy_from_slice(data));
                    items.push(render(&data, name.as_ref(), id.as_ref()));
                }
            }
            b"data" => data.extend(value.iter().chain(b"\n")),
            b"event" => name = Some(text).filter(|name| !name.is_empty()),
            b"id" if !value.contains(&0) => id = Some(text),
            _ => {}
        }
    }
    items
}

/// Streams of mostly meaningful pieces, so that every branch is met often.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec!["data:", "data: ", "data", "event: ", "event:", "id: ", "id:", ":", " ", "retry: 5"]).prop_map(|s| s.as_bytes().to_vec()),
        6 => prop::sample::select(vec!["\n", "\n\n", "\r", "\r\n", "\r\n\r\n"]).prop_map(|s| s.as_bytes().to_vec()),
        3 => "[a-z:é🦀\\x00]{0,6}".prop_map(String::into_bytes),
        1 => Just(BOM.to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn cut<'a>(stream: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, tail) = rest.split_at((*size).min(rest.len()));
        chunks.push(chunk);
        rest = tail;
    }
    chunks
}

proptest! {
    #[test]
    fn any_chunking_agrees_with_the_standard(
        stream in streams(),
        sizes in prop::collection::vec(1_usize..20, 1..8),
    ) {
        let expected = reference(&stream);
        prop_assert_eq!(&decode(Limits::default(), [&stream[..]]).0, &expected);
        prop_assert_eq!(&decode(Limits::default(), cut(&stream, &sizes)).0, &expected);
    }

    #[test]
    fn limits_do_not_depend_on_chunking(
        stream in streams(),
        sizes in prop::collection::vec(1_usize..20, 1..8),
        event_bytes_max in 0_usize..12,
        field_bytes_max in 0_usize..16,
    ) {
        let limits = Limits { event_bytes_max, field_bytes_max };
        let (whole, _) = decode(limits, [&stream[..]]);
        let (pieces, decoder) = decode(limits, cut(&stream, &sizes));
        prop_assert_eq!(whole, pieces);
        prop_assert!(decoder.line.bytes.len() <= event_bytes_max.max(field_bytes_max) + 20);
    }
}
