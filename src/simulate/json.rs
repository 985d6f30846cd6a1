//! Log lines in JSON, one object per line.
//!
//! Members have the names that this server, Caddy and common nginx formats use; other members are ignored.
//! Caddy puts host, method and target into an object `request`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::line::{Line, LineError, host_of, length_of, status_of};
use super::time;

/// The value of a member. Many logs write numbers in quotes.
#[derive(Debug)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Null,
    Object(Box<Members<'a>>),
    /// An array or a truth value.
    Other,
}

/// A member that was found, and the rank of its name.
type Found<'a> = Option<(Rank, Value<'a>)>;

/// Which of several names with the same meaning counts; among equal ones the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Another member says it more precisely.
    Secondary,
    Usual,
    /// Exactly what is needed.
    Best,
}

/// The members that are used.
#[derive(Debug, Default)]
struct Members<'a> {
    time: Found<'a>,
    host: Found<'a>,
    request: Found<'a>,
    method: Found<'a>,
    target: Found<'a>,
    status: Found<'a>,
    bytes: Found<'a>,
}

impl<'a> Members<'a> {
    /// The place for a member of this name; `None` if it is not used.
    fn place(&mut self, name: &str) -> Option<(Rank, &mut Found<'a>)> {
        use Rank::{Best, Secondary, Usual};
        Some(match name {
            // Shippers of logs add the time of shipping under this name.
            "@timestamp" => (Secondary, &mut self.time),
            "time" | "timestamp" | "ts" | "time_local" | "time_iso8601" => (Usual, &mut self.time),
            // With milliseconds.
            "msec" => (Best, &mut self.time),
            // The first name of a server block, which may serve others.
            "server_name" => (Secondary, &mut self.host),
            "host" => (Usual, &mut self.host),
            // A `host` beside them is often the machine that wrote the log.
            "http_host" | "vhost" | "virtual_host" | "domain" => (Best, &mut self.host),
            "request" | "request_line" => (Usual, &mut self.request),
            "method" | "request_method" => (Usual, &mut self.method),
            // nginx's `$uri` is the target after rewriting.
            "uri" => (Secondary, &mut self.target),
            "target" | "url" => (Usual, &mut self.target),
            "request_uri" => (Best, &mut self.target),
            "status" => (Usual, &mut self.status),
            // With the head.
            "bytes_sent" => (Secondary, &mut self.bytes),
            "bytes" | "length" | "size" => (Usual, &mut self.bytes),
            "body_bytes_sent" => (Best, &mut self.bytes),
            _ => return None,
        })
    }
}

/// Parses an object.
///
/// # Errors
/// [`LineError::NotJson`], or the missing member.
pub(super) fn parse(line: &[u8]) -> Result<Line<'_>, LineError> {
    let members: Members<'_> =
        serde_json::from_slice(line).map_err(|error| LineError::NotJson(error.to_string()))?;
    let (request, host) = request(members.request, members.method, members.target);
    Ok(Line {
        time_ms: moment(members.time).ok_or(LineError::NoMember("time"))?,
        host: host.or(members.host).map_or(Cow::Borrowed(b""), named),
        request: request.ok_or(LineError::NoMember("request (or method and target)"))?,
        status: number(members.status, status_of)
            .and_then(|status| u16::try_from(status).ok())
            .ok_or(LineError::NoMember("status"))?,
        bytes: number(members.bytes, length_of).ok_or(LineError::NoMember("bytes"))?,
    })
}

fn moment(time: Found<'_>) -> Option<i64> {
    match time?.1 {
        Value::Number(number) => time::of_number(number),
        Value::Text(text) => time::parse_rfc3339(text.as_bytes())
            .or_else(|| time::parse_common(text.as_bytes()))
            .or_else(|| time::of_number(text.parse().ok()?)),
        _ => None,
    }
}

fn named<'a>((_, value): (Rank, Value<'a>)) -> Cow<'a, [u8]> {
    match value {
        Value::Text(Cow::Borrowed(text)) => host_of(text.as_bytes()),
        Value::Text(Cow::Owned(text)) => Cow::Owned(host_of(text.as_bytes()).into_owned()),
        _ => Cow::Borrowed(b""),
    }
}

/// The request line, and the host if it is within the request.
fn request<'a>(
    request: Found<'a>,
    method: Found<'a>,
    target: Found<'a>,
) -> (Option<Cow<'a, [u8]>>, Found<'a>) {
    let value = |found: Found<'a>| found.map(|(_, value)| value);
    let line = match (value(request), value(method), value(target)) {
        (Some(Value::Object(inner)), ..) => {
            return (joined(value(inner.method), value(inner.target)), inner.host);
        }
        // As received, while nginx's `$uri` is rewritten.
        (Some(Value::Text(line)), ..) if line.contains(" HTTP/") => Some(bytes_of(line)),
        (_, method @ Some(Value::Text(_)), target @ Some(Value::Text(_))) => joined(method, target),
        (Some(Value::Text(line)), ..) => Some(bytes_of(line)),
        // A connection without a request.
        (Some(Value::Null), ..) | (None, Some(Value::Null), _) => Some(Cow::Borrowed(&b"-"[..])),
        _ => None,
    };
    (line, None)
}

fn joined<'a>(method: Option<Value<'a>>, target: Option<Value<'a>>) -> Option<Cow<'a, [u8]>> {
    let (Some(Value::Text(method)), Some(Value::Text(target))) = (method, target) else {
        return None;
    };
    let line = format!("{method} {target} HTTP/");
    Some(Cow::Owned(line.into_bytes()))
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn number<T: Into<u64>>(found: Found<'_>, read: impl Fn(&[u8]) -> Option<T>) -> Option<u64> {
    match found?.1 {
        Value::Text(text) => read(text.as_bytes()).map(Into::into),
        // Below 2^53 f64 is exact, and the bounds keep the cast within u64.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Value::Number(number) => {
            (number.fract() == 0.0 && (0.0..=9e15).contains(&number)).then_some(number as u64)
        }
        Value::Null => Some(0),
        Value::Object(_) | Value::Other => None,
    }
}

fn members<'de, A: MapAccess<'de>>(mut map: A) -> Result<Members<'de>, A::Error> {
    let mut members = Members::default();
    while let Some(Name(name)) = map.next_key()? {
        match members.place(&name) {
            Some((rank, found)) => {
                let value = map.next_value()?;
                if found.as_ref().is_none_or(|(known, _)| *known <= rank) {
                    *found = Some((rank, value));
                }
            }
            None => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    Ok(members)
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Members<'de>, A::Error> {
                members(map)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The name of a member, borrowed if nothing in it was escaped.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Text(text) => Ok(Name(text)),
            _ => Err(serde::de::Error::custom("not a text")),
        }
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

// Sizes in logs are far below 2^53, where f64 is exact.
#[allow(clippy::cast_precision_loss)]
impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value<'de>, A::Error> {
        members(map).map(|members| Value::Object(Box::new(members)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}
