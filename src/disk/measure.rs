//! Measures memory limits and usage: /proc, control groups, `getrlimit(2)`.
//!
//! The kernel generates these files when they are read: about 20 µs for all, and it may take locks. So a job
//! reads them once the loop runs.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Resource;

use crate::memory::limits::{self, Groups, Limit, LimitSource};
use crate::memory::measured::{Measured, MemoryFiles};

impl MemoryFiles {
    /// Finds the control groups of this process.
    pub(crate) fn find() -> MemoryFiles {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        MemoryFiles {
            groups: limits::groups(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo")),
        }
    }

    /// The memory pressure file of the innermost control group that has one, else of the machine.
    pub(crate) fn pressure_files(&self) -> Vec<PathBuf> {
        let own = self
            .groups
            .iter()
            .flat_map(|groups| groups.directories.first());
        own.map(|directory| directory.join("memory.pressure"))
            .chain([PathBuf::from("/proc/pressure/memory")])
            .collect()
    }

    /// Measures.
    ///
    /// # Blocking
    /// Reads files that the kernel generates.
    pub(crate) fn measure(&self) -> Measured {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let machine = limits::machine_memory(&meminfo);
        let of_machine = machine.map(|(bytes, _)| Limit {
            bytes,
            source: LimitSource::Machine,
        });
        let in_group = self.groups.as_ref().and_then(group_limit);
        let process = [
            (Resource::As, LimitSource::AddressSpace),
            (Resource::Data, LimitSource::Data),
        ];
        let process = process.into_iter().filter_map(|(resource, source)| {
            let bytes = rustix::process::getrlimit(resource).current?;
            Some(Limit { bytes, source })
        });
        let of_group = in_group.as_ref().map(|(limit, _)| *limit);
        let limit = Limit::smallest(of_machine.into_iter().chain(of_group).chain(process));
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let page_length = rustix::param::page_size() as u64;
        let unreclaimable = match (&self.groups, in_group) {
            (Some(groups), Some((_, directory))) if limit.source == LimitSource::ControlGroup => {
                unreclaimable(groups, directory)
            }
            _ => None,
        };
        Measured {
            limit,
            machine,
            resident: limits::resident(&statm, page_length).unwrap_or_default(),
            unreclaimable,
        }
    }
}

/// The smallest limit of all groups, and the directory of its group.
fn group_limit(groups: &Groups) -> Option<(Limit, &Path)> {
    let files = groups.directories.iter().flat_map(|directory| {
        let of = move |file: &&str| Some((read_limit(&directory.join(file))?, directory.as_path()));
        groups.version.limit_files().iter().filter_map(of)
    });
    let (bytes, directory) = files.min_by_key(|(bytes, _)| *bytes)?;
    let limit = Limit {
        bytes,
        source: LimitSource::ControlGroup,
    };
    Some((limit, directory))
}

fn read_limit(path: &Path) -> Option<u64> {
    limits::parse_limit(&fs::read_to_string(path).ok()?)
}

fn unreclaimable(groups: &Groups, directory: &Path) -> Option<u64> {
    let usage = read_limit(&directory.join(groups.version.usage_file()))?;
    let stat = fs::read_to_string(directory.join("memory.stat")).ok()?;
    Some(limits::unreclaimable(groups.version, usage, &stat))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::limits::Version;

    fn write(directory: &Path, file: &str, text: &str) {
        fs::create_dir_all(directory).expect("a directory");
        fs::write(directory.join(file), text).expect("a file");
    }

    /// Versions 1 and 2 with made-up files, whichever this machine has.
    #[test]
    fn the_smallest_limit_of_all_groups_counts_and_its_group_is_measured() {
        let root = tempfile::tempdir().expect("a directory");
        let (top, middle, own) = (
            root.path().to_owned(),
            root.path().join("a"),
            root.path().join("a/b"),
        );
        write(&own, "memory.max", "max\n");
        write(&own, "memory.high", "4194304\n");
        write(&own, "memory.current", "1\n");
        write(&middle, "memory.max", "1048576\n");
        write(&middle, "memory.current", "700000\n");
        write(
            &middle,
            "memory.stat",
            "inactive_file 100000\nslab_reclaimable 50000\n",
        );
        let places = MemoryFiles {
            groups: Some(Groups {
                version: Version::Two,
                directories: vec![own.clone(), middle.clone(), top],
            }),
        };
        let measured = places.measure();
        let limit = |bytes| Limit {
            bytes,
            source: LimitSource::ControlGroup,
        };
        assert_eq!(measured.limit, limit(1 << 20));
        assert_eq!(measured.unreclaimable, Some(550_000));
        assert!(measured.resident.all >= measured.resident.own && measured.resident.own > 0);
        assert_eq!(places.pressure_files()[0], own.join("memory.pressure"));
        // The limit shrinks while the process runs: now another group has the smallest.
        write(&own, "memory.high", "524288\n");
        assert_eq!(places.measure().limit, limit(512 << 10));
        write(&own, "memory.high", "max\n");
        write(&middle, "memory.max", "max\n");
        assert_ne!(places.measure().limit.source, LimitSource::ControlGroup);
    }

    #[test]
    fn this_machine_has_a_limit() {
        let measured = MemoryFiles::find().measure();
        let (machine, available) = measured.machine.expect("MemTotal");
        assert!(available <= machine);
        assert!(
            measured.limit.bytes <= machine && measured.limit.bytes > 0,
            "{measured:?}"
        );
    }
}
