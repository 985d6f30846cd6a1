//! The dates of HTTP: whole seconds, as in Date, Last-Modified and the conditional fields.
//!
//! RFC 9110 §5.6.7. Reads no clock, so that the century of a two-digit year comes from a fixed
//! window and not from the present: see [`HttpDate::parse`].

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

/// The last second of the year 9999, the last that four digits can name.
const SECONDS_MAX: i64 = 253_402_300_799;

/// The longest date: RFC 850 on a Wednesday.
const LENGTH_MAX: usize = "Wednesday, 06-Nov-94 08:49:37 GMT".len();

/// A moment in whole seconds since 1970-01-01 00:00:00 UTC, within the years 1970 to 9999.
///
/// Leap seconds do not exist here, as in the kernel's clock and in the times of files.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Hash)]
pub struct HttpDate {
    /// At most [`SECONDS_MAX`].
    seconds: u64,
}

impl HttpDate {
    /// The date of a moment in seconds since 1970.
    ///
    /// Clamped to the years that the wire can say: a file may carry an mtime before 1970 or after
    /// 9999, which must neither panic nor be rendered as another moment than it is compared as.
    pub fn from_unix_seconds(seconds: i64) -> HttpDate {
        HttpDate {
            seconds: seconds.clamp(0, SECONDS_MAX).unsigned_abs(),
        }
    }

    /// Seconds since 1970, at most 253,402,300,799.
    pub fn unix_seconds(self) -> u64 {
        self.seconds
    }

    /// Renders the date as an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`: always 29 bytes.
    ///
    /// Does not allocate. Every sender must use this form (RFC 9110 §5.6.7).
    pub fn render(self) -> [u8; 29] {
        let mut rendered = [b' '; 29];
        let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(self.seconds));
        let written = write!(&mut rendered[..], "{date}");
        debug_assert!(written.is_ok(), "an IMF-fixdate has 29 bytes");
        rendered
    }

    /// Reads a date in any of the three forms: IMF-fixdate, RFC 850, asctime.
    ///
    /// `field` is a field value without the whitespace around it. `None` for everything else, which
    /// includes a wrong day of the week, a day that the month does not have, a second 60 that does not end a
    /// day, other time zones than GMT, other case, and two dates in one field. A condition
    /// on such a date is ignored, so that refusing costs a full answer and never a wrong one.
    ///
    /// A date before 1970 is read as the first second of it, to which earlier times of files are clamped
    /// too; a leap second as the second after it.
    ///
    /// A two-digit year means 1970 to 2069. RFC 9110 §5.6.7 wants a date that seems more than 50
    /// years ahead to be taken as past, which depends on the present. The two readings of a year
    /// never share the day of the week, which must be right, so a sender who meant 2070 is
    /// refused, not taken for 1970. The fixed window is thus never wrong, only narrower than the
    /// RFC: it differs for the dates after 2069 that lie less than 50 years ahead, which no
    /// Last-Modified from here can be. Does not allocate.
    ///
    /// # Source
    /// RFC 9110 §5.6.7.
    pub fn parse(field: &[u8]) -> Option<HttpDate> {
        // httpdate trims whatever Unicode calls whitespace.
        let trimmed = |end: Option<&u8>| end.is_some_and(u8::is_ascii_alphanumeric);
        if !trimmed(field.first()) || !trimmed(field.last()) {
            return None;
        }
        let mut bytes = [0; LENGTH_MAX];
        let bytes = bytes.get_mut(..field.len())?;
        bytes.copy_from_slice(field);
        let is_early = move_year(bytes);
        let leap = move_leap_second(bytes);
        let moment = httpdate::parse_http_date(std::str::from_utf8(bytes).ok()?).ok()?;
        let seconds = moment.duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(match is_early {
            true => HttpDate::from_unix_seconds(0),
            false => HttpDate::from_unix_seconds(i64::try_from(seconds + leap).ok()?),
        })
    }
}

/// Where the four digits of a year and the eight characters of a time stand in a field of this length.
fn places(field: &[u8]) -> Option<(Option<usize>, usize)> {
    match field.len() {
        // asctime
        24 => Some((Some(20), 11)),
        // IMF-fixdate
        29 if field[3] == b',' => Some((Some(12), 17)),
        // RFC 850, with two digits for the year
        length @ 28.. => Some((None, length - 12)),
        _ => None,
    }
}

/// Moves a year before 1970 by 2,000, after which all days have the same names again, so that the rest of the
/// date can be read. Gives whether it did.
fn move_year(field: &mut [u8]) -> bool {
    let Some((Some(place), _)) = places(field) else {
        return false;
    };
    let year = &mut field[place..place + 4];
    let is_early = year.iter().all(u8::is_ascii_digit) && year[..] < b"1970"[..];
    if is_early {
        year[0] += 2;
    }
    is_early
}

