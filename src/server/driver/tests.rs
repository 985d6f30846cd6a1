//! Whole conversations over a transport that delivers and accepts bytes as a script says: what is answered must not
//! depend on it.

use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cache::entry::{Entry, Resolution, Seen};
use crate::clock::sample_now as now;
use crate::conn::Logging;
use crate::conn::outbox::{FileSegment, Source};
use crate::conn::wire_cases::WIRE_CASES;
use crate::conn::{Activity, Peer, ServerTiming, Timeouts};
use crate::http::content_coding::Coding;
use crate::http::range::RangeLimits;
use crate::http::request::HeadLimits;
use crate::http::status::Status;
use crate::job::JobId;
use crate::server::ready::Task;
use crate::settings::Role;
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::response::{self, Content, Fixed};
use crate::site::validators::Sighting;
use crate::store::LookupResult;
use crate::store::request::SendState;
use crate::sys::deferred_drops::DeferredDrops;
use crate::sys::file::OpenFile;
use crate::sys::mapping::{Addresses, Mapping};
use crate::sys::memory::Memory;
use crate::transport::scripted::{Peer as PeerEnd, Script, Step};
use crate::transport::{Noted, Transport};

const FILE_LENGTH: usize = 6_000;
const DOCUMENT_LENGTH: usize = 3_000;
/// Bytes of a file that are given free at a time.
const READY_LENGTH: u64 = 2_500;
/// Rounds without a byte in either direction, and none that waits, after which nothing more comes.
const SILENT_ROUND_COUNT: u32 = 16;

fn driver() -> Driver {
    let long = Duration::from_secs(60);
    Driver {
        iteration: 1,
        policy: Policy {
            head: HeadLimits {
                target_length_max: 1_000,
                head_length_max: 4_000,
                field_count_max: 50,
            },
            body_length_max: 1_000,
            timeouts: Timeouts {
                head: long,
                body: long,
                idle: long,
                disk: long,
                send: long,
                linger: long,
                linger_total: long,
            },
            send_rate_min: 0,
            server_timing: ServerTiming::Hidden,
        },
        stage: Stage::Serving,
        response_stats: ResponseStats::new(Logging::Combined),
        pool: Pool::new(5_000),
        gathered_bytes: 0,
        sendfile_bytes: 0,
        budget: SendBudget::default(),
    }
}

/// A file, its mapping and a document; `/later` is known by a job, anything else leads nowhere.
struct Table {
    writable: File,
    file: Arc<OpenFile>,
    mapping: Rc<Memory>,
    entry: Rc<Entry>,
    document: Rc<Document>,
    sent_of_files: Cell<u64>,
}

impl Table {
    fn new(now: &Now) -> Table {
        let mut writable = tempfile::tempfile().expect("a file");
        let content: Vec<u8> = (0..=250).cycle().take(FILE_LENGTH).collect();
        writable.write_all(&content).expect("it is written");
        let descriptor = OwnedFd::from(writable.try_clone().expect("a descriptor"));
        let file = Arc::new(OpenFile::new(descriptor, DeferredDrops::default()));
        let version = file.describe().expect("it is there").version;
        let mapping = Mapping::of(&file, FILE_LENGTH).expect("it is mapped");
        let representation = Representation::new(
            "text/plain",
            Sighting::of(version),
            Coding::Identity,
            Vary::Nothing,
            now,
        );
        let resolution = Resolution::File {
            variants: Variants {
                identity: representation,
                coded: Box::default(),
            },
            seen: Seen::default(),
        };
        let document = Document::new("text/html", vec![b'd'; DOCUMENT_LENGTH], None);
        Table {
            writable,
            file,
            mapping: Rc::new(Memory::Mapped(mapping)),
            entry: Rc::new(Entry::new(resolution)),
            document: Rc::new(document),
            sent_of_files: Cell::new(0),
        }
    }

    fn selected(
        &self,
        request: &crate::http::facts::Facts<'_>,
        source: Source,
        now: &Now,
    ) -> Asked {
        let variants = self.entry.variants().expect("a file");
        let limits = RangeLimits { count_max: 8 };
        let selected = response::select(request, &variants.identity, limits, now);
        let content = Content::of(request.method());
        let length = variants.identity.version.length;
        Asked::Selected {
            entry: Rc::clone(&self.entry),
            coding: Coding::Identity,
            source: selected.first_byte(content, length).map(|_| source),
            selected,
        }
    }
}

impl Answers for Table {
    fn ask(&mut self, connected: &mut Connected, _: RequestId, now: &Now) -> Option<Reply> {
        let request = connected.connection.resolving()?;
        Some(Reply::Asked(match request.path() {
            b"/file" => self.selected(&request, Source::File(Arc::clone(&self.file)), now),
            b"/mapped" => self.selected(&request, Source::Mapped(Rc::clone(&self.mapping)), now),
            b"/document" => Asked::Document(Rc::clone(&self.document)),
            b"/later" => Asked::Waiting(JobId(1)),
            _ => Asked::Fixed(Fixed::Error(Status::NotFound)),
        }))
    }

