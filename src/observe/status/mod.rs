//! The status page: one struct of numbers (`numbers`), rendered as JSON, as HTML and for Prometheus.

mod access;
mod bars;
mod descriptors;
mod memory;
mod metrics;
mod numbers;
mod page;
mod plot;
mod shared;
mod writer;

pub(crate) use access::STATUS_PATH;
pub(crate) use access::{Access, Decision, PeerUser};
pub(crate) use descriptors::ShareNumbers;
pub(crate) use memory::MemoryNumbers;
pub(crate) use numbers::{
    ByActivity, ConnectionNumbers, IterationNumbers, LoopNumbers, SentNumbers, Snapshot,
};
pub(crate) use shared::{Face, SharedPages};

use access::METRICS_PATH;

use crate::conn::Document;
use crate::http::facts::{Facts, Field};

/// Allows only the page's own resources, and fetching itself again.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The resource requested from the status page.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The numbers.
    Numbers(Face),
    /// A static part of the page.
    Part(Document),
}

impl Asked {
    /// JSON by `?format=json` or by Accept, else HTML; at /metrics OpenMetrics by Accept, else plain text.
    pub(crate) fn by(request: &Facts<'_>) -> Asked {
        if request.path() == METRICS_PATH {
            return Asked::Numbers(match accepts(request, b"application/openmetrics-text") {
                true => Face::OpenMetrics,
                false => Face::Text,
            });
        }
        if wants_json(request) {
            return Asked::Numbers(Face::Json);
        }
        match part(request) {
            Some(b"style") => Asked::Part(resource("text/css; charset=utf-8", page::STYLE)),
            Some(b"script") => {
                Asked::Part(resource("text/javascript; charset=utf-8", page::SCRIPT))
            }
            _ => Asked::Numbers(Face::Page),
        }
    }
}

impl Snapshot {
    /// Renders the numbers in a format.
    pub(crate) fn render(&self, face: Face) -> Document {
        match face {
            Face::Page => Document::new(
                "text/html; charset=utf-8",
                page::of(self).into_string().into_bytes(),
                Some(CONTENT_SECURITY_POLICY),
            ),
            Face::Json => {
                let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
                bytes.push(b'\n');
                Document::new("application/json", bytes, None)
            }
            Face::Text => self.metrics(metrics::Format::Text),
            Face::OpenMetrics => self.metrics(metrics::Format::OpenMetrics),
        }
    }

    fn metrics(&self, format: metrics::Format) -> Document {
        let text = metrics::of(self, format);
        Document::new(format.media_type(), text.into_bytes(), None)
    }
}

/// The part of the page named by the query, if any.
fn part<'a>(request: &Facts<'a>) -> Option<&'a [u8]> {
    let mut pairs = request.query()?.split(|byte| *byte == b'&');
    pairs.find_map(|pair| pair.strip_prefix(b"part="))
}

fn resource(media_type: &'static str, text: &str) -> Document {
    Document::new(media_type, text.as_bytes().to_vec(), None)
}

/// Whether the request prefers JSON: `format=json` in the query, or `application/json` in an
/// Accept that does not name HTML.
fn wants_json(request: &Facts<'_>) -> bool {
    let by_query = request.query().is_some_and(|query| {
        query
            .split(|byte| *byte == b'&')
            .any(|pair| pair == b"format=json")
    });
    let accepts = |media_type| accepts(request, media_type);
    by_query || (accepts(b"application/json") && !accepts(b"text/html"))
}

/// Whether an Accept field names this media type.
fn accepts(request: &Facts<'_>, media_type: &[u8]) -> bool {
    request.lines(Field::Accept).any(|line| {
        line.split(|byte| *byte == b',')
            .filter_map(|member| member.split(|byte| *byte == b';').next())
            .any(|name| name.trim_ascii().eq_ignore_ascii_case(media_type))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::facts::list::of_both;

    #[test]
    fn a_request_for_the_page_says_which_form_of_it() {
        let accept = |value| [("Accept", value)];
        let (html, json) = (
            accept("text/html"),
            accept("text/plain, application/JSON;q=0.5"),
        );
        let browser = accept("application/json, text/html");
        let metrics = accept("application/openmetrics-text;version=1.0.0");
        #[rustfmt::skip]
        let cases = [
            ("/status",                         &html,    Face::Page),
            ("/status?a=b&format=json",         &html,    Face::Json),
            ("/status?format=jsonx",            &html,    Face::Page),
            ("/status",                         &json,    Face::Json),
            ("/status",                         &browser, Face::Page),
            ("/metrics",                        &html,    Face::Text),
            ("/metrics",                        &metrics, Face::OpenMetrics),
        ];
        for (target, fields, want) in cases {
            let face = of_both("GET", "a", target, fields, |facts| match Asked::by(facts) {
                Asked::Numbers(face) => Some(face),
                Asked::Part(_) => None,
            });
            assert_eq!(face, Some(want), "{target} {fields:?}");
        }
        let is_part = |facts: &Facts<'_>| matches!(Asked::by(facts), Asked::Part(_));
        assert!(of_both("GET", "a", "/status?part=style", &html, is_part));
    }
}
