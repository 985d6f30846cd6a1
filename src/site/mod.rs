//! The policy of the site: from a target to the files to look for, and from a request and facts about a file
//! to the answer. Pure: no file, no socket, no clock.

pub mod access;
pub mod fields;
pub(crate) mod fixed;
pub(crate) mod listing;
pub mod media_type;
pub(crate) mod mounts;
pub mod network;
pub mod path_rules;
pub mod pattern;
pub mod redirect;
pub(crate) mod rendered;
pub mod representation;
pub mod resolve;
pub mod response;
pub mod sites;
pub mod validators;
