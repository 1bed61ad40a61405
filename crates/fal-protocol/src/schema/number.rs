//! Numbers as JSON writes them: compared exactly, read from text as pydantic reads them.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Number, Value};

/// A number that keeps what its JSON text said.
///
/// Bounds of documents reach past `i64` (9223372036854776000) and mix `1` with `1.0`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Num {
    Int(i64),
    /// Above `i64::MAX`.
    Big(u64),
    Float(f64),
}

impl Num {
    pub(super) fn of(number: &Number) -> Self {
        if let Some(int) = number.as_i64() {
            return Self::Int(int);
        }
        match number.as_u64() {
            Some(big) => Self::Big(big),
            // Only a number of arbitrary precision can have no f64, and this crate does not ask for those.
            None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
        }
    }

    /// JSON Schema's sense: `3.0` is an integer.
    pub(super) fn is_integral(self) -> bool {
        match self {
            Self::Int(_) | Self::Big(_) => true,
            Self::Float(float) => float.fract() == 0.0,
        }
    }

    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Big(big) => big as f64,
            Self::Float(float) => float,
        }
    }

    /// Exact, also where an `i64` has no `f64`. `None` only for NaN.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Float(a), b) => compare_float(a, b.as_i128()),
            (a, Self::Float(b)) => compare_float(b, a.as_i128()).map(Ordering::reverse),
            (a, b) => Some(a.as_i128().cmp(&b.as_i128())),
        }
    }

    /// Whether `divisor` goes into this number, by its decimal digits as JSON writes them.
    pub(super) fn is_multiple_of(self, divisor: Self) -> bool {
        match (self, divisor) {
            (Self::Float(_), _) | (_, Self::Float(_)) => {
                match common_digits(self.as_f64(), divisor.as_f64()) {
                    Some((value, divisor)) => divisor != 0 && value % divisor == 0,
                    // Too far apart for exact digits, and for anybody to care.
                    None => is_roughly_multiple(self.as_f64(), divisor.as_f64()),
                }
            }
            (_, Self::Int(0)) => false,
            (value, divisor) => value.as_i128() % divisor.as_i128() == 0,
        }
    }

    /// The same, within a billionth: so 0.15000000000000002 is a multiple of 0.05. The tolerance is pydantic's.
    pub(super) fn is_nearly_multiple_of(self, divisor: Self) -> bool {
        if !matches!((self, divisor), (Self::Float(_), _) | (_, Self::Float(_))) {
            return self.is_multiple_of(divisor);
        }
        let (value, divisor) = (self.as_f64(), divisor.as_f64());
        let rest = value - (value / divisor).round() * divisor;
        // What cannot be compared passes: infinity is a multiple of everything.
        rest.is_nan() || rest.abs() <= 1e-9
    }

    pub(super) fn to_value(self) -> Value {
        match self {
            Self::Int(int) => int.into(),
            Self::Big(big) => big.into(),
            Self::Float(float) => float.into(),
        }
    }

    /// The integer that this number stands for, if it is one and, written as a float, within `i64`.
    pub(super) fn to_integer(self) -> Option<Self> {
        match self {
            Self::Float(float) if float.fract() == 0.0 && float.abs() < I64_END => {
                Some(Self::Int(float as i64))
            }
            Self::Float(_) => None,
            int => Some(int),
        }
    }

    fn as_i128(self) -> i128 {
        match self {
            Self::Int(int) => int.into(),
            Self::Big(big) => big.into(),
            Self::Float(float) => float as i128,
        }
    }
}

/// As pydantic prints a limit: `1.0` reads `1`.
impl fmt::Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => int.fmt(f),
            Self::Big(big) => big.fmt(f),
            Self::Float(float) => float.fmt(f),
        }
    }
}

fn is_roughly_multiple(value: f64, divisor: f64) -> bool {
    let (rest, tolerance) = ((value % divisor).abs(), value.abs() / 1e9);
    rest <= tolerance || (rest - divisor.abs()).abs() <= tolerance
}

fn compare_float(float: f64, int: i128) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // The cast saturates far outside of what the other side can hold, which keeps the order.
    let whole = float.floor();
    Some((whole as i128).cmp(&int).then(if float > whole {
        Ordering::Greater
    } else {
        Ordering::Equal
    }))
}

