//! The configuration file: TOML whose keys are the long names of the options.
//!
//! A value becomes what the option would have been given on the command line, and takes the place of the default:
//! so the environment and the command line win over it, and there is one reader for each kind of value. Relative
//! paths start where those of the command line do, in the working directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{self, quote, show};
use super::{Usage, names};

/// Longest file, 16 MiB: far beyond any configuration, so that a wrong path does not fill the memory.
const LENGTH_MAX: u64 = 16 << 20;

/// The option that names the file; it is no key.
pub(super) const OPTION: &str = "config";

/// A file whose keys are known and whose values are possible, each by itself.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    settings: Vec<FileSetting>,
}

/// A key and its value.
#[derive(Debug)]
struct FileSetting {
    /// The argument as clap knows it.
    id: String,
    /// The name of its option.
    key: String,
    /// As many words as the command line would have.
    words: Vec<OsString>,
    position: Position,
}

/// A place in a file, counted from 1; columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    column: usize,
}

/// A text, and what it is called in messages.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn wrong(&self, offset: usize, message: &str) -> Usage {
        Usage::Wrong(at(self.path, self.position(offset), message))
    }

    /// What stands there, as it was typed.
    fn shown(&self, span: Range<usize>) -> String {
        quote(self.text.get(span).unwrap_or_default())
    }
}

/// A path on one line.
fn shown(path: &Path) -> String {
    show(&path.to_string_lossy())
}

fn at(path: &Path, position: Position, message: &str) -> String {
    let Position { line, column } = position;
    format!("{}:{line}:{column}: {message}", shown(path))
}

impl ConfigFile {
    /// Reads a file. `command` has the options; their names are the keys.
    ///
    /// # Errors
    /// One line with the position of the first thing that is wrong.
    pub(super) fn read(path: &Path, command: &Command) -> Result<ConfigFile, Usage> {
        let cannot = |why: &str| Usage::Wrong(format!("--config: {}: {why}", shown(path)));
        let mut bytes = Vec::new();
        let read = File::open(path)
            .and_then(|file| file.take(LENGTH_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| cannot(&error.to_string()))?;
        if read as u64 > LENGTH_MAX {
            return Err(cannot("is longer than 16 MiB; name a configuration file"));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => ConfigFile::parse(path, text, command),
            Err(error) => {
                let valid = &bytes[..error.valid_up_to()];
                let text = std::str::from_utf8(valid).unwrap_or_default();
                let source = Source { path, text };
                Err(source.wrong(
                    text.len(),
                    "is not UTF-8 from here on; save the file as UTF-8",
                ))
            }
        }
    }

    pub(super) fn parse(path: &Path, text: &str, command: &Command) -> Result<ConfigFile, Usage> {
        let source = Source { path, text };
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            source.wrong(offset, &error.message().replace('\n', "; "))
        })?;
        let mut settings = Vec::new();
        for (key, value) in table.get_ref() {
            let name: &str = key.get_ref();
            let Some(argument) = arguments(command).find(|argument| key_of(argument) == name)
            else {
                return Err(source.wrong(key.span().start, &unknown(name, command)));
            };
            settings.push(FileSetting {
                id: argument.get_id().to_string(),
                key: name.to_owned(),
                words: words(&source, argument, value)?,
                position: source.position(key.span().start),
            });
        }
        Ok(ConfigFile {
            path: path.into(),
            settings,
        })
    }

    /// A command whose defaults are the values of the file.
    pub(super) fn as_defaults(&self, command: Command) -> Command {
        let mut command = command;
        for setting in &self.settings {
            let words = setting.words.clone();
            command = command.mut_arg(&setting.id, |argument| {
                argument
                    .default_values(words)
                    .required(false)
                    .hide_default_value(true)
            });
        }
        command
    }

    /// Where a key stands, by its argument.
    pub(super) fn position(&self, id: &str) -> Option<Position> {
        let found = self.settings.iter().find(|setting| setting.id == id);
        found.map(|setting| setting.position)
    }

    /// Where it came from.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A message about an option, with the position of the key where the value came from here.
    pub(super) fn located(&self, line: String, is_from_file: impl Fn(&str) -> bool) -> String {
        let located = self.settings.iter().find_map(|setting| {
            let rest = line.strip_prefix("--")?.strip_prefix(&*setting.key)?;
            let is_meant = rest.starts_with(':') && is_from_file(&setting.id);
            is_meant.then(|| at(&self.path, setting.position, &line["--".len()..]))
        });
        located.unwrap_or(line)
    }
}

