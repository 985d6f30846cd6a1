//! A hot request without its system calls: the caches, the decision table and the connection, put together as
//! in the server. All of the measured cost is in our code.

use std::fs::File;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spede::cache::entry::{Entry, Resolution, Seen, Trust};
use spede::cache::key::PathKey;
use spede::cache::path::{Known, PathCache};
use spede::clock::Now;
use spede::conn::Logging;
use spede::conn::outbox::{Next, Pool, Source};
use spede::conn::response_stats::ResponseStats;
use spede::conn::{
    Connection, Context, Explanation, Input, Peer, Policy, Response, ServerTiming, Stage, Timeouts,
    Want,
};
use spede::http::content_coding::Coding;
use spede::http::range::RangeLimits;
use spede::http::request::HeadLimits;
use spede::http::status::Status;
use spede::job::Opened;
use spede::site::access::AccessRules;
use spede::site::fields::FieldRules;
use spede::site::media_type::MediaTypes;
use spede::site::path_rules::PathRules;
use spede::site::representation::{Representation, Variants, Vary};
use spede::site::resolve::{self, Directories, DotFiles, LookupPlan, Naming};
use spede::site::response::{self, Fixed};
use spede::site::sites::{self, LastSite, Site, SiteId, Sites};
use spede::site::validators::{EntityTags, Sighting};
use spede::sys::deferred_drops::DeferredDrops;
use spede::sys::file::{FileTime, OpenFile};
use spede::sys::memory::Memory;
use spede::sys::socket::{Piece, Pieces};

/// Kinds of requests, by name.
pub const KINDS: &[(&str, &str)] = &[
    ("GET", "GET /file HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "GET with a browser's fields",
        "GET /file HTTP/1.1\r\nHost: a\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n\
         Upgrade-Insecure-Requests: 1\r\nPriority: u=0, i\r\n\r\n",
    ),
    ("HEAD", "HEAD /file HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "304",
        "GET /file HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\", *\r\n\r\n",
    ),
    (
        "206",
        "GET /file HTTP/1.1\r\nHost: a\r\nRange: bytes=10-99\r\n\r\n",
    ),
    ("404", "GET /none HTTP/1.1\r\nHost: a\r\n\r\n"),
];

/// The requested site.
pub const SITE: SiteId = SiteId::new(1);

/// Length of the file.
pub const FILE_LENGTH: usize = 1_024;

/// State of a server that all connections share, and one connection.
pub struct Hot {
    pub paths: PathCache,
    pub now: Now,
    pub policy: Policy,
    pub representation: Representation,
    sites: Sites,
    last_site: LastSite,
    connection: Connection,
    pool: Pool,
    response_stats: ResponseStats,
    source: Source,
    // Keeps the mapped file.
    _root: tempfile::TempDir,
}

/// Default limits of all connections.
pub fn policy() -> Policy {
    let second = Duration::from_secs(1);
    Policy {
        head: HeadLimits {
            target_length_max: 8 << 10,
            head_length_max: 16 << 10,
            field_count_max: 100,
        },
        body_length_max: 1 << 20,
        timeouts: Timeouts {
            head: 10 * second,
            body: 30 * second,
            idle: 60 * second,
            disk: 30 * second,
            send: 60 * second,
            linger: 5 * second,
            linger_total: Duration::from_secs(30),
        },
        send_rate_min: 0,
        server_timing: ServerTiming::Hidden,
    }
}

fn naming() -> Naming {
    Naming {
        index: vec!["index.html".to_owned()],
        dot_files: DotFiles::Refused,
        directories: Directories::Hidden,
        media_types: MediaTypes::default(),
    }
}

pub fn lookup(raw_path: &[u8]) -> LookupPlan {
    resolve::plan(raw_path, &naming()).expect("a path")
}

/// Two sites; requests are for the second.
fn two_sites() -> Sites {
    let site = |id| {
        Rc::new(Site {
            id,
            policy: sites::Policy {
                naming: naming(),
                paths: PathRules::default(),
                fields: FieldRules::default(),
                access: AccessRules::default(),
                entity_tags: EntityTags::File,
                ranges: RangeLimits { count_max: 16 },
                revalidate: Duration::from_secs(5),
            },
        })
    };
    let mut sites = Sites::new(Some(site(SiteId::FIRST)));
    sites.add("a", site(SITE)).expect("a host");
    sites
}

