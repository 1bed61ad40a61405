//! Addresses that callers want to reach: parsed once, matched and sent in the same form.

use std::fmt;

use http::Uri;

/// The address of the header `x-fal-target-url`, in one normal form.
///
/// The host is in lower case, the scheme's own port and the fragment are gone, hexadecimal digits of the path
/// are in upper case, and characters that need no encoding stand as themselves. What servers
/// read in more than one way is refused, because a pattern would match one reading and the service serve
/// another: dot segments and empty ones, encoded slashes and backslashes, in any depth of encoding.
///
/// ```
/// use fal_protocol::proxy::{Target, TargetError};
///
/// let target = Target::parse("HTTPS://Queue.fal.run:443/fal-ai/%66lux?logs=1#top")?;
/// assert_eq!(target.as_str(), "queue.fal.run/fal-ai/flux?logs=1");
/// assert_eq!(Target::parse("https://fal.run/a/%252e%252e/b"), Err(TargetError::Dots));
/// # Ok::<(), TargetError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    is_https: bool,
    /// Without the scheme: `host[:port]/path[?query]`.
    text: String,
    host_end: usize,
    path_start: usize,
    path_end: usize,
}

impl Target {
    /// Reads an address.
    ///
    /// # Errors
    /// [`TargetError`] with the first rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.len() > TARGET_BYTES_MAX {
            return Err(TargetError::Long);
        }
        if !text.bytes().all(is_uri_byte) {
            return Err(TargetError::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(TargetError::Relative)?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return Err(TargetError::Scheme);
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, below) = rest.split_at(authority_end);
        let (path, query) = match below.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (below, None),
        };
        let mut text = String::with_capacity(rest.len() + 1);
        let host_end = push_authority(&mut text, authority, is_https)?;
        let path_start = text.len();
        push_path(&mut text, path)?;
        let path_end = text.len();
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        let target = Self { is_https, text, host_end, path_start, path_end };
        // The rules above are stricter than those of the type that is sent; were they not, this would
        // be the place to notice it.
        target.try_uri().map_err(|_| TargetError::Character)?;
        Ok(target)
    }

    /// The address without its scheme: what patterns are matched with.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, in lower case and without a port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.text[..self.host_end]
    }

    /// The path, which begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[self.path_start..self.path_end]
    }

    /// Path and query.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.text[self.path_start..]
    }

    /// The address to send to.
    #[must_use]
    pub fn uri(&self) -> Uri {
        self.try_uri().expect("a target was tried as an address when it was parsed")
    }

    /// Whether it is one of fal's own hosts, by https: only there may the key go.
    ///
    /// Source: newer releases of the JS client attach credentials to `fal.ai`, `fal.run` and what lies
    /// below them (official client source); `falrun.com` is their backup (documented).
    #[must_use]
    pub fn is_fal(&self) -> bool {
        let below = |domain| is_at_or_below(self.host(), domain);
        self.is_https && ["fal.run", "fal.ai", "falrun.com"].into_iter().any(below)
    }

    /// Whether it is `fal.ai` or below it, where no models run.
    pub(super) fn is_fal_ai(&self) -> bool {
        is_at_or_below(self.host(), "fal.ai")
    }

    /// Whether a request of whatever method runs a model there, and is no question about a job.
    pub(super) fn is_run(&self) -> bool {
        match self.host() {
            "fal.run" | "falrun.com" => true,
            "queue.fal.run" | "queue.falrun.com" => {
                let mut segments = self.path().split('/').skip(1);
                let skip = if self.path().starts_with("/workflows/")
                    || self.path().starts_with("/comfy/")
                {
                    3
                } else {
                    2
                };
                // `{owner}/{alias}/requests/{id}`: what is asked about a job is paid for already.
                let is_job = segments.nth(skip) == Some("requests")
                    && segments.next().is_some_and(|id| !id.is_empty());
                !is_job
            }
            _ => false,
        }
    }

    fn try_uri(&self) -> Result<Uri, http::uri::InvalidUri> {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}", self.text).parse()
    }
}

/// Prints no query: signed addresses carry their secret there.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Prints no query.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text[..self.path_end])?;
        if self.path_end < self.text.len() { f.write_str("?…") } else { Ok(()) }
    }
}

