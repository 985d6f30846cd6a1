//! The kernel, made safe: one facility a file, and the only home of `unsafe`.
//!
//! Nothing here decides anything. What the rest of the server knows of the kernel are the types of
//! this module: an open file, a mapping, a version of a file, a gathered send, a ring of calls.

pub mod access;
pub mod allocator;
pub mod beneath;
pub mod cachestat;
pub mod deferred_drops;
mod describe;
pub mod file;
pub mod file_clock;
pub mod inherited;
pub mod limits;
pub mod mapping;
pub mod memory;
pub mod mounts;
pub mod needed;
pub mod output;
pub mod pagemap;
pub mod pressure;
pub mod ring;
mod scratch;
pub mod signals;
pub mod sock_diag;
pub mod socket;
mod steps;
pub mod switched;
pub mod usage;
pub mod watches;

pub use scratch::READ_LENGTH_MAX;
