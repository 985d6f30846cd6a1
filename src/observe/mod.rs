//! Observability: the status page, metrics, the access log, warnings on standard error, and the durations of
//! loop iterations.

pub(crate) mod access_log;
pub(crate) mod iterations;
pub(crate) mod notices;
pub(crate) mod status;
