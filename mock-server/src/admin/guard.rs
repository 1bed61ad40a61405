//! Who may call the control API: programs, and the page that the mock itself serves.
//!
//! A page from elsewhere in somebody's browser could reach this machine too. Its requests say where it comes from
//! (`Origin`), or, where a name was made to point here, name a host that is not this one (`Host`).

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header};

/// Why a call is refused, if it is. `listening` is where the mock listens.
pub(crate) fn refusal(headers: &HeaderMap, listening: &str) -> Option<String> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    if let Some(origin) = text(header::ORIGIN) {
        let own = origin.split_once("://").map(|(_, authority)| authority);
        if own != Some(host) {
            return Some(format!(
                "pages of {origin} may not control this mock: only its own page may"
            ));
        }
    }
    let is_local = listening.parse().is_ok_and(|at: SocketAddr| at.ip().is_loopback());
    (is_local && !is_this_machine(host))
        .then(|| format!("{host} is no name of this machine: call http://{listening} or localhost"))
}

/// Whether an authority is an address or the name of this machine: names that somebody else can point here are not.
fn is_this_machine(authority: &str) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    };
    name.is_empty()
        || name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn is_refused(host: &'static str, origin: Option<&'static str>, listening: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        refusal(&headers, listening).is_some()
    }

    #[test]
    fn programs_and_the_own_page_may_call() {
        for host in ["127.0.0.1:8787", "localhost:8787", "[::1]:8787", "mock.localhost", ""] {
            assert!(!is_refused(host, None, "127.0.0.1:8787"), "{host}");
        }
        assert!(!is_refused("localhost:1", Some("http://localhost:1"), "127.0.0.1:1"));
        // In a container it has a name that others gave it.
        assert!(!is_refused("fal-mock:8787", None, "0.0.0.0:8787"));
    }

    #[test]
    fn other_pages_may_not() {
        assert!(is_refused("localhost:1", Some("https://evil.test"), "127.0.0.1:1"));
        assert!(is_refused("localhost:1", Some("null"), "127.0.0.1:1"));
        assert!(is_refused("evil.test:8787", None, "127.0.0.1:8787"));
        assert!(is_refused("evil.test:1", Some("http://evil.test:1"), "127.0.0.1:1"));
    }
}
