//! The hosts of the service: where requests go, and which addresses of an answer are followed.

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::error::InputError;

/// One of fal's services, by the host that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Host {
    /// `fal.run`: direct runs and streams.
    Run,
    /// `queue.fal.run`: the queue.
    Queue,
    /// `rest.fal.ai`: tokens and uploads.
    Rest,
    /// `v3.fal.media`: files.
    Cdn,
    /// `api.fal.ai`: the catalogue and account data.
    Platform,
    /// `ws.fal.run`: runs over a WebSocket.
    Ws,
}

impl Host {
    const ALL: [Self; 6] =
        [Self::Run, Self::Queue, Self::Rest, Self::Cdn, Self::Platform, Self::Ws];

    /// The host name of the real service.
    ///
    /// Source: docs.fal.ai inference API, and `config.ts` of `@fal-ai/client` 1.10.1 (documented).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "fal.run",
            Self::Queue => "queue.fal.run",
            Self::Rest => "rest.fal.ai",
            Self::Cdn => "v3.fal.media",
            Self::Platform => "api.fal.ai",
            Self::Ws => "ws.fal.run",
        }
    }
}

/// Where each of fal's services is reached, and where credentials may go.
///
/// ```
/// use fal_protocol::hosts::{Host, Hosts};
///
/// let real = Hosts::fal();
/// assert_eq!(real.uri(Host::Queue, "fal-ai/flux", &[])?, "https://queue.fal.run/fal-ai/flux");
///
/// let mock = Hosts::under("http://127.0.0.1:8787")?;
/// assert_eq!(mock.uri(Host::Run, "a/b", &[])?, "http://127.0.0.1:8787/fal.run/a/b");
/// # Ok::<(), fal_protocol::InputError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    bases: [Base; 6],
    backups: Vec<(Authority, Authority)>,
}

impl Hosts {
    /// The real service, with its two backup hosts.
    ///
    /// Source: `client.py` of `fal-client` 1.0.3, and the server list of the inference API's OpenAPI
    /// (documented).
    #[must_use]
    pub fn fal() -> Self {
        let base = |host: Host| Base {
            scheme: Scheme::HTTPS,
            authority: Authority::from_static(host.name()),
            prefix: String::new(),
        };
        let pair = |from, to| (Authority::from_static(from), Authority::from_static(to));
        Self {
            bases: Host::ALL.map(base),
            backups: vec![pair("fal.run", "falrun.com"), pair("queue.fal.run", "queue.falrun.com")],
        }
    }

    /// One origin for everything, with the real host's name as first path segment: how a mock
    /// server or a gateway is reached. Without backups.
    ///
    /// # Errors
    /// [`InputError::Address`] when `base` is not an `http` or `https` address without a query.
    pub fn under(base: &str) -> Result<Self, InputError> {
        let parsed = Base::parse(base)?;
        let bases = Host::ALL.map(|host| Base {
            prefix: format!("{}/{}", parsed.prefix, host.name()),
            ..parsed.clone()
        });
        Ok(Self { bases, backups: Vec::new() })
    }

    /// Reaches one service elsewhere. Its backup, if it had one, is forgotten.
    ///
    /// # Errors
    /// As [`Hosts::under`].
    pub fn with(mut self, host: Host, base: &str) -> Result<Self, InputError> {
        let authority = &self.bases[host as usize].authority;
        self.backups.retain(|(primary, _)| primary != authority);
        self.bases[host as usize] = Base::parse(base)?;
        Ok(self)
    }

    /// Names a backup for an authority (`host` or `host:port`): tried once when connecting to the
    /// primary fails, never after a byte was sent.
    ///
    /// # Errors
    /// [`InputError::Address`] when one of the two is not an authority.
    pub fn with_backup(mut self, primary: &str, backup: &str) -> Result<Self, InputError> {
        let parse = |text: &str| {
            text.parse::<Authority>().map_err(|e| InputError::address(text, &e.to_string()))
        };
        self.backups.push((parse(primary)?, parse(backup)?));
        Ok(self)
    }

    /// Forgets all backups: behind a proxy, where a failed connection is the proxy's.
    #[must_use]
    pub fn without_backups(mut self) -> Self {
        self.backups.clear();
        self
    }

    /// The address of `path` at a service. `path` has no leading slash; names and values of the query are encoded.
    ///
    /// # Errors
    /// [`InputError::Address`] when the whole is longer than an address can be (64 KiB).
    pub fn uri(&self, host: Host, path: &str, query: &[(&str, &str)]) -> Result<Uri, InputError> {
        let base = &self.bases[host as usize];
        let mut text = String::with_capacity(base.prefix.len() + path.len() + 32);
        text.push_str(&base.prefix);
        text.push('/');
        text.push_str(path);
        for (index, (name, value)) in query.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            push_encoded(&mut text, name);
            text.push('=');
            push_encoded(&mut text, value);
        }
        Uri::builder()
            .scheme(base.scheme.clone())
            .authority(base.authority.clone())
            .path_and_query(text.as_str())
            .build()
            .map_err(|e| InputError::address(&text, &e.to_string()))
    }

    /// Whether credentials may go to this address: it lies under a configured base or its backup.
    #[must_use]
    pub fn trusts(&self, uri: &Uri) -> bool {
        self.bases.iter().any(|base| base.holds(uri, &self.backups))
    }

    /// Whether this address belongs to one service or its backup.
    #[must_use]
    pub fn is_at(&self, host: Host, uri: &Uri) -> bool {
        self.bases[host as usize].holds(uri, &self.backups)
    }

    /// The same address at the backup host, if the host has one.
    #[must_use]
    pub fn backup(&self, uri: &Uri) -> Option<Uri> {
        let authority = uri.authority()?;
        let (_, backup) = self.backups.iter().find(|(primary, _)| primary == authority)?;
        let mut parts = uri.clone().into_parts();
        parts.authority = Some(backup.clone());
        Uri::from_parts(parts).ok()
    }

    /// Whether every base is plain `http`, as with a mock server on this machine.
    #[must_use]
    pub(crate) fn allow_plain_http(&self) -> bool {
        self.bases.iter().any(|base| base.scheme == Scheme::HTTP)
    }
}

