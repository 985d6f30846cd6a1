//! Tests of the command line: accepted values, refused ones, and the messages.

#![allow(clippy::unwrap_used)]

mod environment;
mod path_rules;
mod refusals;
mod rules;
mod sites;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::conn::ServerTiming;
use crate::settings::{
    AccessLog, AccessRules, AllowedOrigins, Charset, Directories, DotFiles, EngineChoice,
    EntityTags, FieldRules, Immutable, LogFormat, MapLock, MediaTypes, Naming, Network, Origin,
    PathRules, Policy, RangeLimits, ResponseField, SecurityFields, SiteSettings, TypeOverride,
};
use crate::simulate::LogSource;

/// The command line without the environment of the tester.
fn hermetic() -> Command {
    command::command().mut_args(|argument| argument.env(None::<&str>))
}

fn read_words(words: &[OsString]) -> Result<Settings, Usage> {
    let all = [OsString::from("spede")]
        .into_iter()
        .chain(words.iter().cloned());
    let all: Vec<OsString> = all.collect();
    parse_with(hermetic(), &all, 0).map(|configured| configured.settings)
}

fn read(words: &[&str]) -> Result<Settings, Usage> {
    read_words(&words.iter().map(OsString::from).collect::<Vec<_>>())
}

fn settings_of(words: &[&str]) -> Settings {
    read(words).unwrap_or_else(|usage| panic!("{words:?}: {usage:?}"))
}

