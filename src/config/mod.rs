//! From the command line and the environment to [`Settings`] (of the server, or of a simulation): flags,
//! defaults, units, and errors.
//!
//! Everything that the words alone decide is checked here, once; the types carry the result. Nothing is
//! opened, bound or resolved: the server finds out whether the root exists, a port is free or an engine is
//! usable.

mod args;
mod command;
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
use clap::{Command, FromArgMatches};

pub use self::effective::{EffectiveValue, ValueOrigin};
pub use self::environment::unknown_variables;
pub use self::error::ValueError;

use self::args::Args;
use self::file::ConfigFile;
use self::listen::{Written, is_overlap};
use crate::settings::{
    CacheBudget, ConfiguredSizes, Limits, ListenAddress, MediaTypes, Settings, SocketAccess,
    StatusAccess, Timeouts,
};
use crate::text::exact_bytes;

/// Maximum number of listening addresses: all of them are polled.
const LISTEN_COUNT_MAX: usize = 64;
/// Default address of the status page, unless all listeners of the site are local.
const STATUS_ADDRESS_DEFAULT: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8_081));
/// Served without a root and without the default one: the working directory, as newcomers expect.
const ROOT_FALLBACK: &str = ".";
/// Maximum number of index names: each is looked up in every directory.
const INDEX_COUNT_MAX: usize = 8;
/// Maximum number of configured media types: they are searched in each lookup.
const TYPE_COUNT_MAX: usize = 256;
/// Minimum room in a head besides its target, in bytes: method, version, a Host field with the longest DNS
/// name (255), and the empty line.
const BESIDE_TARGET_LENGTH_MIN: usize = 512;

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
    let mut file = None;
    if let Some(path) = matches.get_one::<PathBuf>(file::OPTION) {
        let read = ConfigFile::read(path, &command)?;
        command = read.as_defaults(unparsed.clone());
        let again = command.try_get_matches_from_mut(words);
        matches = again.map_err(|error| usage(&error, &command, words))?;
        file = Some(read);
    }
    let file = file.as_ref();
    let is_unset = |id: &str| matches.value_source(id) == Some(ValueSource::DefaultValue);
    let is_from_file =
        |id: &str| is_unset(id) && file.is_some_and(|file| file.position(id).is_some());
    let is_default = |id: &str| is_unset(id) && !is_from_file(id);
    let mut args =
        Args::from_arg_matches(&matches).map_err(|error| usage(&error, &command, words))?;
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
        let room = args.head_max.saturating_sub(BESIDE_TARGET_LENGTH_MIN);
        args.target_max = args.target_max.min(room);
    }
    let mut settings = settings(args, asked, inherited_socket_count);
    settings.sites[0].root_fallback = is_default("root").then(|| PathBuf::from(ROOT_FALLBACK));
    if let Some(line) = conflict(&settings) {
        return Err(Usage::Wrong(match file {
            Some(file) => file.located(line, is_from_file),
            None => line,
        }));
    }
    let values = effective::of(&matches, &unparsed, file);
    Ok(Configured { settings, values })
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
            connections_max: args.connections,
            address_share_percent: args.address_share,
            target_length_max: args.target_max,
            head_length_max: args.head_max,
            field_count_max: args.fields_max,
            body_length_max: args.body_max,
            send_rate_min: args.send_rate_min,
        },
        trusted_proxies: args.trusted_proxy.into_iter().flatten().collect(),
        timeouts,
        grace: args.grace,
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
        head: args.head_timeout,
        body: args.body_timeout,
        idle: args.idle_timeout,
        disk: args.disk_timeout,
        send: args.send_timeout,
        linger: args.linger_timeout,
        linger_total: args.linger_time,
    }
}

/// The first conflict between values, as one line.
fn conflict(settings: &Settings) -> Option<String> {
    listen_conflict(&settings.listen)
        .or_else(|| socket_conflict(&settings.socket_access, &settings.listen))
        .or_else(|| status_conflict(settings.status, &settings.listen))
        .or_else(|| index_conflict(&settings.sites[0].policy.naming.index))
        .or_else(|| type_conflict(&settings.sites[0].policy.naming.media_types))
        .or_else(|| map_conflict(&settings.cache))
        .or_else(|| head_conflict(&settings.limits))
}

