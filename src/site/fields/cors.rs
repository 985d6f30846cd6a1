//! Which sites may read answers in browsers: cross-origin resource sharing.
//!
//! Answers for one origin or for all are the same for every request, so they need no Vary. With several origins the
//! answer depends on the Origin of its request: it says so in Vary, also where the origin is not among them. The line
//! for each origin is rendered when the configuration is read, so an answer from memory copies it.
//!
//! A preflight request (OPTIONS with Access-Control-Request-Method) is answered with 204 for the methods that files
//! have. Any request field is allowed, since none but those of RFC 9110 changes an answer. Credentials are never
//! allowed. Source: <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use crate::http::facts::{Facts, Method};

/// Maximum number of origins of a site or a rule: they are compared one by one.
pub(crate) const ORIGIN_COUNT_MAX: usize = 64;

/// Fields of answers that scripts may read beside those that they always may. They tell what of the file came, and
/// which version.
const EXPOSED: &str = "Accept-Ranges, Content-Encoding, Content-Range, ETag";

/// The fields of the answer to a preflight request.
pub(crate) const PREFLIGHT: [(&str, &str); 3] = [
    ("Access-Control-Allow-Methods", "GET, HEAD"),
    // The asterisk does not cover Authorization.
    ("Access-Control-Allow-Headers", "*, Authorization"),
    // In seconds: as long as Chromium remembers it at most.
    ("Access-Control-Max-Age", "7200"),
];

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not an origin; write https://example.org, with a port if it is not the usual one, or * for all"
)]
pub struct OriginError;

/// An origin as browsers send it, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`.
    Any,
    /// Scheme, host and port.
    One(String),
}

impl Origin {
    /// Reads an origin, or `*`. Letters become lower case, and the usual port is left out, as browsers do.
    ///
    /// # Errors
    /// When it is none. `null` is none: every sandboxed page and local file has it.
    pub fn parse(text: &str) -> Result<Origin, OriginError> {
        if text == "*" {
            return Ok(Origin::Any);
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower.split_once("://").ok_or(OriginError)?;
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let is_scheme = scheme.bytes().all(is_scheme) && scheme.starts_with(char::is_alphabetic);
        let usual_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let authority = authority.strip_suffix(usual_port).unwrap_or(authority);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        let is_authority = !authority.is_empty() && authority.bytes().all(is_host);
        match is_scheme && is_authority && !authority.starts_with(':') {
            true => Ok(Origin::One(format!("{scheme}://{authority}"))),
            false => Err(OriginError),
        }
    }
}

/// The origins whose scripts may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// All.
    Any,
    /// One: no answer depends on the request.
    One(String),
    /// Several.
    Several(Vec<OriginLine>),
}

/// One of several origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginLine {
    /// The value of Origin.
    text: String,
    /// The line of answers to it, with its end.
    line: Box<[u8]>,
}

impl AllowedOrigins {
    /// All of these; `None` if there are none.
    pub fn new(origins: &[Origin]) -> Option<AllowedOrigins> {
        let mut texts: Vec<&str> = Vec::new();
        for origin in origins {
            match origin {
                Origin::Any => return Some(AllowedOrigins::Any),
                Origin::One(text) if texts.contains(&text.as_str()) => {}
                Origin::One(text) => texts.push(text),
            }
        }
        match texts[..] {
            [] => None,
            [text] => Some(AllowedOrigins::One(text.to_owned())),
            _ => {
                let several = texts.into_iter().map(OriginLine::new);
                Some(AllowedOrigins::Several(several.collect()))
            }
        }
    }

    /// How many there are; 1 for all.
    pub(crate) fn count(&self) -> usize {
        match self {
            AllowedOrigins::Any | AllowedOrigins::One(_) => 1,
            AllowedOrigins::Several(origins) => origins.len(),
        }
    }

    /// Fields of all answers, whatever their request.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let allowed = match self {
            AllowedOrigins::Any => (ALLOW_ORIGIN, "*"),
            AllowedOrigins::One(origin) => (ALLOW_ORIGIN, origin.as_str()),
            AllowedOrigins::Several(_) => ("Vary", "Origin"),
        };
        [allowed, ("Access-Control-Expose-Headers", EXPOSED)].into_iter()
    }

    /// The line for the Origin of a request, where there are several; empty if it is not among them. Allocates
    /// nothing.
    pub(super) fn line_for(&self, request: &Facts<'_>) -> &[u8] {
        let AllowedOrigins::Several(origins) = self else {
            return b"";
        };
        let Some(asking) = value(request, "origin") else {
            return b"";
        };
        let mut origins = origins.iter();
        let allowed = origins.find(|origin| origin.text.as_bytes() == asking);
        allowed.map_or(b"", |origin| &origin.line)
    }

    /// Whether a request is a preflight of one that is allowed.
    pub(super) fn allows_preflight(&self, request: &Facts<'_>) -> bool {
        let Some(asking) = value(request, "origin") else {
            return false;
        };
        let is_preflight = request.method() == Method::Options
            && value(request, "access-control-request-method").is_some();
        is_preflight
            && match self {
                AllowedOrigins::Any => true,
                AllowedOrigins::One(origin) => origin.as_bytes() == asking,
                AllowedOrigins::Several(origins) => origins
                    .iter()
                    .any(|origin| origin.text.as_bytes() == asking),
            }
    }

    /// Whether an answer depends on the Origin of its request.
    pub(super) fn are_several(&self) -> bool {
        matches!(self, AllowedOrigins::Several(_))
    }
}

