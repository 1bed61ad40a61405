//! Doc comments from the words of a model's author, and from what a document allows.

use serde_json::Value;

use crate::shape::Limits;

/// Lines of a doc comment, without the slashes.
#[derive(Debug, Default)]
pub(crate) struct Docs {
    paragraphs: Vec<Vec<String>>,
}

impl Docs {
    /// Adds a paragraph of our own words, in which Markdown means what it says.
    pub(crate) fn paragraph(mut self, text: &str) -> Self {
        if !text.is_empty() {
            self.paragraphs.push(wrapped(text, ""));
        }
        self
    }

    /// Adds the words of somebody else: Markdown, links and HTML in them are text.
    pub(crate) fn quote(mut self, text: Option<&str>) -> Self {
        let paragraphs = paragraphs(text.unwrap_or_default());
        self.paragraphs.extend(paragraphs.iter().map(|paragraph| wrapped(&escaped(paragraph), "")));
        self
    }

    /// Adds a list; items with several paragraphs become one.
    pub(crate) fn list(mut self, items: &[String]) -> Self {
        if !items.is_empty() {
            let lines = items.iter().flat_map(|item| {
                let mut lines = wrapped(item, "  ");
                if let Some(first) = lines.first_mut() {
                    *first = format!("- {first}");
                }
                lines
            });
            self.paragraphs.push(lines.collect());
        }
        self
    }

    /// The attributes that stand for the comment.
    pub(crate) fn attributes(&self) -> String {
        let lines = self.paragraphs.join(&String::new());
        lines.iter().map(|line| format!("#[doc = {:?}]\n", format!(" {line}").trim_end())).collect()
    }
}

/// Somebody's words as one line of Markdown, in which nothing but text is meant.
pub(crate) fn one_line(text: &str) -> String {
    escaped(&paragraphs(text).join(" "))
}

/// What is allowed, in words: `1 to 50`. Empty if everything is.
pub(crate) fn allowed(limits: &Limits, is_text: bool) -> String {
    let mut parts = Vec::new();
    if !limits.numbers.is_empty() {
        let numbers: Vec<String> = limits.numbers.iter().map(|number| number.to_string()).collect();
        parts.push(numbers.join(", "));
    }
    parts.extend(limits.above.map(|above| format!("more than {above}")));
    parts.extend(limits.below.map(|below| format!("less than {below}")));
    match (limits.minimum, limits.maximum) {
        (Some(min), Some(max)) => parts.push(format!("{min} to {max}")),
        (Some(min), None) => parts.push(format!("{min} or more")),
        (None, Some(max)) => parts.push(format!("{max} or less")),
        (None, None) => {}
    }
    parts.extend(limits.step.map(|step| format!("a multiple of {step}")));
    let what = if is_text { "characters" } else { "elements" };
    match limits.length {
        (0, None) => {}
        (0, Some(max)) => parts.push(format!("up to {max} {what}")),
        (min, None) => parts.push(format!("{min} or more {what}")),
        (min, Some(max)) if min == max => parts.push(format!("{min} {what}")),
        (min, Some(max)) => parts.push(format!("{min} to {max} {what}")),
    }
    parts.join(", ")
}

/// A default as code, if it is short enough to be read.
pub(crate) fn value(value: &Value) -> Option<String> {
    let text = value.to_string();
    let is_fit = text.len() <= VALUE_BYTES_MAX && !text.contains(['`', '\\']);
    is_fit.then(|| format!("`{text}`"))
}

/// Paragraphs, each in one line: at empty lines, and before each item of a list.
fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs: Vec<String> = Vec::new();
    let mut is_open = false;
    let mut left = ABOUT_CHARS_MAX;
    for line in text.lines().map(str::trim) {
        let is_item = line.starts_with(['-', '*', '+', '#', '|', '>']) || is_numbered(line);
        if line.is_empty() {
            is_open = false;
            continue;
        }
        let cut: String = line.chars().take(left).collect();
        left -= cut.chars().count();
        match paragraphs.last_mut().filter(|_| is_open && !is_item) {
            Some(paragraph) => {
                paragraph.push(' ');
                paragraph.push_str(&cut);
            }
            None => paragraphs.push(cut),
        }
        is_open = true;
        if left == 0 {
            paragraphs.last_mut().expect("there is one").push('…');
            break;
        }
    }
    paragraphs
}

