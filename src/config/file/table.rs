//! Tables of the configuration file, read key by key.
//!
//! A table records the keys that it was asked for; any other is refused by [`Table::finish`] with the nearest of
//! them. Each value is read by the parser of an option, so a key takes what an option of its name takes. An error has
//! the position of the key or value that it is about.
//!
//! ```text
//! let mut table = …;
//! let to = table.value("to", path())?;
//! let table = table.finish()?;                     // unknown keys: most likely a misspelt one
//! let to = to.ok_or_else(|| table.missing("to"))?; // so only then is one missing
//! ```

use std::ffi::OsString;

use clap::Command;
use clap::builder::TypedValueParser;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::super::error::{self, quote};
use super::super::{Usage, command, names};
use super::source::Source;
use super::{arguments, key_of};

/// A table that is being read.
#[derive(Debug)]
#[must_use]
pub(in crate::config) struct Table<'a> {
    place: Place<'a>,
    /// The keys that were asked for.
    known: Vec<&'static str>,
}

/// A table all of whose keys are known.
#[derive(Debug)]
pub(in crate::config) struct Finished<'a>(Place<'a>);

#[derive(Debug)]
struct Place<'a> {
    source: &'a Source,
    /// What it is called in messages, such as `[[site]]`.
    name: &'static str,
    content: &'a DeTable<'a>,
    /// Where it begins.
    offset: usize,
}

/// The entries of a table without fixed keys, in the order of the file.
pub(in crate::config) type Entries<T> = Vec<(Spanned<String>, Spanned<T>)>;

impl<'a> Place<'a> {
    fn get(&self, key: &str) -> Option<(&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        self.content.get_key_value(key)
    }

    fn wrong_about(&self, key: &str, message: &str) -> Usage {
        let offset = self
            .get(key)
            .map_or(self.offset, |(key, _)| key.span().start);
        self.source.wrong(offset, &format!("{key}: {message}"))
    }
}

impl<'a> Table<'a> {
    pub(super) fn new(
        source: &'a Source,
        name: &'static str,
        content: &'a DeTable<'a>,
        offset: usize,
    ) -> Table<'a> {
        let place = Place {
            source,
            name,
            content,
            offset,
        };
        Table {
            place,
            known: Vec::new(),
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.place.get(key).map(|(_, value)| value)
    }

    /// The value of a key, if it is there.
    ///
    /// # Errors
    /// When it is a list, or refused by its parser.
    pub(in crate::config) fn value<T: Clone + Send + Sync + 'static>(
        &mut self,
        key: &'static str,
        parser: impl TypedValueParser<Value = T>,
    ) -> Result<Option<Spanned<T>>, Usage> {
        let Some(value) = self.ask(key) else {
            return Ok(None);
        };
        if let DeValue::Array(_) = value.get_ref() {
            return Err(takes_one(self.place.source, key, value));
        }
        parse(self.place.source, key, value, &parser).map(Some)
    }

    /// The values of a key that takes a list, or one value in its place. An empty list is refused.
    ///
    /// # Errors
    /// When the list is empty, or a value is refused by its parser.
    pub(in crate::config) fn list<T: Clone + Send + Sync + 'static>(
        &mut self,
        key: &'static str,
        parser: impl TypedValueParser<Value = T>,
    ) -> Result<Option<Vec<Spanned<T>>>, Usage> {
        let Some(value) = self.ask(key) else {
            return Ok(None);
        };
        let source = self.place.source;
        let values = items(source, key, value)?.into_iter();
        let read = values.map(|value| parse(source, key, value, &parser));
        read.collect::<Result<_, _>>().map(Some)
    }

    /// The entries of a table whose keys are data, such as `error-pages = { 404 = "/404.html" }`; none if it is not
    /// there.
    ///
    /// # Errors
    /// When it is no table, or a value is refused by its parser.
    pub(in crate::config) fn entries<T: Clone + Send + Sync + 'static>(
        &mut self,
        key: &'static str,
        parser: impl TypedValueParser<Value = T>,
    ) -> Result<Entries<T>, Usage> {
        let source = self.place.source;
        let Some(value) = self.ask(key) else {
            return Ok(Vec::new());
        };
        let DeValue::Table(table) = value.get_ref() else {
            let message = format!("{key}: takes a table, such as {key} = {{ name = \"value\" }}");
            return Err(source.wrong(value.span().start, &message));
        };
        let mut entries = Vec::with_capacity(table.len());
        for (name, value) in table {
            let name = Spanned::new(name.span(), name.get_ref().clone().into_owned());
            let value = parse(source, name.get_ref(), value, &parser)?;
            entries.push((name, value));
        }
        entries.sort_by_key(|(name, _)| name.span().start);
        Ok(entries)
    }

    /// The tables of a key, in the order of the file. `name` is what each is called in messages, such as
    /// `[[site.rule]]`.
    ///
    /// # Errors
    /// When there is anything but tables.
    pub(in crate::config) fn tables(
        &mut self,
        key: &'static str,
        name: &'static str,
    ) -> Result<Vec<Table<'a>>, Usage> {
        match self.ask(key) {
            None => Ok(Vec::new()),
            Some(value) => tables(self.place.source, key, name, value),
        }
    }

    /// A message about what was read from this part of the file.
    pub(in crate::config) fn wrong_at<T>(&self, value: &Spanned<T>, message: &str) -> Usage {
        self.place.source.wrong(value.span().start, message)
    }

    /// Refuses all keys that were not asked for.
    ///
    /// # Errors
    /// The first such key, with the nearest known one.
    pub(in crate::config) fn finish(self) -> Result<Finished<'a>, Usage> {
        let Table { place, known } = self;
        let keys = place.content.keys();
        let unknown = keys.filter(|key| !known.contains(&&**key.get_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            None => Ok(Finished(place)),
            Some(key) => {
                let message = unknown_key(key.get_ref(), place.name, &known);
                Err(place.source.wrong(key.span().start, &message))
            }
        }
    }
}

