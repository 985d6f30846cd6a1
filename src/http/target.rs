//! The target of a request: its form, its parts, and the path it names below the root.
//!
//! RFC 9112 §3.2 (forms), RFC 3986 §3.2.2 (host), §5.2.4 (dot segments), §6.2.2 (normalisation).
//! Knows no files: that a path may name nothing is for the layers above.

use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode};

/// The highest port.
const PORT_MAX: u32 = 65_535;

/// What [`SitePath::encoded`] and links in pages write as `%XX`: everything but unreserved characters, the slash, and
/// the sub-delims that mean nothing in a path, a field or HTML.
pub(crate) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'!')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// What a query may not hold in a URI-reference, and browsers send all the same. RFC 3986 §3.4.
pub(crate) const NOT_IN_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The form of a request-target. RFC 9112 §3.2.1 to §3.2.4.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Form {
    /// `/path?query`.
    Origin,
    /// `http://authority/path?query`.
    Absolute,
    /// `*`: the server as a whole, for OPTIONS only.
    Asterisk,
    /// `host:port`, for CONNECT only.
    Authority,
}

/// The methods that decide which forms are allowed.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum MethodShape {
    /// May say `*`.
    Options,
    /// Must give an authority.
    Connect,
    /// May do neither.
    Other,
}

/// Why a request-target is refused. The answer is 400 for each.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// There is none.
    #[error("the request-target is empty")]
    Empty,
    /// A control byte, a space, or a byte from 0x80 up.
    #[error("the request-target has a byte that is no visible ASCII character")]
    Byte,
    /// A `#`: no form has a fragment, which stays with the client.
    #[error("the request-target has a fragment")]
    Fragment,
    /// No form at all, or one that the method does not allow.
    #[error("the request-target has no form that its method allows")]
    Form,
    /// A host that is empty or malformed, a bad port, or user information.
    #[error("the authority of the request-target is malformed")]
    Authority,
}

/// A request-target in parts, which borrow from it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Target<'a> {
    /// Which form it has.
    pub form: Form,
    /// Host and port, in the absolute and the authority form. Valid for [`valid_host`].
    pub authority: Option<&'a [u8]>,
    /// The path, still encoded, from its slash on; `/` where the form has none.
    pub path: &'a [u8],
    /// What follows the first `?`, if there is one; may be empty.
    pub query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// Takes a request-target apart. `O(raw.len())`, does not allocate.
    ///
    /// Characters that RFC 3986 excludes but that are visible ASCII (`|`, `^`, `[`, `]`, `"`, `<`,
    /// `>`, backslash, backtick, braces) pass as data: browsers send them raw, in queries above
    /// all, and a server that gives no character of a path a meaning but `/`, `%` and `.` cannot
    /// misread them. `path` may start with more than one slash.
    ///
    /// # Errors
    /// What no form has, see [`TargetError`]. The absolute form is taken for `http` and `https`, in
    /// any case; other schemes name nothing here. CONNECT must give its port (RFC 9110 §9.3.6).
    ///
    /// # Source
    /// RFC 9112 §3.2; RFC 9110 §4.2.1 (an empty host), §4.2.4 (user information).
    pub(crate) fn parse(raw: &'a [u8], method_is: MethodShape) -> Result<Target<'a>, TargetError> {
        let first = raw.first().ok_or(TargetError::Empty)?;
        if !raw
            .iter()
            .all(|byte| byte.is_ascii_graphic() && *byte != b'#')
        {
            return Err(match raw.iter().all(u8::is_ascii_graphic) {
                true => TargetError::Fragment,
                false => TargetError::Byte,
            });
        }
        match (method_is, first) {
            (MethodShape::Connect, _) => Target::authority_form(raw),
            (MethodShape::Options, b'*') if raw == b"*" => Ok(Target {
                form: Form::Asterisk,
                authority: None,
                path: b"/",
                query: None,
            }),
            (_, b'/') => Ok(Target::with_path(Form::Origin, None, raw)),
            _ => Target::absolute_form(raw),
        }
    }

    fn authority_form(raw: &'a [u8]) -> Result<Target<'a>, TargetError> {
        if matches!(raw, [b'/', ..] | b"*") || scheme_end(raw).is_some() {
            return Err(TargetError::Form);
        }
        if !valid_host(raw) || !raw.last().is_some_and(u8::is_ascii_digit) || !has_port(raw) {
            return Err(TargetError::Authority);
        }
        Ok(Target {
            form: Form::Authority,
            authority: Some(raw),
            path: b"/",
            query: None,
        })
    }

    fn absolute_form(raw: &'a [u8]) -> Result<Target<'a>, TargetError> {
        let rest = scheme_end(raw)
            .and_then(|end| raw.get(end..))
            .ok_or(TargetError::Form)?;
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?'))
            .unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if !valid_host(authority) {
            return Err(TargetError::Authority);
        }
        Ok(Target::with_path(Form::Absolute, Some(authority), rest))
    }

    fn with_path(form: Form, authority: Option<&'a [u8]>, rest: &'a [u8]) -> Target<'a> {
        let (path, query) = match rest.iter().position(|byte| *byte == b'?') {
            Some(mark) => (&rest[..mark], Some(&rest[mark + 1..])),
            None => (rest, None),
        };
        Target {
            form,
            authority,
            path: if path.is_empty() { b"/" } else { path },
            query,
        }
    }
}

/// Whether a target is the absolute form of an `https` resource.
pub(crate) fn is_https(raw: &[u8]) -> bool {
    let scheme = b"https://";
    raw.get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Where the authority of an absolute form starts.
fn scheme_end(raw: &[u8]) -> Option<usize> {
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let starts = |scheme: &&[u8]| {
        raw.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    schemes.into_iter().find(starts).map(<[u8]>::len)
}

/// Whether a valid host is followed by a colon: an address in brackets has colons of its own.
fn has_port(host: &[u8]) -> bool {
    let name_end = host.iter().position(|byte| *byte == b']').unwrap_or(0);
    host[name_end..].contains(&b':')
}

/// Whether a Host field, or an authority, is `uri-host [ ":" port ]` with a host that is not empty.
///
/// A name is made of unreserved characters, whole escapes and sub-delims except the comma: two Host
/// lines that a proxy merged would be one name with a comma. An address in brackets is IPv6 without
/// a zone, or IPvFuture. A port has only digits, perhaps none, and is at most 65535. User
/// information, paths, whitespace and bytes from 0x80 up are not valid.
///
/// The name may still be `..` or hold `%2F`: a caller that uses it as a directory must check again. Costs
/// `O(field.len())`, does not allocate.
///
/// # Source
/// RFC 9110 §7.2, RFC 9112 §3.2 (what is refused with 400), RFC 3986 §3.2.2 and §3.2.3.
pub(crate) fn valid_host(field: &[u8]) -> bool {
    let (valid, port) = match field.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else {
                return false;
            };
            (valid_literal(&rest[..end]), &rest[end + 1..])
        }
        None => {
            let end = name_length(field);
            (end > Some(0), &field[end.unwrap_or(0)..])
        }
    };
    valid && valid_port(port)
}

/// Empty, or a colon and a port.
fn valid_port(port: &[u8]) -> bool {
    let Some(digits) = port.strip_prefix(b":") else {
        return port.is_empty();
    };
    let mut value = 0;
    for digit in digits {
        match digit {
            b'0'..=b'9' => value = value * 10 + u32::from(digit - b'0'),
            _ => return false,
        }
        if value > PORT_MAX {
            return false;
        }
    }
    true
}

/// The length of the name at the beginning of a host field; `None` where an escape is incomplete.
fn name_length(field: &[u8]) -> Option<usize> {
    let mut end = 0;
    loop {
        let plain = field[end..].iter().position(|byte| !is_name_byte(*byte));
        end = plain.map_or(field.len(), |length| end + length);
        match &field[end..] {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                end += 3;
            }
            [b'%', ..] => return None,
            _ => return Some(end),
        }
    }
}

