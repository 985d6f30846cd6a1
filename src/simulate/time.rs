//! Timestamps of logs, in milliseconds since 1970. Reads no clock and knows no time zone but the offset in
//! the timestamp.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;

/// A timestamp of the common log format (strftime(3)).
const COMMON_FORMAT: &str = "%d/%b/%Y:%H:%M:%S %z";
/// Length of `10/Oct/2000:13:55:36 -0700`.
pub(super) const COMMON_LENGTH: usize = 26;
/// A shorter text is a date without a time.
const RFC3339_LENGTH_MIN: usize = "2026-11-23T16:00:00".len();
/// A larger number counts milliseconds: as seconds it would be after the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;
/// Parses RFC 3339 and similar formats.
static PARSER: DateTimeParser = DateTimeParser::new();

/// Parses `10/Oct/2000:13:55:36 -0700`; `None` for anything else, and for times before 1970. A leap second
/// becomes the second before it.
pub(super) fn parse_common(stamp: &[u8]) -> Option<i64> {
    let time = strtime::parse(COMMON_FORMAT, stamp).ok()?;
    milliseconds(time.to_timestamp().ok()?)
}

/// Parses `2026-11-23T16:00:00.25+01:00`: RFC 3339; also with a blank for the `T`, a comma for the point, an
/// offset without its colon, or no offset (UTC).
pub(super) fn parse_rfc3339(stamp: &[u8]) -> Option<i64> {
    if stamp.len() < RFC3339_LENGTH_MIN {
        return None;
    }
    let without_offset = || {
        let time = PARSER.parse_datetime(stamp).ok()?;
        TimeZone::UTC.to_timestamp(time).ok()
    };
    milliseconds(PARSER.parse_timestamp(stamp).ok().or_else(without_offset)?)
}

/// Converts seconds with a fraction, or milliseconds if the number is too large for seconds.
pub(super) fn of_number(number: f64) -> Option<i64> {
    let ms = if number.abs() < MILLISECONDS_FROM {
        number * 1_000.0
    } else {
        number
    };
    // Whole numbers of this size are exact in f64, and the bound keeps the cast within i64.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    (ms >= 0.0 && ms <= Timestamp::MAX.as_millisecond() as f64).then_some(ms.round() as i64)
}

/// Renders as `2026-11-23 16:00:00`, UTC.
pub(super) fn render(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn milliseconds(time: Timestamp) -> Option<i64> {
    let ms = time.as_millisecond();
    (ms >= 0).then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_moments() {
        #[rustfmt::skip]
        let common = [
            ("10/Oct/2000:13:55:36 -0700", Some(971_211_336_000), "the example of Apache's manual"),
            ("23/Nov/2026:16:00:59 +0000", Some(1_795_449_659_000), "ours"),
            ("29/Feb/2024:23:59:60 +0000", Some(1_709_251_199_000), "leap day, leap second"),
            ("31/Dec/1969:23:59:59 +0000", None, "before 1970"),
            ("01/Jan/1970:01:00:00 +0100", Some(0), "the first moment, elsewhere"),
            ("23/nox/2026:16:00:59 +0000", None, "no month"),
            ("23/Nov/2026:24:00:00 +0000", None, "no hour"),
            ("30/Feb/2026:16:00:59 +0000", None, "no day"),
            ("23/Nov/2026:16:00:59 UTC+0", None, "no offset"),
            ("23/Nov/2026:16:00:59", None, "no offset at all"),
        ];
        for (stamp, want, because) in common {
            assert_eq!(parse_common(stamp.as_bytes()), want, "{stamp}: {because}");
        }
        #[rustfmt::skip]
        let rfc3339 = [
            ("2026-11-23T16:00:59Z", Some(1_795_449_659_000), "UTC"),
            ("2026-11-23 16:00:59.1239", Some(1_795_449_659_123), "blank, fraction, no zone"),
            ("2026-11-23T17:00:59,5+01:00", Some(1_795_449_659_500), "comma, offset"),
            ("2026-11-23T17:00:59+0100", Some(1_795_449_659_000), "offset without its colon"),
            ("2026-11-23T16:00:59.Z", None, "a point and no digit"),
            ("2026-11-23", None, "no time"),
            ("2026-13-23T16:00:59Z", None, "no month"),
            ("2026-11-23T16:00:59+1", None, "half an offset"),
        ];
        for (stamp, want, because) in rfc3339 {
            assert_eq!(parse_rfc3339(stamp.as_bytes()), want, "{stamp}: {because}");
        }
        assert_eq!(of_number(1_795_449_659.25), Some(1_795_449_659_250));
        assert_eq!(of_number(1_795_449_659_250.0), Some(1_795_449_659_250));
        assert_eq!((of_number(-1.0), of_number(f64::NAN)), (None, None));
        assert_eq!(render(1_795_449_659_250), "2026-11-23 16:00:59");
        assert_eq!(render(951_782_400_000), "2000-02-29 00:00:00");
    }
}
