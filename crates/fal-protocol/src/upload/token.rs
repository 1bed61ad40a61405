//! The CDN's tokens: what the REST host answers, and until when it can be used.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use serde::Deserialize;

use crate::error::ProtocolError;

/// Permission to write to the CDN, for a while.
///
/// Give the one that [`Upload::token`](super::Upload::token) leaves to the next upload of the same caller.
/// It is a credential: it prints as `***` and never serialises.
///
/// Source: `client.py` of `fal-client` 1.0.3 (official client source).
#[derive(Clone, PartialEq, Eq)]
pub struct CdnToken {
    header: HeaderValue,
    base: Option<Uri>,
    expires_at: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Wire {
    token: Box<str>,
    token_type: Option<Box<str>>,
    base_url: Option<Box<str>>,
    expires_at: Option<Box<str>>,
}

impl CdnToken {
    /// Reads the answer of `storage/auth/token`.
    ///
    /// Only `token` is required, as in an older JavaScript helper: without `token_type` it is a `Bearer`,
    /// without a usable `base_url` the configured CDN is asked, and without a usable `expires_at` it is good
    /// for one upload.
    ///
    /// # Errors
    /// [`ProtocolError::Body`], which does not quote the body: it holds a credential.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        let refuse = |problem: &str| ProtocolError::secret_body("a token of the CDN", problem);
        let wire: Wire = serde_json::from_slice(body)
            .map_err(|error| refuse(&format!("wrong at column {}", error.column())))?;
        let kind = wire.token_type.as_deref().unwrap_or("Bearer");
        let mut header = HeaderValue::try_from(format!("{kind} {}", wire.token))
            .map_err(|_| refuse("it cannot stand in a header"))?;
        header.set_sensitive(true);
        let base = wire.base_url.and_then(|base| usable_base(&base));
        let expires_at = wire.expires_at.as_deref().and_then(parse_time);
        Ok(Self { header, base, expires_at })
    }

    /// When it ends, if the service said so.
    #[must_use]
    pub const fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// Whether a new upload can rely on it: it has at least [`TOKEN_MARGIN`] left at that time of day.
    #[must_use]
    pub fn is_fresh(&self, wall: SystemTime) -> bool {
        let Some(expires_at) = self.expires_at else { return false };
        wall.checked_add(TOKEN_MARGIN).is_some_and(|until| until <= expires_at)
    }

    /// The value of `Authorization`, marked sensitive.
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Where it is good, without a final slash; `None` is the configured CDN.
    pub(crate) const fn base(&self) -> Option<&Uri> {
        self.base.as_ref()
    }
}

impl fmt::Debug for CdnToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CdnToken")
            .field("token", &"***")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// An absolute address without a query and a user name.
fn usable_base(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let is_web = uri.scheme() == Some(&Scheme::HTTPS) || uri.scheme() == Some(&Scheme::HTTP);
    let authority = uri.authority()?.as_str();
    (is_web && uri.query().is_none() && !authority.contains('@')).then_some(uri)
}

/// A time as ISO 8601 writes it: `2026-01-01T01:00:00.25+00:00`. `Z` and any offset are taken; a time
/// without either names no instant.
pub(crate) fn parse_time(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.split('-');
    let mut next = |digits: usize| number(parts.next()?, digits);
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone);
    let offset = offset(zone)?;
    let (time, fraction) = time.split_once(['.', ',']).unwrap_or((time, "0"));
    let mut parts = time.split(':');
    let mut next = || number(parts.next()?, 2);
    let (hour, minute, second) = (next()?, next()?, next()?);
    // 60 is a leap second, which the clocks of computers skip.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let instant = match seconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(whole)?,
        _ => SystemTime::UNIX_EPOCH.checked_sub(whole)?,
    };
    instant.checked_add(nanoseconds(fraction)?)
}