/// What can be set by a file.
pub(super) fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_setting = |argument: &&Arg| match argument.get_action() {
        ArgAction::Set | ArgAction::Append => argument.get_id() != OPTION,
        _ => false,
    };
    command.get_arguments().filter(is_setting)
}

/// The key of an argument: its long name, or that of the one that has no option.
pub(super) fn key_of(argument: &Arg) -> &str {
    argument
        .get_long()
        .unwrap_or_else(|| argument.get_id().as_str())
}

fn unknown(name: &str, command: &Command) -> String {
    let quoted = quote(name);
    let known = arguments(command).map(key_of);
    let meant = names::elsewhere(name).or_else(|| names::nearest(name, known));
    match meant {
        Some(meant) => format!("{quoted} is not a key; did you mean '{meant}'?"),
        None => format!("{quoted} is not a key; see spede config --default"),
    }
}

/// The words of a value, each of which the option takes.
fn words(
    source: &Source<'_>,
    argument: &Arg,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<OsString>, Usage> {
    let key = key_of(argument);
    let list = match value.get_ref() {
        DeValue::Array(_) if !matches!(argument.get_action(), ArgAction::Append) => {
            let message = format!("{key}: takes one value, not a list");
            return Err(source.wrong(value.span().start, &message));
        }
        DeValue::Array(items) if items.is_empty() => {
            let message = format!("{key}: is an empty list; leave the key out");
            return Err(source.wrong(value.span().start, &message));
        }
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![value],
    };
    let mut words = Vec::with_capacity(list.len());
    for item in list {
        let word = word(source, key, item)?;
        if let Some(reason) = refusal(argument, &word) {
            let shown = source.shown(item.span());
            let message = format!("{key}: {} {reason}", shown.replace('"', ""));
            return Err(source.wrong(item.span().start, &message));
        }
        words.push(word);
    }
    Ok(words)
}

/// A value as it would stand on the command line.
fn word(source: &Source<'_>, key: &str, value: &Spanned<DeValue<'_>>) -> Result<OsString, Usage> {
    match value.get_ref() {
        DeValue::String(text) => Ok(OsString::from(&**text)),
        DeValue::Boolean(true) => Ok(OsString::from("on")),
        DeValue::Boolean(false) => Ok(OsString::from("off")),
        DeValue::Integer(_) | DeValue::Float(_) => {
            let text = source.text.get(value.span()).unwrap_or_default();
            Ok(OsString::from(text.replace('_', "")))
        }
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            let message = format!("{key}: takes text, a number, true or false");
            Err(source.wrong(value.span().start, &message))
        }
    }
}

/// Why an option does not take a word, if so.
fn refusal(argument: &Arg, word: &OsString) -> Option<String> {
    let alone = argument.clone().env(None::<&str>).required(false);
    let mut option = match argument.get_long() {
        Some(long) => OsString::from(format!("--{long}=")),
        None => OsString::new(),
    };
    option.push(word);
    let words = match argument.get_long() {
        Some(_) => vec![OsString::from("spede"), option],
        None => vec![OsString::from("spede"), OsString::from("--"), option],
    };
    let parsed = Command::new("spede").arg(alone).try_get_matches_from(words);
    parsed.err().map(|error| error::reason(&error))
}

#[cfg(test)]
mod tests;
