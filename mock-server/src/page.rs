//! The page at `/` for people: files that are part of the program, and what a browser may do with them.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

/// Whether somebody wants a page, and not a text for a terminal.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.unwrap_or_default().split(',').any(|kind| {
        let mut parts = kind.split(';').map(str::trim);
        parts.next() == Some("text/html") && !parts.any(|part| part == "q=0")
    })
}

/// Whether a path is that of a file of the page.
pub(crate) fn has(path: &str) -> bool {
    find(path).is_some()
}

/// A file of the page.
pub(crate) fn answer(method: &Method, path: &str) -> Response<Bytes> {
    let (content_type, text) = match find(path) {
        Some(file) if method == Method::GET || method == Method::HEAD => file,
        _ => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
    };
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version of the mock may listen here next.
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn find(path: &str) -> Option<(&'static str, &'static str)> {
    let name = path.strip_prefix(BASE)?;
    let (_, text) = FILES.iter().find(|(known, _)| *known == name)?;
    let content_type = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    };
    Some((content_type, text))
}

/// Where the page itself stands, beside `/`.
pub(crate) const INDEX: &str = "/__mock/page/index.html";

const BASE: &str = "/__mock/page/";

/// Scripts, styles and data from the mock alone, nothing inline, and no HTML made of texts.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../page/", $name)))),*]
    };
}

static FILES: &[(&str, &str)] = files![
    "index.html",
    "page.css",
    "icon.svg",
    "api.js",
    "axis.js",
    "clock.js",
    "deliveries.js",
    "dom.js",
    "faults.js",
    "files.js",
    "format.js",
    "jobs.js",
    "keys.js",
    "list.js",
    "main.js",
    "media.js",
    "requests.js",
    "signature.js",
    "start.js",
    "store.js",
    "theme.js",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_the_page_and_terminals_the_help() {
        let wants = |accept: &'static str| {
            is_wanted(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert!(wants("text/html") && wants("application/xml;q=0.9, text/html;q=0.8, */*"));
        assert!(!wants("*/*") && !wants("application/json") && !wants("text/html;q=0"));
        assert!(!is_wanted(&HeaderMap::new()));
    }

    #[test]
    fn every_file_is_there_and_nothing_is_inline() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut known: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
        for (name, text) in FILES {
            for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(sink), "{name}: {sink}");
            }
            assert!(!text.contains("style=\"") && !text.contains(" onclick="), "{name}");
            assert!(!text.contains("https://"), "{name} names another host");
        }
    }
}
