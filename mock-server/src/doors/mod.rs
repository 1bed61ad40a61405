//! The ways in: which host of the service a request is for, and how addresses in its answer are written.
//!
//! | Door | Reaches |
//! |---|---|
//! | header `x-fal-target-url` on any path | clients with a proxy setting |
//! | the host as first path segment | clients with a configurable base address, curl |

mod cors;
mod help;

use std::borrow::Cow;

use http::{HeaderMap, StatusCode, Uri, header};

use crate::model::{Door, Host};

pub(crate) use cors::{allow_origin, preflight};
pub(crate) use help::{help, hint};

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
            Self::Help => StatusCode::OK,
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::BadTarget(_) => StatusCode::BAD_REQUEST,
            Self::NotEmulated(_) => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

/// Finds the door of a request. `listening` stands in addresses where the caller named no usable host.
pub(crate) fn enter<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
    listening: &'a str,
) -> Result<Entry<'a>, NoDoor> {
    let authority = || Cow::Borrowed(authority(headers).unwrap_or(listening));
    if let Some(target) = headers.get(TARGET_HEADER) {
        let (host, path, query) = split_target(target.to_str().unwrap_or_default())?;
        return Ok(Entry { host, path, query, door: Door::Proxy { authority: authority() } });
    }
    let path = uri.path();
    let Some(below) = path.strip_prefix('/').filter(|below| !below.is_empty()) else {
        return Err(NoDoor::Help);
    };
    let name_end = below.find('/').unwrap_or(below.len());
    match host_of(&below[..name_end]) {
        Some(Ok(host)) => Ok(Entry {
            host,
            path: if name_end == below.len() { "/" } else { &below[name_end..] },
            query: uri.query(),
            door: Door::Prefix { authority: authority() },
        }),
        Some(Err(name)) => Err(NoDoor::NotEmulated(name)),
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
fn host_of(name: &str) -> Option<Result<Host, &'static str>> {
    Some(Ok(match name {
        "queue.fal.run" | "queue.falrun.com" => Host::Queue,
        "fal.run" | "falrun.com" => Host::Run,
        "rest.fal.ai" | "rest.alpha.fal.ai" => Host::Rest,
        "v3.fal.media" | "v3b.fal.media" | "v2.fal.media" | "fal.media" => Host::Cdn,
        "api.fal.ai" => Host::Api,
        "fal.ai" | "www.fal.ai" => Host::Site,
        "ws.fal.run" => return Some(Err("HTTP over WebSocket (ws.fal.run)")),
        "wma.fal.run" => return Some(Err("the WebRTC bridge (wma.fal.run)")),
        "kv.fal.media" => return Some(Err("the key-value store (kv.fal.media)")),
        _ => return None,
    }))
}

/// The `Host` header, if it can stand in an address and in JSON as it is.
fn authority(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::HOST)?.to_str().ok()?;
    let fits =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']' | b'_');
    (!text.is_empty() && text.bytes().all(fits)).then_some(text)
}

/// Where the clients put the address that they mean.
const TARGET_HEADER: &str = "x-fal-target-url";

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
        let found = enter(&uri, &headers, "127.0.0.1:1").map(|entry| {
            let at = Cow::Borrowed("localhost:8787");
            let door = if target.is_some() {
                Door::Proxy { authority: at }
            } else {
                Door::Prefix { authority: at }
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
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static(TARGET_HEADER),
                HeaderValue::from_str(target).unwrap(),
            )]);
            let refused = enter(&Uri::from_static("/x"), &headers, "h").unwrap_err();
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{target}");
        }
    }

    #[test]
    fn unusable_hosts_are_replaced() {
        for host in ["a\"b", "", "a/b"] {
            let headers =
                HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
            let uri = Uri::from_static("/fal.run/a/b");
            let entry = enter(&uri, &headers, "127.0.0.1:1").unwrap();
            assert_eq!(entry.door, Door::Prefix { authority: Cow::Borrowed("127.0.0.1:1") });
        }
    }
}
