//! A request as the store passes it around: values that belong together until it is answered.

use std::rc::Rc;

use super::LookupMode;
use super::holdings::Look;
use super::queue::Owner;
use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::clock::Now;
use crate::conn::{Peer, RequestId};
use crate::http::facts::Facts;
use crate::http::status::Status;
use crate::site::sites::Site;

/// The request, and the peer that sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestOwner {
    /// The request.
    pub(super) id: RequestId,
    /// The owner of its jobs, for fair scheduling.
    pub(super) owner: Owner,
}

impl RequestOwner {
    /// A request of `peer`.
    pub(crate) fn new(id: RequestId, peer: Peer) -> RequestOwner {
        RequestOwner {
            id,
            owner: Owner::from(peer),
        }
    }
}

/// A request at the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requester<'a> {
    /// The request and its owner.
    pub(super) by: RequestOwner,
    /// Its client.
    pub(super) peer: Peer,
    /// Its site.
    pub(super) site: &'a Rc<Site>,
    /// The caches that have already counted it.
    pub(super) looked: Counted,
}

impl Requester<'_> {
    /// A request of `peer` to a site.
    pub(crate) fn new(id: RequestId, peer: Peer, site: &Rc<Site>) -> Requester<'_> {
        Requester {
            by: RequestOwner::new(id, peer),
            peer,
            site,
            looked: Counted::default(),
        }
    }
}

/// Which caches were already asked for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// The path cache.
    pub path: Look,
    /// The file cache.
    pub mapping: Look,
    /// The open-file cache.
    pub descriptor: Look,
}

/// A request that is to be answered now.
#[derive(Debug)]
pub(super) struct Inquiry<'a> {
    pub facts: &'a Facts<'a>,
    pub requester: Requester<'a>,
    /// The path that it is answered from.
    pub path: &'a [u8],
    /// What its content is sent as.
    pub usage: Usage,
    pub now: &'a Now,
}

/// What the content of a path is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// What the request asks for: its preconditions and ranges are about it.
    Requested,
    /// What the client is sent to, if it is a file.
    Canonical,
    /// The page of an error with this status.
    ErrorPage(Status),
}

impl<'a> Inquiry<'a> {
    /// A request that is answered from the path that it asks for.
    pub(super) fn new(facts: &'a Facts<'a>, requester: Requester<'a>, now: &'a Now) -> Inquiry<'a> {
        Inquiry {
            facts,
            requester,
            path: facts.path(),
            usage: Usage::Requested,
            now,
        }
    }

    /// The path that it is answered from.
    pub(super) fn raw_path(&self) -> &'a [u8] {
        self.path
    }

    /// The key of a path of its site.
    pub(super) fn key<'p>(&self, raw_path: &'p [u8]) -> PathKey<'p> {
        PathKey::new(self.requester.site.id, raw_path)
    }

    /// A path of its site, with its entry.
    pub(super) fn known<'p>(&self, raw_path: &'p [u8], entry: &'p Rc<Entry>) -> KnownPath<'p>
    where
        'a: 'p,
    {
        KnownPath {
            site: self.requester.site,
            raw_path,
            entry,
        }
    }
}

/// A path with its entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownPath<'a> {
    pub site: &'a Rc<Site>,
    pub raw_path: &'a [u8],
    pub entry: &'a Rc<Entry>,
}

impl<'a> KnownPath<'a> {
    pub(super) fn key(&self) -> PathKey<'a> {
        PathKey::new(self.site.id, self.raw_path)
    }

    /// A lookup that revalidates the entry.
    pub(super) fn to_check(self) -> LookupTarget<'a> {
        LookupTarget {
            raw_path: self.raw_path,
            entry: Some(self.entry),
            mode: LookupMode::Revalidate,
        }
    }
}

/// A path to look up, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookupTarget<'a> {
    pub raw_path: &'a [u8],
    /// Its entry, if there is one.
    pub entry: Option<&'a Rc<Entry>>,
    pub mode: LookupMode,
}

impl<'a> LookupTarget<'a> {
    /// A path without an entry.
    pub(super) fn full(raw_path: &'a [u8]) -> LookupTarget<'a> {
        LookupTarget {
            raw_path,
            entry: None,
            mode: LookupMode::Full,
        }
    }
}
