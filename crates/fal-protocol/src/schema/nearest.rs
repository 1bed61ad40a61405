//! What somebody may have meant.

use serde_json::Value;

/// The name that is nearest to this one, if one is near enough to be meant.
///
/// Near are: the same letters in another case or with other separators (`numImages`, `num-images`), a slip or
/// two (`promt`), and a name with words more or less (`steps` for `num_inference_steps`).
#[must_use]
pub fn nearest_name<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = flat(name)?;
    let rated = known.filter_map(|known| Some((rate(&name, &flat(known)?)?, known)));
    rated.min_by_key(|(rate, _)| *rate).map(|(_, known)| known)
}

/// The choice that is nearest to this value: the nearest number, or the nearest text.
pub(super) fn nearest_choice<'a>(value: &Value, choices: &'a [Value]) -> Option<&'a Value> {
    if let Some(number) = value.as_f64()
        && choices.iter().all(Value::is_number)
    {
        let far = |choice: &Value| (choice.as_f64().unwrap_or(f64::INFINITY) - number).abs();
        return choices.iter().min_by(|a, b| far(a).total_cmp(&far(b)));
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return None,
    };
    let is_it = |choice: &&Value| matches!(choice, Value::Number(_)) && choice.to_string() == text;
    if let Some(number) = choices.iter().find(is_it) {
        return Some(number);
    }
    let name = nearest_name(&text, choices.iter().filter_map(Value::as_str))?;
    choices.iter().find(|choice| choice.as_str() == Some(name))
}

/// Lower-case words with `_` between them; `None` if it is too long to be compared.
fn flat(name: &str) -> Option<Vec<char>> {
    let mut flat = Vec::new();
    let mut is_lower = false;
    for c in name.trim().chars() {
        if flat.len() >= NAME_CHARS_MAX {
            return None;
        }
        if c.is_uppercase() && is_lower {
            flat.push('_');
        }
        is_lower = c.is_lowercase() || c.is_ascii_digit();
        if matches!(c, '-' | ' ' | '.') {
            flat.push('_');
        } else {
            flat.extend(c.to_lowercase());
        }
    }
    Some(flat)
}

/// How far two names are apart; the less the nearer, `None` if one cannot be a slip for the other.
fn rate(a: &[char], b: &[char]) -> Option<usize> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let slips_max = (a.len().max(b.len()) / 3).clamp(1, SLIPS_MAX);
    let slips = distance(a, b);
    // A single letter is no name that is one slip away from every other.
    if slips <= slips_max && slips < a.len().min(b.len()) {
        return Some(slips);
    }
    let words = |name: &[char]| -> Vec<String> {
        name.split(|c| *c == '_').map(|word| word.iter().collect()).collect()
    };
    let (a, b) = (words(a), words(b));
    let (few, many) = if a.len() <= b.len() { (&a, &b) } else { (&b, &a) };
    let holds = |word: &String| word.len() > 1 && many.contains(word);
    let is_same = few.len() < many.len() || many.iter().all(|word| few.contains(word));
    (is_same && few.iter().all(holds)).then(|| SLIPS_MAX + many.len() - few.len())
}

/// Letters to insert, delete, replace or swap with their neighbour.
///
/// Optimal string alignment: three rows of the table are enough.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Names and texts longer than this are not compared.
const NAME_CHARS_MAX: usize = 64;
/// The most slips that one name is thought to have.
const SLIPS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const FIELDS: [&str; 8] = [
        "prompt",
        "negative_prompt",
        "num_images",
        "num_inference_steps",
        "image_size",
        "image_url",
        "guidance_scale",
        "seed",
    ];

    #[test]
    fn slips_are_understood() {
        for (slip, meant) in [
            ("promt", Some("prompt")),
            ("Prompt", Some("prompt")),
            ("rpompt", Some("prompt")),
            ("numImages", Some("num_images")),
            ("num-images", Some("num_images")),
            ("num_image", Some("num_images")),
            ("n_images", Some("num_images")),
            ("steps", Some("num_inference_steps")),
            ("inference_steps", Some("num_inference_steps")),
            ("size", Some("image_size")),
            ("image", Some("image_size")),
            ("img_url", Some("image_url")),
            ("guidance", Some("guidance_scale")),
            ("sed", Some("seed")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest_name(slip, FIELDS.into_iter()), meant, "{slip}");
        }
        assert_eq!(nearest_name("s", ["a", "b"].into_iter()), None);
    }

    #[test]
    fn choices_are_near_by_number_or_by_text() {
        for (value, choices, near) in [
            (json!("jpg"), json!(["png", "jpeg"]), json!("jpeg")),
            (json!("16/9"), json!(["1:1", "16:9"]), json!("16:9")),
            (json!("HD"), json!(["sd", "hd"]), json!("hd")),
            (json!(5), json!(["5", "10"]), json!("5")),
            (json!("10"), json!([5, 10]), json!(10)),
            (json!("5s"), json!(["5", "10"]), json!(null)),
            (json!(7), json!([5, 10]), json!(5)),
            (json!(9.5), json!([5, 10]), json!(10)),
            (json!(null), json!(["a"]), json!(null)),
        ] {
            let found = nearest_choice(&value, choices.as_array().unwrap());
            assert_eq!(found, Some(&near).filter(|near| !near.is_null()), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_rated(a in "\\PC{0,80}", b in "\\PC{0,80}") {
            let found = nearest_name(&a, [&*b].into_iter()).is_some();
            prop_assert_eq!(found, nearest_name(&b, [&*a].into_iter()).is_some());
        }

        #[test]
        fn distance_is_one(a in prop::collection::vec(any::<char>(), 0..12), b in prop::collection::vec(any::<char>(), 0..12)) {
            let apart = distance(&a, &b);
            prop_assert_eq!(apart, distance(&b, &a));
            prop_assert_eq!(apart == 0, a == b);
            prop_assert!(apart <= a.len().max(b.len()) && apart >= a.len().abs_diff(b.len()));
        }
    }
}
