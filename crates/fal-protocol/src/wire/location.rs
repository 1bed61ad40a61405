use http::{HeaderMap, Uri, header};

/// The absolute address that a redirect's `Location` names.
///
/// Relative ones are resolved against `base`, the address that redirected. `None` unless the result is
/// `http` or `https`, with a host and without a user name. A fragment is dropped.
#[must_use]
pub fn location(base: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let text = headers.get(header::LOCATION)?.to_str().ok()?;
    let text = text.split('#').next().unwrap_or_default().trim();
    let uri: Uri = resolve(base, text)?.parse().ok()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_web && uri.authority().is_some_and(|a| !a.as_str().contains('@'))).then_some(uri)
}

/// An address that may be relative, as RFC 3986 section 5 resolves it.
fn resolve(base: &Uri, text: &str) -> Option<String> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let has_scheme = text.find([':', '/', '?']).is_some_and(|at| text[at..].starts_with(':'));
    if text.is_empty() || has_scheme {
        return (!text.is_empty()).then(|| text.to_owned());
    }
    if text.starts_with("//") {
        return Some(format!("{scheme}:{text}"));
    }
    let (path, query) = text.split_at(text.find('?').unwrap_or(text.len()));
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = match path {
        "" => base.path().to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => without_dots(&format!("{folder}/{path}")),
    };
    Some(format!("{scheme}://{authority}{path}{query}"))
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        if !matches!(part, "." | "..") {
            kept.push(part);
            continue;
        }
        if part == ".." {
            kept.pop();
        }
        if parts.peek().is_none() {
            kept.push(""); // A folder: its slash stays.
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_addresses_are_resolved() {
        // The examples of RFC 3986 section 5.4 that concern http.
        let base: Uri = "http://a/b/c/d;p?q".parse().unwrap();
        for (text, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g..", "http://a/b/c/g.."),
            ("./g/.", "http://a/b/c/g/"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://h:1/x", "https://h:1/x"),
        ] {
            assert_eq!(resolve(&base, text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(resolve(&base, ""), None);
    }

    #[test]
    fn only_web_addresses_without_a_user_are_followed() {
        let base: Uri = "https://a/b".parse().unwrap();
        for (text, expected) in [
            ("c#part", Some("https://a/c")),
            ("http://h/x", Some("http://h/x")),
            ("ftp://h/x", None),
            ("https://user@h/x", None),
            ("//user:pw@h/x", None),
            ("javascript:alert(1)", None),
            ("#", None),
        ] {
            let headers = HeaderMap::from_iter([(header::LOCATION, text.parse().unwrap())]);
            let found = location(&base, &headers).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        assert_eq!(location(&base, &HeaderMap::new()), None);
    }
}
