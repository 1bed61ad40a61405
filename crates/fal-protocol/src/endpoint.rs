//! Endpoint ids: parsed once, valid ever after.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::InputError;

/// The id of a model endpoint, such as `fal-ai/flux/dev`.
///
/// | Form | Parsed as |
/// |---|---|
/// | `owner/alias[/path…]` | 2 or more segments; 7 is the longest in the catalogue |
/// | `workflows/owner/alias[/path…]`, `comfy/owner/alias[/path…]` | the same below a namespace |
/// | `12345678-my-app` | legacy: owner `12345678`, alias `my-app` |
///
/// Segments hold ASCII letters, digits, `-`, `_` and `.`; ids are case-sensitive. An alias may end in
/// an environment, `my-app--staging`. The segment `requests` is reserved after the alias, because it
/// starts the addresses of queued requests.
///
/// ```
/// use fal_protocol::EndpointId;
///
/// let id: EndpointId = "fal-ai/flux/dev".parse()?;
/// assert_eq!((id.owner(), id.alias(), id.path()), ("fal-ai", "flux", Some("dev")));
/// assert_eq!(id.app(), "fal-ai/flux");
/// # Ok::<(), fal_protocol::InputError>(())
/// ```
///
/// Source: `utils.ts` of `@fal-ai/client` 1.10.1 and `AppId` of `fal-client` 1.0.3 (official client
/// source); character set and lengths from 1,416 published model documents (observed).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId {
    /// Shared, because an id goes along with everything that is done at its endpoint.
    text: Arc<str>,
    owner_start: u16,
    alias_start: u16,
    app_end: u16,
}

impl EndpointId {
    /// Parses an id.
    ///
    /// # Errors
    /// [`InputError`] that says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let refuse = |why: &str| {
            let is_address = text.contains("://");
            Err(InputError::endpoint_id(text, if is_address { NO_ADDRESS } else { why }))
        };
        if text.len() > ENDPOINT_ID_BYTES_MAX {
            return refuse("it is longer than 255 bytes");
        }
        let legacy = if text.contains('/') { None } else { split_legacy(text) };
        let whole: Arc<str> = match legacy {
            Some((owner, alias)) => format!("{owner}/{alias}").into(),
            None => text.into(),
        };

        // Where the first three segments end.
        let mut ends = [0; 3];
        let (mut count, mut end, mut first) = (0, 0, 0);
        let mut is_reserved = false;
        for segment in whole.split('/') {
            match segment {
                "" => return refuse("it has an empty segment (a slash too many)"),
                "." | ".." => return refuse("`.` and `..` are not segments"),
                _ => {}
            }
            if let Some(bad) = segment.chars().find(|c| !is_segment_char(*c)) {
                return refuse(&format!(
                    "{bad:?} cannot occur; letters, digits, `-`, `_`, `.` can"
                ));
            }
            if count == 0 && NAMESPACES.contains(&segment) {
                first = 1;
            }
            is_reserved |= count >= first + 2 && segment == RESERVED_SEGMENT;
            end += usize::from(count > 0) + segment.len();
            if let Some(place) = ends.get_mut(count) {
                *place = end;
            }
            count += 1;
        }
        if count < first + 2 {
            return refuse(match first {
                0 => "it needs an owner and a name, such as fal-ai/flux",
                _ => {
                    "after the namespace it needs an owner and a name, such as workflows/acme/my-flow"
                }
            });
        }
        if is_reserved {
            return refuse(
                "the segment `requests` is reserved for the addresses of queued requests",
            );
        }
        let offset = |at: usize| u16::try_from(at).expect("ids are at most 256 bytes");
        Ok(Self {
            owner_start: offset(if first == 1 { ends[0] + 1 } else { 0 }),
            alias_start: offset(ends[first] + 1),
            app_end: offset(ends[first + 1]),
            text: whole,
        })
    }

    /// The whole id in its slash form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `workflows` or `comfy`, if the id has a namespace.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        (self.owner_start > 0).then(|| &self.text[..usize::from(self.owner_start) - 1])
    }

    /// The owner, such as `fal-ai`.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.text[usize::from(self.owner_start)..usize::from(self.alias_start) - 1]
    }

    /// The app's name, with its environment if it has one.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.text[usize::from(self.alias_start)..usize::from(self.app_end)]
    }

    /// The environment that the alias names after `--`.
    ///
    /// Source: `sdk.py` of fal's serverless SDK (official client source).
    #[must_use]
    pub fn environment(&self) -> Option<&str> {
        self.alias().split_once("--").map(|(_, environment)| environment).filter(|e| !e.is_empty())
    }

    /// What follows the alias, such as `dev` in `fal-ai/flux/dev`.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.text.get(usize::from(self.app_end) + 1..)
    }

    /// The id without its path: the prefix of the addresses of queued requests.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.text[..usize::from(self.app_end)]
    }

    /// The id followed by this path; slashes before it are dropped, and an empty one adds nothing.
    ///
    /// # Errors
    /// [`InputError::EndpointId`] when the whole is none: a path has the segments of an id.
    pub fn join(&self, path: &str) -> Result<Self, InputError> {
        match path.trim_start_matches('/') {
            "" => Ok(self.clone()),
            path => Self::parse(&format!("{self}/{path}")),
        }
    }

    /// The path of the streaming route: the id with `/stream`, which is not doubled.
    ///
    /// Source: `resolveEndpointPath` in `@fal-ai/client` 1.10.1 (official client source). The Python
    /// client appends it always, which breaks the ids of the catalogue that already end so.
    #[must_use]
    pub fn stream_path(&self) -> String {
        match self.path() {
            Some(path) if path == "stream" || path.ends_with("/stream") => self.text.to_string(),
            _ => format!("{}/stream", self.text),
        }
    }
}

