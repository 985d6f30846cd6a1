//! What the operator sees: the status page, metrics, the access log, notices on standard error, and how long
//! iterations of the loop take.

pub(crate) mod access_log;
pub(crate) mod iterations;
pub(crate) mod notices;
pub(crate) mod status;
