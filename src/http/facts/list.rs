//! Requests as lists of names and values, the form in which HPACK gives them; and questions that are asked of both
//! forms, so that no answer depends on the protocol.

#![cfg(test)]

use super::{FIELD_NAMES, FactIndex, Facts, Method, Occurrence, Span, short};
use crate::http::request::{self, HeadLimits};
use crate::http::target::{MethodShape, Target};

/// A request whose fields came one by one.
#[derive(Debug)]
pub(crate) struct Listed {
    text: Vec<u8>,
    index: FactIndex,
}

impl Listed {
    /// A request for a target in the origin or asterisk form. The first four are the pseudo-header fields of RFC 9113
    /// §8.3.1 without the scheme; `fields` must be valid as §8.2.1 has it: no CR, LF or NUL.
    pub(crate) fn of(
        method: &str,
        authority: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Listed {
        let mut text = format!("{method} {target} HTTP/2\r\n").into_bytes();
        let line = Span {
            start: 0,
            end: short(text.len() - 2),
        };
        let host = push_line(&mut text, "host", authority);
        let mut occurrences = [Occurrence::ABSENT; FIELD_NAMES.len()];
        for (name, value) in fields {
            let value = push_line(&mut text, name, value);
            let known = |other: &&str| other.eq_ignore_ascii_case(name);
            if let Some(field) = FIELD_NAMES.iter().position(known) {
                occurrences[field].note(value);
            }
        }
        let shape = match method {
            "OPTIONS" => MethodShape::Options,
            _ => MethodShape::Other,
        };
        let range = method.len() + 1..method.len() + 1 + target.len();
        let target = Target::parse(&text[range], shape).expect("a valid target");
        let index = FactIndex {
            method: Method::of(method.as_bytes()),
            form: target.form,
            line,
            end: short(text.len()),
            host,
            path: Span::of_target(target.path, &text),
            query: target.query.map(|query| Span::of_target(query, &text)),
            fields: occurrences,
        };
        Listed { text, index }
    }

    /// What was listed.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts::new(&self.text, &self.index)
    }
}

/// Appends a field line and gives the span of its value.
fn push_line(text: &mut Vec<u8>, name: &str, value: &str) -> Span {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    let start = short(text.len());
    text.extend_from_slice(value.as_bytes());
    let end = short(text.len());
    text.extend_from_slice(b"\r\n");
    Span { start, end }
}

const LIMITS: HeadLimits = HeadLimits {
    target_length_max: 1_000,
    head_length_max: 16_000,
    field_count_max: 100,
};

/// Asks the same of a request as HTTP/1.1 carries it and as a list of fields, and gives the answer, which must not
/// depend on that.
pub(crate) fn of_both<T: PartialEq + std::fmt::Debug>(
    method: &str,
    host: &str,
    target: &str,
    fields: &[(&str, &str)],
    ask: impl Fn(&Facts<'_>) -> T,
) -> T {
    let lines = fields
        .iter()
        .map(|(name, value)| format!("{name}:\t{value} \r\n"));
    let lines = lines.collect::<String>();
    let text = format!("\r\n{method} {target} HTTP/1.1\r\n{lines}Host: {host}\r\n\r\nGET");
    let head = request::parse(text.as_bytes(), &LIMITS)
        .expect("valid")
        .expect("complete");
    let of_head = ask(&head.facts(text.as_bytes()));
    let listed = Listed::of(method, host, target, fields);
    let of_list = ask(&listed.facts());
    assert_eq!(of_head, of_list, "{text}");
    of_head
}

#[test]
fn a_list_of_fields_has_the_facts_of_an_http1_head() {
    use super::Field;
    let all = [
        Field::Accept,
        Field::AcceptEncoding,
        Field::IfMatch,
        Field::IfNoneMatch,
        Field::IfModifiedSince,
        Field::IfUnmodifiedSince,
        Field::IfRange,
        Field::Range,
        Field::Referer,
        Field::UserAgent,
    ];
    assert_eq!(all.len(), FIELD_NAMES.len());
    let fields: Vec<(&str, &str)> = FIELD_NAMES
        .iter()
        .map(|name| (*name, "a, b"))
        .chain([("Range", "c"), ("X-Other", "d"), ("IF-MATCH", "")])
        .collect();
    for count in 0..=fields.len() {
        let fields = &fields[..count];
        for target in ["/a%20b?c=d?e", "/", "/?"] {
            of_both("GET", "h:1", target, fields, |facts| {
                let of_fields = all.map(|field| {
                    let lines: Vec<Vec<u8>> = facts.lines(field).map(<[u8]>::to_vec).collect();
                    let single = facts.single(field).map(<[u8]>::to_vec);
                    (facts.has(field), single, lines)
                });
                let query = facts.query().map(<[u8]>::to_vec);
                let (path, host) = (facts.path().to_vec(), facts.host().to_vec());
                (of_fields, query, path, host, facts.authority().is_none())
            });
        }
    }
    for (index, field) in all.into_iter().enumerate() {
        let listed = Listed::of("GET", "h", "/", &[(FIELD_NAMES[index], "x")]);
        assert_eq!(listed.facts().single(field), Some(&b"x"[..]), "{field:?}");
    }
}
