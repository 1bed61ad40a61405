//! Limits of inputs, as documents state them.
//!
//! Generated inputs call these. They hold for what is there: a field that is not set has no limits.

use std::collections::BTreeMap;
use std::fmt;

use fal_protocol::error::InputError;

use super::FileOrUrl;

/// A value with limits inside.
pub trait Check {
    /// Finds out whether they are kept.
    ///
    /// # Errors
    /// [`InputError::Field`], which names the field and what is allowed.
    fn check(&self) -> Result<(), InputError>;
}

impl<T: Check> Check for Option<T> {
    fn check(&self) -> Result<(), InputError> {
        self.as_ref().map_or(Ok(()), T::check)
    }
}

impl<T: Check + ?Sized> Check for Box<T> {
    fn check(&self) -> Result<(), InputError> {
        (**self).check()
    }
}

impl<T: Check> Check for Vec<T> {
    fn check(&self) -> Result<(), InputError> {
        let mut items = self.iter().enumerate();
        items.try_for_each(|(at, item)| item.check().map_err(|e| below(&format!("[{at}]"), e)))
    }
}

impl<T: Check> Check for BTreeMap<String, T> {
    fn check(&self) -> Result<(), InputError> {
        self.iter().try_for_each(|(name, item)| inside(name, item))
    }
}

/// Checks what is inside a field.
///
/// # Errors
/// [`InputError::Field`] with the whole way to what is not allowed, such as `loras[0].scale`.
pub fn inside(name: &str, value: &impl Check) -> Result<(), InputError> {
    value.check().map_err(|error| below(name, error))
}

fn below(name: &str, error: InputError) -> InputError {
    match error {
        InputError::Field { field, problem } => {
            let dot = if field.starts_with('[') { "" } else { "." };
            InputError::Field { field: format!("{name}{dot}{field}").into(), problem }
        }
        other => other,
    }
}

/// The limits of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    min: Option<f64>,
    max: Option<f64>,
    above: Option<f64>,
    below: Option<f64>,
    step: Option<f64>,
}

impl Range {
    /// Everything is allowed.
    pub const NONE: Self = Self { min: None, max: None, above: None, below: None, step: None };

    /// This or more.
    #[must_use]
    pub const fn min(self, min: f64) -> Self {
        Self { min: Some(min), ..self }
    }

    /// This or less.
    #[must_use]
    pub const fn max(self, max: f64) -> Self {
        Self { max: Some(max), ..self }
    }

    /// More than this.
    #[must_use]
    pub const fn above(self, above: f64) -> Self {
        Self { above: Some(above), ..self }
    }

    /// Less than this.
    #[must_use]
    pub const fn below(self, below: f64) -> Self {
        Self { below: Some(below), ..self }
    }

    /// A multiple of this, within a billionth of the number, which is the tolerance of the service's validation.
    #[must_use]
    pub const fn step(self, step: f64) -> Self {
        Self { step: Some(step), ..self }
    }

    fn allows(self, number: f64) -> bool {
        let is_step = |step: f64| {
            let (rest, tolerance) = ((number % step).abs(), number.abs() / 1e9);
            rest <= tolerance || (rest - step.abs()).abs() <= tolerance
        };
        self.min.is_none_or(|min| number >= min)
            && self.max.is_none_or(|max| number <= max)
            && self.above.is_none_or(|above| number > above)
            && self.below.is_none_or(|below| number < below)
            && self.step.is_none_or(is_step)
    }
}

/// In words: `1 to 50`.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.min, self.max) {
            (Some(min), Some(max)) => parts.push(format!("{min} to {max}")),
            (Some(min), None) => parts.push(format!("{min} or more")),
            (None, Some(max)) => parts.push(format!("{max} or less")),
            (None, None) => {}
        }
        parts.extend(self.above.map(|above| format!("more than {above}")));
        parts.extend(self.below.map(|below| format!("less than {below}")));
        parts.extend(self.step.map(|step| format!("a multiple of {step}")));
        f.write_str(&parts.join(", "))
    }
}

/// Checks a number, or all of a list.
///
/// # Errors
/// [`InputError::Field`].
pub fn range(name: &str, value: &impl Numbers, range: Range) -> Result<(), InputError> {
    refuse(name, value.first(&|number| !range.allows(number)), |number| {
        format!("{number} is not allowed, but {range}")
    })
}

