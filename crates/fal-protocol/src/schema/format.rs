//! Formats that are types of pydantic's, and not only notes.
//!
//! An `HttpUrl` is written as `format: uri` with lengths from 1 to 2083, which nobody writes by hand, and a `UUID4` as
//! `format: uuid4`. JSON Schema's words for both are weaker, so strict mode leaves them alone.
//!
//! Source: pydantic's schemas of its own types (documented); that an app of the service then refuses what pydantic
//! refuses, data URIs included (inferred).

// Of the network the core knows how addresses are written, and nothing else.
use core::net::Ipv6Addr;

use super::model::SizeBounds;
use super::problem::ProblemKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    HttpUrl,
    Uuid4,
}

impl Format {
    pub(super) fn of(name: &str, size: SizeBounds) -> Option<Self> {
        match name {
            "uri" if size == (SizeBounds { min: 1, max: Some(URL_CHARS_MAX) }) => {
                Some(Self::HttpUrl)
            }
            "uuid4" => Some(Self::Uuid4),
            _ => None,
        }
    }

    /// What is wrong with a value that is no text.
    pub(super) const fn wanted(self) -> ProblemKind {
        match self {
            Self::HttpUrl => ProblemKind::UrlType,
            Self::Uuid4 => ProblemKind::UuidType,
        }
    }

    pub(super) fn problem(self, text: &str) -> Option<ProblemKind> {
        match self {
            Self::HttpUrl => match read_url(text) {
                // It counts bytes and calls them characters.
                _ if text.len() as u64 > URL_CHARS_MAX => Some(ProblemKind::UrlTooLong),
                Err(_) => Some(ProblemKind::UrlParsing),
                Ok(Scheme::Other) => Some(ProblemKind::UrlScheme),
                Ok(Scheme::Http) => None,
            },
            Self::Uuid4 => match read_uuid(text) {
                Err(_) => Some(ProblemKind::UuidParsing),
                Ok(4) => None,
                Ok(_) => Some(ProblemKind::UuidVersion),
            },
        }
    }

    /// Why a text cannot be read, in the words that pydantic shows.
    pub(super) fn reason(self, text: &str) -> String {
        let reason = match self {
            Self::HttpUrl => read_url(text).err().map(str::to_owned),
            Self::Uuid4 => read_uuid(text).err(),
        };
        reason.unwrap_or_default()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Other,
}

/// The scheme, and for HTTP the host, as the URL standard reads them.
fn read_url(text: &str) -> Result<Scheme, &'static str> {
    let text = text.trim_matches(|c: char| c <= ' ').replace(['\t', '\n', '\r'], "");
    if text.is_empty() {
        return Err("input is empty");
    }
    let scheme = text.split_once(':').filter(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    });
    let Some((scheme, rest)) = scheme else { return Err("relative URL without a base") };
    if !["http", "https"].iter().any(|http| scheme.eq_ignore_ascii_case(http)) {
        return Ok(Scheme::Other);
    }
    let rest = rest.trim_start_matches(['/', '\\']);
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (host, ""),
    };
    if host.is_empty() {
        return Err("empty host");
    }
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Err("invalid port number");
    }
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        return address.map(|_| Scheme::Http).ok_or("invalid IPv6 address");
    }
    if host.chars().any(|c| c <= ' ' || "<>^|%\"`{}[]\\\u{7f}".contains(c)) {
        return Err("invalid international domain name");
    }
    let parts: Vec<&str> = host.split('.').collect();
    let is_v4 = parts.len() == 4 && parts.iter().all(|part| is_digits(part));
    if is_v4 && parts.iter().any(|part| part.parse::<u8>().is_err()) {
        return Err("invalid IPv4 address");
    }
    Ok(Scheme::Http)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The version.
fn read_uuid(text: &str) -> Result<u32, String> {
    let inner = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let inner = inner.strip_prefix('{').and_then(|i| i.strip_suffix('}')).unwrap_or(inner);
    let offset = text.len() - inner.len();
    if let Some((at, c)) = inner.char_indices().find(|(_, c)| !c.is_ascii_hexdigit() && *c != '-') {
        return Err(format!("invalid character: found `{c}` at {}", at + offset));
    }
    let groups: Vec<&str> = inner.split('-').collect();
    match groups.len() {
        1 if inner.len() != 32 => return Err(format!("invalid length: found {}", inner.len())),
        1 => {}
        5 => {
            for (at, (group, length)) in groups.iter().zip([8, 4, 4, 4, 12]).enumerate() {
                if group.len() != length {
                    let found = group.len();
                    return Err(format!(
                        "invalid group length in group {at}: expected {length}, found {found}"
                    ));
                }
            }
        }
        count => return Err(format!("invalid group count: expected 5, found {count}")),
    }
    let version = groups.concat().chars().nth(12).and_then(|digit| digit.to_digit(16));
    Ok(version.unwrap_or_default())
}

const URL_CHARS_MAX: u64 = 2083;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_pydantic_reads_them() {
        for fine in [
            "https://a/b.png",
            "HTTP:x",
            " https://[::1]:80/ ",
            "https://u:p@h?q",
            "https://1.2.3.4",
        ] {
            assert_eq!(Format::HttpUrl.problem(fine), None, "{fine}");
        }
        for (text, reason) in [
            ("", "input is empty"),
            ("a.png", "relative URL without a base"),
            ("1a://x", "relative URL without a base"),
            ("https://", "empty host"),
            ("https://a:99999/", "invalid port number"),
            ("https://a b", "invalid international domain name"),
            ("https://[", "invalid IPv6 address"),
            ("https://256.1.1.1/", "invalid IPv4 address"),
        ] {
            assert_eq!(Format::HttpUrl.problem(text), Some(ProblemKind::UrlParsing), "{text}");
            assert_eq!(Format::HttpUrl.reason(text), reason, "{text}");
        }
        assert_eq!(Format::HttpUrl.problem("data:,"), Some(ProblemKind::UrlScheme));
        let long = |chars: usize| Format::HttpUrl.problem(&format!("https://a/{:x>chars$}", ""));
        assert_eq!(long(2073), None);
        assert_eq!(long(2074), Some(ProblemKind::UrlTooLong));
    }

    #[test]
    fn uuids_are_read_as_pydantic_reads_them() {
        for fine in [
            "12345678-1234-4234-8234-123456789012",
            "12345678123442348234123456789012",
            "{12345678-1234-4234-8234-123456789012}",
            "urn:uuid:12345678-1234-4234-8234-123456789012",
        ] {
            assert_eq!(Format::Uuid4.problem(fine), None, "{fine}");
        }
        let first = "12345678-1234-1234-8234-123456789012";
        assert_eq!(Format::Uuid4.problem(first), Some(ProblemKind::UuidVersion));
        for (text, reason) in [
            ("1234", "invalid length: found 4"),
            ("é", "invalid character: found `é` at 0"),
            ("1-2-3-4-5", "invalid group length in group 0: expected 8, found 1"),
        ] {
            assert_eq!(Format::Uuid4.problem(text), Some(ProblemKind::UuidParsing), "{text}");
            assert_eq!(Format::Uuid4.reason(text), reason, "{text}");
        }
    }
}