fn is_numbered(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < line.len() && rest.starts_with(['.', ')'])
}

/// Text that means nothing in Markdown; addresses become links.
fn escaped(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let is_address = word.starts_with("https://") || word.starts_with("http://");
        if is_address && !word.contains(['<', '>', '`', '\\']) {
            let end = word.trim_end_matches(['.', ',', ')', ';', ':', '!', '?', '\'', '"']);
            return format!("<{end}>{}", escaped_chars(&word[end.len()..]));
        }
        escaped_chars(word)
    });
    let line = words.collect::<Vec<_>>().join(" ");
    // What begins a list or a heading; numbers need it after the digits.
    if line.starts_with(['-', '+', '#', '=']) {
        return format!("\\{line}");
    }
    if is_numbered(&line) {
        let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        return format!("{}\\{}", &line[..digits], &line[digits..]);
    }
    line
}

fn escaped_chars(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    let chars: Vec<char> = word.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        // An underscore inside a word is a letter.
        let is_inner = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric());
        let is_plain_underscore = *c == '_' && at > 0 && is_inner(at - 1) && is_inner(at + 1);
        let is_special =
            matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&');
        if is_special && !is_plain_underscore {
            text.push('\\');
        }
        if !c.is_control() {
            text.push(*c);
        }
    }
    text.replace("://", ":\\//")
}

/// Lines of a readable width; those after the first begin with `indent`.
fn wrapped(text: &str, indent: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let line = lines.last_mut().expect("there is always one");
        let is_first = line.trim().is_empty();
        if !is_first && line.chars().count() + 1 + word.chars().count() > LINE_CHARS_MAX {
            // A sign at the start of a line could begin a list.
            let guard = if starts_block(word) { "\\" } else { "" };
            lines.push(format!("{indent}{guard}{word}"));
        } else {
            if !is_first {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn starts_block(word: &str) -> bool {
    word.starts_with(['-', '+', '#', '=']) && word.chars().all(|c| !c.is_alphanumeric())
}

/// Longest text of somebody else's that is taken over.
const ABOUT_CHARS_MAX: usize = 1000;
/// Longest default that is shown.
const VALUE_BYTES_MAX: usize = 80;
const LINE_CHARS_MAX: usize = 90;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, lines: &[&str]) {
        let attributes = Docs::default().quote(Some(text)).attributes();
        let found: Vec<String> = attributes
            .lines()
            .map(|line| line.trim_start_matches("#[doc = \" ").to_owned())
            .collect();
        let found: Vec<String> =
            found.iter().map(|line| line.trim_end_matches("\"]").replace("\\\\", "\\")).collect();
        assert_eq!(found, lines, "{text}");
    }

    #[test]
    fn words_of_others_are_text() {
        check(
            "What to make.\n   It goes on.\n\nAnd on.",
            &["What to make. It goes on.", "#[doc = \"", "And on."],
        );
        check("an [image](x) of <b> and `code`", &["an \\[image\\](x) of \\<b\\> and \\`code\\`"]);
        check("snake_case but _this_ and *that*", &["snake_case but \\_this\\_ and \\*that\\*"]);
        check("see https://fal.ai/a_b. Or", &["see <https://fal.ai/a_b>. Or"]);
        check("- one\n- two", &["\\- one", "#[doc = \"", "\\- two"]);
        check("1. one", &["1\\. one"]);
        check("```\nlet a = 1;\n```", &["\\`\\`\\` let a = 1; \\`\\`\\`"]);
        check("", &[]);
    }

    #[test]
    fn long_words_are_cut_and_wrapped() {
        let text = "word ".repeat(400);
        let lines = Docs::default().quote(Some(&text)).attributes();
        assert!(lines.ends_with("…\"]\n") && lines.len() < 1300, "{lines}");
        assert!(lines.lines().all(|line| line.chars().count() < LINE_CHARS_MAX + 15));
    }

    #[test]
    fn limits_are_told() {
        let limits = Limits {
            minimum: Some(1.0),
            maximum: Some(2.5),
            step: Some(0.5),
            length: (2, Some(2)),
            ..Limits::default()
        };
        assert_eq!(allowed(&limits, true), "1 to 2.5, a multiple of 0.5, 2 characters");
        assert_eq!(allowed(&Limits::default(), true), "");
    }
}