/// Checks that a number, or each of a list, is one of these.
///
/// # Errors
/// [`InputError::Field`].
pub fn one_of(name: &str, value: &impl Numbers, allowed: &[f64]) -> Result<(), InputError> {
    refuse(name, value.first(&|number| !allowed.contains(&number)), |number| {
        let allowed: Vec<String> = allowed.iter().map(f64::to_string).collect();
        format!("{number} is not allowed, but {}", allowed.join(", "))
    })
}

/// Checks the number of characters of a text, or of elements of a list.
///
/// # Errors
/// [`InputError::Field`].
pub fn length(
    name: &str,
    value: &impl Length,
    min: u64,
    max: Option<u64>,
) -> Result<(), InputError> {
    let is_wrong = |length: u64| length < min || max.is_some_and(|max| length > max);
    refuse(name, value.first(&is_wrong), |length| wrong_length(length, min, max))
}

/// Checks the number of characters, or of elements, of each element of a list.
///
/// # Errors
/// [`InputError::Field`].
pub fn each_length(
    name: &str,
    value: &impl EachLength,
    min: u64,
    max: Option<u64>,
) -> Result<(), InputError> {
    let is_wrong = |length: u64| length < min || max.is_some_and(|max| length > max);
    refuse(name, value.first_of_each(&is_wrong), |length| wrong_length(length, min, max))
}

fn wrong_length(length: u64, min: u64, max: Option<u64>) -> String {
    match max {
        Some(max) if min == 0 => format!("its length is {length}, but up to {max} is allowed"),
        Some(max) => format!("its length is {length}, but {min} to {max} is allowed"),
        None => format!("its length is {length}, but {min} or more is needed"),
    }
}

fn refuse<T>(
    name: &str,
    found: Option<(String, T)>,
    problem: impl FnOnce(T) -> String,
) -> Result<(), InputError> {
    match found {
        None => Ok(()),
        Some((at, value)) => {
            let field = format!("{name}{at}").into();
            Err(InputError::Field { field, problem: problem(value).into() })
        }
    }
}

/// A number, or several.
pub trait Numbers {
    /// The first that is wrong, and where it is: nothing, or an index such as `[3]`.
    fn first(&self, is_wrong: &dyn Fn(f64) -> bool) -> Option<(String, f64)>;
}

impl Numbers for f64 {
    fn first(&self, is_wrong: &dyn Fn(f64) -> bool) -> Option<(String, f64)> {
        is_wrong(*self).then(|| (String::new(), *self))
    }
}

impl Numbers for i64 {
    /// Documents bound integers where a float holds them exactly, or at the ends of what an integer holds.
    fn first(&self, is_wrong: &dyn Fn(f64) -> bool) -> Option<(String, f64)> {
        (*self as f64).first(is_wrong)
    }
}

impl<T: Numbers> Numbers for Option<T> {
    fn first(&self, is_wrong: &dyn Fn(f64) -> bool) -> Option<(String, f64)> {
        self.as_ref()?.first(is_wrong)
    }
}

impl<T: Numbers> Numbers for Vec<T> {
    fn first(&self, is_wrong: &dyn Fn(f64) -> bool) -> Option<(String, f64)> {
        of_each(self, |item| item.first(is_wrong))
    }
}

/// What has a length.
pub trait Length {
    /// The length, if it is wrong, and where.
    fn first(&self, is_wrong: &dyn Fn(u64) -> bool) -> Option<(String, u64)>;
}

impl Length for String {
    fn first(&self, is_wrong: &dyn Fn(u64) -> bool) -> Option<(String, u64)> {
        wrong_count(self.chars().count(), is_wrong)
    }
}

impl Length for FileOrUrl {
    /// The address of a file that is uploaded first is the service's own.
    fn first(&self, is_wrong: &dyn Fn(u64) -> bool) -> Option<(String, u64)> {
        match self {
            Self::Url(url) => url.first(is_wrong),
            Self::File(_) => None,
        }
    }
}

impl<T> Length for Vec<T> {
    fn first(&self, is_wrong: &dyn Fn(u64) -> bool) -> Option<(String, u64)> {
        wrong_count(self.len(), is_wrong)
    }
}

