//! Conversations with a connection, without any socket.

mod peerless;

use std::rc::Rc;
use std::time::Duration;

use self::peerless::Peerless;
use super::outbox::{Next, Outbox, Pool, Source};
use super::wire_cases::WIRE_CASES;
use super::*;
use crate::http::facts::Facts;
use crate::http::status::Status;
use crate::site::response::Fixed;
use crate::sys::allocator::block_length;
use crate::sys::file::{FileTime, FileVersion};
use crate::sys::memory::Memory;
use crate::sys::socket::{More, Piece, Pieces};

/// Whoever asks for the end sends nothing more, and is not waited for; whoever has sent more is.
#[test]
fn a_peer_that_wants_the_end_is_not_waited_for() {
    let close = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut silent = Peerless::new();
    silent.receive(close.as_bytes(), 5_000);
    assert_eq!(silent.end, Some(CloseReason::Answered));
    let mut talking = Peerless::new();
    talking.receive(format!("{close}{close}").as_bytes(), 5_000);
    assert_eq!((talking.statuses(), talking.end), (vec![404], None));
    assert!(talking.half_closed);
}

/// Each conversation gives the same answers in whatever pieces it arrives.
#[test]
fn answers_do_not_depend_on_how_bytes_arrive() {
    for (bytes, statuses, end, because) in WIRE_CASES {
        for step in [1, 2, 5, 17, 4_096] {
            let mut peer = Peerless::new();
            peer.receive(bytes.as_bytes(), step);
            assert_eq!(
                peer.statuses(),
                *statuses,
                "{bytes:?} in steps of {step}: {because}"
            );
            assert_eq!(
                peer.half_closed || peer.end.is_some(),
                *end,
                "{bytes:?} in steps of {step}: {because}"
            );
        }
    }
}

#[test]
fn a_burst_is_answered_in_order_whatever_its_depth() {
    let mut peer = Peerless::new();
    let burst: String = (0..3_000)
        .map(|index| match index % 3 {
            0 => "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            1 => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy",
            _ => "BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
        })
        .collect();
    peer.receive(burst.as_bytes(), 5_000);
    let want: Vec<u16> = (0..3_000).map(|index| [404, 405, 501][index % 3]).collect();
    assert_eq!(peer.statuses(), want);
}

#[test]
fn a_request_that_waits_holds_back_those_behind_it() {
    let mut peer = Peerless::new();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.receive(
        format!("{}{}{}", get("/a"), get("/later"), get("/b")).as_bytes(),
        5_000,
    );
    assert_eq!(peer.statuses(), [404]);
    assert!(matches!(peer.connection.want(), Want::Wait));
    let path = peer
        .connection
        .resolving()
        .map(|request: Facts<'_>| request.path().to_vec());
    assert_eq!(path.as_deref(), Some(&b"/later"[..]));
    peer.connection.lend(&mut peer.pool);
    peer.tell(Input::Resolved(
        &Response::fixed(&Fixed::Error(Status::Forbidden)),
        Explanation::default(),
    ));
    peer.settle();
    assert_eq!(peer.statuses(), [404, 403, 404]);
}

#[test]
fn a_continue_is_sent_only_to_those_who_wait_for_it() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut waiting = Peerless::new();
    waiting.receive(head.as_bytes(), 5_000);
    assert_eq!(
        waiting.sent_length,
        "HTTP/1.1 100 Continue\r\n\r\n".len() as u64
    );
    waiting.receive(b"hello", 5_000);
    assert_eq!(waiting.statuses(), [405]);
    let mut eager = Peerless::new();
    eager.receive(format!("{head}h").as_bytes(), 5_000);
    assert_eq!(eager.sent_length, 0);
}

#[test]
fn each_wait_has_its_own_end() {
    let seconds = Duration::from_secs;
    let head = "GET / HTTP/1.1\r\nHost: a\r\n";
    let body = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe";
    #[rustfmt::skip]
    let cases = [
        // received  not yet after  over after   answer            because
        ("",         59,            1,           &[][..],          "idle: silence"),
        (head,       9,             1,           &[408][..],       "a head that was begun: 408"),
        (body,       29,            1,           &[408][..],       "a body that was begun: 408"),
    ];
    for (bytes, early, late, statuses, because) in cases {
        let mut peer = Peerless::new();
        peer.receive(bytes.as_bytes(), 5_000);
        peer.pass(seconds(early));
        assert_eq!((peer.statuses().len(), peer.end), (0, None), "{because}");
        peer.pass(seconds(late));
        assert_eq!(peer.statuses(), statuses, "{because}");
        assert_eq!(peer.half_closed, !statuses.is_empty(), "{because}");
        peer.pass(seconds(2));
        assert!(peer.end.is_some(), "{because}");
    }
}

