//! The few regular expressions that documents hold, without a regex engine.

/// A compiled pattern: atoms with repetition, groups, classes and anchors.
///
/// Alternation, look-around, back-references, lazy repetition and groups that repeat without end are not
/// understood: such a pattern is kept as a note and not checked. Matching follows all paths at once, so
/// its time is bounded by the length of the text times [`PATTERN_WALKS_MAX`].
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    atoms: Vec<Atom>,
    is_anchored_start: bool,
    is_anchored_end: bool,
}

#[derive(Clone, Debug)]
struct Atom {
    what: What,
    min: u32,
    max: u32,
}

#[derive(Clone, Debug)]
enum What {
    Class { ranges: Vec<(char, char)>, shorthands: Vec<char>, is_negated: bool },
    Group(Vec<Atom>),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_anchored_start = text.starts_with('^');
        let body = text.strip_prefix('^').unwrap_or(text);
        let is_anchored_end = body.ends_with('$') && !body.ends_with("\\$");
        let body = if is_anchored_end { &body[..body.len() - 1] } else { body };
        let mut reader = Reader { rest: body.chars().collect(), at: 0, atoms: 0 };
        let atoms = reader.sequence(0)?;
        let is_understood = reader.at == reader.rest.len()
            && cost(&atoms).is_some_and(|walks| walks <= PATTERN_WALKS_MAX);
        is_understood.then_some(Self { atoms, is_anchored_start, is_anchored_end })
    }

    /// Whether `text` matches, with `\w`, `\d` and `\s` in their Unicode sense or in ECMA 262's.
    ///
    /// `None` if the text is longer than [`PATTERN_SUBJECT_BYTES_MAX`].
    pub(super) fn matches(&self, text: &str, is_unicode: bool) -> Option<bool> {
        if text.len() > PATTERN_SUBJECT_BYTES_MAX {
            return None;
        }
        let text: Vec<char> = text.chars().collect();
        let mut starts = vec![!self.is_anchored_start; text.len() + 1];
        starts[0] = true;
        let ends = after_all(&self.atoms, &text, starts, is_unicode);
        Some(if self.is_anchored_end { ends.last() == Some(&true) } else { ends.contains(&true) })
    }
}

/// Where the sequence can end, given where it can begin; one flag for each place in the text.
fn after_all(atoms: &[Atom], text: &[char], starts: Vec<bool>, is_unicode: bool) -> Vec<bool> {
    atoms.iter().fold(starts, |starts, atom| match &atom.what {
        What::Group(inner) => after_group(atom, inner, text, starts, is_unicode),
        class => after_class(atom, class, text, &starts, is_unicode),
    })
}

fn after_group(
    atom: &Atom,
    inner: &[Atom],
    text: &[char],
    starts: Vec<bool>,
    is_unicode: bool,
) -> Vec<bool> {
    let mut ends = if atom.min == 0 { starts.clone() } else { vec![false; starts.len()] };
    let mut front = starts;
    for turn in 1..=atom.max {
        front = after_all(inner, text, front, is_unicode);
        if turn >= atom.min {
            ends.iter_mut().zip(&front).for_each(|(end, reached)| *end |= reached);
        }
    }
    ends
}

/// From each start the class covers one unbroken run, so its ends are a range: counted, not walked.
fn after_class(
    atom: &Atom,
    class: &What,
    text: &[char],
    starts: &[bool],
    is_unicode: bool,
) -> Vec<bool> {
    let (min, max) = (atom.min as usize, atom.max as usize);
    let mut run = 0;
    let mut opened = vec![0_i64; starts.len() + 1];
    for at in (0..starts.len()).rev() {
        run = if text.get(at).is_some_and(|c| class.has(*c, is_unicode)) { run + 1 } else { 0 };
        if starts[at] && run >= min {
            opened[at + min] += 1;
            opened[at + run.min(max) + 1] -= 1;
        }
    }
    let mut open = 0;
    opened[..starts.len()]
        .iter()
        .map(|change| {
            open += change;
            open > 0
        })
        .collect()
}

/// How many walks over the text the atoms cost; `None` if a group may repeat without end.
fn cost(atoms: &[Atom]) -> Option<u64> {
    atoms.iter().try_fold(0_u64, |sum, atom| {
        let one = match &atom.what {
            What::Group(_) if atom.max == u32::MAX => return None,
            What::Group(inner) => u64::from(atom.max).saturating_mul(cost(inner)?),
            What::Class { .. } => 1,
        };
        Some(sum.saturating_add(one))
    })
}

impl What {
    fn has(&self, c: char, is_unicode: bool) -> bool {
        let Self::Class { ranges, shorthands, is_negated } = self else { return false };
        let is_in = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c))
            || shorthands.iter().any(|name| is_shorthand(*name, c, is_unicode));
        is_in != *is_negated
    }
}

