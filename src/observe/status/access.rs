//! Access control of the status page.
//!
//! On the site's own listeners it is for people and programs on this machine, and never for the clients of a
//! proxy on it. A proxy need not add any field, so fields prove nothing: the owner of the peer's end of the
//! connection decides. Proxies run as service accounts; docs/operations.md describes the consequences.

use std::net::IpAddr;
use std::path::Path;

use crate::conn::Peer;
use crate::http::facts::Facts;
use crate::http::forwarding::{is_forwarded, names_this_machine};
use crate::settings::Role;
use crate::settings::StatusAccess;
use crate::sys::sock_diag::{SocketOwners, UserId};

/// The path of the status page.
pub(crate) const STATUS_PATH: &[u8] = b"/status";
/// The path of the metrics for Prometheus.
pub(super) const METRICS_PATH: &[u8] = b"/metrics";

/// Smallest UID of a person; below it are service accounts (login.defs(5), systemd's UIDS-GIDS.md).
const PERSON_MIN: UserId = 1_000;
/// Other UIDs above it: those systemd assigns to running services (`DynamicUser=`), then nobody, and the
/// invalid UID.
const NOT_PERSONS: [std::ops::RangeInclusive<UserId>; 2] =
    [61_184..=65_535, UserId::MAX..=UserId::MAX];

/// Accounts of proxies in various distributions. If the server runs as one of them, its own user proves
/// nothing.
#[rustfmt::skip]
const PROXY_ACCOUNTS: [&str; 22] = [
    "nobody", "www-data", "www", "wwwrun", "http", "httpd", "apache", "apache2", "nginx", "angie", "haproxy",
    "caddy", "traefik", "envoy", "lighttpd", "varnish", "vcache", "squid", "proxy", "hitch", "stunnel4", "_h2o",
];

/// How a request is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The status page.
    Page,
    /// 404: the listener has the status page only.
    Missing,
    /// As a path of the site.
    Site,
}

/// The user at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerUser {
    /// Not looked up yet.
    NotLookedUp,
    /// As reported by the kernel.
    Known(UserId),
    /// The kernel does not report it.
    Unknown,
}

/// Decides about requests for the status page.
#[derive(Debug)]
pub(crate) struct Access {
    who: StatusAccess,
    /// The server's own user, unless proxies run as it too.
    own: Option<UserId>,
    /// Lookup of the owner of a TCP peer, where available.
    owners: Option<SocketOwners>,
}

impl Access {
    /// `owners` is needed for [`StatusAccess::Loopback`] only.
    pub(crate) fn new(who: StatusAccess, owners: Option<SocketOwners>) -> Access {
        let own = rustix::process::geteuid().as_raw();
        // Blocking is fine here: nothing is served yet.
        let accounts = std::fs::read(Path::new("/etc/passwd")).unwrap_or_default();
        Access {
            who,
            own: (!is_proxy_account(&accounts, own)).then_some(own),
            owners,
        }
    }

    /// Handling of a request from `peer` through a listener of this `role`. The first possible request for
    /// the page on a connection calls `ask_user`, with these owners, for the user at the other end of a TCP
    /// connection; `user` caches the result.
    pub(crate) fn decide(
        &mut self,
        request: &Facts<'_>,
        role: Role,
        peer: Peer,
        ask_user: impl FnOnce(Option<&mut SocketOwners>) -> Option<UserId>,
        user: &mut PeerUser,
    ) -> Decision {
        let is_status = [STATUS_PATH, METRICS_PATH].contains(&request.path());
        let is_allowed = match (role, self.who) {
            (Role::Status, who) => {
                let is_there = is_status || request.path() == b"/";
                // At a configured address the operator may use a DNS name.
                let is_named = match who {
                    StatusAccess::DefaultListener(_) => names_this_machine(request),
                    _ => true,
                };
                return match is_there && is_named {
                    true => Decision::Page,
                    false => Decision::Missing,
                };
            }
            (Role::Site, _) if !is_status => false,
            (Role::Site, StatusAccess::All) => true,
            (Role::Site, StatusAccess::Loopback) => {
                is_local(peer)
                    && names_this_machine(request)
                    && !is_forwarded(request)
                    && self.is_user_allowed(peer, ask_user, user)
            }
            (Role::Site, _) => false,
        };
        match is_allowed {
            true => Decision::Page,
            false => Decision::Site,
        }
    }

    fn is_user_allowed(
        &mut self,
        peer: Peer,
        ask_user: impl FnOnce(Option<&mut SocketOwners>) -> Option<UserId>,
        user: &mut PeerUser,
    ) -> bool {
        if *user == PeerUser::NotLookedUp {
            let asked = match (peer, &mut self.owners) {
                (Peer::Local, _) => ask_user(None),
                (Peer::Address(_), Some(owners)) => ask_user(Some(owners)),
                (Peer::Address(_), None) => None,
            };
            *user = asked.map_or(PeerUser::Unknown, PeerUser::Known);
        }
        match *user {
            PeerUser::Known(user) => user == 0 || Some(user) == self.own || is_person(user),
            PeerUser::NotLookedUp | PeerUser::Unknown => false,
        }
    }
}

fn is_local(peer: Peer) -> bool {
    match peer {
        Peer::Address(address) => IpAddr::to_canonical(&address).is_loopback(),
        Peer::Local => true,
    }
}

fn is_person(user: UserId) -> bool {
    user >= PERSON_MIN && !NOT_PERSONS.iter().any(|range| range.contains(&user))
}

/// Whether a user has the name of a proxy account, by the lines of passwd(5).
fn is_proxy_account(accounts: &[u8], user: UserId) -> bool {
    accounts.split(|byte| *byte == b'\n').any(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else {
            return false;
        };
        let is_user = std::str::from_utf8(number).is_ok_and(|number| number.parse() == Ok(user));
        is_user
            && PROXY_ACCOUNTS
                .iter()
                .any(|account| account.as_bytes() == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_distinguished_from_services_by_uid() {
        #[rustfmt::skip]
        let cases = [
            (1,             false, "daemon"),
            (33,            false, "www-data in Debian"),
            (999,           false, "the last of the system's accounts"),
            (1_000,         true,  "the first person"),
            (60_000,        true,  "UID_MAX of login.defs"),
            (60_513,        true,  "systemd-homed"),
            (61_184,        false, "the first of DynamicUser="),
            (65_519,        false, "the last of DynamicUser="),
            (65_534,        false, "nobody"),
            (65_535,        false, "no user, in 16 bits"),
            (100_000,       true,  "a directory of people"),
            (UserId::MAX,   false, "no user"),
        ];
        for (user, want, because) in cases {
            assert_eq!(is_person(user), want, "{user}: {because}");
        }
    }

    #[test]
    fn accounts_that_proxies_run_as_are_known_by_name() {
        let accounts = b"root:x:0:0::/root:/bin/sh\n#\nwww-data:x:33:33::/:\nspede:x:998:998::/:\n\
                         nobody:x:65534:65534::/:\nwww-data2:x:44:44::/:\nbroken:x\n";
        for (user, want) in [
            (0, false),
            (33, true),
            (998, false),
            (65_534, true),
            (44, false),
            (5, false),
        ] {
            assert_eq!(is_proxy_account(accounts, user), want, "{user}");
        }
    }
}