    fn resume(
        &mut self,
        _: &mut Connected,
        _: RequestId,
        _: &CompletedJob,
        _: &Now,
    ) -> Option<Asked> {
        Some(Asked::Fixed(Fixed::Error(Status::Forbidden)))
    }

    fn expire(&mut self, _: &mut Connected, _: RequestId, _: Duration, _: &Now) -> Option<Asked> {
        None
    }

    fn prepare_mapped(
        &mut self,
        _: impl Iterator<Item = Addresses>,
        _: &mut SendState,
        _: RequestOwner,
        _: &Now,
    ) -> Ready {
        Ready::Bytes(u64::MAX)
    }

    fn prepare(
        &mut self,
        segment: &FileSegment,
        _: &mut SendState,
        _: RequestOwner,
        _: &Now,
    ) -> Ready {
        Ready::Bytes(READY_LENGTH.min(segment.bytes.end - segment.bytes.start))
    }

    fn note_sent(&mut self, _: &FileSegment, count: u64, _: &Now) {
        self.sent_of_files.set(self.sent_of_files.get() + count);
    }
}

/// A connection, its driver and its peer.
struct Conversation {
    driver: Driver,
    table: Table,
    now: Now,
    connected: Option<Connected>,
    peer: PeerEnd,
    closed: Option<CloseReason>,
}

const ID: ConnectionId = ConnectionId {
    generation: 1,
    index: 0,
};

impl Conversation {
    fn new(input: &[Step], output: &[Step]) -> Conversation {
        let now = now();
        let (transport, peer) = Transport::scripted(Script::of(input), Script::of(output));
        let connection = Connection::new(Peer::Local, &now);
        Conversation {
            driver: driver(),
            table: Table::new(&now),
            connected: Some(Connected::new(transport, connection, Role::Site)),
            now,
            peer,
            closed: None,
        }
    }

    /// Gives the connection a turn, as an event does; gives whether it can go on without another.
    fn turn(&mut self, noted: Noted) -> bool {
        let Some(connected) = &mut self.connected else {
            return false;
        };
        connected.transport.note(noted);
        self.driver.budget.open(1, Task::Input.share_min());
        match self.driver.drive(connected, ID, &mut self.table, &self.now) {
            Driven::Wait => {}
            Driven::Again => return true,
            Driven::Status => panic!("nothing leads to the status page"),
            Driven::Close(reason) => {
                self.closed = Some(reason);
                self.connected = None;
                return false;
            }
        }
        let is_waiting = connected.connection.activity() == Activity::Waiting;
        if is_waiting {
            let completed = CompletedJob {
                job: JobId(1),
                result: LookupResult::Again,
                opened: Vec::new(),
            };
            let (id, answers) = (RequestId::http1(ID), &mut self.table);
            self.driver
                .deliver(connected, id, &completed, answers, &self.now);
        }
        is_waiting
    }

    /// Sends bytes and takes answers until nothing moves any more.
    fn send(&mut self, bytes: &[u8]) {
        let noted = Noted {
            writable: true,
            ..Noted::INPUT
        };
        let (mut rest, mut silent) = (bytes, 0);
        while silent < SILENT_ROUND_COUNT {
            let count = self.peer.send(rest);
            rest = &rest[count..];
            let goes_on = self.turn(noted);
            let is_unread = |connected: &Connected| connected.transport.has_unread();
            let has_more = self.connected.as_ref().is_some_and(is_unread);
            let moved = self.peer.receive() || count > 0 || goes_on || has_more;
            silent = if moved { 0 } else { silent + 1 };
        }
    }

    fn statuses(&self) -> Vec<u16> {
        let lines = String::from_utf8_lossy(&self.driver.response_stats.lines);
        let status = |line: &str| line.split("\" ").nth(1)?.split(' ').next()?.parse().ok();
        lines.lines().filter_map(status).collect()
    }
}

/// How bytes are delivered and accepted: one at a time, in bursts, with pauses and signals in between.
fn scripts() -> Vec<Vec<Step>> {
    use Step::{Blocked, Bytes, Interrupted};
    let mut scripts = vec![
        vec![Bytes(1)],
        vec![Bytes(2), Blocked],
        vec![Bytes(17), Interrupted, Bytes(1)],
        vec![Bytes(4_096), Blocked, Interrupted, Bytes(5)],
    ];
    // Splits that nobody has thought of; the same in each run.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..8 {
        let steps = (0..13).map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            match seed % 8 {
                0 => Blocked,
                1 => Interrupted,
                _ => Bytes(usize::try_from(1 + seed / 8 % 700).expect("it is short")),
            }
        });
        scripts.push(steps.collect());
    }
    scripts
}

