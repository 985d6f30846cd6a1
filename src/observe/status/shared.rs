//! Cached renderings of the status page, shared by all clients.
//!
//! Collecting and rendering the numbers takes longer than hundreds of hits: with one rendering per request,
//! frequent reloads would slow down everybody else. Each format is rendered at most once a second in the long
//! run, and all clients get the same buffer. After an idle time a short burst is allowed, so that somebody
//! who looks, acts and looks again sees the effect.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::conn::Document;

/// How long a rendering is current, and the average interval between renderings.
const SHOWN_FOR: Duration = Duration::from_secs(1);
/// Burst of renderings allowed after an idle time.
const BURST: u32 = 8;

/// Formats of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageFormat {
    /// HTML.
    Html,
    /// JSON.
    Json,
    /// Prometheus' own text format.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

const FORMAT_COUNT: usize = 4;

/// One format.
#[derive(Debug, Default)]
struct Shared {
    latest: Option<Rc<Document>>,
    /// When the full burst is available again; each rendering moves it on by [`SHOWN_FOR`].
    whole_at: Option<Instant>,
}

/// The latest rendering of each format.
#[derive(Debug, Default)]
pub(crate) struct SharedPages {
    formats: [Shared; FORMAT_COUNT],
}

impl SharedPages {
    /// The latest rendering of a format, unless a new one is due.
    pub(crate) fn latest(&self, format: PageFormat, now: Instant) -> Option<&Rc<Document>> {
        let shared = &self.formats[format as usize];
        let is_spent = |whole_at: Instant| whole_at > now + SHOWN_FOR * (BURST - 1);
        shared
            .latest
            .as_ref()
            .filter(|_| shared.whole_at.is_some_and(is_spent))
    }

    /// Stores a new rendering, and returns it.
    pub(crate) fn share(
        &mut self,
        format: PageFormat,
        document: Document,
        now: Instant,
    ) -> Rc<Document> {
        let shared = &mut self.formats[format as usize];
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

    /// Requests the page every 10 ms for some time; returns the number of renderings.
    fn ask(pages: &mut SharedPages, from: Instant, lasting: Duration) -> u32 {
        let step = Duration::from_millis(10);
        let moments = std::iter::successors(Some(from), |at| Some(*at + step));
        let moments = moments.take_while(|at| *at < from + lasting);
        moments.fold(0, |rendered, now| {
            match pages.latest(PageFormat::Html, now) {
                Some(_) => rendered,
                None => {
                    pages.share(PageFormat::Html, document(), now);
                    rendered + 1
                }
            }
        })
    }

    #[test]
    fn a_format_is_rendered_once_a_second_however_often_it_is_requested() {
        let mut pages = SharedPages::default();
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        assert_eq!(ask(&mut pages, start, minute), 60 + BURST - 1);
        assert_eq!(ask(&mut pages, start + minute, minute), 60);
        assert!(
            pages.latest(PageFormat::Json, start).is_none(),
            "each has its own"
        );
        // After an idle time a burst is allowed again.
        let rested = start + 4 * minute;
        assert_eq!(ask(&mut pages, rested, Duration::from_millis(100)), BURST);
    }
}
