//! Which site a request is for: from the host that it names to the policy that answers it.
//!
//! | configured      | is asked for by                                                        |
//! | --------------- | ---------------------------------------------------------------------- |
//! | `example.org`   | this name, in any case, with any port, with or without a dot at its end |
//! | `*.example.org` | one label before it: `a.example.org`; not `example.org`, not `b.a.example.org` |
//! | `192.0.2.1`     | this address                                                           |
//! | `[2001:db8::1]` | this address, however its text is abbreviated                          |
//!
//! An exact name comes before a wildcard; what neither knows goes to the default site. A wildcard stands for
//! one label because it does in certificates (RFC 9525 §6.3): a site answers no name that its certificate could
//! not cover. nginx takes any number of labels there. Names are compared as bytes: an internationalised name
//! is configured as clients send it, in its `xn--` form, and an escape (`%61`) is no letter.
//!
//! Knows no socket and no file: where the bytes of a site lie is not part of its policy.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::resolve::Naming;
use super::validators::EntityTags;
use crate::http::range::RangeLimits;

/// Longest name that the DNS has, in bytes of text without the last dot. RFC 1035 §2.3.4.
const NAME_LENGTH_MAX: usize = 253;
/// Longest label. RFC 1035 §2.3.4.
const LABEL_LENGTH_MAX: usize = 63;
/// Bytes of a host that a connection remembers: with its length and its site one line of the processor's
/// cache. Longer ones are looked up with each request.
const REMEMBERED_LENGTH_MAX: usize = 55;

/// Stands for the length of a host that is too long.
const NOTHING_REMEMBERED: u8 = u8::MAX;

/// Tells sites apart. Keys of caches begin with it, so none is given twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SiteId(u32);

impl SiteId {
    /// The site that the flags describe.
    pub const FIRST: SiteId = SiteId(0);

    /// The site of this number.
    pub const fn new(number: u32) -> SiteId {
        SiteId(number)
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// A site: what requests for its hosts are answered by.
#[derive(Debug)]
pub struct Site {
    /// Which one.
    pub id: SiteId,
    /// What was configured for it.
    pub policy: Policy,
}

/// What an operator decides about a site.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What paths mean.
    pub naming: Naming,
    /// What entity tags are made of.
    pub entity_tags: EntityTags,
    /// How many ranges one request may ask for.
    pub ranges: RangeLimits,
    /// How long what is known of a path is trusted where nothing tells of changes.
    pub revalidate: Duration,
}

/// Why no site can have a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It is none.
    #[error(
        "{0:?} is no host: a name, \"*.\" and a name, an IPv4 address, or an IPv6 address in brackets; without a \
         port, and internationalised names in their \"xn--\" form"
    )]
    Invalid(String),
    /// Another site has it.
    #[error("{0:?} is the host of another site")]
    Taken(String),
}

/// All sites, by host.
#[derive(Debug)]
pub struct Sites {
    /// By name in lower case, without the last dot.
    exact: HashMap<Box<[u8]>, Rc<Site>, RandomState>,
    /// By what follows `*.`, written likewise.
    wildcards: HashMap<Box<[u8]>, Rc<Site>, RandomState>,
    addresses: HashMap<Ipv6Addr, Rc<Site>, RandomState>,
    default: Rc<Site>,
}

impl Sites {
    /// One site for all hosts.
    pub fn new(default: Rc<Site>) -> Sites {
        Sites {
            exact: HashMap::default(),
            wildcards: HashMap::default(),
            addresses: HashMap::default(),
            default,
        }
    }

    /// Has a site asked for by a host.
    ///
    /// # Errors
    /// When it is no host, or that of another site already.
    pub fn add(&mut self, host: &str, site: Rc<Site>) -> Result<(), HostError> {
        let invalid = || HostError::Invalid(host.to_owned());
        let id = site.id;
        let previous = match HostName::of(host.as_bytes()) {
            HostName::Address(address) if host.find(']') == Some(host.len() - 1) => {
                self.addresses.insert(address, site)
            }
            HostName::Name(name) => {
                let name = name.to_ascii_lowercase();
                let (table, name) = match name.strip_prefix(b"*.") {
                    Some(rest) => (&mut self.wildcards, rest),
                    None => (&mut self.exact, &name[..]),
                };
                if host.contains(':') || !is_name(name) {
                    return Err(invalid());
                }
                table.insert(name.into(), site)
            }
            _ => return Err(invalid()),
        };
        match previous {
            Some(previous) if previous.id != id => Err(HostError::Taken(host.to_owned())),
            _ => Ok(()),
        }
    }

