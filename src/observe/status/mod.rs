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
pub(crate) use descriptors::{DescriptorNumbers, ShareNumbers};
pub(crate) use memory::MemoryNumbers;
pub(crate) use numbers::{
    ByActivity, ConnectionNumbers, IterationNumbers, LoopNumbers, SentNumbers, Snapshot,
};
pub(crate) use shared::{PageFormat, SharedPages};

use access::METRICS_PATH;

use crate::conn::Document;
use crate::http::facts::{Facts, Field};

/// Allows only the page's own resources, and fetching itself again.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The resource requested from the status page.
#[derive(Debug)]
pub(crate) enum StatusResource {
    /// The numbers.
    Numbers(PageFormat),
    /// A static part of the page.
    Part(Document),
}

impl StatusResource {
    /// JSON by `?format=json` or by Accept, else HTML; at /metrics OpenMetrics by Accept, else plain text.
    pub(crate) fn by(request: &Facts<'_>) -> StatusResource {
        if request.path() == METRICS_PATH {
            return StatusResource::Numbers(
                match accepts(request, b"application/openmetrics-text") {
                    true => PageFormat::OpenMetrics,
                    false => PageFormat::Text,
                },
            );
        }
        if wants_json(request) {
            return StatusResource::Numbers(PageFormat::Json);
        }
        match part(request) {
            Some(b"style") => {
                StatusResource::Part(resource("text/css; charset=utf-8", page::STYLE))
            }
            Some(b"script") => {
                StatusResource::Part(resource("text/javascript; charset=utf-8", page::SCRIPT))
            }
            _ => StatusResource::Numbers(PageFormat::Html),
        }
    }
}

impl Snapshot {
    /// Renders the numbers in a format.
    pub(crate) fn render(&self, format: PageFormat) -> Document {
        match format {
            PageFormat::Html => Document::new(
                "text/html; charset=utf-8",
                page::of(self).into_string().into_bytes(),
                Some(CONTENT_SECURITY_POLICY),
            ),
            PageFormat::Json => {
                let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
                bytes.push(b'\n');
                Document::new("application/json", bytes, None)
            }
            PageFormat::Text => self.metrics(metrics::Format::Text),
            PageFormat::OpenMetrics => self.metrics(metrics::Format::OpenMetrics),
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
            ("/status",                         &html,    PageFormat::Html),
            ("/status?a=b&format=json",         &html,    PageFormat::Json),
            ("/status?format=jsonx",            &html,    PageFormat::Html),
            ("/status",                         &json,    PageFormat::Json),
            ("/status",                         &browser, PageFormat::Html),
            ("/metrics",                        &html,    PageFormat::Text),
            ("/metrics",                        &metrics, PageFormat::OpenMetrics),
        ];
        for (target, fields, want) in cases {
            let format = of_both(
                "GET",
                "a",
                target,
                fields,
                |facts| match StatusResource::by(facts) {
                    StatusResource::Numbers(format) => Some(format),
                    StatusResource::Part(_) => None,
                },
            );
            assert_eq!(format, Some(want), "{target} {fields:?}");
        }
        let is_part =
            |facts: &Facts<'_>| matches!(StatusResource::by(facts), StatusResource::Part(_));
        assert!(of_both("GET", "a", "/status?part=style", &html, is_part));
    }
}
