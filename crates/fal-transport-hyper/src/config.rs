//! How a transport connects.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fmt};

/// How a [`Transport`](crate::Transport) connects and what it keeps.
///
/// | Setting | Default |
/// |---|---|
/// | `connect_timeout` | 5 seconds |
/// | `idle_timeout` | 90 seconds |
/// | `idle_per_origin_max` | 64 connections |
/// | `idle_total_max` | 256 connections |
/// | proxy, extra roots | none |
///
/// The platform's root certificates are always trusted. What they are is decided by
/// `rustls-native-certs`, which, as OpenSSL does, takes the files that `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name in place of the platform's own; it looks there at the first `https` exchange,
/// whichever way the configuration was made. Nothing else reads the environment, except
/// [`Config::from_env`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Longest time for name, TCP, proxy and TLS together.
    pub connect_timeout: Duration,
    /// How long a connection may rest before it is no longer used.
    ///
    /// Checked when a connection is looked for and when one is put to rest; no timer runs.
    /// Precedent: `hyper-util`'s `pool_idle_timeout`.
    pub idle_timeout: Duration,
    /// How many connections to one origin may rest. None limits those in use.
    pub idle_per_origin_max: usize,
    /// How many connections may rest altogether.
    pub idle_total_max: usize,
    pub(crate) https_proxy: Option<String>,
    pub(crate) no_proxy: String,
    pub(crate) extra_roots: Vec<Vec<u8>>,
    pub(crate) extra_root_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(90),
            idle_per_origin_max: 64,
            idle_total_max: 256,
            https_proxy: None,
            no_proxy: String::new(),
            extra_roots: Vec::new(),
            extra_root_file: None,
        }
    }
}

impl Config {
    /// The defaults and what the environment says.
    ///
    /// | Variable | Meaning |
    /// |---|---|
    /// | `HTTPS_PROXY`, `https_proxy`, else `ALL_PROXY`, `all_proxy` | as [`with_https_proxy`](Self::with_https_proxy) |
    /// | `NO_PROXY`, `no_proxy` | as [`with_no_proxy`](Self::with_no_proxy) |
    /// | `SSL_CERT_FILE` | as [`with_extra_root_file`](Self::with_extra_root_file) |
    ///
    /// Of two spellings the first that is not empty counts. `HTTP_PROXY` is not read: plain `http`
    /// leads to a development server or a mock, never through a proxy.
    ///
    /// A file that `SSL_CERT_FILE` names must be readable; without this constructor one that is not is
    /// passed over.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_variables(|name| env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()))
        };
        let text = |names: &[&str]| first(names).map(|value| value.to_string_lossy().into_owned());
        Self {
            https_proxy: text(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            no_proxy: text(&["NO_PROXY", "no_proxy"]).unwrap_or_default(),
            extra_root_file: first(&["SSL_CERT_FILE"]).map(PathBuf::from),
            ..Self::default()
        }
    }

    /// Sets the longest time for name, TCP, proxy and TLS together.
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a connection may rest.
    #[must_use]
    pub const fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets how many connections may rest: to one origin, and altogether.
    #[must_use]
    pub const fn with_idle_max(mut self, per_origin: usize, total: usize) -> Self {
        self.idle_per_origin_max = per_origin;
        self.idle_total_max = total;
        self
    }

    /// Sends `https` exchanges through the `CONNECT` tunnel of this proxy.
    ///
    /// The address is `http://[user:password@]host:port`; the scheme may be missing.
    #[must_use]
    pub fn with_https_proxy(mut self, url: impl Into<String>) -> Self {
        self.https_proxy = Some(url.into());
        self
    }

    /// Sets the hosts that are reached without the proxy, separated by commas.
    ///
    /// A domain stands for itself and all below it, an address may have a prefix length
    /// (`10.0.0.0/8`), and `*` stands for every host: curl's rules. Ports are not compared.
    #[must_use]
    pub fn with_no_proxy(mut self, list: impl Into<String>) -> Self {
        self.no_proxy = list.into();
        self
    }

    /// Trusts the certificates in this PEM text besides those of the platform.
    #[must_use]
    pub fn with_extra_root_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.extra_roots.push(pem.into());
        self
    }

    /// Trusts the certificates in this PEM file besides those of the platform.
    ///
    /// It is read at the first `https` exchange, which fails if it cannot be.
    #[must_use]
    pub fn with_extra_root_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.extra_root_file = Some(path.into());
        self
    }
}

/// Prints whether there is a proxy, not which: its address can hold a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("idle_per_origin_max", &self.idle_per_origin_max)
            .field("idle_total_max", &self.idle_total_max)
            .field("https_proxy", &self.https_proxy.as_ref().map(|_| "***"))
            .field("no_proxy", &self.no_proxy)
            .field("extra_roots", &self.extra_roots.len())
            .field("extra_root_file", &self.extra_root_file)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], https_proxy: Option<&str>, no_proxy: &str) {
        let config = Config::from_variables(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into())
        });
        assert_eq!(
            (config.https_proxy.as_deref(), config.no_proxy.as_str()),
            (https_proxy, no_proxy)
        );
    }

    #[test]
    fn the_first_spelling_that_is_not_empty_counts() {
        check(&[], None, "");
        check(&[("HTTP_PROXY", "http://p")], None, "");
        check(&[("ALL_PROXY", "http://a"), ("https_proxy", "http://b")], Some("http://b"), "");
        check(&[("HTTPS_PROXY", ""), ("ALL_PROXY", "http://a")], Some("http://a"), "");
        check(&[("NO_PROXY", ""), ("no_proxy", "fal.run")], None, "fal.run");
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = Config::default().with_https_proxy("http://me:secret@proxy:3128");
        let text = format!("{config:?}");
        assert!(!text.contains("secret") && text.contains("***"), "{text}");
    }
}