const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";

impl OriginLine {
    fn new(text: &str) -> OriginLine {
        OriginLine {
            text: text.to_owned(),
            line: format!("{ALLOW_ORIGIN}: {text}\r\n").into_bytes().into(),
        }
    }
}

/// The value of the first line of a field.
fn value<'a>(request: &Facts<'a>, name: &str) -> Option<&'a [u8]> {
    let mut lines = request.all_lines();
    let (_, value) = lines.find(|(line, _)| line.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::http::facts::list::of_both;

    #[test]
    fn an_origin_is_read_as_browsers_write_it() {
        #[rustfmt::skip]
        let cases = [
            ("https://Example.org",       Some("https://example.org")),
            ("https://example.org:443",   Some("https://example.org")),
            ("http://example.org:80",     Some("http://example.org")),
            ("http://example.org:8080",   Some("http://example.org:8080")),
            ("http://[::1]:3000",         Some("http://[::1]:3000")),
            ("capacitor://localhost",     Some("capacitor://localhost")),
            ("https://example.org/",      None),
            ("https://example.org/path",  None),
            ("https://u@example.org",     None),
            ("https://*.example.org",     None),
            ("https://",                  None),
            ("https://:443",              None),
            ("https://:80",               None),
            ("://a",                      None),
            ("example.org",               None),
            ("null",                      None),
            ("https://a\r\nb",            None),
            ("",                          None),
        ];
        for (text, want) in cases {
            let want = want.map(|text| Origin::One(text.to_owned()));
            assert_eq!(Origin::parse(text).ok(), want, "{text:?}");
        }
        assert_eq!(Origin::parse("*"), Ok(Origin::Any));
    }

    fn origins(texts: &[&str]) -> AllowedOrigins {
        let origins: Vec<_> = texts
            .iter()
            .map(|text| Origin::parse(text).unwrap())
            .collect();
        AllowedOrigins::new(&origins).unwrap()
    }

    #[test]
    fn one_origin_is_one_however_often_it_is_given() {
        let one = AllowedOrigins::One("http://a".to_owned());
        assert_eq!(origins(&["http://a", "http://A:80"]), one);
        assert_eq!(origins(&["http://a", "*"]), AllowedOrigins::Any);
        assert_eq!(origins(&["http://a", "http://b", "http://a"]).count(), 2);
        assert_eq!(AllowedOrigins::new(&[]), None);
    }

    #[test]
    fn only_several_origins_make_an_answer_depend_on_its_request() {
        let request = |origin| vec![("Origin", origin)];
        #[rustfmt::skip]
        let cases = [
            (&["*"][..],                    "https://a", "Access-Control-Allow-Origin: *",         ""),
            (&["https://a"],                "https://b", "Access-Control-Allow-Origin: https://a", ""),
            (&["https://a", "https://b"],   "https://b", "Vary: Origin", "Access-Control-Allow-Origin: https://b\r\n"),
            (&["https://a", "https://b"],   "https://c", "Vary: Origin",                           ""),
            (&["https://a", "https://b"],   "HTTPS://A", "Vary: Origin",                           ""),
        ];
        for (texts, origin, always, line) in cases {
            let origins = origins(texts);
            let first = origins
                .fields()
                .next()
                .map(|(name, value)| format!("{name}: {value}"));
            assert_eq!(first.as_deref(), Some(always), "{texts:?}");
            let got = of_both("GET", "a", "/", &request(origin), |request| {
                origins.line_for(request).to_vec()
            });
            assert_eq!(got, line.as_bytes(), "{texts:?} {origin}");
            assert_eq!(origins.are_several(), always.starts_with("Vary"));
        }
    }

    #[test]
    fn a_preflight_has_a_method_and_an_origin_that_is_allowed() {
        const METHOD: (&str, &str) = ("Access-Control-Request-Method", "GET");
        let (own, other) = (("Origin", "https://a"), ("Origin", "https://b"));
        #[rustfmt::skip]
        let cases = [
            ("OPTIONS", &["*"][..],                    vec![other, METHOD], true),
            ("OPTIONS", &["https://a"],                vec![own, METHOD],   true),
            ("OPTIONS", &["https://a"],                vec![other, METHOD], false),
            ("OPTIONS", &["https://a", "https://b"],   vec![other, METHOD], true),
            ("OPTIONS", &["https://a", "https://c"],   vec![other, METHOD], false),
            ("OPTIONS", &["*"],                        vec![other],         false),
            ("OPTIONS", &["*"],                        vec![METHOD],        false),
            ("GET",     &["*"],                        vec![other, METHOD], false),
        ];
        for (method, texts, fields, want) in cases {
            let origins = origins(texts);
            let got = of_both(method, "a", "/", &fields, |request| {
                origins.allows_preflight(request)
            });
            assert_eq!(got, want, "{method} {texts:?} {fields:?}");
        }
    }
}
