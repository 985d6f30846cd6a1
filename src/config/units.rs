//! Sizes and durations as people write them.
//!
//! All arithmetic is in whole bytes and nanoseconds, without floating point: a fraction means the same on
//! every machine.

use std::time::Duration;

use super::ValueError;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const NANOS_PER_MS: u64 = 1_000_000;
const NANOS_PER_S: u64 = 1_000 * NANOS_PER_MS;
const NANOS_PER_M: u64 = 60 * NANOS_PER_S;
const NANOS_PER_H: u64 = 60 * NANOS_PER_M;

/// Maximum number of digits after the point: nanoseconds of a second.
const FRACTION_LENGTH_MAX: usize = 9;

/// Parses a size in bytes: `65536`, `512 B`, `64KiB`, `1.5 GiB`.
///
/// `K`, `KB` and `KiB` all mean 1,024 bytes, `M…` and `G…` its powers: units are binary and case-insensitive,
/// with an optional space before them. A fraction needs one of these units; the result is rounded down to
/// whole bytes.
///
/// # Errors
/// [`ValueError::NotSize`] for anything else, [`ValueError::Uncountable`] from 2^64 bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, ValueError> {
    let (number, unit) = Number::split(text).ok_or(ValueError::NotSize)?;
    let bytes_per_unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" if number.fraction.is_empty() => 1,
        "k" | "kb" | "kib" => KIB,
        "m" | "mb" | "mib" => MIB,
        "g" | "gb" | "gib" => GIB,
        _ => return Err(ValueError::NotSize),
    };
    number.times(bytes_per_unit)
}

/// Parses a duration: `10` and `10s` are seconds, `250ms`, `1.5 m`, `24h`.
///
/// Units are case-insensitive, with an optional space before them; the result is rounded down to whole
/// nanoseconds.
///
/// # Errors
/// [`ValueError::NotDuration`] for anything else, [`ValueError::Uncountable`] from 2^64
/// nanoseconds (584 years).
pub(crate) fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let (number, unit) = Number::split(text).ok_or(ValueError::NotDuration)?;
    let nanos_per_unit = match unit.to_ascii_lowercase().as_str() {
        "ms" => NANOS_PER_MS,
        "" | "s" => NANOS_PER_S,
        "m" => NANOS_PER_M,
        "h" => NANOS_PER_H,
        _ => return Err(ValueError::NotDuration),
    };
    number.times(nanos_per_unit).map(Duration::from_nanos)
}

/// Renders a duration exactly, in the largest unit that divides it: `24 h`, `90 s`, `1500 ms`, and `0.25 ms`
/// if it is no whole number of milliseconds. [`parse_duration`] parses it back, if it is shorter than 584
/// years.
pub(crate) fn render_duration(time: Duration) -> String {
    let nanos = time.as_nanos();
    if nanos == 0 {
        return "0 s".to_owned();
    }
    let units = [
        (NANOS_PER_H, "h"),
        (NANOS_PER_M, "m"),
        (NANOS_PER_S, "s"),
        (NANOS_PER_MS, "ms"),
    ];
    for (unit, name) in units {
        if nanos.is_multiple_of(u128::from(unit)) {
            return format!("{} {name}", nanos / u128::from(unit));
        }
    }
    let unit = u128::from(NANOS_PER_MS);
    let digits = format!("{}.{:06}", nanos / unit, nanos % unit);
    format!("{} ms", digits.trim_end_matches('0'))
}

/// A decimal number as written.
struct Number<'a> {
    whole: &'a str,
    /// The digits after the point; empty without one.
    fraction: &'a str,
}

impl<'a> Number<'a> {
    /// Splits `1.5 GiB` into number and unit. `None` unless it starts with a number, with digits on both
    /// sides of the point.
    fn split(text: &'a str) -> Option<(Number<'a>, &'a str)> {
        let (whole, rest) = digits(text.trim_ascii());
        let (fraction, unit) = match rest.strip_prefix('.') {
            Some(rest) => digits(rest),
            None => ("", rest),
        };
        let is_point_right = rest.starts_with('.') != fraction.is_empty();
        let is_number = !whole.is_empty() && is_point_right;
        let is_short = fraction.len() <= FRACTION_LENGTH_MAX;
        (is_number && is_short).then_some((Number { whole, fraction }, unit.trim_ascii_start()))
    }

    /// The product with a unit, rounded down.
    fn times(&self, unit: u64) -> Result<u64, ValueError> {
        // The text has digits only, so the only possible error is overflow; 10^9 fits.
        let whole: u64 = self.whole.parse().map_err(|_| ValueError::Uncountable)?;
        let mut rest = 0;
        let mut scale = 1_u128;
        for digit in self.fraction.bytes() {
            rest = rest * 10 + u128::from(digit - b'0');
            scale *= 10;
        }
        let product = u128::from(whole) * u128::from(unit) + rest * u128::from(unit) / scale;
        u64::try_from(product).map_err(|_| ValueError::Uncountable)
    }
}

