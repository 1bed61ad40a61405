//! JSON by hand: bytes are appended in a fixed order, and nothing is derived from a client's types.

use std::time::{Duration, SystemTime};

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => {
                out.extend_from_slice(&bytes[plain..at]);
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                plain = at + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..at]);
        out.extend_from_slice(escape);
        plain = at + 1;
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

/// Appends a whole number.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a duration in seconds with up to six decimals, always with a point: `0.8`, `2.0`.
pub(crate) fn push_seconds(out: &mut Vec<u8>, duration: Duration) {
    push_number(out, duration.as_secs());
    out.push(b'.');
    let mut rest = duration.subsec_micros();
    let mut unit = 100_000;
    loop {
        out.push(b'0' + (rest / unit) as u8);
        rest %= unit;
        unit /= 10;
        if rest == 0 {
            break;
        }
    }
}

/// Appends an instant of the wall clock as `2030-01-02T03:04:05.678901Z`.
///
/// Live samples omit the zone, the documentation writes `Z`. We write it, because JavaScript reads a
/// time without zone as local.
pub(crate) fn push_timestamp(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let clock = seconds % 86_400;
    for (number, width, end) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (clock / 3600, 2, b':'),
        (clock / 60 % 60, 2, b':'),
        (clock % 60, 2, b'.'),
        (u64::from(since.subsec_micros()), 6, b'Z'),
    ] {
        push_padded(out, number, width);
        out.push(end);
    }
}

/// The same with `+00:00` for the zone, which Python before 3.11 reads and `Z` not.
pub(crate) fn push_offset_timestamp(out: &mut Vec<u8>, time: SystemTime) {
    push_timestamp(out, time);
    out.pop();
    out.extend_from_slice(b"+00:00");
}

/// Appends a number with leading zeros.
fn push_padded(out: &mut Vec<u8>, number: u64, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + u8::try_from(number / 10u64.pow(place) % 10).expect("a digit"));
    }
}

/// Year, month and day of a day since 1970-01-01 (Howard Hinnant's `civil_from_days`, unsigned).
pub(crate) const fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// `{"detail":"…"}`.
pub(crate) fn detail(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    out.extend_from_slice(b"{\"detail\":");
    push_string(&mut out, text);
    out.push(b'}');
    out
}

pub(crate) const HEX: [u8; 16] = *b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let text = |seconds: u64, micros: u32| {
            let mut out = Vec::new();
            push_timestamp(
                &mut out,
                SystemTime::UNIX_EPOCH + Duration::new(seconds, micros * 1000),
            );
            String::from_utf8(out).unwrap()
        };
        let mut offset = Vec::new();
        push_offset_timestamp(&mut offset, SystemTime::UNIX_EPOCH);
        assert_eq!(offset, b"1970-01-01T00:00:00.000000+00:00");
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(1_893_553_445, 678_901), "2030-01-02T03:04:05.678901Z");
        assert_eq!(text(951_782_399, 1), "2000-02-28T23:59:59.000001Z");
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00.000000Z");
    }

    #[test]
    fn seconds_keep_a_point() {
        let text = |micros| {
            let mut out = Vec::new();
            push_seconds(&mut out, Duration::from_micros(micros));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            [text(800_000), text(2_000_000), text(0), text(1)],
            ["0.8", "2.0", "0.0", "0.000001"]
        );
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in "\\PC*|[\\x00-\\x7f]*") {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn any_number_reads_back(number: u64) {
            let mut out = Vec::new();
            push_number(&mut out, number);
            prop_assert_eq!(serde_json::from_slice::<u64>(&out).unwrap(), number);
        }
    }
}