/// Exactly so many digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Seconds east of Greenwich: `Z`, `+02:00`, `+0200` or `+02`.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = zone.split_at(1);
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None if rest.len() == 4 => rest.split_at(2),
        None => (rest, "00"),
    };
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60;
    Some(if sign == "-" { -seconds } else { seconds })
}

/// A fraction of a second; what is finer than nanoseconds is dropped.
fn nanoseconds(fraction: &str) -> Option<Duration> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    Some(Duration::from_nanos(digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))))
}

/// Days from 1970-01-01 in the Gregorian calendar; years begin in March here, so that a leap day is last.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// How much of a token's life must be left when an upload begins, and when a part does: 10 minutes.
///
/// Ours: the Python client uses a token to its last second, fal's own SDK renews it an hour before. A part
/// that is repeated needs some minutes, and nobody publishes how long a token lives.
pub const TOKEN_MARGIN: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn time(text: &str) -> Option<Duration> {
        parse_time(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap())
    }

    #[test]
    fn every_form_of_a_time_is_read() {
        let hour = Duration::from_secs(1_767_225_600);
        for text in [
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00+00:00",
            "2026-01-01 00:00:00.000+00:00",
            "2026-01-01T02:00:00+02:00",
            "2025-12-31T18:30:00-0530",
            "2026-01-01T01:00:00+01",
        ] {
            assert_eq!(time(text), Some(hour), "{text}");
        }
        let finer = hour + Duration::from_micros(123_456);
        assert_eq!(time("2026-01-01T00:00:00.123456+00:00"), Some(finer));
        assert_eq!(time("2026-01-01T00:00:00.123456000999Z"), Some(finer));
        assert_eq!(time("1970-01-01T00:00:00Z"), Some(Duration::ZERO));
        assert_eq!(time("2024-02-29T00:00:00Z"), Some(Duration::from_secs(1_709_164_800)));
        assert_eq!(time("2000-03-01T00:00:00Z"), Some(Duration::from_secs(951_868_800)));
        assert!(parse_time("0001-01-01T00:00:00Z") < Some(SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn other_texts_are_no_time() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-1-1T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-32T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.xZ",
            "2026-01-01T00:00:00+25:00",
            "2026-01-01T00:00:00+",
            "2026-01-01T+1:00:00Z",
            "20260101T000000Z",
            "1767225600",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_is_fresh_until_its_margin() {
        let body = br#"{"token":"cdn_abc","token_type":"Bearer","base_url":"https://v3.fal.media","expires_at":"1970-01-01T01:00:00+00:00"}"#;
        let token = CdnToken::parse(body).unwrap();
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        assert!(token.is_fresh(at(3000)));
        assert!(!token.is_fresh(at(3001)));
        assert_eq!(token.expires_at(), Some(at(3600)));
        assert_eq!(token.header().to_str().unwrap(), "Bearer cdn_abc");
        assert!(token.header().is_sensitive());
    }

    #[test]
    fn little_is_required() {
        let token = CdnToken::parse(br#"{"token":"t"}"#).unwrap();
        assert_eq!(token.header().to_str().unwrap(), "Bearer t");
        assert!(!token.is_fresh(SystemTime::UNIX_EPOCH), "nobody knows until when");
        assert_eq!(token.base(), None);
        for bad in ["https://u@x.test", "https://x.test/?a", "ftp://x.test", "/x", "nonsense here"]
        {
            let body = format!(r#"{{"token":"t","base_url":"{bad}"}}"#);
            assert_eq!(CdnToken::parse(body.as_bytes()).unwrap().base(), None, "{bad}");
        }
    }

    #[test]
    fn no_token_is_shown() {
        let good = CdnToken::parse(br#"{"token":"hunter2"}"#).unwrap();
        assert!(!format!("{good:?}").contains("hunter2"));
        for body in
            [r#""hunter2""#, r#"{"token":5,"x":"hunter2"}"#, r#"{"token":"hunter2\n"}"#, "hunter2"]
        {
            let error = CdnToken::parse(body.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