#[test]
fn an_answer_to_head_has_no_content_even_if_it_is_a_refusal() {
    let cases = [
        "HEAD / HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HEAD * HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n",
    ];
    for bytes in cases {
        let mut peer = Peerless::new();
        peer.receive(bytes.as_bytes(), 5_000);
        let line = String::from_utf8_lossy(&peer.response_stats.lines).into_owned();
        assert_eq!(peer.statuses().len(), 1, "{bytes:?}");
        assert!(line.contains(" 0 \"-\""), "{bytes:?}: {line}");
    }
}

#[test]
fn empty_lines_do_not_begin_a_request() {
    let mut peer = Peerless::new();
    peer.receive(b"\r\n\r\n", 5_000);
    assert!(peer.connection.is_idle());
    peer.pass(Duration::from_secs(59));
    assert_eq!(peer.end, None);
    peer.pass(Duration::from_secs(1));
    assert_eq!(
        (peer.statuses().len(), peer.end),
        (0, Some(CloseReason::Idle))
    );
}

#[test]
fn a_head_that_trickles_gets_no_more_time() {
    let mut peer = Peerless::new();
    for byte in b"GET / HTTP" {
        peer.receive(&[*byte], 1);
        peer.pass(Duration::from_millis(1_001));
    }
    assert_eq!(peer.statuses(), [408]);
}

#[test]
fn a_peer_that_finished_sending_gets_what_it_asked_for() {
    let mut peer = Peerless::new();
    peer.receive(
        b"GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\nGET",
        5_000,
    );
    peer.tell(Input::EndOfStream);
    assert_eq!(peer.end, None);
    peer.connection.lend(&mut peer.pool);
    peer.tell(Input::Resolved(
        &Response::fixed(&Fixed::Error(Status::Forbidden)),
        Explanation::default(),
    ));
    peer.settle();
    assert_eq!(
        (peer.statuses(), peer.end),
        (vec![403, 404], Some(CloseReason::Answered))
    );
}

/// What is to be sent may wait for the peer or for the disk. The time of the disk is that of the request.
#[test]
fn a_peer_is_not_blamed_for_a_disk_that_gives_nothing_more() {
    #[rustfmt::skip]
    let cases = [
        (vec![],                                 true,  "nobody said otherwise"),
        (vec![BlockedOn::Disk],                  false, "the disk's turn"),
        (vec![BlockedOn::Disk, BlockedOn::Peer], true,  "it is the peer's turn again"),
    ];
    for (held_up, is_stalled, because) in cases {
        let mut peer = Peerless::new();
        peer.answer_untaken();
        for by in held_up {
            peer.now.monotonic += Duration::from_secs(1);
            peer.tell(Input::Blocked(by));
        }
        for _ in 1..20 {
            peer.pass(Duration::from_secs(1));
            assert_eq!(peer.close_reason(), None, "{because}");
        }
        peer.pass(Duration::from_secs(1));
        let stalled = is_stalled.then_some(CloseReason::SendStalled);
        assert_eq!(peer.close_reason(), stalled, "{because}");
        peer.tell(Input::DiskStalled);
        let reason = stalled.unwrap_or(CloseReason::DiskStalled);
        assert_eq!(peer.close_reason(), Some(reason), "{because}");
    }
}

/// The kernel may hold so much of an answer that nothing is handed over for long, while the peer takes it.
#[test]
fn a_peer_that_acknowledges_anything_is_not_stalled() {
    let mut peer = Peerless::new();
    peer.answer_untaken();
    for _ in 0..10 {
        for _ in 0..19 {
            peer.pass(Duration::from_secs(1));
        }
        peer.acknowledged += 1;
        assert_eq!(peer.close_reason(), None);
    }
    let mut seconds = 0;
    while peer.close_reason().is_none() {
        peer.pass(Duration::from_secs(1));
        seconds += 1;
    }
    assert!((20..=25).contains(&seconds), "{seconds} s");
    assert_eq!(peer.close_reason(), Some(CloseReason::SendStalled));
}

