//! The results as a table.

use std::fmt::Write as _;
use std::time::Duration;

use super::{FILE_LENGTH, Sample, WARM_FILE_COUNT, WAYS};

/// Medians, with minimum and maximum in parentheses; of blocking calls the maximum.
pub(super) fn table(warm: &[Vec<Sample>], cold: &[Vec<Vec<Sample>>; 2]) -> String {
    let gigabytes = Duration::from_nanos(WARM_FILE_COUNT * FILE_LENGTH).as_secs_f64();
    let figures: [fn(&Sample) -> f64; 3] = [
        |sample| 1.0 / sample.seconds,
        |sample| sample.sender_cpu_s,
        |sample| sample.both_cpu_s,
    ];
    let mut table = String::from(
        "| way | warm MB/s | against a | sender's CPU s/GB | against a | CPU of both s/GB \
         | against a | fuse: cold ms | longest call ms | sleeps | ext4: cold ms | longest call ms | sleeps |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (way, ((_, name), samples)) in WAYS.iter().zip(warm).enumerate() {
        let _ = write!(table, "| {name} ");
        for (place, figure) in figures.iter().enumerate() {
            let ratios = samples.iter().zip(&warm[0]);
            let middle = match (place, spread(samples.iter().map(figure)).1) {
                (0, rate) => format!("{:.0}", rate * gigabytes * 1e3),
                (_, seconds) => format!("{:.3}", seconds / gigabytes),
            };
            let (least, ratio, most) = spread(ratios.map(|(own, a)| figure(own) / figure(a)));
            let _ = write!(table, "| {middle} | {ratio:.2} ({least:.2} – {most:.2}) ");
        }
        for cold in cold.iter().map(|cold| &cold[way]) {
            if cold.is_empty() {
                table.push_str("| | | ");
                continue;
            }
            let (_, total, _) = spread(cold.iter().map(|sample| sample.seconds * 1e3));
            let calls = cold.iter().map(|sample| sample.watch.longest);
            let (_, longest, most) = spread(calls.map(|call| call.as_secs_f64() * 1e3));
            let sleeps = cold.iter().map(|sample| sample.watch.sleep_count);
            let sleeps_max = sleeps.max().unwrap_or_default();
            let _ = write!(
                table,
                "| {total:.0} | {longest:.2} (– {most:.2}) | {sleeps_max} "
            );
        }
        table.push_str("|\n");
    }
    table
}

/// The minimum, the median and the maximum.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    )
}
