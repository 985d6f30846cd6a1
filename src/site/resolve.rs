//! Lookup plans: from a raw path to the files to look for below the root.

use std::ffi::CString;

use percent_encoding::percent_encode;

use super::media_type::{Compressible, MediaTypes};
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::http::target::{ENCODED, PathError, SitePath};
use crate::sys::file::{FileTime, FileVersion};
use crate::sys::watches::ANY;

/// Codings of precompressed variants, in the order in which they are opened.
pub(crate) const VARIANT_CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

/// How much older than its file a precompressed variant may be, in seconds: tools that publish both together
/// (`tar -xm`, parallel copies) write them in any order, within a moment.
const VARIANT_OLDER_SECONDS_MAX: i64 = 2;

/// What names of pages end in.
pub(crate) const PAGE_SUFFIX: &[u8] = b".html";

/// Whether names that start with a dot are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DotFiles {
    /// Answered with 404, except below `/.well-known/` (RFC 8615).
    Refused,
    /// Served like any other file.
    Served,
}

/// Answer to a request for a directory without an index file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directories {
    /// 404.
    Hidden,
    /// A page that lists its contents.
    Listed,
}

/// Mapping of paths to files, as a site configures it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// Index file names, in order of preference.
    pub index: Vec<String>,
    /// Whether names that start with a dot are served.
    pub dot_files: DotFiles,
    /// Answer for a directory without an index file.
    pub directories: Directories,
    /// Media types by file extension.
    pub media_types: MediaTypes,
}

/// One file to look for, with the paths of its precompressed variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Relative to the root, never empty, without dot segments.
    pub(crate) path: CString,
    /// `app.js.br` beside `app.js`; empty for media that do not compress.
    pub(crate) precompressed: Vec<(Coding, CString)>,
}

/// Where to look, in order; the first regular file is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupPlan {
    /// At least one, unless the directory is to be listed.
    pub(crate) candidates: Vec<Candidate>,
    /// Answer if the first candidate is a directory.
    pub(crate) on_directory: OnDirectory,
    /// The directory to list when there is no candidate.
    pub(crate) listing: Option<Listed>,
}

/// The result of an earlier lookup of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expectation {
    /// Relative to the root.
    pub(crate) path: CString,
    /// `None`: there was no regular file.
    pub(crate) version: Option<FileVersion>,
}

/// A directory that is to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Relative to the root; `.` for the root.
    pub(crate) directory: CString,
    /// Whether names that start with a dot are listed.
    pub(crate) dot_files: DotFiles,
}

impl Listed {
    /// Whether the page shows this name.
    pub(crate) fn shows(&self, name: &[u8]) -> bool {
        self.dot_files == DotFiles::Served || !name.starts_with(b".")
    }

    /// Its path relative to the root; empty for the root.
    pub(crate) fn below_root(&self) -> &[u8] {
        match self.directory.as_bytes() {
            b"." => b"",
            directory => directory,
        }
    }

    /// Its request path in the usual spelling: only the bytes that need it are escaped.
    pub(crate) fn raw_path(&self) -> Vec<u8> {
        match self.below_root() {
            b"" => b"/".to_vec(),
            directory => format!("/{}/", percent_encode(directory, ENCODED)).into_bytes(),
        }
    }
}

impl LookupPlan {
    /// Looks for the page of a path without its extension too, where there is no file of its name: `about.html` for
    /// `about`. Not for names of assets, of which no page exists.
    pub(crate) fn with_page(mut self, media_types: &MediaTypes) -> LookupPlan {
        if let (OnDirectory::Redirect(_), [only]) = (&self.on_directory, &self.candidates[..])
            && !media_types.is_asset(only.path.as_bytes())
        {
            let path = [only.path.as_bytes(), PAGE_SUFFIX].concat();
            self.candidates.extend(candidate(path, media_types));
        }
        self
    }

    /// The directory of the candidates, relative to the root; empty for the root.
    pub(crate) fn directory(&self) -> &[u8] {
        match (self.candidates.first(), &self.listing) {
            (Some(candidate), _) => split(candidate.path.as_bytes()).0,
            (None, Some(listed)) => listed.below_root(),
            (None, None) => b"",
        }
    }

