//! The configuration in effect: each value with its source, and the commented file of all defaults.

use std::fmt;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::{self, ConfigFile};

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

/// All values that were taken, in the order of the help.
pub(super) fn of(
    matches: &ArgMatches,
    command: &Command,
    file: Option<&ConfigFile>,
) -> Vec<EffectiveValue> {
    file::arguments(command)
        .map(|argument| {
            let id = argument.get_id().as_str();
            let words = matches.get_raw(id).into_iter().flatten();
            let words: Vec<String> = words
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            let in_file = || {
                let file = file?;
                let line = file.position(id)?.line;
                Some(ValueOrigin::File(file.path().into(), line))
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

/// Words as the value of a key; `None` without any.
fn toml_value(argument: &Arg, words: &[String]) -> Option<String> {
    let text = |word: &String| toml::Value::String(word.clone()).to_string();
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
    lines.join("\n")
}

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
