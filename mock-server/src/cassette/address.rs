//! Addresses in texts: those of the real service as they are kept, those of a door as callers see them.

use std::borrow::Cow;

use crate::doors;
use crate::model::{Door, Host};

/// Turns addresses of the service that lead through a door, or below one of `bases`, into the real ones.
pub(crate) fn to_real<'a>(text: &'a str, bases: &[String]) -> Cow<'a, str> {
    rewrite(text, |url| {
        for base in bases {
            let Some(below) =
                url.strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix('/'))
            else {
                continue;
            };
            let name = host_name(below);
            if known(name).is_some() && is_end(&below[name.len()..]) {
                return Some((base.len() + 1 + name.len(), format!("https://{}", real_name(name))));
            }
        }
        let after = url.find("://")? + 3;
        let name = host_name(&url[after..]);
        known(name)?;
        let mut end = after + name.len();
        if let Some(port) = url[end..].strip_prefix(':') {
            end += 1 + port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
        }
        is_end(&url[end..]).then(|| (end, format!("https://{}", real_name(name))))
    })
}

/// Turns real addresses of the service into those of a door.
pub(crate) fn through<'a>(text: &'a str, door: &Door<'_>) -> Cow<'a, str> {
    map_real(text, |name, host| doors::address(door, host, name))
}

/// Turns real addresses of the service into those below another base.
pub(crate) fn below<'a>(text: &'a str, base: &str) -> Cow<'a, str> {
    map_real(text, |name, _| format!("{base}/{name}"))
}

fn map_real(text: &str, to: impl Fn(&str, Host) -> String) -> Cow<'_, str> {
    rewrite(text, |url| {
        let after = url.find("://")? + 3;
        let name = host_name(&url[after..]);
        let host = known(name)?;
        let end = after + name.len();
        is_end(&url[end..]).then(|| (end, to(name, host)))
    })
}

/// Where addresses that came through a door start, for [`to_real`].
pub(crate) fn bases(door: &Door<'_>) -> Vec<String> {
    match door {
        Door::Prefix { authority, .. } | Door::Proxy { authority, .. } => {
            vec![format!("http://{authority}"), format!("https://{authority}")]
        }
        _ => Vec::new(),
    }
}

/// Whether the files of a host are read without a key, by their addresses.
pub(crate) fn is_file_host(authority: &str) -> bool {
    matches!(known(authority), Some(Host::Cdn | Host::Gcs))
}

/// The real address of a host, a path and a query.
pub(crate) fn real(name: &str, path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("https://{name}{path}?{query}"),
        None => format!("https://{name}{path}"),
    }
}

/// Every real address of a file in a text, each once and in order: without its query, and whole.
pub(crate) fn files_in(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (at, _) in text.match_indices("https://") {
        let rest = &text[at..];
        let name = host_name(&rest[8..]);
        let after = 8 + name.len();
        let is_over = |c: char| c.is_whitespace() || "\"'<>#".contains(c);
        let len = rest.find(is_over).unwrap_or(rest.len());
        let whole = rest[..len].replace("\\u0026", "&");
        let path = whole.get(after..).unwrap_or_default();
        let end = after + path.find('?').unwrap_or(path.len());
        if is_file_host(name) && path.starts_with('/') && end > after + 1 && !whole.contains('\\') {
            let key = whole[..end].to_owned();
            if !found.iter().any(|(known, _)| *known == key) {
                found.push((key, whole));
            }
        }
    }
    found
}

fn known(name: &str) -> Option<Host> {
    doors::host_of(name)?.ok()
}

/// Through some doors Google's storage goes by a name of fal's.
pub(crate) fn real_name(name: &str) -> &str {
    if name == "gcs.fal.media" { "storage.googleapis.com" } else { name }
}

fn host_name(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-'))
        .unwrap_or(text.len());
    &text[..end]
}

fn is_end(rest: &str) -> bool {
    !rest.starts_with([':', '@']) && !rest.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Replaces what `swap` says of every `http…`: how much of it, and by what.
fn rewrite(text: &str, swap: impl Fn(&str) -> Option<(usize, String)>) -> Cow<'_, str> {
    let mut out = String::new();
    let mut done = 0;
    for (at, _) in text.match_indices("http") {
        if at < done {
            continue;
        }
        if let Some((len, with)) = swap(&text[at..]) {
            out.push_str(&text[done..at]);
            out.push_str(&with);
            done = at + len;
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix() -> Door<'static> {
        Door::Prefix { is_secure: false, authority: "127.0.0.1:87".into() }
    }

    #[test]
    fn addresses_go_to_doors_and_back() {
        let real = r#"{"a":"https://queue.fal.run/x","b":"https://v3b.fal.media/f?s=1","c":"https://fal.run"}"#;
        let door = prefix();
        let want = r#"{"a":"http://127.0.0.1:87/queue.fal.run/x","b":"http://127.0.0.1:87/v3b.fal.media/f?s=1","c":"http://127.0.0.1:87/fal.run"}"#;
        assert_eq!(through(real, &door), want);
        assert_eq!(to_real(want, &bases(&door)), real);

        let proxy = Door::Proxy { is_secure: true, authority: "h:1".into() };
        let want = r#"{"a":"https://queue.fal.run/x","b":"https://h:1/v3b.fal.media/f?s=1","c":"https://fal.run"}"#;
        assert_eq!(through(real, &proxy), want);
        assert_eq!(to_real(want, &bases(&proxy)), real);

        let named = Door::Named { is_secure: false, port: Some(87) };
        let google = "https://storage.googleapis.com/b/x https://v3.fal.media/f";
        let want = "http://gcs.fal.media:87/b/x http://v3.fal.media:87/f";
        assert_eq!(through(google, &named), want);
        assert_eq!(to_real(want, &bases(&named)), google);

        assert_eq!(below("https://fal.run/a", "http://up"), "http://up/fal.run/a");
    }

    #[test]
    fn others_stay_as_they_are() {
        let text = "https://fal.run.evil.test/x https://a@fal.run:x https://notfal.run http https://fal.runx http://127.0.0.1:87/other/x";
        assert_eq!(through(text, &prefix()), text);
        assert_eq!(to_real(text, &bases(&prefix())), text);
    }

    #[test]
    fn files_are_found_once_and_without_signatures() {
        let text = r#"["https://v3.fal.media/files/a.png?sig=1\u0026x=2","https://v3.fal.media/files/a.png","https://fal.run/x","https://storage.googleapis.com/b/c.mp4"]"#;
        let (a, c) = ("https://v3.fal.media/files/a.png", "https://storage.googleapis.com/b/c.mp4");
        assert_eq!(files_in(text), [(a.into(), format!("{a}?sig=1&x=2")), (c.into(), c.into())]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(https?://|fal\\.run|v3\\.fal\\.media|[/:@?a]|\\PC){0,12}") {
            let door = prefix();
            let seen = through(&text, &door).into_owned();
            let _ = (to_real(&seen, &bases(&door)).into_owned(), files_in(&text));
        }
    }
}
