//! What came of reading a directory.

/// The page of a directory.
#[derive(Debug)]
pub(crate) struct Listing {
    /// HTML, in memory of just its length.
    pub page: Box<[u8]>,
    /// Two pages of one digest are the same.
    pub digest: u64,
    /// Whether no event in the directory tells of all changes: what links lead to lies elsewhere, a file with
    /// several names is written to through another, and the date of a directory changes with what is in it.
    pub is_polled: bool,
}