/// While the server stops, the answer to the last request that is there says so, and no other.
#[test]
fn the_last_request_that_is_there_is_told_of_the_end() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    #[rustfmt::skip]
    let cases = [
        // received                   in the socket  answers  ended
        (String::from(get),           Unread::None,  1,       true),
        (get.repeat(3),               Unread::None,  3,       true),
        (format!("{get}GET / HTTP"),  Unread::None,  1,       false),
        (get.repeat(3),               Unread::Some,  3,       false),
    ];
    for (bytes, unread, answer_count, is_ended) in cases {
        let mut peer = Peerless::new();
        peer.stage = Stage::Draining;
        peer.connection.note_unread(unread);
        peer.receive(bytes.as_bytes(), 5_000);
        let context = format!("{bytes:?}, {unread:?} in the socket");
        assert_eq!(peer.statuses(), vec![404; answer_count], "{context}");
        assert_eq!(peer.half_closed, is_ended, "{context}");
    }
}

/// An idle connection is ended in one direction first, and a request that crosses that is counted.
#[test]
fn an_idle_connection_that_is_ended_takes_what_still_comes() {
    let mut busy = Peerless::new();
    busy.receive(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n", 5_000);
    busy.tell(Input::Retire);
    busy.settle();
    assert_eq!(
        (busy.half_closed, busy.end),
        (false, None),
        "it is not idle"
    );
    let mut idle = Peerless::new();
    idle.settle();
    idle.tell(Input::Retire);
    idle.settle();
    assert_eq!((idle.half_closed, idle.end), (true, None));
    idle.receive(b"GET / HTTP/1.1\r\n", 5_000);
    idle.receive(b"Host: a\r\n\r\n", 5_000);
    assert_eq!((idle.statuses(), idle.response_stats.crossed), (vec![], 1));
    idle.tell(Input::EndOfStream);
    idle.settle();
    assert_eq!(idle.end, Some(CloseReason::Answered));
}

/// Each byte gives more time to be silent, and all of them together have an end.
#[test]
fn what_comes_after_the_last_answer_is_taken_for_a_bounded_time() {
    let refused = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n";
    let seconds = Duration::from_secs;
    let mut silent = Peerless::new();
    silent.receive(refused.as_bytes(), 5_000);
    silent.pass(seconds(1));
    assert_eq!((silent.statuses(), silent.end), (vec![413], None));
    silent.pass(seconds(1));
    assert_eq!(silent.end, Some(CloseReason::Lingered));
    let mut talking = Peerless::new();
    talking.receive(refused.as_bytes(), 5_000);
    for _ in 0..9 {
        talking.receive(&vec![b'x'; 3_000_000], 5_000);
        talking.pass(seconds(1));
        assert_eq!(talking.end, None);
    }
    talking.receive(b"x", 1);
    talking.pass(seconds(1));
    assert_eq!(talking.end, Some(CloseReason::Lingered));
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let mut peer = Peerless::new();
    let unlent = peer.pool.spare_count();
    assert_eq!(unlent, 0, "nothing was given back yet");
    peer.receive(b"GET / HTTP/1.1\r\nHost: a\r\n", 5_000);
    assert_eq!(
        peer.pool.spare_count(),
        2,
        "half a head needs no long inbox"
    );
    assert_eq!(peer.connection.held_bytes(), block_length(25));
    peer.receive(b"\r\n", 5_000);
    assert!(peer.connection.is_idle());
    assert_eq!(peer.pool.spare_count(), 2, "inbox and outbox are back");
    peer.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 5_000);
    assert_eq!(peer.pool.spare_count(), 2, "they were used again");
    assert_eq!(peer.connection.held_bytes(), 0);
    let size = size_of::<Connection>();
    assert!(size <= 640, "{size} bytes a connection");
}

