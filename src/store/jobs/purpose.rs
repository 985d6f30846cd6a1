//! The purposes of jobs, with the data that their results need.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::cache::entry::Entry;
use crate::cache::key::PathKeyBuf;
use crate::site::sites::SiteId;
use crate::store::admissions::PairId;
use crate::store::holdings::Demand;
use crate::store::lookups::{Aim, LookUp};
use crate::store::queue::Owner;
use crate::store::recheck::ChangeNotice;
use crate::store::reopen::Reopen;
use crate::store::residency::Window;
use crate::store::watch::directories::EventSequence;
use crate::sys::file::{FileVersion, OpenFile};

/// The purpose of a job, with the data that its result needs.
#[derive(Debug)]
pub(in crate::store) enum Purpose {
    /// Look a path up.
    LookUp(LookUp),
    /// Make a window of a long file resident.
    Read(WindowRead),
    /// Make the mapped bytes of a response resident whose peer has accepted nothing for long.
    Populate,
    /// Map a file for later requests.
    Map(Mapping),
    /// Compare an entry that was not used for long, for a request.
    Compare(Comparison),
    /// Compare entries in use.
    CompareBatch(ChangeNotice, Vec<Rc<Entry>>),
    /// Check whether the path of a root leads elsewhere.
    FollowRoot(RootCheck),
    /// Reopen a file for responses that continue.
    Reopen(Reopen),
    /// Compare a password with a hash.
    Verify(PairId, Owner),
    /// Read the mount table.
    ReadMounts,
    /// Read a list of paths to prefetch.
    LoadPaths,
    /// Read the names in a directory to prefetch.
    ReadNames,
    /// Save the paths that are requested most.
    SaveState,
    /// A job of the loop: log lines, measurements. The loop processes its result.
    Loop,
}

/// A window that is being read.
#[derive(Debug)]
pub(in crate::store) struct WindowRead {
    pub window: Window,
    pub file: Arc<OpenFile>,
    pub demand: Demand,
}

/// A file that is being mapped.
#[derive(Debug)]
pub(in crate::store) struct Mapping {
    pub version: FileVersion,
    /// The last event that was known when its job was submitted.
    pub since: EventSequence,
    pub demand: Demand,
}

/// An entry that is compared for waiting requests.
#[derive(Debug)]
pub(in crate::store) struct Comparison {
    /// The key of its path.
    pub key: PathKeyBuf,
    pub entry: Rc<Entry>,
    pub begun: Instant,
}

/// A check of the path of a root.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct RootCheck {
    /// Its site.
    pub site: SiteId,
    /// The last event that was known when its job was submitted.
    pub since: EventSequence,
    pub begun: Instant,
}

/// What a waiting request gets when its job is completed.
#[derive(Clone, Debug)]
pub(in crate::store) enum Promise {
    /// The result of the lookup. This was the last known event when the request joined.
    Result(EventSequence),
    /// A response from this entry.
    Answer(Rc<Entry>),
    /// It asks again.
    Again,
    /// More of the content of a response that has begun.
    Content,
}

/// What happens to a queued job when its last waiting request leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfLeft {
    /// It is given up.
    GiveUp,
    /// It runs: later requests need its result.
    Keep,
}

impl Purpose {
    /// What happens to it when it is queued and no request waits for it any more.
    pub(super) fn if_left(&self) -> IfLeft {
        match self {
            Purpose::LookUp(look_up) if look_up.aim == Aim::Check => IfLeft::Keep,
            Purpose::Read(read) if read.demand == Demand::Prefetch => IfLeft::Keep,
            Purpose::LookUp(_) | Purpose::Read(_) | Purpose::Populate | Purpose::Reopen(_) => {
                IfLeft::GiveUp
            }
            Purpose::Map(_)
            | Purpose::Compare(_)
            | Purpose::CompareBatch(..)
            | Purpose::FollowRoot(_)
            | Purpose::Verify(..)
            | Purpose::ReadMounts
            | Purpose::LoadPaths
            | Purpose::ReadNames
            | Purpose::SaveState
            | Purpose::Loop => IfLeft::Keep,
        }
    }
}
