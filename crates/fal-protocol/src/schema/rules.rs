//! What a schema says about each type, in the form in which values are checked.

use serde_json::{Number, Value};

use super::format::Format;
use super::model::{ModelSchema, NodeId, SizeBounds, Text, Types};
use super::number::{Num, order};
use super::pattern::Pattern;

#[derive(Clone, Debug)]
pub(super) struct Choices {
    pub(super) values: Box<[Value]>,
    /// Positions in the order of the values; only for long lists, of which voices have over a thousand.
    sorted: Box<[u32]>,
    /// The lengths and first bytes of the values, if all are texts and few: most are told apart by these.
    texts: Box<[(u32, u64)]>,
}

impl Choices {
    pub(super) fn new(values: Vec<Value>) -> Self {
        let mut sorted = Vec::new();
        let mut texts = Vec::new();
        if let Ok(count) = u32::try_from(values.len())
            && values.len() > CHOICES_SCANNED_MAX
        {
            sorted.extend(0..count);
            sorted.sort_by(|a, b| order(&values[*a as usize], &values[*b as usize]));
        } else if values.iter().all(Value::is_string) {
            texts.extend(values.iter().filter_map(Value::as_str).map(text_key));
        }
        Self { values: values.into(), sorted: sorted.into(), texts: texts.into() }
    }

    /// Whether the value is one of them. If lax, as Python compares: `true` is 1.
    pub(super) fn holds(&self, value: &Value, is_lax: bool) -> bool {
        if let (false, Value::String(text)) = (self.texts.is_empty(), value) {
            return self.has_text(text);
        }
        let found = match self.sorted.is_empty() {
            true => self.values.iter().any(|choice| order(choice, value).is_eq()),
            false => {
                let order = |at: &u32| order(&self.values[*at as usize], value);
                self.sorted.binary_search_by(order).is_ok()
            }
        };
        found
            || is_lax
                && match value {
                    Value::Bool(truth) => self.holds(&u8::from(*truth).into(), false),
                    Value::Number(number) => match Num::of(number).to_integer() {
                        Some(Num::Int(bit @ (0 | 1))) => self.holds(&(bit == 1).into(), false),
                        _ => false,
                    },
                    _ => false,
                }
    }

    /// Whether a text is one of few texts. False where there are many, or others.
    #[inline]
    pub(super) fn has_text(&self, text: &str) -> bool {
        let key = text_key(text);
        let is = |(at, other): (usize, &(u32, u64))| {
            *other == key && (text.len() <= 8 || self.values[at].as_str() == Some(text))
        };
        self.texts.iter().enumerate().any(is)
    }

    pub(super) fn has_integer(&self) -> bool {
        self.values.iter().any(|value| value.is_i64() || value.is_u64())
    }
}

/// Tells most texts apart, and those of up to eight bytes fully.
fn text_key(text: &str) -> (u32, u64) {
    (u32::try_from(text.len()).unwrap_or(u32::MAX), name_start(text.as_bytes()))
}

#[derive(Clone, Debug, Default)]
pub(super) struct NumberRules {
    pub(super) minimum: Option<Num>,
    pub(super) maximum: Option<Num>,
    pub(super) above: Option<Num>,
    pub(super) below: Option<Num>,
    pub(super) multiple_of: Option<Num>,
    pub(super) quick: QuickBounds,
}

/// Two ranges that say of most numbers at once that they fit. What they do not hold is to be compared with the
/// bounds themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuickBounds {
    ints: (i64, i64),
    floats: (f64, f64),
}

impl Default for QuickBounds {
    fn default() -> Self {
        Self { ints: (0, -1), floats: (0.0, -1.0) }
    }
}

impl QuickBounds {
    /// Empty where a range cannot say it: with divisors, and with bounds that a double does not hold.
    pub(super) fn of(rules: &NumberRules) -> Self {
        let mut all = Self { ints: (i64::MIN, i64::MAX), floats: (f64::MIN, f64::MAX) };
        let exact = |num: Num| {
            let float = num.as_f64();
            (float.abs() <= EXACT_MAX).then_some(float)
        };
        let bounds = [
            (rules.minimum, false, true),
            (rules.above, true, true),
            (rules.maximum, false, false),
            (rules.below, true, false),
        ];
        if rules.multiple_of.is_some() {
            return Self::default();
        }
        for (bound, is_open, is_low) in bounds {
            let Some(bound) = bound else { continue };
            let Some(float) = exact(bound) else { return Self::default() };
            let (low, high) = (float.ceil(), float.floor());
            let step = i64::from(is_open && float.fract() == 0.0);
            if is_low {
                all.ints.0 = all.ints.0.max(low as i64 + step);
                all.floats.0 = all.floats.0.max(if is_open { float.next_up() } else { float });
            } else {
                all.ints.1 = all.ints.1.min(high as i64 - step);
                all.floats.1 = all.floats.1.min(if is_open { float.next_down() } else { float });
            }
        }
        all
    }

