//! The program: words in, exit code out.

use std::io::Write;
use std::process::ExitCode;

use spede::config::{self, Usage};
use spede::server;

/// The loop and helper threads free what the other has allocated. The allocator of the C library takes a
/// lock for that, and the loop would sleep for it now and then; this one takes none.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let settings = match config::parse(std::env::args_os()) {
        Ok(settings) => settings,
        Err(Usage::Help(text) | Usage::Version(text)) => {
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(Usage::Wrong(line)) => return complain(&line, 2),
    };
    match server::run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), 1),
    }
}

/// One line on standard error, and the exit code.
fn complain(line: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "spede: {line}");
    ExitCode::from(code)
}
