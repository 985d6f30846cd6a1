//! Numbers, sizes and times as people read them: on the page, in notices, in the report and in errors.

/// A number with thousands separators.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Units of bytes from the smallest to the largest; each is 1,024 times the one before.
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes in the unit that reads best, to a tenth of it: `901.2 MiB`.
pub(crate) fn bytes(value: u64) -> String {
    if value < 1_024 {
        return format!("{value} B");
    }
    #[allow(clippy::cast_precision_loss)]
    let mut scaled = value as f64 / 1_024.0;
    let mut unit = 0;
    // From here on it would be written as 1024.0.
    while scaled >= 1_023.95 && unit + 1 < UNITS.len() {
        scaled /= 1_024.0;
        unit += 1;
    }
    match scaled.fract() == 0.0 {
        true => format!("{scaled:.0} {}", UNITS[unit]),
        false => format!("{scaled:.1} {}", UNITS[unit]),
    }
}

/// Bytes exactly, in the largest unit up to GiB that needs no more than quarters: `256 MiB`, `1.5 GiB`, `1001 B`.
pub(crate) fn exact_bytes(value: u64) -> String {
    for (index, name) in UNITS[..3].iter().enumerate().rev() {
        let unit = 1 << (10 * (index + 1));
        if value >= unit && value.is_multiple_of(unit / 4) {
            let quarters = match value % unit / (unit / 4) {
                0 => "",
                1 => ".25",
                2 => ".5",
                _ => ".75",
            };
            return format!("{}{quarters} {name}", value / unit);
        }
    }
    format!("{value} B")
}

/// Microseconds in a readable unit.
pub(crate) fn micros(us: u64) -> String {
    match us {
        ..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// A duration in its two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [number(0), number(999), number(1_000), number(1_234_567)].join(" "),
            "0 999 1,000 1,234,567"
        );
        assert_eq!(
            [bytes(1_023), bytes(1_024), bytes(256 << 20)].join(" "),
            "1023 B 1 KiB 256 MiB"
        );
        assert_eq!(
            [bytes((1 << 20) - 1), bytes(1_300_000), bytes(u64::MAX)].join(" "),
            "1.0 MiB 1.2 MiB 16 EiB"
        );
        assert_eq!(
            [duration(59), duration(61), duration(90_000)].join(", "),
            "59 s, 1 min 1 s, 1 d 1 h"
        );
    }

    #[test]
    fn exact_sizes_are_written_in_the_largest_exact_unit() {
        let sizes = [
            (0, "0 B"),
            (1_001, "1001 B"),
            (1_024, "1 KiB"),
            (1_280, "1.25 KiB"),
            (1_300, "1300 B"),
            (256 << 20, "256 MiB"),
            ((1 << 30) - 1, "1073741823 B"),
            (3 << 29, "1.5 GiB"),
            (7 << 28, "1.75 GiB"),
        ];
        for (bytes, want) in sizes {
            assert_eq!(exact_bytes(bytes), want);
        }
    }
}
