//! Media types by the name of a file, and whether files of a type are worth compressing.
//!
//! Looks at names only, never at content: sniffing would make the type depend on who wrote the
//! bytes. RFC 9110 §8.3 (Content-Type).

mod table;

use std::fmt;

use table::{COMPRESSIBLE, OVERLAY, REGISTERED, UNKNOWN};

/// Whether precompressed precompressed variants of a file are looked for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Compressible {
    /// Text and other formats that do not compress themselves.
    Yes,
    /// Everything else: images, sound, video, archives, what is not known.
    No,
}

/// What is known of a file by its name. Displays as the value of its Content-Type field.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct MediaType<'a> {
    /// The type without a charset.
    essence: &'a str,
    /// Its charset, if it should name one.
    charset: Option<&'a str>,
    /// Whether files of this type are worth compressing.
    pub compressible: Compressible,
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

/// Which charset the types of text files name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charset {
    /// None: what the file itself says counts (`<meta charset>`), or what the browser guesses.
    Unsaid,
    /// This one; it overrules what the file says.
    Named(String),
}

/// What files with an extension are said to be, whatever the table has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnType {
    /// Without a dot; in any case.
    pub extension: String,
    /// A type, with parameters if it has its own; these leave no place for the charset of the site.
    pub media_type: String,
}

/// What a site decides about media types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypes {
    /// The charset of all text.
    pub charset: Charset,
    /// What wins over the table; each extension once.
    pub own: Vec<OwnType>,
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
    /// A name without a dot, with its only dot first (`.htaccess`) or with a dot last has no extension.
    /// Of two extensions the last counts: `x.tar.gz` is `application/gzip`, and is sent without
    /// Content-Encoding, for the archive itself is what was asked for. For a precompressed precompressed variant give
    /// the name of the file it stands for.
    ///
    /// Text is said to be in the charset of the site. JSON has no charset (RFC 8259 §11), XML and SVG
    /// declare their own; for `text/xml` the parameter would overrule that (RFC 7303 §3).
    /// Runs in `O(path.len())` and does not allocate.
    pub fn of(&self, path: &[u8]) -> MediaType<'_> {
        let of_extension = |extension| self.own(extension).or_else(|| of_extension(extension));
        let essence = extension(path).and_then(of_extension).unwrap_or(UNKNOWN);
        let bare = essence.split(';').next().unwrap_or_default().trim_end();
        let is_text = bare.starts_with("text/") && bare != "text/xml";
        let charset = match &self.charset {
            Charset::Named(name) if is_text && bare == essence => Some(name.as_str()),
            _ => None,
        };
        MediaType {
            essence,
            charset,
            compressible: compressible(bare),
        }
    }

    fn own(&self, extension: &str) -> Option<&str> {
        let mut all = self.own.iter();
        let found = all.find(|own| own.extension.eq_ignore_ascii_case(extension))?;
        Some(&found.media_type)
    }
}

/// What follows the last dot of the last segment.
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
