//! What a text model says: the prompt, and words that follow from it.

use fal_protocol::rand::SplitMix64;

/// The tokens of an answer, each with the space before it.
pub(crate) fn tokens(draw: u64, prompt: &str, endpoint: &str) -> impl Iterator<Item = String> {
    let mut rng = SplitMix64::new(draw);
    let count = WORDS_MIN + rng.below(WORDS_SPREAD);
    let made = (0..count).map(move |_| format!(" {}", word(&mut rng)));
    let asked: String = prompt.chars().take(PROMPT_CHARS_REPEATED).collect();
    let asked = if asked.is_empty() { " nothing".to_owned() } else { format!(" “{asked}”") };
    [format!("{endpoint} was asked"), asked, " and says:".to_owned()]
        .into_iter()
        .chain(made)
        .chain([".".to_owned()])
}

/// One word.
pub(crate) fn word(rng: &mut SplitMix64) -> &'static str {
    WORDS[usize::try_from(rng.below(WORDS.len() as u64)).expect("an index")]
}

/// More of a prompt is not repeated: every event repeats the text so far.
const PROMPT_CHARS_REPEATED: usize = 200;

/// Fewest words of an answer.
const WORDS_MIN: u64 = 8;

/// How many more words there may be.
const WORDS_SPREAD: u64 = 17;

const WORDS: [&str; 24] = [
    "a", "and", "blue", "bright", "café", "cat", "cloud", "dream", "field", "green", "in", "light",
    "moon", "near", "night", "of", "over", "quiet", "rain", "river", "small", "stone", "the",
    "under",
];