/// Both numbers as integers over the same power of ten, if 38 digits hold them.
fn common_digits(a: f64, b: f64) -> Option<(i128, i128)> {
    let (a, b) = (format!("{a}"), format!("{b}"));
    let places = |text: &str| text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let scale = places(&a).max(places(&b));
    let digits = |text: &str| {
        let missing = scale - places(text);
        (text.len() + missing <= DECIMAL_DIGITS_MAX).then_some(())?;
        (text.replace('.', "") + &"0".repeat(missing)).parse().ok()
    };
    Some((digits(&a)?, digits(&b)?))
}

/// One more than `i64::MAX`.
const I64_END: f64 = 9_223_372_036_854_775_808.0;

/// The longest text that pydantic reads as an integer.
const INT_TEXT_MAX: usize = 4300;

/// As many digits as an `i128` always holds.
const DECIMAL_DIGITS_MAX: usize = 38;

/// Why a text is no integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotInt {
    Form,
    Size,
}

/// An integer in text: spaces around, a sign, single underscores between digits, a fraction of zeros.
pub(super) fn int_of_text(text: &str) -> Result<Num, NotInt> {
    let text = text.trim();
    if text.len() > INT_TEXT_MAX {
        return Err(NotInt::Size);
    }
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return Err(NotInt::Form),
        None => text,
    };
    let digits = plain_digits(whole).ok_or(NotInt::Form)?;
    if let Ok(int) = digits.parse() {
        return Ok(Num::Int(int));
    }
    if let Ok(big) = digits.parse() {
        return Ok(Num::Big(big));
    }
    // Python's integers have no end; a double keeps the size, which is all that bounds need. It must not
    // be rounded into the range that was just left.
    let float: f64 = digits.parse().map_err(|_| NotInt::Form)?;
    Ok(Num::Float(if float < 0.0 { float.min((i64::MIN as f64).next_down()) } else { float }))
}

/// A number in text, as pydantic reads it: spaces around, single underscores, and `inf` and `nan`, which JSON
/// itself cannot hold.
pub(super) fn float_of_text(text: &str) -> Option<Num> {
    let text = text.trim();
    if !text.contains('_') {
        return text.parse().ok().map(Num::Float);
    }
    let is_well_placed = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
    is_well_placed.then(|| text.replace('_', "").parse().ok().map(Num::Float)).flatten()
}

/// The words that pydantic takes for a truth value.
///
/// Source: docs.pydantic.dev, standard library types, booleans (documented).
pub(super) fn bool_of_text(text: &str) -> Option<bool> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(&["1", "true", "t", "yes", "y", "on"]) {
        return Some(true);
    }
    is_one_of(&["0", "false", "f", "no", "n", "off"]).then_some(false)
}

/// Why a number is no truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotBool {
    /// It has a fraction, or is too large for a look at it.
    Type,
    Value,
}

pub(super) fn bool_of_num(num: Num) -> Result<bool, NotBool> {
    match num.to_integer() {
        Some(Num::Int(0)) => Ok(false),
        Some(Num::Int(1)) => Ok(true),
        Some(Num::Int(_)) => Err(NotBool::Value),
        _ => Err(NotBool::Type),
    }
}

fn plain_digits(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let well_placed = unsigned
        .split('_')
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    well_placed.then(|| text.replace('_', ""))
}

/// An order of JSON values in which equal means equal to JSON Schema: `1` and `1.0` are the same.
pub(super) fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => {
            Num::of(a).compare(Num::of(b)).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => a.len().cmp(&b.len()).then_with(|| {
            a.iter().zip(b).map(|(a, b)| order(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        }),
        (Value::Object(a), Value::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            // The map may keep insertion order, if another crate asks serde_json for that.
            let sorted = |map: &'_ serde_json::Map<String, Value>| {
                let mut keys: Vec<String> = map.keys().cloned().collect();
                keys.sort_unstable();
                keys
            };
            let (left, right) = (sorted(a), sorted(b));
            left.cmp(&right).then_with(|| {
                left.iter()
                    .map(|key| order(&a[key], &b[key]))
                    .find(|o| o.is_ne())
                    .unwrap_or(Ordering::Equal)
            })
        }),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}
