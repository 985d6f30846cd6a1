//! Result of reading a directory.

/// The page of a directory.
#[derive(Debug)]
pub(crate) struct Listing {
    /// HTML, allocated in its exact size.
    pub page: Box<[u8]>,
    /// Equal digests mean equal pages.
    pub digest: u64,
    /// Whether events in the directory do not cover all changes of the page: links lead elsewhere, a file
    /// with several names is written through another one, and the date of a subdirectory changes with its
    /// contents.
    pub is_polled: bool,
}
