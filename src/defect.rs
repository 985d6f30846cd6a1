//! What a defect of the program itself comes to: one line, and the end of the process.
//!
//! An assertion that fails on a helper thread would otherwise end that thread alone: its job would never
//! come back, its place at the disk would be lost, and whoever waits for it would wait for ever. On the
//! loop it would end everything after a backtrace. A server whose state is not what its code takes for
//! granted is not to go on, so both end in the same way: whoever supervises it starts it anew.

use std::io::Write;
use std::panic::{self, PanicHookInfo};
use std::process;
use std::thread;

/// From now on a panic on any thread writes one line to standard error and ends the process with
/// SIGABRT, which leaves a core file where the system keeps those.
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
