//! What HTTP/1.1 sends of a response is what any other protocol is given of it.

use super::*;
use crate::clock::sample_now as now;
use crate::conn::http1::{self, Exchange};
use crate::conn::outbox::Pool;
use crate::http::content_coding::Coding;
use crate::site::representation::Vary;
use crate::site::response::Content as Wanted;
use crate::site::validators::Sighting;
use crate::sys::file::{FileTime, FileVersion};

const LENGTH: u64 = 1_000;

fn representation(length: u64) -> Representation {
    let time = FileTime {
        seconds: 1_700_000_000,
        nanoseconds: 5,
    };
    let version = FileVersion {
        device: 1,
        inode: 2,
        length,
        modified: time,
        changed: time,
    };
    let sighting = Sighting::of(version);
    Representation::new(
        "text/x",
        sighting,
        Coding::Gzip,
        Vary::AcceptEncoding,
        &now(),
    )
}

/// Fields as a decoder of another protocol has them.
#[derive(Debug, Default)]
struct List<'a> {
    fields: Vec<(String, Vec<u8>)>,
    representation: Option<&'a Representation>,
}

impl FieldWriter for List<'_> {
    fn field(&mut self, name: &str, value: &[u8]) {
        self.fields.push((name.to_owned(), value.to_vec()));
    }

    fn content_fields(&mut self, head: &RenderedHead) {
        let representation = self.representation.expect("one is answered with");
        assert!(std::ptr::eq(&raw const representation.head, head));
        representation.add_content_fields(self);
    }
}

/// The status and the fields of a response, without any protocol.
fn list(response: &Response<'_>, representation: &Representation) -> (u16, Vec<(String, Vec<u8>)>) {
    let mut list = List {
        fields: Vec::new(),
        representation: Some(representation),
    };
    match response.head {
        Head::Fields(fields) => response.add_fields(fields, &mut list),
        Head::Rendered(_) if response.status == Status::NotModified => {
            representation.add_common_fields(&mut list);
        }
        Head::Rendered(_) => {
            list.field("Content-Type", b"text/x");
            list.number("Content-Length", representation.version.length);
            representation.add_content_fields(&mut list);
        }
    }
    (response.status.code(), list.fields)
}

/// The bytes that HTTP/1.1 sends for a response, and how many of them are counted as content.
fn sent(response: &Response<'_>, content: Wanted) -> (Vec<u8>, u64) {
    let (now, mut pool, mut outbox) = (now(), Pool::new(5_000), Outbox::default());
    outbox.lend(&mut pool);
    let exchange = Exchange::last(content, &now);
    let length = http1::put(&mut outbox, exchange, response);
    (outbox.copied(), length)
}

/// The status and the fields of a head of HTTP/1.1, without those that every response has, and the length of the
/// head.
fn read(bytes: &[u8]) -> (u16, Vec<(String, Vec<u8>)>, usize) {
    let mut fields = [httparse::EMPTY_HEADER; 20];
    let mut parsed = httparse::Response::new(&mut fields);
    let length = parsed.parse(bytes).expect("valid").unwrap();
    let own = ["Date", "Server", "X-Content-Type-Options", "Connection"];
    let fields = parsed.headers.iter();
    let fields = fields
        .filter(|field| !own.contains(&field.name))
        .map(|field| (field.name.to_owned(), field.value.to_vec()));
    (parsed.code.expect("a status"), fields.collect(), length)
}

#[test]
fn every_response_has_the_same_fields_in_every_protocol() {
    let (whole, empty, now) = (representation(LENGTH), representation(0), now());
    let bytes = vec![b'x'; usize::try_from(LENGTH).expect("small")];
    let source = Source::Mapped(Rc::new(Memory::Copied(bytes.into_boxed_slice().into())));
    let range = |first, last| ByteRange { first, last };
    let selected = [
        (Selected::Whole, LENGTH),
        (Selected::Part(range(10, 99)), 90),
        (Selected::Parts(vec![range(0, 0), range(900, 998)]), 100),
        (Selected::NotModified, 0),
        (Selected::PreconditionFailed, 0),
        (Selected::Unsatisfiable, 0),
        (Selected::ErrorPage(Status::ServiceUnavailable), LENGTH),
    ];
    let fixed = [
        Fixed::Options,
        Fixed::Preflight,
        Fixed::MethodNotAllowed(Allow::Files),
        Fixed::Moved(Moved::directory("/a/?b".to_owned())),
        Fixed::Error(Status::NotFound),
        Fixed::Error(Status::ServiceUnavailable),
    ];
    let document = Document::new("text/html", vec![b'd'; 700], Some("default-src 'none'"));
    let listed = Document::shared("text/html", Rc::clone(&document.bytes), None);
    let of_file = selected
        .iter()
        .map(|(selected, _)| Response::selected(&whole, selected, Some(&source), &now));
    let responses = of_file
        .chain([Response::selected(&empty, &Selected::Whole, None, &now)])
        .chain(fixed.iter().map(Response::fixed))
        .chain([Response::document(&document), Response::document(&listed)])
        .chain([Response::refused(Refusal::Host, "Why it is so.")]);
    for response in responses {
        let is_empty = matches!(response.content, Content::None);
        let representation = if is_empty && response.status == Status::Ok {
            &empty
        } else {
            &whole
        };
        let (bytes, content_length) = sent(&response, Wanted::Sent);
        let (status, fields, head_length) = read(&bytes);
        assert_eq!((status, fields.clone()), list(&response, representation));
        assert_eq!(
            bytes.len() - head_length,
            usize::try_from(content_length).expect("small")
        );
        // RFC 9110 §8.6: the length of the content, except in a 304, which need not have it, and in a 204, which must
        // not.
        let said = fields.iter().find(|(name, _)| name == "Content-Length");
        let said = said.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        let want = (!matches!(status, 204 | 304)).then(|| content_length.to_string());
        assert_eq!(said, want, "{response:?}");
        let (of_head, content_length) = sent(&response, Wanted::Omitted);
        assert_eq!((&of_head[..], content_length), (&bytes[..head_length], 0));
    }
}