impl Finished<'_> {
    /// A key that has to be there is not. `advice` says what to write.
    pub(in crate::config) fn missing(&self, key: &str, advice: &str) -> Usage {
        let Place { source, name, .. } = self.0;
        let message = format!("{name} has no {key}; {advice}");
        source.wrong(self.0.offset, &message)
    }

    /// A message about a key, or about the table if it has not got it.
    pub(in crate::config) fn wrong_about(&self, key: &str, message: &str) -> Usage {
        self.0.wrong_about(key, message)
    }

    /// A message about what was read from this part of the file.
    pub(in crate::config) fn wrong_at<T>(&self, value: &Spanned<T>, message: &str) -> Usage {
        self.0.source.wrong(value.span().start, message)
    }

    /// The line where it begins, counted from 1.
    pub(in crate::config) fn line(&self) -> usize {
        self.0.source.line(self.0.offset)
    }
}

/// All tables of an array of tables.
pub(super) fn tables<'a>(
    source: &'a Source,
    key: &str,
    name: &'static str,
    value: &'a Spanned<DeValue<'a>>,
) -> Result<Vec<Table<'a>>, Usage> {
    let refused = |offset| {
        let message = format!("{key}: is written {name}, in double brackets; it can be repeated");
        source.wrong(offset, &message)
    };
    let DeValue::Array(items) = value.get_ref() else {
        return Err(refused(value.span().start));
    };
    let table = |item: &'a Spanned<DeValue<'a>>| match item.get_ref() {
        DeValue::Table(content) => Ok(Table::new(source, name, content, item.span().start)),
        _ => Err(refused(item.span().start)),
    };
    items.iter().map(table).collect()
}

/// The items of a list, or the one value in its place.
pub(super) fn items<'a>(
    source: &Source,
    key: &str,
    value: &'a Spanned<DeValue<'a>>,
) -> Result<Vec<&'a Spanned<DeValue<'a>>>, Usage> {
    match value.get_ref() {
        DeValue::Array(items) if items.is_empty() => {
            let message = format!("{key}: is an empty list; leave the key out");
            Err(source.wrong(value.span().start, &message))
        }
        DeValue::Array(items) => Ok(items.iter().collect()),
        _ => Ok(vec![value]),
    }
}

pub(super) fn takes_one(source: &Source, key: &str, value: &Spanned<DeValue<'_>>) -> Usage {
    let message = format!("{key}: takes one value, not a list");
    source.wrong(value.span().start, &message)
}

/// A value as it would stand on the command line.
pub(super) fn word(
    source: &Source,
    key: &str,
    value: &Spanned<DeValue<'_>>,
) -> Result<OsString, Usage> {
    match value.get_ref() {
        DeValue::String(text) => Ok(OsString::from(&**text)),
        DeValue::Boolean(true) => Ok(OsString::from("on")),
        DeValue::Boolean(false) => Ok(OsString::from("off")),
        // Options take octal numbers as they are written here, but not these.
        DeValue::Integer(number) if matches!(number.radix(), 2 | 16) => {
            let number = u128::from_str_radix(number.as_str(), number.radix());
            Ok(OsString::from(number.unwrap_or(u128::MAX).to_string()))
        }
        DeValue::Integer(_) | DeValue::Float(_) => {
            Ok(OsString::from(source.part(value.span()).replace('_', "")))
        }
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            let message = format!("{key}: takes text, a number, true or false");
            Err(source.wrong(value.span().start, &message))
        }
    }
}

fn parse<T: Clone + Send + Sync + 'static>(
    source: &Source,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    parser: &impl TypedValueParser<Value = T>,
) -> Result<Spanned<T>, Usage> {
    let word = word(source, key, value)?;
    match parser.parse_ref(&Command::new(super::super::args::NAME), None, &word) {
        Ok(read) => Ok(Spanned::new(value.span(), read)),
        Err(error) => Err(refused(source, key, value, &error::reason(&error))),
    }
}

pub(super) fn refused(
    source: &Source,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    reason: &str,
) -> Usage {
    let shown = source.quoted(value.span()).replace('"', "");
    source.wrong(value.span().start, &format!("{key}: {shown} {reason}"))
}

fn unknown_key(key: &str, table: &str, known: &[&'static str]) -> String {
    let quoted = quote(key);
    let is_known = |name: &&'static str| known.contains(name);
    let meant = names::elsewhere(key)
        .filter(is_known)
        .or_else(|| names::nearest(key, known.iter().copied()));
    let command = command::command();
    let is_option = arguments(&command).any(|argument| key_of(argument) == key);
    match meant {
        _ if is_option => format!(
            "{quoted} is not a key of {table}; it is for the whole server: write it above the first table"
        ),
        Some(meant) => format!("{quoted} is not a key of {table}; did you mean '{meant}'?"),
        None => {
            let known = known.join(", ");
            format!("{quoted} is not a key of {table}; its keys are {known}")
        }
    }
}
