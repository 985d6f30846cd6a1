//! From the command line and the environment to [`Settings`] (of the server, or of a simulation): flags,
//! defaults, units, and errors.
//!
//! Everything that the words alone decide is checked here, once; the types carry the result. Nothing is
//! opened, bound or resolved: the server finds out whether the root exists, a port is free or an engine is
//! usable.

mod args;
mod command;
mod conflict;
mod effective;
mod environment;
mod error;
mod file;
mod inherited;
mod listen;
mod names;
mod simulate;
mod site;
mod value;

pub(crate) mod units;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches};

pub use self::effective::{EffectiveValue, ValueOrigin};
pub use self::environment::unknown_variables;
pub use self::error::ValueError;

use self::args::Args;
use self::conflict::BESIDE_TARGET_LENGTH_MIN;
use self::file::{ConfigFile, Source};
use crate::settings::{
    AccessLog, CacheBudget, ConfiguredSizes, Limits, ListenAddress, Settings, SocketAccess,
    StatusAccess, Timeouts,
};

/// Default address of the status page, unless all listeners of the site are local.
const STATUS_ADDRESS_DEFAULT: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8_081));
/// Served without a root and without the default one: the working directory, as newcomers expect.
const ROOT_FALLBACK: &str = ".";

/// The first argument that has a configuration checked; a root of this name is `./check`.
const CHECK_WORD: &str = "check";
/// The first argument that prints configuration files; a root of this name is `./config`.
const CONFIG_WORD: &str = "config";

/// Why there is nothing to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Help was requested; whole lines for standard output.
    Help(String),
    /// The version was requested; a whole line for standard output.
    Version(String),
    /// An error: one line for standard error, without its newline.
    Wrong(String),
}

/// The task of the process.
#[derive(Clone, Debug)]
pub enum Task {
    /// Serve a directory.
    Serve(Box<Settings>),
    /// Check what a server would be told, and what that leads to.
    Check(Box<Configured>),
    /// Replay access logs.
    Simulate(Box<crate::simulate::Settings>),
}

/// Settings of a server, and the source of each.
#[derive(Clone, Debug)]
pub struct Configured {
    /// The settings in effect.
    pub settings: Settings,
    /// The same as keys and values of a configuration file, in the order of the help.
    pub values: Vec<EffectiveValue>,
    /// The tables below them, each line with the source of its value.
    pub tables: Vec<String>,
}

/// Parses the words, of which the first is the name of the program as in [`std::env::args_os`], the environment and
/// the configuration file. A word takes precedence over a variable, a variable over the file, and an empty variable
/// counts as unset.
///
/// # Errors
/// [`Usage`] if help or the version was requested, or for the first error.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Task, Usage> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    match words.get(1).and_then(|word| word.to_str()) {
        Some(simulate::WORD) => {
            let settings = simulate::parse_with(
                simulate::command().mut_args(environment::without_empty),
                &words[1..],
            )?;
            Ok(Task::Simulate(Box::new(settings)))
        }
        Some(CHECK_WORD) => {
            words.remove(1);
            Ok(Task::Check(Box::new(serve(words)?)))
        }
        Some(CONFIG_WORD) => Err(config_usage(&words[2..])),
        _ => Ok(Task::Serve(Box::new(serve(words)?.settings))),
    }
}

/// `spede config --default` prints a file; nothing else is done with this word.
fn config_usage(words: &[OsString]) -> Usage {
    match words {
        [word] if word == "--default" => Usage::Help(effective::default_file(&command::command())),
        _ => Usage::Wrong(String::from(
            "config: write spede config --default for a commented configuration file, or \
             spede check for the configuration in effect",
        )),
    }
}

fn serve(words: Vec<OsString>) -> Result<Configured, Usage> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let inherited = inherited::socket_count(variable)?;
    let command = command::command().mut_args(environment::without_empty);
    parse_with(command, &words, inherited)
}

fn parse_with(
    mut command: Command,
    words: &[OsString],
    inherited_socket_count: usize,
) -> Result<Configured, Usage> {
    // Parsing settles the order of a command's arguments; defaults can only be given to one before that.
    let unparsed = command.clone();
    let matches = command.try_get_matches_from_mut(words);
    let mut matches = matches.map_err(|error| usage(&error, &command, words))?;
    let path = matches.get_one::<PathBuf>(file::OPTION).cloned();
    let source = path.as_deref().map(Source::read).transpose()?;
    let mut file = None;
    if let Some(source) = &source {
        let read = ConfigFile::parse(source, &command)?;
        command = read.as_defaults(unparsed.clone());
        let again = command.try_get_matches_from_mut(words);
        matches = again.map_err(|error| usage(&error, &command, words))?;
        file = Some(read);
    }
    let args = Args::from_arg_matches(&matches).map_err(|error| usage(&error, &command, words))?;
    let origins = Origins {
        matches: &matches,
        file: file.as_ref(),
    };
    let mut settings = origins.settings(args, inherited_socket_count)?;
    if let Some(file) = &file {
        site::add_tables(&mut settings.sites, file, &origins)?;
    }
    settings.configuration = path;
    let values = effective::of(&origins, &unparsed);
    let tables = file.as_ref().map(effective::tables).unwrap_or_default();
    Ok(Configured {
        settings,
        values,
        tables,
    })
}

/// Who chose the values of the options.
struct Origins<'a> {
    matches: &'a ArgMatches,
    file: Option<&'a ConfigFile<'a>>,
}

