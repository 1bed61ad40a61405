//! The ways in: which host of the service a request is for, and how addresses in its answer are written.
//!
//! | Door | Reaches |
//! |---|---|
//! | the host by its own name: in a `CONNECT` tunnel, in an absolute address, by SNI or `Host` | unmodified clients with a proxy setting of their language |
//! | header `x-fal-target-url` on any path | clients with a proxy setting of fal's |
//! | the host as first path segment | clients with a configurable base address, curl |
//!
//! Each with and without TLS.

mod cors;
mod help;
mod way;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, StatusCode, Uri, header};

use crate::model::{Door, Host};

pub(crate) use cors::{allow_origin, preflight};
pub(crate) use help::{help, hint, refusal};
pub(crate) use way::{Way, foreign, named};

/// A request that found a door.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) host: Host,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) door: Door<'a>,
}

/// A request that found none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoDoor {
    /// It asked for `/`.
    Help,
    /// It is for the control API.
    Control,
    /// Its path starts with no host.
    UnknownPath,
    /// Its target is no address of the service.
    BadTarget(String),
    /// Its target is a host of the service that is not played.
    NotEmulated(&'static str),
}

impl NoDoor {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Help | Self::Control => StatusCode::OK,
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::BadTarget(_) => StatusCode::BAD_REQUEST,
            Self::NotEmulated(_) => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

/// Finds the door of a request that came by `way` and is not [`foreign`]. `listening` stands in addresses
/// where the caller named no usable host.
pub(crate) fn enter<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
    listening: &'a str,
    way: Way,
) -> Result<Entry<'a>, NoDoor> {
    let path = uri.path();
    let is_secure = way.is_secure_for(uri);
    // Before the header: whoever names a host means it, and a proxy may pass the header on.
    if let Some(named) = way::named_of(uri, headers, way) {
        return match named.host {
            Ok(host) => {
                let door = Door::Named { is_secure, port: named.port(is_secure) };
                Ok(Entry { host, path, query: uri.query(), door })
            }
            Err(name) => Err(NoDoor::NotEmulated(name)),
        };
    }
    let authority = || Cow::Borrowed(authority(headers).unwrap_or(listening));
    if let Some(target) = headers.get(TARGET_HEADER) {
        let (host, path, query) = split_target(target.to_str().unwrap_or_default())?;
        let door = Door::Proxy { is_secure, authority: authority() };
        return Ok(Entry { host, path, query, door });
    }
    let Some(below) = path.strip_prefix('/').filter(|below| !below.is_empty()) else {
        return Err(NoDoor::Help);
    };
    let name_end = below.find('/').unwrap_or(below.len());
    match host_of(&below[..name_end]) {
        Some(Ok(host)) => Ok(Entry {
            host,
            path: if name_end == below.len() { "/" } else { &below[name_end..] },
            query: uri.query(),
            door: Door::Prefix { is_secure, authority: authority() },
        }),
        Some(Err(name)) => Err(NoDoor::NotEmulated(name)),
        None if crate::admin::is_control(path) => Err(NoDoor::Control),
        None => Err(NoDoor::UnknownPath),
    }
}

/// Host, path and query of a target address.
fn split_target(target: &str) -> Result<(Host, &str, Option<&str>), NoDoor> {
    let bad = |why: &str| Err(NoDoor::BadTarget(format!("x-fal-target-url {why}")));
    let target = target.split('#').next().unwrap_or_default();
    let Some((scheme, rest)) = target.split_once("://") else {
        return bad("must be an absolute address, such as https://queue.fal.run/fal-ai/flux/dev");
    };
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return bad("must start with https://");
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (name, below) = rest.split_at(end);
    if name.contains('@') {
        return bad("must not carry a user name");
    }
    let name = name.strip_suffix(":443").unwrap_or(name).to_ascii_lowercase();
    let host = match host_of(&name) {
        Some(Ok(host)) => host,
        Some(Err(known)) => return Err(NoDoor::NotEmulated(known)),
        None => return bad(&format!("names the host {name:?}, which is not one of fal's")),
    };
    let (path, query) = match below.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (below, None),
    };
    Ok((host, if path.is_empty() { "/" } else { path }, query))
}

/// The host that a name means; `Err` if it is one of fal's that is not played.
///
/// Source: hosts and backups of the official clients (official client source).
pub(crate) fn host_of(name: &str) -> Option<Result<Host, &'static str>> {
    Some(Ok(match name {
        "queue.fal.run" | "queue.falrun.com" => Host::Queue,
        "fal.run" | "falrun.com" => Host::Run,
        "rest.fal.ai" | "rest.alpha.fal.ai" => Host::Rest,
        "ws.fal.run" => Host::Ws,
        "v3.fal.media" | "v3b.fal.media" | "v2.fal.media" | "fal.media" => Host::Cdn,
        // An SDK that is gone puts this before the host of its token.
        "upload.v3.fal.media" | "upload.v2.fal.media" | "upload.fal.media" => Host::Cdn,
        "storage.googleapis.com" | "gcs.fal.media" => Host::Gcs,
        "api.fal.ai" => Host::Api,
        "fal.ai" | "www.fal.ai" => Host::Site,
        "wma.fal.run" => return Some(Err("the WebRTC bridge (wma.fal.run)")),
        "kv.fal.media" => return Some(Err("the key-value store (kv.fal.media)")),
        "auth.fal.ai" => return Some(Err("the login service (auth.fal.ai)")),
        // Whatever else is fal's is refused here and never asked for elsewhere.
        _ if is_below(name) => return Some(Err("this host of fal's")),
        _ => return None,
    }))
}

