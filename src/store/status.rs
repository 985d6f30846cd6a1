//! Status codes for errors of the disk: the only place where they are mapped.

use crate::http::status::Status;
use crate::job::{JobError, Refusal};

impl From<JobError> for Status {
    fn from(error: JobError) -> Status {
        match error {
            JobError::Busy => Status::ServiceUnavailable,
            JobError::TimedOut => Status::GatewayTimeout,
            JobError::Failed => Status::InternalServerError,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        match refusal {
            Refusal::Missing => Status::NotFound,
            Refusal::Forbidden => Status::Forbidden,
        }
    }
}
