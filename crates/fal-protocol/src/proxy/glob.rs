//! The patterns of allow lists.

use std::fmt;

/// A glob over an address without its scheme, or over an endpoint id.
///
/// | Written | Matches |
/// |---|---|
/// | `*` | any characters but `/`, also none |
/// | `?` | one character but `/` |
/// | `**` as a whole segment | any number of segments, also none: `fal.run/**` matches `fal.run` too |
/// | `\?`, `\*`, `\\` | the character itself: the question mark of a query is written `\?` |
///
/// Dots are characters like others. The whole text must match, the query included.
///
/// Source: `@fal-ai/server-proxy` 1.2.1, which hands patterns to `minimatch` (official client source).
/// Braces, classes and negation of that library are refused here, not taken as themselves.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    atoms: Vec<Atom>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Atom {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Star,
    /// `**` alone.
    All,
    /// `**/` after a slash or at the start: segments with their slashes.
    Deep,
    /// `/**` at the end: nothing, or a slash and anything.
    Tail,
}

impl Pattern {
    /// A pattern for addresses, such as `queue.fal.run/**`. A scheme before it is dropped.
    ///
    /// Its host stands for itself, or begins with `*.` for everything below a domain.
    ///
    /// # Errors
    /// [`PatternError`] when it is none, or leaves the host open.
    pub fn url(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        let rest = ["https://", "http://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.unwrap_or(text);
        let host_end = rest.find('/').unwrap_or(rest.len());
        let (host, below) = rest.split_at(host_end);
        let name = host.strip_prefix("*.").unwrap_or(host);
        let is_open = |c: char| matches!(c, '*' | '?' | '\\');
        if name.is_empty() || name.contains(is_open) || (host != name && !name.contains('.')) {
            return Err(PatternError::Host);
        }
        Self::parse(&format!("{}{below}", host.to_ascii_lowercase()))
    }

    /// A pattern for endpoint ids, such as `fal-ai/flux/**`.
    ///
    /// # Errors
    /// [`PatternError`] when it is none.
    pub fn endpoint(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        Self::parse(text.strip_prefix('/').unwrap_or(text))
    }

    fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::Long);
        }
        let bytes = text.as_bytes();
        let mut atoms = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let starts_segment = at == 0 || bytes[at - 1] == b'/';
            let next = |distance: usize| bytes.get(at + distance).copied();
            let (atom, length) = match (byte, next(1)) {
                (b'\\', Some(escaped)) => (Atom::Byte(escaped), 2),
                (b'\\', None) => return Err(PatternError::Escape),
                (b'*', Some(b'*')) => match (starts_segment, next(2)) {
                    (true, Some(b'/')) => (Atom::Deep, 3),
                    // `/**` at the end takes the slash before it along.
                    (true, None) if atoms.last() == Some(&Atom::Byte(b'/')) => {
                        atoms.pop();
                        (Atom::Tail, 2)
                    }
                    (true, None) => (Atom::All, 2),
                    _ => return Err(PatternError::DoubleStar),
                },
                (b'*', _) => (Atom::Star, 1),
                (b'?', _) => (Atom::One, 1),
                (b'{' | b'}' | b'[' | b']' | b'!' | b'(' | b')', _) => {
                    return Err(PatternError::Unsupported);
                }
                (byte, _) if byte.is_ascii_graphic() => (Atom::Byte(byte), 1),
                _ => return Err(PatternError::Unsupported),
            };
            atoms.push(atom);
            at += length;
        }
        Ok(Self { text: text.into(), atoms })
    }

    /// Whether the whole of `text` matches. Takes time proportional to both lengths, whatever they hold.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let text = text.as_bytes();
        // From the last atom to the first: whether the rest of the pattern matches from each position on.
        let mut rest = vec![false; text.len() + 1];
        rest[text.len()] = true;
        for atom in self.atoms.iter().rev() {
            rest = atom.before(&rest, text);
        }
        rest[0]
    }
}

impl Atom {
    /// Where this atom, followed by what `rest` says, matches.
    fn before(self, rest: &[bool], text: &[u8]) -> Vec<bool> {
        let mut here = vec![false; rest.len()];
        // Whether a slash that ends the segments of `Deep` lies ahead, with a match behind it.
        let mut deep = false;
        for at in (0..rest.len()).rev() {
            let byte = text.get(at).copied();
            let ahead = |row: &[bool]| row.get(at + 1).copied().unwrap_or(false);
            let is_inside = byte.is_some_and(|byte| byte != b'/');
            here[at] = match self {
                Self::Byte(wanted) => byte == Some(wanted) && ahead(rest),
                Self::One => is_inside && ahead(rest),
                Self::Star => rest[at] || (is_inside && ahead(&here)),
                Self::All => true,
                Self::Tail => byte.is_none_or(|byte| byte == b'/'),
                Self::Deep => {
                    deep |= byte == Some(b'/') && ahead(rest);
                    rest[at] || deep
                }
            };
        }
        here
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// It is empty.
    Empty,
    /// It is longer than [`PATTERN_BYTES_MAX`].
    Long,
    /// It ends with a backslash.
    Escape,
    /// `**` stands beside other characters of a segment.
    DoubleStar,
    /// It has a character that is no part of the language.
    Unsupported,
    /// An address must name its host, or all hosts below a domain.
    Host,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a pattern is not empty",
            Self::Long => "the pattern is too long",
            Self::Escape => "a backslash needs a character after it",
            Self::DoubleStar => "** must be a whole segment, as in fal.run/**",
            Self::Unsupported => {
                "only *, ?, ** and \\ have a meaning; write \\? for a question mark"
            }
            Self::Host => {
                "a pattern for addresses must name its host, or begin with *. and a domain"
            }
        })
    }
}

impl std::error::Error for PatternError {}

/// Longest pattern: 1 KiB.
pub const PATTERN_BYTES_MAX: usize = 1 << 10;
