//! Time stamps as logs write them, in milliseconds since 1970. Reads no clock and knows no zone but
//! the offset that stands in the stamp.

/// Three letters a month, as the common log format has them.
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
/// Length of `10/Oct/2000:13:55:36 -0700`.
pub(super) const COMMON_LENGTH: usize = 26;
/// From here on a plain number counts milliseconds: as seconds it would be after the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;
/// The last moment that is taken, the end of the year 9999 in seconds.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Reads `10/Oct/2000:13:55:36 -0700`; `None` for anything else.
pub(super) fn parse_common(stamp: &[u8]) -> Option<i64> {
    let stamp: &[u8; COMMON_LENGTH] = stamp.try_into().ok()?;
    let punctuation = [
        (2, b'/'),
        (6, b'/'),
        (11, b':'),
        (14, b':'),
        (17, b':'),
        (20, b' '),
    ];
    if punctuation.iter().any(|(at, byte)| stamp[*at] != *byte) {
        return None;
    }
    let month = MONTHS.chunks(3).position(|month| month == &stamp[3..6])?;
    let date = Date {
        year: number(&stamp[7..11])?,
        month: i64::try_from(month).ok()? + 1,
        day: number(&stamp[0..2])?,
    };
    let clock = clock(&stamp[12..20])?;
    let hours = number(&stamp[22..24])?;
    let minutes = number(&stamp[24..26])?;
    let offset = signed(stamp[21], hours, minutes)?;
    milliseconds(date, clock - offset, 0)
}

/// Reads `2026-11-23T16:00:00.25+01:00`: RFC 3339, with a blank for the `T`, a comma for the point
/// and an offset without its colon or left out (UTC) as well.
pub(super) fn parse_rfc3339(stamp: &[u8]) -> Option<i64> {
    let (date, rest) = stamp.split_at_checked(10)?;
    let (separator, rest) = rest.split_first()?;
    let (time, mut rest) = rest.split_at_checked(8)?;
    if date[4] != b'-' || date[7] != b'-' || !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    if time[2] != b':' || time[5] != b':' {
        return None;
    }
    let mut ms = 0;
    if let [b'.' | b',', fraction @ ..] = rest {
        let length = fraction
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let digit = |at: usize| match fraction[..length].get(at) {
            Some(byte) => i64::from(byte - b'0'),
            None => 0,
        };
        if length == 0 {
            return None;
        }
        ms = digit(0) * 100 + digit(1) * 10 + digit(2);
        rest = &fraction[length..];
    }
    let offset = match rest {
        [] | b"Z" | b"z" => 0,
        [sign, hours @ .., b':', m1, m2] if hours.len() == 2 => {
            signed(*sign, number(hours)?, number(&[*m1, *m2])?)?
        }
        [sign, digits @ ..] if digits.len() == 4 => {
            signed(*sign, number(&digits[..2])?, number(&digits[2..])?)?
        }
        _ => return None,
    };
    let date = Date {
        year: number(&date[0..4])?,
        month: number(&date[5..7])?,
        day: number(&date[8..10])?,
    };
    milliseconds(date, clock(time)? - offset, ms)
}

/// Reads a number of seconds with a fraction, or of milliseconds where it is too large for seconds.
pub(super) fn of_number(number: f64) -> Option<i64> {
    let ms = if number.abs() < MILLISECONDS_FROM {
        number * 1_000.0
    } else {
        number
    };
    // Whole numbers of this size are exact in f64, and the bound keeps the cast within i64.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    (ms >= 0.0 && ms <= (SECONDS_MAX * 1_000) as f64).then_some(ms.round() as i64)
}

/// Writes `2026-11-23 16:00:00`, UTC.
pub(super) fn render(ms: i64) -> String {
    let seconds = ms.div_euclid(1_000);
    let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let Date { year, month, day } = date_of(days);
    let (hours, minutes, seconds) = (clock / 3_600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}")
}

struct Date {
    year: i64,
    month: i64,
    day: i64,
}

fn milliseconds(date: Date, clock: i64, ms: i64) -> Option<i64> {
    if !(1..=12).contains(&date.month) || !(1..=31).contains(&date.day) {
        return None;
    }
    let seconds = days_of(&date) * 86_400 + clock;
    (0..=SECONDS_MAX)
        .contains(&seconds)
        .then_some(seconds * 1_000 + ms)
}

/// Days since 1970 in the Gregorian calendar, years counted from March so that a leap day is last.
fn days_of(date: &Date) -> i64 {
    let year = date.year - i64::from(date.month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * ((date.month + 9) % 12) + 2) / 5 + date.day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day - 719_468
}

/// The other way round.
fn date_of(days: i64) -> Date {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    Date {
        year: era * 400 + year + i64::from(month <= 2),
        month,
        day: day - (153 * shifted + 2) / 5 + 1,
    }
}

/// Seconds of `13:55:36`; a leap second is taken.
fn clock(time: &[u8]) -> Option<i64> {
    let (hours, minutes, seconds) = (
        number(&time[0..2])?,
        number(&time[3..5])?,
        number(&time[6..8])?,
    );
    (hours < 24 && minutes < 60 && seconds <= 60).then_some(hours * 3_600 + minutes * 60 + seconds)
}

fn signed(sign: u8, hours: i64, minutes: i64) -> Option<i64> {
    let offset = hours * 3_600 + minutes * 60;
    match sign {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

/// At most four digits, so it cannot overflow.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    })
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
            ("29/Feb/2024:23:59:60 +0000", Some(1_709_251_200_000), "leap day, leap second"),
            ("31/Dec/1969:23:59:59 +0000", None, "before 1970"),
            ("01/Jan/1970:01:00:00 +0100", Some(0), "the first moment, elsewhere"),
            ("23/nov/2026:16:00:59 +0000", None, "no month"),
            ("23/Nov/2026:24:00:00 +0000", None, "no hour"),
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