proptest::proptest! {
    #[test]
    fn no_bytes_bring_a_connection_into_a_state_it_cannot_leave(
        bytes in proptest::collection::vec(proptest::sample::select(
            b"GET / HTTP/1.1\r\n\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_vec()), 0..400),
        step in 1_usize..64,
    ) {
        let mut peer = Peerless::new();
        peer.receive(&bytes, step);
        for _ in 0..5 {
            peer.pass(Duration::from_secs(120));
        }
        proptest::prop_assert!(peer.end.is_some());
    }
}

/// What a peer does not take stays in buffers that are hardly longer, and is sent as it was.
#[test]
fn an_answer_that_waits_for_its_peer_is_kept_in_short_buffers() {
    let mut pool = Pool::new(1_024);
    let mut outbox = Outbox::default();
    outbox.lend(&mut pool);
    outbox.render(|rendered| rendered.extend([b'a'; 300]));
    let page = Rc::new(Memory::Copied(vec![b'p'; 5_000].into_boxed_slice().into()));
    outbox.memory(&page, 0..5_000);
    outbox.advance(100);
    assert!(outbox.memory_bytes() > 16 << 10);
    outbox.reclaim(&mut pool);
    assert_eq!(pool.spare_count(), 1, "the long ones are back");
    let held = outbox.memory_bytes();
    assert!(held <= 512, "{held} bytes for 200 that are rendered");
    let sent = |outbox: &Outbox| {
        let mut pieces = Pieces::new();
        assert!(matches!(
            outbox.next(u64::MAX, &mut pieces),
            Next::Pieces(_)
        ));
        pieces.iter().map(Piece::length).collect::<Vec<_>>()
    };
    assert_eq!(sent(&outbox), [200, 5_000]);
    // More may be put in, and buffers that were short are not lent to others.
    outbox.lend(&mut pool);
    outbox.render(|rendered| rendered.extend([b'b'; 300]));
    assert_eq!(sent(&outbox), [200, 5_000, 300]);
    outbox.advance(5_500);
    outbox.reclaim(&mut pool);
    assert_eq!((outbox.memory_bytes(), pool.spare_count()), (0, 1));
    outbox.lend(&mut pool);
    assert!(outbox.memory_bytes() > 16 << 10);
}

/// One answer is one piece; of several the copies are pieces of their own, and all go out in one call.
#[test]
fn a_copy_goes_with_its_head_and_a_burst_in_one_call() {
    let time = FileTime {
        seconds: 1,
        nanoseconds: 0,
    };
    let version = FileVersion {
        device: 1,
        inode: 1,
        length: 1_000,
        modified: time,
        changed: time,
    };
    let source = Source::Mapped(Rc::new(Memory::Copied(
        vec![b'x'; 1_000].into_boxed_slice().into(),
    )));
    let mut pool = Pool::new(1_024);
    for (answer_count, piece_count) in [(1, 1), (2, 2), (16, 30)] {
        let mut outbox = Outbox::default();
        outbox.lend(&mut pool);
        for _ in 0..answer_count {
            assert!(outbox.has_room());
            outbox.render(|rendered| rendered.extend([b'h'; 300]));
            outbox.content(&source, version, 0..1_000);
        }
        let mut pieces = Pieces::new();
        assert!(matches!(
            outbox.next(u64::MAX, &mut pieces),
            Next::Pieces(More::Nothing)
        ));
        let length: usize = pieces.iter().map(Piece::length).sum();
        assert_eq!((pieces.len(), length), (piece_count, answer_count * 1_300));
    }
}

#[test]
fn pieces_are_cut_where_the_share_of_a_connection_ends() {
    let mut pool = Pool::new(1_024);
    let mut outbox = Outbox::default();
    outbox.lend(&mut pool);
    outbox.render(|rendered| rendered.extend([b'h'; 300]));
    let page = Rc::new(Memory::Copied(vec![b'p'; 5_000].into_boxed_slice().into()));
    outbox.memory(&page, 0..5_000);
    outbox.render(|rendered| rendered.extend([b'h'; 200]));
    #[rustfmt::skip]
    let cases: [(u64, &[usize], More); 8] = [
        (    1, &[1],               More::Follows),
        (  299, &[299],             More::Follows),
        (  300, &[300],             More::Follows),
        (  301, &[300, 1],          More::Follows),
        (5_300, &[300, 5_000],      More::Follows),
        (5_499, &[300, 5_000, 199], More::Follows),
        (5_500, &[300, 5_000, 200], More::Nothing),
        (6_000, &[300, 5_000, 200], More::Nothing),
    ];
    for (limit, lengths, want) in cases {
        let mut pieces = Pieces::new();
        let Next::Pieces(more) = outbox.next(limit, &mut pieces) else {
            panic!("there are pieces");
        };
        let got: Vec<_> = pieces.iter().map(Piece::length).collect();
        assert_eq!((got.as_slice(), more), (lengths, want), "at most {limit}");
    }
}