/// Takes a leap second for the second before it, and gives the one that is then missing. RFC 9110 §5.6.7.
fn move_leap_second(field: &mut [u8]) -> u64 {
    let time = places(field).and_then(|(_, place)| field.get_mut(place..place + 8));
    match time {
        Some(time) if time == b"23:59:60" => {
            time.copy_from_slice(b"23:59:59");
            1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_date_is_rendered_as_imf_fixdate_within_the_years_1970_to_9999() {
        #[rustfmt::skip]
        let cases = [
            (784_111_777,     784_111_777,     "Sun, 06 Nov 1994 08:49:37 GMT", "in the RFC"),
            (0,               0,               "Thu, 01 Jan 1970 00:00:00 GMT", "the first second"),
            (-1,              0,               "Thu, 01 Jan 1970 00:00:00 GMT", "clamped"),
            (i64::MIN,        0,               "Thu, 01 Jan 1970 00:00:00 GMT", "long before it"),
            (951_782_400,     951_782_400,     "Tue, 29 Feb 2000 00:00:00 GMT", "a leap day"),
            (4_107_542_400,   4_107_542_400,   "Mon, 01 Mar 2100 00:00:00 GMT", "2100 has none"),
            (253_402_300_799, 253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT", "the last second"),
            (253_402_300_800, 253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT", "clamped"),
            (i64::MAX,        253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT", "long after it"),
        ];
        for (seconds, clamped, want, because) in cases {
            let date = HttpDate::from_unix_seconds(seconds);
            assert_eq!(date.unix_seconds(), clamped, "{seconds}: {because}");
            assert_eq!(date.render(), want.as_bytes(), "{seconds}: {because}");
        }
    }

    #[test]
    fn a_date_is_read_in_three_forms_and_no_other() {
        #[rustfmt::skip]
        let cases: &[(&[u8], Option<i64>, &str)] = &[
            (b"Sun, 06 Nov 1994 08:49:37 GMT",  Some(784_111_777),   "IMF-fixdate"),
            (b"Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777),   "RFC 850"),
            (b"Sun Nov  6 08:49:37 1994",       Some(784_111_777),   "asctime, one digit"),
            (b"Wed Nov 16 08:49:37 1994",       Some(784_975_777),   "asctime, two digits"),
            (b"Thursday, 01-Jan-70 00:00:00 GMT", Some(0),           "two digits: 1970"),
            (b"Wednesday, 01-Jan-70 00:00:00 GMT", None,             "the weekday of 2070"),
            (b"Tuesday, 31-Dec-69 23:59:59 GMT", Some(3_155_759_999), "two digits: 2069"),
            (b"Fri, 31 Dec 9999 23:59:59 GMT",  Some(SECONDS_MAX),   "the last"),
            (b"Wed, 31 Dec 1969 23:59:59 GMT",  Some(0), "before 1970"),
            (b"Mon, 01 Jan 1900 00:00:00 GMT",  Some(0), "long before"),
            (b"Mon Jan  1 00:00:00 1900",       Some(0), "the same as asctime"),
            (b"Tue, 01 Jan 1900 00:00:00 GMT",  None, "wrong weekday, long before"),
            (b"Sat, 31 Dec 2016 23:59:60 GMT",  Some(1_483_228_800), "a leap second"),
            (b"Fri, 31 Dec 9999 23:59:60 GMT",  Some(SECONDS_MAX), "the second after the last"),
            (b"Saturday, 31-Dec-16 23:59:60 GMT", Some(1_483_228_800), "a leap second, RFC 850"),
            (b"Mon, 06 Nov 1994 08:49:37 GMT",  None, "wrong weekday"),
            (b"Wed, 29 Feb 2023 00:00:00 GMT",  None, "no such day"),
            (b"Sun, 06 Nov 1994 08:49:60 GMT",  None, "a leap second that was none"),
            (b"Sun, 06 Nov 1994 24:00:00 GMT",  None, "hour 24"),
            (b"Sun, 06 Nov 1994 08:49:37 UTC",  None, "another name for GMT"),
            (b"Sun, 06 Nov 1994 08:49:37 +0000", None, "an offset"),
            (b"sun, 06 nov 1994 08:49:37 gmt",  None, "case matters"),
            (b"Sun, 6 Nov 1994 08:49:37 GMT",   None, "one digit in IMF-fixdate"),
            (b" Sun, 06 Nov 1994 08:49:37 GMT", None, "not trimmed"),
            (b"Sun, 06 Nov 1994 08:49:37 GMT\x0b", None, "not trimmed either"),
            (b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", None, "two"),
            (b"784111777",                      None, "seconds"),
            (b"0",                              None, "what some send as Expires"),
            (b"",                               None, "nothing"),
            (b"\xff\xfe",                       None, "not text"),
        ];
        for (field, want, because) in cases {
            let want = want.map(HttpDate::from_unix_seconds);
            assert_eq!(
                HttpDate::parse(field),
                want,
                "{}: {because}",
                field.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read_back(seconds in 0..=SECONDS_MAX) {
            let date = HttpDate::from_unix_seconds(seconds);
            prop_assert_eq!(HttpDate::parse(&date.render()), Some(date));
        }

        #[test]
        fn dates_compare_as_their_seconds(one: i64, other: i64) {
            let date = HttpDate::from_unix_seconds;
            prop_assert_eq!(
                date(one).cmp(&date(other)),
                one.clamp(0, SECONDS_MAX).cmp(&other.clamp(0, SECONDS_MAX))
            );
        }

        #[test]
        fn no_bytes_make_the_reader_panic(field: Vec<u8>) {
            let _ = HttpDate::parse(&field);
        }

        /// Close to a date, where a parser that indexes could go wrong.
        #[test]
        fn no_damaged_date_makes_the_reader_panic(
            seconds in 0..=SECONDS_MAX,
            place in 0..29_usize,
            byte: u8,
            length in 0..=29_usize,
        ) {
            let mut field = HttpDate::from_unix_seconds(seconds).render();
            field[place] = byte;
            let read = HttpDate::parse(&field[..length]);
            // All years before 1970 are one, and a leap second is another's.
            let is_moved = |date: HttpDate| date.unix_seconds() == 0 || &field[17..25] == b"23:59:60";
            prop_assert!(read.is_none_or(|date| date.render() == field || is_moved(date)));
        }
    }
}
