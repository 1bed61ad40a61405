//! Pages in browsers: which may call, and what their browsers are told.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// Which pages may call.
///
/// A browser names the origin of the page with every call that could do harm. Without this check any page that
/// a person opens could spend the key of a proxy on the same machine.
#[derive(Debug)]
pub(super) struct Pages {
    origins: Vec<String>,
    /// Callers need no secret, so the name under which the proxy was reached is all there is to look at: a page
    /// whose name suddenly leads here is of its own origin.
    checks_host: bool,
}

impl Pages {
    pub(super) const fn new(origins: Vec<String>, checks_host: bool) -> Self {
        Self { origins, checks_host }
    }

    /// Whether these headers are of a program, or of a page that may call. `Err` says why not.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let host = text(headers, &header::HOST).unwrap_or_default().to_ascii_lowercase();
        if self.checks_host && !self.is_own_name(&host) {
            return Err("Unauthorized: this proxy is not called by that name");
        }
        match text(headers, &header::ORIGIN).map(str::to_ascii_lowercase) {
            None if headers.contains_key(header::ORIGIN) => Err(STRANGE),
            None => Ok(()),
            Some(origin) if self.is_listed(&origin) => Ok(()),
            Some(origin) if authority(&origin) == Some(host.as_str()) => Ok(()),
            Some(_) => Err(STRANGE),
        }
    }

    /// The answer to the question that browsers ask before a call.
    pub(super) fn preflight(&self, headers: &HeaderMap) -> Response<()> {
        let mut response = Response::new(());
        if self.check(headers).is_err() {
            *response.status_mut() = StatusCode::FORBIDDEN;
            return response;
        }
        *response.status_mut() = StatusCode::NO_CONTENT;
        self.allow(headers, response.headers_mut());
        let map = response.headers_mut();
        let methods = HeaderValue::from_static("GET, POST, PUT, DELETE");
        map.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        map.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        // A list, because `*` would not cover Authorization. What is asked for harms nobody: few headers are
        // forwarded.
        if let Some(names) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            map.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        response
    }

    /// Lets the page read the answer.
    pub(super) fn allow(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        answer.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = asked.get(header::ORIGIN) else { return };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let yes = HeaderValue::from_static("true");
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        let exposed = HeaderValue::from_static(EXPOSED);
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }

    fn is_listed(&self, origin: &str) -> bool {
        self.origins.iter().any(|listed| listed == origin)
    }

    /// Whether nobody else can make a name lead here that a browser would take for its own: addresses and
    /// `localhost` belong to the machine, and listed names to somebody who is trusted.
    fn is_own_name(&self, host: &str) -> bool {
        let (name, _) = split_port(host);
        name == "localhost"
            || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
            || self
                .origins
                .iter()
                .filter_map(|origin| authority(origin))
                .any(|listed| listed == host)
    }
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    }
}

fn authority(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, authority)| authority)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

const STRANGE: &str = "Unauthorized: pages of this origin may not call";

/// What pages may read of an answer beside its type.
const EXPOSED: &str = "x-fal-request-id, x-fal-billable-units, x-fal-error-type, x-fal-needs-retry, \
     x-fal-retryable, x-fal-request-timeout-type, retry-after";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pages: &Pages, host: &'static str, origin: Option<&'static str>, is_allowed: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        assert_eq!(pages.check(&headers).is_ok(), is_allowed, "{host} {origin:?}");
        let status = pages.preflight(&headers).status();
        assert_eq!(status == StatusCode::NO_CONTENT, is_allowed, "{host} {origin:?}");
    }

    #[test]
    fn pages_of_strangers_may_not_call() {
        let pages = Pages::new(vec!["https://app.example".to_owned()], false);
        check(&pages, "localhost:8788", None, true);
        check(&pages, "any.name", None, true);
        check(&pages, "localhost:8788", Some("https://app.example"), true);
        check(&pages, "localhost:8788", Some("HTTPS://APP.example"), true);
        check(&pages, "localhost:8788", Some("http://localhost:8788"), true);
        check(&pages, "localhost:8788", Some("http://localhost:3000"), false);
        check(&pages, "localhost:8788", Some("https://evil.test"), false);
        check(&pages, "localhost:8788", Some("null"), false);
    }

    #[test]
    fn names_that_lead_here_by_trickery_are_refused() {
        let pages = Pages::new(vec!["https://app.example".to_owned()], true);
        check(&pages, "evil.test:8788", Some("http://evil.test:8788"), false);
        check(&pages, "evil.test:8788", None, false);
        check(&pages, "", None, false);
        check(&pages, "127.0.0.1:8788", None, true);
        check(&pages, "[::1]:8788", None, true);
        check(&pages, "LOCALHOST", None, true);
        check(&pages, "app.example", Some("https://app.example"), true);
    }
}
