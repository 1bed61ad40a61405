//! What must not reach a disk, taken out of texts before they are written.
//!
//! Keys, tokens, cookies and signatures are found by the names of what holds them, by their form, and, what the caller
//! sent as credentials, literally. Input files are not looked into.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, header};
use regex_lite::{Captures, Regex};

use super::address;

/// Takes secrets out of texts. One for each call: it knows the credentials that the call came with.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    known: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// One that knows what a call came with.
    pub(crate) fn of(headers: &HeaderMap, query: Option<&str>) -> Self {
        let mut known = Vec::new();
        let secrets = headers.iter().filter(|(name, _)| is_secret_header(name));
        for value in secrets.filter_map(|(_, value)| value.to_str().ok()) {
            // Of `Key id:secret` neither the whole nor the secret part may be seen.
            let credential =
                value.split_once(' ').map_or(value, |(_, credential)| credential).trim();
            known.push(credential.to_owned());
            known.extend(credential.split_once(':').map(|(_, secret)| secret.to_owned()));
        }
        let tokens = crate::model::parameters(query.unwrap_or_default());
        known.extend(
            tokens.filter(|(name, _)| is_secret_name(name)).map(|(_, value)| value.into_owned()),
        );
        known.retain(|secret| secret.len() >= KNOWN_BYTES_MIN || secret.contains(':'));
        // The longest first, so that no part of one is left.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { known }
    }

    /// A text without secrets: JSON, events of a stream, or anything else.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = Cow::Borrowed(text);
        for secret in &self.known {
            if out.contains(secret.as_str()) {
                out = Cow::Owned(out.replace(secret.as_str(), HIDDEN));
            }
        }
        for (pattern, replace) in [
            (&URL, redact_url as fn(&Captures<'_>) -> String),
            (&MEMBER, redact_member),
            (&NESTED_MEMBER, redact_member),
            (&JWT, |_| HIDDEN.to_owned()),
            (&CREDENTIAL, |found| format!("{} {HIDDEN}", &found[1])),
        ] {
            if pattern.is_match(&out) {
                out = Cow::Owned(pattern.replace_all(&out, replace).into_owned());
            }
        }
        out
    }

    /// A query without secrets, its parameters as they were.
    pub(crate) fn query(&self, query: &str) -> String {
        let hidden = redact_query(query, |name| is_secret_name(name) || name == "fal_webhook");
        self.text(&hidden).into_owned()
    }

    /// The headers that are worth keeping, without secrets.
    pub(crate) fn headers(
        &self,
        headers: &HeaderMap,
    ) -> std::collections::BTreeMap<String, String> {
        let kept = headers.iter().filter(|(name, _)| is_kept(name));
        kept.filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), self.text(value.to_str().ok()?).into_owned()))
        })
        .collect()
    }
}

/// Only what means something to the service or its client is kept: a header that nobody thought of can be a secret.
fn is_kept(name: &HeaderName) -> bool {
    let text = name.as_str();
    let is_fals = text.starts_with("x-fal-") || text.starts_with("x-app-fal-");
    let is_plain =
        [header::ACCEPT, header::CONTENT_TYPE, header::ETAG, header::LOCATION, header::RETRY_AFTER];
    (is_fals && !is_secret_header(name) && text != "x-fal-target-url") || is_plain.contains(name)
}

fn is_secret_header(name: &HeaderName) -> bool {
    let text = name.as_str();
    let words = ["auth", "cookie", "key", "token", "secret", "signature", "webhook"];
    words.iter().any(|word| text.contains(word)) || text == "sec-websocket-protocol"
}

/// Whether a member or a parameter of this name holds a secret.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_NAMES.contains(&&*name)
        || SECRET_ENDS.iter().any(|end| name.ends_with(end))
        || name.starts_with("x_goog_")
        || name.starts_with("x_amz_")
        || name.contains("webhook")
}

fn redact_member(found: &Captures<'_>) -> String {
    let (open, name, between, value, close) =
        (&found[1], &found[2], &found[3], &found[4], &found[5]);
    match is_secret_name(name) && !value.is_empty() {
        true => format!("{open}{name}{between}{HIDDEN}{close}"),
        false => found[0].to_owned(),
    }
}

fn redact_url(found: &Captures<'_>) -> String {
    let url = &found[0];
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, below) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        None => authority.to_owned(),
    };
    // What follows the path of a file is a signature, whatever it is called.
    let is_file = address::is_file_host(&authority);
    let (below, fragment) = match below.split_once('#') {
        Some((below, _)) => (below, format!("#{HIDDEN}")),
        None => (below, String::new()),
    };
    let below = match below.split_once('?') {
        Some((path, query)) => {
            format!("{path}?{}", redact_query(query, |name| is_file || is_secret_name(name)))
        }
        None => below.to_owned(),
    };
    format!("{scheme}://{authority}{below}{fragment}")
}

