//! Who may have which paths of a site: ranges of addresses, and users with passwords.
//!
//! | a guard has | a request for its paths is |
//! | --- | --- |
//! | `deny`, and the address of the client is in it | refused with 403 |
//! | `allow`, and the address is not in it | refused with 403 |
//! | users, and the request has no name and password of one | answered with 401 |
//!
//! Every guard whose pattern matches has to admit a request. Knows no connection and hashes no password itself.

pub mod users;

use std::net::IpAddr;
use std::sync::Arc;

use super::fields::Audience;
use super::network::Network;
use super::pattern::{Pattern, PatternError};
use super::sites::Policy;
use crate::http::target::SitePath;
use users::Users;

/// What is asked of a request for some paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    pattern: Pattern,
    /// Who is asked for a name and a password.
    pub realm: String,
    /// Only these addresses are admitted; empty: all.
    pub allow: Vec<Network>,
    /// These addresses are not admitted, even if they are allowed.
    pub deny: Vec<Network>,
    /// Only these users are admitted; `None`: a name is not needed.
    pub users: Option<Arc<Users>>,
}

impl Guard {
    /// Guards the paths that match a pattern, for everybody as yet. A pattern that ends with `/**` matches the directory
    /// without its slash too, so that no redirect tells whether it exists.
    ///
    /// # Errors
    /// When the pattern is not valid.
    pub fn new(pattern: &str) -> Result<Guard, PatternError> {
        Ok(Guard {
            pattern: Pattern::new(pattern)?,
            realm: String::from("Restricted"),
            allow: Vec::new(),
            deny: Vec::new(),
            users: None,
        })
    }

    fn matches(&self, path: &mut Vec<u8>) -> bool {
        if self.pattern.matches(path) {
            return true;
        }
        path.push(b'/');
        let matches = self.pattern.matches(path);
        path.pop();
        matches
    }

    /// Whether a client of this address is admitted; `None`: it has none, as at a Unix socket.
    fn admits(&self, address: Option<IpAddr>) -> bool {
        let address = address.map(|address| address.to_canonical());
        let is_in = |networks: &[Network]| {
            address.is_some_and(|address| networks.iter().any(|network| network.contains(address)))
        };
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

/// The guards of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    /// In the order of the configuration.
    pub guards: Vec<Guard>,
}

/// What the guards of a path say of the address of a client.
#[derive(Debug)]
pub(crate) enum Admission<'a> {
    /// No guard has this path.
    Open,
    /// 403.
    Refused,
    /// These guards ask for a user; none: the address was enough.
    Asks(Vec<(usize, &'a Guard)>),
}

impl AccessRules {
    /// Whether there are none.
    pub(crate) fn are_none(&self) -> bool {
        self.guards.is_empty()
    }

    /// What the guards of a path, and of others by which the server answers it, say of a client. An invalid path has
    /// none: it is refused before anything is looked up.
    fn of(&self, raw_paths: &[&[u8]], address: Option<IpAddr>) -> Admission<'_> {
        let decoded = raw_paths.iter().map(|path| SitePath::decode(path));
        let mut decoded: Vec<Vec<u8>> = decoded.flatten().map(|path| path.decoded()).collect();
        let guards = self.guards.iter().enumerate();
        let mut matching = guards
            .filter(|(_, guard)| decoded.iter_mut().any(|path| guard.matches(path)))
            .peekable();
        if matching.peek().is_none() {
            return Admission::Open;
        }
        let mut asking = Vec::new();
        for (index, guard) in matching {
            if !guard.admits(address) {
                return Admission::Refused;
            }
            if guard.users.is_some() {
                asking.push((index, guard));
            }
        }
        Admission::Asks(asking)
    }
}

impl Policy {
    /// What the guards of the site say of a client that asks for a path. A rewrite, or a page without its extension,
    /// leads to nothing that its target would not be given for.
    pub(crate) fn admission(&self, raw_path: &[u8], address: Option<IpAddr>) -> Admission<'_> {
        if self.access.are_none() {
            return Admission::Open;
        }
        let others = self.paths.other_names(raw_path);
        let others = others.iter().map(Vec::as_slice);
        let paths: Vec<&[u8]> = [raw_path].into_iter().chain(others).collect();
        self.access.of(&paths, address)
    }

    /// Who may have what a path leads to.
    pub(crate) fn audience(&self, raw_path: &[u8]) -> Audience {
        match self.admission(raw_path, None) {
            Admission::Open => Audience::Everybody,
            Admission::Refused | Admission::Asks(_) => Audience::Admitted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        let network = |text: &&str| {
            let (address, length) = text.split_once('/').expect("a range");
            Network::new(
                address.parse().expect("an address"),
                length.parse().expect("a length"),
            )
        };
        texts.iter().map(network).collect()
    }

    fn rules(guards: &[(&str, &[&str], &[&str])]) -> AccessRules {
        let guard = |(pattern, allow, deny): &(&str, &[&str], &[&str])| Guard {
            allow: networks(allow),
            deny: networks(deny),
            ..Guard::new(pattern).expect("a pattern")
        };
        AccessRules {
            guards: guards.iter().map(guard).collect(),
        }
    }

    #[test]
    fn every_spelling_of_a_guarded_path_is_guarded() {
        let rules = rules(&[("/private/**", &[], &[])]);
        let is_guarded =
            |path: &str| !matches!(rules.of(&[path.as_bytes()], None), Admission::Open);
        let guarded = [
            "/private",
            "/private/",
            "/private/a",
            "/private/a/b.html",
            "/%70rivate/a",
            "//private//a",
            "/x/../private/a",
            "/./private/./a",
            "/private/%61",
        ];
        for path in guarded {
            assert!(is_guarded(path), "{path}");
        }
        for path in ["/", "/privat", "/privatea", "/a/private/b", "/private/../a"] {
            assert!(!is_guarded(path), "{path}");
        }
    }

    #[test]
    fn denied_wins_over_allowed_and_all_guards_have_to_admit() {
        let rules = rules(&[
            ("/a/**", &["10.0.0.0/8", "2001:db8::/32"], &["10.1.0.0/16"]),
            ("/a/b/**", &[], &["10.2.0.0/16"]),
        ]);
        #[rustfmt::skip]
        let cases = [
            ("/a/x",   Some("10.0.0.1"),        true),
            ("/a/x",   Some("::ffff:10.0.0.1"), true),
            ("/a/x",   Some("2001:db8::1"),     true),
            ("/a/x",   Some("10.1.0.1"),        false),
            ("/a/x",   Some("192.0.2.1"),       false),
            ("/a/x",   None,                    false),
            ("/a/b/x", Some("10.0.0.1"),        true),
            ("/a/b/x", Some("10.2.0.1"),        false),
            ("/b",     Some("192.0.2.1"),       true),
        ];
        for (path, address, is_admitted) in cases {
            let address = address.map(|address| address.parse().expect("an address"));
            let refused = matches!(rules.of(&[path.as_bytes()], address), Admission::Refused);
            assert_eq!(!refused, is_admitted, "{path} {address:?}");
        }
    }
}