    /// The site of a host as a request names it, in its Host field or its target: with a port or without. An
    /// empty one, where a request names none, is the default site's.
    ///
    /// Costs O(host); never allocates and never panics, whatever the bytes.
    pub fn of(&self, host: &[u8]) -> &Rc<Site> {
        let found = match HostName::of(host) {
            HostName::Address(address) => self.addresses.get(&address),
            HostName::Name(name) => self.named(name),
            HostName::Nothing => None,
        };
        found.unwrap_or(&self.default)
    }

    fn named(&self, name: &[u8]) -> Option<&Rc<Site>> {
        if self.exact.is_empty() && self.wildcards.is_empty() {
            return None;
        }
        let mut lower = [0; NAME_LENGTH_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let lower = &*lower;
        self.exact.get(lower).or_else(|| {
            let dot = memchr::memchr(b'.', lower).filter(|dot| *dot > 0)?;
            self.wildcards.get(&lower[dot + 1..])
        })
    }

    /// The site of hosts that no other has.
    pub fn default(&self) -> &Rc<Site> {
        &self.default
    }
}

/// A host without its port.
#[derive(Debug, PartialEq, Eq)]
enum HostName<'a> {
    Address(Ipv6Addr),
    /// A name or an IPv4 address, without the last dot, in any case.
    Name(&'a [u8]),
    /// An address of another kind.
    Nothing,
}

impl HostName<'_> {
    fn of(host: &[u8]) -> HostName<'_> {
        if let Some(literal) = host.strip_prefix(b"[") {
            let end = memchr::memchr(b']', literal).unwrap_or(literal.len());
            let text = std::str::from_utf8(&literal[..end]).ok();
            let address = text.and_then(|text| text.parse().ok());
            return address.map_or(HostName::Nothing, HostName::Address);
        }
        let end = memchr::memchr(b':', host).unwrap_or(host.len());
        let name = &host[..end];
        HostName::Name(name.strip_suffix(b".").unwrap_or(name))
    }
}

/// Whether a name in lower case can be configured. Underscores are no part of host names and are used in some.
fn is_name(name: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        let all = label
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        all && (1..=LABEL_LENGTH_MAX).contains(&label.len())
    };
    name.len() <= NAME_LENGTH_MAX && name.split(|byte| *byte == b'.').all(is_label)
}

/// The site of the last request of a connection, and the host that the request named: one comparison finds it
/// again.
#[derive(Debug, Default)]
pub struct LastSite {
    host: RememberedHost,
    site: Option<Rc<Site>>,
}

#[derive(Debug)]
struct RememberedHost {
    bytes: [u8; REMEMBERED_LENGTH_MAX],
    length: u8,
}

impl Default for RememberedHost {
    fn default() -> RememberedHost {
        RememberedHost {
            bytes: [0; REMEMBERED_LENGTH_MAX],
            length: 0,
        }
    }
}

impl LastSite {
    /// The site of a request that names this host, which is the last one from now on. Allocates nothing.
    pub fn find(&mut self, sites: &Sites, host: &[u8]) -> &Rc<Site> {
        if !self.host.is(host) {
            self.site = None;
        }
        let remembered = &mut self.host;
        self.site
            .get_or_insert_with(|| remembered.look_up(sites, host))
    }

    /// The site of the last request, if there was one.
    pub fn site(&self) -> Option<&Rc<Site>> {
        self.site.as_ref()
    }
}

impl RememberedHost {
    fn is(&self, host: &[u8]) -> bool {
        let bytes = self.bytes.get(..usize::from(self.length));
        bytes.is_some_and(|bytes| bytes == host)
    }

    #[cold]
    fn look_up(&mut self, sites: &Sites, host: &[u8]) -> Rc<Site> {
        self.length = NOTHING_REMEMBERED;
        if let Some(bytes) = self.bytes.get_mut(..host.len()) {
            bytes.copy_from_slice(host);
            self.length = u8::try_from(host.len()).unwrap_or(NOTHING_REMEMBERED);
        }
        Rc::clone(sites.of(host))
    }
}

#[cfg(test)]
mod tests;
