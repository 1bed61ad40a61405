//! Times as queries write them.

use std::time::{Duration, SystemTime};

/// Reads `2030-01-02`, `2030-01-02T03:04:05.678Z` and `2030-01-02T03:04+01:00`. Without a zone it is UTC.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let (date, clock) = match text.split_once(['T', ' ']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (text, None),
    };
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_since_epoch(year, month, day)?;
    let (clock, offset) = match clock {
        Some(clock) => read_clock(clock)?,
        None => (Duration::ZERO, 0),
    };
    let seconds = i64::try_from(days * 86_400).ok()?.checked_sub(offset)?;
    let start = Duration::from_secs(u64::try_from(seconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(start)?.checked_add(clock)
}

/// The time of day, and the seconds by which its zone is ahead.
fn read_clock(text: &str) -> Option<(Duration, i64)> {
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        None => (text, 0),
        Some(at) if text[at..].eq_ignore_ascii_case("z") => (&text[..at], 0),
        Some(at) => {
            let (hours, minutes) = text[at + 1..].split_once(':')?;
            let seconds = i64::try_from(digits(hours)? * 3600 + digits(minutes)? * 60).ok()?;
            (&text[..at], if text[at..].starts_with('-') { -seconds } else { seconds })
        }
    };
    let mut parts = clock.split(':');
    let (hours, minutes) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let seconds: f64 = match parts.next() {
        Some(text) if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') => text.parse().ok()?,
        Some(_) => return None,
        None => 0.0,
    };
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds >= 61.0 {
        return None;
    }
    let whole = Duration::from_secs(hours * 3600 + minutes * 60);
    Some((whole + Duration::from_secs_f64(seconds), offset))
}

fn digits(text: &str) -> Option<u64> {
    let is_short = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if is_short { text.parse().ok() } else { None }
}

/// Days since 1970-01-01 (Howard Hinnant's `days_from_civil`, unsigned); `None` before it.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let era = year / 400;
    let year_of_era = year - era * 400;
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let seconds = |text: &str| {
            parse(text)
                .map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64())
        };
        for (text, want) in [
            ("1970-01-01", 0.0),
            ("2030-01-02T03:04:05.5Z", 1_893_553_445.5),
            ("2030-01-02T04:04:05+01:00", 1_893_553_445.0),
            ("2030-01-02T03:04:05", 1_893_553_445.0),
            ("2000-02-29T00:00Z", 951_782_400.0),
        ] {
            assert_eq!(seconds(text), Some(want), "{text}");
        }
        for text in [
            "",
            "x",
            "2030",
            "2030-13-01",
            "2030-01-32",
            "2030-01-01T",
            "2030-01-01T24:00",
            "2030-01-01Tx:00",
            "1969-12-31",
            "2030-01-01T00:00+1",
            "99999-01-01",
            "2030-01-01T00:00:00:00",
            "0000-01-01",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_rendered_reads_back() {
        for seconds in [0u64, 951_782_399, 1_893_553_445, 4_102_444_800] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let mut text = Vec::new();
            crate::render::push_timestamp(&mut text, time);
            assert_eq!(parse(std::str::from_utf8(&text).unwrap()), Some(time));
        }
    }
}
