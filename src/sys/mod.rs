//! The kernel, made safe: one facility a file, and the only home of `unsafe`.
//!
//! Nothing here decides anything. What the rest of the server knows of the kernel are the types of
//! this module: an open file, a mapping, a version of a file, a gathered send, a ring of calls.

pub(crate) mod access;
pub mod allocator;
pub(crate) mod beneath;
pub(crate) mod cachestat;
pub mod deferred_drops;
mod describe;
pub mod file;
pub(crate) mod file_clock;
pub(crate) mod file_place;
pub(crate) mod inherited;
pub(crate) mod limits;
pub(crate) mod mapping;
pub mod memory;
pub(crate) mod mounts;
pub(crate) mod needed;
pub(crate) mod output;
pub(crate) mod pagemap;
pub(crate) mod pressure;
pub(crate) mod ring;
mod scratch;
pub(crate) mod signals;
pub(crate) mod sock_diag;
pub mod socket;
mod steps;
pub(crate) mod switched;
pub(crate) mod usage;
pub(crate) mod watches;

pub(crate) use scratch::READ_LENGTH_MAX;