/// The digits at the start of a text, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::exact_bytes;
    use ValueError::{NotDuration, NotSize, Uncountable};

    #[test]
    fn a_size_is_read_as_it_is_meant() {
        #[rustfmt::skip]
        let cases = [
            // Written                bytes                    because
            ("0",                     Ok(0),                   "nothing is a size"),
            ("65536",                 Ok(65_536),              "plain bytes"),
            ("1 B",                   Ok(1),                   "bytes by name"),
            ("64KiB",                 Ok(65_536),              "binary"),
            ("64k",                   Ok(65_536),              "short, lower case"),
            ("64 kb",                 Ok(65_536),              "KB is binary too"),
            ("256MiB",                Ok(256 << 20),           "as in the help"),
            ("1G",                    Ok(1 << 30),             "short"),
            (" 1.5 GiB ",             Ok(3 << 29),             "fraction and blanks"),
            ("0.0001KiB",             Ok(0),                   "less than a byte is dropped"),
            ("18446744073709551615",  Ok(u64::MAX),            "the largest"),
            ("17179869183.999999999G",Ok(u64::MAX - 1),        "just below 2^64, rounded down"),
            ("18446744073709551616",  Err(Uncountable),        "one past it"),
            ("17179869184GiB",        Err(Uncountable),        "2^64"),
            ("99999999999999999999G", Err(Uncountable),        "past 2^64 before its unit"),
            ("",                      Err(NotSize),            "empty"),
            ("KiB",                   Err(NotSize),            "no number"),
            ("lots",                  Err(NotSize),            "no number"),
            ("-1",                    Err(NotSize),            "less than nothing"),
            ("+1",                    Err(NotSize),            "signs are not digits"),
            ("1.5",                   Err(NotSize),            "half a byte"),
            ("1.5B",                  Err(NotSize),            "half a byte"),
            ("1.",                    Err(NotSize),            "no digit after the point"),
            (".5K",                   Err(NotSize),            "no digit before the point"),
            ("1.K",                   Err(NotSize),            "no digit after the point"),
            ("1..5K",                 Err(NotSize),            "two points"),
            ("1,5K",                  Err(NotSize),            "a comma is no point"),
            ("1.0000000000K",         Err(NotSize),            "ten digits after the point"),
            ("1T",                    Err(NotSize),            "not one of the units"),
            ("1 K iB",                Err(NotSize),            "a blank in the unit"),
            ("0x10",                  Err(NotSize),            "not decimal"),
            ("1e3",                   Err(NotSize),            "no exponents"),
            ("١",                     Err(NotSize),            "a digit, but not of ASCII"),
        ];
        for (text, want, because) in cases {
            assert_eq!(parse_size(text), want, "{text:?}: {because}");
        }
    }

    #[test]
    fn a_time_is_read_as_it_is_meant() {
        #[rustfmt::skip]
        let cases = [
            // Written              milliseconds       because
            ("0",                   Ok(0),             "at once"),
            ("10",                  Ok(10_000),        "plain seconds"),
            ("10s",                 Ok(10_000),        "seconds by name"),
            ("250ms",               Ok(250),           "milliseconds"),
            ("1.5",                 Ok(1_500),         "fraction of plain seconds"),
            ("1.5 M",               Ok(90_000),        "minutes, in upper case"),
            ("0.5h",                Ok(1_800_000),     "hours"),
            ("18446744073s",        Ok(18_446_744_073_000), "584 years"),
            ("18446744074s",        Err(Uncountable),  "a second more"),
            ("1d",                  Err(NotDuration),  "not one of the units"),
            ("1us",                 Err(NotDuration),  "not one of the units"),
            ("",                    Err(NotDuration),  "empty"),
            ("-1s",                 Err(NotDuration),  "less than nothing"),
            ("1h30m",               Err(NotDuration),  "two numbers"),
            ("soon",                Err(NotDuration),  "no number"),
        ];
        for (text, want, because) in cases {
            let want = want.map(Duration::from_millis);
            assert_eq!(parse_duration(text), want, "{text:?}: {because}");
        }
    }

    #[test]
    fn times_are_written_in_the_largest_exact_unit() {
        let times_us = [
            (0, "0 s"),
            (250, "0.25 ms"),
            (1_500_000, "1500 ms"),
            (90_000_000, "90 s"),
            (60_000_000, "1 m"),
            (86_400_000_000, "24 h"),
        ];
        for (us, want) in times_us {
            assert_eq!(render_duration(Duration::from_micros(us)), want);
        }
    }

    proptest! {
        #[test]
        fn a_written_size_reads_back(mantissa: u64, zeros in 0..64_u32) {
            let bytes = mantissa >> zeros << (zeros / 2);
            prop_assert_eq!(parse_size(&exact_bytes(bytes)), Ok(bytes));
        }

        #[test]
        fn a_written_time_reads_back(nanos: u64, unit in 0..7_u32) {
            let unit = 60_u64.pow(unit);
            let time = Duration::from_nanos(nanos / unit * unit);
            prop_assert_eq!(parse_duration(&render_duration(time)), Ok(time));
        }

        #[test]
        fn no_text_is_too_odd_to_be_refused(text in "[0-9. a-zA-Z\\PC]{0,24}") {
            let _ = (parse_size(&text), parse_duration(&text));
        }
    }
}
