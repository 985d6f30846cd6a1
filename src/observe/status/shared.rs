//! Renderings of the status page, shared by all who ask for it.
//!
//! Gathering and rendering take longer than hundreds of hits, so that a page a request would let whoever
//! reloads it slow down everybody else. Each face is rendered at most once a second in the long run, and
//! sent to all from one buffer. After a rest a few may follow each other at once, so that somebody who looks, does
//! something and looks again sees what he did.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::conn::Document;

/// How long a rendering is shown, and how long it takes until another one may be made.
const SHOWN_FOR: Duration = Duration::from_secs(1);
/// Renderings that may follow each other at once after a rest.
const BURST: u32 = 8;

/// What the numbers are shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    /// HTML.
    Page,
    /// JSON.
    Json,
    /// Prometheus' own text format.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

const FACE_COUNT: usize = 4;

/// One face.
#[derive(Debug, Default)]
struct Shared {
    latest: Option<Rc<Document>>,
    /// When the allowance is whole again; each rendering moves it on by [`SHOWN_FOR`].
    whole_at: Option<Instant>,
}

/// The latest rendering of each face.
#[derive(Debug, Default)]
pub(crate) struct SharedPages {
    faces: [Shared; FACE_COUNT],
}

impl SharedPages {
    /// The latest rendering of a face, unless it may be rendered anew.
    pub(crate) fn latest(&self, face: Face, now: Instant) -> Option<&Rc<Document>> {
        let shared = &self.faces[face as usize];
        let is_spent = |whole_at: Instant| whole_at > now + SHOWN_FOR * (BURST - 1);
        shared
            .latest
            .as_ref()
            .filter(|_| shared.whole_at.is_some_and(is_spent))
    }

    /// Takes a new rendering in, and gives it to whoever asked.
    pub(crate) fn share(&mut self, face: Face, document: Document, now: Instant) -> Rc<Document> {
        let shared = &mut self.faces[face as usize];
        let from = shared.whole_at.map_or(now, |whole_at| whole_at.max(now));
        shared.whole_at = Some(from + SHOWN_FOR);
        let document = Rc::new(document);
        shared.latest = Some(Rc::clone(&document));
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document::new("text/plain", Vec::new(), None)
    }

    /// Asks every 10 ms for a time; gives how many were rendered.
    fn ask(pages: &mut SharedPages, from: Instant, lasting: Duration) -> u32 {
        let step = Duration::from_millis(10);
        let moments = std::iter::successors(Some(from), |at| Some(*at + step));
        let moments = moments.take_while(|at| *at < from + lasting);
        moments.fold(0, |rendered, now| match pages.latest(Face::Page, now) {
            Some(_) => rendered,
            None => {
                pages.share(Face::Page, document(), now);
                rendered + 1
            }
        })
    }

    #[test]
    fn a_face_is_rendered_once_a_second_however_often_it_is_asked_for() {
        let mut pages = SharedPages::default();
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        assert_eq!(ask(&mut pages, start, minute), 60 + BURST - 1);
        assert_eq!(ask(&mut pages, start + minute, minute), 60);
        assert!(
            pages.latest(Face::Json, start).is_none(),
            "each has its own"
        );
        // After a rest somebody may look twice again.
        let rested = start + 4 * minute;
        assert_eq!(ask(&mut pages, rested, Duration::from_millis(100)), BURST);
    }
}
