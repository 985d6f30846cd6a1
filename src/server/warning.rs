//! Lines on standard error at the start, about what does not stop the server. Later lines go through
//! `observe::notices`, because standard error may block.

use std::io::{self, Write};

/// Writes a line to standard error.
pub(super) fn warn(line: &str) {
    // A closed standard error does not stop the server.
    let _ = writeln!(io::stderr(), "spede: {line}");
}
