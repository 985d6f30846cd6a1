//! What a look-up saw, so that it can be compared with the disk later.

use std::ffi::CStr;

use crate::http::content_coding::Coding;
use crate::site::representation::Variants;
use crate::site::resolve::{Expectation, LookupPlan};
use crate::sys::allocator::block_length;
use crate::sys::file::FileVersion;

/// What a look-up saw beside the files that it led to. Names are not kept: the look-up is planned anew when
/// it is to be checked, and has the same names in the same order.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// `None`, which is most often so: nothing.
    besides: Option<Box<Besides>>,
}

#[derive(Clone, Debug)]
struct Besides {
    /// Candidates that were not there, before the one that was.
    missing_count: usize,
    /// Precompressed files that exist but are not used, by their index in the lookup plan.
    unused: Box<[(usize, FileVersion)]>,
}

impl Seen {
    /// Of a look-up that saw all this, in order, and led to `file` with precompressed files in these codings.
    pub(crate) fn of(all: &[Expectation], file: &CStr, used: &[Coding]) -> Seen {
        let missing_count = all.iter().take_while(|one| *one.path != *file).count();
        let is_used = |path: &CStr| {
            let suffix = path.to_bytes().strip_prefix(file.to_bytes());
            let is_suffix = |coding: &Coding| suffix == Some(coding.suffix().as_bytes());
            used.iter().any(is_suffix)
        };
        let precompressed = all.iter().skip(missing_count + 1).enumerate();
        let unused = precompressed.filter(|(_, one)| !is_used(&one.path));
        let unused: Box<[_]> = unused
            .filter_map(|(place, one)| Some((place, one.version?)))
            .collect();
        let is_nothing = missing_count == 0 && unused.is_empty();
        Seen {
            besides: (!is_nothing).then(|| {
                Box::new(Besides {
                    missing_count,
                    unused,
                })
            }),
        }
    }

    /// All paths that were looked at, in order: if each still leads to the same, so does the look-up.
    pub(crate) fn expectations(
        &self,
        lookup: &LookupPlan,
        variants: &Variants,
    ) -> Vec<Expectation> {
        let mut all = Vec::new();
        let besides = self.besides.as_ref();
        let missing_count = besides.map_or(0, |besides| besides.missing_count);
        for (index, candidate) in lookup.candidates.iter().enumerate() {
            let is_file = index == missing_count;
            let version = is_file.then_some(variants.identity.version);
            let path = candidate.path.clone();
            all.push(Expectation { path, version });
            if is_file {
                let precompressed = candidate.precompressed.iter().enumerate();
                all.extend(precompressed.map(|(place, (coding, path))| Expectation {
                    path: path.clone(),
                    version: self.variant(place, *coding, variants),
                }));
                break;
            }
        }
        all
    }

    fn variant(&self, place: usize, coding: Coding, variants: &Variants) -> Option<FileVersion> {
        let used = variants
            .coded
            .iter()
            .find(|variant| variant.coding == coding);
        let unused = || {
            let mut unused = self.besides.as_ref()?.unused.iter();
            unused.find(|unused| unused.0 == place)
        };
        used.map(|variant| variant.version)
            .or_else(|| unused().map(|unused| unused.1))
    }

    /// Bytes that it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        self.besides.as_ref().map_or(0, |besides| {
            block_length(size_of::<Besides>()) + block_length(size_of_val(&*besides.unused))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::curve::tests::now;
    use crate::site::media_type::MediaTypes;
    use crate::site::representation::{Representation, Vary};
    use crate::site::resolve::{self, Directories, DotFiles, Naming};
    use crate::site::validators::Sighting;
    use crate::sys::file::FileTime;

    fn version(inode: u64) -> FileVersion {
        let time = FileTime {
            seconds: 1,
            nanoseconds: 2,
        };
        FileVersion {
            device: 1,
            inode,
            length: 3,
            modified: time,
            changed: time,
        }
    }

    #[test]
    fn what_a_look_up_saw_is_known_without_the_names() {
        let naming = Naming {
            index: vec!["index.htm".into(), "index.html".into(), "x.png".into()],
            dot_files: DotFiles::Refused,
            directories: Directories::Hidden,
            media_types: MediaTypes::default(),
        };
        let (br, zstd, gzip) = (Coding::Brotli, Coding::Zstd, Coding::Gzip);
        type Case<'a> = (&'a [u8], &'a [Option<u64>], usize, &'a [Coding], &'a str);
        #[rustfmt::skip]
        let cases: &[Case<'_>] = &[
            // path        inodes seen, in order                      file at  used
            (b"/a.png",    &[Some(1)],                                     0, &[],         "no media that compress"),
            (b"/a.html",   &[Some(1), None, None, None],                   0, &[],         "no variants"),
            (b"/a.html",   &[Some(1), Some(2), None, Some(3)],             0, &[br, gzip], "two variants"),
            (b"/a.html",   &[Some(1), Some(2), Some(4), Some(3)],          0, &[zstd],     "two that are too old"),
            (b"/a.html",   &[Some(1), Some(2), Some(2), None],             0, &[br],       "one file by two names"),
            (b"/d/",       &[None, Some(1), Some(2), None, Some(3)],       1, &[gzip],     "the second index"),
            (b"/d/",       &[None, None, Some(1)],                         2, &[],         "the last index"),
        ];
        for (path, inodes, at, used, because) in cases {
            let lookup = resolve::plan(path, &naming).expect("a path");
            let mut names: Vec<_> = lookup.candidates[..=*at]
                .iter()
                .map(|candidate| candidate.path.clone())
                .collect();
            names.extend(
                lookup.candidates[*at]
                    .precompressed
                    .iter()
                    .map(|variant| variant.1.clone()),
            );
            let all: Vec<Expectation> = names
                .into_iter()
                .zip(*inodes)
                .map(|(path, inode)| Expectation {
                    path,
                    version: inode.map(version),
                })
                .collect();
            assert_eq!(all.len(), inodes.len(), "{because}");
            let describe = |inode, coding| {
                Representation::new(
                    "a/b",
                    Sighting::of(version(inode)),
                    coding,
                    Vary::Nothing,
                    &now(),
                )
            };
            let variant = |coding: &Coding| {
                let mut precompressed = lookup.candidates[*at].precompressed.iter();
                let place = precompressed
                    .position(|variant| variant.0 == *coding)
                    .expect("a variant");
                describe(inodes[at + 1 + place].expect("it is there"), *coding)
            };
            let variants = Variants {
                identity: describe(1, Coding::Identity),
                coded: used.iter().map(variant).collect(),
            };
            let seen = Seen::of(&all, &lookup.candidates[*at].path, used);
            assert_eq!(seen.expectations(&lookup, &variants), all, "{because}");
        }
    }
}