/// What stands between the brackets.
fn valid_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = literal {
        let Some(dot) = future.iter().position(|byte| *byte == b'.') else {
            return false;
        };
        let (version, address) = (&future[..dot], &future[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address
                .iter()
                .all(|byte| is_name_byte(*byte) || *byte == b':');
    }
    std::str::from_utf8(literal).is_ok_and(|literal| literal.parse::<Ipv6Addr>().is_ok())
}

/// Unreserved characters and sub-delims, without the comma. A table, since each request names a host.
static NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte: u8 = 0;
    while byte < 0x80 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~')
            || matches!(
                byte,
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
            );
        byte += 1;
    }
    table
};

fn is_name_byte(byte: u8) -> bool {
    NAME_BYTES[usize::from(byte)]
}

/// Why a path can name nothing here.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub(crate) enum PathError {
    /// A `%` without two hex digits after it: 400.
    #[error("the path has a % that is not followed by two hex digits")]
    BadEscape,
    /// A NUL, raw or as `%00`, which would end the name for the kernel: 400.
    #[error("the path has a NUL")]
    Nul,
    /// An overlong UTF-8 sequence, which a lax decoder takes for a slash or a dot: 400.
    #[error("the path has an overlong UTF-8 sequence")]
    Overlong,
    /// A `%2F`: a slash within a segment, which no file name can hold: 404.
    #[error("the path has an encoded slash within a segment")]
    EncodedSlash,
}

/// A path below the root: decoded once, without dot segments and empty segments.
///
/// File names are bytes, so a path need not be UTF-8.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct SitePath {
    /// Segments joined by single slashes, none of them empty, `.`, `..`, or with a NUL within.
    relative: Vec<u8>,
    directory_form: bool,
}

