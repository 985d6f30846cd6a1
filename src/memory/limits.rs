//! How much memory there is: the limits of the machine, of control groups (v1 and v2) and of the process.
//!
//! Texts of /proc and /sys come in, paths to look at and numbers go out. cgroups(7), proc_pid_mountinfo(5),
//! Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux.

use std::path::{Component, Path, PathBuf};

/// What sets a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LimitSource {
    /// The memory of the machine.
    Machine,
    /// A control group that the process is in.
    ControlGroup,
    /// `RLIMIT_AS`.
    AddressSpace,
    /// `RLIMIT_DATA`.
    Data,
}

impl LimitSource {
    /// Its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            LimitSource::Machine => "machine",
            LimitSource::ControlGroup => "cgroup",
            LimitSource::AddressSpace => "RLIMIT_AS",
            LimitSource::Data => "RLIMIT_DATA",
        }
    }
}

/// A limit on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// In bytes.
    pub bytes: u64,
    /// What sets it.
    pub source: LimitSource,
}

impl Limit {
    /// The smallest of some limits; none at all counts as the whole of the address space.
    pub(crate) fn smallest(limits: impl IntoIterator<Item = Limit>) -> Limit {
        let none = Limit {
            bytes: u64::MAX,
            source: LimitSource::Machine,
        };
        limits
            .into_iter()
            .fold(none, |least, limit| match limit.bytes < least.bytes {
                true => limit,
                false => least,
            })
    }
}

/// The version of the interface of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// A hierarchy of the memory controller alone.
    One,
    /// The unified hierarchy.
    Two,
}

impl Version {
    /// Files with a limit in the directory of a group.
    pub(crate) fn limit_files(self) -> &'static [&'static str] {
        match self {
            Version::One => &["memory.limit_in_bytes"],
            // What is above `high` is slowed down until it is given back.
            Version::Two => &["memory.max", "memory.high"],
        }
    }

    /// The file that says how much is charged to a group.
    pub(crate) fn usage_file(self) -> &'static str {
        match self {
            Version::One => "memory.usage_in_bytes",
            Version::Two => "memory.current",
        }
    }
}

/// The directories of the groups that a process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    /// The interface of their files.
    pub version: Version,
    /// Its own group first, then those that this one is in, as far as they are visible.
    pub directories: Vec<PathBuf>,
}

/// The groups that account for the memory of a process: what `/proc/self/cgroup` says of it, found at the
/// mount points of `/proc/self/mountinfo`. `None` where no controller of memory is mounted.
///
/// A hierarchy of version 1 that has the controller is preferred: version 2 has it only if no other has.
pub(crate) fn groups(cgroup: &str, mountinfo: &str) -> Option<Groups> {
    let of_version = |version| {
        let path = cgroup.lines().find_map(|line| group_path(line, version))?;
        let mount = mountinfo.lines().find_map(|line| mount(line, version))?;
        Some(Groups {
            version,
            directories: directories(&mount, path),
        })
    };
    of_version(Version::One).or_else(|| of_version(Version::Two))
}

/// The path of a line `hierarchy:controllers:path`, if it is the hierarchy that is meant.
fn group_path(line: &str, version: Version) -> Option<&Path> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let is_meant = match version {
        Version::One => controllers.split(',').any(|name| name == "memory"),
        Version::Two => controllers.is_empty(),
    };
    is_meant.then(|| Path::new(path))
}

/// Where a hierarchy is mounted, and which of its directories.
struct Mount {
    root: PathBuf,
    point: PathBuf,
}

