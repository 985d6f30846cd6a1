//! Value parsers for clap, one for each kind of value.
//!
//! A parser sees one value; conflicts between flags are detected in the parent.

mod fields;

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};

pub(super) use self::fields::{
    content_type, disposition, field_name, field_value, header, immutable, origin, security_fields,
};

use super::ValueError;
use super::args::Spa;
use super::listen::parse_tcp;
use super::units::{parse_duration, parse_size};
use crate::conn::ServerTiming;
use crate::http::framing::is_token_byte;
use crate::http::status::Status;
use crate::settings::{
    AccessLog, Charset, CleanUrls, Directories, DotFiles, EngineChoice, EntityTags, ErrorPage,
    InnerPath, LogFormat, MapLock, Network, StatusAccess, TypeOverride,
};
use crate::site::access::Guard;
use crate::site::pattern::Pattern;
use crate::site::redirect::Redirect;

/// Longest name in a directory, `NAME_MAX` of limits.h.
const FILE_NAME_LENGTH_MAX: usize = 255;

/// The page of a single-page application.
const SPA_PAGE: &str = "/index.html";

/// Longest media type, 255 bytes: twice the longest name that may be registered (RFC 6838 §4.2).
const MEDIA_TYPE_LENGTH_MAX: usize = 255;

/// Longest name of a charset, RFC 2978 §2.3.
const CHARSET_LENGTH_MAX: usize = 40;

/// Turns a parser of words, which need not be UTF-8, into a clap value parser.
pub(super) fn word<T: Clone + Send + Sync + 'static>(
    read: impl Fn(&OsStr) -> Result<T, ValueError> + Clone + Send + Sync + 'static,
) -> impl TypedValueParser<Value = T> {
    OsStringValueParser::new().try_map(move |word: OsString| read(&word))
}

/// Turns a parser of text into a clap value parser. A word that is not UTF-8 is read as an empty one, which
/// no parser accepts.
fn text<T: Clone + Send + Sync + 'static>(
    read: impl Fn(&str) -> Result<T, ValueError> + Clone + Send + Sync + 'static,
) -> impl TypedValueParser<Value = T> {
    word(move |word| read(word.to_str().unwrap_or_default()))
}

/// A count.
pub(super) fn count(allowed: RangeInclusive<usize>) -> impl TypedValueParser<Value = usize> {
    let (min, max) = allowed.into_inner();
    text(move |text| match text.trim_ascii().parse() {
        Ok(count) if (min..=max).contains(&count) => Ok(count),
        _ => Err(ValueError::NotCount { min, max }),
    })
}

/// A number of bytes, on disk or on the wire.
pub(super) fn size(allowed: RangeInclusive<u64>) -> impl TypedValueParser<Value = u64> {
    let (min, max) = allowed.into_inner();
    text(move |text| match parse_size(text)? {
        size if (min..=max).contains(&size) => Ok(size),
        _ => Err(ValueError::SizeOutside { min, max }),
    })
}

/// A number of bytes in memory.
pub(super) fn length(allowed: RangeInclusive<u32>) -> impl TypedValueParser<Value = usize> {
    let (min, max) = allowed.into_inner();
    // `u32` to `usize` loses nothing where Linux runs.
    size(u64::from(min)..=u64::from(max)).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// A duration.
pub(super) fn duration(
    allowed: RangeInclusive<Duration>,
) -> impl TypedValueParser<Value = Duration> {
    let (min, max) = allowed.into_inner();
    text(move |text| match parse_duration(text)? {
        time if (min..=max).contains(&time) => Ok(time),
        _ => Err(ValueError::DurationOutside { min, max }),
    })
}

/// The root. The server checks whether it exists.
pub(super) fn root() -> impl TypedValueParser<Value = PathBuf> {
    word(|word| {
        if word.is_empty() {
            Err(ValueError::NotRoot)
        } else {
            Ok(PathBuf::from(word))
        }
    })
}

/// A host of a site; whether it is valid is checked with those of the other sites.
pub(super) fn host() -> impl TypedValueParser<Value = String> {
    text(|text| Ok(text.to_owned()))
}

/// The path of a file outside the site.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    word(|word| match word.is_empty() {
        true => Err(ValueError::NotPath),
        false => Ok(PathBuf::from(word)),
    })
}

/// The name of an index file.
pub(super) fn index_name() -> impl TypedValueParser<Value = String> {
    text(|name| {
        let is_length_right = (1..=FILE_NAME_LENGTH_MAX).contains(&name.len());
        let is_name = is_length_right && !name.starts_with('.') && !name.contains(['/', '\0']);
        if is_name {
            Ok(name.to_owned())
        } else {
            Err(ValueError::NotIndexName)
        }
    })
}

