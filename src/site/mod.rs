//! The policy of the site: from a target to the files to look for, from a request and what is
//! known of a file to what to answer. Pure: no file, no socket, no clock.

pub mod fixed;
pub mod listing;
pub mod media_type;
pub mod mounts;
pub mod representation;
pub mod resolve;
pub mod response;
pub mod sites;
pub mod validators;
