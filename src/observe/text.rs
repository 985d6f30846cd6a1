//! Numbers as people read them.

/// A number with its thousands apart.
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

/// Bytes in the unit that reads best.
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if value < 1_024 {
        return format!("{value} B");
    }
    #[allow(clippy::cast_precision_loss)]
    let mut scaled = value as f64 / 1_024.0;
    let mut unit = 0;
    while scaled >= 1_024.0 && unit + 1 < UNITS.len() {
        scaled /= 1_024.0;
        unit += 1;
    }
    match scaled.fract() == 0.0 {
        true => format!("{scaled:.0} {}", UNITS[unit]),
        false => format!("{scaled:.1} {}", UNITS[unit]),
    }
}

/// Bytes exactly, in the largest whole unit: `256 MiB`, `1000 B`.
pub(crate) fn exact_bytes(value: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if value > 0 && value.is_multiple_of(1 << shift) {
            return format!("{} {unit}", value >> shift);
        }
    }
    format!("{value} B")
}

/// Microseconds in the unit that reads best.
pub(crate) fn micros(us: u64) -> String {
    match us {
        ..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// A time in the units that matter.
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
            [exact_bytes(0), exact_bytes(1_000), exact_bytes(1_536 << 20)].join(" "),
            "0 B 1000 B 1536 MiB"
        );
        assert_eq!(
            [duration(59), duration(61), duration(90_000)].join(", "),
            "59 s, 1 min 1 s, 1 d 1 h"
        );
    }
}