/// Inserts an entry for a path, as the server does.
fn remember(paths: &mut PathCache, path: &[u8], resolution: Resolution, now: &Now) {
    let entry = Rc::new(Entry::new(resolution));
    let trust = Trust {
        lifetime: Duration::from_secs(86_400),
        generation: paths.generation(),
    };
    entry.trust(trust, None, now);
    let path = PathKey::new(SITE, path);
    paths.insert(path, Rc::clone(&entry), &mut |_, _| {});
    // Negative entries keep only a part.
    paths.rest(path, &entry);
}

impl Hot {
    /// A mapped file, its path entry, and a negative entry.
    pub fn new() -> Hot {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, [b'x'; FILE_LENGTH]).expect("a file");
        // Opened directly, since valgrind does not know openat2.
        let file = OpenFile::new(
            File::open(path).expect("the file").into(),
            DeferredDrops::default(),
        );
        let wall = FileTime {
            seconds: 4_000_000_000,
            nanoseconds: 0,
        };
        let now = Now::at(Instant::now(), wall);
        let version = file.describe().expect("a file").version;
        let memory = Memory::Copied(file.read_start(FILE_LENGTH).expect("the content").into());
        let opened = Opened::new(Arc::new(file), version);
        let field = MediaTypes::default().of(b"file.html").to_string();
        let describe = || {
            Representation::new(
                &field,
                Sighting::of(opened.version),
                Coding::Identity,
                Vary::Nothing,
                &now,
            )
        };
        let variants = Variants {
            identity: describe(),
            coded: Box::default(),
        };
        let mut paths = PathCache::new(NonZeroUsize::new(65_536).expect("a size"));
        let file = Resolution::File {
            variants,
            seen: Seen::default(),
        };
        remember(&mut paths, b"/file", file, &now);
        let none = Resolution::Refused(Status::NotFound);
        remember(&mut paths, b"/none", none, &now);
        Hot {
            paths,
            policy: policy(),
            sites: two_sites(),
            last_site: LastSite::default(),
            representation: describe(),
            connection: Connection::new(Peer::Local, &now),
            pool: Pool::new(17 << 10),
            response_stats: ResponseStats::new(Logging::Off),
            source: Source::Mapped(Rc::new(memory)),
            now,
            _root: directory,
        }
    }

    /// Receives bytes and answers all requests in them. Returns the number of bytes to send.
    pub fn answer(&mut self, received: &[u8]) -> usize {
        let mut sent = 0;
        self.connection.lend(&mut self.pool);
        self.connection.space()[..received.len()].copy_from_slice(received);
        self.handle(Input::Received(received.len()));
        loop {
            match self.connection.want() {
                Want::Resolve(_) => self.resolve(),
                Want::Write => {
                    let mut pieces = Pieces::new();
                    let length: usize = match self.connection.outbox().next(u64::MAX, &mut pieces) {
                        Next::Pieces(_) => pieces.iter().map(Piece::length).sum(),
                        _ => panic!("everything is in memory"),
                    };
                    drop(pieces);
                    sent += length;
                    self.handle(Input::Sent(length as u64));
                }
                _ => break,
            }
        }
        self.connection.reclaim(&mut self.pool);
        sent
    }

    fn resolve(&mut self) {
        let Want::Resolve(request) = self.connection.want() else {
            return;
        };
        let Some(site) = self.last_site.find(&self.sites, request.host()) else {
            panic!("there is a default site");
        };
        let Known::Fresh(entry) = self
            .paths
            .look_up(PathKey::new(site.id, request.path()), &self.now)
        else {
            panic!("everything is known");
        };
        entry.count_request();
        let ranges = site.policy.ranges;
        match &entry.resolution {
            Resolution::File { variants, .. } => {
                let representation = &variants.identity;
                let selected = response::select(&request, representation, ranges, &self.now);
                let content = response::Content::of(request.method());
                let first = selected.first_byte(content, representation.version.length);
                let source = first.map(|_| self.source.clone());
                let source = source.as_ref();
                let response = Response::selected(representation, &selected, source, &self.now);
                self.handle(Input::Resolved(&response, Explanation::default()));
            }
            _ => {
                let fixed = Fixed::Error(Status::NotFound);
                self.handle(Input::Resolved(
                    &Response::fixed(&fixed),
                    Explanation::default(),
                ));
            }
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let Hot {
            connection,
            now,
            policy,
            response_stats,
            ..
        } = self;
        let mut context = Context {
            stage: Stage::Serving,
            now,
            policy,
            response_stats,
        };
        connection.handle(input, &mut context);
    }
}
