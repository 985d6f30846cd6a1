//! The configuration file: TOML whose keys are the long names of the options.
//!
//! A value becomes what the option would have been given on the command line, and takes the place of the default:
//! so the environment and the command line win over it, and there is one reader for each kind of value. Relative
//! paths start where those of the command line do, in the working directory.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::source::Position;
pub(super) use self::source::Source;
pub(super) use self::table::{Entries, Finished, Table};
use super::error::{self, quote};
use super::{Usage, names, site};

mod source;
mod table;

/// The option that names the file; it is no key.
pub(super) const OPTION: &str = "config";

/// The key of the tables of sites.
const SITE: &str = "site";
/// Its name in messages.
const SITE_TABLE: &str = "[[site]]";

/// A file whose keys are known and whose values are possible, each by itself; tables are still to be read.
#[derive(Debug)]
pub(super) struct ConfigFile<'a> {
    source: &'a Source,
    settings: Vec<FileSetting>,
    content: Spanned<DeTable<'a>>,
}

/// A key of an option, and its value.
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

impl<'a> ConfigFile<'a> {
    /// Reads the options of a file. `command` has them; their names are the keys.
    ///
    /// # Errors
    /// One line with the position of the first thing that is wrong.
    pub(super) fn parse(source: &'a Source, command: &Command) -> Result<ConfigFile<'a>, Usage> {
        let content = DeTable::parse(source.text()).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            source.wrong(offset, &error.message().replace('\n', "; "))
        })?;
        let mut settings = Vec::new();
        for (key, value) in content.get_ref() {
            let name: &str = key.get_ref();
            if name == SITE {
                continue;
            }
            let Some(argument) = arguments(command).find(|argument| key_of(argument) == name)
            else {
                return Err(source.wrong(key.span().start, &unknown(name, command)));
            };
            settings.push(FileSetting {
                id: argument.get_id().to_string(),
                key: name.to_owned(),
                words: words(source, argument, value)?,
                position: source.position(key.span().start),
            });
        }
        Ok(ConfigFile {
            source,
            settings,
            content,
        })
    }

    /// The `[[site]]` tables, in the order of the file.
    ///
    /// # Errors
    /// When `site` is anything else.
    pub(super) fn sites(&self) -> Result<Vec<Table<'_>>, Usage> {
        match self.content.get_ref().get(SITE) {
            None => Ok(Vec::new()),
            Some(value) => table::tables(self.source, SITE, SITE_TABLE, value),
        }
    }

    /// Whether it has `[[site]]` tables.
    pub(super) fn has_sites(&self) -> bool {
        self.content.get_ref().contains_key(SITE)
    }

    /// The arrays of tables, by name.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, &Spanned<DeValue<'_>>)> {
        let site = self.content.get_ref().get(SITE);
        site.into_iter().map(|value| (SITE, value))
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

    /// Where the key of an option stands, by its argument.
    pub(super) fn position(&self, id: &str) -> Option<Position> {
        let found = self.settings.iter().find(|setting| setting.id == id);
        found.map(|setting| setting.position)
    }

    /// Its text.
    pub(super) fn source(&self) -> &'a Source {
        self.source
    }

    /// A message about an option, with the position of the key where the value came from here.
    pub(super) fn located(&self, line: String, is_from_file: impl Fn(&str) -> bool) -> String {
        let located = self.settings.iter().find_map(|setting| {
            let rest = line.strip_prefix("--")?.strip_prefix(&*setting.key)?;
            let is_meant = rest.starts_with(':') && is_from_file(&setting.id);
            is_meant.then(|| self.source.at(setting.position, &line["--".len()..]))
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
    let known = arguments(command).map(key_of).chain([SITE]);
    let meant = names::elsewhere(name).or_else(|| names::nearest(name, known));
    match site::KEYS.contains(&name).then_some(name).or(meant) {
        Some(key) if site::KEYS.contains(&key) => {
            format!("{quoted} is for a site; write {SITE_TABLE} and below it {key}")
        }
        Some(meant) => format!("{quoted} is not a key; did you mean '{meant}'?"),
        None => format!("{quoted} is not a key; see spede config --default"),
    }
}

/// The words of a value, each of which the option takes.
fn words(
    source: &Source,
    argument: &Arg,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<OsString>, Usage> {
    let key = key_of(argument);
    let is_list = matches!(value.get_ref(), DeValue::Array(_));
    if is_list && !matches!(argument.get_action(), ArgAction::Append) {
        return Err(table::takes_one(source, key, value));
    }
    let items = table::items(source, key, value)?.into_iter();
    let words = items.map(|item| {
        let word = table::word(source, key, item)?;
        match refusal(argument, &word) {
            Some(reason) => Err(table::refused(source, key, item, &reason)),
            None => Ok(word),
        }
    });
    words.collect()
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
