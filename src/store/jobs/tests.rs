//! Who joins, leaves and keeps jobs, and what becomes of those that were given up.

use std::path::Path;
use std::time::Duration;

use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::conn::ConnectionId;
use crate::http::range::RangeLimits;
use crate::job::{JobError, Warm};
use crate::site::access::AccessRules;
use crate::site::fields::FieldRules;
use crate::site::media_type::MediaTypes;
use crate::site::path_rules::PathRules;
use crate::site::resolve::{Directories, DotFiles, Naming};
use crate::site::sites::{Policy, Site, SiteId};
use crate::site::validators::EntityTags;
use crate::store::holdings::Demand;
use crate::store::lookups::Aim;
use crate::store::watch::directories::EventSequence;
use crate::sys::beneath::Root;
use crate::sys::deferred_drops::DeferredDrops;
use crate::sys::file::OpenFile;

pub(in crate::store) fn site() -> Rc<Site> {
    let naming = Naming {
        index: Vec::new(),
        dot_files: DotFiles::Refused,
        directories: Directories::Hidden,
        media_types: MediaTypes::default(),
    };
    Rc::new(Site {
        id: SiteId::FIRST,
        policy: Policy {
            naming,
            paths: PathRules::default(),
            fields: FieldRules::default(),
            access: AccessRules::default(),
            entity_tags: EntityTags::File,
            ranges: RangeLimits { count_max: 1 },
            revalidate: Duration::from_secs(1),
        },
    })
}

fn id(index: u32) -> RequestId {
    RequestId::http1(ConnectionId {
        index,
        generation: 1,
    })
}

fn since(generation: u32) -> Epoch {
    Epoch {
        sequence: EventSequence::default(),
        generation,
        root: 0,
    }
}

/// Jobs before an engine that carries out `depth_max` at once.
struct Fixture {
    jobs: Jobs,
    site: Rc<Site>,
    file: Arc<OpenFile>,
    now: Instant,
}

impl Fixture {
    fn new(depth_max: usize, queue_max: usize) -> Fixture {
        let root = Root::open(Path::new("/"), DeferredDrops::default()).expect("a root");
        Fixture {
            jobs: Jobs::new(JobQueue::new(depth_max, queue_max)),
            site: site(),
            file: Arc::new(root.open_file(c"etc/passwd").expect("a file")),
            now: Instant::now(),
        }
    }

    fn key<'p>(&self, path: &'p str) -> PathKey<'p> {
        PathKey::new(self.site.id, path.as_bytes())
    }

    /// What waits for it and what it gives up does not depend on what a job does at the disk.
    fn job(&self) -> Job {
        Job::Warm(Warm::new(Arc::clone(&self.file), 0..1))
    }

    fn submit(&mut self, purpose: Purpose, waiter: Option<Waiter>) -> Result<JobId, QueueFull> {
        let new = NewJob {
            job: self.job(),
            owner: Owner::Local,
            purpose,
            waiter,
        };
        self.jobs.submit(new)
    }

    fn look_up(
        &mut self,
        path: &str,
        generation: u32,
        aim: Aim,
        by: Option<u32>,
    ) -> Result<JobId, QueueFull> {
        let look_up = LookUp {
            site: Rc::clone(&self.site),
            raw_path: path.as_bytes().into(),
            entry: None,
            since: since(generation),
            watched_path: None,
            aim,
            begun: self.now,
        };
        let promise = Promise::Result(EventSequence::default());
        self.submit(
            Purpose::LookUp(look_up),
            by.map(|index| (id(index), promise)),
        )
    }

    fn join(&mut self, path: &str, generation: u32, by: u32) -> Option<JobId> {
        let key = PathKey::new(self.site.id, path.as_bytes());
        self.jobs.join_look_up(key, id(by), since(generation))
    }

    /// Ends a job at the engine, and gives what is to be taken in.
    fn end(&mut self, job: JobId) -> Vec<JobId> {
        let mut done = vec![(job, Done::Warmed(Ok(())))];
        self.jobs.ended(&mut done, self.now);
        done.into_iter().map(|(job, _)| job).collect()
    }

    fn next(&mut self) -> Option<JobId> {
        self.jobs.next(self.now).map(|(job, _)| job)
    }
}

