//! An input as a check sees it: whole, but for the ends of very long texts.

use std::io;

use fal_protocol::error::InputError;
use serde::Serialize;
use serde_json::Value;

/// The input as JSON, with texts of at most [`TEXT_BYTES_MAX`]: a file inside an input costs no second copy of it.
pub(super) fn outline(input: &(impl Serialize + ?Sized)) -> Result<Value, InputError> {
    let refuse = |error: serde_json::Error| InputError::Body { problem: error.to_string().into() };
    let mut short = Shortened::default();
    crate::input::preview(|| serde_json::to_writer(&mut short, input)).map_err(refuse)?;
    serde_json::from_slice(&short.json).map_err(refuse)
}

/// Takes JSON and leaves out the ends of its long texts.
#[derive(Default)]
struct Shortened {
    json: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Outside,
    /// Inside a text that began at this place.
    Text { from: usize },
    /// Inside an escape of a text that goes on for so many bytes.
    Escape { from: usize, left: u8 },
    /// Inside a text that is left out.
    Cut,
    /// After a backslash in one.
    CutEscape,
}

impl Shortened {
    fn take(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Outside, b'"') => State::Text { from: self.json.len() + 1 },
            (State::Outside, _) => State::Outside,
            (State::Text { .. } | State::Cut, b'"') => State::Outside,
            (State::Cut, b'\\') => State::CutEscape,
            (State::Cut | State::CutEscape, _) => State::Cut,
            // Not inside an escape, and not inside a character.
            (State::Text { from }, _)
                if self.json.len() - from >= TEXT_BYTES_MAX && byte & 0xc0 != 0x80 =>
            {
                if byte == b'\\' { State::CutEscape } else { State::Cut }
            }
            (State::Text { from }, b'\\') => State::Escape { from, left: 1 },
            (State::Text { from }, _) => State::Text { from },
            (State::Escape { from, left: 1 }, b'u') => State::Escape { from, left: 5 },
            (State::Escape { from, left: 1 }, _) => State::Text { from },
            (State::Escape { from, left: 2 }, _) => State::Text { from },
            (State::Escape { from, left }, _) => State::Escape { from, left: left - 1 },
        };
        if !matches!(self.state, State::Cut | State::CutEscape) {
            self.json.push(byte);
        }
    }
}

impl io::Write for Shortened {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        loop {
            if matches!(self.state, State::Cut) {
                let is_mark = |byte: &u8| matches!(byte, b'"' | b'\\');
                rest = &rest[rest.iter().position(is_mark).unwrap_or(rest.len())..];
            }
            let Some((byte, others)) = rest.split_first() else { break };
            self.take(*byte);
            rest = others;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much of each text a check looks at: 256 KiB.
///
/// The longest limit of a published document is 131,072 characters, of its patterns less, so the answer is the
/// same as for the whole text; what is longer is a file in a data URI.
pub const TEXT_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_short_is_whole() {
        let value = json!({ "a": "\" \\ \u{1} ä \n", "b": [1, 2.5, null, true], "\"k\\": {} });
        assert_eq!(outline(&value).unwrap(), value);
    }

    #[test]
    fn the_limit_holds_on_both_sides_whatever_stands_there() {
        for end in ["", "x", "\\", "\"", "\u{1}", "ä", "😀", "\n", "\u{1f}x\"\\"] {
            for length in [6, 1, 0].map(|less| TEXT_BYTES_MAX - less) {
                let text = "a".repeat(length) + &end.repeat(3) + "tail";
                let value = json!({ "x": [text], "y": "after \"it\"" });
                let short = outline(&value).unwrap();
                assert_eq!(short["y"], value["y"], "{end:?} at {length}");
                let cut = short["x"][0].as_str().unwrap();
                assert!(text.starts_with(cut) || text == cut, "{end:?} at {length}");
                assert!(cut.len() <= TEXT_BYTES_MAX + 8 && cut.len() >= TEXT_BYTES_MAX - 40);
                assert_eq!(
                    cut.len() == text.len(),
                    serde_json::to_string(&text).unwrap().len() - 2 <= TEXT_BYTES_MAX,
                    "{end:?} at {length}"
                );
            }
        }
    }

    #[test]
    fn memory_does_not_grow_with_a_file() {
        let value =
            json!({ "url": format!("data:image/png;base64,{}", "A".repeat(4 << 20)), "n": 1 });
        let mut short = Shortened::default();
        serde_json::to_writer(&mut short, &value).unwrap();
        assert!(short.json.capacity() <= 4 * TEXT_BYTES_MAX, "{}", short.json.capacity());
        assert_eq!(outline(&value).unwrap()["n"], 1);
    }
}
