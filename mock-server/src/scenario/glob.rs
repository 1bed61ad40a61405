//! Patterns for endpoint ids.

use std::fmt;

use regex_lite::Regex;

/// A pattern: `*` is anything within a segment, `**` anything, `?` one character. `fal-ai/flux/**` fits
/// `fal-ai/flux` as well.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    text: Box<str>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// No wildcard, which is what most patterns are.
    Exact,
    Any,
    Pattern(Regex),
}

impl Glob {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > GLOB_BYTES_MAX {
            return Err(format!("a pattern is at most {GLOB_BYTES_MAX} bytes long"));
        }
        let trimmed = text.trim_matches('/');
        if trimmed.is_empty() {
            return Err("give an endpoint such as fal-ai/flux/dev, or ** for every one".to_owned());
        }
        if let Some(odd) = trimmed.chars().find(|c| c.is_whitespace() || "[]{}\\".contains(*c)) {
            return Err(format!("a pattern has no {odd:?}: its wildcards are *, ** and ?"));
        }
        let kind = if trimmed == "**" {
            Kind::Any
        } else if trimmed.contains(['*', '?']) {
            let regex = Regex::new(&regex(trimmed)).map_err(|error| error.to_string())?;
            Kind::Pattern(regex)
        } else {
            Kind::Exact
        };
        Ok(Self { text: trimmed.into(), kind })
    }

    /// Whether it is about an app (`owner/alias`): the app itself, or some path below it by name.
    pub(crate) fn fits_app(&self, app: &str) -> bool {
        let is_below = self.text.strip_prefix(app).is_some_and(|rest| rest.starts_with('/'));
        is_below || self.fits(app)
    }

    pub(crate) fn fits(&self, endpoint: &str) -> bool {
        match &self.kind {
            Kind::Exact => &*self.text == endpoint,
            Kind::Any => true,
            Kind::Pattern(regex) => regex.is_match(endpoint),
        }
    }
}

fn regex(glob: &str) -> String {
    let (body, end) = match glob.strip_suffix("/**") {
        Some(body) => (body, "(?:/.*)?"),
        None => (glob, ""),
    };
    let mut out = String::from("^");
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("**") {
            out.push_str(".*");
            rest = tail;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            c => out.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push_str(end);
    out.push('$');
    out
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Longest pattern.
pub(crate) const GLOB_BYTES_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_stop_at_slashes_unless_doubled() {
        for (glob, fits, misses) in [
            (
                "fal-ai/flux/dev",
                &["fal-ai/flux/dev"][..],
                &["fal-ai/flux", "fal-ai/flux/dev/x"][..],
            ),
            ("fal-ai/flux/*", &["fal-ai/flux/dev"], &["fal-ai/flux", "fal-ai/flux/dev/x"]),
            ("fal-ai/flux/**", &["fal-ai/flux", "fal-ai/flux/a/b"], &["fal-ai/flux-pro", "x/flux"]),
            ("fal-ai/flux*", &["fal-ai/flux", "fal-ai/flux-pro"], &["fal-ai/flux/dev"]),
            ("**/dev", &["fal-ai/flux/dev", "/dev"], &["dev", "fal-ai/flux/dev2"]),
            ("**", &["", "a/b/c"], &[]),
            ("a?c/x.y", &["abc/x.y"], &["a/c/x.y", "abc/xzy", "ac/x.y"]),
        ] {
            let glob = Glob::parse(glob).unwrap();
            assert!(fits.iter().all(|id| glob.fits(id)), "{glob}");
            assert!(!misses.iter().any(|id| glob.fits(id)), "{glob}");
        }
        for wrong in ["", "/", "a b", "a[b]", "{a,b}", &"a".repeat(GLOB_BYTES_MAX + 1)] {
            assert!(Glob::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn patterns_without_wildcards_fit_themselves_alone(id in "[a-z0-9.+()|^$/-]{1,20}", other in "[a-z0-9./-]{1,20}") {
            prop_assume!(!id.trim_matches('/').is_empty());
            let id = id.trim_matches('/');
            let glob = Glob::parse(id).unwrap();
            prop_assert!(glob.fits(id));
            prop_assert_eq!(glob.fits(&other), id == other);
            let below = Glob::parse(&format!("{id}/**")).unwrap();
            let child = format!("{id}/{other}");
            prop_assert!(below.fits(id) && below.fits(&child));
            let ending = format!("{id}x");
            prop_assert!(!below.fits(&ending));
        }
    }
}
