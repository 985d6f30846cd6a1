//! What the operator sees: the status page, metrics, the access log, and how long iterations of the loop take.

pub(crate) mod access_log;
pub(crate) mod iterations;
pub mod status;
