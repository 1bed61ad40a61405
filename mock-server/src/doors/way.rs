//! What is known of a connection before its first request, and which host a request names.

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use super::{host_of, is_below};
use crate::model::Host;

/// How a connection came in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// TLS is spoken on it.
    pub(crate) is_secure: bool,
    /// The host that SNI or `CONNECT` named, for requests that name none.
    pub(crate) named: Option<Named>,
}

/// One of fal's hosts under its own name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    /// `Err` if it is not played.
    pub(super) host: Result<Host, &'static str>,
    port: Option<u16>,
}

impl Named {
    /// The port, unless it is the usual one.
    pub(super) fn port(self, is_secure: bool) -> Option<u16> {
        self.port.filter(|port| *port != if is_secure { 443 } else { 80 })
    }
}

impl Way {
    /// Whether a request was meant to be secret. Some clients send an absolute `https` address to their
    /// proxy instead of asking for a tunnel.
    pub(super) fn is_secure_for(self, uri: &Uri) -> bool {
        self.is_secure || uri.scheme() == Some(&http::uri::Scheme::HTTPS)
    }
}

/// The host of fal's that an authority names, such as `queue.fal.run` or `queue.fal.run:443`.
pub(crate) fn named(authority: &str) -> Option<Named> {
    // Most requests come to an address.
    if authority.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':')) {
        return None;
    }
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (authority, None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let host = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => fals(&name.to_ascii_lowercase()),
        false => fals(name),
    };
    host.map(|host| Named { host, port })
}

/// What a name means if it is one of fal's. Google's storage is not: whatever else of this machine uses it is
/// for somebody else, and no certificate of ours may speak for it.
fn fals(name: &str) -> Option<Result<Host, &'static str>> {
    is_below(name).then(|| host_of(name)).flatten()
}

/// The host of fal's that a request names: by an absolute address, else by its header, else by its way.
pub(super) fn named_of(uri: &Uri, headers: &HeaderMap, way: Way) -> Option<Named> {
    if let Some(authority) = uri.authority() {
        return named(authority.as_str());
    }
    match headers.get(header::HOST) {
        Some(host) => named(host.to_str().ok()?),
        None => way.named,
    }
}

/// The authority of a request that is for somebody else: its address is absolute, or the target of a
/// `CONNECT`, and names neither a host of fal's nor this mock.
pub(crate) fn foreign<'a>(uri: &'a Uri, listening: &str) -> Option<&'a Authority> {
    let authority = uri.authority()?;
    let is_own = || {
        let own_port = listening.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let is_secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        own_port == Some(port) && (authority.as_str() == listening || is_loopback(authority.host()))
    };
    (named(authority.as_str()).is_none() && !is_own()).then_some(authority)
}

/// Whether a host is this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::super::{NoDoor, enter};
    use super::*;
    use crate::model::Door;

    #[track_caller]
    fn check(target: &str, host: &str, way: Way, want: Result<(Host, bool, Option<u16>), ()>) {
        let uri: Uri = target.parse().unwrap();
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
        let found = enter(&uri, &headers, "127.0.0.1:8787", way);
        let found = found.map_err(drop).map(|entry| match entry.door {
            Door::Named { is_secure, port } => (entry.host, is_secure, port),
            other => panic!("{other:?}"),
        });
        assert_eq!(found, want, "{target} {host}");
    }

    #[test]
    fn hosts_are_known_by_their_names() {
        let plain = Way::default();
        let secure = Way { is_secure: true, named: None };
        check("/a/b", "queue.fal.run", plain, Ok((Host::Queue, false, None)));
        check("/a/b", "FAL.run:80", plain, Ok((Host::Run, false, None)));
        check("/a/b", "fal.run:443", plain, Ok((Host::Run, false, Some(443))));
        check("/a/b", "fal.run:443", secure, Ok((Host::Run, true, None)));
        check("/a/b", "fal.run.:8787", secure, Ok((Host::Run, true, Some(8787))));
        check("http://v3.fal.media/files/x", "v3.fal.media", plain, Ok((Host::Cdn, false, None)));
        check("https://rest.fal.ai/x", "rest.fal.ai", plain, Ok((Host::Rest, true, None)));
        check("http://fal.run/a/b", "queue.fal.run", plain, Ok((Host::Run, false, None)));
        check("/v1/x", "other.fal.ai", secure, Err(()));
        check("/fal.run/a/b", "auth.fal.ai", secure, Err(()));
    }

    #[test]
    fn a_named_host_goes_before_the_header_that_proxies_pass_on() {
        let headers = HeaderMap::from_iter([
            (header::HOST, HeaderValue::from_static("queue.fal.run")),
            (
                http::HeaderName::from_static("x-fal-target-url"),
                HeaderValue::from_static("https://fal.run/c"),
            ),
        ]);
        let uri = Uri::from_static("/a/b");
        let entry = enter(&uri, &headers, "h:1", Way::default()).unwrap();
        assert_eq!((entry.host, entry.path), (Host::Queue, "/a/b"));
    }

    #[test]
    fn the_way_names_the_host_where_a_request_does_not() {
        let way = Way { is_secure: true, named: named("queue.fal.run:443") };
        let uri = Uri::from_static("/a/b");
        let nothing = HeaderMap::new();
        let entry = enter(&uri, &nothing, "127.0.0.1:1", way).unwrap();
        assert_eq!(entry.door, Door::Named { is_secure: true, port: None });
        let headers =
            HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("other.test"))]);
        assert_eq!(enter(&uri, &headers, "h:1", way).unwrap_err(), NoDoor::UnknownPath);
    }

    #[test]
    fn others_are_foreign_and_fal_and_the_mock_are_not() {
        let is_foreign = |target: &str| {
            foreign(&target.parse().unwrap(), "127.0.0.1:8787").map(ToString::to_string)
        };
        for own in [
            "/x",
            "*",
            "queue.fal.run:443",
            "api.fal.ai:443",
            "unknown.fal.media:443",
            "gcs.fal.media:443",
            "http://fal.run/x",
            "http://127.0.0.1:8787/fal.run/x",
            "http://LOCALHOST:8787/",
            "[::1]:8787",
        ] {
            assert_eq!(is_foreign(own), None, "{own}");
        }
        for other in [
            "example.com:443",
            "notfal.run:443",
            "storage.googleapis.com:443",
            "fal.run.example.com:443",
            "fal.run:x@example.com:443",
            "127.0.0.1:8788",
            "10.0.0.1:8787",
            "fal.runn:443",
        ] {
            assert_eq!(is_foreign(other).as_deref(), Some(other));
        }
        assert_eq!(is_foreign("http://example.com/fal.run/x").as_deref(), Some("example.com"));
        assert_eq!(is_foreign("https://127.0.0.1/").as_deref(), Some("127.0.0.1"));
    }

    proptest! {
        #[test]
        fn nothing_outside_fals_domains_is_taken_for_fal(name in "[a-z0-9.-]{0,20}") {
            let is_fal = super::super::DOMAINS.iter().any(|domain| {
                let name = name.strip_suffix('.').unwrap_or(&name);
                name == *domain || name.ends_with(&format!(".{domain}"))
            });
            prop_assert_eq!(named(&name).is_some(), is_fal);
        }
    }
}
