//! Names and values of response fields that an operator may configure. RFC 9110 §5.1, §5.5.

use crate::http::framing::is_token_byte;

/// Maximum length of a name, in bytes.
const NAME_LENGTH_MAX: usize = 128;
/// Maximum length of a value, in bytes: as much as many clients take of a whole head.
const VALUE_LENGTH_MAX: usize = 8_192;

/// Fields that the server sets itself, and why they are not the operator's. In lower case.
const RESERVED: [(&str, &str); 27] = [
    ("accept-ranges", CONTENT),
    ("access-control-allow-credentials", CREDENTIALS),
    ("age", CACHE),
    ("allow", CONTENT),
    ("connection", FRAMING),
    ("content-encoding", CONTENT),
    ("content-length", FRAMING),
    ("content-range", CONTENT),
    (
        "content-type",
        "is set by the server; write content-type or charset",
    ),
    ("date", CACHE),
    ("etag", CONTENT),
    ("keep-alive", FRAMING),
    ("last-modified", CONTENT),
    ("location", "is set by redirects"),
    ("proxy-authenticate", PROXY),
    ("proxy-authentication-info", PROXY),
    ("proxy-connection", FRAMING),
    ("server", "is the same in all answers"),
    ("server-timing", "is set by server-timing"),
    ("te", FRAMING),
    ("trailer", FRAMING),
    ("transfer-encoding", FRAMING),
    ("upgrade", FRAMING),
    (
        "vary",
        "is set by the server, which knows what an answer depends on; write add for another name",
    ),
    ("via", PROXY),
    ("www-authenticate", "is set where a password is asked for"),
    ("x-content-type-options", "is nosniff in all answers"),
];
const CONTENT: &str = "is set by the server, because it has to agree with the content";
const FRAMING: &str = "is set by the server, because it frames the message";
const CACHE: &str = "is set by the server, because caches calculate with it";
const PROXY: &str = "is for proxies";
const CREDENTIALS: &str = "is not possible; public files need no credentials, and cookies would be shared with other sites";

/// Why a text is no field of the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// It is no name of a field.
    #[error("is not a field name; write letters, digits and hyphens")]
    Name,
    /// The field has another owner.
    #[error("{0}")]
    Reserved(&'static str),
    /// It is not the value of a field.
    #[error("is not a field value; write at most 8192 visible characters and spaces, on one line")]
    Value,
    /// There is no colon.
    #[error("has no colon; write 'Name: value'")]
    Colon,
}

/// The name of a field that an operator may set or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(String);

impl FieldName {
    /// Takes a name, in any case.
    ///
    /// # Errors
    /// When it is no name, or not the operator's.
    pub fn new(name: &str) -> Result<FieldName, FieldError> {
        let name = token(name)?;
        match reason(name) {
            Some(reason) => Err(FieldError::Reserved(reason)),
            None => Ok(FieldName(name.to_owned())),
        }
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

fn token(name: &str) -> Result<&str, FieldError> {
    let is_length_right = (1..=NAME_LENGTH_MAX).contains(&name.len());
    match is_length_right && name.bytes().all(is_token_byte) {
        true => Ok(name),
        false => Err(FieldError::Name),
    }
}

fn reason(name: &str) -> Option<&'static str> {
    let mut reserved = RESERVED.iter();
    let found = reserved.find(|(reserved, _)| name.eq_ignore_ascii_case(reserved));
    found.map(|(_, reason)| *reason)
}

/// The value of a field: without controls, and without spaces at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldValue(String);

impl FieldValue {
    /// Takes a value. Bytes outside ASCII are sent as they are (obs-text).
    ///
    /// # Errors
    /// When it has a control character, spaces at its ends, or is too long.
    pub fn new(value: &str) -> Result<FieldValue, FieldError> {
        let is_possible = |byte: u8| byte == b'\t' || byte >= b' ' && byte != 0x7f;
        let is_trimmed = value.trim_matches([' ', '\t']) == value;
        match is_trimmed && value.len() <= VALUE_LENGTH_MAX && value.bytes().all(is_possible) {
            true => Ok(FieldValue(value.to_owned())),
            false => Err(FieldError::Value),
        }
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// A field of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseField {
    name: FieldName,
    value: FieldValue,
}

impl ResponseField {
    /// A field that has this value and no other.
    ///
    /// # Errors
    /// When name or value is impossible, or the field is not the operator's.
    pub fn new(name: &str, value: &str) -> Result<ResponseField, FieldError> {
        Ok(ResponseField {
            name: FieldName::new(name)?,
            value: FieldValue::new(value)?,
        })
    }