    /// Whether the number is of one of the types and surely within all bounds.
    #[inline]
    pub(super) fn holds(&self, number: &Number, types: Types) -> bool {
        match Num::of(number) {
            Num::Int(int) => {
                (types.has(Types::INTEGER) || types.has(Types::NUMBER))
                    && self.ints.0 <= int
                    && int <= self.ints.1
            }
            Num::Float(float) => {
                types.has(Types::NUMBER) && self.floats.0 <= float && float <= self.floats.1
            }
            Num::Big(_) => false,
        }
    }
}

/// Integers up to this size are doubles without loss.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

#[derive(Clone, Debug, Default)]
pub(super) struct StringRules {
    pub(super) size: SizeBounds,
    /// The text, and its matcher if it is understood.
    pub(super) pattern: Option<(Text, Option<Pattern>)>,
    pub(super) format: Option<Format>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ArrayRules {
    pub(super) tuple: Box<[NodeId]>,
    pub(super) items: Option<NodeId>,
    pub(super) size: SizeBounds,
    pub(super) is_unique: bool,
}

impl ArrayRules {
    pub(super) fn element(&self, at: usize) -> Option<NodeId> {
        self.tuple.get(at).copied().or(self.items)
    }

    /// How many elements pydantic asks for by their place: those of a tuple that must be there.
    pub(super) fn places(&self) -> usize {
        self.tuple.len().min(usize::try_from(self.size.min).unwrap_or(usize::MAX))
    }
}

#[derive(Clone, Debug)]
pub(super) struct ObjectRules {
    /// In the order that fal shows them.
    pub(super) fields: Box<[FieldRule]>,
    /// The same fields in the order of the bytes of their names.
    pub(super) by_name: Box<[NamedField]>,
    pub(super) required_count: u32,
    /// Required, but not among the fields.
    pub(super) required_elsewhere: Box<[Text]>,
    pub(super) rest: RestRule,
    /// The document says that other fields are taken, and not merely nothing about them.
    pub(super) is_open: bool,
    /// A file, in whose place the service also takes its bare URL.
    pub(super) is_file: bool,
}

impl ObjectRules {
    /// The field of this name, searched from `cursor` on, which is moved behind it.
    ///
    /// Maps give their fields sorted, so a walk over one of them is a merge. If another crate asks
    /// serde_json to keep insertion order, or the next one is far, the search is a binary one.
    #[inline]
    pub(super) fn field(
        &self,
        model: &ModelSchema,
        name: &str,
        cursor: &mut usize,
    ) -> Option<&NamedField> {
        let start = name_start(name.as_bytes());
        let near = self.by_name.get(*cursor..)?.iter().take(FIELDS_SCANNED_MAX);
        for (steps, field) in near.enumerate() {
            if field.start < start {
                continue;
            }
            if field.start == start && field.is(model, name) {
                *cursor += steps + 1;
                return Some(field);
            }
            break;
        }
        self.far_field(model, name, start, cursor)
    }

    #[inline(never)]
    fn far_field(
        &self,
        model: &ModelSchema,
        name: &str,
        start: u64,
        cursor: &mut usize,
    ) -> Option<&NamedField> {
        let order = |field: &NamedField| {
            field.start.cmp(&start).then_with(|| model.bytes(field.name).cmp(name.as_bytes()))
        };
        let at = self.by_name.partition_point(|field| order(field).is_lt());
        *cursor = at;
        let found = self.by_name.get(at).filter(|field| order(field).is_eq())?;
        *cursor = at + 1;
        Some(found)
    }
}

/// A field as the walk over a map needs it, in half a cache line.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedField {
    /// The name's first bytes, which settle most comparisons.
    start: u64,
    name: Text,
    pub(super) node: NodeId,
    /// As the node's.
    pub(super) free: Types,
    pub(super) is_required: bool,
    pub(super) is_null_absent: bool,
}