impl SitePath {
    /// Decodes and normalises a raw path, as [`Target::path`] has it.
    ///
    /// Escapes are decoded exactly once: `%252e` is the three characters `%2e`. Only then are dot
    /// segments resolved, so that `%2e%2e` climbs like `..`; climbing stops at the root. Empty
    /// segments are nothing (`//a` is `/a`). A backslash is a character like any other. Bytes that
    /// are not UTF-8 are data, except overlong sequences.
    ///
    /// Costs `O(raw.len())` and one allocation of at most `raw.len()` bytes.
    ///
    /// # Errors
    /// The first [`PathError::BadEscape`], [`PathError::Nul`] or [`PathError::Overlong`] of the
    /// path; [`PathError::EncodedSlash`] only if there is none of these.
    ///
    /// # Source
    /// RFC 3986 §2.1, §5.2.4, §6.2.2; RFC 3629 §3 (overlong sequences).
    pub(crate) fn decode(raw: &[u8]) -> Result<SitePath, PathError> {
        let mut path = SitePath {
            relative: Vec::with_capacity(raw.len()),
            directory_form: true,
        };
        let mut slash_within = false;
        for raw_segment in raw
            .strip_prefix(b"/")
            .unwrap_or(raw)
            .split(|byte| *byte == b'/')
        {
            let parent_end = path.relative.len();
            if parent_end > 0 {
                path.relative.push(b'/');
            }
            let start = path.relative.len();
            decode_onto(raw_segment, &mut path.relative)?;
            let segment = &path.relative[start..];
            check(segment)?;
            slash_within |= segment.contains(&b'/');
            path.directory_form = matches!(segment, b"" | b"." | b"..");
            match segment {
                b"" | b"." => path.relative.truncate(parent_end),
                b".." => {
                    let parent = path.relative[..parent_end].iter().rposition(|b| *b == b'/');
                    path.relative.truncate(parent.unwrap_or(0));
                }
                _ => {}
            }
        }
        if slash_within {
            Err(PathError::EncodedSlash)
        } else {
            Ok(path)
        }
    }

    /// The decoded path without a slash at either end; empty for the root.
    pub(crate) fn relative(&self) -> &[u8] {
        &self.relative
    }

    /// Whether the path can only name a directory: it ended in a slash or in a dot segment.
    pub(crate) fn is_directory_form(&self) -> bool {
        self.directory_form
    }

    /// The decoded segments from the root on; none for the root.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.relative
            .split(|byte| *byte == b'/')
            .filter(|segment| !segment.is_empty())
    }

    /// The decoded path in its one canonical spelling: a slash first, and a slash last if it names a directory.
    pub(crate) fn decoded(&self) -> Vec<u8> {
        let mut decoded = Vec::with_capacity(self.relative.len() + 2);
        decoded.push(b'/');
        decoded.extend_from_slice(&self.relative);
        if self.directory_form && !self.relative.is_empty() {
            decoded.push(b'/');
        }
        decoded
    }

    /// The path, percent-encoded again, in its one canonical spelling: a slash first, and a slash
    /// last if it names a directory.
    ///
    /// Safe in a Location field and in an attribute of HTML: it starts with one slash and something
    /// else than a slash or backslash, so it stays on this site, and holds no line ends, quotes,
    /// `<`, `>`, `&`, `?`, `#`, nor any byte outside of visible ASCII. Allocates.
    pub(crate) fn encoded(&self) -> String {
        let mut encoded = String::with_capacity(self.relative.len() + 2);
        encoded.push('/');
        encoded.extend(percent_encode(&self.relative, ENCODED));
        if self.directory_form && !self.relative.is_empty() {
            encoded.push('/');
        }
        encoded
    }

    /// Whether a segment starts with a dot, so that the path is hidden by the custom of Unix. The
    /// one exception is a first segment `.well-known` (RFC 8615), below which the rule holds again.
    pub(crate) fn is_hidden(&self) -> bool {
        self.segments().enumerate().any(|(index, segment)| {
            segment.starts_with(b".") && !(index == 0 && segment == b".well-known")
        })
    }
}

/// Appends a segment with its escapes decoded.
fn decode_onto(raw: &[u8], decoded: &mut Vec<u8>) -> Result<(), PathError> {
    let mut rest = raw;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let high = hex_value(*high).ok_or(PathError::BadEscape)?;
                let low = hex_value(*low).ok_or(PathError::BadEscape)?;
                decoded.push(high << 4 | low);
                after
            }
            (b'%', _) => return Err(PathError::BadEscape),
            (byte, after) => {
                decoded.push(*byte);
                after
            }
        };
    }
    Ok(())
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Refuses what a decoded segment must not hold, other than a slash.
fn check(segment: &[u8]) -> Result<(), PathError> {
    for (index, byte) in segment.iter().enumerate() {
        match (byte, &segment[index + 1..]) {
            (0, _) => return Err(PathError::Nul),
            (0xc0 | 0xc1, [0x80..=0xbf, ..])
            | (0xe0, [0x80..=0x9f, 0x80..=0xbf, ..])
            | (0xf0, [0x80..=0x8f, 0x80..=0xbf, 0x80..=0xbf, ..]) => {
                return Err(PathError::Overlong);
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