/// `36 35 98:0 ROOT POINT options … - TYPE source OPTIONS`
fn mount(line: &str, version: Version) -> Option<Mount> {
    let (place, file_system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut file_system = file_system.split(' ');
    let kind = file_system.next()?;
    let is_meant = match version {
        Version::One => {
            let mut options = file_system.nth(1)?.split(',');
            kind == "cgroup" && options.any(|name| name == "memory")
        }
        Version::Two => kind == "cgroup2",
    };
    is_meant.then(|| Mount {
        root: unescape(root),
        point: unescape(point),
    })
}

/// Blanks in paths are written as `\040` and the like.
fn unescape(text: &str) -> PathBuf {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let text = escapes
        .into_iter()
        .fold(text.to_owned(), |text, (written, meant)| {
            text.replace(written, meant)
        });
    PathBuf::from(text)
}

/// The directory of a group and all above it, up to the mount point. A group that lies outside of what is
/// mounted, as in a container that sees only its own part, is the mount point itself.
fn directories(mount: &Mount, path: &Path) -> Vec<PathBuf> {
    let is_outside = path.components().any(|part| part == Component::ParentDir);
    let below = match path.strip_prefix(&mount.root) {
        Ok(below) if !is_outside => below,
        _ => Path::new(""),
    };
    below
        .ancestors()
        .map(|ancestor| mount.point.join(ancestor))
        .map(|directory| directory.components().collect())
        .collect()
}

/// What a file with a limit says. `None`: there is none. Version 1 writes the largest multiple of a page for
/// that, which is more than any machine has.
pub(crate) fn parse_limit(text: &str) -> Option<u64> {
    let bytes: u64 = text.trim_ascii().parse().ok()?;
    (bytes < 1 << 60).then_some(bytes)
}

/// The value of a line `name value` in bytes.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix([' ', ':'])?;
        value.split_whitespace().next()?.parse().ok()
    })
}

/// `MemTotal` and `MemAvailable` of `/proc/meminfo`, in bytes.
pub(crate) fn machine_memory(meminfo: &str) -> Option<(u64, u64)> {
    let bytes = |name| Some(field(meminfo, name)? << 10);
    Some((bytes("MemTotal")?, bytes("MemAvailable")?))
}

/// Bytes charged to a group that the kernel cannot take back: of what is charged, its pages of files and its
/// caches of names and inodes.
pub(crate) fn unreclaimable(version: Version, usage: u64, stat: &str) -> u64 {
    let sum = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| field(stat, name))
            .sum::<u64>()
    };
    match version {
        // Memory of the kernel is not divided there.
        Version::One => sum(&["total_rss"]).min(usage),
        Version::Two => {
            usage.saturating_sub(sum(&["inactive_file", "active_file", "slab_reclaimable"]))
        }
    }
}

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resident {
    /// All of it, pages of files that others may use as well included.
    pub all: u64,
    /// What belongs to this process alone.
    pub own: u64,
}