    /// A field that has this value beside others. That may be Vary, and not Cache-Control, of whose directives a
    /// second line could contradict the first.
    ///
    /// # Errors
    /// When name or value is impossible, or the field is not the operator's.
    pub fn added(name: &str, value: &str) -> Result<ResponseField, FieldError> {
        let name = token(name)?;
        let name = match name.to_ascii_lowercase().as_str() {
            "vary" => FieldName(name.to_owned()),
            "cache-control" => {
                return Err(FieldError::Reserved(
                    "is one list of directives; write all of them with set or cache-control",
                ));
            }
            _ => FieldName::new(name)?,
        };
        let value = FieldValue::new(value)?;
        Ok(ResponseField { name, value })
    }

    /// A field as it stands in a head: `Name: value`.
    ///
    /// # Errors
    /// When it is none, or not the operator's.
    pub fn of_line(line: &str) -> Result<ResponseField, FieldError> {
        let (name, value) = line.split_once(':').ok_or(FieldError::Colon)?;
        ResponseField::new(name, value.trim_matches([' ', '\t']))
    }

    /// Its name and its value.
    pub(crate) fn parts(&self) -> (&str, &str) {
        (self.name.text(), self.value.text())
    }

    /// Bytes of its line.
    pub(crate) fn length(&self) -> usize {
        let (name, value) = self.parts();
        name.len() + value.len() + ": \r\n".len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Option<FieldError> = Some(FieldError::Name);
    const VALUE: Option<FieldError> = Some(FieldError::Value);

    #[test]
    fn no_field_can_split_a_response_or_contradict_it() {
        let reserved = |name| reason(name).map(FieldError::Reserved);
        #[rustfmt::skip]
        let cases = [
            ("X-A",               "b",                   None),
            ("X-A",               "",                    None),
            ("X-A",               "tab\tand ü",          None),
            ("X-A",               "b\r\nSet-Cookie: c",  VALUE),
            ("X-A",               "b\nc",                VALUE),
            ("X-A",               "b\rc",                VALUE),
            ("X-A",               "b\0",                 VALUE),
            ("X-A",               "\u{1b}[0m",           VALUE),
            ("X-A",               " b",                  VALUE),
            ("X-A",               "b\t",                 VALUE),
            ("X-A",               "\u{7f}",              VALUE),
            ("X A",               "b",                   NAME),
            ("",                  "b",                   NAME),
            ("X:",                "b",                   NAME),
            ("X\r\nY",            "b",                   NAME),
            ("Content-Length",    "1",                   reserved("content-length")),
            ("transfer-encoding", "chunked",             reserved("transfer-encoding")),
            ("ETag",              "\"a\"",               reserved("etag")),
            ("Vary",              "Cookie",              reserved("vary")),
        ];
        for (name, value, want) in cases {
            assert_eq!(
                ResponseField::new(name, value).err(),
                want,
                "{name:?}: {value:?}"
            );
        }
        let longest = "x".repeat(VALUE_LENGTH_MAX);
        assert!(ResponseField::new("X", &longest).is_ok());
        let longer = longest + "x";
        assert_eq!(ResponseField::new("X", &longer).err(), VALUE);
        let longest = "x".repeat(NAME_LENGTH_MAX);
        assert!(FieldName::new(&longest).is_ok());
        assert_eq!(FieldName::new(&(longest + "x")).err(), NAME);
    }

    #[test]
    fn all_fields_of_framing_and_of_the_version_are_reserved() {
        for (name, reason) in RESERVED {
            assert_eq!(name, name.to_ascii_lowercase());
            let name = name.to_ascii_uppercase();
            let refused = FieldName::new(&name).err();
            assert_eq!(refused, Some(FieldError::Reserved(reason)), "{name}");
        }
    }

    #[test]
    fn vary_can_be_added_to_and_cache_control_cannot() {
        assert!(ResponseField::added("Vary", "Cookie").is_ok());
        assert!(ResponseField::added("Link", "</a>").is_ok());
        for name in ["cache-control", "ETag", "Content-Length"] {
            let refused = ResponseField::added(name, "x").err();
            assert!(matches!(refused, Some(FieldError::Reserved(_))), "{name}");
        }
    }

    #[test]
    fn a_line_is_split_at_its_first_colon() {
        let field = ResponseField::of_line("X-A:  b: c ").map(|field| {
            let (name, value) = field.parts();
            (name.to_owned(), value.to_owned())
        });
        assert_eq!(field, Ok(("X-A".to_owned(), "b: c".to_owned())));
        assert_eq!(
            ResponseField::of_line("X-A b").err(),
            Some(FieldError::Colon)
        );
        assert_eq!(ResponseField::of_line(": b").err(), NAME);
    }
}
