//! Lines for whoever started the server in a terminal and asked for no access log.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

use crate::conn::Colours;
use crate::settings::{AccessLog, Settings};

/// The settings with no log for a terminal where there is none.
pub(super) fn with_log(settings: Settings) -> Settings {
    let is_unseen = settings.access_log == AccessLog::Terminal && !io::stdout().is_terminal();
    let access_log = match is_unseen {
        true => AccessLog::Off,
        false => settings.access_log,
    };
    Settings {
        access_log,
        ..settings
    }
}

/// Whether lines have colours: not for those who set `NO_COLOR` (no-color.org), and not on a terminal without any.
pub(super) fn colours() -> Colours {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == OsStr::new("dumb"));
    match is_set("NO_COLOR") || is_dumb {
        true => Colours::Off,
        false => Colours::On,
    }
}
