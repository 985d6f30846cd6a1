//! Renders the page of a directory listing.

use maud::{DOCTYPE, PreEscaped, html};
use percent_encoding::percent_encode;

use super::resolve::Listed;
use crate::http::date::HttpDate;
use crate::http::target::ENCODED;
use crate::sys::allocator::block_length;
use crate::sys::file::{Description, FileKind, FileTime};

/// Maximum length of the rows, in bytes: some 150,000 names of usual length. Browsers have trouble with more,
/// and it bounds the memory for one request.
pub(crate) const PAGE_LENGTH_MAX: u64 = 32 << 20;
/// Length of a row without its name.
const ROW_LENGTH: u64 = 136;
/// Length of the page without rows and title.
const FRAME_LENGTH: u64 = 2_048;
/// Placeholder for the rows.
const ROWS: &str = "<!-- rows -->";
/// The Content-Type of a [`page`].
pub(crate) const MEDIA_TYPE: &str = "text/html; charset=utf-8";
/// Allows nothing but the page's own style, by its hash.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'sha256-OFtjc1FsbRQtNYTgNCe8Jy7Vyz69jijdnr1VxdXT1ao='; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600}\
td,th{padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8884}\
td:nth-child(n+2){white-space:nowrap;font-variant-numeric:tabular-nums}\
td:nth-child(2),th:nth-child(2){text-align:right}";

/// Kind of a listed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NameKind {
    /// A directory.
    Directory,
    /// Any other name that can be requested: a file, or a link.
    File,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Bytes without a slash or NUL; not necessarily UTF-8.
    pub(crate) bytes: Vec<u8>,
    /// Kind of its target.
    pub(crate) kind: NameKind,
    /// Length in bytes, of a file.
    pub(crate) length: u64,
    /// mtime.
    pub(crate) modified: FileTime,
}

impl Name {
    /// A name with its `statx` description; `None` if it cannot be requested.
    pub(crate) fn new(bytes: Vec<u8>, what: &Description) -> Option<Name> {
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

    /// Maximum length of its row: the name once as a reference, once as text.
    fn row_length_max(&self) -> u64 {
        let reference = percent_encode(&self.bytes, ENCODED)
            .map(str::len)
            .sum::<usize>();
        let text = self.bytes.iter().map(|byte| match byte {
            b'"' => 6,
            b'&' => 5,
            b'<' | b'>' => 4,
            // A byte that is not UTF-8 becomes three.
            0x80.. => 3,
            _ => 1,
        });
        (reference + text.sum::<usize>()) as u64 + ROW_LENGTH
    }

    /// Memory of its text.
    fn memory_bytes(&self) -> u64 {
        block_length(self.bytes.capacity())
    }
}

/// The names in a directory: all, or the first in their order if the page would be too long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Without `.` and `..`.
    names: Vec<Name>,
    /// Maximum length of their rows.
    rows_length: u64,
    /// Memory of the names themselves.
    bytes: u64,
    /// Number of omitted names.
    left_out: u64,
}

impl Names {
    /// Memory that it takes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        block_length(self.names.capacity() * size_of::<Name>()) + self.bytes
    }

    /// Maximum length of the page of these names, without its title.
    pub(crate) fn page_length_max(&self) -> u64 {
        self.rows_length.min(PAGE_LENGTH_MAX) + FRAME_LENGTH
    }

    /// Sorts the names, and drops those at the end that exceed the page.
    fn cut(&mut self) {
        self.names
            .sort_unstable_by(|one, other| (one.kind, &one.bytes).cmp(&(other.kind, &other.bytes)));
        if self.rows_length <= PAGE_LENGTH_MAX {
            return;
        }
        let mut rows_length = 0;
        let fits = |name: &&Name| {
            let longer = rows_length + name.row_length_max();
            let is_in = longer <= PAGE_LENGTH_MAX;
            if is_in {
                rows_length = longer;
            }
            is_in
        };
        let count = self.names.iter().take_while(fits).count();
        self.left_out += (self.names.len() - count) as u64;
        self.names.truncate(count);
        self.rows_length = rows_length;
        self.bytes = self.names.iter().map(Name::memory_bytes).sum();
    }
}

impl Extend<Name> for Names {
    /// Amortized O(log n) per name. Holds at most the names of two pages.
    fn extend<I: IntoIterator<Item = Name>>(&mut self, names: I) {
        for name in names {
            self.rows_length += name.row_length_max();
            self.bytes += name.memory_bytes();
            self.names.push(name);
            if self.rows_length > 2 * PAGE_LENGTH_MAX {
                self.cut();
            }
        }
    }
}