/// Why an address cannot be a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// It is longer than [`TARGET_BYTES_MAX`].
    Long,
    /// It has a character that no address has, or a broken `%` in its path.
    Character,
    /// It has no scheme and host.
    Relative,
    /// It is neither https nor, for a loopback address, http.
    Scheme,
    /// It has a user name, which would be a credential.
    UserInfo,
    /// Its host is none.
    Host,
    /// It has a port that is not the scheme's own.
    Port,
    /// Its path has a segment `.` or `..`, encoded or not.
    Dots,
    /// Its path has an empty segment, or an encoded slash or backslash.
    Slashes,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Long => "it is too long",
            Self::Character => "it has a character that cannot stand in an address",
            Self::Relative => "it is not an absolute address",
            Self::Scheme => "it must begin with https://",
            Self::UserInfo => "it has a user name",
            Self::Host => "its host is not a host name",
            Self::Port => "it has a port",
            Self::Dots => "its path has a segment . or ..",
            Self::Slashes => "its path has an empty segment or an encoded slash",
        })
    }
}

impl std::error::Error for TargetError {}

/// Host and port in normal form; returns where the host ends.
fn push_authority(
    text: &mut String,
    authority: &str,
    is_https: bool,
) -> Result<usize, TargetError> {
    if authority.contains('@') {
        return Err(TargetError::UserInfo);
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let host = host.to_ascii_lowercase();
    let is_loopback = is_loopback(&host);
    if !is_host_name(&host) {
        return Err(TargetError::Host);
    }
    if !is_https && !is_loopback {
        return Err(TargetError::Scheme);
    }
    let port = match port.filter(|port| !port.is_empty()) {
        None => None,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            Some(port.parse::<u16>().map_err(|_| TargetError::Port)?)
        }
        Some(_) => return Err(TargetError::Port),
    };
    text.push_str(&host);
    match port {
        Some(443) if is_https => {}
        Some(80) if !is_https => {}
        // Servers of tests listen anywhere.
        Some(port) if is_loopback && !is_https => text.push_str(&format!(":{port}")),
        Some(_) => return Err(TargetError::Port),
        None => {}
    }
    Ok(host.len())
}

/// The path in normal form; `/` if there is none.
fn push_path(text: &mut String, path: &str) -> Result<(), TargetError> {
    if path.is_empty() {
        text.push('/');
        return Ok(());
    }
    check_segments(path.as_bytes())?;
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            text.push(char::from(byte));
            continue;
        }
        let decoded = pair(bytes.next(), bytes.next()).ok_or(TargetError::Character)?;
        if is_unreserved(decoded) {
            text.push(char::from(decoded));
        } else {
            text.push_str(&format!("%{decoded:02X}"));
        }
    }
    Ok(())
}

/// Looks through every layer of encoding: some servers decode twice.
fn check_segments(path: &[u8]) -> Result<(), TargetError> {
    let mut layer = path.to_vec();
    let slashes = count_slashes(&layer);
    // Each layer is shorter than the one before, so this ends.
    loop {
        if count_slashes(&layer) != slashes {
            return Err(TargetError::Slashes);
        }
        let mut segments = layer.split(|byte| *byte == b'/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            match segment {
                b"." | b".." => return Err(TargetError::Dots),
                b"" if segments.peek().is_some() => return Err(TargetError::Slashes),
                _ => {}
            }
        }
        if layer.iter().any(u8::is_ascii_control) {
            return Err(TargetError::Character);
        }
        let decoded = decode(&layer);
        if decoded.len() == layer.len() {
            return Ok(());
        }
        layer = decoded;
    }
}

fn count_slashes(path: &[u8]) -> usize {
    path.iter().filter(|byte| matches!(byte, b'/' | b'\\')).count()
}

/// Decodes one layer; what is no encoding stays.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = if bytes[at] == b'%' {
            pair(bytes.get(at + 1).copied(), bytes.get(at + 2).copied())
        } else {
            None
        };
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    decoded
}

fn pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// Letters, digits, dots and dashes; no empty label, no final dot.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= HOST_BYTES_MAX && host.split('.').all(is_label)
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "localhost")
}

fn is_at_or_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What RFC 3986 lets stand in an address. A backslash is not among it: browsers read it as a slash.
const fn is_uri_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'%' | b':'
                | b'/'
                | b'?'
                | b'#'
                | b'['
                | b']'
                | b'@'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

/// Longest target: 8 KiB, as much as common servers take of a request line.
pub const TARGET_BYTES_MAX: usize = 8 << 10;

/// Longest host name, by RFC 1035.
const HOST_BYTES_MAX: usize = 253;
