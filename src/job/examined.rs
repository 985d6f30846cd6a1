//! What tells the bytes of an opened file from those of its other versions.

use std::sync::Arc;

use crate::site::validators::Identity;

/// What came of [`Syscall::Examine`](super::Syscall::Examine).
#[derive(Clone, Debug)]
pub(crate) struct Examined {
    /// What tells it apart.
    pub identity: Identity,
    /// Its content, where nothing else may be sent.
    pub content: Option<Arc<[u8]>>,
}

impl Examined {
    /// Without content.
    pub(crate) fn by(identity: Identity) -> Examined {
        Examined {
            identity,
            content: None,
        }
    }
}
