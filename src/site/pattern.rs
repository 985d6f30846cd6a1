//! Patterns of request paths, and templates that take what their wildcards stand for.
//!
//! | in a pattern | matches |
//! | --- | --- |
//! | `*` | any bytes within one segment, or none |
//! | `**` | any bytes, slashes included, or none |
//! | `/**/` | any number of directories, or none: `/**/*.css` matches `/a.css` too |
//! | `{css,js}` | one of the alternatives |
//! | anything else | itself |
//!
//! Each wildcard is a capture, from `$1` to `$9`. A pattern is compared with a whole decoded path: from its first slash
//! to its end, without the query. Matching takes time linear in the length of the path, whatever the pattern.

use std::fmt::Write;

use percent_encoding::percent_encode;
use regex::bytes::{Captures, Regex, RegexBuilder};

use crate::http::target::ENCODED;

/// Maximum length of a pattern, in bytes: PATH_MAX of limits.h.
const PATTERN_LENGTH_MAX: usize = 4_096;
/// Maximum number of wildcards in a pattern: those that `$1` to `$9` can name.
const WILDCARD_COUNT_MAX: usize = 9;
/// Maximum memory of one compiled pattern, in bytes. The longest plain pattern takes less than half.
const COMPILED_BYTES_MAX: usize = 2 << 20;

/// Maximum number of examples of a pattern.
const EXAMPLE_COUNT_MAX: usize = 64;

/// Why a text is not a pattern, or not a template for one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It does not begin with a slash.
    #[error("does not begin with a slash; write a path of the site, such as /assets/**")]
    NotPath,
    /// It is too long or has too many wildcards.
    #[error(
        "is too long; write at most {PATTERN_LENGTH_MAX} bytes and {WILDCARD_COUNT_MAX} wildcards"
    )]
    TooLong,
    /// It has more than two asterisks in a row.
    #[error("has more than two asterisks in a row; * is part of one segment, ** any number")]
    Asterisks,
    /// It has a brace without its partner, or one within another.
    #[error("has braces that do not pair; write alternatives as {{css,js}}, one level deep")]
    Braces,
    /// It has a question mark.
    #[error("has a ?; patterns are compared with the path, without the query")]
    Query,
    /// It names a capture that the pattern does not have.
    #[error("has ${0}, and the pattern has {1} wildcards")]
    NoCapture(u32, usize),
    /// A capture could change the host of a URI.
    #[error("has a capture within the host; write a slash after the host")]
    Host,
    /// It has a byte that a field value or a URI cannot hold.
    #[error("has a control character, a space or a byte outside ASCII; write it as %XX")]
    Byte,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it was written.
    text: Box<str>,
    expression: Regex,
    wildcard_count: usize,
}

/// Two patterns with the same text match the same paths.
impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.expression.as_str() == other.expression.as_str()
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`PatternError`] says what to write instead.
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        match () {
            () if !text.starts_with('/') => return Err(PatternError::NotPath),
            () if text.contains('?') => return Err(PatternError::Query),
            () if text.contains("***") => return Err(PatternError::Asterisks),
            () if text.len() > PATTERN_LENGTH_MAX => return Err(PatternError::TooLong),
            () => {}
        }
        let (expression, wildcard_count) = expression(text)?;
        if wildcard_count > WILDCARD_COUNT_MAX {
            return Err(PatternError::TooLong);
        }
        let expression = RegexBuilder::new(&expression)
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(COMPILED_BYTES_MAX)
            .build();
        Ok(Pattern {
            text: text.into(),
            expression: expression.map_err(|_| PatternError::TooLong)?,
            wildcard_count,
        })
    }

    /// Whether it matches a decoded path.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.expression.is_match(path)
    }

    /// Paths that it matches: one for each alternative, with wildcards that stand for one name, for two and for nothing.
    pub(crate) fn examples(&self) -> Vec<String> {
        let mut examples = vec![String::new()];
        let mut rest = &*self.text;
        while let Some(at) = rest.find(['*', '{']) {
            let (before, from) = rest.split_at(at);
            let (choices, length): (Vec<&str>, usize) = match from.strip_prefix('{') {
                Some(inner) => {
                    let end = inner.find('}').unwrap_or(inner.len());
                    (inner[..end].split(',').collect(), end + 2)
                }
                None if from.starts_with("**") => (vec!["x", "x/y", ""], 2),
                None => (vec!["x", ""], 1),
            };
            let room = EXAMPLE_COUNT_MAX / choices.len().max(1);
            examples.truncate(room.max(1));
            let longer = examples.iter().flat_map(|one| {
                choices
                    .iter()
                    .map(move |choice| format!("{one}{before}{choice}"))
            });
            examples = longer.collect();
            rest = from.get(length..).unwrap_or_default();
        }
        for example in &mut examples {
            example.push_str(rest);
        }
        examples
    }

    fn captures<'a>(&self, path: &'a [u8]) -> Option<Captures<'a>> {
        self.expression.captures(path)
    }
}