/// Whether a host is one of fal's by its domain.
fn is_below(name: &str) -> bool {
    DOMAINS.iter().any(|domain| {
        name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// The `Host` header, if it can stand in an address and in JSON as it is.
fn authority(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::HOST)?.to_str().ok()?;
    let fits =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']' | b'_');
    (!text.is_empty() && text.bytes().all(fits)).then_some(text)
}

/// The name of the host that a request is for, which may be another one of its kind than [`Host::name`].
pub(crate) fn name_of<'a>(uri: &'a Uri, headers: &'a HeaderMap, entry: &Entry<'_>) -> Cow<'a, str> {
    let named = match entry.door {
        Door::Proxy { .. } => headers
            .get(TARGET_HEADER)
            .and_then(|target| target.to_str().ok()?.split_once("://"))
            .map(|(_, rest)| rest.split(['/', '?', ':', '#']).next().unwrap_or_default()),
        Door::Prefix { .. } => uri.path().split('/').nth(1),
        _ => uri
            .authority()
            .map(|authority| authority.host())
            .or_else(|| headers.get(header::HOST)?.to_str().ok()?.split(':').next()),
    };
    let name = named.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    match name.filter(|name| matches!(host_of(name), Some(Ok(host)) if host == entry.host)) {
        Some(name) => Cow::Owned(name),
        None => Cow::Borrowed(entry.host.name()),
    }
}

/// Where addresses on a host start that lead through a door, if the host goes by that name.
pub(crate) fn address(door: &Door<'_>, host: Host, name: &str) -> String {
    let mut base = Vec::new();
    door.push_base(&mut base, host);
    let base = String::from_utf8(base).expect("made of texts");
    // By way of its own name Google's storage is one of fal's, whatever it is called elsewhere.
    match base.rfind(host.name()) {
        Some(at) => format!("{}{name}{}", &base[..at], &base[at + host.name().len()..]),
        None => base,
    }
}

/// The domains in which all hosts are fal's.
///
/// Source: hosts and backups of the official clients (official client source).
const DOMAINS: [&str; 4] = ["fal.run", "fal.ai", "fal.media", "falrun.com"];

/// Where the clients put the address that they mean.
const TARGET_HEADER: HeaderName = HeaderName::from_static("x-fal-target-url");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(uri: &str, target: Option<&str>, want: Result<(Host, &str, Option<&str>), NoDoor>) {
        let uri: Uri = uri.parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost:8787"));
        if let Some(target) = target {
            headers.insert(TARGET_HEADER, HeaderValue::from_str(target).unwrap());
        }
        let found = enter(&uri, &headers, "127.0.0.1:1", Way::default()).map(|entry| {
            let authority = Cow::Borrowed("localhost:8787");
            let door = if target.is_some() {
                Door::Proxy { is_secure: false, authority }
            } else {
                Door::Prefix { is_secure: false, authority }
            };
            assert_eq!(entry.door, door);
            (entry.host, entry.path, entry.query)
        });
        assert_eq!(found, want);
    }

    #[test]
    fn hosts_stand_in_the_path() {
        check("/queue.fal.run/a/b?x=1", None, Ok((Host::Queue, "/a/b", Some("x=1"))));
        check("/fal.run", None, Ok((Host::Run, "/", None)));
        check("/falrun.com/a/b", None, Ok((Host::Run, "/a/b", None)));
        check("/rest.alpha.fal.ai/x", None, Ok((Host::Rest, "/x", None)));
        check("/v3b.fal.media/files/x", None, Ok((Host::Cdn, "/files/x", None)));
        check("/", None, Err(NoDoor::Help));
        check("/fal-ai/flux", None, Err(NoDoor::UnknownPath));
        check("/api.fal.ai/v1/models", None, Ok((Host::Api, "/v1/models", None)));
        check("/fal.ai/api/x", None, Ok((Host::Site, "/api/x", None)));
        check(
            "/kv.fal.media/x",
            None,
            Err(NoDoor::NotEmulated("the key-value store (kv.fal.media)")),
        );
        check("/storage.googleapis.com/x/y", None, Ok((Host::Gcs, "/x/y", None)));
    }

    #[test]
    fn hosts_stand_in_the_target() {
        let target = |text| Some(text);
        check(
            "/api/fal/proxy",
            target("https://queue.fal.run/a/b?x=1"),
            Ok((Host::Queue, "/a/b", Some("x=1"))),
        );
        check("/", target("HTTPS://FAL.RUN/a/b#f"), Ok((Host::Run, "/a/b", None)));
        check("/", target("https://queue.falrun.com:443?x"), Ok((Host::Queue, "/", Some("x"))));
    }

    #[test]
    fn other_targets_are_refused() {
        for target in [
            "",
            "queue.fal.run/a",
            "ftp://fal.run/a",
            "https://evil.test/fal.run/x",
            "https://fal.run.evil.test/x",
            "https://fal.run@evil.test/x",
            "https://evil.test@fal.run/x",
            "https://fal.run:8443/x",
            "https://notfal.run/x",
        ] {
            let headers =
                HeaderMap::from_iter([(TARGET_HEADER, HeaderValue::from_str(target).unwrap())]);
            let refused =
                enter(&Uri::from_static("/x"), &headers, "h", Way::default()).unwrap_err();
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{target}");
        }
    }

    #[test]
    fn unusable_hosts_are_replaced() {
        for host in ["a\"b", "", "a/b"] {
            let headers =
                HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
            let uri = Uri::from_static("/fal.run/a/b");
            let entry = enter(&uri, &headers, "127.0.0.1:1", Way::default()).unwrap();
            let authority = Cow::Borrowed("127.0.0.1:1");
            assert_eq!(entry.door, Door::Prefix { is_secure: false, authority });
        }
    }
}
