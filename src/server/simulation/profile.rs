//! What differs between runs: settings, budgets, and how much goes wrong.

use std::path::Path;
use std::time::Duration;

use super::random::Random;
use crate::conn::ServerTiming;
use crate::job::ResidencyPolicy;
use crate::settings::{
    AccessLog, AccessRules, CacheBudget, ConfiguredSizes, Directories, DotFiles, EngineChoice,
    EntityTags, FieldRules, Limits, LogFormat, MapLock, MediaTypes, Naming, PathRules, Policy,
    RangeLimits, Settings, SiteSettings, SocketAccess, StatusAccess, Timeouts,
};

/// How well the storage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// Each call ends within [`CALL_MAX`].
    Healthy,
    /// Some take up to a second.
    Slow,
    /// The same, and calls fail, or hang for longer than a request waits.
    Failing,
}

/// Longest call on storage that is healthy.
pub(super) const CALL_MAX: Duration = Duration::from_millis(3);

/// What one run is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    // One field for each setting: they vary independently.
    /// Whether the kernel tells of changes.
    pub is_watched: bool,
    /// How well the storage is.
    pub storage: Storage,
    /// What may be sent.
    pub residency_policy: ResidencyPolicy,
    /// Whether the kernel says what is in the page cache.
    pub is_told_of_pages: bool,
    /// Events that may wait.
    pub event_count_max: usize,
    /// Mapped files.
    pub map_count_max: usize,
    /// Bytes of mapped files.
    pub map_bytes_max: u64,
    /// Remembered paths.
    pub path_count_max: usize,
    /// Kept descriptors.
    pub descriptor_count_max: usize,
    /// Jobs at the disk at once, and in the queue.
    pub disk: (usize, usize),
    /// `--revalidate`.
    pub revalidate: Duration,
    /// `--stale`.
    pub stale: Duration,
    /// `--recheck`.
    pub recheck: Duration,
    /// `--directories`.
    pub directories: Directories,
}

impl Profile {
    /// That of a seed.
    pub(super) fn new(random: &mut Random) -> Profile {
        let mut size = |small: u64, large: u64| {
            let end = if random.is_one_in(2) {
                small + 1
            } else {
                large
            };
            usize::try_from(random.between(small, end)).expect("a small number")
        };
        let (map_count_max, path_count_max) = (size(2, 60), size(8, 200));
        let (descriptor_count_max, map_kilobytes) = (size(2, 60), size(16, 1_024));
        let disk = (size(2, 16), size(16, 500));
        let event_count_max = size(4, 500);
        let residency_policy = match random.is_one_in(4) {
            true => ResidencyPolicy::Any,
            false => ResidencyPolicy::ResidentOnly,
        };
        Profile {
            is_watched: random.is_one_in(2),
            storage: match random.below(4) {
                0 => Storage::Healthy,
                1 => Storage::Slow,
                _ => Storage::Failing,
            },
            residency_policy,
            is_told_of_pages: !random.is_one_in(4),
            event_count_max,
            map_count_max,
            map_bytes_max: map_kilobytes as u64 * 1_024,
            path_count_max,
            descriptor_count_max,
            disk,
            revalidate: Duration::from_millis(random.between(20, 2_000)),
            stale: match random.is_one_in(2) {
                true => Duration::ZERO,
                false => Duration::from_secs(random.between(1, 20)),
            },
            recheck: match random.is_one_in(2) {
                true => Duration::ZERO,
                false => Duration::from_millis(random.between(100, 4_000)),
            },
            directories: match random.is_one_in(2) {
                true => Directories::Hidden,
                false => Directories::Listed,
            },
        }
    }

    /// The one site.
    fn site(&self, root: &Path) -> SiteSettings {
        SiteSettings {
            hosts: Vec::new(),
            root: root.to_owned(),
            root_fallback: None,
            policy: Policy {
                naming: Naming {
                    index: vec!["index.html".to_owned()],
                    dot_files: DotFiles::Refused,
                    directories: self.directories,
                    media_types: MediaTypes::default(),
                },
                paths: PathRules::default(),
                fields: FieldRules::default(),
                access: AccessRules::default(),
                entity_tags: EntityTags::File,
                ranges: RangeLimits { count_max: 16 },
                revalidate: self.revalidate,
            },
        }
    }

    /// The same as settings.
    pub(super) fn settings(&self, root: &Path) -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            configuration: None,
            sites: vec![self.site(root)],
            inherited_socket_count: 0,
            listen: Vec::new(),
            socket_access: SocketAccess::default(),
            engine: EngineChoice::Threads,
            disk_depth: self.disk.0,
            disk_queue: self.disk.1,
            map_lock: MapLock::Off,
            cache: CacheBudget {
                map_bytes_max: self.map_bytes_max,
                map_file_length_max: MAP_LENGTH_MAX as u64,
                map_count_max: self.map_count_max,
                path_count_max: self.path_count_max,
                descriptor_count_max: Some(self.descriptor_count_max),
                watched_directory_count_max: 16,
                revalidate: self.revalidate,
            },
            asked: ConfiguredSizes::default(),
            stale: self.stale,
            recheck: self.recheck,
            warm: Vec::new(),
            cache_state: None,
            limits: Limits {
                connections_max: None,
                address_share_percent: 100,
                target_length_max: 8 << 10,
                head_length_max: 16 << 10,
                field_count_max: 100,
                body_length_max: 1 << 20,
                send_rate_min: 0,
            },
            trusted_proxies: Vec::new(),
            timeouts: Timeouts {
                head: 10 * second,
                body: 30 * second,
                idle: 60 * second,
                disk: 30 * second,
                send: 60 * second,
                linger: 5 * second,
                linger_total: 30 * second,
            },
            grace: 30 * second,
            access_log: AccessLog::Off,
            log_format: LogFormat::Combined,
            server_timing: ServerTiming::Hidden,
            status: StatusAccess::Off,
        }
    }

    /// For how long the result of a look-up is answered from, by what docs/specification.md says.
    ///
    /// What is watched is as it was when the request was sent. What is polled was confirmed `--revalidate` ago at
    /// most; a request waits [`PATIENCE`] for a check that takes longer, and then is answered from what was
    /// confirmed `--stale` ago, if the storage is not healthy.
    pub(super) fn trust(&self) -> Duration {
        let stale = match self.storage {
            _ if self.is_watched || self.stale == Duration::ZERO => Duration::ZERO,
            Storage::Healthy if self.revalidate >= PATIENCE => self.revalidate + PATIENCE,
            _ => self.stale,
        };
        match self.is_watched {
            true => Duration::ZERO,
            false => self.revalidate.max(stale),
        }
    }
}

/// Longest that a request waits for a check.
const PATIENCE: Duration = Duration::from_millis(250);

/// Longest file that is mapped.
pub(super) const MAP_LENGTH_MAX: usize = 16 << 10;
