//! The format of a log line, by its first byte.

use super::json;
use super::line::{Line, LineError, common};

/// Parses a line without its newline. `O(line.len())`; allocates only to remove escapes.
///
/// # Errors
/// The part of a log line that is missing, see [`LineError`].
pub(super) fn parse(line: &[u8]) -> Result<Line<'_>, LineError> {
    match line.trim_ascii_start().first() {
        Some(b'{') => json::parse(line),
        _ => common(line),
    }
}