/// The error message for these words.
fn refusal_of(words: &[&str]) -> String {
    match read(words) {
        Err(Usage::Wrong(line)) => line,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn help_of(flag: &str) -> String {
    match read(&[flag]) {
        Err(Usage::Help(text)) => text,
        other => panic!("{flag}: {other:?}"),
    }
}

fn tcp(address: &str) -> ListenAddress {
    ListenAddress::Tcp(address.parse().unwrap())
}

fn unix(path: &str) -> ListenAddress {
    ListenAddress::Unix(PathBuf::from(path))
}

#[test]
fn clap_finds_nothing_wrong_with_the_definitions() {
    command::command().debug_assert();
}

/// The site that no word describes.
fn default_site() -> SiteSettings {
    SiteSettings {
        hosts: Vec::new(),
        root: PathBuf::from("www"),
        root_fallback: Some(PathBuf::from(".")),
        policy: Policy {
            naming: Naming {
                index: vec!["index.html".to_owned()],
                dot_files: DotFiles::Refused,
                directories: Directories::Hidden,
                media_types: MediaTypes::default(),
            },
            paths: PathRules::default(),
            fields: FieldRules::default(),
            access: AccessRules::default(),
            entity_tags: EntityTags::File,
            ranges: RangeLimits { count_max: 256 },
            revalidate: Duration::from_secs(1),
        },
    }
}

#[test]
fn without_words_the_defaults_are_the_documented_ones() {
    let want = Settings {
        configuration: None,
        sites: vec![default_site()],
        inherited_socket_count: 0,
        listen: vec![tcp("127.0.0.1:8080")],
        socket_access: SocketAccess::default(),
        engine: EngineChoice::Auto,
        disk_depth: 64,
        disk_queue: 4_096,
        map_lock: MapLock::Off,
        cache: CacheBudget {
            map_bytes_max: 256 << 20,
            map_file_length_max: parse_map_max_default(),
            map_count_max: 32_768,
            path_count_max: 65_536,
            descriptor_count_max: None,
            watched_directory_count_max: 16_384,
            revalidate: Duration::from_secs(1),
        },
        asked: ConfiguredSizes::default(),
        stale: Duration::from_secs(60),
        recheck: Duration::from_secs(10),
        warm: Vec::new(),
        cache_state: None,
        limits: Limits {
            connections_max: None,
            address_share_percent: 25,
            target_length_max: 8 << 10,
            head_length_max: 16 << 10,
            field_count_max: 100,
            body_length_max: 1 << 20,
            send_rate_min: 0,
        },
        trusted_proxies: vec![
            Network::new("127.0.0.0".parse().unwrap(), 8),
            Network::new("::1".parse().unwrap(), 128),
        ],
        timeouts: Timeouts {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            disk: Duration::from_secs(30),
            send: Duration::from_secs(60),
            linger: Duration::from_secs(5),
            linger_total: Duration::from_secs(30),
        },
        grace: Duration::from_secs(30),
        access_log: AccessLog::Terminal,
        log_format: LogFormat::Combined,
        server_timing: ServerTiming::Hidden,
        status: StatusAccess::Loopback,
    };
    assert_eq!(settings_of(&[]), want);
}

/// The default was found by measurement, so it is defined in one place only.
fn parse_map_max_default() -> u64 {
    units::parse_size(args::MAP_FILE_LENGTH_DEFAULT).unwrap()
}

fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

/// The site of words that set everything.
fn site_of_each_flag() -> SiteSettings {
    SiteSettings {
        hosts: Vec::new(),
        root: PathBuf::from("/srv/www"),
        root_fallback: None,
        policy: Policy {
            naming: Naming {
                index: vec!["a.htm".to_owned(), "b.htm".to_owned()],
                dot_files: DotFiles::Served,
                directories: Directories::Listed,
                media_types: MediaTypes {
                    charset: Charset::Named("Shift_JIS".to_owned()),
                    own: vec![TypeOverride {
                        extension: "ts".to_owned(),
                        media_type: "text/plain".to_owned(),
                    }],
                },
            },
            paths: PathRules::default(),
            fields: FieldRules {
                immutable: Immutable::Off,
                security: SecurityFields::On,
                cors: AllowedOrigins::new(&["https://a", "https://b", "https://c"].map(origin)),
                headers: vec![
                    ResponseField::new("X-A", "b,c").unwrap(),
                    ResponseField::new("X-D", "e").unwrap(),
                ],
                rules: Vec::new(),
            },
            access: AccessRules::default(),
            entity_tags: EntityTags::Mirror,
            ranges: RangeLimits { count_max: 0 },
            revalidate: Duration::ZERO,
        },
    }
}

#[test]
fn each_flag_sets_what_it_names() {
    #[rustfmt::skip]
    let settings = settings_of(&[
        "--listen", "[::1]:81", "-l82", "-l", "unix:a", "--socket-mode", "0660", "--socket-group", "www-data", "--index=a.htm", "--index", "b.htm", "--dotfiles", "serve",
        "--memory", "64MiB", "--map-cache", "1GiB", "--map-max", "1MiB", "--map-count", "3", "--path-cache", "4",
        "--descriptors", "5", "--watch-directories", "9", "--revalidate", "0", "--stale", "5", "--recheck", "7", "--disk", "uring", "--disk-depth", "7", "--connections", "6",
        "--warm", "list", "--warm", "/srv/www/a,b", "--cache-state", "/var/lib/state", "--disk-queue", "8", "--disk-timeout", "250ms", "--lock", "--directories", "list", "--entity-tags", "mirror", "--charset", "Shift_JIS", "--type", ".ts=text/plain",
        "--header", "X-A: b,c", "--header", "X-D: e", "--security-fields", "--cors", "https://a,https://b", "--cors=https://c", "--immutable", "off",
        "--target-max", "2000", "--head-max", "4000", "--fields-max", "256", "--body-max", "0",
        "--ranges-max", "0", "--head-timeout", "1", "--body-timeout", "2s",
        "--idle-timeout", "3m", "--send-timeout", "4h", "--send-rate-min", "1K", "--address-share", "40", "--trusted-proxy", "10.0.0.1", "--linger-timeout", "0", "--linger-time", "7",
        "--grace", "1.5", "--access-log", "-", "--access-log-format", "json", "--server-timing", "--status", "9000", "/srv/www",
    ]);
    let want = Settings {
        configuration: None,
        sites: vec![site_of_each_flag()],
        inherited_socket_count: 0,
        listen: vec![tcp("[::1]:81"), tcp("127.0.0.1:82"), unix("a")],
        socket_access: SocketAccess {
            mode: Some(0o660),
            group: Some("www-data".to_owned()),
        },
        engine: EngineChoice::Uring,
        disk_depth: 7,
        disk_queue: 8,
        map_lock: MapLock::On,
        cache: CacheBudget {
            map_bytes_max: 1 << 30,
            map_file_length_max: 1 << 20,
            map_count_max: 3,
            path_count_max: 4,
            descriptor_count_max: Some(5),
            watched_directory_count_max: 9,
            revalidate: Duration::ZERO,
        },
        asked: ConfiguredSizes {
            memory_bytes_max: Some(64 << 20),
            map_bytes_max: Some(1 << 30),
            path_count_max: Some(4),
        },
        stale: Duration::from_secs(5),
        recheck: Duration::from_secs(7),
        warm: vec![PathBuf::from("list"), PathBuf::from("/srv/www/a,b")],
        cache_state: Some(PathBuf::from("/var/lib/state")),
        limits: Limits {
            connections_max: Some(6),
            address_share_percent: 40,
            target_length_max: 2_000,
            head_length_max: 4_000,
            field_count_max: 256,
            body_length_max: 0,
            send_rate_min: 1_024,
        },
        trusted_proxies: vec![Network::new("10.0.0.1".parse().unwrap(), 32)],
        timeouts: Timeouts {
            head: Duration::from_secs(1),
            body: Duration::from_secs(2),
            idle: Duration::from_secs(180),
            disk: Duration::from_millis(250),
            send: Duration::from_secs(14_400),
            linger: Duration::ZERO,
            linger_total: Duration::from_secs(7),
        },
        grace: Duration::from_millis(1_500),
        access_log: AccessLog::StandardOutput,
        log_format: LogFormat::Json,
        server_timing: ServerTiming::Shown,
        status: StatusAccess::Listener("127.0.0.1:9000".parse().unwrap()),
    };
    assert_eq!(settings, want);
}

#[test]
fn an_address_is_read_in_every_form() {
    #[rustfmt::skip]
    let cases = [
        ("127.0.0.1:8080",       tcp("127.0.0.1:8080"),   "IPv4"),
        ("0.0.0.0:80",           tcp("0.0.0.0:80"),       "every IPv4 address"),
        ("[::]:80",              tcp("[::]:80"),          "every address"),
        ("[::1]:0",              tcp("[::1]:0"),          "the kernel chooses"),
        ("[fe80::1%2]:80",       tcp("[fe80::1%2]:80"),   "on the second interface"),
        ("[::ffff:10.0.0.1]:80", tcp("10.0.0.1:80"),      "IPv4 in the clothes of IPv6"),
        (":8080",                tcp("[::]:8080"),        "every address, short"),
        ("8080",                 tcp("127.0.0.1:8080"),   "loopback, short"),
        ("0",                    tcp("127.0.0.1:0"),      "loopback, the kernel chooses"),
        ("localhost:8080",       tcp("127.0.0.1:8080"),   "the one name that is known"),
        ("LocalHost:8080",       tcp("127.0.0.1:8080"),   "names have no case"),
        ("unix:/run/spede.sock", unix("/run/spede.sock"), "a path"),
        ("unix:spede:1",         unix("spede:1"),         "a relative path with a colon"),
    ];
    for (text, want, because) in cases {
        assert_eq!(
            settings_of(&["-l", text]).listen,
            [want],
            "{text}: {because}"
        );
    }
    let listed = settings_of(&["-l", ":80,unix:a", "-l", "[::1]:81"]).listen;
    assert_eq!(
        listed,
        [tcp("[::]:80"), unix("a"), tcp("[::1]:81")],
        "lists take commas"
    );
}

#[test]
fn paths_need_not_be_text() {
    let odd = |prefix: &str| OsString::from_vec([prefix.as_bytes(), b"\xff"].concat());
    let words = [
        odd("/srv/"),
        odd("--listen=unix:/run/"),
        odd("--access-log=/var/log/"),
    ];
    let settings = read_words(&words).unwrap();
    assert_eq!(settings.sites[0].root, PathBuf::from(odd("/srv/")));
    assert_eq!(settings.listen, [ListenAddress::Unix(odd("/run/").into())]);
    assert_eq!(
        settings.access_log,
        AccessLog::File(odd("/var/log/").into())
    );
}

#[test]
fn the_status_page_leaves_a_site_that_is_for_others() {
    let own = StatusAccess::DefaultListener("127.0.0.1:8081".parse().unwrap());
    #[rustfmt::skip]
    let cases: &[(&[&str], StatusAccess)] = &[
        (&[],                                             StatusAccess::Loopback),
        (&["-l", "127.0.0.2:80,[::1]:80"],                StatusAccess::Loopback),
        (&["-l", "[::ffff:127.0.0.1]:80"],                StatusAccess::Loopback),
        (&["-l", "unix:a"],                               StatusAccess::Loopback),
        (&["-l", ":80"],                                  own),
        (&["-l", "0.0.0.0:80"],                           own),
        (&["-l", "8080", "-l", "192.0.2.1:80"],           own),
        (&["-l", ":8081"],                                own),
        (&["-l", ":80", "--status", "loopback"],          StatusAccess::Loopback),
        (&["-l", ":80", "--status", "off"],               StatusAccess::Off),
    ];
    for (words, want) in cases {
        assert_eq!(
            read(words).map(|settings| settings.status),
            Ok(*want),
            "{words:?}"
        );
    }
}

#[test]
fn the_help_fits_80_columns_and_names_every_flag() {
    for help in [help_of("-h"), help_of("--help")] {
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
            assert_eq!(line, line.trim_end(), "blanks at the end");
        }
        for argument in hermetic().get_arguments() {
            let name = argument
                .get_long()
                .map_or("[ROOT]".to_owned(), |long| format!("--{long}"));
            assert!(help.contains(&name), "{name}");
        }
        let headings = [
            "What to serve:",
            "Caches:",
            "Disk:",
            "Limits:",
            "Time-outs:",
            "Observation:",
        ];
        let places = headings.map(|heading| help.find(heading).expect(heading));
        assert!(places.is_sorted(), "{places:?}");
        assert!(
            !help.contains("\nOptions:") && !help.contains("\nArguments:"),
            "no heading"
        );
    }
    assert!(
        help_of("-h").len() * 2 < help_of("--help").len(),
        "the reasons are in the long one"
    );
}

#[test]
fn the_version_is_that_of_the_package() {
    let want = format!("spede {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(read(&["-V"]), Err(Usage::Version(want.clone())));
    assert_eq!(read(&["--version"]), Err(Usage::Version(want)));
}

#[test]
fn only_the_first_word_makes_a_simulation() {
    let task = |words: &[&str]| parse(["spede"].iter().chain(words).map(OsString::from));
    let Ok(Task::Simulate(settings)) = task(&["simulate", "-", "a", "--map-cache", "1K,2K"]) else {
        panic!("no simulation");
    };
    let logs = [LogSource::StandardInput, LogSource::File("a".into())];
    assert_eq!(settings.logs, logs);
    assert_eq!(settings.map_sizes, [1_024, 2_048]);
    for words in [
        &["./simulate"][..],
        &["-l", "81", "simulate"],
        &["--", "simulate"],
    ] {
        assert!(matches!(task(words), Ok(Task::Serve(_))), "{words:?}");
    }
    let refused: [(&[&str], &str); 4] = [
        (&[], "ACCESS_LOG: name at least one access log"),
        (&["-", "-"], "ACCESS_LOG: - is given twice"),
        (
            &["a", "--path-cache", "0"],
            "--path-cache: '0' is not a whole number",
        ),
        (
            &["a", "--plot"],
            "--plot: needs a value; see spede simulate --help",
        ),
    ];
    for (words, want) in refused {
        let words = [&["simulate"][..], words].concat();
        match task(&words) {
            Err(Usage::Wrong(line)) => assert!(line.starts_with(want), "{line}"),
            other => panic!("{words:?}: {other:?}"),
        }
    }
}

proptest! {
    /// For any words: settings, help, or one line of error.
    #[test]
    fn any_words_are_parsed_or_refused(words in prop::collection::vec(odd_word(), 0..4)) {
        if let Err(Usage::Wrong(line)) = read_words(&words) {
            prop_assert!(!line.is_empty() && !line.contains(char::is_control), "{:?}", line);
        }
    }
}

/// Known flags, near misses and arbitrary bytes.
fn odd_word() -> impl Strategy<Value = OsString> {
    let flags: Vec<String> = hermetic()
        .get_arguments()
        .map(|one| format!("--{}", one.get_id()))
        .collect();
    let flag = prop::sample::select(flags).prop_map(|flag| flag.replace('_', "-"));
    let bytes = prop::collection::vec(1..=u8::MAX, 0..12).prop_map(OsString::from_vec);
    prop_oneof![
        flag.clone().prop_map(OsString::from),
        bytes.clone(),
        (flag, bytes).prop_map(|(flag, value)| {
            let mut word = OsString::from(flag + "=");
            word.push(value);
            word
        }),
        "-{0,2}[a-z0-9.:/=]{0,8}".prop_map(OsString::from),
    ]
}

#[test]
fn inherited_sockets_take_the_place_of_the_default_address() {
    let listen = |words: &[&str]| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let configured = parse_with(hermetic(), &words, 1).unwrap();
        configured.settings.listen
    };
    assert_eq!(listen(&["spede"]), []);
    assert_eq!(listen(&["spede", "-l", "9000"]).len(), 1);
}
