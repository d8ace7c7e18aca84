//! The values of one JSON scalar, from its text; `None` where it is of another kind or would lose something.

use std::borrow::Cow;

/// Whole numbers up to this are exact as doubles: 2^53.
const EXACT: i64 = 1 << 53;

/// A number of a whole value within 64 bits; `2.0` is one, `2.5` is not.
pub(super) fn parse_int64(text: &str) -> Option<i64> {
    match text.as_bytes().first()? {
        b'-' | b'0'..=b'9' => {}
        _ => return None,
    }
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    let whole = number.fract() == 0.0 && number.abs() <= EXACT as f64;
    (whole && is_exact(text, number)).then_some(number as i64)
}

/// A finite number. One beyond 2^53, where doubles are whole and have gaps, only as long as no digit of it is lost.
pub(super) fn parse_double(text: &str) -> Option<f64> {
    match text.as_bytes().first()? {
        b'-' | b'0'..=b'9' => {}
        _ => return None,
    }
    if let Ok(whole) = text.parse::<i64>() {
        return (whole.unsigned_abs() <= EXACT.unsigned_abs()).then_some(whole as f64);
    }
    let number: f64 = text.parse().ok()?;
    let written = number.is_finite() && text.contains(['.', 'e', 'E']);
    let kept = number.abs() < EXACT as f64 || is_exact(text, number);
    (written && kept).then_some(number)
}

/// A JSON number is written with the digits that the double is told apart by, or fewer: `1.50`, `15e-1`.
fn is_exact(text: &str, number: f64) -> bool {
    match (decimal(text), decimal(&format!("{number:e}"))) {
        (Some((own, own_scale)), Some((exact, scale))) => {
            own == exact && (own_scale == scale || own.is_empty())
        }
        _ => false,
    }
}

/// The digits of a number without zeros at either end, and the power of ten that the last one stands for.
fn decimal(text: &str) -> Option<(String, i64)> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let kept = digits.trim_end_matches('0');
    let exponent: i64 = exponent.parse().ok()?;
    let scale = exponent - fraction.len() as i64 + (digits.len() - kept.len()) as i64;
    Some((kept.trim_start_matches('0').to_owned(), scale))
}

/// A whole number of any size.
pub(super) fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The characters between the quotes of a JSON text; `None` when an escape stands for no character.
pub(crate) fn unescape(inner: &str, escaped: bool) -> Option<Cow<'_, str>> {
    if !escaped {
        return Some(Cow::Borrowed(inner));
    }
    let decoded: Option<String> = serde_json::from_str(&format!("\"{inner}\"")).ok();
    decoded.map(Cow::Owned)
}

/// An RFC 3339 time in quotes, as microseconds since the epoch; `None` also for times that have more digits than
/// that, and for leap seconds.
pub(crate) fn parse_timestamp(quoted: &str) -> Option<i64> {
    let text = quoted.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let (date, rest) = text.split_at_checked(10)?;
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let (year, month, day) = (
        digits(&date[..4])?,
        digits(&date[5..7])?,
        digits(&date[8..])?,
    );
    let (clock, rest) = rest.split_at_checked(9)?;
    if !matches!(clock[0], b'T' | b't' | b' ') || clock[3] != b':' || clock[6] != b':' {
        return None;
    }
    let (hour, minute) = (digits(&clock[1..3])?, digits(&clock[4..6])?);
    let second = digits(&clock[7..])?;
    let (micros, zone) = fraction(rest)?;
    let offset = zone_seconds(zone)?;
    let legal = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !legal || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days_since_epoch(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some((seconds - offset) * 1_000_000 + micros)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + i64::from(byte - b'0'))
    })
}

/// Microseconds of a fraction, if there is one, and what follows it.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, zone) = rest.split_at(count);
    let (kept, beyond) = fraction.split_at(count.min(6));
    if count == 0 || beyond.iter().any(|digit| *digit != b'0') {
        return None;
    }
    Some((digits(kept)? * 10_i64.pow(6 - kept.len() as u32), zone))
}

