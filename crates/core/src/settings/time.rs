//! Times and durations as people write them in flags.

use super::Problems;
use crate::clock::now_ms;
use crate::record::timestamp;
use std::time::Duration;

impl Problems {
    /// The time that a flag names (epoch ms); logs its interpretation.
    pub fn time(&mut self, flag: &str, text: &str) -> Option<i64> {
        let millis = self.take(flag, text, parse_time)?;
        echo(flag, text, millis);
        Some(millis)
    }
}

/// Logs the interpretation of a flag's time.
pub fn echo(flag: &str, text: &str, millis: i64) {
    tracing::info!("{flag} {text} is {}", timestamp::date(millis));
}

/// Parses a duration such as `300ms`, `20s`, `5m`, `24h` or `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "use a number with a unit, such as 300ms, 20s, 5m, 24h or 7d".into())
}

/// A duration as it is parsed: `30s`.
pub fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Parses a time, to epoch ms: RFC 3339, a date, `now`, `1h ago`, or an epoch number as in records.
pub fn parse_time(text: &str) -> Result<i64, String> {
    time_at(text, now_ms())
}

fn time_at(text: &str, now: i64) -> Result<i64, String> {
    let text = text.trim();
    let expected = "use a time such as 2026-02-15T10:30:00Z, a date, now, 1h ago, or an epoch number: seconds below \
                    1e11, else milliseconds";
    if text == "now" {
        return Ok(now);
    }
    if let Some(age) = text.strip_suffix(" ago") {
        let age = humantime::parse_duration(age.trim()).map_err(|_| expected)?;
        let age = i64::try_from(age.as_millis()).map_err(|_| expected)?;
        return now.checked_sub(age).ok_or_else(|| expected.into());
    }
    if let Ok(number) = text.parse::<f64>() {
        return timestamp::from_number(number);
    }
    let day = || timestamp::from_text(&format!("{text}T00:00:00Z"));
    let time = timestamp::from_text(text).or_else(|_| day());
    time.map_err(|_| expected.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_in_records_and_as_people_say_them() {
        let at = 1_771_151_400_000;
        let now = at + 7_200_000;
        let table = [
            ("2026-02-15T10:30:00Z", Some(at)),
            ("2026-02-15T11:30:00+01:00", Some(at)),
            ("1771151400000", Some(at)),
            ("1771151400", Some(at)),
            ("1771151400.5", Some(at + 500)),
            ("0", Some(0)),
            ("2026-02-15", Some(at - 37_800_000)),
            ("now", Some(now)),
            ("2h ago", Some(at)),
            ("90m ago", Some(at + 1_800_000)),
            ("1771151400000000", None),
            ("yesterday", None),
            ("2026-02-15T10:30:00", None),
            ("2026-13-15", None),
            ("1 parsec ago", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(time_at(text, now).ok(), expected, "{text}");
        }
        assert!(
            time_at("1771151400000000", now)
                .unwrap_err()
                .contains("microseconds")
        );
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("300ms"), Ok(Duration::from_millis(300)));
        assert!(parse_duration("5").is_err());
    }
}
