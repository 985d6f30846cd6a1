//! The parts of the server, driven as `EventLoop` drives them, without a poll.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::disk::{FakeDisk, SharedTree};
use super::probe::TreeProbe;
use super::profile::Profile;
use super::random::Random;
use super::tree::{Moment, nanoseconds};
use crate::clock::Now;
use crate::conn::{BlockedOn, CloseReason, Connection, ConnectionId, Input, Peer, RequestId};
use crate::observe::status::Access;
use crate::server::answers::ServerAnswers;
use crate::server::connections::{Connected, Connections};
use crate::server::deadlines::{Armed, Deadlines};
use crate::server::driver::{Driven, Driver};
use crate::server::ready::{ReadyConnections, Task};
use crate::server::start::driver;
use crate::settings::{Role, Settings, StatusAccess};
use crate::site::sites::{Site, SiteId, Sites};
use crate::store::deliveries::{DELIVERY_COUNT_MAX, Delivery};
use crate::store::{EngineProfile, FoundRoot, Store, Surroundings};
use crate::transport::{Noted, Transport};

/// The parts of the server.
#[derive(Debug)]
pub(super) struct Server {
    sites: Sites,
    store: Store,
    driver: Driver,
    access: Access,
    connections: Connections,
    deadlines: Deadlines,
    due: VecDeque<(ConnectionId, Armed)>,
    ready: ReadyConnections,
    /// Why connections were closed.
    closed: BTreeMap<(u32, u32), CloseReason>,
}

impl Server {
    /// A server of this tree, which is said to be at `directory`.
    pub(super) fn new(
        profile: &Profile,
        disk: &FakeDisk,
        tree: &SharedTree,
        directory: &Path,
        random: Random,
        began: Instant,
    ) -> Server {
        let settings = profile.settings(directory);
        let site = Rc::new(Site {
            id: SiteId::FIRST,
            policy: settings.sites[0].policy.clone(),
        });
        let probe = TreeProbe {
            tree: Rc::clone(tree),
            is_told_of_pages: profile.is_told_of_pages,
            random: RefCell::new(random),
        };
        Server {
            store: store(&settings, profile, disk, &site, probe),
            sites: Sites::new(Some(site)),
            driver: driver(&settings),
            access: Access::new(StatusAccess::Off, None),
            connections: Connections::default(),
            deadlines: Deadlines::new(began),
            due: VecDeque::new(),
            ready: ReadyConnections::default(),
            closed: BTreeMap::new(),
        }
    }

    /// Takes a connection.
    pub(super) fn accept(&mut self, peer: Peer, transport: Transport, now: &Now) -> ConnectionId {
        let connected = Connected::new(transport, Connection::new(peer, now), Role::Site);
        let id = self.connections.insert(connected);
        self.queue(id);
        id
    }

    /// Open connections.
    pub(super) fn connection_count(&self) -> usize {
        self.connections.count()
    }

    /// Why a connection was closed, if it is.
    pub(super) fn close_reason(&self, id: ConnectionId) -> Option<CloseReason> {
        self.closed.get(&(id.index, id.generation)).copied()
    }

    /// Takes in what an event says of a connection, before the next iteration.
    pub(super) fn note(&mut self, id: ConnectionId, noted: Noted) {
        let Some(connected) = self.connections.find(id) else {
            return;
        };
        if noted.readable {
            connected
                .client
                .event_sync
                .reported(self.driver.iteration + 1);
        }
        connected.transport.note(noted);
        self.queue(id);
    }

    /// Whether the next iteration has something to do without an event.
    pub(super) fn is_busy(&self) -> bool {
        !self.ready.is_empty()
            || !self.due.is_empty()
            || self.store.has_deliveries()
            || self.store.has_given_up()
    }

    /// When it has something to do without an event.
    pub(super) fn timeout(&self, now: &Now) -> Option<Moment> {
        let moments = [
            self.deadlines.expires_at(),
            self.store.patience_ends(now.monotonic),
            self.store.idle_sweep_at(),
        ];
        let soonest = moments.into_iter().flatten().min()?;
        let wait = soonest.saturating_duration_since(now.monotonic);
        Some(nanoseconds(wait).max(1))
    }

    /// One iteration of the loop, in the order of `EventLoop::iterate`.
    pub(super) fn iterate(&mut self, disk: &mut FakeDisk, now: &Now) {
        self.driver.iteration += 1;
        self.store.tick(now);
        self.store.drop_idle(now);
        if disk.has_events() {
            self.store.drop_changed();
        }
        self.drive_ready(now);
        self.store.expire_patience(now);
        self.give_out_results(disk, now);
        self.look_at_deadlines(now);
        self.store.recheck_waiting();
        self.store.notices().for_each(drop);
        self.hand_over_jobs(disk, now);
        self.driver.end_iteration();
    }

    fn queue(&mut self, id: ConnectionId) {
        if let Some(connected) = self.connections.find(id)
            && !connected.queued
        {
            connected.queued = true;
            self.ready.push(id, connected.task());
        }
    }

    fn drive_ready(&mut self, now: &Now) {
        for task in [Task::Input, Task::Sending] {
            let count = self.ready.count(task);
            self.driver.budget.open(count, task.share_min());
            while self.driver.budget.admits_next() {
                let Some(id) = self.ready.pop(task) else {
                    break;
                };
                if let Some(connected) = self.connections.find(id) {
                    connected.queued = false;
                    self.drive(id, now);
                }
            }
        }
    }

