//! Tags: words of the caller's own that the service keeps with a request.

use http::HeaderValue;

use crate::error::InputError;

/// Key-value pairs, kept in order; a key that is there already gets the new value.
///
/// The service drops what breaks its rules and goes on, so they are checked here instead.
///
/// ```
/// use fal_protocol::options::Tags;
///
/// let mut tags = Tags::default();
/// tags.insert("Team", "growth")?;
/// tags.insert("run", "42")?;
/// assert_eq!(tags.to_string(), "team=growth,run=42");
/// assert!(tags.insert("fal.x", "reserved").is_err());
/// # Ok::<(), fal_protocol::InputError>(())
/// ```
///
/// `X-Fal-Tags` on the wire. Source: newer code of the official clients than `@fal-ai/client` 1.10.1 and
/// `fal-client` 1.0.3 (official client source).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Sets a tag. The key is taken in lower case.
    ///
    /// # Errors
    /// [`InputError::Option`] when
    /// - the key is not 1 to [`TAG_KEY_BYTES_MAX`] of `a-z`, `0-9`, `.`, `_`, `-`, or begins with `fal.`;
    /// - the value is not 1 to [`TAG_VALUE_BYTES_MAX`] printable ASCII characters without a comma, or has a
    ///   space at an end, which HTTP would drop;
    /// - it would be one more than [`TAGS_MAX`], or all together longer than [`TAGS_BYTES_MAX`].
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), InputError> {
        let key = key.to_ascii_lowercase();
        let is_key = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if key.is_empty() || key.len() > TAG_KEY_BYTES_MAX || !key.bytes().all(is_key) {
            let problem =
                format_args!("a key has 1 to {TAG_KEY_BYTES_MAX} of a-z, 0-9, '.', '_' and '-'");
            return Err(InputError::option("tag", problem));
        }
        if key.starts_with(RESERVED_PREFIX) {
            return Err(InputError::option(
                "tag",
                "keys that begin with fal. are the service's own",
            ));
        }
        let is_value = |b: u8| matches!(b, b' '..=b'~') && b != b',';
        if value.is_empty()
            || value.len() > TAG_VALUE_BYTES_MAX
            || !value.bytes().all(is_value)
            || value.trim() != value
        {
            let problem = format_args!(
                "a value has 1 to {TAG_VALUE_BYTES_MAX} printable ASCII characters, no comma, and no space at its ends"
            );
            return Err(InputError::option("tag", problem));
        }
        let mut tags = self.0.clone();
        match tags.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => value.clone_into(known),
            None => tags.push((key, value.to_owned())),
        }
        if tags.len() > TAGS_MAX {
            return Err(InputError::option(
                "tags",
                format_args!("there may be at most {TAGS_MAX}"),
            ));
        }
        let tags = Self(tags);
        if tags.to_string().len() > TAGS_BYTES_MAX {
            let problem = format_args!("all together may have at most {TAGS_BYTES_MAX} bytes");
            return Err(InputError::option("tags", problem));
        }
        *self = tags;
        Ok(())
    }

    /// The tags, in the order in which they were set first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn header(&self) -> Option<HeaderValue> {
        let text = (!self.is_empty()).then(|| self.to_string())?;
        Some(HeaderValue::try_from(text).expect("tags are printable ASCII"))
    }
}

/// `key=value,key=value`, as it stands in the header.
impl std::fmt::Display for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

const RESERVED_PREFIX: &str = "fal.";

/// Most tags of one request.
pub const TAGS_MAX: usize = 10;
/// Longest key of a tag.
pub const TAG_KEY_BYTES_MAX: usize = 64;
/// Longest value of a tag.
pub const TAG_VALUE_BYTES_MAX: usize = 256;
/// Longest header of all tags.
pub const TAGS_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_limit_has_two_sides() {
        let mut tags = Tags::default();
        tags.insert(&"k".repeat(TAG_KEY_BYTES_MAX), &"v".repeat(TAG_VALUE_BYTES_MAX)).unwrap();
        tags.insert(&"k".repeat(TAG_KEY_BYTES_MAX + 1), "v").unwrap_err();
        tags.insert("k", &"v".repeat(TAG_VALUE_BYTES_MAX + 1)).unwrap_err();
        let mut tags = Tags::default();
        for index in 0..TAGS_MAX {
            tags.insert(&format!("k{index}"), "v").unwrap();
        }
        tags.insert("k0", "replaced").unwrap();
        tags.insert("one-more", "v").unwrap_err();
        assert_eq!(tags.iter().count(), TAGS_MAX);
        let mut tags = Tags::default();
        for index in 0..3 {
            tags.insert(&format!("k{index}"), &"v".repeat(256)).unwrap();
        }
        let left = TAGS_BYTES_MAX - tags.to_string().len() - ",k3=".len();
        tags.clone().insert("k3", &"v".repeat(left + 1)).unwrap_err();
        tags.insert("k3", &"v".repeat(left)).unwrap();
        assert_eq!(tags.header().unwrap().len(), TAGS_BYTES_MAX);
    }

    #[test]
    fn what_the_service_would_drop_is_refused() {
        let mut tags = Tags::default();
        for (key, value) in [
            ("", "v"),
            ("a b", "v"),
            ("a=b", "v"),
            ("ä", "v"),
            ("FAL.x", "v"),
            ("k", ""),
            ("k", "a,b"),
            ("k", " a"),
            ("k", "a\n"),
            ("k", "ü"),
        ] {
            tags.insert(key, value).unwrap_err();
        }
        assert!(tags.is_empty() && tags.header().is_none());
        tags.insert("A.b_c-1", "x=y z").unwrap();
        assert_eq!(tags.to_string(), "a.b_c-1=x=y z");
    }

    proptest! {
        #[test]
        fn what_is_taken_reads_back(pairs in proptest::collection::vec(("[a-zA-Z.]{1,9}", "[ -~]{1,9}"), 0..12)) {
            let mut tags = Tags::default();
            for (key, value) in &pairs {
                let _ = tags.insert(key, value);
            }
            let text = tags.to_string();
            let read: Vec<(&str, &str)> = text.split(',').filter_map(|pair| pair.split_once('=')).collect();
            prop_assert_eq!(read, tags.iter().collect::<Vec<_>>());
        }
    }
}