/// Permissions, in octal.
pub(super) fn mode() -> impl TypedValueParser<Value = u32> {
    text(|text| {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let is_octal =
            (1..=4).contains(&digits.len()) && !digits.contains(|c| !matches!(c, '0'..='7'));
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if is_octal && (1..=0o777).contains(&mode) => Ok(mode),
            _ => Err(ValueError::NotMode),
        }
    })
}

/// A group; the server checks whether it exists.
pub(super) fn group() -> impl TypedValueParser<Value = String> {
    text(|text| match text {
        "" => Err(ValueError::NotGroup),
        _ => Ok(text.to_owned()),
    })
}

/// Whether names that start with a dot are served.
pub(super) fn dot_files() -> impl TypedValueParser<Value = DotFiles> {
    text(|text| match text {
        "refuse" => Ok(DotFiles::Refused),
        "serve" => Ok(DotFiles::Served),
        _ => Err(ValueError::NotDotFiles),
    })
}

/// The answer for a directory without an index file.
pub(super) fn directories() -> impl TypedValueParser<Value = Directories> {
    text(|text| match text {
        "hide" => Ok(Directories::Hidden),
        "list" => Ok(Directories::Listed),
        _ => Err(ValueError::NotDirectories),
    })
}

/// The charset of text: a token (RFC 9110 §8.3.2), or `none`. Both are case-insensitive.
pub(super) fn charset() -> impl TypedValueParser<Value = Charset> {
    text(|text| {
        let is_length_right = (1..=CHARSET_LENGTH_MAX).contains(&text.len());
        match text {
            _ if text.eq_ignore_ascii_case("none") => Ok(Charset::Omitted),
            _ if is_length_right && text.bytes().all(is_token_byte) => {
                Ok(Charset::Named(text.to_owned()))
            }
            _ => Err(ValueError::NotCharset),
        }
    })
}

/// The media type of an extension: `EXT=TYPE`, where TYPE is a media type (RFC 9110 §8.3.1) whose parameters
/// are tokens.
pub(super) fn own_type() -> impl TypedValueParser<Value = TypeOverride> {
    text(|text| {
        let (extension, media_type) = text.split_once('=').ok_or(ValueError::NotOwnType)?;
        let extension = extension.strip_prefix('.').unwrap_or(extension);
        let is_extension = (1..=FILE_NAME_LENGTH_MAX).contains(&extension.len())
            && !extension.contains(['.', '/'])
            && !extension.contains(|c: char| c.is_control() || c.is_whitespace());
        match is_extension && is_media_type(media_type) {
            true => Ok(TypeOverride {
                extension: extension.to_owned(),
                media_type: media_type.to_owned(),
            }),
            false => Err(ValueError::NotOwnType),
        }
    })
}

fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
    let are_tokens = |pair: Option<(&str, &str)>| {
        pair.is_some_and(|(one, other)| is_token(one) && is_token(other))
    };
    let mut parts = text.split(';').map(|part| part.trim_matches(' '));
    text.len() <= MEDIA_TYPE_LENGTH_MAX
        && are_tokens(parts.next().and_then(|name| name.split_once('/')))
        && parts.all(|parameter| are_tokens(parameter.split_once('=')))
}

/// A path of the site that the server itself asks for.
pub(super) fn inner_path() -> impl TypedValueParser<Value = InnerPath> {
    text(|text| InnerPath::new(text).map_err(ValueError::NotInnerPath))
}

/// The page of an error: `STATUS=PATH`.
pub(super) fn error_page() -> impl TypedValueParser<Value = ErrorPage> {
    text(|text| {
        let (code, path) = text.split_once('=').ok_or(ValueError::NotErrorPage)?;
        let code = code.trim_ascii().parse().unwrap_or_default();
        let path = InnerPath::new(path.trim_ascii()).map_err(|_| ValueError::NotErrorPage)?;
        ErrorPage::new(code, path).ok_or(ValueError::NotErrorPage)
    })
}

/// A pattern of paths that are guarded.
pub(super) fn guard() -> impl TypedValueParser<Value = Guard> {
    text(|text| Guard::new(text).map_err(ValueError::NotPattern))
}

/// What a person is asked for: printable ASCII that needs no escape in a quoted string (RFC 9110 §5.6.4).
pub(super) fn realm() -> impl TypedValueParser<Value = String> {
    text(|text| {
        let is_plain = |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        match text.bytes().all(is_plain) && !text.is_empty() {
            true => Ok(text.to_owned()),
            false => Err(ValueError::NotRealm),
        }
    })
}