#[test]
fn whoever_asks_for_the_same_joins_the_job_that_is_under_way() {
    let mut fixture = Fixture::new(1, 10);
    let first = fixture.look_up("/a", 0, Aim::Asked, Some(1)).expect("room");
    assert_eq!(fixture.join("/a", 0, 2), Some(first));
    assert_eq!(fixture.join("/b", 0, 2), None, "it is another path");
    assert_eq!(fixture.join("/a", 1, 3), None, "events were lost since");
    // What came of the older one is of no use for the caches.
    let second = fixture.look_up("/a", 1, Aim::Asked, Some(3)).expect("room");
    assert_eq!(fixture.jobs.look_up_count(), 2);
    let record = fixture.jobs.take(first).expect("its record");
    assert_eq!(record.standing, Standing::Withdrawn);
    let waiters: Vec<RequestId> = record.waiters.ids().collect();
    assert_eq!(waiters, [id(1), id(2)]);
    assert_eq!(fixture.join("/a", 1, 4), Some(second));
    let record = fixture.jobs.take(second).expect("its record");
    assert_eq!(record.standing, Standing::Current);
    assert!(!fixture.jobs.is_looked_up(fixture.key("/a")));
    assert_eq!(fixture.jobs.look_up_count(), 0);
    assert!(fixture.jobs.take(second).is_none(), "it is over");
}

/// Between the moment when it is given up and that when its result is taken in others may ask for the same.
#[test]
fn nobody_joins_a_job_that_was_given_up() {
    let mut fixture = Fixture::new(1, 10);
    let first = fixture
        .look_up("/first", 0, Aim::Asked, Some(1))
        .expect("room");
    let left = fixture.look_up("/a", 0, Aim::Asked, Some(2)).expect("room");
    assert_eq!(fixture.next(), Some(first));
    fixture.jobs.leave(left, id(2));
    assert_eq!(
        fixture.join("/a", 0, 3),
        Some(left),
        "it was not given up yet"
    );
    fixture.jobs.leave(left, id(3));
    assert_eq!(fixture.end(first), [first]);
    assert_eq!(fixture.next(), None);
    assert!(fixture.jobs.has_given_up());
    assert_eq!(fixture.join("/a", 0, 4), None, "the disk is asked for it");
    let again = fixture.look_up("/a", 0, Aim::Asked, Some(4)).expect("room");
    assert_eq!(fixture.next(), Some(again));
    let mut done = Vec::new();
    fixture.jobs.ended(&mut done, fixture.now);
    assert!(matches!(
        &done[..],
        [(job, Done::Warmed(Err(JobError::TimedOut)))] if *job == left
    ));
    let record = fixture.jobs.take(left).expect("its record");
    assert!(record.waiters.is_empty());
    assert_eq!(fixture.join("/a", 0, 5), Some(again));
}

#[test]
fn nobody_joins_a_job_that_gave_its_place_to_another() {
    let mut fixture = Fixture::new(0, 2);
    let kept = fixture.look_up("/a", 0, Aim::Asked, Some(1)).expect("room");
    let refused = fixture.look_up("/b", 0, Aim::Asked, Some(2)).expect("room");
    assert_eq!(fixture.join("/b", 0, 3), Some(refused));
    let new = NewJob {
        job: fixture.job(),
        owner: Owner::Client([192, 0, 2, 1].into()),
        purpose: Purpose::Populate,
        waiter: Some((id(4), Promise::Content)),
    };
    fixture.jobs.submit(new).expect("the place of the newest");
    assert_eq!(fixture.join("/b", 0, 5), None);
    assert_eq!(fixture.join("/a", 0, 6), Some(kept));
    let mut done = Vec::new();
    fixture.jobs.ended(&mut done, fixture.now);
    assert!(matches!(
        &done[..],
        [(job, Done::Warmed(Err(JobError::Busy)))] if *job == refused
    ));
    let waiters = fixture.jobs.take(refused).expect("its record").waiters;
    assert_eq!(waiters.ids().collect::<Vec<_>>(), [id(2), id(3)]);
}

