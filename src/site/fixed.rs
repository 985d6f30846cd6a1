//! The short bodies of errors and redirects.

use crate::http::status::Status;

/// The methods of an Allow field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// The methods of files and of the status page.
    Files,
}

impl Allow {
    /// The value of the field. RFC 9110 §10.2.1.
    pub(crate) fn field(self) -> &'static [u8] {
        match self {
            Allow::Files => b"GET, HEAD, OPTIONS",
        }
    }
}

/// The Content-Type of a [`Page`].
pub(crate) const PAGE_TYPE: &[u8] = b"text/html; charset=utf-8";

/// The page of a status, made of borrowed pieces: a frequent error allocates nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    status: Status,
    detail: &'a str,
}

impl<'a> Page<'a> {
    /// The page of a status. `detail` is a sentence of ours, so it needs no escaping; it may be empty.
    pub(crate) fn new(status: Status, detail: &'a str) -> Page<'a> {
        Page { status, detail }
    }

    fn pieces(&self) -> [&'a str; 8] {
        let (before, after) = match self.detail {
            "" => ("", ""),
            _ => ("<p>", "</p>\n"),
        };
        let status = self.status.text();
        [
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>",
            status,
            "</title>\n<h1>",
            status,
            "</h1>\n",
            before,
            self.detail,
            after,
        ]
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> usize {
        let pieces = self.pieces();
        pieces.iter().map(|piece| piece.len()).sum::<usize>() + PAGE_END.len()
    }

    /// Appends it to `buffer`.
    pub(crate) fn append_to(&self, buffer: &mut Vec<u8>) {
        for piece in self.pieces() {
            buffer.extend_from_slice(piece.as_bytes());
        }
        buffer.extend_from_slice(PAGE_END.as_bytes());
    }
}

const PAGE_END: &str = "</html>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_long_as_it_says() {
        for detail in ["", "Why it is so."] {
            let page = Page::new(Status::NotFound, detail);
            let mut buffer = Vec::new();
            page.append_to(&mut buffer);
            assert_eq!(buffer.len(), page.length());
            let text = String::from_utf8(buffer).expect("our own words");
            assert!(text.contains("<h1>404 Not Found</h1>") && text.contains(detail));
        }
    }
}