/// What `/proc/self/statm` says, in pages of `page_length` bytes.
pub(crate) fn resident(statm: &str, page_length: u64) -> Option<Resident> {
    let mut pages = statm.split_whitespace().skip(1);
    let mut next = || pages.next()?.parse::<u64>().ok();
    let (all, shared) = (next()?, next()?);
    Some(Resident {
        all: all * page_length,
        own: all.saturating_sub(shared) * page_length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "\
25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw
32 31 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:11 - cgroup cgroup rw,cpu
36 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:15 - cgroup cgroup rw,memory
41 31 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    const V2_MOUNTS: &str = "\
25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw
35 25 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate";
    const V1_IN_DOCKER: &str = "\
36 31 0:32 /docker/0af3 /sys/fs/cgroup/memory ro,relatime master:15 - cgroup cgroup rw,memory";

    /// A version and directories.
    type Found = Option<(Version, &'static [&'static str])>;

    #[test]
    fn groups_are_found_where_they_are_mounted() {
        #[rustfmt::skip]
        let cases: &[(&str, &str, Found, &str)] = &[
            ("0::/system.slice/spede.service\n", V2_MOUNTS,
             Some((Version::Two, &["/sys/fs/cgroup/system.slice/spede.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"])),
             "version 2, all groups up to the root"),
            ("0::/\n", V2_MOUNTS, Some((Version::Two, &["/sys/fs/cgroup"])), "a name space of its own"),
            ("0::/../../other\n", V2_MOUNTS, Some((Version::Two, &["/sys/fs/cgroup"])), "outside of the name space"),
            ("4:memory:/a/b\n1:cpu:/c\n0::/d\n", V1_MOUNTS,
             Some((Version::One, &["/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"])),
             "hybrid: the controller is in version 1"),
            ("9:cpu,memory:/docker/0af3\n", V1_IN_DOCKER, Some((Version::One, &["/sys/fs/cgroup/memory"])),
             "a container sees its own part, by the name that it has outside"),
            ("9:cpu,memory:/elsewhere\n", V1_IN_DOCKER, Some((Version::One, &["/sys/fs/cgroup/memory"])),
             "a group that is not mounted"),
            ("0::/a:b\n", "35 25 0:30 / /mnt/with\\040blank rw - cgroup2 none rw",
             Some((Version::Two, &["/mnt/with blank/a:b", "/mnt/with blank"])), "a colon and a blank in paths"),
            ("1:cpu:/c\n", V1_MOUNTS, None, "nothing accounts for memory"),
            ("0::/\n", "", None, "nothing is mounted"),
            ("garbage\n", V2_MOUNTS, None, "not what the kernel writes"),
        ];
        for (cgroup, mounts, want, because) in cases {
            let want = want.map(|(version, directories)| Groups {
                version,
                directories: directories.iter().map(PathBuf::from).collect(),
            });
            assert_eq!(groups(cgroup, mounts), want, "{because}");
        }
    }

    #[test]
    fn no_limit_is_written_in_many_ways() {
        #[rustfmt::skip]
        let cases = [
            ("134217728\n",           Some(128 << 20), "a limit"),
            ("0\n",                   Some(0),         "nothing at all"),
            ("max\n",                 None,            "version 2"),
            ("9223372036854771712\n", None,            "version 1"),
            ("",                      None,            "an empty file"),
        ];
        for (text, want, because) in cases {
            assert_eq!(parse_limit(text), want, "{text:?}: {because}");
        }
    }

    #[test]
    fn the_smallest_limit_counts() {
        let limit = |bytes, source| Limit { bytes, source };
        let machine = limit(24 << 30, LimitSource::Machine);
        let group = limit(128 << 20, LimitSource::ControlGroup);
        assert_eq!(Limit::smallest([machine, group]), group);
        assert_eq!(Limit::smallest([machine]), machine);
        assert_eq!(Limit::smallest([]).bytes, u64::MAX);
    }

    #[test]
    fn what_the_kernel_can_take_back_is_not_counted() {
        let two =
            "anon 100\nfile 50\nkernel 40\ninactive_file 20\nactive_file 25\nslab_reclaimable 30\n";
        assert_eq!(unreclaimable(Version::Two, 190, two), 115);
        assert_eq!(unreclaimable(Version::Two, 190, "garbage"), 190);
        let one = "rss 1\ntotal_cache 50\ntotal_rss 100\ntotal_rss_huge 7\n";
        assert_eq!(unreclaimable(Version::One, 190, one), 100);
    }

    #[test]
    fn numbers_of_proc_are_read() {
        let meminfo = "MemTotal:       24684092 kB\nMemFree:   1 kB\nMemAvailable:   18987868 kB\n";
        let want = (24_684_092 << 10, 18_987_868 << 10);
        assert_eq!(machine_memory(meminfo), Some(want));
        assert_eq!(machine_memory("MemTotalX: 1 kB\n"), None);
        let want = Resident {
            all: 300 * 4_096,
            own: 100 * 4_096,
        };
        assert_eq!(resident("1000 300 200 5 0 60 0\n", 4_096), Some(want));
        assert_eq!(resident("1000", 4_096), None);
    }
}