impl Origins<'_> {
    fn is_default(&self, id: &str) -> bool {
        self.is_unset(id) && !self.is_from_file(id)
    }

    fn is_from_file(&self, id: &str) -> bool {
        let is_in_file = self.file.is_some_and(|file| file.position(id).is_some());
        is_in_file && self.is_unset(id)
    }

    /// Neither word nor variable.
    fn is_unset(&self, id: &str) -> bool {
        self.matches.value_source(id) == Some(ValueSource::DefaultValue)
    }

    /// The settings of the options; without a conflict.
    fn settings(&self, mut args: Args, inherited_socket_count: usize) -> Result<Settings, Usage> {
        let is_default = |id: &str| self.is_default(id);
        let asked = ConfiguredSizes {
            memory_bytes_max: args.memory,
            map_bytes_max: (!is_default("map_cache")).then_some(args.map_cache),
            path_count_max: (!is_default("path_cache")).then_some(args.path_cache),
        };
        // A default gives way to what was asked for; only two wishes can contradict each other.
        if is_default("map_max") && args.map_cache > 0 {
            args.map_max = args.map_max.min(args.map_cache);
        }
        if is_default("listen") && inherited_socket_count > 0 {
            args.listen.clear();
        }
        if is_default("target_max") {
            let room = args.peers.head_max.saturating_sub(BESIDE_TARGET_LENGTH_MIN);
            args.peers.target_max = args.peers.target_max.min(room);
        }
        if is_default("access_log") {
            args.access_log = AccessLog::Terminal;
        }
        let mut settings = settings(args, asked, inherited_socket_count);
        settings.sites[0].root_fallback = is_default("root").then(|| PathBuf::from(ROOT_FALLBACK));
        match (conflict::first(&settings), self.file) {
            (None, _) => Ok(settings),
            (Some(line), None) => Err(Usage::Wrong(line)),
            (Some(line), Some(file)) => {
                Err(Usage::Wrong(file.located(line, |id| self.is_from_file(id))))
            }
        }
    }
}

/// Converts a clap error.
fn usage(error: &clap::Error, command: &Command, words: &[OsString]) -> Usage {
    match error.kind() {
        ErrorKind::DisplayHelp => Usage::Help(trimmed(&error.to_string())),
        ErrorKind::DisplayVersion => Usage::Version(error.to_string()),
        _ => Usage::Wrong(error::one_line(error, command, words)),
    }
}

/// Without clap's trailing blanks.
fn trimmed(text: &str) -> String {
    text.lines()
        .flat_map(|line| [line.trim_end(), "\n"])
        .collect()
}

fn settings(args: Args, asked: ConfiguredSizes, inherited_socket_count: usize) -> Settings {
    let status = args.status.unwrap_or_else(|| match inherited_socket_count {
        0 => default_status(&args.listen),
        // Only the service manager knows who can reach inherited sockets.
        _ => StatusAccess::DefaultListener(STATUS_ADDRESS_DEFAULT),
    });
    let (cache, timeouts) = (cache_budget(&args), timeouts(&args));
    let site = site::of_options(&args);
    Settings {
        configuration: None,
        sites: vec![site],
        inherited_socket_count,
        listen: args.listen,
        socket_access: SocketAccess {
            mode: args.socket_mode,
            group: args.socket_group,
        },
        engine: args.disk,
        disk_depth: args.disk_depth,
        disk_queue: args.disk_queue,
        map_lock: args.lock,
        cache,
        asked,
        stale: args.stale,
        recheck: args.recheck,
        warm: args.warm,
        cache_state: args.cache_state,
        limits: Limits {
            connections_max: args.peers.connections,
            address_share_percent: args.peers.address_share,
            target_length_max: args.peers.target_max,
            head_length_max: args.peers.head_max,
            field_count_max: args.peers.fields_max,
            body_length_max: args.peers.body_max,
            send_rate_min: args.peers.send_rate_min,
        },
        trusted_proxies: args.peers.trusted_proxy.into_iter().flatten().collect(),
        timeouts,
        grace: args.peers.grace,
        access_log: args.access_log,
        log_format: args.access_log_format,
        server_timing: args.server_timing,
        status,
    }
}

fn cache_budget(args: &Args) -> CacheBudget {
    CacheBudget {
        map_bytes_max: args.map_cache,
        map_file_length_max: args.map_max,
        map_count_max: args.map_count,
        path_count_max: args.path_cache,
        descriptor_count_max: args.descriptors,
        watched_directory_count_max: args.watch_directories,
        revalidate: args.revalidate,
    }
}

fn timeouts(args: &Args) -> Timeouts {
    Timeouts {
        head: args.peers.head_timeout,
        body: args.peers.body_timeout,
        idle: args.peers.idle_timeout,
        disk: args.disk_timeout,
        send: args.peers.send_timeout,
        linger: args.peers.linger_timeout,
        linger_total: args.peers.linger_time,
    }
}

/// Default access to the status page: this machine if the site is for this machine only. Otherwise a separate
/// listener, so that no misjudged client can see the page.
fn default_status(listen: &[ListenAddress]) -> StatusAccess {
    let is_local = |address: &ListenAddress| match address {
        ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
        ListenAddress::Unix(_) => true,
    };
    match listen.iter().all(is_local) {
        true => StatusAccess::Loopback,
        false => StatusAccess::DefaultListener(STATUS_ADDRESS_DEFAULT),
    }
}
