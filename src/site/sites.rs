//! Selection of the site of a request by its host.
//!
//! | configured      | matches requests for                                                   |
//! | --------------- | ---------------------------------------------------------------------- |
//! | `example.org`   | this name, in any case, with any port, with or without a dot at its end |
//! | `*.example.org` | one label before it: `a.example.org`; not `example.org`, not `b.a.example.org` |
//! | `192.0.2.1`     | this address                                                           |
//! | `[2001:db8::1]` | this address, however its text is abbreviated                          |
//!
//! An exact name takes precedence over a wildcard; a host that matches neither gets the default site, or none
//! where there is no default site: its requests are refused with 421. A wildcard covers one label, as in certificates (RFC 9525 §6.3): a site answers no name that its certificate
//! could not cover. nginx accepts any number of labels there. Names are compared as bytes: an
//! internationalised name is configured as clients send it, in its `xn--` form, and an escape (`%61`) is no
//! letter.
//!
//! Knows no socket and no file: the location of a site's bytes is not part of its policy.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::access::AccessRules;
use super::fields::FieldRules;
use super::path_rules::PathRules;
use super::resolve::Naming;
use super::validators::EntityTags;
use crate::http::range::RangeLimits;

/// Maximum length of a DNS name, in bytes of text without the last dot. RFC 1035 §2.3.4.
const NAME_LENGTH_MAX: usize = 253;
/// Maximum length of a label. RFC 1035 §2.3.4.
const LABEL_LENGTH_MAX: usize = 63;
/// Maximum length of a host that a connection remembers: with its length and its site it fits one cache line
/// of the processor. Longer hosts are looked up for each request.
const REMEMBERED_LENGTH_MAX: usize = 55;

/// Stored as the length of a host that is too long to be remembered.
const NOTHING_REMEMBERED: u8 = u8::MAX;

/// Identifies a site. Cache keys begin with it, so no id is reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SiteId(u32);

impl SiteId {
    /// The site that the command line describes.
    pub const FIRST: SiteId = SiteId(0);

    /// The site with this number.
    pub const fn new(number: u32) -> SiteId {
        SiteId(number)
    }

    /// Its number.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    /// Its place in a table by number.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A site: the policy that answers requests for its hosts.
#[derive(Debug)]
pub struct Site {
    /// Its identifier.
    pub id: SiteId,
    /// Its configuration.
    pub policy: Policy,
}

/// Settings of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Mapping of paths to files.
    pub naming: Naming,
    /// What answers paths that do not lead to files of their own.
    pub paths: PathRules,
    /// Response fields by path.
    pub fields: FieldRules,
    /// Who may have which paths.
    pub access: AccessRules,
    /// Source of entity tags.
    pub entity_tags: EntityTags,
    /// Limits on the ranges of one request.
    pub ranges: RangeLimits,
    /// How long an entry is trusted where no events report changes.
    pub revalidate: Duration,
}

/// Why a host cannot be assigned to a site.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Not a host.
    #[error(
        "{0:?} is no host: a name, \"*.\" and a name, an IPv4 address, or an IPv6 address in brackets; without a \
         port, and internationalised names in their \"xn--\" form"
    )]
    Invalid(String),
    /// Assigned to another site.
    #[error("{0:?} is the host of another site")]
    Taken(String),
}

/// All sites, by host.
#[derive(Debug)]
pub struct Sites {
    /// By name in lower case, without the last dot.
    exact: HashMap<Box<[u8]>, Rc<Site>, RandomState>,
    /// By the part after `*.`, in the same form.
    wildcards: HashMap<Box<[u8]>, Rc<Site>, RandomState>,
    addresses: HashMap<Ipv6Addr, Rc<Site>, RandomState>,
    default: Option<Rc<Site>>,
    /// Tells these tables from those of another configuration.
    generation: u32,
}

impl Sites {
    /// No site but the one for hosts that are assigned to no other, if there is one.
    pub fn new(default: Option<Rc<Site>>) -> Sites {
        Sites {
            exact: HashMap::default(),
            wildcards: HashMap::default(),
            addresses: HashMap::default(),
            default,
            generation: 0,
        }
    }

    /// Replaces all tables. Connections look their sites up again for their next requests.
    pub(crate) fn replace(&mut self, by: Sites) {
        let generation = self.generation.wrapping_add(1);
        *self = Sites { generation, ..by };
    }

    /// Assigns a host to a site.
    ///
    /// # Errors
    /// When it is not a valid host, or assigned to another site already.
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

    /// The site of a request's host, from its Host field or its target, with or without a port. An empty host
    /// (the request names none) gets the default site. `None`: the host is not served.
    ///
    /// Costs O(host); never allocates and never panics, whatever the bytes.
    pub(crate) fn of(&self, host: &[u8]) -> Option<&Rc<Site>> {
        let found = match HostName::of(host) {
            HostName::Address(address) => self.addresses.get(&address),
            HostName::Name(name) => self.named(name),
            HostName::Nothing => None,
        };
        found.or(self.default.as_ref())
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
}

/// A host without its port.
#[derive(Debug, PartialEq, Eq)]
enum HostName<'a> {
    Address(Ipv6Addr),
    /// A name or an IPv4 address, without the last dot, in any case.
    Name(&'a [u8]),
    /// Not a host: an address of an unknown kind.
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

/// Whether a name in lower case can be configured. Underscores are not valid in host names, but are in use.
fn is_name(name: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        let all = label
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        all && (1..=LABEL_LENGTH_MAX).contains(&label.len())
    };
    name.len() <= NAME_LENGTH_MAX && name.split(|byte| *byte == b'.').all(is_label)
}

/// The host and the site of the last request on a connection: the next lookup of the same host is one
/// comparison.
#[derive(Debug, Default)]
pub struct LastSite {
    host: RememberedHost,
    generation: u32,
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
    /// The site of a request for this host, remembered for the next one. `None`: the host is not served. Allocates
    /// nothing.
    pub fn find(&mut self, sites: &Sites, host: &[u8]) -> Option<&Rc<Site>> {
        let is_current = self.generation == sites.generation && self.site.is_some();
        if !is_current || !self.host.is(host) {
            self.site = self.host.look_up(sites, host);
            self.generation = sites.generation;
        }
        self.site.as_ref()
    }

    /// The site of the last request, if there was one.
    pub(crate) fn site(&self) -> Option<&Rc<Site>> {
        self.site.as_ref()
    }
}

impl RememberedHost {
    fn is(&self, host: &[u8]) -> bool {
        let bytes = self.bytes.get(..usize::from(self.length));
        bytes.is_some_and(|bytes| bytes == host)
    }

    #[cold]
    fn look_up(&mut self, sites: &Sites, host: &[u8]) -> Option<Rc<Site>> {
        self.length = NOTHING_REMEMBERED;
        if let Some(bytes) = self.bytes.get_mut(..host.len()) {
            bytes.copy_from_slice(host);
            self.length = u8::try_from(host.len()).unwrap_or(NOTHING_REMEMBERED);
        }
        sites.of(host).cloned()
    }
}

#[cfg(test)]
mod tests;
