//! Error messages of the command line, one line each.
//!
//! clap finds the error, the flag and the value; its own rendering takes many lines, so the line is made here
//! from the error's kind and context.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::names;
use super::units::render_duration;
use crate::settings::InnerPathError;
use crate::site::fields::cors::OriginError;
use crate::site::fields::field::FieldError;
use crate::site::pattern::PatternError;
use crate::text::exact_bytes;

/// Maximum length of a value in a message, in characters, so that it stays one line.
const SHOWN_LENGTH_MAX: usize = 80;

/// Why a value is refused.
///
/// Displays as the end of a sentence that starts with the value: what is wrong with it, then what to write
/// instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a number of bytes.
    #[error("is not a size; write bytes or a number with KiB, MiB or GiB, such as 256MiB")]
    NotSize,
    /// Not a duration.
    #[error("is not a time; write seconds or a number with ms, s, m or h, such as 1.5s")]
    NotDuration,
    /// More bytes or nanoseconds than fit into 64 bits.
    #[error("exceeds 64 bits")]
    Uncountable,
    /// A size outside the range of its flag.
    #[error("is out of range; write {} to {}", exact_bytes(*.min), exact_bytes(*.max))]
    SizeOutside {
        /// The minimum, in bytes.
        min: u64,
        /// The maximum, in bytes.
        max: u64,
    },
    /// A duration outside the range of its flag.
    #[error("is out of range; write {} to {}", render_duration(*.min), render_duration(*.max))]
    DurationOutside {
        /// The minimum.
        min: Duration,
        /// The maximum.
        max: Duration,
    },
    /// Not a count within the range of its flag.
    #[error("is not a whole number from {min} to {max}")]
    NotCount {
        /// The minimum.
        min: usize,
        /// The maximum.
        max: usize,
    },
    /// Not a file mode.
    #[error("is not a mode; write it in octal, from 0001 to 0777, such as 0660")]
    NotMode,
    /// Not a group.
    #[error("is not a group; write its name or number")]
    NotGroup,
    /// Not a listening address.
    #[error(
        "is not an address; write IP:PORT, :PORT, PORT, localhost:PORT or unix:PATH \
         (other names are not looked up)"
    )]
    NotListenAddress,
    /// An IP address without a port.
    #[error("has no port; write it as 127.0.0.1:8080 or [::1]:8080")]
    NoPort,
    /// A path that does not fit into `struct sockaddr_un`.
    #[error(
        "is not the path of a socket; write unix: and 1 to {max} bytes, such as unix:/run/spede"
    )]
    NotSocketPath {
        /// Maximum length in bytes.
        max: usize,
    },
    /// Not an access to the status page.
    #[error("is not loopback, off, all or ADDR:PORT")]
    NotStatusAccess,
    /// Neither an address nor a network.
    #[error("is not an address or a network; write ADDR or ADDR/LEN, as in 10.0.0.0/8, or none")]
    NotNetwork,
    /// Not a disk engine.
    #[error("is not a disk engine; write auto, uring, threads or blocking")]
    NotEngine,
    /// Not a media type of an extension.
    #[error("is not EXT=TYPE; write one such as ts=text/plain")]
    NotOwnType,
    /// Not a charset name.
    #[error("is not the name of a charset; write one such as utf-8 or shift_jis, or none")]
    NotCharset,
    /// Neither of two words.
    #[error("is not on or off")]
    NotSwitch,
    /// Not a response field of the operator's.
    #[error(transparent)]
    NotField(#[from] FieldError),
    /// Not a media type.
    #[error("is not a media type; write one such as application/json or text/html; charset=utf-8")]
    NotContentType,
    /// Neither of two words.
    #[error("is not attachment or inline")]
    NotDisposition,
    /// Not an origin.
    #[error(transparent)]
    NotOrigin(#[from] OriginError),
    /// Neither of two words.
    #[error("is not file or mirror")]
    NotEntityTags,
    /// Neither of two words.
    #[error("is not hide or list")]
    NotDirectories,
    /// Neither of two words.
    #[error("is not on or off")]
    NotMapLock,
    /// Neither `on` nor `off`.
    #[error("is not on or off")]
    NotServerTiming,
    /// Not a log format.
    #[error("is not combined or json")]
    NotLogFormat,
    /// Neither of two words.
    #[error("is not refuse or serve")]
    NotDotFiles,
    /// Not a log destination.
    #[error("is not off, - or the path of a file")]
    NotAccessLog,
    /// Not a file name.
    #[error(
        "is not the name of a visible file; write one such as index.html, without / or first ."
    )]
    NotIndexName,
    /// Not a page of an error.
    #[error(
        "is not STATUS=PATH; write 403, 404, 500, 503 or 504 and a path of the site, such as 404=/404.html"
    )]
    NotErrorPage,
    /// Not a realm.
    #[error("is not printable ASCII without quotes and backslashes")]
    NotRealm,
    /// Not a path of the site.
    #[error("{0}")]
    NotInnerPath(InnerPathError),
    /// Neither of two words.
    #[error("is not on or off")]
    NotCleanUrls,
    /// Not a pattern of paths.
    #[error("{0}")]
    NotPattern(PatternError),
    /// Not the status of a redirect.
    #[error("is not the status of a redirect; write 301, 302, 307 or 308")]
    NotRedirectStatus,
    /// Neither of two words.
    #[error("is not on or off; a path is for --fallback")]
    NotSpa,
    /// Not a path.
    #[error("is not a path")]
    NotPath,
    /// Not a directory.
    #[error("is not a path; name the directory to serve, such as www")]
    NotRoot,
}