#[test]
fn only_what_somebody_needs_is_carried_out_when_all_have_left() {
    let mut fixture = Fixture::new(1, 10);
    let version = fixture.file.describe().expect("a description").version;
    let window = |number: u64| {
        let version = FileVersion {
            inode: number,
            ..version
        };
        Window::at(version, 0)
    };
    let read = |fixture: &Fixture, number, demand| {
        Purpose::Read(WindowRead {
            window: window(number),
            file: Arc::clone(&fixture.file),
            demand,
        })
    };
    let first = fixture.look_up("/", 0, Aim::Asked, Some(1)).expect("room");
    assert_eq!(fixture.next(), Some(first));
    let waiter = |index| Some((id(index), Promise::Content));
    let (asked, ahead) = (
        read(&fixture, 1, Demand::Requested),
        read(&fixture, 2, Demand::Prefetch),
    );
    let left = fixture.submit(asked, waiter(2)).expect("room");
    let kept = fixture.submit(ahead, None).expect("room");
    let check = fixture.look_up("/c", 0, Aim::Check, Some(3)).expect("room");
    let populate = fixture.submit(Purpose::Populate, waiter(4)).expect("room");
    assert_eq!(fixture.jobs.read_of(window(1)), Some(left));
    assert_eq!(fixture.jobs.read_count(), 2);
    for (job, index) in [(left, 2), (check, 3), (populate, 4)] {
        fixture.jobs.leave(job, id(index));
    }
    assert_eq!(fixture.end(first), [first]);
    assert_eq!(fixture.next(), Some(kept));
    assert_eq!(fixture.end(kept), [kept, left]);
    assert_eq!(fixture.jobs.read_of(window(1)), None);
    assert_eq!(fixture.next(), Some(check), "its entry needs it");
    assert_eq!(fixture.end(check), [check]);
    assert_eq!(fixture.next(), None);
    assert!(fixture.jobs.has_given_up());
}

#[test]
fn a_mapping_of_a_root_that_is_served_no_more_is_withdrawn() {
    let mut fixture = Fixture::new(1, 10);
    let version = fixture.file.describe().expect("a description").version;
    let mapping = || {
        Purpose::Map(Mapping {
            version,
            since: EventSequence::default(),
            demand: Demand::Requested,
        })
    };
    let first = fixture.jobs.submit_own(fixture.job(), mapping());
    assert!(fixture.jobs.is_mapped(&version));
    fixture.jobs.withdraw_mappings();
    assert!(!fixture.jobs.is_mapped(&version));
    let second = fixture.jobs.submit_own(fixture.job(), mapping());
    let record = fixture.jobs.take(first).expect("its record");
    assert_eq!(record.standing, Standing::Withdrawn);
    assert!(fixture.jobs.is_mapped(&version), "the second is under way");
    let record = fixture.jobs.take(second).expect("its record");
    assert_eq!(record.standing, Standing::Current);
    assert!(!fixture.jobs.is_mapped(&version));
}

impl Jobs {
    /// Jobs whose results were not taken in yet.
    pub(in crate::store) fn count(&self) -> usize {
        self.records.len()
    }

    /// Those that newcomers would join.
    pub(in crate::store) fn index_count(&self) -> usize {
        let index = &self.index;
        let by_path = index.look_ups.len() + index.comparisons.len();
        let by_file = index.reads.len() + index.mappings.len() + index.reopens.len();
        by_path + by_file + index.root_checks.len()
    }
}
