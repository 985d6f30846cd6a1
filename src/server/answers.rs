//! Answers requests: the loop renders the status page, the store answers everything else.

use std::time::Duration;

use super::connections::{Client, Connected};
use crate::clock::Now;
use crate::conn::RequestId;
use crate::conn::outbox::FileSegment;
use crate::http::facts::{Facts, Method};
use crate::http::status::Status;
use crate::observe::status::{Access, Decision};
use crate::settings::Role;
use crate::site::response::{self, Fixed};
use crate::site::sites::Sites;
use crate::store::request::{RequestState, SendState};
use crate::store::{Asked, CompletedJob, Ready, RequestOwner, Requester, Store};
use crate::sys::mapping::Addresses;

/// The result of a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// A response, or a job to wait for.
    Asked(Asked),
    /// The status page: only the loop has its numbers.
    Status,
}

/// The source of responses, as the driver sees it.
pub(super) trait Answers {
    /// Answers the request that a connection has received.
    fn ask(&mut self, connected: &mut Connected, id: RequestId, now: &Now) -> Option<Reply>;

    /// Answers a request whose job is completed. `None`: it does not wait for that job.
    fn resume(
        &mut self,
        connected: &mut Connected,
        id: RequestId,
        completed: &CompletedJob,
        now: &Now,
    ) -> Option<Asked>;

    /// Answers a request that has waited for the disk for longer than `timeout`. `None`: it has not.
    fn expire(
        &mut self,
        connected: &mut Connected,
        id: RequestId,
        timeout: Duration,
        now: &Now,
    ) -> Option<Asked>;

    /// Whether these pieces of mappings may be sent now, which have waited long for their peer.
    fn prepare_mapped(
        &mut self,
        pieces: impl Iterator<Item = Addresses>,
        sending: &mut SendState,
        owner: RequestOwner,
        now: &Now,
    ) -> Ready;

    /// Which bytes of a file may be sent now.
    fn prepare(
        &mut self,
        segment: &FileSegment,
        sending: &mut SendState,
        owner: RequestOwner,
        now: &Now,
    ) -> Ready;

    /// Notes that bytes of a file were sent.
    fn note_sent(&mut self, segment: &FileSegment, count: u64, now: &Now);
}

/// The responses of the server.
#[derive(Debug)]
pub(super) struct ServerAnswers<'a> {
    /// The sites by host.
    pub sites: &'a Sites,
    /// The store.
    pub store: &'a mut Store,
    /// Access control of the status page.
    pub access: &'a mut Access,
}

impl Answers for ServerAnswers<'_> {
    fn ask(&mut self, connected: &mut Connected, id: RequestId, now: &Now) -> Option<Reply> {
        let Connected {
            connection,
            transport,
            client,
            request: state,
            ..
        } = connected;
        let request = connection.resolving()?;
        let peer = connection.peer();
        let Client {
            role,
            last_site,
            user,
            event_sync,
        } = client;
        if request.method() == Method::Options {
            *state = RequestState::default();
            let site = match role {
                Role::Status => None,
                Role::Site => Some(last_site.find(self.sites, request.host())),
            };
            return Some(Reply::Asked(Asked::Fixed(match site {
                None => Fixed::Options,
                Some(Some(site)) => response::options(&request, &site.policy.fields),
                Some(None) => Fixed::Error(Status::MisdirectedRequest),
            })));
        }
        let ask_user = |owners: Option<&mut _>| transport.peer_user(owners);
        Some(
            match self.access.decide(&request, *role, peer, ask_user, user) {
                Decision::Page => Reply::Status,
                Decision::Missing => Reply::Asked(Asked::Fixed(Fixed::Error(Status::NotFound))),
                Decision::Site => Reply::Asked(match last_site.find(self.sites, request.host()) {
                    Some(site) => {
                        let requester = Requester::new(id, peer, site);
                        self.store.ask(&request, requester, event_sync, state, now)
                    }
                    None => Asked::Fixed(Fixed::Error(Status::MisdirectedRequest)),
                }),
            },
        )
    }

    fn resume(
        &mut self,
        connected: &mut Connected,
        id: RequestId,
        completed: &CompletedJob,
        now: &Now,
    ) -> Option<Asked> {
        let (request, requester, state) = waiting(connected, id)?;
        self.store
            .resume(completed, &request, requester, state, now)
    }

    fn expire(
        &mut self,
        connected: &mut Connected,
        id: RequestId,
        timeout: Duration,
        now: &Now,
    ) -> Option<Asked> {
        let (request, requester, state) = waiting(connected, id)?;
        self.store.expire(&request, requester, state, timeout, now)
    }

    fn prepare_mapped(
        &mut self,
        pieces: impl Iterator<Item = Addresses>,
        sending: &mut SendState,
        owner: RequestOwner,
        now: &Now,
    ) -> Ready {
        self.store.prepare_mapped(pieces, sending, owner, now)
    }

    fn prepare(
        &mut self,
        segment: &FileSegment,
        sending: &mut SendState,
        owner: RequestOwner,
        now: &Now,
    ) -> Ready {
        self.store.prepare(segment, sending, owner, now)
    }

    fn note_sent(&mut self, segment: &FileSegment, count: u64, now: &Now) {
        self.store.note_sent(segment, count, now);
    }
}

/// The request of a connection that waits for a job, the last one that it has asked.
fn waiting(
    connected: &mut Connected,
    id: RequestId,
) -> Option<(Facts<'_>, Requester<'_>, &mut RequestState)> {
    let Connected {
        connection,
        client,
        request: state,
        ..
    } = connected;
    let request = connection.resolving()?;
    let requester = Requester::new(id, connection.peer(), client.last_site.site()?);
    Some((request, requester, state))
}