/// The page of a directory: directories first, then by name. Takes milliseconds for the longest, so the job
/// that reads the names renders it.
pub(crate) fn page(listed: &Listed, mut names: Names) -> Vec<u8> {
    let title = match listed.below_root() {
        b"" => String::from("/"),
        directory => format!("/{}/", String::from_utf8_lossy(directory)),
    };
    names.cut();
    let frame = html! {
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
                        (PreEscaped(ROWS))
                    }
                }
                @if names.left_out > 0 { p { (names.left_out) " further names are not shown: the page would be too long." } }
            }
        }
    };
    let frame = frame.into_string();
    // Escaped text contains no `<`, so the placeholder is unique.
    let (before, after) = frame.split_once(ROWS).unwrap_or((&frame, ""));
    let mut page = String::with_capacity(frame.len() + to_usize(names.rows_length));
    page.push_str(before);
    for name in &names.names {
        page.push_str(&row(name).0);
    }
    page.push_str(after);
    page.into_bytes()
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
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

    use crate::site::resolve::DotFiles;

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

    fn names(all: impl IntoIterator<Item = Name>) -> Names {
        let mut names = Names::default();
        names.extend(all);
        names
    }

    fn listed(directory: &CStr, dot_files: DotFiles) -> Listed {
        Listed {
            directory: directory.to_owned(),
            dot_files,
        }
    }

    #[test]
    fn names_are_sorted_escaped_and_encoded() {
        let all = names([
            name(b"<b>&\".txt", NameKind::File),
            name(b"a:b c%?#", NameKind::File),
            name(b"\xff", NameKind::File),
            name(b"<!-- rows -->", NameKind::File),
            name(b"zoo", NameKind::Directory),
        ]);
        let page = page(&listed(c"some where", DotFiles::Refused), all.clone());
        assert!(page.len() as u64 <= all.page_length_max());
        let text = String::from_utf8(page).expect("HTML is UTF-8");
        let places: Vec<usize> = [
            "<title>Index of /some where/</title>",
            "href=\"../\"",
            "href=\"./zoo/\">zoo/<",
            "&lt;!-- rows --&gt;<",
            "href=\"./%3Cb%3E%26%22.txt\">&lt;b&gt;&amp;&quot;.txt<",
            "href=\"./a:b%20c%25%3F%23\">",
            "href=\"./%FF\">\u{fffd}<",
        ]
        .iter()
        .map(|piece| {
            text.find(piece)
                .unwrap_or_else(|| panic!("{piece} in {text}"))
        })
        .collect();
        assert!(places.is_sorted(), "{text}");
        assert!(!text.contains("not shown"));
        let root = super::page(&listed(c".", DotFiles::Served), all);
        let text = String::from_utf8(root).expect("HTML is UTF-8");
        assert!(!text.contains("../"));
    }

    #[test]
    fn names_that_start_with_a_dot_are_shown_where_they_are_served() {
        let shows = |dot_files, name: &[u8]| listed(c".", dot_files).shows(name);
        assert!(shows(DotFiles::Served, b".hidden") && shows(DotFiles::Refused, b"hidden."));
        assert!(!shows(DotFiles::Refused, b".hidden"));
    }

    /// In any order of input, the first names are shown.
    #[test]
    fn a_page_that_is_too_long_shows_the_first_names_and_counts_the_others() {
        const COUNT: u64 = 120_000;
        // Coprime with the count, so that each number occurs once.
        let all = (0..COUNT).map(|at| at * 48_271 % COUNT);
        let long = "x".repeat(200);
        let mut all =
            names(all.map(|number| name(format!("{number:06}-{long}").as_bytes(), NameKind::File)));
        assert!(all.memory_bytes() < 3 * PAGE_LENGTH_MAX);
        all.cut();
        let shown = all.names.len() as u64;
        let row = all.names[0].row_length_max();
        assert_eq!(shown, PAGE_LENGTH_MAX / row);
        assert_eq!(shown + all.left_out, COUNT);
        for (number, name) in (0..).zip(&all.names) {
            assert!(name.bytes.starts_with(format!("{number:06}-").as_bytes()));
        }
        let length_max = all.page_length_max();
        let page = page(&listed(c"d", DotFiles::Refused), all);
        assert!(page.len() as u64 <= length_max, "{}", page.len());
        let tail = String::from_utf8_lossy(&page[page.len() - 200..]).into_owned();
        assert!(
            tail.contains(&format!("{} further names", COUNT - shown)),
            "{tail}"
        );
    }

    #[test]
    fn the_style_is_the_one_that_the_policy_allows() {
        let hash = sha2::Sha256::digest(STYLE);
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        let allowed = format!("style-src 'sha256-{hash}';");
        assert!(CONTENT_SECURITY_POLICY.contains(&allowed), "{allowed}");
    }
}