impl Default for Hosts {
    fn default() -> Self {
        Self::fal()
    }
}

/// Scheme, authority and path prefix without a final slash.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
}

impl Base {
    fn parse(text: &str) -> Result<Self, InputError> {
        let refuse = |why: &str| InputError::address(text, why);
        let uri: Uri =
            text.trim().parse().map_err(|e: http::uri::InvalidUri| refuse(&e.to_string()))?;
        let parts = uri.into_parts();
        let scheme = parts
            .scheme
            .filter(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)
            .ok_or_else(|| refuse("it must begin with http:// or https://"))?;
        let authority = parts.authority.ok_or_else(|| refuse("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("a user name in it would end up in logs; give the key separately"));
        }
        let path = parts.path_and_query.filter(|path| path.as_str() != "/");
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(refuse("a base has no query"));
        }
        let prefix = path.map_or_else(String::new, |p| p.path().trim_end_matches('/').to_owned());
        Ok(Self { scheme, authority, prefix })
    }

    fn holds(&self, uri: &Uri, backups: &[(Authority, Authority)]) -> bool {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return false;
        };
        let backup = || {
            backups
                .iter()
                .any(|(primary, backup)| *primary == self.authority && backup == authority)
        };
        let below = uri.path().strip_prefix(self.prefix.as_str());
        *scheme == self.scheme
            && (same_authority(scheme, &self.authority, authority) || backup())
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            && !uri.path().split('/').any(|segment| segment == "..")
    }
}

/// Compares hosts without case, and ports with the scheme's default filled in. A user name differs.
fn same_authority(scheme: &Scheme, a: &Authority, b: &Authority) -> bool {
    let default = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    a.host().eq_ignore_ascii_case(b.host()) && port(a) == port(b) && !b.as_str().contains('@')
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(crate) fn push_encoded(text: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn query_values_are_encoded() {
        let built = Hosts::fal().uri(
            Host::Queue,
            "a/b",
            &[("fal_webhook", "https://x.y/?a=b&c"), ("n&", "1")],
        );
        assert_eq!(
            built.unwrap(),
            "https://queue.fal.run/a/b?fal_webhook=https%3A%2F%2Fx.y%2F%3Fa%3Db%26c&n%26=1"
        );
    }

    #[test]
    fn only_configured_hosts_are_trusted() {
        let real = Hosts::fal();
        for good in [
            "https://queue.fal.run/a/b",
            "https://QUEUE.fal.run:443/a",
            "https://falrun.com/a",
            "https://queue.falrun.com/a",
            "https://rest.fal.ai/storage",
        ] {
            assert!(real.trusts(&uri(good)), "{good}");
        }
        for bad in [
            "http://queue.fal.run/a",
            "https://evilqueue.fal.run/a",
            "https://queue.fal.run.evil.test/a",
            "https://queue.fal.run:8443/a",
            "https://user@queue.fal.run/a",
            "https://fal.run.evil.test/a",
            "https://notfal.run/a",
            "/relative",
        ] {
            assert!(!real.trusts(&uri(bad)), "{bad}");
        }
        assert!(!real.is_at(Host::Queue, &uri("https://fal.run/a")));
    }

    #[test]
    fn prefix_bounds_the_trust() {
        let mock = Hosts::under("http://localhost:8787/x/").unwrap();
        assert!(mock.trusts(&uri("http://localhost:8787/x/queue.fal.run/a/b")));
        assert!(!mock.trusts(&uri("http://localhost:8787/x/queue.fal.runner/a")));
        assert!(!mock.trusts(&uri("http://localhost:8787/other")));
        assert!(!mock.trusts(&uri("http://localhost:8787/x/queue.fal.run/../../other")));
        assert!(mock.backup(&uri("http://localhost:8787/x/queue.fal.run/a")).is_none());
    }

    #[test]
    fn backups_keep_path_and_query() {
        let real = Hosts::fal();
        assert_eq!(
            real.backup(&uri("https://queue.fal.run/a/b?x=1")).unwrap(),
            "https://queue.falrun.com/a/b?x=1"
        );
        assert_eq!(real.backup(&uri("https://rest.fal.ai/a")), None);
        let own = real.with(Host::Queue, "https://gateway.test/fal").unwrap();
        assert_eq!(own.uri(Host::Queue, "a/b", &[]).unwrap(), "https://gateway.test/fal/a/b");
        assert_eq!(own.backup(&uri("https://queue.fal.run/a")), None, "forgotten with the host");
        assert!(own.backup(&uri("https://fal.run/a")).is_some());
        assert_eq!(own.without_backups().backup(&uri("https://fal.run/a")), None);
    }

    #[test]
    fn bad_bases_keep_their_passwords() {
        for text in
            ["https://me:secret@x.test", "me:secret@x.test", "ftp://me:secret@x.test/y?secret"]
        {
            let error = Hosts::under(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn bad_bases_say_why() {
        for (text, why) in [
            ("localhost:8787", "http"),
            ("ftp://x", "http"),
            ("https://k:v@x.test", "user name"),
            ("https://x.test/?a=1", "query"),
            ("", "empty"),
        ] {
            let error = Hosts::under(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
