//! The program: words in, exit code out.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use spede::check::{self, Verdict};
use spede::config::{self, Task, Usage};
use spede::server::ReadSettings;
use spede::sys::allocator::Counting;
use spede::{defect, server, simulate};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    defect::end_process_on_panic();
    let task = match config::parse(std::env::args_os()) {
        Ok(task) => task,
        Err(Usage::Help(text) | Usage::Version(text)) => {
            print(&text);
            return ExitCode::SUCCESS;
        }
        Err(Usage::Wrong(line)) => return complain(&line, 2),
    };
    for line in config::unknown_variables(std::env::vars_os()) {
        say(&line);
    }
    let done = match task {
        Task::Serve(settings) => {
            server::run(&settings, reader()).map_err(|error| error.to_string())
        }
        Task::Check(configured) => {
            for value in &configured.values {
                print(&format!("{value}\n"));
            }
            for line in &configured.tables {
                print(&format!("{line}\n"));
            }
            let report = check::run(&configured.settings);
            print(&format!("\n{report}"));
            return match report.verdict() {
                Verdict::Fine => ExitCode::SUCCESS,
                Verdict::Warned => ExitCode::from(1),
                Verdict::Fatal => ExitCode::from(2),
            };
        }
        Task::Simulate(settings) => simulate::run(&settings)
            .map(|report| print(&report.to_string()))
            .map_err(|error| error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => complain(&line, 1),
    }
}

/// Reads the configuration again.
fn reader() -> ReadSettings {
    Arc::new(|| match config::parse(std::env::args_os()) {
        Ok(Task::Serve(settings)) => Ok(*settings),
        Err(Usage::Wrong(line)) => Err(line),
        _ => Err(String::from(
            "the words of the command line have another meaning now",
        )),
    })
}

/// Text on standard output. A closed pipe is the reader's choice.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// One line on standard error, and the exit code.
fn complain(line: &str, code: u8) -> ExitCode {
    say(line);
    ExitCode::from(code)
}

/// One line on standard error.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "spede: {line}");
}
