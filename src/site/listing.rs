//! The page that lists a directory: names in, HTML out.

use maud::{DOCTYPE, PreEscaped, html};
use percent_encoding::percent_encode;

use super::resolve::{DotFiles, Listed};
use crate::http::date::HttpDate;
use crate::http::target::ENCODED;
use crate::sys::file::{Description, FileKind, FileTime};

/// Most names that are listed: a page of more is of no use to anybody.
pub const NAME_COUNT_MAX: usize = 10_000;
/// The Content-Type of a [`page`].
pub const MEDIA_TYPE: &str = "text/html; charset=utf-8";
/// What the page may load: nothing but its own style, which is named by its hash.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'sha256-OFtjc1FsbRQtNYTgNCe8Jy7Vyz69jijdnr1VxdXT1ao='; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600}\
td,th{padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8884}\
td:nth-child(n+2){white-space:nowrap;font-variant-numeric:tabular-nums}\
td:nth-child(2),th:nth-child(2){text-align:right}";

/// What a name is, as far as a visitor cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// A directory.
    Directory,
    /// Anything else that may be asked for: a file, or a link to something.
    File,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Bytes without a slash or NUL; not necessarily UTF-8.
    pub bytes: Vec<u8>,
    /// What it leads to, links not followed.
    pub kind: NameKind,
    /// Length in bytes, of a file.
    pub length: u64,
    /// mtime.
    pub modified: FileTime,
}

impl Name {
    /// A name with what `statx` says of it, if it is something that could be asked for.
    pub fn new(bytes: Vec<u8>, what: &Description) -> Option<Name> {
        let kind = match what.kind {
            FileKind::Directory => NameKind::Directory,
            FileKind::Regular | FileKind::Link => NameKind::File,
            FileKind::Special => return None,
        };
        Some(Name {
            bytes,
            kind,
            length: what.version.length,
            modified: what.version.modified,
        })
    }
}

/// The names in a directory, in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// At most [`NAME_COUNT_MAX`], without `.` and `..`.
    pub names: Vec<Name>,
    /// Whether there are more.
    pub truncated: bool,
}

/// The page for a directory: directories first, then by name. Milliseconds for the longest, so it is
/// made by the job that reads the names.
pub fn page(listed: &Listed, listing: Listing) -> Vec<u8> {
    let dot_files = listed.dot_files;
    let title = match listed.directory.as_bytes() {
        b"." => String::from("/"),
        directory => format!("/{}/", String::from_utf8_lossy(directory)),
    };
    let mut names = listing.names;
    names.retain(|name| dot_files == DotFiles::Served || !name.bytes.starts_with(b"."));
    names.sort_by(|one, other| (one.kind, &one.bytes).cmp(&(other.kind, &other.bytes)));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Index of " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Index of " (title) }
                table {
                    thead { tr { th scope="col" { "name" } th scope="col" { "bytes" } th scope="col" { "modified" } } }
                    tbody {
                        @if title != "/" { tr { td { a href="../" { "../" } } td {} td {} } }
                        @for name in &names { (row(name)) }
                    }
                }
                @if listing.truncated { p { "There are more names than are shown here." } }
            }
        }
    };
    page.into_string().into_bytes()
}

fn row(name: &Name) -> maud::Markup {
    let slash = match name.kind {
        NameKind::Directory => "/",
        NameKind::File => "",
    };
    // A colon in the first segment of a relative reference would make it a scheme.
    let reference = format!("./{}{slash}", percent_encode(&name.bytes, ENCODED));
    let modified = HttpDate::from_unix_seconds(name.modified.seconds).render();
    html! {
        tr {
            td { a href=(reference) { (String::from_utf8_lossy(&name.bytes)) (slash) } }
            td { @if name.kind == NameKind::File { (name.length) } }
            td { (String::from_utf8_lossy(&modified)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    use base64::Engine as _;
    use sha2::Digest as _;

    fn name(bytes: &[u8], kind: NameKind) -> Name {
        let modified = FileTime {
            seconds: 0,
            nanoseconds: 0,
        };
        Name {
            bytes: bytes.to_vec(),
            kind,
            length: 5,
            modified,
        }
    }

    #[test]
    fn names_are_sorted_escaped_and_encoded() {
        let listing = Listing {
            names: vec![
                name(b"<b>&\".txt", NameKind::File),
                name(b"a:b c%?#", NameKind::File),
                name(b"\xff", NameKind::File),
                name(b".hidden", NameKind::File),
                name(b"zoo", NameKind::Directory),
            ],
            truncated: true,
        };
        let listed = |directory: &CStr, dot_files| Listed {
            directory: directory.to_owned(),
            dot_files,
        };
        let page = page(&listed(c"some where", DotFiles::Refused), listing.clone());
        let text = String::from_utf8(page).expect("HTML is UTF-8");
        let places: Vec<usize> = [
            "<title>Index of /some where/</title>",
            "href=\"../\"",
            "href=\"./zoo/\">zoo/<",
            "href=\"./%3Cb%3E%26%22.txt\">&lt;b&gt;&amp;&quot;.txt<",
            "href=\"./a:b%20c%25%3F%23\">",
            "href=\"./%FF\">\u{fffd}<",
            "more names",
        ]
        .iter()
        .map(|piece| {
            text.find(piece)
                .unwrap_or_else(|| panic!("{piece} in {text}"))
        })
        .collect();
        assert!(places.is_sorted());
        assert!(!text.contains("hidden"));
        let root = super::page(&listed(c".", DotFiles::Served), listing);
        let text = String::from_utf8(root).expect("HTML is UTF-8");
        assert!(text.contains(".hidden") && !text.contains("../"));
    }

    #[test]
    fn the_style_is_the_one_that_the_policy_allows() {
        let hash = sha2::Sha256::digest(STYLE);
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        let allowed = format!("style-src 'sha256-{hash}';");
        assert!(CONTENT_SECURITY_POLICY.contains(&allowed), "{allowed}");
    }
}
