//! The identity of an opened file's bytes.

use std::sync::Arc;

use crate::site::validators::Identity;

/// Result of [`Syscall::Examine`](super::Syscall::Examine).
#[derive(Clone, Debug)]
pub(crate) struct Examined {
    /// What identifies the version.
    pub identity: Identity,
    /// Its content, if only this copy may be sent.
    pub content: Option<Arc<[u8]>>,
}

impl Examined {
    /// An identity without content.
    pub(crate) fn by(identity: Identity) -> Examined {
        Examined {
            identity,
            content: None,
        }
    }
}
