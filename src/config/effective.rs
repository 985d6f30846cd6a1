//! The configuration in effect: each value with its source, and the commented file of all defaults.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::Origins;
use super::file::{self, ConfigFile, Source};

/// Columns of comments.
const COMMENT_WIDTH: usize = 78;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOrigin {
    /// An option.
    CommandLine,
    /// A variable of this name.
    Environment(String),
    /// A line of a file, counted from 1.
    File(PathBuf, usize),
    /// Nobody chose it.
    Default,
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueOrigin::CommandLine => formatter.write_str("command line"),
            ValueOrigin::Environment(variable) => formatter.write_str(variable),
            ValueOrigin::File(path, line) => write!(formatter, "{}:{line}", path.display()),
            ValueOrigin::Default => formatter.write_str("default"),
        }
    }
}

/// A setting in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveValue {
    /// Its key in a configuration file.
    pub key: String,
    /// Its value as TOML; `None`: it is not set, and what holds is in the help.
    pub value: Option<String>,
    /// Who chose it.
    pub origin: ValueOrigin,
}

impl fmt::Display for EffectiveValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EffectiveValue { key, value, origin } = self;
        match value {
            Some(value) => write!(formatter, "{key} = {value}  # {origin}"),
            None => write!(formatter, "# {key} is not set"),
        }
    }
}

/// All values of options that were taken, in the order of the help. Beside `[[site]]` tables there is no root.
pub(super) fn of(origins: &Origins<'_>, command: &Command) -> Vec<EffectiveValue> {
    let Origins { matches, file } = *origins;
    let has_tables = file.is_some_and(ConfigFile::has_sites);
    file::arguments(command)
        .filter(|argument| !has_tables || argument.get_id() != "root")
        .map(|argument| {
            let id = argument.get_id().as_str();
            let words = matches.get_raw(id).into_iter().flatten();
            let words: Vec<String> = words
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            let in_file = || {
                let file = file?;
                let line = file.position(id)?.line;
                Some(ValueOrigin::File(file.source().path().into(), line))
            };
            let origin = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => ValueOrigin::CommandLine,
                Some(ValueSource::EnvVariable) => {
                    let variable = argument.get_env().unwrap_or_default();
                    ValueOrigin::Environment(variable.to_string_lossy().into_owned())
                }
                _ => in_file().unwrap_or(ValueOrigin::Default),
            };
            EffectiveValue {
                key: file::key_of(argument).to_owned(),
                value: toml_value(argument, &words),
                origin,
            }
        })
        .collect()
}

/// The tables of a file, line by line, with the source of each value.
pub(super) fn tables(file: &ConfigFile<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in file.tables() {
        table_lines(file.source(), name, value, &mut lines);
    }
    lines
}

/// The lines of each table of an array of tables; nested ones after the values.
fn table_lines(source: &Source, name: &str, value: &Spanned<DeValue<'_>>, lines: &mut Vec<String>) {
    let DeValue::Array(tables) = value.get_ref() else {
        return;
    };
    let origin =
        |span: Range<usize>| ValueOrigin::File(source.path().into(), source.line(span.start));
    for table in tables {
        let DeValue::Table(content) = table.get_ref() else {
            continue;
        };
        lines.push(String::new());
        lines.push(format!("[[{name}]]  # {}", origin(table.span())));
        let mut entries: Vec<_> = content.iter().collect();
        entries.sort_by_key(|(key, value)| (is_tables(value), key.span().start));
        for (key, value) in entries {
            let key_text = toml_key(key.get_ref());
            if is_tables(value) {
                table_lines(source, &format!("{name}.{key_text}"), value, lines);
            } else {
                let value = shown_value(value.get_ref());
                lines.push(format!("{key_text} = {value}  # {}", origin(key.span())));
            }
        }
    }
}

fn is_tables(value: &Spanned<DeValue<'_>>) -> bool {
    let is_table = |item: &Spanned<DeValue<'_>>| matches!(item.get_ref(), DeValue::Table(_));
    matches!(value.get_ref(), DeValue::Array(items) if items.iter().all(is_table))
}

/// A value on one line.
fn shown_value(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => toml_text(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(is_true) => is_true.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| shown_value(item.get_ref()))
                .collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.span().start);
            let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
                format!(
                    "{} = {}",
                    toml_key(key.get_ref()),
                    shown_value(value.get_ref())
                )
            };
            let entries: Vec<String> = entries.into_iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// A key as it may be written: bare where that is possible.
fn toml_key(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match !key.is_empty() && key.bytes().all(is_bare) {
        true => key.to_owned(),
        false => toml_text(key),
    }
}

/// Text in quotes on one line.
fn toml_text(text: &str) -> String {
    // TOML has the escapes of JSON, and needs one more.
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007F")
}

/// Words as the value of a key; `None` without any.
fn toml_value(argument: &Arg, words: &[String]) -> Option<String> {
    let text = |word: &String| toml_text(word);
    let first = words.first()?;
    match argument.get_action() {
        ArgAction::Append => {
            let words: Vec<String> = words.iter().map(text).collect();
            Some(format!("[{}]", words.join(", ")))
        }
        _ => Some(text(first)),
    }
}

/// A configuration file that changes nothing: every key, explained, with its default in a comment.
pub(super) fn default_file(command: &Command) -> String {
    let mut lines = vec![
        String::from("# Configuration of spede: every key with its default, commented out."),
        String::from("# Options and SPEDE_… variables override this file. Check it with"),
        String::from("#   spede check --config FILE"),
    ];
    let mut last_heading = None;
    for argument in file::arguments(command) {
        let heading = argument.get_help_heading();
        if heading != last_heading {
            lines.push(String::new());
            lines.push(format!("#### {}", heading.unwrap_or("Other")));
            last_heading = heading;
        }
        lines.push(String::new());
        let help = argument.get_long_help().or_else(|| argument.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        for paragraph in help.split("\n\n") {
            lines.extend(wrapped(paragraph));
        }
        lines.push(format!("#{}", default_line(argument)));
    }
    lines.push(String::new());
    lines.push(String::from(SITE_EXAMPLE));
    lines.join("\n")
}

/// How sites are written, all of it in comments.
const SITE_EXAMPLE: &str = "\
#### Sites

# A table for each site, below everything else, in place of root. It takes hosts, root, and those
# options of What to serve that are about files and answers, as well as ranges-max and revalidate;
# what stands above is the default of each table. A host is a name, *.NAME for one more label,
# or an address. The site without hosts takes all hosts that no other has.
#
#   [[site]]
#   hosts = [\"example.org\", \"*.example.org\"]
#   root = \"/srv/example/current\"
#   index = [\"index.html\", \"index.htm\"]
#
#   [[site.rule]]
#   match = \"/assets/**\"
#   cache-control = \"public, max-age=86400\"
#
#   [[site.redirect]]
#   from = \"/old/*\"
#   to = \"/new/$1\"
#
#   [[site]]
#   root = \"/srv/other\"
";

fn default_line(argument: &Arg) -> String {
    let key = file::key_of(argument);
    let words: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .flat_map(|word| match argument.get_value_delimiter() {
            Some(delimiter) => word.split(delimiter).map(str::to_owned).collect(),
            None => vec![word],
        })
        .collect();
    match toml_value(argument, &words) {
        Some(value) => format!("{key} = {value}"),
        None => format!("{key} ="),
    }
}

/// A paragraph in lines of comment.
fn wrapped(paragraph: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::from("#");
    for word in paragraph.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COMMENT_WIDTH {
            lines.push(std::mem::replace(&mut line, String::from("#")));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines
}
