//! The kernel, made safe: one facility a file, and the only home of `unsafe`.
//!
//! Nothing here decides anything. What the rest of the server knows of the kernel are the types of
//! this module: an open file, a mapping, a version of a file, a gathered send.

pub mod beneath;
pub mod file;
pub mod limits;
pub mod mapping;
pub mod socket;
