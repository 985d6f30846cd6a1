//! Media types by file name, and whether files of a type are worth compressing.
//!
//! Uses names only, never content: with sniffing the type would depend on the author of the bytes. RFC 9110
//! §8.3 (Content-Type).

mod table;

use std::fmt;

use table::{COMPRESSIBLE, OVERLAY, REGISTERED, UNKNOWN};

/// Whether precompressed variants of a file are looked for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Compressible {
    /// Text and other formats that do not compress themselves.
    Yes,
    /// Everything else: images, sound, video, archives, unknown types.
    No,
}

/// The media type of a file. Displays as the value of its Content-Type field.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct MediaType<'a> {
    /// The type without a charset.
    essence: &'a str,
    /// Its charset parameter, if it has one.
    charset: Option<&'a str>,
    /// Whether files of this type are worth compressing.
    pub(crate) compressible: Compressible,
}

impl fmt::Display for MediaType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.essence)?;
        match self.charset {
            Some(charset) => write!(f, "; charset={charset}"),
            None => Ok(()),
        }
    }
}

/// The charset parameter of text types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charset {
    /// None: the file's own declaration (`<meta charset>`) or the browser's guess applies.
    Omitted,
    /// This one; it overrides the file's own declaration.
    Named(String),
}

/// A configured media type for an extension; overrides the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeOverride {
    /// Without a dot; in any case.
    pub(crate) extension: String,
    /// A type, with its own parameters if any; then the charset of the site is not added.
    pub(crate) media_type: String,
}

/// Media types as a site configures them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypes {
    /// The charset of all text.
    pub(crate) charset: Charset,
    /// Overrides of the table; each extension once.
    pub(crate) own: Vec<TypeOverride>,
}

impl Default for MediaTypes {
    fn default() -> MediaTypes {
        MediaTypes {
            charset: Charset::Named("utf-8".to_owned()),
            own: Vec::new(),
        }
    }
}

impl MediaTypes {
    /// The media type of a file, by the extension of the last segment of its path, in any case.
    ///
    /// A name without a dot, with its only dot first (`.htaccess`) or with a dot last has no extension. Of
    /// two extensions the last counts: `x.tar.gz` is `application/gzip`, and is sent without
    /// Content-Encoding, because the client asked for the archive itself. For a precompressed variant pass
    /// the name of the original file.
    ///
    /// Text gets the charset of the site. JSON has no charset (RFC 8259 §11), XML and SVG declare their own;
    /// for `text/xml` the parameter would override that (RFC 7303 §3). Runs in `O(path.len())` and does not
    /// allocate.
    pub fn of(&self, path: &[u8]) -> MediaType<'_> {
        self.in_charset(path, &self.charset)
    }

    /// The same with another charset than that of the site.
    pub(crate) fn in_charset<'a>(&'a self, path: &[u8], charset: &'a Charset) -> MediaType<'a> {
        let essence = self.by_extension(path).unwrap_or(UNKNOWN);
        let bare = essence.split(';').next().unwrap_or_default().trim_end();
        let is_text = bare.starts_with("text/") && bare != "text/xml";
        let charset = match charset {
            Charset::Named(name) if is_text && bare == essence => Some(name.as_str()),
            _ => None,
        };
        MediaType {
            essence,
            charset,
            compressible: compressible(bare),
        }
    }

    /// Whether the last name of a path has the extension of something that pages are made of, or that is downloaded
    /// from them, other than HTML: a script, a style sheet, text, data, a picture, a font, sound, video, PDF, an archive.
    /// Others mean nothing, since the ends of host names and of addresses are extensions too (`.com`, `.org`, `.me`).
    pub(crate) fn is_asset(&self, path: &[u8]) -> bool {
        let essence = self.by_extension(path).unwrap_or_default();
        let bare = essence.split(';').next().unwrap_or_default().trim_end();
        let kind = bare.split('/').next().unwrap_or_default();
        let is_media = matches!(kind, "audio" | "font" | "image" | "video");
        let is_listed = matches!(
            bare,
            "application/gzip" | "application/pdf" | "application/zip"
        );
        let is_html = matches!(bare, "text/html" | "application/xhtml+xml");
        !is_html && (is_media || is_listed || compressible(bare) == Compressible::Yes)
    }

    fn by_extension(&self, path: &[u8]) -> Option<&str> {
        let extension = extension(path)?;
        self.own(extension).or_else(|| of_extension(extension))
    }

    fn own(&self, extension: &str) -> Option<&str> {
        let mut all = self.own.iter();
        let found = all.find(|own| own.extension.eq_ignore_ascii_case(extension))?;
        Some(&found.media_type)
    }
}

/// The part after the last dot of the last segment.
fn extension(path: &[u8]) -> Option<&str> {
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let dot = name
        .iter()
        .rposition(|byte| *byte == b'.')
        .filter(|dot| *dot > 0)?;
    std::str::from_utf8(&name[dot + 1..])
        .ok()
        .filter(|extension| !extension.is_empty())
}

/// The type without parameters.
fn of_extension(extension: &str) -> Option<&'static str> {
    found(OVERLAY, extension)
        .or_else(|| found(REGISTERED, extension))
        .or_else(|| mime_guess::from_ext(extension).first_raw())
}

fn found(table: &[(&str, &'static str)], extension: &str) -> Option<&'static str> {
    let lower = || extension.bytes().map(|byte| byte.to_ascii_lowercase());
    let place = table.binary_search_by(|(name, _)| name.bytes().cmp(lower()));
    place.ok().map(|place| table[place].1)
}

fn compressible(media_type: &str) -> Compressible {
    let listed = media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || COMPRESSIBLE.binary_search(&media_type).is_ok();
    if listed {
        Compressible::Yes
    } else {
        Compressible::No
    }
}

#[cfg(test)]
mod tests;