/// Whether pages are asked for without their extension.
pub(super) fn clean_urls() -> impl TypedValueParser<Value = CleanUrls> {
    text(|text| match text {
        "on" => Ok(CleanUrls::On),
        "off" => Ok(CleanUrls::Off),
        _ => Err(ValueError::NotCleanUrls),
    })
}

/// Whether the site is a single-page application.
pub(super) fn spa() -> impl TypedValueParser<Value = Spa> {
    text(|text| match text {
        "on" => InnerPath::new(SPA_PAGE)
            .map(Spa::On)
            .map_err(ValueError::NotInnerPath),
        "off" => Ok(Spa::Off),
        _ => Err(ValueError::NotSpa),
    })
}

/// Any text; what it means is found out with the values beside it.
pub(super) fn any_text() -> impl TypedValueParser<Value = String> {
    text(|text| Ok(text.to_owned()))
}

/// A pattern of paths.
pub(super) fn pattern() -> impl TypedValueParser<Value = Pattern> {
    text(|text| Pattern::new(text).map_err(ValueError::NotPattern))
}

/// The status of a redirect.
pub(super) fn redirect_status() -> impl TypedValueParser<Value = Status> {
    text(|text| {
        let code: Option<u16> = text.trim_ascii().parse().ok();
        let mut statuses = Redirect::STATUSES.into_iter();
        let status = statuses.find(|status| Some(status.code()) == code);
        status.ok_or(ValueError::NotRedirectStatus)
    })
}

/// The source of entity tags.
pub(super) fn entity_tags() -> impl TypedValueParser<Value = EntityTags> {
    text(|text| match text {
        "file" => Ok(EntityTags::File),
        "mirror" => Ok(EntityTags::Mirror),
        _ => Err(ValueError::NotEntityTags),
    })
}

/// Whether mappings are locked in memory.
pub(super) fn map_lock() -> impl TypedValueParser<Value = MapLock> {
    text(|text| match text {
        "on" => Ok(MapLock::On),
        "off" => Ok(MapLock::Off),
        _ => Err(ValueError::NotMapLock),
    })
}

/// Whether responses carry Server-Timing.
pub(super) fn server_timing() -> impl TypedValueParser<Value = ServerTiming> {
    text(|text| match text {
        "on" => Ok(ServerTiming::Shown),
        "off" => Ok(ServerTiming::Hidden),
        _ => Err(ValueError::NotServerTiming),
    })
}

/// The format of log lines.
pub(super) fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    text(|text| match text {
        "combined" => Ok(LogFormat::Combined),
        "json" => Ok(LogFormat::Json),
        _ => Err(ValueError::NotLogFormat),
    })
}

/// A disk engine.
pub(super) fn engine() -> impl TypedValueParser<Value = EngineChoice> {
    text(|text| match text {
        "auto" => Ok(EngineChoice::Auto),
        "threads" => Ok(EngineChoice::Threads),
        "blocking" => Ok(EngineChoice::Blocking),
        "uring" => Ok(EngineChoice::Uring),
        _ => Err(ValueError::NotEngine),
    })
}

/// The destination of the access log. A file named `off` is `./off`; standard output has several names.
pub(super) fn access_log() -> impl TypedValueParser<Value = AccessLog> {
    word(|word| match word.to_str() {
        Some("") => Err(ValueError::NotAccessLog),
        Some("off") => Ok(AccessLog::Off),
        // It may be a socket, as under systemd, which cannot be opened by name.
        Some("-" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => {
            Ok(AccessLog::StandardOutput)
        }
        _ => Ok(AccessLog::File(PathBuf::from(word))),
    })
}

/// Access to the status page.
pub(super) fn status() -> impl TypedValueParser<Value = StatusAccess> {
    text(|text| match text {
        "loopback" => Ok(StatusAccess::Loopback),
        "off" => Ok(StatusAccess::Off),
        "all" => Ok(StatusAccess::All),
        _ => match parse_tcp(text) {
            Ok(address) => Ok(StatusAccess::Listener(address)),
            Err(ValueError::NoPort) => Err(ValueError::NoPort),
            Err(_) => Err(ValueError::NotStatusAccess),
        },
    })
}

/// Addresses of proxies: `ADDR`, `ADDR/LEN`, or `none`.
pub(super) fn networks() -> impl TypedValueParser<Value = Option<Network>> {
    text(|text| {
        if text == "none" {
            return Ok(None);
        }
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => (address, Some(length)),
        };
        let address: IpAddr = address.parse().map_err(|_| ValueError::NotNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(length) => length.parse().map_err(|_| ValueError::NotNetwork)?,
        };
        match length <= most {
            true => Ok(Some(Network::new(address, length))),
            false => Err(ValueError::NotNetwork),
        }
    })
}
