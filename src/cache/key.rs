//! Keys of caches: a site, and a path as it was asked for there.
//!
//! Two sites never share an entry, even with equal paths. A key that is kept is one block of memory, the number
//! of the site before the bytes of the path; one that is looked for borrows its path, so nothing is copied.

use std::hash::{Hash, Hasher};

use hashbrown::Equivalent;

use crate::site::sites::SiteId;

/// Bytes of the number of a site.
const SITE_LENGTH: usize = size_of::<u32>();

/// A path of a site, to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathKey<'a> {
    /// Whose path it is.
    pub(crate) site: SiteId,
    /// Its bytes.
    pub(crate) path: &'a [u8],
}

/// The same, to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathKeyBuf(Box<[u8]>);

impl<'a> PathKey<'a> {
    /// A path of a site.
    pub fn new(site: SiteId, path: &'a [u8]) -> PathKey<'a> {
        PathKey { site, path }
    }

    /// A copy to keep.
    pub(crate) fn to_buf(self) -> PathKeyBuf {
        let site = self.site.number().to_ne_bytes();
        PathKeyBuf([&site[..], self.path].concat().into())
    }
}

impl PathKeyBuf {
    /// The key, borrowed.
    pub(crate) fn as_key(&self) -> PathKey<'_> {
        match self.0.split_first_chunk() {
            Some((site, path)) => PathKey::new(SiteId::new(u32::from_ne_bytes(*site)), path),
            None => unreachable!("every key begins with a site"),
        }
    }

    /// The bytes of the path.
    pub(crate) fn path(&self) -> &[u8] {
        self.0.get(SITE_LENGTH..).unwrap_or_default()
    }

    /// Bytes of the block.
    pub(crate) fn length(&self) -> usize {
        self.0.len()
    }
}

/// Copies of those keys whose sites are meant, so that what they are the keys of can be removed.
pub(crate) fn of_sites<'a>(
    keys: impl Iterator<Item = PathKey<'a>>,
    is_meant: &dyn Fn(SiteId) -> bool,
) -> Vec<PathKeyBuf> {
    keys.filter(|key| is_meant(key.site))
        .map(PathKey::to_buf)
        .collect()
}

impl Equivalent<PathKeyBuf> for PathKey<'_> {
    fn equivalent(&self, key: &PathKeyBuf) -> bool {
        let parts = key.0.split_first_chunk();
        parts.is_some_and(|(site, path)| {
            *path == *self.path && *site == self.site.number().to_ne_bytes()
        })
    }
}

impl Hash for PathKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.path);
        state.write_u32(self.site.number());
    }
}

impl Hash for PathKeyBuf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_key().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn a_key_that_is_kept_is_found_by_what_it_was_made_of_and_by_nothing_else() {
        let paths: [&[u8]; 5] = [b"", b"/", b"/a", b"\0\0\0\0", b"\x01\0\0\0/a"];
        let sites = [0, 1, 256, u32::MAX].map(SiteId::new);
        let keys = || {
            sites
                .iter()
                .flat_map(|site| paths.map(|path| PathKey::new(*site, path)))
        };
        let hasher = crate::cache::key_hasher();
        for one in keys() {
            let kept = one.to_buf();
            assert_eq!((kept.as_key(), kept.path()), (one, one.path));
            assert_eq!(hasher.hash_one(&kept), hasher.hash_one(one));
            for other in keys() {
                let is_same = (other.site, other.path) == (one.site, one.path);
                assert_eq!(other.equivalent(&kept), is_same, "{one:?} {other:?}");
                assert_eq!(hasher.hash_one(other) == hasher.hash_one(one), is_same);
            }
        }
    }
}