impl FromStr for EndpointId {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        Self::parse(text)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl AsRef<str> for EndpointId {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointId({})", self.text)
    }
}

impl Serialize for EndpointId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for EndpointId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Splits `12345678-my-app` at its first dash: the owner has digits only.
fn split_legacy(text: &str) -> Option<(&str, &str)> {
    let (owner, alias) = text.split_once('-')?;
    let digits = !owner.is_empty() && owner.bytes().all(|b| b.is_ascii_digit());
    let name = !alias.is_empty() && alias.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (digits && name).then_some((owner, alias))
}

fn is_segment_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// What is wrong with every address, whatever else is.
const NO_ADDRESS: &str = "give the id alone, such as fal-ai/flux/dev, not an address";

/// Longest id accepted. The longest of the catalogue has 78 bytes.
pub const ENDPOINT_ID_BYTES_MAX: usize = 255;

/// First segments that are a namespace and not an owner.
///
/// Source: `utils.ts` of `@fal-ai/client` 1.10.1 (official client source).
pub const NAMESPACES: [&str; 2] = ["workflows", "comfy"];

/// The segment that separates an app from its queued requests.
pub const RESERVED_SEGMENT: &str = "requests";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, namespace: Option<&str>, owner: &str, alias: &str, path: Option<&str>) {
        let id = EndpointId::parse(text).unwrap();
        assert_eq!(
            (id.namespace(), id.owner(), id.alias(), id.path()),
            (namespace, owner, alias, path)
        );
        assert_eq!(
            EndpointId::parse(id.as_str()).unwrap(),
            id,
            "the canonical form is a fixed point"
        );
    }

    #[test]
    fn every_form_is_parsed() {
        check("fal-ai/fast-sdxl", None, "fal-ai", "fast-sdxl", None);
        check("fal-ai/flux/dev", None, "fal-ai", "flux", Some("dev"));
        check("acme/a/b/c/d/e/f", None, "acme", "a", Some("b/c/d/e/f"));
        check("bytedance/seedance-2.0/fast", None, "bytedance", "seedance-2.0", Some("fast"));
        check("workflows/acme/my-flow", Some("workflows"), "acme", "my-flow", None);
        check("comfy/acme/graph/run", Some("comfy"), "acme", "graph", Some("run"));
        check("12345678-my-app", None, "12345678", "my-app", None);
        check("CassetteAI/music-generator", None, "CassetteAI", "music-generator", None);
        check("acme/requests", None, "acme", "requests", None);
    }

    #[test]
    fn parts_are_derived() {
        let id = EndpointId::parse("workflows/acme/flow--staging/a/b").unwrap();
        assert_eq!(id.app(), "workflows/acme/flow--staging");
        assert_eq!(id.environment(), Some("staging"));
        assert_eq!(EndpointId::parse("a/b--").unwrap().environment(), None);
        assert_eq!(EndpointId::parse("fal-ai/flux").unwrap().stream_path(), "fal-ai/flux/stream");
        let stream = EndpointId::parse("fal-ai/flux-lora/stream").unwrap();
        assert_eq!(stream.stream_path(), "fal-ai/flux-lora/stream");
        assert_eq!(EndpointId::parse("acme/stream").unwrap().stream_path(), "acme/stream/stream");
    }

    #[test]
    fn bad_ids_say_why() {
        for (text, why) in [
            ("", "empty segment"),
            ("my-app", "owner and a name"),
            ("a/", "empty segment"),
            ("/a/b", "empty segment"),
            ("a//b", "empty segment"),
            ("workflows/foo", "after the namespace"),
            ("a/b/requests/c", "reserved"),
            ("a/../b", "not segments"),
            ("a/b c", "cannot occur"),
            ("a/b?x=1", "cannot occur"),
            ("https://queue.fal.run/fal-ai/flux", "not an address"),
            ("12-", "owner and a name"),
        ] {
            let error = EndpointId::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        assert!(EndpointId::parse(&format!("a/{}", "b".repeat(253))).is_ok());
        assert!(EndpointId::parse(&format!("a/{}", "b".repeat(254))).is_err());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "\\PC{0,40}") {
            if let Ok(id) = EndpointId::parse(&text) {
                prop_assert_eq!(EndpointId::parse(id.as_str()).unwrap(), id);
            }
        }

        #[test]
        fn parts_join_to_the_whole(segments in proptest::collection::vec("[a-z][a-z0-9._-]{0,8}", 2..8)) {
            let text = segments.join("/");
            if let Ok(id) = EndpointId::parse(&text) {
                let joined: Vec<&str> =
                    [id.namespace(), Some(id.owner()), Some(id.alias()), id.path()].into_iter().flatten().collect();
                prop_assert_eq!(joined.join("/"), text);
            }
        }
    }
}
