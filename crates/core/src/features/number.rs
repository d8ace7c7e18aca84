//! Values as decimal text: the shortest that reads back as the same f64, never with an exponent.

use std::io::Write;

/// Whole numbers below this are exact in an f64, and so are cents below a hundredth of it.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Numbers of at most 15 digits read back as themselves from their decimal text.
const FIFTEEN_DIGITS: f64 = 1e15;

/// Appends a whole number.
pub fn write_integer(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a finite number; zero has no sign, and whole numbers no point.
pub fn write_number(out: &mut Vec<u8>, number: f64) {
    if number.abs() < EXACT && number.trunc() == number {
        return write_integer(out, number as i64);
    }
    // Most amounts are whole cents: their text has two digits after the point.
    let cents = (number * 100.0).round();
    if cents.abs() < FIFTEEN_DIGITS && cents / 100.0 == number {
        return write_fraction(out, cents as i64, 2);
    }
    // Rust's own text of an f64 is the shortest, without exponent; writing to a Vec cannot fail.
    write!(out, "{number}").ok();
}

/// Appends a time in milliseconds as seconds.
pub fn write_seconds(out: &mut Vec<u8>, millis: i64) {
    write_fraction(out, millis, 3);
}

/// Appends `number` / 10^`digits`, without trailing zeros.
fn write_fraction(out: &mut Vec<u8>, number: i64, digits: u32) {
    if number < 0 {
        out.push(b'-');
    }
    let number = number.unsigned_abs();
    let one = 10u64.pow(digits);
    write_integer(out, number / one);
    let (mut rest, mut digit) = (number % one, one / 10);
    if rest > 0 {
        out.push(b'.');
    }
    while rest > 0 {
        out.push(b'0' + (rest / digit) as u8);
        rest %= digit;
        digit /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(number: f64) -> String {
        let mut out = Vec::new();
        write_number(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_short_and_plain() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (100.0, "100"),
            (-49.99, "-49.99"),
            (0.05, "0.05"),
            (-0.5, "-0.5"),
            (149.5, "149.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (99_999_999_999_999.99, "99999999999999.98"),
            (9_007_199_254_740_993.0, "9007199254740992"),
        ] {
            assert_eq!(text(number), expected);
        }
        assert!(!text(f64::MAX).contains('e') && !text(f64::MIN_POSITIVE).contains('e'));
    }

    #[test]
    fn seconds_keep_their_milliseconds() {
        for (millis, expected) in [
            (1_771_151_400_000, "1771151400"),
            (1_771_151_400_050, "1771151400.05"),
            (-1, "-0.001"),
            (0, "0"),
        ] {
            let mut out = Vec::new();
            write_seconds(&mut out, millis);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn every_number_reads_back_and_none_is_longer_than_needed(
            number in prop_oneof![
                any::<f64>().prop_filter("finite", |number| number.is_finite()),
                (-10_000_000_000i64..10_000_000_000).prop_map(|cents| cents as f64 / 100.0),
                -1e6..1e6f64,
            ]
        ) {
            let own = text(number);
            prop_assert_eq!(own.parse::<f64>().unwrap(), number);
            let plain = number.to_string();
            prop_assert!(own.len() <= plain.len());
        }
    }
}