    fn drive(&mut self, id: ConnectionId, now: &Now) {
        let Some(connected) = self.connections.find(id) else {
            return;
        };
        let answers = &mut ServerAnswers {
            sites: &self.sites,
            store: &mut self.store,
            access: &mut self.access,
        };
        match self.driver.drive(connected, id, answers, now) {
            Driven::Wait => {}
            Driven::Again if connected.queued => {}
            Driven::Again => {
                connected.queued = true;
                self.ready.push(id, connected.task());
            }
            Driven::Status => panic!("there is no status page"),
            Driven::Close(reason) => return self.close(id, reason),
        }
        if let Some(deadline) = connected.deadline(&self.driver.policy.timeouts) {
            connected.armed = Some(self.deadlines.arm(id, connected.armed, deadline));
        }
    }

    fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        let connected = self.connections.remove(id).expect("it is open");
        if connected.armed.is_some() {
            let connections = &mut self.connections;
            self.deadlines
                .leave(|id, armed| connections.stands_at(id, armed));
        }
        for job in connected.jobs() {
            self.store.leave(job, RequestId::http1(id));
        }
        self.closed.insert((id.index, id.generation), reason);
    }

    fn hand_over_jobs(&mut self, disk: &mut FakeDisk, now: &Now) {
        while let Some((id, job)) = self.store.next_job(now) {
            disk.submit(id, job);
        }
    }

    fn give_out_results(&mut self, disk: &mut FakeDisk, now: &Now) {
        self.hand_over_jobs(disk, now);
        let mut done = Vec::new();
        disk.reap(&mut done);
        self.store.ended(&mut done, now);
        self.hand_over_jobs(disk, now);
        for (job, done) in done {
            self.store.complete(job, done, now);
        }
        for task in [Task::Input, Task::Sending] {
            let kind = task.delivery();
            let count = self.store.delivery_count(kind).min(DELIVERY_COUNT_MAX);
            self.driver.budget.open(count, task.share_min());
            while self.driver.budget.admits_next() {
                let Some(delivery) = self.store.next_delivery(kind) else {
                    break;
                };
                self.deliver(&delivery, now);
            }
        }
    }

    fn deliver(&mut self, delivery: &Delivery, now: &Now) {
        let id = delivery.id();
        let Some(connected) = self.connections.find(id.connection) else {
            return;
        };
        match delivery {
            Delivery::Answer(_, completed) => {
                let answers = &mut ServerAnswers {
                    sites: &self.sites,
                    store: &mut self.store,
                    access: &mut self.access,
                };
                self.driver.deliver(connected, id, completed, answers, now);
            }
            Delivery::More(_, job, _) if !connected.sending.completed(*job) => return,
            Delivery::More(_, _, result) => {
                let news = match result {
                    Ok(()) => Input::Blocked(BlockedOn::Peer),
                    Err(_) => Input::Broken(io::ErrorKind::UnexpectedEof),
                };
                self.driver.handle(&mut connected.connection, news, now);
            }
            Delivery::Reopened(..) => unreachable!("no descriptor is ever short here"),
        }
        self.drive(id.connection, now);
    }

    fn look_at_deadlines(&mut self, now: &Now) {
        self.deadlines.expire(now.monotonic, &mut self.due);
        while let Some((id, armed)) = self.due.pop_front() {
            let connected = self.connections.find(id);
            let Some(connected) = connected.filter(|it| it.armed == Some(armed)) else {
                self.deadlines.passed_over();
                continue;
            };
            connected.armed = None;
            let answers = &mut ServerAnswers {
                sites: &self.sites,
                store: &mut self.store,
                access: &mut self.access,
            };
            let id_of_request = RequestId::http1(id);
            self.driver
                .look_at_deadlines(connected, id_of_request, answers, now);
            self.drive(id, now);
        }
    }

    /// Fails if more is held than the settings allow.
    pub(super) fn check_sizes(&self, profile: &Profile) {
        let held = self.store.held();
        let (file_count_max, path_count_max) =
            (profile.descriptor_count_max, profile.path_count_max);
        let counts = [
            ("mapped files", held.map_count, profile.map_count_max),
            ("descriptors", held.descriptor_count, file_count_max),
            ("paths", held.path_count, path_count_max),
        ];
        for (what, count, max) in counts {
            assert!(count <= max, "{what}: {count} of {max}");
        }
        let bytes = held.map_bytes;
        assert!(bytes <= profile.map_bytes_max, "mapped bytes: {bytes}");
    }

    /// What is left of requests and jobs, each with how much; then lets go of what the caches hold.
    pub(super) fn leftovers(&mut self) -> Vec<(&'static str, usize)> {
        let leftovers = self.store.leftovers();
        self.store.drop_held();
        leftovers
    }
}

fn store(
    settings: &Settings,
    profile: &Profile,
    disk: &FakeDisk,
    site: &Rc<Site>,
    probe: TreeProbe,
) -> Store {
    let engine = EngineProfile {
        name: "simulated",
        reason: String::new(),
        depth_max: profile.disk.0,
        residency_policy: profile.residency_policy,
    };
    let surroundings = Surroundings {
        sites: vec![(Rc::clone(site), Arc::clone(disk.root()))],
        deferred_drops: disk.root().deferred_drops().clone(),
        mounts: None,
        watches: disk.watches().map(Arc::clone),
        probe: Box::new(probe),
    };
    let count_max = profile.descriptor_count_max;
    let mut store = Store::new(settings, count_max, engine, surroundings, Vec::new());
    let found = match disk.watches() {
        Some(_) => FoundRoot::Watched(disk.walk_to_root(), disk.root().open_again()),
        None => FoundRoot::Unwatched { since: 0 },
    };
    store.begin_following(site.id, found);
    store
}
