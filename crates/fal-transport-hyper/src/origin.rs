//! Where a connection leads.

use fal_protocol::wire::{Failure, FailureKind};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

/// Scheme, host and port: what connections are shared by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) https: bool,
    /// Without user information, which is a credential and no part of where a connection leads.
    pub(crate) authority: Authority,
}

impl Origin {
    /// The origin of an absolute address.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Failure> {
        let refuse = |why: &str| Err(Failure::connect(FailureKind::Other, why));
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return refuse("the address is neither http nor https"),
        };
        let Some(authority) = uri.authority() else {
            return refuse("the address has no host");
        };
        let authority = match authority.as_str().rsplit_once('@') {
            None => authority.clone(),
            Some((_, host)) => match Authority::try_from(host) {
                Ok(authority) => authority,
                Err(_) => return refuse("the address has no usable host"),
            },
        };
        if authority.host().is_empty() {
            return refuse("the address has no host");
        }
        Ok(Self { https, authority })
    }

    /// The host without the brackets that an IPv6 address has in a URL.
    pub(crate) fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// The value of the `Host` header.
    pub(crate) fn host_header(&self) -> HeaderValue {
        HeaderValue::from_str(self.authority.as_str()).expect("an authority is visible ASCII")
    }

    /// The address of `path` here.
    pub(crate) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.https { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("scheme, authority and path are present")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &'static str, https: bool, authority: &str, host: &str) {
        let origin = Origin::of(&Uri::from_static(uri)).unwrap();
        assert_eq!(
            (origin.https, origin.authority.as_str(), origin.host()),
            (https, authority, host)
        );
    }

    #[test]
    fn user_information_is_dropped() {
        check("https://queue.fal.run/a?b", true, "queue.fal.run", "queue.fal.run");
        check("http://me:pw@127.0.0.1:80/", false, "127.0.0.1:80", "127.0.0.1");
        check("http://[::1]:8787/x", false, "[::1]:8787", "::1");
    }

    #[test]
    fn relative_and_foreign_addresses_are_refused() {
        for bad in ["/path", "ftp://host/", "wss://host/"] {
            let failure = Origin::of(&Uri::from_static(bad)).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Other, "{bad}");
        }
    }
}