/// A pattern as a regular expression, and the number of its wildcards.
fn expression(text: &str) -> Result<(String, usize), PatternError> {
    let mut expression = String::from("^");
    let mut wildcard_count = 0;
    let mut is_in_braces = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (written, length) = match first {
            '/' if rest.starts_with("/**/") => ("/(?:(.*)/)?", 4),
            '*' if rest.starts_with("**") => ("(.*)", 2),
            '*' => ("([^/]*)", 1),
            '{' if is_in_braces => return Err(PatternError::Braces),
            '{' => ("(?:", 1),
            ',' if is_in_braces => ("|", 1),
            '}' if is_in_braces => (")", 1),
            '}' => return Err(PatternError::Braces),
            _ => ("", first.len_utf8()),
        };
        is_in_braces = match first {
            '{' => true,
            '}' => false,
            _ => is_in_braces,
        };
        wildcard_count += usize::from(written.contains('*'));
        match written {
            "" => expression.push_str(&regex::escape(&rest[..length])),
            written => expression.push_str(written),
        }
        rest = &rest[length..];
    }
    if is_in_braces {
        return Err(PatternError::Braces);
    }
    expression.push('$');
    Ok((expression, wildcard_count))
}

/// A path or URI with places for captures: `/new/$1`. `$$` is a dollar sign, and so is a `$` before anything else but a
/// digit from 1 to 9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Capture(usize),
}

impl Template {
    /// Compiles a template for the captures of `pattern`.
    ///
    /// # Errors
    /// [`PatternError`] says what to write instead.
    pub fn new(text: &str, pattern: &Pattern) -> Result<Template, PatternError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PatternError::Byte);
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match (character, characters.peek().copied()) {
                ('$', Some('$')) => {
                    characters.next();
                    literal.push('$');
                }
                ('$', Some(digit @ '1'..='9')) => {
                    characters.next();
                    let number = digit.to_digit(10).unwrap_or_default();
                    let index = number as usize;
                    if index > pattern.wildcard_count {
                        return Err(PatternError::NoCapture(number, pattern.wildcard_count));
                    }
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    pieces.push(Piece::Capture(index));
                }
                _ => literal.push(character),
            }
        }
        pieces.push(Piece::Text(literal));
        let template = Template(pieces);
        match template.0.len() > 1 && has_open_host(template.literal_start()) {
            true => Err(PatternError::Host),
            false => Ok(template),
        }
    }

    /// The text for a path, if the pattern matches it. Captures are percent-encoded, so that none of their bytes ends a
    /// path or a field. A capture never changes the host: a template that begins with one slash gives a path that does.
    pub fn fill(&self, pattern: &Pattern, path: &[u8]) -> Option<String> {
        let captures = pattern.captures(path)?;
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) if is_slash_doubled(&filled, text) => {
                    filled.push_str(&text[1..]);
                }
                Piece::Text(text) => filled.push_str(text),
                Piece::Capture(index) => {
                    let bytes = captures.get(*index).map(|one| one.as_bytes());
                    let mut bytes = bytes.unwrap_or_default();
                    while filled.ends_with('/') && bytes.starts_with(b"/") {
                        bytes = &bytes[1..];
                    }
                    let _ = write!(filled, "{}", percent_encode(bytes, ENCODED));
                }
            }
        }
        Some(filled)
    }

    /// Its text before the first capture.
    pub fn literal_start(&self) -> &str {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }
}

/// Whether a capture, the last thing in `filled`, was empty between two slashes.
fn is_slash_doubled(filled: &str, text: &str) -> bool {
    filled.ends_with('/') && text.starts_with('/')
}

/// Whether what follows this text would still belong to the scheme or host of a URI.
fn has_open_host(text: &str) -> bool {
    match text.find("//") {
        Some(at) if at == 0 || text[..at].ends_with(':') => !text[at + 2..].contains('/'),
        _ => !text.starts_with('/'),
    }
}

#[cfg(test)]
mod tests;
