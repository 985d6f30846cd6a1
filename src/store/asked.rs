//! Turns the result of the store into a response that any protocol can write.

use super::Asked;
use crate::cache::entry::Resolution;
use crate::clock::Now;
use crate::conn::Response;

impl Asked {
    /// The response; `None` while the request waits for a job.
    pub(crate) fn response(&self, now: &Now) -> Option<Response<'_>> {
        Some(match self {
            Asked::Waiting(_) => return None,
            Asked::Moved(entry) => match &entry.resolution {
                Resolution::Moved(moved) => Response::moved(moved),
                other => unreachable!("{other:?} leads nowhere else"),
            },
            Asked::Fixed(fixed) => Response::fixed(fixed),
            Asked::Fallback => unreachable!("the store goes on from there"),
            Asked::Document(document) => Response::document(document),
            Asked::Selected {
                entry,
                coding,
                selected,
                source,
            } => {
                let Some(variants) = entry.variants() else {
                    unreachable!("only files are selected from");
                };
                let representation = variants.in_coding(*coding);
                Response::selected(representation, selected, source.as_ref(), now)
            }
        })
    }
}
