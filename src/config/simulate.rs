//! The flags of `spede simulate`: logs to replay, cache sizes, and the file for the plot.
//!
//! Settings shared with the server have the same names, defaults and variables, so a service's environment
//! file provides the current sizes.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Command, CommandFactory, FromArgMatches, Parser};

use super::args::{
    COUNT_MAX, HELP_WIDTH, INDEX_DEFAULT, MAP_BYTES_MAX, MAP_CACHE_DEFAULT, MAP_COUNT_DEFAULT,
    MAP_FILE_LENGTH_DEFAULT, PATH_CACHE_DEFAULT, REVALIDATE_DEFAULT, TIME_MAX,
    WATCH_DIRECTORIES_DEFAULT,
};
use super::command::{help, in_order};
use super::conflict::{self, SiteConflict};
use super::value::{count, dot_files, duration, index_name, path, size};
use super::{Usage, usage};
use crate::settings::{CacheBudget, DotFiles};
use crate::simulate::{LogSource, Settings};
use crate::site::media_type::MediaTypes;
use crate::site::resolve::{Directories, Naming};

/// The first argument that selects the simulation; a root of this name is `./simulate`.
pub(super) const WORD: &str = "simulate";

/// Maximum number of sizes of one cache: each is a pass over the whole log.
const SIZE_COUNT_MAX: usize = 64;
/// Without a list of sizes: the current one, and this many halvings and doublings of it.
const DOUBLINGS: u32 = 3;

const LOGS: &str = "What to replay";
const SIZES: &str = "Sizes to simulate";
const TODAY: &str = "Current settings of the server";
const OUTPUT: &str = "Output";
const HELP: &str = "Help";

const AFTER_HELP: &str = "\
Sizes: bytes, or a number with KiB, MiB or GiB. The current settings can also
come from the server's environment: --today-map-cache from SPEDE_MAP_CACHE,
--map-max from SPEDE_MAP_MAX. Exit codes: 0 done, 1 failed, 2 wrong options.

Examples:
  spede simulate access.log
  spede simulate --root /srv/www --plot hits.svg access.log.1.gz access.log
  spede simulate --map-cache 1GiB,2GiB --today-map-cache 1GiB --map-max 64KiB -";

/// Replays access logs through the caches at several sizes.
///
/// Reports the hit ratio of the file cache and of the path cache by size, in requests and in bytes.
/// The cache code is that of the server, the time is that of the log. Lines may be in common or
/// combined format, with or without a virtual host, or JSON objects; invalid lines are counted and named.
#[derive(Debug, Parser)]
#[command(name = "spede simulate", bin_name = "spede simulate", term_width = HELP_WIDTH)]
#[command(override_usage = "spede simulate [OPTIONS] ACCESS_LOG…")]
#[command(disable_help_flag = true, allow_negative_numbers = true, after_help = AFTER_HELP)]
struct Args {
    // One field per flag, as clap requires.
    /// Access logs in chronological order, plain, gzip or zstd; - is standard input.
    #[arg(value_name = "ACCESS_LOG", help_heading = LOGS)]
    logs: Vec<OsString>,

    /// The served directory, for the lengths of files.
    ///
    /// Without it the length of a file is that of its longest complete response (200) in the log.
    /// With it, an existing file has its real length.
    #[arg(long, value_name = "DIR", help_heading = LOGS, value_parser = path())]
    root: Option<PathBuf>,

    /// Sizes of the file cache [default: 1/8 to 8 times the current].
    #[arg(long, value_name = "SIZE,…", help_heading = SIZES, value_delimiter = ',')]
    #[arg(value_parser = size(0..=MAP_BYTES_MAX))]
    map_cache: Vec<u64>,

    /// Sizes of the path cache [default: 1/8 to 8 times the current].
    #[arg(long, value_name = "N,…", help_heading = SIZES, value_delimiter = ',')]
    #[arg(value_parser = count(1..=COUNT_MAX))]
    path_cache: Vec<usize>,

    /// The server's current --map-cache.
    ///
    /// It is simulated as well, and marked. Path cache sizes are simulated with this file cache.
    #[arg(long, value_name = "SIZE", env = "SPEDE_MAP_CACHE", help_heading = TODAY)]
    #[arg(value_parser = size(0..=MAP_BYTES_MAX), default_value = MAP_CACHE_DEFAULT)]
    today_map_cache: u64,

    /// The server's current --path-cache.
    ///
    /// It is simulated as well, and marked. File cache sizes are simulated with this path cache.
    #[arg(long, value_name = "N", env = "SPEDE_PATH_CACHE", help_heading = TODAY)]
    #[arg(value_parser = count(1..=COUNT_MAX), default_value = PATH_CACHE_DEFAULT)]
    today_path_cache: usize,

    /// Longest file in the file cache.
    #[arg(long, value_name = "SIZE", env = "SPEDE_MAP_MAX", help_heading = TODAY)]
    #[arg(value_parser = size(1..=MAP_BYTES_MAX), default_value = MAP_FILE_LENGTH_DEFAULT)]
    map_max: u64,

    /// Capacity of the file cache in files.
    #[arg(long, value_name = "N", env = "SPEDE_MAP_COUNT", help_heading = TODAY)]
    #[arg(value_parser = count(1..=COUNT_MAX), default_value = MAP_COUNT_DEFAULT)]
    map_count: usize,

