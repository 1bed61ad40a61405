//! What is wrong with a scenario file: where, what, and what would be right.

use std::fmt;

use serde_json::{Value, json};

/// A place in a file. Both count from 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// From one place up to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// One thing that is wrong with a scenario file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters of that line are meant, at least 1.
    pub width: usize,
    /// The way to it inside the file, such as `rules[0].when`; empty for the file itself.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    pub(super) fn new(span: Span, path: String, message: String) -> Self {
        let Span { start, end } = span;
        let width =
            if end.line == start.line { end.column.saturating_sub(start.column) } else { 1 };
        Self { line: start.line, column: start.column, width: width.max(1), path, message }
    }
}

/// Everything that is wrong with one scenario file, in the order of the file.
///
/// `Display` shows each with its line and a caret below the place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problems {
    /// What the file is called.
    pub file: String,
    /// At least one, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// The lines that are shown, by number, cut to [`LINE_CHARS_MAX`].
    lines: Vec<(usize, String)>,
}

impl Problems {
    /// Sorts problems and remembers the lines of `source` that they name.
    pub(super) fn new(file: &str, source: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems.truncate(PROBLEMS_MAX);
        let mut wanted = problems.iter().map(|problem| problem.line).peekable();
        let mut lines = Vec::new();
        for (index, line) in source.lines().enumerate() {
            let Some(next) = wanted.peek() else { break };
            if *next == index + 1 {
                lines.push((index + 1, line.chars().take(LINE_CHARS_MAX).collect()));
                while wanted.next_if_eq(&(index + 1)).is_some() {}
            }
        }
        Self { file: file.to_owned(), problems, lines }
    }

    /// A file that cannot even be read.
    pub(super) fn unreadable(file: &str, why: String) -> Self {
        let place = Place { line: 1, column: 1 };
        let problem = Problem::new(Span { start: place, end: place }, String::new(), why);
        Self { file: file.to_owned(), problems: vec![problem], lines: Vec::new() }
    }

    /// The same for programs:
    /// `[{"file":…,"line":…,"column":…,"path":…,"message":…}]`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let entry = |problem: &Problem| {
            json!({
                "file": self.file,
                "line": problem.line,
                "column": problem.column,
                "path": problem.path,
                "message": problem.message,
            })
        };
        self.problems.iter().map(entry).collect()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            let Problem { line, column, width, path, message } = problem;
            write!(f, "{}:{line}:{column}: ", self.file)?;
            if !path.is_empty() {
                write!(f, "{path}: ")?;
            }
            f.write_str(message)?;
            if let Some((_, text)) = self.lines.iter().find(|(number, _)| number == line) {
                let gutter = line.to_string();
                // Tabs stay tabs, so that the caret stands where they put it.
                let lead: String = text
                    .chars()
                    .take(column - 1)
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                let left = text.chars().count().saturating_sub(column - 1);
                let carets = "^".repeat((*width).min(left).max(1));
                write!(f, "\n  {gutter} | {text}\n  {0:1$} | {lead}{carets}", "", gutter.len())?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Problems told of one file.
pub const PROBLEMS_MAX: usize = 100;

/// Characters shown of a line.
pub const LINE_CHARS_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_below_the_place() {
        let place = |column| Place { line: 2, column };
        let span = Span { start: place(3), end: place(6) };
        let problem = Problem::new(span, "rules[0].wen".into(), "unknown key".into());
        let source = "rules:\n- wen: x\n";
        let problems = Problems::new("a.yaml", source, vec![problem]);
        let want = "a.yaml:2:3: rules[0].wen: unknown key\n  2 | - wen: x\n    |   ^^^";
        assert_eq!(problems.to_string(), want);
        assert_eq!(problems.to_json()[0]["column"], 3);
    }

    #[test]
    fn places_outside_of_the_file_show_no_line() {
        let span = Span { start: Place { line: 9, column: 1 }, end: Place::default() };
        let problems = Problems::new("a", "x", vec![Problem::new(span, String::new(), "m".into())]);
        assert_eq!(problems.to_string(), "a:9:1: m");
    }
}
