//! Sockets passed by a service manager, according to the environment.

use super::Usage;
use super::conflict::LISTEN_COUNT_MAX;
use super::error::quote;

/// Number of sockets that a service manager opened for this process, `sd_listen_fds(3)`. The variables are
/// not removed: this process executes no other that could misread them.
pub(super) fn socket_count(variable: impl Fn(&str) -> Option<String>) -> Result<usize, Usage> {
    let own = std::process::id().to_string();
    let Some(count) = variable("LISTEN_FDS") else {
        return Ok(0);
    };
    // The variables may be meant for another process.
    if variable("LISTEN_PID").as_deref() != Some(&own) {
        return Ok(0);
    }
    match count.parse() {
        Ok(count) if count <= LISTEN_COUNT_MAX => Ok(count),
        _ => Err(Usage::Wrong(format!(
            "LISTEN_FDS: {} is not a number of sockets up to {LISTEN_COUNT_MAX}; unset it, or let the service \
             manager set it",
            quote(&count)
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sockets_are_inherited_by_the_process_that_they_are_for() {
        let own = std::process::id().to_string();
        let count = |pid: Option<&str>, fds: Option<&str>| {
            socket_count(|name| match name {
                "LISTEN_PID" => pid.map(String::from),
                "LISTEN_FDS" => fds.map(String::from),
                _ => None,
            })
        };
        assert_eq!(count(Some(&own), Some("2")), Ok(2));
        assert_eq!(count(Some("1"), Some("2")), Ok(0));
        assert_eq!(count(None, Some("2")), Ok(0));
        assert_eq!(count(Some(&own), None), Ok(0));
        for wrong in ["many", "65", "-1", ""] {
            let usage = count(Some(&own), Some(wrong)).unwrap_err();
            assert!(matches!(usage, Usage::Wrong(line) if line.starts_with("LISTEN_FDS: ")));
        }
    }
}
