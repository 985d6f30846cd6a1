//! The status page: one struct of numbers (`numbers`), shown as JSON, as HTML and for Prometheus.

mod access;
mod bars;
mod memory;
mod metrics;
mod numbers;
mod page;
mod plot;
mod text;

pub use access::STATUS_PATH;
pub(super) use access::{Access, Decision, PeerUser};
pub(super) use memory::MemoryNumbers;
pub(super) use numbers::{ConnectionNumbers, LoopNumbers, SentNumbers, Snapshot, TurnNumbers};

use access::METRICS_PATH;

use crate::conn::Document;
use crate::http::request::{Field, Request};

/// What the page may load: its own parts, and itself again.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Snapshot {
    /// The face that a request asks for: JSON by `?format=json` or by Accept, else HTML.
    pub(super) fn document(&self, request: &Request<'_>) -> Document {
        if request.path() == METRICS_PATH {
            let format = match accepts(request, b"application/openmetrics-text") {
                true => metrics::Format::OpenMetrics,
                false => metrics::Format::Text,
            };
            return Document {
                media_type: format.media_type(),
                bytes: metrics::of(self, format).into_bytes(),
                content_security_policy: None,
            };
        }
        if wants_json(request) {
            let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
            bytes.push(b'\n');
            return Document {
                media_type: "application/json",
                bytes,
                content_security_policy: None,
            };
        }
        match part(request) {
            Some(b"style") => resource("text/css; charset=utf-8", page::STYLE),
            Some(b"script") => resource("text/javascript; charset=utf-8", page::SCRIPT),
            _ => Document {
                media_type: "text/html; charset=utf-8",
                bytes: page::of(self).into_string().into_bytes(),
                content_security_policy: Some(CONTENT_SECURITY_POLICY),
            },
        }
    }
}

/// Which part of the page the query asks for, if it asks for one.
fn part<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let mut pairs = request.query()?.split(|byte| *byte == b'&');
    pairs.find_map(|pair| pair.strip_prefix(b"part="))
}

fn resource(media_type: &'static str, text: &str) -> Document {
    Document {
        media_type,
        bytes: text.as_bytes().to_vec(),
        content_security_policy: None,
    }
}

/// Whether the request prefers JSON: `format=json` in the query, or `application/json` in an
/// Accept that does not name HTML.
fn wants_json(request: &Request<'_>) -> bool {
    let by_query = request.query().is_some_and(|query| {
        query
            .split(|byte| *byte == b'&')
            .any(|pair| pair == b"format=json")
    });
    let accepts = |media_type| accepts(request, media_type);
    by_query || (accepts(b"application/json") && !accepts(b"text/html"))
}

/// Whether an Accept field names this media type.
fn accepts(request: &Request<'_>, media_type: &[u8]) -> bool {
    request.lines(Field::Accept).any(|line| {
        line.split(|byte| *byte == b',')
            .filter_map(|member| member.split(|byte| *byte == b';').next())
            .any(|name| name.trim_ascii().eq_ignore_ascii_case(media_type))
    })
}
