//! Who calls.

use std::time::Duration;

use fal_protocol::proxy::{Caller, TARGET_URL};
use fal_protocol::wire::{Expect, Request};
use fal_transport_hyper::{Answer, Exchange, Transport};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use crate::flags;
use crate::problem::Problem;

/// How callers become known.
pub(super) enum Gate {
    /// They do not.
    Open,
    /// By a secret that they and the proxy share.
    Secret {
        header: HeaderName,
        /// Whether the secret follows the word `Bearer` or `Key`.
        has_scheme: bool,
        secret: Box<[u8]>,
    },
    /// By what another server says of them.
    Ask(Uri),
}

impl Gate {
    pub(super) fn new(flags: &flags::Proxy) -> Result<Self, Problem> {
        let secret = std::env::var("FAL_PROXY_SECRET").ok().filter(|secret| !secret.is_empty());
        match (&flags.auth_url, secret) {
            _ if flags.anonymous => Ok(Self::Open),
            (Some(_), _) if flags.require_header.is_some() => {
                Err(Problem::usage("--auth-url and --require-header exclude each other"))
            }
            (Some(url), _) if !matches!(url.scheme_str(), Some("http" | "https")) => {
                Err(Problem::usage("--auth-url must begin with http:// or https://"))
            }
            (Some(url), _) => Ok(Self::Ask(url.clone())),
            (None, Some(secret)) if secret.len() < SECRET_BYTES_MIN => Err(Problem::usage(
                format!("FAL_PROXY_SECRET must have at least {SECRET_BYTES_MIN} characters"),
            )),
            // What lets callers in must not go on to the service.
            (None, Some(_)) if flags.require_header.is_none() && flags.forward_client_auth => {
                Err(Problem::usage(
                    "--forward-client-auth would send FAL_PROXY_SECRET to the service: let callers \
                     send it elsewhere, with --require-header NAME",
                ))
            }
            (None, Some(_))
                if flags.require_header.as_ref().is_some_and(|name| {
                    name.as_str().starts_with("x-fal-") || flags.forward_headers.contains(name)
                }) =>
            {
                Err(Problem::usage("--require-header names a header that goes on to the service"))
            }
            (None, Some(secret)) => Ok(Self::Secret {
                header: flags.require_header.clone().unwrap_or(header::AUTHORIZATION),
                has_scheme: flags.require_header.is_none(),
                secret: secret.into_bytes().into(),
            }),
            (None, None) => Err(Problem::usage("nobody could be known to this proxy")
                .with_hint(
                    "set FAL_PROXY_SECRET to what callers send as `Authorization: Bearer SECRET`",
                )
                .with_hint("or let your own server decide: --auth-url URL")
                .with_hint("or serve whoever comes: --anonymous")),
        }
    }

    /// Who sent this. `Err` when nobody could say.
    pub(super) async fn caller(
        &self,
        method: &Method,
        headers: &HeaderMap,
        transport: &Transport,
    ) -> Result<Caller, String> {
        match self {
            Self::Open => Ok(Caller::Anonymous),
            Self::Secret { header, has_scheme, secret } => {
                let mut given = headers.get_all(header).iter();
                let is_known = match (given.next(), given.next()) {
                    (Some(value), None) => is_same(secret, bare(value.as_bytes(), *has_scheme)),
                    _ => false,
                };
                Ok(if is_known { Caller::Known } else { Caller::Anonymous })
            }
            Self::Ask(url) => ask(url, method, headers, transport).await,
        }
    }
}

/// The secret without the word before it.
fn bare(value: &[u8], has_scheme: bool) -> &[u8] {
    if !has_scheme {
        return value;
    }
    let word = |word: &str| {
        let (found, rest) = value.split_at_checked(word.len())?;
        found.eq_ignore_ascii_case(word.as_bytes()).then(|| rest.trim_ascii())
    };
    word("bearer ").or_else(|| word("key ")).unwrap_or_default()
}

/// Takes the same time wherever the first difference is.
fn is_same(secret: &[u8], given: &[u8]) -> bool {
    let differences = secret.iter().zip(given).fold(0, |found, (a, b)| found | (a ^ b));
    secret.len() == given.len() && std::hint::black_box(differences) == 0
}

async fn ask(
    url: &Uri,
    method: &Method,
    headers: &HeaderMap,
    transport: &Transport,
) -> Result<Caller, String> {
    let mut request = Request::new(Method::GET, url.clone())
        .with_expect(Expect::Whole { bytes_max: VERDICT_BYTES_MAX });
    for name in [header::AUTHORIZATION, header::COOKIE, header::ORIGIN, TARGET_URL] {
        for value in headers.get_all(&name) {
            request.headers.append(name.clone(), value.clone());
        }
    }
    if let Ok(method) = HeaderValue::from_str(method.as_str()) {
        request.headers.insert(HeaderName::from_static("x-original-method"), method);
    }
    let answer = tokio::time::timeout(VERDICT_WAIT_MAX, transport.send(Exchange::new(request)));
    match answer.await {
        Ok(Ok(Answer::Whole(answer))) => match answer.status().as_u16() {
            200..300 => Ok(Caller::Known),
            401 | 403 => Ok(Caller::Anonymous),
            status => Err(format!("--auth-url answered {status}")),
        },
        Ok(Ok(Answer::Chunks(..))) => Err("--auth-url answered in another shape".to_owned()),
        Ok(Err(failure)) => Err(format!("--auth-url: {failure}")),
        Err(_) => Err("--auth-url did not answer in time".to_owned()),
    }
}

/// Shortest secret: what can be tried out is none.
const SECRET_BYTES_MIN: usize = 16;

/// Longest wait for a verdict about a caller.
const VERDICT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Longest verdict. Only its status counts.
const VERDICT_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_match_whole_or_not() {
        for (value, has_scheme, is_known) in [
            ("Bearer 0123456789abcdef", true, true),
            ("bearer  0123456789abcdef ", true, true),
            ("Key 0123456789abcdef", true, true),
            ("0123456789abcdef", true, false),
            ("0123456789abcdef", false, true),
            ("Bearer 0123456789abcdeX", true, false),
            ("Bearer 0123456789abcde", true, false),
            ("Bearer 0123456789abcdef0", true, false),
            ("Bearer ", true, false),
            ("", false, false),
        ] {
            let given = bare(value.as_bytes(), has_scheme);
            assert_eq!(is_same(b"0123456789abcdef", given), is_known, "{value:?}");
        }
    }
}