impl<T: Length> Length for Option<T> {
    fn first(&self, is_wrong: &dyn Fn(u64) -> bool) -> Option<(String, u64)> {
        self.as_ref()?.first(is_wrong)
    }
}

/// A list of what has a length.
pub trait EachLength {
    /// The first length that is wrong, and where.
    fn first_of_each(&self, is_wrong: &dyn Fn(u64) -> bool) -> Option<(String, u64)>;
}

impl<T: Length> EachLength for Vec<T> {
    fn first_of_each(&self, is_wrong: &dyn Fn(u64) -> bool) -> Option<(String, u64)> {
        of_each(self, |item| item.first(is_wrong))
    }
}

impl<T: EachLength> EachLength for Option<T> {
    fn first_of_each(&self, is_wrong: &dyn Fn(u64) -> bool) -> Option<(String, u64)> {
        self.as_ref()?.first_of_each(is_wrong)
    }
}

fn of_each<T, N>(items: &[T], first: impl Fn(&T) -> Option<(String, N)>) -> Option<(String, N)> {
    let mut found = items.iter().enumerate();
    found.find_map(|(at, item)| first(item).map(|(below, value)| (format!("[{at}]{below}"), value)))
}

fn wrong_count(count: usize, is_wrong: &dyn Fn(u64) -> bool) -> Option<(String, u64)> {
    let count = count as u64;
    is_wrong(count).then_some((String::new(), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(result: Result<(), InputError>, expected: &str) {
        assert_eq!(result.map_or_else(|e| e.to_string(), |()| "allowed".into()), expected);
    }

    #[test]
    fn numbers_are_held_to_their_range() {
        let steps = Range::NONE.min(1.0).max(50.0);
        check(range("steps", &Some(50_i64), steps), "allowed");
        check(range("steps", &None::<i64>, steps), "allowed");
        check(range("steps", &51_i64, steps), "steps: 51 is not allowed, but 1 to 50");
        check(range("steps", &vec![1.0, 0.5], steps), "steps[1]: 0.5 is not allowed, but 1 to 50");
        let odd = Range::NONE.above(0.0).below(1.0).step(0.05);
        check(range("x", &0.15000000000000002, odd), "allowed");
        check(
            range("x", &0.0, odd),
            "x: 0 is not allowed, but more than 0, less than 1, a multiple of 0.05",
        );
        check(
            range("x", &0.07, odd),
            "x: 0.07 is not allowed, but more than 0, less than 1, a multiple of 0.05",
        );
        check(range("x", &f64::NAN, steps), "x: NaN is not allowed, but 1 to 50");
        check(one_of("x", &Some(3_i64), &[2.0, 4.0]), "x: 3 is not allowed, but 2, 4");
        check(one_of("x", &4_i64, &[2.0, 4.0]), "allowed");
    }

    #[test]
    fn lengths_are_counted_in_characters_and_elements() {
        check(length("p", &"äö".to_owned(), 1, Some(2)), "allowed");
        check(length("p", &String::new(), 1, Some(2)), "p: its length is 0, but 1 to 2 is allowed");
        check(length("p", &vec![1, 2], 3, None), "p: its length is 2, but 3 or more is needed");
        let texts = Some(vec!["a".to_owned(), "abc".to_owned()]);
        check(
            each_length("p", &texts, 0, Some(2)),
            "p[1]: its length is 3, but up to 2 is allowed",
        );
        check(
            length("u", &FileOrUrl::from("abc"), 0, Some(2)),
            "u: its length is 3, but up to 2 is allowed",
        );
        check(length("u", &FileOrUrl::from(std::path::Path::new("abc")), 0, Some(2)), "allowed");
    }

    #[test]
    fn the_way_to_a_field_is_told() {
        struct Lora(f64);
        impl Check for Lora {
            fn check(&self) -> Result<(), InputError> {
                range("scale", &self.0, Range::NONE.max(4.0))
            }
        }
        let loras = Some(vec![Lora(1.0), Lora(5.0)]);
        check(inside("loras", &loras), "loras[1].scale: 5 is not allowed, but 4 or less");
        let named = BTreeMap::from([("a".to_owned(), Lora(9.0))]);
        check(inside("by_name", &named), "by_name.a.scale: 9 is not allowed, but 4 or less");
        check(inside("lora", &Box::new(Lora(0.0))), "allowed");
    }
}