/// `&` may be written `\u0026` in JSON.
fn redact_query(query: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let separator = if query.contains("\\u0026") { "\\u0026" } else { "&" };
    let pairs = query.split(separator).map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join(separator)
}

/// What stands in place of a secret.
pub(crate) const HIDDEN: &str = "***";

/// Shorter texts would be found where they are no secret.
const KNOWN_BYTES_MIN: usize = 8;

const SECRET_NAMES: [&str; 22] = [
    "access_key",
    "api_key",
    "apikey",
    "authorization",
    "awsaccesskeyid",
    "cookie",
    "credential",
    "credentials",
    "fal_key",
    "googleaccessid",
    "identity",
    "jwt",
    "key_pair_id",
    "passwd",
    "password",
    "policy",
    "private_key",
    "secret",
    "set_cookie",
    "sig",
    "signature",
    "token",
];

const SECRET_ENDS: [&str; 9] = [
    "_access_key",
    "_api_key",
    "_apikey",
    "_credential",
    "_jwt",
    "_password",
    "_secret",
    "_signature",
    "_token",
];

static MEMBER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(")([A-Za-z0-9_-]+)("\s*:\s*")((?:[^"\\]|\\.)*)(")"#));

/// A member of JSON that stands in a text of JSON.
static NESTED_MEMBER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(\\")([A-Za-z0-9_-]+)(\\"\s*:\s*\\")([^"\\]*)(\\")"#));

static URL: LazyLock<Regex> = LazyLock::new(|| pattern(r#"https?://(?:[^\s"'<>\\]|\\u0026)+"#));

static JWT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"));

static CREDENTIAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)\b(key|bearer)\s+(?:[A-Za-z0-9-]{8,}:[A-Za-z0-9]{8,}|[A-Za-z0-9._~+/=-]{24,})")
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is well-formed")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn redacted(text: &str) -> String {
        Redactor::default().text(text).into_owned()
    }

    #[test]
    fn secrets_are_found_by_name_and_by_form() {
        for (text, want) in [
            (r#"{"token":"mastodon","n":1}"#, r#"{"token":"***","n":1}"#),
            (r#"{"hf_token" : "mas\"todon"}"#, r#"{"hf_token" : "***"}"#),
            (r#"{"max_tokens":"5","tokens":"x"}"#, r#"{"max_tokens":"5","tokens":"x"}"#),
            (r#"{"a":"{\"api_key\":\"mastodon\"}"}"#, r#"{"a":"{\"api_key\":\"***\"}"}"#),
            (r#"{"webhook_url":"https://a.test/mastodon"}"#, r#"{"webhook_url":"***"}"#),
            ("see https://u:mastodon@a.test/x?b=1", "see https://***@a.test/x?b=1"),
            (
                r#""https://a.test/x?b=1&X-Amz-Signature=mastodon#mastodon""#,
                r#""https://a.test/x?b=1&X-Amz-Signature=***#***""#,
            ),
            (
                r#""https://v3.fal.media/files/a.png?x=mastodon\u0026y=mastodon""#,
                r#""https://v3.fal.media/files/a.png?x=***\u0026y=***""#,
            ),
            ("data: eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl\n\n", "data: ***\n\n"),
            (
                "curl -H 'Authorization: Key 12345678-ab:mastodon99'",
                "curl -H 'Authorization: Key ***'",
            ),
            ("a key frame and a bearer", "a key frame and a bearer"),
        ] {
            assert_eq!(redacted(text), want);
        }
    }

    #[test]
    fn what_a_call_came_with_is_hidden_everywhere() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Key id:mastodon-secret"));
        headers.insert("cookie", HeaderValue::from_static("session=trilobite"));
        headers.insert("x-fal-queue-priority", HeaderValue::from_static("low"));
        headers.insert("x-custom", HeaderValue::from_static("mastodon"));
        let redactor = Redactor::of(&headers, Some("fal_jwt_token=ammonites&a=1"));
        let text = "id:mastodon-secret mastodon-secret session=trilobite ammonites";
        assert_eq!(redactor.text(text), "*** *** *** ***");
        assert_eq!(
            redactor.query("a=1&fal_jwt_token=x&fal_webhook=https%3A%2F%2Fa"),
            "a=1&fal_jwt_token=***&fal_webhook=***"
        );
        let kept = redactor.headers(&headers);
        assert_eq!(
            kept.into_iter().collect::<Vec<_>>(),
            [("x-fal-queue-priority".into(), "low".into())]
        );
        assert!(!format!("{redactor:?}").contains("mastodon"));
    }

    proptest::proptest! {
        #[test]
        fn taking_out_twice_changes_nothing_more(text in "[a-z\":{}?&=/. ]{0,60}|\\PC{0,60}") {
            let once = redacted(&text);
            proptest::prop_assert_eq!(redacted(&once), once);
        }
    }
}
