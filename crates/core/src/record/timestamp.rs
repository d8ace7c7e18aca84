//! Event times: RFC 3339 texts and epoch numbers to whole milliseconds.

use super::fields::Value;
use super::reject::{Reason, Reject};

/// Numbers below this (in magnitude) are epoch seconds, others milliseconds: it is the year 5138 in seconds, and 1973
/// in milliseconds.
const SECONDS_BELOW: f64 = 1e11;

/// Times of the years 2000 to 2099 in milliseconds: the likely meaning of a number.
const LIKELY_MS: std::ops::Range<i64> = 946_684_800_000..4_102_444_800_000;

/// Limit of an event's time after its record's own timestamp: 5 minutes, in milliseconds.
pub const FUTURE_LIMIT_MS: i64 = 5 * 60 * 1000;

/// The time in a field (epoch ms), rounded to the nearest; `None` if the field is absent.
pub fn decode(value: &Value<'_>, field: &str) -> Result<Option<i64>, Reject> {
    let millis = match value {
        Value::Absent => return Ok(None),
        Value::Text(text) => from_text(text),
        Value::Integer(number) => from_number(*number as f64),
        Value::Float(number) => from_number(*number),
        other => return Err(other.wrong(field, "an RFC 3339 text or an epoch number")),
    };
    millis
        .map(Some)
        .map_err(|error| Reject::new(Reason::InvalidTimestamp, format!("{field}: {error}")))
}

/// The time of an event: its own field or else its record's timestamp, and at most 5 minutes after the latter. It is
/// compared with the record, not with the clock, so that live and replayed records are judged alike.
pub fn event_time(
    value: &Value<'_>,
    field: &str,
    record_timestamp: Option<i64>,
) -> Result<i64, Reject> {
    match (decode(value, field)?, record_timestamp) {
        (Some(own), Some(record)) if own > record.saturating_add(FUTURE_LIMIT_MS) => {
            let error = format!("{field} {}", ahead(own, record));
            Err(Reject::new(Reason::FutureTimestamp, error))
        }
        (Some(own), _) => Ok(own),
        (None, Some(record)) => Ok(record),
        (None, None) => {
            let error = format!("neither {field} nor the record has a timestamp");
            Err(Reject::new(Reason::InvalidTimestamp, error))
        }
    }
}

/// Parses an RFC 3339 time with any offset, to epoch ms.
pub fn from_text(text: &str) -> Result<i64, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("{text:?} is no RFC 3339 time with an offset"))?;
    Ok((time.as_nanosecond() + 500_000).div_euclid(1_000_000) as i64)
}

/// Interprets an epoch number, seconds below 1e11, else milliseconds; returns epoch ms.
pub fn from_number(number: f64) -> Result<i64, String> {
    let scale = if number.abs() < SECONDS_BELOW {
        1000.0
    } else {
        1.0
    };
    let millis = (number * scale).round();
    if number.is_finite() && jiff::Timestamp::from_millisecond(millis as i64).is_ok() {
        return Ok(millis as i64);
    }
    let finer = [("microseconds", 1e3), ("nanoseconds", 1e6)].into_iter();
    let guess = finer
        .map(|(unit, parts)| (unit, (number / parts) as i64))
        .find(|(_, millis)| LIKELY_MS.contains(millis));
    Err(match guess {
        Some((unit, millis)) => format!(
            "{number} looks like {unit} ({}): write seconds or milliseconds",
            date(millis)
        ),
        None => format!("{number} is outside the years -9999 to 9999"),
    })
}

/// A time (epoch ms) in RFC 3339, to the second.
pub fn date(millis: i64) -> String {
    let time = jiff::Timestamp::from_second(millis.div_euclid(1000));
    time.map_or_else(|_| format!("{millis} ms"), |time| time.to_string())
}

/// The error for an event's time that is too far after its record's own.
fn ahead(own: i64, record: i64) -> String {
    let (event, stamp) = (date(own), date(record));
    if !LIKELY_MS.contains(&record) && LIKELY_MS.contains(&record.saturating_mul(1000)) {
        return format!(
            "is {event}, while the record's own timestamp is {stamp}: the producer gives Kafka seconds, which takes \
             milliseconds"
        );
    }
    format!("is {event}, more than 5 minutes after the record's own timestamp, {stamp}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_name_the_same_instant() {
        let instant = 1_771_151_400_000;
        for value in [
            Value::Text("2026-02-15T10:30:00Z".into()),
            Value::Text("2026-02-15T12:30:00+02:00".into()),
            Value::Text("2026-02-15T10:30:00.0004Z".into()),
            Value::Integer(1_771_151_400),
            Value::Integer(1_771_151_400_000),
            Value::Float(1_771_151_400.000_4),
        ] {
            assert_eq!(decode(&value, "t"), Ok(Some(instant)), "{value:?}");
        }
        assert_eq!(
            decode(&Value::Float(1_771_151_400.123), "t"),
            Ok(Some(instant + 123))
        );
        assert_eq!(decode(&Value::Integer(-1), "t"), Ok(Some(-1000)));
        assert_eq!(decode(&Value::Absent, "t"), Ok(None));
    }

    #[test]
    fn what_is_no_time_is_rejected() {
        for value in [
            Value::Text("2026-02-15".into()),
            Value::Text("2026-02-15T10:30:00".into()),
            Value::Text("1771151400".into()),
            Value::Float(1e300),
            Value::Integer(i128::from(u64::MAX)),
        ] {
            let reject = decode(&value, "t").unwrap_err();
            assert_eq!(reject.reason, Reason::InvalidTimestamp, "{value:?}");
        }
        assert_eq!(
            decode(&Value::Bool(true), "t").unwrap_err().reason,
            Reason::WrongType
        );
    }

    #[test]
    fn units_that_are_no_ones_contract_are_named() {
        let told = |number: i128| decode(&Value::Integer(number), "t").unwrap_err().error;
        for (number, unit) in [
            (1_771_151_400_000_000, "microseconds (2026-02-15T10:30:00Z)"),
            (
                1_771_151_400_000_000_000,
                "nanoseconds (2026-02-15T10:30:00Z)",
            ),
            (i128::from(u64::MAX), "outside the years"),
        ] {
            assert!(told(number).contains(unit), "{}", told(number));
        }
        let own = Value::Integer(1_771_151_400_000);
        let told = |record| event_time(&own, "t", Some(record)).unwrap_err().error;
        let seconds = told(1_771_151_400);
        assert!(
            seconds.contains("1970-01-21") && seconds.contains("Kafka seconds"),
            "{seconds}"
        );
        let old = told(1_371_151_400_000);
        assert!(
            old.contains("2026-02-15T10:30:00Z") && old.contains("2013-06-13"),
            "{old}"
        );
    }

    #[test]
    fn the_future_is_judged_against_the_record() {
        let at = |millis: i64| Value::Integer(millis.into());
        let record = 1_771_151_400_000;
        let limit = record + FUTURE_LIMIT_MS;
        assert_eq!(event_time(&at(limit), "t", Some(record)), Ok(limit));
        let reject = event_time(&at(limit + 1), "t", Some(record)).unwrap_err();
        assert_eq!(reject.reason, Reason::FutureTimestamp);
        assert_eq!(event_time(&Value::Absent, "t", Some(record)), Ok(record));
        assert!(event_time(&Value::Absent, "t", None).is_err());
    }
}