fn zone_seconds(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    if rest.len() != 5 || rest[2] != b':' {
        return None;
    }
    let (hours, minutes) = (digits(&rest[..2])?, digits(&rest[3..])?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar: years are counted from March, so that the leap day is the last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidemill_core::record::timestamp;

    #[test]
    fn numbers_that_would_lose_something_do_not_fit() {
        assert_eq!(parse_int64("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_int64("1e3"), Some(1000));
        for text in ["2.5", "9223372036854775808", "\"1\"", "true", "1e300"] {
            assert_eq!(parse_int64(text), None, "{text}");
        }
        assert_eq!(parse_double("0.1"), Some(0.1));
        assert_eq!(parse_double("9007199254740992"), Some(EXACT as f64));
        assert_eq!(parse_double("9007199254740992.0"), Some(EXACT as f64));
        assert_eq!(
            parse_double("0.1000000000000000055511151231257827"),
            Some(0.1)
        );
        for large in [
            "1e300",
            "-1.50E+20",
            "9.007199254740994e15",
            "12345678901234567000.0",
        ] {
            assert_eq!(parse_double(large), large.parse().ok(), "{large}");
        }
        for (text, whole) in [("2.0", 2), ("-20e-1", -2), ("0.0e5", 0), ("-0.0", 0)] {
            assert_eq!(parse_int64(text), Some(whole), "{text}");
        }
        for text in [
            "9007199254740993.0",
            "9007199254740993e0",
            "900719925474099.3e1",
            "4503599627370496.1",
        ] {
            assert_eq!(parse_int64(text), None, "{text}");
        }
        for text in [
            "9007199254740993",
            "9007199254740993.0",
            "-9.007199254740993e15",
            "9007199254740993.5",
            "1e999",
            "\"1\"",
            "null",
        ] {
            assert_eq!(parse_double(text), None, "{text}");
        }
        assert!(is_integer("-123456789012345678901234567890") && !is_integer("1.0"));
    }

    #[test]
    fn what_is_no_time_does_not_fit() {
        for text in [
            "2026-02-15",
            "2026-02-15T10:30:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-02-15T24:00:00Z",
            "2026-02-15T10:30:60Z",
            "2026-02-15T10:30:00.1234567Z",
            "2026-02-15T10:30:00+2:00",
            "2026-02-15T10:30:00.Z",
            "+026-02-15T10:30:00Z",
            "",
        ] {
            assert_eq!(parse_timestamp(&format!("\"{text}\"")), None, "{text}");
        }
        assert_eq!(
            parse_timestamp("\"2024-02-29T00:00:00.1234560Z\""),
            Some(1_709_164_800_123_456)
        );
    }

    proptest! {
        #[test]
        fn times_agree_with_the_calendar_of_core(
            days in -700_000_i64..2_900_000,
            millis in 0..86_400_000_i64,
            minutes in -1439..1440_i64,
        ) {
            let instant = days * 86_400_000 + millis;
            let local = instant + minutes * 60_000;
            let (day, rest) = (local.div_euclid(86_400_000), local.rem_euclid(86_400_000));
            let (year, month, date) = civil(day);
            prop_assume!((0..=9999).contains(&year));
            let text = format!(
                "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}.{:03}{}{:02}:{:02}",
                rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000,
                if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60,
            );
            prop_assert_eq!(parse_timestamp(&format!("\"{text}\"")), Some(instant * 1000), "{}", text);
            prop_assert_eq!(timestamp::from_text(&text), Ok(instant), "{}", text);
        }
    }

    /// The date of a day, by walking the years and months.
    fn civil(mut day: i64) -> (i64, i64, i64) {
        let mut year = 1970;
        let length = |year: i64| 337 + days_in(year, 2);
        while day < 0 {
            year -= 1;
            day += length(year);
        }
        while day >= length(year) {
            day -= length(year);
            year += 1;
        }
        let mut month = 1;
        while day >= days_in(year, month) {
            day -= days_in(year, month);
            month += 1;
        }
        (year, month, day + 1)
    }
}