impl NamedField {
    pub(super) fn new(name: &str, rule: &FieldRule) -> Self {
        Self {
            start: name_start(name.as_bytes()),
            name: rule.name,
            node: rule.node,
            free: Types::NONE,
            is_required: rule.is_required,
            is_null_absent: false,
        }
    }

    /// Whether this is the name, given that it starts like it.
    #[inline]
    fn is(&self, model: &ModelSchema, name: &str) -> bool {
        (self.name.end - self.name.start) as usize == name.len()
            && (name.len() <= 8 || model.bytes(self.name) == name.as_bytes())
    }
}

/// The first eight bytes as a number that sorts like them; what is missing counts as zeros.
#[inline]
fn name_start(name: &[u8]) -> u64 {
    if let Some(start) = name.first_chunk() {
        return u64::from_be_bytes(*start);
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        // They overlap, and where they do they are the same.
        let (first, last) = (u32::from_be_bytes(*first), u32::from_be_bytes(*last));
        return u64::from(first) << 32 | u64::from(last) << (64 - 8 * name.len());
    }
    let byte = |at: usize| u64::from(name.get(at).copied().unwrap_or(0));
    byte(0) << 56 | byte(1) << 48 | byte(2) << 40
}

#[derive(Clone, Copy, Debug)]
pub(super) struct FieldRule {
    pub(super) name: Text,
    pub(super) node: NodeId,
    pub(super) is_required: bool,
    /// Null may stand for "not given" here, because the document lost what it allows.
    pub(super) is_null_absent: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum RestRule {
    Anything,
    Nothing,
    Each(NodeId),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Union {
    pub(super) all_of: Box<[NodeId]>,
    pub(super) any_of: Box<[NodeId]>,
    pub(super) one_of: Box<[NodeId]>,
    /// Bounds of the whole, which pydantic writes as `ge` and `le`. JSON Schema does not know them.
    pub(super) limits: Option<Box<NumberRules>>,
}

impl Union {
    pub(super) fn is_all_of_alone(&self) -> bool {
        self.any_of.is_empty() && self.one_of.is_empty()
    }
}

/// Fields passed over one by one before the search becomes a binary one.
const FIELDS_SCANNED_MAX: usize = 16;

/// Lists of choices up to this length are searched one by one.
const CHOICES_SCANNED_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_sort_like_names() {
        let names =
            ["", "a", "ab", "abc", "abcd", "abcde", "abcdefg", "abcdefgh", "abcdefghi", "b", "é"];
        for pair in names.windows(2) {
            let (a, b) = (name_start(pair[0].as_bytes()), name_start(pair[1].as_bytes()));
            assert!(a < b || (pair[1].len() > 8 && a == b), "{pair:?}");
        }
        assert_eq!(name_start(b"abcde"), u64::from_be_bytes(*b"abcde\0\0\0"));
        assert_eq!(name_start(b"ab"), u64::from_be_bytes(*b"ab\0\0\0\0\0\0"));
    }

    #[test]
    fn quick_bounds_hold_what_the_bounds_hold() {
        let nums = [-9e15, -3.5, -1.0, 0.0, 0.1, 1.0, 2.5, 9e15].map(Num::Float);
        let ints = [i64::MIN, -4, -1, 0, 1, 2, 3, i64::MAX].map(Num::Int);
        let numbers: Vec<Num> = nums.into_iter().chain(ints).collect();
        for low in &numbers {
            for high in &numbers {
                for (is_open_below, is_open_above) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    let mut rules = NumberRules::default();
                    *(if is_open_below { &mut rules.above } else { &mut rules.minimum }) =
                        Some(*low);
                    *(if is_open_above { &mut rules.below } else { &mut rules.maximum }) =
                        Some(*high);
                    let quick = QuickBounds::of(&rules);
                    for number in &numbers {
                        let Value::Number(json) = number.to_value() else { continue };
                        let fits = super::super::read::number_problem(
                            Some(&rules),
                            *number,
                            super::super::Mode::Strict,
                        );
                        let is_said = quick.holds(&json, Types::NUMBER);
                        assert!(!is_said || fits.is_none(), "{number:?} in {rules:?}");
                    }
                }
            }
        }
    }
}
