//! Processor time per request, compared with other servers and with the floor: a raw epoll loop that receives
//! bytes and sends a fixed response.
//!
//! `cargo bench --bench compare` starts each server alone on processor 0, loads it from processor 1 with
//! `wrk` (HEAD with a client of its own), in interleaved rounds, and prints medians, spread and ratios. A
//! server that is not installed, or does not support a workload, is named and skipped.
//!
//! Words select workloads by name; `--servers=spede,nginx` selects servers, `--seconds=N` (2) and
//! `--rounds=N` (5) say how long, `--write=DIR` writes a table and a plot.
//!
//! Absolute figures hold for one machine on one day; the ratios are meaningful.

#[path = "../chart.rs"]
mod chart;
mod floor;
mod heads;
mod load;
mod plot;
mod report;
mod servers;
mod workloads;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use report::{Part, Row};
use servers::{Program, Running};
use workloads::{Shape, Workload};

/// Command line options.
struct Options {
    words: Vec<String>,
    servers: Vec<String>,
    seconds: u64,
    rounds: usize,
    write: Option<PathBuf>,
}

impl Options {
    fn parse(words: &[String]) -> Result<Options, String> {
        let mut options = Options {
            words: Vec::new(),
            servers: Vec::new(),
            seconds: 2,
            rounds: 5,
            write: None,
        };
        for word in words {
            let number = |value: &str| {
                let number = value.parse().ok().filter(|number| *number > 0);
                number.ok_or(format!("{word}: a number from 1 is wanted"))
            };
            match word.split_once('=') {
                Some(("--servers", list)) => {
                    options.servers = list.split(',').map(str::to_owned).collect();
                }
                Some(("--seconds", value)) => options.seconds = number(value)?,
                Some(("--rounds", value)) => {
                    options.rounds = usize::try_from(number(value)?).unwrap_or(1);
                }
                Some(("--write", directory)) => options.write = Some(directory.into()),
                // Added by cargo.
                None if word == "--bench" => {}
                None if !word.starts_with('-') => options.words.push(word.clone()),
                _ => return Err(format!("{word} means nothing here")),
            }
        }
        Ok(options)
    }

    fn wants(&self, workload: &Workload) -> bool {
        let has = |word: &String| workload.name.contains(word.as_str());
        self.words.is_empty() || self.words.iter().any(has)
    }

    /// spede is always included, as the reference of the ratios.
    fn wants_server(&self, program: Program) -> bool {
        let is = |name: &String| name == program.name();
        program == Program::Spede || self.servers.is_empty() || self.servers.iter().any(is)
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, port] = &words[..]
        && word == "floor"
    {
        floor::run(port.parse().expect("a port")).expect("the floor runs");
        return;
    }
    if let [word, port, path, connections, seconds] = &words[..]
        && word == "heads"
    {
        let number = |word: &String| word.parse::<u64>().expect("a number");
        let connections = usize::try_from(number(connections)).expect("a count");
        let port = u16::try_from(number(port)).expect("a port");
        heads::run(port, path, connections, number(seconds)).expect("the server answers");
        return;
    }
    let outcome = Options::parse(&words).and_then(|options| measure(&options));
    if let Err(reason) = outcome {
        println!("stopped: {reason}");
        std::process::exit(1);
    }
}

fn measure(options: &Options) -> Result<(), String> {
    if Command::new("wrk").arg("-v").output().is_err() {
        println!("skipped: wrk is not installed (Debian: apt-get install wrk)");
        return Ok(());
    }
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let root = directory.path().join("root");
    workloads::make_files(&root).map_err(|error| error.to_string())?;
    let servers: Vec<Running> = servers::ALL
        .into_iter()
        .filter(|program| options.wants_server(*program))
        .filter_map(|program| match program.start(directory.path(), &root) {
            Ok(running) => Some(running),
            Err(reason) => {
                println!("skipped: {reason}");
                None
            }
        })
        .collect();
    let mut parts = Vec::new();
    for workload in workloads::ALL.iter().filter(|one| options.wants(one)) {
        let part = compare(workload, &servers, directory.path(), options)?;
        print!("{}", part.lines());
        parts.push(part);
    }
    println!("\n{}", report::table(&parts));
    if let Some(directory) = &options.write {
        let how = format!(
            "{} rounds of {} s, {}.",
            options.rounds,
            options.seconds,
            httpdate::fmt_http_date(SystemTime::now())
        );
        report::write(directory, &parts, &how)?;
        plot::write(directory, &parts).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Measures all servers in interleaved rounds.
fn compare(
    workload: &Workload,
    servers: &[Running],
    directory: &Path,
    options: &Options,
) -> Result<Part, String> {
    let mut able = Vec::new();
    for server in servers {
        if server.program == Program::Floor && !workload.has_floor {
            continue;
        }
        let script = directory.join(format!("{}.lua", server.program.name()));
        // Twice: then the file is in every cache, and recent files have aged.
        let ready = load::prepare(server, workload, &script)
            .and_then(|()| load::run(server, workload, &script, warm_up(workload)));
        match ready {
            Ok(_) => able.push((server, script)),
            Err(reason) if server.program == Program::Spede => return Err(reason),
            Err(reason) => println!("skipped: {}: {reason}", workload.name),
        }
    }
    let mut rows: Vec<Row> = able
        .iter()
        .map(|(server, _)| Row {
            program: server.program,
            samples: Vec::new(),
        })
        .collect();
    for _ in 0..options.rounds {
        for ((server, script), row) in able.iter().zip(&mut rows) {
            let sample = load::run(server, workload, script, options.seconds * 1_000)?;
            row.samples.push(sample);
        }
    }
    Ok(Part {
        workload: *workload,
        rows,
    })
}

/// Duration of the load before measuring, in milliseconds.
fn warm_up(workload: &Workload) -> u64 {
    match workload.shape {
        Shape::Zipf => 2_000,
        _ => 1_000,
    }
}
