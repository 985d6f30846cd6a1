//! Which files that are held may be used, and which are let go of.

use super::*;
use crate::cache::entry::{Resolution, Trust};
use crate::http::status::Status;
use crate::store::probe::FakeProbe;
use crate::sys::beneath::Root;
use crate::sys::deferred_drops::DeferredDrops;
use crate::sys::file::FileTime;
use crate::sys::mapping::Mapping;

const LENGTH: usize = 8 << 10;
const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    directory: tempfile::TempDir,
    root: Root,
    contents: Contents,
    now: Now,
}

impl Fixture {
    fn new() -> Fixture {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a"), vec![b'x'; LENGTH]).expect("a file");
        let root = Root::open(directory.path(), DeferredDrops::default()).expect("a root");
        let wall = FileTime {
            seconds: 1_800_000_000,
            nanoseconds: 0,
        };
        let cache = CacheBudget {
            map_bytes_max: 1 << 20,
            map_file_length_max: 16 << 10,
            map_count_max: 10,
            path_count_max: 10,
            descriptor_count_max: None,
            watched_directory_count_max: 10,
            revalidate: SECOND,
        };
        Fixture {
            directory,
            root,
            contents: Contents::new(&cache, MapLock::Off, 10),
            now: Now::at(Instant::now(), wall),
        }
    }

    fn open(&self) -> Opened {
        let file = self.root.open_file(c"a").expect("a file");
        let version = file.describe().expect("a description").version;
        Opened::new(Arc::new(file), version)
    }

    /// Takes a mapping of the file in.
    fn map(&mut self) -> FileVersion {
        let opened = self.open();
        let mapping = Mapping::of(&opened.file, LENGTH).expect("a mapping");
        let mapped = CachedFile::new(Memory::Mapped(mapping), None, 0, &self.now);
        let gone = self
            .contents
            .held
            .keep_mapped(opened.version, mapped, Demand::Requested);
        assert_eq!(gone, []);
        opened.version
    }
}

/// An entry that was confirmed in this generation.
fn entry(generation: u32, now: &Now) -> Entry {
    let entry = Entry::new(Resolution::Refused(Status::NotFound));
    let trust = Trust {
        lifetime: SECOND,
        generation,
    };
    entry.trust(trust, None, now);
    entry
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Usable,
    Missing,
    Outdated,
    Reclaimed,
}

impl From<MappingState> for Said {
    fn from(state: MappingState) -> Said {
        match state {
            MappingState::Usable(_) => Said::Usable,
            MappingState::Missing => Said::Missing,
            MappingState::Outdated => Said::Outdated,
            MappingState::Reclaimed => Said::Reclaimed,
        }
    }
}

#[test]
fn a_mapping_is_sent_as_long_as_its_pages_are_there() {
    use ResidencyPolicy::{Any, ResidentOnly};
    let ms = Duration::from_millis;
    #[rustfmt::skip]
    let cases = [
        // idle,   policy,      kernel says,              is,              because
        (ms(1_000), ResidentOnly, Some(Presence::Absent),  Said::Usable,    "it was just sent: nobody is asked"),
        (ms(1_001), ResidentOnly, Some(Presence::Present), Said::Usable,    "its pages are there"),
        (ms(1_001), ResidentOnly, Some(Presence::Absent),  Said::Reclaimed, "they were taken away"),
        (ms(9_000), Any,          Some(Presence::Absent),  Said::Usable,    "whoever waits for the disk waits on the loop"),
        (ms(5_000), ResidentOnly, None,                    Said::Usable,    "a kernel that never says is trusted for a while"),
        (ms(5_001), ResidentOnly, None,                    Said::Reclaimed, "and then not"),
        (ms(5_000), ResidentOnly, Some(Presence::Unknown), Said::Usable,    "its file would have to be opened again"),
        (ms(5_001), ResidentOnly, Some(Presence::Unknown), Said::Missing,   "it is sent from its descriptor, this once"),
    ];
    for (idle, policy, present, want, because) in cases {
        let mut fixture = Fixture::new();
        let version = fixture.map();
        let entry = entry(0, &fixture.now);
        fixture.now.monotonic += idle;
        let probe = FakeProbe {
            present,
            ..FakeProbe::default()
        };
        let conditions = Conditions {
            probe: &probe,
            policy,
            generation: 0,
            now: &fixture.now,
        };
        let contents = &mut fixture.contents;
        let is_reclaimed = want == Said::Reclaimed;
        let got = contents.mapping(&version, &entry, Look::First, conditions);
        assert_eq!(Said::from(got), want, "{because}");
        assert_eq!(
            contents.held.maps.holds(&version),
            !is_reclaimed,
            "{because}"
        );
        assert_eq!(contents.mappings_gone, u64::from(is_reclaimed), "{because}");
    }
}

