//! Rules about the tree that no compiler knows. Each is a function with a test on a bad example.

mod packages;
mod source;
mod text;

use std::fmt;

use crate::Outcome;
use crate::metadata::Metadata;
use crate::tree::{File, files};

/// Checks every rule and reports every problem.
pub(crate) fn tidy() -> Outcome {
    let files = files()?;
    if !files.iter().any(File::is_rust) {
        return Err("no Rust file was found: the walk over the tree is broken".into());
    }
    let metadata = Metadata::read()?;
    let mut problems = packages::check(&metadata, &files);
    let tests = source::test_modules(&files);
    for file in &files {
        problems.extend(source::check(file, &tests));
        problems.extend(text::check(file, |path| crate::tree::root().join(path).exists()));
    }
    problems.extend(source::stale_exceptions(&files));
    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => Ok(()),
        count => Err(format!("{count} rules are broken")),
    }
}

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    message: String,
}

impl Problem {
    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }

    fn of(path: &str, message: impl Into<String>) -> Self {
        Self::at(path, 0, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}