#[test]
fn answers_do_not_depend_on_how_bytes_are_delivered_and_accepted() {
    let get =
        |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let all: String = ["/file", "/document", "/mapped", "/later", "/none"]
        .map(|path| get(path, ""))
        .concat();
    #[rustfmt::skip]
    let own = [
        (all,                                                      vec![200, 200, 200, 403, 404], false, "from every source"),
        (get("/file", "Range: bytes=10-20,5000-\r\n").repeat(2),   vec![206, 206], false, "parts"),
        (get("/mapped", "If-None-Match: *\r\n"),                   vec![304], false, "no content"),
        ("HEAD /file HTTP/1.0\r\n\r\n".to_owned(),                 vec![200], true, "no content, and the end"),
    ];
    let wire = WIRE_CASES
        .iter()
        .map(|(bytes, statuses, end, why)| ((*bytes).to_owned(), statuses.to_vec(), *end, *why));
    let freely = [Step::Bytes(usize::MAX)];
    for (bytes, statuses, is_end, because) in own.into_iter().chain(wire) {
        let mut at_once = Conversation::new(&freely, &freely);
        at_once.send(bytes.as_bytes());
        assert_eq!(at_once.statuses(), statuses, "{bytes:?}: {because}");
        assert_eq!(at_once.peer.is_ended, is_end, "{bytes:?}: {because}");
        for script in scripts() {
            for (input, output) in [
                (&script[..], &freely[..]),
                (&freely, &script),
                (&script, &script),
            ] {
                let mut scripted = Conversation::new(input, output);
                // Its own file has other validators.
                scripted.table.entry = Rc::clone(&at_once.table.entry);
                scripted.send(bytes.as_bytes());
                let steps = format!("{bytes:?} by {input:?} and {output:?}: {because}");
                assert_eq!(scripted.statuses(), statuses, "{steps}");
                assert_eq!(scripted.peer.is_ended, is_end, "{steps}");
                assert!(scripted.peer.received == at_once.peer.received, "{steps}");
                let sent = scripted.table.sent_of_files.get();
                assert_eq!(sent, at_once.table.sent_of_files.get(), "{steps}");
            }
        }
    }
}

#[test]
fn a_transport_that_breaks_ends_its_connection_with_the_reason() {
    use Step::{Bytes, Fails};
    let reset = io::ErrorKind::ConnectionReset;
    let get = b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n";
    #[rustfmt::skip]
    let cases: [(&[Step], &[Step], usize, &str); 3] = [
        (&[Fails(reset)],           &[Bytes(1)],                 0,  "before anything is received"),
        (&[Bytes(9), Fails(reset)], &[Bytes(1)],                 0,  "within a head"),
        (&[Bytes(4_096)],           &[Bytes(99), Fails(reset)],  99, "within an answer"),
    ];
    for (input, output, sent, because) in cases {
        let mut conversation = Conversation::new(input, output);
        conversation.send(get);
        let expected = Some(CloseReason::Broken(reset));
        assert_eq!(conversation.closed, expected, "{because}");
        assert_eq!(conversation.peer.received.len(), sent, "{because}");
    }
}

#[test]
fn a_peer_that_is_gone_is_not_answered_late() {
    let freely = [Step::Bytes(usize::MAX)];
    let mut conversation = Conversation::new(&freely, &freely);
    conversation
        .peer
        .send(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    let hung_up = Noted {
        ended: true,
        hung_up: true,
        ..Noted::INPUT
    };
    conversation.turn(hung_up);
    let expected = CloseReason::Broken(io::ErrorKind::ConnectionReset);
    assert_eq!(conversation.closed, Some(expected));
    assert_eq!(conversation.statuses(), Vec::<u16>::new());
}

/// The length of the file was announced when it was cut: the answer is not completed, those before it are.
#[test]
fn what_was_cut_is_not_completed_and_what_comes_before_it_is() {
    let freely = [Step::Bytes(usize::MAX)];
    for path in ["/file", "/mapped"] {
        let mut conversation = Conversation::new(&freely, &freely);
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        conversation.table.writable.set_len(0).expect("it is cut");
        conversation.send(format!("{}{}", get("/document"), get(path)).as_bytes());
        assert!(
            matches!(conversation.closed, Some(CloseReason::Broken(_))),
            "{path}"
        );
        let received = String::from_utf8_lossy(&conversation.peer.received).into_owned();
        let heads = received.matches("HTTP/1.1 200 OK").count();
        let whole = received.matches('d').count() >= DOCUMENT_LENGTH;
        assert!(
            heads == 2 && whole && received.ends_with("\r\n\r\n"),
            "{path}: {received}"
        );
        assert_eq!(conversation.table.sent_of_files.get(), 0, "{path}");
    }
}
