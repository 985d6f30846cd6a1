//! One measurement: `wrk` on processor 1; processor time of the server and of wrk.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::resource::{UsageWho, getrusage};

use crate::servers::Running;
use crate::workloads::{Shape, Workload};

/// One measurement.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) requests_per_second: f64,
    pub(crate) p99_ms: f64,
    /// Of the server, per request, in microseconds.
    pub(crate) cpu_us: f64,
    /// Of the server and of wrk.
    pub(crate) both_us: f64,
}

/// Checks that a server answers as the workload requires, and writes the wrk script.
///
/// # Errors
/// When it does not: its actual answer.
pub(crate) fn prepare(server: &Running, workload: &Workload, script: &Path) -> Result<(), String> {
    let name = server.program.name();
    let method = match workload.shape {
        Shape::Head => "HEAD",
        _ => "GET",
    };
    let path = match workload.shape {
        Shape::Zipf => "/many/0.bin",
        _ => workload.path,
    };
    let head = server.head(method, path, workload.fields)?;
    let field = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted)
                .then(|| value.trim().to_owned())
        })
    };
    let validator = match workload.shape {
        Shape::Unchanged => Some(match field("etag") {
            Some(tag) => format!("If-None-Match: {tag}"),
            None => format!(
                "If-Modified-Since: {}",
                field("last-modified").ok_or(format!("{name} gives no validator"))?
            ),
        }),
        _ => None,
    };
    let mut fields: Vec<&str> = workload.fields.to_vec();
    fields.extend(validator.as_deref());
    let head = server.head(method, path, &fields)?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != workload.status.to_string() {
        return Err(format!("{name} answers {status}, not {}", workload.status));
    }
    let is_coded = head.to_ascii_lowercase().contains("content-encoding:");
    if workload.name == "precompressed" && !is_coded {
        return Err(format!("{name} serves no precompressed files"));
    }
    fs::write(script, workload.script(validator.as_deref())).map_err(|error| error.to_string())
}

/// Loads a server.
///
/// # Errors
/// When wrk or the server fails: the reason.
pub(crate) fn run(
    server: &Running,
    workload: &Workload,
    script: &Path,
    milliseconds: u64,
) -> Result<Sample, String> {
    let server_before = server.cpu_us();
    let client_before = children_us();
    // wrk takes whole seconds and is not interrupted, so at least one.
    let seconds = milliseconds.div_ceil(1_000);
    let output = client(server, workload, script, seconds)
        .output()
        .map_err(|error| format!("wrk: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let word = |marker: &str, place: usize| {
        let line = text.lines().find(|line| line.contains(marker))?;
        line.split_whitespace().nth(place)
    };
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<f64>().ok());
    let name = server.program.name();
    let requests = number(word("requests in", 0)).unwrap_or(0.0);
    if requests == 0.0 {
        return Err(format!("{name} answered nothing"));
    }
    let refused = number(word("Non-2xx", 4)).unwrap_or(0.0);
    if workload.status < 400 && refused > 0.0 {
        return Err(format!("{name}: {refused} answers were errors"));
    }
    let server_us = server.cpu_us() - server_before;
    let client_us = children_us() - client_before;
    Ok(Sample {
        requests_per_second: number(word("Requests/sec", 1)).unwrap_or(0.0),
        p99_ms: word("99%", 1).map_or(0.0, milliseconds_of),
        cpu_us: server_us / requests,
        both_us: (server_us + client_us) / requests,
    })
}

/// The client of a workload.
fn client(server: &Running, workload: &Workload, script: &Path, seconds: u64) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]);
    let Workload { path, .. } = workload;
    if workload.shape == Shape::Head {
        let program = std::env::current_exe().expect("this program");
        let numbers = [u64::from(workload.connections), seconds].map(|number| number.to_string());
        command.arg(program).arg("heads");
        command
            .args([&server.port.to_string(), *path])
            .args(numbers);
        return command;
    }
    command
        .args(["wrk", "-t1", "--latency", "--timeout", "20s"])
        .arg(format!("-c{}", workload.connections))
        .arg(format!("-d{seconds}s"))
        .arg("-s")
        .arg(script)
        .arg(format!("http://127.0.0.1:{}{path}", server.port));
    command
}

/// User and system time of finished children, in microseconds: of wrk, while servers run.
fn children_us() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the figures of our children");
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    us(usage.user_time()) + us(usage.system_time())
}

/// Parses a duration in the format of wrk.
fn milliseconds_of(word: &str) -> f64 {
    let split = word
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(word.len());
    let (value, unit) = word.split_at(split);
    let value: f64 = value.parse().unwrap_or(0.0);
    match unit {
        "us" => value / 1e3,
        "s" => value * 1e3,
        "m" => value * 60e3,
        _ => value,
    }
}
