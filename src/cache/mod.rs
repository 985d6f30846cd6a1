//! The caches: what paths lead to, mapped files, open descriptors; and what they count.
//!
//! Three tables with one rule each:
//!
//! - [`path::PathCache`]: a raw path leads to an [`entry::Entry`], which is facts only: versions,
//!   rendered heads, or that there is nothing. It holds no file.
//! - [`held::HeldCache`] of mappings and of descriptors: a [`FileVersion`](crate::sys::file::FileVersion)
//!   leads to its bytes. A changed file is another key, so a length of one version can never be
//!   sent with bytes of another.
//!
//! Nothing here opens, reads or looks at a clock. What is in use is reference-counted: eviction
//! forgets it, the last user closes or unmaps it.

pub mod dependents;
pub mod entry;
pub mod held;
pub mod path;
pub mod stats;

/// Requests for a path after which its file is mapped: a file asked for once never enters the map.
pub const MAP_AFTER_REQUEST_COUNT: u32 = 2;