/// Where it is kept open, its descriptor serves while the kernel does not say whether its pages are there.
#[test]
fn a_descriptor_serves_for_a_mapping_that_cannot_be_looked_at() {
    let mut fixture = Fixture::new();
    let version = fixture.map();
    let opened = fixture.open();
    fixture
        .contents
        .held
        .descriptors
        .insert(version, Arc::clone(&opened.file));
    let entry = entry(0, &fixture.now);
    fixture.now.monotonic += 2 * SECOND;
    let probe = FakeProbe {
        present: Some(Presence::Unknown),
        ..FakeProbe::default()
    };
    let conditions = Conditions {
        probe: &probe,
        policy: ResidencyPolicy::ResidentOnly,
        generation: 0,
        now: &fixture.now,
    };
    let state = fixture
        .contents
        .mapping(&version, &entry, Look::First, conditions);
    assert_eq!(Said::from(state), Said::Missing);
    let state = fixture
        .contents
        .descriptor(&version, &[], Look::First, &probe);
    assert!(matches!(state, DescriptorState::Kept(_)));
}

#[test]
fn after_lost_events_a_mapping_is_used_for_an_entry_that_was_confirmed_since() {
    let probe = FakeProbe::default();
    for (generation, want) in [(1, Said::Usable), (0, Said::Outdated)] {
        let mut fixture = Fixture::new();
        let version = fixture.map();
        let entry = entry(generation, &fixture.now);
        let conditions = Conditions {
            probe: &probe,
            policy: ResidencyPolicy::Any,
            generation: 1,
            now: &fixture.now,
        };
        let contents = &mut fixture.contents;
        let state = contents.mapping(&version, &entry, Look::First, conditions);
        let is_usable = want == Said::Usable;
        assert_eq!(Said::from(state), want);
        assert_eq!(contents.held.maps.holds(&version), is_usable);
        let hits = contents.held.maps.stats().hits;
        assert_eq!(hits, u64::from(is_usable), "what was dropped was no hit");
    }
}

#[test]
fn a_descriptor_is_used_while_its_file_is_of_its_version() {
    let mut fixture = Fixture::new();
    let probe = FakeProbe::default();
    let opened = fixture.open();
    let version = opened.version;
    let just_opened = [opened];
    let contents = &mut fixture.contents;
    contents.keep_open(&just_opened, Demand::Requested);
    let state = contents.descriptor(&version, &just_opened, Look::First, &probe);
    assert!(matches!(state, DescriptorState::Opened(_)));
    let state = contents.descriptor(&version, &[], Look::First, &probe);
    assert!(matches!(state, DescriptorState::Kept(_)));
    assert!(!contents.is_replaced(&version, &probe));
    std::fs::write(fixture.directory.path().join("a"), "another").expect("a write");
    let state = contents.descriptor(&version, &just_opened, Look::Again, &probe);
    assert!(
        matches!(state, DescriptorState::Missing),
        "it was written to"
    );
    assert!(contents.is_replaced(&version, &probe));
    assert!(!contents.held.descriptors.holds(&version), "it is closed");
    let state = contents.descriptor(&version, &[], Look::Again, &probe);
    assert!(matches!(state, DescriptorState::Missing));
}

#[test]
fn what_nobody_uses_is_closed_and_unmapped_where_that_lets_a_file_system_go() {
    for is_on_root in [true, false] {
        let mut fixture = Fixture::new();
        let version = fixture.map();
        let opened = fixture.open();
        let contents = &mut fixture.contents;
        contents.held.descriptors.insert(version, opened.file);
        let device = version.device + u64::from(!is_on_root);
        let mut now = fixture.now.monotonic;
        let mut unmapped = Vec::new();
        assert!(contents.idle_sweep_at().is_none(), "nobody has looked yet");
        for _ in 0..=IDLE_SWEEP_COUNT + 1 {
            unmapped.extend(contents.drop_idle(|| HashSet::from([device]), now));
            now = contents.idle_sweep_at().unwrap_or(now + IDLE_SWEEP);
        }
        assert!(!contents.held.descriptors.holds(&version));
        assert_eq!(contents.held.maps.holds(&version), is_on_root);
        assert_eq!(unmapped.contains(&version), !is_on_root);
    }
}