    /// The names looked up in it: candidates and their precompressed variants; `ANY` too if it may be listed.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let of_candidates = self.candidates.iter().flat_map(|candidate| {
            let precompressed = candidate.precompressed.iter().map(|(_, path)| path);
            std::iter::once(&candidate.path)
                .chain(precompressed)
                .map(|path| split(path.as_bytes()).1)
        });
        of_candidates.chain(self.listing.iter().map(|_| ANY))
    }
}

/// The canonical spelling of a raw path, shared by all spellings of the same names; `None` for an invalid
/// path.
pub(crate) fn usual_spelling(raw_path: &[u8]) -> Option<Vec<u8>> {
    let path = SitePath::decode(raw_path).ok()?;
    Some(path.encoded().into_bytes())
}

/// Whether a precompressed variant is older than its file by more than [`VARIANT_OLDER_SECONDS_MAX`]. Both times are
/// mtimes.
pub(crate) fn is_outdated(variant: FileTime, file: FileTime) -> bool {
    let mut latest = variant;
    latest.seconds = latest.seconds.saturating_add(VARIANT_OLDER_SECONDS_MAX);
    latest < file
}

/// Strips the suffix of a precompressed variant, in any case of letters; other names are returned unchanged.
pub(crate) fn without_coding(name: &[u8]) -> &[u8] {
    let mut stems = VARIANT_CODINGS.iter().filter_map(|coding| {
        let suffix = coding.suffix().as_bytes();
        let (stem, end) = name.split_at_checked(name.len().checked_sub(suffix.len())?)?;
        end.eq_ignore_ascii_case(suffix).then_some(stem)
    });
    stems.next().unwrap_or(name)
}

/// Splits a path into its directory and its last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Answer where a directory is found instead of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnDirectory {
    /// Redirect to this path, which is encoded and ends in a slash.
    Redirect(String),
    /// 404, since it is not a file.
    Missing,
}

/// Plans the lookup of a raw, still encoded path.
///
/// # Errors
/// The status of a path that cannot name anything here: 400 for bad escapes, 404 for a slash
/// within a name and for hidden names.
pub fn plan(raw_path: &[u8], naming: &Naming) -> Result<LookupPlan, Status> {
    let path = SitePath::decode(raw_path).map_err(|error| match error {
        PathError::EncodedSlash => Status::NotFound,
        _ => Status::BadRequest,
    })?;
    if naming.dot_files == DotFiles::Refused && path.is_hidden() {
        return Err(Status::NotFound);
    }
    let relative = path.relative();
    if path.is_directory_form() {
        let candidates = naming
            .index
            .iter()
            .map(|name| indexed(relative, name, &naming.media_types))
            .collect();
        let listing = match naming.directories {
            Directories::Hidden => None,
            Directories::Listed => CString::new(match relative {
                b"" => b".",
                directory => directory,
            })
            .ok()
            .map(|directory| Listed {
                directory,
                dot_files: naming.dot_files,
            }),
        };
        return collect(candidates, OnDirectory::Missing, listing);
    }
    let redirect = format!("{}/", path.encoded());
    collect(
        vec![candidate(relative.to_vec(), &naming.media_types)],
        OnDirectory::Redirect(redirect),
        None,
    )
}

fn collect(
    candidates: Vec<Option<Candidate>>,
    on_directory: OnDirectory,
    listing: Option<Listed>,
) -> Result<LookupPlan, Status> {
    let candidates: Option<Vec<_>> = candidates.into_iter().collect();
    // A NUL was refused with 400 before, so every path is a valid C string.
    let candidates = candidates
        .filter(|all| !all.is_empty() || listing.is_some())
        .ok_or(Status::NotFound)?;
    Ok(LookupPlan {
        candidates,
        on_directory,
        listing,
    })
}

fn indexed(directory: &[u8], name: &str, types: &MediaTypes) -> Option<Candidate> {
    let mut path = directory.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    candidate(path, types)
}

