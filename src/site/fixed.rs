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
    pub fn field(self) -> &'static [u8] {
        match self {
            Allow::Files => b"GET, HEAD, OPTIONS",
        }
    }
}

/// The Content-Type of a [`Page`].
pub const PAGE_TYPE: &[u8] = b"text/html; charset=utf-8";

/// The page of a status, made of borrowed pieces: a frequent error allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    pieces: [&'a str; 13],
}

impl<'a> Page<'a> {
    /// The page of a status; `code` is its three digits. `detail` is a sentence of ours, so it needs no
    /// escaping; it may be empty.
    pub fn new(status: Status, code: &'a str, detail: &'a str) -> Page<'a> {
        let (before, after) = match detail {
            "" => ("", ""),
            _ => ("<p>", "</p>\n"),
        };
        let reason = status.reason();
        Page {
            pieces: [
                "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>",
                code,
                " ",
                reason,
                "</title>\n<h1>",
                code,
                " ",
                reason,
                "</h1>\n",
                before,
                detail,
                after,
                "</html>\n",
            ],
        }
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// Appends it to `buffer`.
    pub fn append_to(&self, buffer: &mut Vec<u8>) {
        for piece in self.pieces {
            buffer.extend_from_slice(piece.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_long_as_it_says() {
        for detail in ["", "Why it is so."] {
            let page = Page::new(Status::NotFound, "404", detail);
            let mut buffer = Vec::new();
            page.append_to(&mut buffer);
            assert_eq!(buffer.len(), page.length());
            let text = String::from_utf8(buffer).expect("our own words");
            assert!(text.contains("<h1>404 Not Found</h1>") && text.contains(detail));
        }
    }
}
