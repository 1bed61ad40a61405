//! Times as flags and files write them.

use std::time::Duration;

/// Reads `200ms`, `1.5s`, `2m`, `1h` or plain `0`.
///
/// # Errors
/// What is wrong with another text, and what would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" if number == "0" => 1.0,
        _ => return Err("give a number with ms, s, m or h, such as 200ms".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
    Duration::try_from_secs_f64(number * factor).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let ms = |text| parse_duration(text).map(|time| time.as_millis()).ok();
        assert_eq!(
            ["5ms", "2s", "1m", "1h", "0", "0.5s"].map(ms),
            [5, 2000, 60_000, 3_600_000, 0, 500].map(Some)
        );
        assert_eq!(["", "5", "s", "1d", "-1s", "1.2.3s", "1e3s"].map(ms), [None; 7]);
    }
}
