//! The small pages of errors and redirects.

use crate::http::status::Status;

/// What an Allow field lists.
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

/// The Content-Type of [`page`].
pub const PAGE_TYPE: &[u8] = b"text/html; charset=utf-8";

/// Appends the page that says a status in words; `detail` is one sentence of our own, so nothing
/// in it needs escaping.
pub fn page(buffer: &mut Vec<u8>, status: Status, detail: Option<&str>) {
    let mut code = itoa::Buffer::new();
    let code = code.format(status.code());
    let pieces = [
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>",
        code,
        " ",
        status.reason(),
        "</title>\n<h1>",
        code,
        " ",
        status.reason(),
        "</h1>\n",
    ];
    for piece in pieces {
        buffer.extend_from_slice(piece.as_bytes());
    }
    if let Some(detail) = detail {
        for piece in ["<p>", detail, "</p>\n"] {
            buffer.extend_from_slice(piece.as_bytes());
        }
    }
    buffer.extend_from_slice(b"</html>\n");
}
