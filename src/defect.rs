//! Handling of program defects: one line of error, and the end of the process.
//!
//! A failed assertion on a helper thread would otherwise end that thread alone: its job would never finish,
//! its slot at the disk would be lost, and its requests would wait for ever. On the loop it would end
//! everything with a backtrace. A server in an inconsistent state must not go on, so both end in the same
//! way, and the service manager restarts it.

use std::io::Write;
use std::panic::{self, PanicHookInfo};
use std::process;
use std::thread;

/// Installs a panic hook, for all threads: it writes one line to standard error and aborts with SIGABRT,
/// which leaves a core file where the system keeps those.
pub fn end_process_on_panic() {
    panic::set_hook(Box::new(|panic| {
        // Standard error may be gone.
        let _ = std::io::stderr().write_all(line(panic).as_bytes());
        process::abort();
    }));
}

fn line(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let message = match payload.downcast_ref::<&str>() {
        Some(message) => message,
        None => payload
            .downcast_ref::<String>()
            .map_or("no message", String::as_str),
    };
    let place = panic.location().map(ToString::to_string);
    let thread = thread::current();
    format!(
        "spede: internal error, please report it: {} ({}, thread {})\n",
        message.replace('\n', " "),
        place.as_deref().unwrap_or("somewhere"),
        thread.name().unwrap_or("without a name"),
    )
}