fn candidate(path: Vec<u8>, types: &MediaTypes) -> Option<Candidate> {
    let precompressed = match types.of(&path).compressible {
        Compressible::No => Vec::new(),
        Compressible::Yes => VARIANT_CODINGS
            .iter()
            .map(|coding| {
                let mut variant = path.clone();
                variant.extend_from_slice(coding.suffix().as_bytes());
                CString::new(variant).ok().map(|variant| (*coding, variant))
            })
            .collect::<Option<_>>()?,
    };
    Some(Candidate {
        path: CString::new(path).ok()?,
        precompressed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming() -> Naming {
        Naming {
            index: vec!["index.html".into(), "index.txt".into()],
            dot_files: DotFiles::Refused,
            directories: Directories::Hidden,
            media_types: MediaTypes::default(),
        }
    }

    #[test]
    fn a_path_leads_to_files_below_the_root() {
        #[rustfmt::skip]
        let cases: &[(&str, &[&str], &str)] = &[
            ("/",                     &["index.html", "index.txt"],     "the root's index files in order"),
            ("/a/",                   &["a/index.html", "a/index.txt"], "a directory's"),
            ("/a/.",                  &["a/index.html", "a/index.txt"], "a dot segment ends in a directory"),
            ("/a/b.png",              &["a/b.png"],                     "a file"),
            ("/%61/b%2Epng",          &["a/b.png"],                     "decoded once"),
            ("/a/../../b.png",        &["b.png"],                       "never above the root"),
            ("//a//b.png",            &["a/b.png"],                     "empty segments are nothing"),
            ("/.well-known/acme",     &[".well-known/acme"],            "the one hidden name"),
        ];
        for (raw, want, because) in cases {
            let lookup = plan(raw.as_bytes(), &naming()).expect(raw);
            let paths: Vec<_> = lookup
                .candidates
                .iter()
                .map(|c| c.path.to_str().expect("UTF-8"))
                .collect();
            assert_eq!(paths, *want, "{raw}: {because}");
        }
    }

    #[test]
    fn a_path_that_names_nothing_is_refused_without_the_disk() {
        let cases = [
            ("/%00", Status::BadRequest),
            ("/%", Status::BadRequest),
            ("/%zz", Status::BadRequest),
            ("/a%2fb", Status::NotFound),
            ("/.git/config", Status::NotFound),
            ("/a/.htpasswd", Status::NotFound),
            ("/.well-known/.x", Status::NotFound),
        ];
        for (raw, want) in cases {
            assert_eq!(plan(raw.as_bytes(), &naming()), Err(want), "{raw}");
        }
    }

    #[test]
    fn a_directory_without_its_slash_is_redirected_within_the_site() {
        for (raw, want) in [
            ("/a", "/a/"),
            ("//evil.example", "/evil.example/"),
            ("/a%20b", "/a%20b/"),
        ] {
            let lookup = plan(raw.as_bytes(), &naming()).expect(raw);
            assert_eq!(
                lookup.on_directory,
                OnDirectory::Redirect(want.into()),
                "{raw}"
            );
        }
    }

    #[test]
    fn all_spellings_of_a_path_have_one_in_common() {
        let same = [
            "/a/b.js",
            "//a/b.js",
            "/%61/b.js",
            "/a/./b.js",
            "/x/../a/b%2Ejs",
        ];
        for raw in same {
            let usual = usual_spelling(raw.as_bytes());
            assert_eq!(usual.as_deref(), Some(&b"/a/b.js"[..]), "{raw}");
        }
        for (raw, want) in [("/", "/"), ("/a/", "/a/"), ("/a/.", "/a/"), ("/a", "/a")] {
            let usual = usual_spelling(raw.as_bytes());
            assert_eq!(usual.as_deref(), Some(want.as_bytes()), "{raw}");
        }
        assert_eq!(usual_spelling(b"/%00"), None);
    }

    #[test]
    fn a_variant_is_named_like_its_file() {
        for (name, want) in [
            ("a.js.br", "a.js"),
            ("A.JS.GZ", "A.JS"),
            ("a.zst", "a"),
            ("a.js", "a.js"),
            ("br", "br"),
            ("", ""),
        ] {
            assert_eq!(without_coding(name.as_bytes()), want.as_bytes(), "{name}");
        }
    }

    #[test]
    fn only_compressible_media_have_variants() {
        let precompressed = |raw: &str| {
            plan(raw.as_bytes(), &naming()).expect(raw).candidates[0]
                .precompressed
                .len()
        };
        assert_eq!((precompressed("/a.html"), precompressed("/a.png")), (3, 0));
    }
}