/// The message for a clap error. `command` and `words` are what was parsed.
pub(super) fn one_line(error: &clap::Error, command: &Command, words: &[OsString]) -> String {
    let flag = context(error, ContextKind::InvalidArg).map_or("", flag_of);
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    let program = command.get_name();
    match error.kind() {
        ErrorKind::ValueValidation => {
            let origin = origin(flag, command, words);
            format!("{flag}{origin}: {} {}", quote(value), reason(error))
        }
        ErrorKind::InvalidValue => format!("{flag}: needs a value; see {program} --help"),
        ErrorKind::ArgumentConflict => format!("{flag}: is given more than once"),
        ErrorKind::TooManyValues => format!("{flag}: takes no value, not even {}", quote(value)),
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let suggested = context(error, ContextKind::SuggestedArg);
            let advice = match (advice_for_newcomers(flag, program), suggested) {
                (Some(advice), _) => advice,
                (None, Some(known)) => format!("did you mean {known}?"),
                (None, None) => format!("see {program} --help"),
            };
            format!("{}: is not an option; {advice}", show(flag))
        }
        ErrorKind::UnknownArgument => {
            let word = context(error, ContextKind::InvalidArg).unwrap_or_default();
            format!(
                "ROOT: {} is one too many; spede serves one directory",
                quote(word)
            )
        }
        _ => first_line(error),
    }
}

/// What does here what an option of this name does in other servers.
fn advice_for_newcomers(flag: &str, program: &str) -> Option<String> {
    if program != super::args::NAME {
        return None;
    }
    let name = match flag {
        // The options that other servers have one letter for.
        "-p" | "-b" | "-a" | "-i" => "listen",
        "-d" | "-r" => "root",
        _ => {
            let name = flag.strip_prefix("--")?;
            if let Some(advice) = names::without_option(name) {
                return Some(advice.to_owned());
            }
            names::elsewhere(name)?
        }
    };
    Some(match name {
        "listen" => String::from("write -l PORT for this machine, -l :PORT for all addresses"),
        "root" => String::from("write the directory alone: spede DIR"),
        "directories" => String::from("write --directories list"),
        "status" => String::from("/metrics is beside /status; see --status"),
        "hosts" => String::from("hosts are set in a file: see --config and spede config --default"),
        name => format!("did you mean --{name}?"),
    })
}

/// Why a value is refused.
pub(super) fn reason(error: &clap::Error) -> String {
    let reason = std::error::Error::source(error).map(ToString::to_string);
    reason.unwrap_or_else(|| String::from("is not allowed"))
}

/// A value in quotes, on one line and shortened.
pub(super) fn quote(value: &str) -> String {
    format!("'{}'", show(value))
}

pub(super) fn show(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN_LENGTH_MAX {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    }
}

/// `--map-cache` of `--map-cache <SIZE>`, and `ROOT` of `[ROOT]`.
fn flag_of(usage: &str) -> &str {
    let name = usage.split_once([' ', '=']).map_or(usage, |(name, _)| name);
    name.trim_matches(['[', ']', '<', '>', '.'])
}

/// Names the variable of a value that is not among the words.
fn origin(flag: &str, command: &Command, words: &[OsString]) -> String {
    let mut arguments = command.get_arguments();
    let argument = arguments.find(|argument| match argument.get_long() {
        Some(long) => flag.strip_prefix("--") == Some(long),
        None => !flag.starts_with('-'),
    });
    let Some((argument, variable)) = argument.and_then(|one| Some((one, one.get_env()?))) else {
        return String::new();
    };
    // ROOT has no flag to look for; it is refused only if it is empty.
    let is_typed = |word: &OsString| match argument.get_long() {
        Some(long) => names_flag(word, long, argument.get_short()),
        None => word.is_empty(),
    };
    if words.iter().skip(1).any(is_typed) {
        return String::new();
    }
    format!(" (from {})", variable.display())
}

/// Whether a word is `--long`, `--long=value`, `-s` or `-svalue`.
fn names_flag(word: &OsStr, long: &str, short: Option<char>) -> bool {
    let word = word.to_string_lossy();
    match word.strip_prefix("--") {
        Some(rest) => rest.split('=').next() == Some(long),
        None => {
            let letter = word.strip_prefix('-').and_then(|rest| rest.chars().next());
            letter.is_some() && letter == short
        }
    }
}

/// The first line of clap, for errors that our flags never produce.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    show(line.strip_prefix("error: ").unwrap_or(line))
}
