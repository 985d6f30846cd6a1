//! Log lines in JSON, one object per line.
//!
//! Members have the names that this server and common nginx formats use; other members are ignored. If two
//! names mean the same, the last one counts.
//! object is passed over. Where two names mean the same, the last one counts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::line::{Line, LineError, length_of, status_of};
use super::time;

/// A text or a number: many logs write numbers in quotes.
#[derive(Debug)]
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Null,
}

/// The members that are used.
#[derive(Debug, Default)]
struct Members<'a> {
    time: Option<Scalar<'a>>,
    request: Option<Scalar<'a>>,
    method: Option<Scalar<'a>>,
    target: Option<Scalar<'a>>,
    status: Option<Scalar<'a>>,
    bytes: Option<Scalar<'a>>,
}

/// Parses an object.
///
/// # Errors
/// [`LineError::NotJson`], or the missing member.
pub(super) fn parse(line: &[u8]) -> Result<Line<'_>, LineError> {
    let members: Members<'_> =
        serde_json::from_slice(line).map_err(|error| LineError::NotJson(error.to_string()))?;
    Ok(Line {
        time_ms: moment(members.time).ok_or(LineError::NoMember("time"))?,
        request: request(members.request, members.method, members.target)
            .ok_or(LineError::NoMember("request (or method and target)"))?,
        status: number(members.status, status_of)
            .and_then(|status| u16::try_from(status).ok())
            .ok_or(LineError::NoMember("status"))?,
        bytes: number(members.bytes, length_of).ok_or(LineError::NoMember("bytes"))?,
    })
}

fn moment(time: Option<Scalar<'_>>) -> Option<i64> {
    match time? {
        Scalar::Number(number) => time::of_number(number),
        Scalar::Text(text) => time::parse_rfc3339(text.as_bytes())
            .or_else(|| time::parse_common(text.as_bytes()))
            .or_else(|| time::of_number(text.parse().ok()?)),
        Scalar::Null => None,
    }
}

fn request<'a>(
    request: Option<Scalar<'a>>,
    method: Option<Scalar<'a>>,
    target: Option<Scalar<'a>>,
) -> Option<Cow<'a, [u8]>> {
    match (request, method, target) {
        (_, Some(Scalar::Text(method)), Some(Scalar::Text(target))) => {
            Some(Cow::Owned(format!("{method} {target} HTTP/").into_bytes()))
        }
        (Some(Scalar::Text(Cow::Borrowed(text))), ..) => Some(Cow::Borrowed(text.as_bytes())),
        (Some(Scalar::Text(Cow::Owned(text))), ..) => Some(Cow::Owned(text.into_bytes())),
        // A connection without a request.
        (Some(Scalar::Null), ..) => Some(Cow::Borrowed(b"-")),
        (None, Some(Scalar::Null), _) => Some(Cow::Borrowed(b"-")),
        _ => None,
    }
}

fn number<T: Into<u64>>(
    scalar: Option<Scalar<'_>>,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<u64> {
    match scalar? {
        Scalar::Text(text) => read(text.as_bytes()).map(Into::into),
        // Below 2^53 f64 is exact, and the bounds keep the cast within u64.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Scalar::Number(number) => {
            (number.fract() == 0.0 && (0.0..=9e15).contains(&number)).then_some(number as u64)
        }
        Scalar::Null => Some(0),
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(Text(name)) = map.next_key()? {
                    let member = match &*name {
                        "time" | "timestamp" | "@timestamp" | "ts" | "msec" | "time_local"
                        | "time_iso8601" => &mut members.time,
                        "request" | "request_line" => &mut members.request,
                        "method" | "request_method" => &mut members.method,
                        "target" | "request_uri" | "uri" | "url" => &mut members.target,
                        "status" => &mut members.status,
                        "bytes" | "body_bytes_sent" | "bytes_sent" | "length" => &mut members.bytes,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *member = Some(map.next_value()?);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A text, borrowed where nothing was escaped in it.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => Ok(Text(text)),
            Scalar::Number(_) | Scalar::Null => Err(serde::de::Error::custom("not a text")),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        // Sizes in logs are far below 2^53, where f64 is exact.
        #[allow(clippy::cast_precision_loss)]
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text or a number")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Number(number as f64))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Number(number as f64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Null)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