fn is_shorthand(name: char, c: char, is_unicode: bool) -> bool {
    let is_positive = match name.to_ascii_lowercase() {
        'w' if is_unicode => c.is_alphanumeric() || c == '_',
        'w' => c.is_ascii_alphanumeric() || c == '_',
        'd' if is_unicode => c.is_numeric(),
        'd' => c.is_ascii_digit(),
        _ => c.is_whitespace(),
    };
    is_positive != name.is_ascii_uppercase()
}

struct Reader {
    rest: Vec<char>,
    at: usize,
    atoms: usize,
}

impl Reader {
    fn sequence(&mut self, depth: usize) -> Option<Vec<Atom>> {
        let mut atoms = Vec::new();
        while let Some(c) = self.peek() {
            if c == ')' && depth > 0 {
                break;
            }
            self.at += 1;
            self.atoms += 1;
            let what = match c {
                '(' if depth < GROUP_DEPTH_MAX => self.group(depth)?,
                '[' => self.class()?,
                '.' => {
                    What::Class { ranges: vec![('\n', '\n')], shorthands: vec![], is_negated: true }
                }
                '\\' => self.escape()?,
                '(' | ')' | '|' | '^' | '$' | '*' | '+' | '?' | '{' | '}' | ']' => return None,
                literal => single(literal),
            };
            let (min, max) = self.repetition()?;
            atoms.push(Atom { what, min, max });
            if self.atoms > PATTERN_ATOMS_MAX {
                return None;
            }
        }
        Some(atoms)
    }

    fn group(&mut self, depth: usize) -> Option<What> {
        if self.peek() == Some('?') {
            self.at += 1;
            self.eat(':')?;
        }
        let atoms = self.sequence(depth + 1)?;
        self.eat(')')?;
        Some(What::Group(atoms))
    }

    fn class(&mut self) -> Option<What> {
        let is_negated = self.peek() == Some('^');
        self.at += usize::from(is_negated);
        let (mut ranges, mut shorthands) = (Vec::new(), Vec::new());
        loop {
            let low = match self.next()? {
                ']' => break,
                '[' => return None,
                '\\' => match self.next()? {
                    name @ ('w' | 'd' | 's' | 'W' | 'D' | 'S') => {
                        shorthands.push(name);
                        continue;
                    }
                    c => control_or_itself(c)?,
                },
                c => c,
            };
            let is_range = self.peek() == Some('-') && self.rest.get(self.at + 1) != Some(&']');
            let high = if is_range {
                self.at += 1;
                match self.next()? {
                    '\\' => control_or_itself(self.next()?)?,
                    c => c,
                }
            } else {
                low
            };
            if low > high {
                return None;
            }
            ranges.push((low, high));
        }
        Some(What::Class { ranges, shorthands, is_negated })
    }

    fn escape(&mut self) -> Option<What> {
        Some(match self.next()? {
            name @ ('w' | 'd' | 's' | 'W' | 'D' | 'S') => {
                What::Class { ranges: vec![], shorthands: vec![name], is_negated: false }
            }
            c => single(control_or_itself(c)?),
        })
    }

    fn repetition(&mut self) -> Option<(u32, u32)> {
        let bounds = match self.peek() {
            Some('*') => (0, u32::MAX),
            Some('+') => (1, u32::MAX),
            Some('?') => (0, 1),
            Some('{') => {
                self.at += 1;
                let inside: String =
                    std::iter::from_fn(|| self.next().filter(|c| *c != '}')).collect();
                self.at -= 1;
                let number = |text: &str| text.parse().ok().filter(|n| *n <= REPEAT_MAX);
                match inside.split_once(',') {
                    None => (number(&inside)?, number(&inside)?),
                    Some((min, "")) => (number(min)?, u32::MAX),
                    Some((min, max)) => (number(min)?, number(max)?),
                }
            }
            _ => return Some((1, 1)),
        };
        self.at += 1;
        // A second sign makes the repetition lazy or possessive.
        let is_plain = !matches!(self.peek(), Some('*' | '+' | '?' | '{'));
        (is_plain && bounds.0 <= bounds.1).then_some(bounds)
    }

    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += 1;
        c
    }

    fn eat(&mut self, wanted: char) -> Option<()> {
        (self.next() == Some(wanted)).then_some(())
    }
}

fn single(c: char) -> What {
    What::Class { ranges: vec![(c, c)], shorthands: vec![], is_negated: false }
}

/// Letters and digits after a backslash have meanings of their own, most of them not supported here.
fn control_or_itself(c: char) -> Option<char> {
    match c {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        c if c.is_alphanumeric() => None,
        c => Some(c),
    }
}

/// Longest text that a pattern is tried on: 64 KiB. A longer one passes unchecked.
pub const PATTERN_SUBJECT_BYTES_MAX: usize = 64 << 10;

/// Most atoms in one pattern; a larger pattern is not checked.
pub const PATTERN_ATOMS_MAX: usize = 64;

const GROUP_DEPTH_MAX: usize = 4;
const REPEAT_MAX: u32 = 1000;
const PATTERN_WALKS_MAX: u64 = 1000;