fn listen_conflict(listen: &[ListenAddress]) -> Option<String> {
    if listen.len() > LISTEN_COUNT_MAX {
        return Some(format!(
            "--listen: at most {LISTEN_COUNT_MAX} addresses can be given"
        ));
    }
    let mut pairs = listen
        .iter()
        .enumerate()
        .flat_map(|(index, one)| listen[index + 1..].iter().map(move |other| (one, other)));
    let (one, other) = pairs.find(|(one, other)| is_overlap(one, other))?;
    let (one, other) = (Written(one), Written(other));
    Some(if one.0 == other.0 {
        format!("--listen: {one} is given twice")
    } else {
        format!("--listen: {one} and {other} overlap; [::] takes IPv4 too: leave one of them out")
    })
}

/// Access to Unix sockets without any Unix socket is probably a mistake.
fn socket_conflict(access: &SocketAccess, listen: &[ListenAddress]) -> Option<String> {
    let is_unix = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
    let flag = match access {
        _ if listen.iter().any(is_unix) => return None,
        SocketAccess { mode: Some(_), .. } => "--socket-mode",
        SocketAccess { group: Some(_), .. } => "--socket-group",
        _ => return None,
    };
    Some(format!("{flag}: there is no unix:PATH in --listen"))
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

fn status_conflict(status: StatusAccess, listen: &[ListenAddress]) -> Option<String> {
    let StatusAccess::Listener(address) = status else {
        return None;
    };
    let wanted = ListenAddress::Tcp(address);
    let taken = Written(listen.iter().find(|taken| is_overlap(taken, &wanted))?);
    Some(format!(
        "--status: {address} is in use by --listen {taken}; choose another port"
    ))
}

fn index_conflict(index: &[String]) -> Option<String> {
    if index.len() > INDEX_COUNT_MAX {
        return Some(format!(
            "--index: at most {INDEX_COUNT_MAX} names can be given"
        ));
    }
    let mut names = index.iter().enumerate();
    let (_, name) = names.find(|(place, name)| index[..*place].contains(name))?;
    Some(format!("--index: {} is given twice", error::quote(name)))
}

fn type_conflict(types: &MediaTypes) -> Option<String> {
    let own = &types.own;
    if own.len() > TYPE_COUNT_MAX {
        return Some(format!("--type: at most {TYPE_COUNT_MAX} can be given"));
    }
    let name = |index: usize| own[index].extension.to_ascii_lowercase();
    let twice =
        (0..own.len()).find(|index| (0..*index).any(|other| name(other) == name(*index)))?;
    Some(format!(
        "--type: {} is given twice",
        error::quote(&name(twice))
    ))
}

/// The longest cached file must fit into the cache, unless the cache is disabled.
fn map_conflict(cache: &CacheBudget) -> Option<String> {
    let is_none_mapped = cache.map_bytes_max == 0;
    if is_none_mapped || cache.map_file_length_max <= cache.map_bytes_max {
        return None;
    }
    let longest = exact_bytes(cache.map_file_length_max);
    let room = exact_bytes(cache.map_bytes_max);
    Some(format!(
        "--map-max: {longest} does not fit into --map-cache {room}; write at most {room}"
    ))
}

/// A head must have room for the longest target, or 414 could never occur.
fn head_conflict(limits: &Limits) -> Option<String> {
    let needed = limits.target_length_max + BESIDE_TARGET_LENGTH_MIN;
    if limits.head_length_max >= needed {
        return None;
    }
    let head = render_length(limits.head_length_max);
    let target = render_length(limits.target_length_max);
    let needed = render_length(needed);
    Some(format!(
        "--head-max: {head} is too short for --target-max {target}; write at least {needed}"
    ))
}

fn render_length(bytes: usize) -> String {
    // `usize` fits into `u64` on all Linux targets.
    exact_bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
}