    /// Capacity of the open-file cache [default: RLIMIT_NOFILE/4].
    #[arg(long, value_name = "N", env = "SPEDE_DESCRIPTORS", help_heading = TODAY)]
    #[arg(value_parser = count(1..=COUNT_MAX))]
    descriptors: Option<usize>,

    /// The server's --watch-directories; 0: it watches none.
    ///
    /// Watched entries are never revalidated. Use 0 for a file system without events, such as NFS.
    #[arg(long, value_name = "N", env = "SPEDE_WATCH_DIRECTORIES", help_heading = TODAY)]
    #[arg(value_parser = count(0..=COUNT_MAX), default_value = WATCH_DIRECTORIES_DEFAULT)]
    watch_directories: usize,

    /// Age at which an entry is revalidated if nothing is watched.
    #[arg(long, value_name = "SECONDS", env = "SPEDE_REVALIDATE", help_heading = TODAY)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = REVALIDATE_DEFAULT)]
    revalidate: Duration,

    /// Index file name, repeatable.
    #[arg(long, value_name = "NAME", env = "SPEDE_INDEX", help_heading = TODAY)]
    #[arg(value_parser = index_name(), value_delimiter = ',', default_value = INDEX_DEFAULT)]
    index: Vec<String>,

    /// Names that start with a dot: refuse or serve.
    #[arg(long, value_name = "WHAT", env = "SPEDE_DOTFILES", help_heading = TODAY)]
    #[arg(value_parser = dot_files(), default_value = "refuse")]
    dotfiles: DotFiles,

    /// Write a plot of hit ratio by size to this file, as SVG.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT, value_parser = path())]
    plot: Option<PathBuf>,
}

/// The clap command. Reads the environment.
pub(super) fn command() -> Command {
    Args::command()
        .mut_args(|argument| argument.hide_env(true))
        .mut_args(in_order())
        .arg(help(HELP))
}

/// Parses arguments, of which the first is the name of the program, into settings.
///
/// # Errors
/// [`Usage`], as for the server.
pub(super) fn parse_with(mut command: Command, words: &[OsString]) -> Result<Settings, Usage> {
    let parsed = command.try_get_matches_from_mut(words);
    let args = parsed
        .and_then(|matches| Args::from_arg_matches(&matches))
        .map_err(|error| usage(&error, &command, words))?;
    match conflict(&args) {
        Some(line) => Err(Usage::Wrong(line)),
        None => Ok(settings(args)),
    }
}

fn conflict(args: &Args) -> Option<String> {
    if args.logs.is_empty() {
        return Some(
            "ACCESS_LOG: name at least one access log, or - for standard input".to_owned(),
        );
    }
    let inputs = args.logs.iter().filter(|log| *log == OsStr::new("-"));
    if inputs.count() > 1 {
        return Some("ACCESS_LOG: - is given twice; standard input can be read once".to_owned());
    }
    if args.logs.iter().any(|log| log.is_empty()) {
        return Some("ACCESS_LOG: '' is not a path; name an access log".to_owned());
    }
    let lists = [
        ("--map-cache", args.map_cache.len()),
        ("--path-cache", args.path_cache.len()),
    ];
    lists
        .iter()
        .find(|(_, count)| *count > SIZE_COUNT_MAX)
        .map(|(flag, _)| format!("{flag}: at most {SIZE_COUNT_MAX} sizes can be given"))
        .or_else(|| conflict::index(&args.index).map(SiteConflict::of_option))
}

fn settings(args: Args) -> Settings {
    let source = |log: OsString| match log == OsStr::new("-") {
        true => LogSource::StandardInput,
        false => LogSource::File(PathBuf::from(log)),
    };
    let paths = args.path_cache.into_iter().map(|count| count as u64);
    Settings {
        logs: args.logs.into_iter().map(source).collect(),
        root: args.root,
        naming: Naming {
            index: args.index,
            dot_files: args.dotfiles,
            directories: Directories::Hidden,
            media_types: MediaTypes::default(),
        },
        map_sizes: or_around(args.map_cache, args.today_map_cache, MAP_BYTES_MAX),
        path_sizes: or_around(
            paths.collect(),
            args.today_path_cache as u64,
            COUNT_MAX as u64,
        ),
        today: CacheBudget {
            map_bytes_max: args.today_map_cache,
            map_file_length_max: args.map_max,
            map_count_max: args.map_count,
            path_count_max: args.today_path_cache,
            descriptor_count_max: args.descriptors,
            watched_directory_count_max: args.watch_directories,
            revalidate: args.revalidate,
        },
        plot: args.plot,
    }
}

/// The requested sizes, or halvings and doublings of the current one within the server's limits.
fn or_around(asked: Vec<u64>, today: u64, max: u64) -> Vec<u64> {
    if !asked.is_empty() {
        return asked;
    }
    let below = (1..=DOUBLINGS).map(|times| today >> times);
    let above = (1..=DOUBLINGS).map(|times| today.saturating_mul(1 << times).min(max));
    below
        .filter(|size| *size > 0)
        .chain([today])
        .chain(above)
        .collect()
}
