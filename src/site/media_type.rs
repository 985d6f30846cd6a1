//! Media types by the name of a file, and whether files of a type are worth compressing.
//!
//! Looks at names only, never at content: sniffing would make the type depend on who wrote the
//! bytes. RFC 9110 §8.3 (Content-Type).

use std::fmt;

/// Whether precompressed twins of a file are looked for.
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

/// The type of a file whose extension is missing or says nothing.
const UNKNOWN: &str = "application/octet-stream";

/// What mime_guess does not know, or knows by another name than browsers and IANA do, or what must
/// not change when it does. By extension, in lower case, sorted.
#[rustfmt::skip]
const OVERLAY: &[(&str, &str)] = &[
    ("atom",        "application/atom+xml"),
    ("avif",        "image/avif"),
    ("br",          UNKNOWN), // Brotli has no type of its own
    ("cjs",         "text/javascript"),
    ("css",         "text/css"),
    ("glb",         "model/gltf-binary"),
    ("gz",          "application/gzip"),
    ("htm",         "text/html"),
    ("html",        "text/html"),
    ("ico",         "image/x-icon"),
    ("jpeg",        "image/jpeg"),
    ("jpg",         "image/jpeg"),
    ("js",          "text/javascript"), // RFC 9239
    ("json",        "application/json"),
    ("jsonl",       "application/jsonl"),
    ("jxl",         "image/jxl"),
    ("m3u8",        "application/vnd.apple.mpegurl"), // RFC 8216
    ("m4a",         "audio/mp4"),
    ("m4s",         "video/iso.segment"),
    ("m4v",         "video/mp4"),
    ("map",         "application/json"), // source maps, ECMA-426
    ("markdown",    "text/markdown"),
    ("md",          "text/markdown"), // RFC 7763
    ("mjs",         "text/javascript"), // RFC 9239
    ("mp4",         "video/mp4"),
    ("ndjson",      "application/x-ndjson"),
    ("opus",        "audio/ogg"), // RFC 7845
    ("otf",         "font/otf"), // RFC 8081
    ("png",         "image/png"),
    ("rss",         "application/rss+xml"),
    ("svg",         "image/svg+xml"),
    ("svgz",        "application/gzip"), // it would need a Content-Encoding to be SVG
    ("tgz",         "application/gzip"),
    ("topojson",    "application/json"),
    ("ts",          "video/mp2t"), // segments of HLS; TypeScript is not served to browsers
    ("ttf",         "font/ttf"), // RFC 8081
    ("txt",         "text/plain"),
    ("usdz",        "model/vnd.usdz+zip"),
    ("vtt",         "text/vtt"),
    ("wasm",        "application/wasm"),
    ("weba",        "audio/webm"),
    ("webm",        "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp",        "image/webp"),
    ("wgsl",        "text/wgsl"),
    ("woff",        "font/woff"), // RFC 8081
    ("woff2",       "font/woff2"), // RFC 8081
    ("xml",         "application/xml"), // as all XML: its declaration says the encoding
    ("xsd",         "application/xml"),
    ("xsl",         "application/xslt+xml"),
    ("xslt",        "application/xslt+xml"),
    ("zst",         "application/zstd"), // RFC 8878
];

/// Types beside `text/*`, `*+json` and `*+xml` that are worth compressing: a closed list, since a
/// twin that is looked for and never there costs an open. Sorted.
const COMPRESSIBLE: &[&str] = &[
    "application/javascript",
    "application/json",
    "application/json5",
    "application/jsonl",
    "application/wasm",
    "application/x-ndjson",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
];

/// Which charset the types of text files name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charset {
    /// None: what the file itself says counts (`<meta charset>`), or what the browser guesses.
    Unsaid,
    /// This one; it overrules what the file says.
    Named(String),
}

/// What a site decides about media types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypes {
    /// The charset of all text.
    pub charset: Charset,
}

impl Default for MediaTypes {
    fn default() -> MediaTypes {
        MediaTypes {
            charset: Charset::Named("utf-8".to_owned()),
        }
    }
}

impl MediaTypes {
    /// The media type of a file, by the extension of the last segment of its path, in any case.
    ///
    /// A name without a dot, with its only dot first (`.htaccess`) or with a dot last has no extension.
    /// Of two extensions the last counts: `x.tar.gz` is `application/gzip`, and is sent without
    /// Content-Encoding, for the archive itself is what was asked for. For a precompressed twin give
    /// the name of the file it stands for.
    ///
    /// Text is said to be in the charset of the site. JSON has no charset (RFC 8259 §11), XML and SVG
    /// declare their own; for `text/xml` the parameter would overrule that (RFC 7303 §3).
    /// Runs in `O(path.len())` and does not allocate.
    pub fn of(&self, path: &[u8]) -> MediaType<'_> {
        let essence = extension(path).and_then(of_extension).unwrap_or(UNKNOWN);
        let charset = match &self.charset {
            Charset::Named(name) if essence.starts_with("text/") && essence != "text/xml" => {
                Some(name.as_str())
            }
            _ => None,
        };
        MediaType {
            essence,
            charset,
            compressible: compressible(essence),
        }
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
    let lower = || extension.bytes().map(|byte| byte.to_ascii_lowercase());
    match OVERLAY.binary_search_by(|(name, _)| name.bytes().cmp(lower())) {
        Ok(place) => Some(OVERLAY[place].1),
        Err(_) => mime_guess::from_ext(extension).first_raw(),
    }
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
mod tests {
    use super::Compressible::{No, Yes};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_tells_the_media_type() {
        #[rustfmt::skip]
        let cases: &[(&[u8], &str, Compressible)] = &[
            (b"index.html",           "text/html; charset=utf-8",       Yes),
            (b"INDEX.HTM",            "text/html; charset=utf-8",       Yes),
            (b"a/b/style.css",        "text/css; charset=utf-8",        Yes),
            (b"app.js",               "text/javascript; charset=utf-8", Yes),
            (b"app.MJS",              "text/javascript; charset=utf-8", Yes),
            (b"app.js.map",           "application/json",               Yes),
            (b"data.json",            "application/json",               Yes),
            (b"site.webmanifest",     "application/manifest+json",      Yes),
            (b"module.wasm",          "application/wasm",               Yes),
            (b"feed.xml",             "application/xml",                Yes),
            (b"feed.atom",            "application/atom+xml",           Yes),
            (b"logo.svg",             "image/svg+xml",                  Yes),
            (b"logo.svgz",            "application/gzip",               No),
            (b"README.md",            "text/markdown; charset=utf-8",   Yes),
            (b"robots.txt",           "text/plain; charset=utf-8",      Yes),
            (b"table.csv",            "text/csv; charset=utf-8",        Yes),
            (b"main.rs",              "text/x-rust; charset=utf-8",     Yes),
            (b"favicon.ico",          "image/x-icon",                   Yes),
            (b"old.bmp",              "image/bmp",                      Yes),
            (b"sans.ttf",             "font/ttf",                       Yes),
            (b"sans.otf",             "font/otf",                       Yes),
            (b"sans.woff",            "font/woff",                      No),
            (b"sans.woff2",           "font/woff2",                     No),
            (b"a.png",                "image/png",                      No),
            (b"a.avif",               "image/avif",                     No),
            (b"a.webp",               "image/webp",                     No),
            (b"a.jxl",                "image/jxl",                      No),
            (b"a.m4a",                "audio/mp4",                      No),
            (b"a.opus",               "audio/ogg",                      No),
            (b"a.mp4",                "video/mp4",                      No),
            (b"a.ts",                 "video/mp2t",                     No),
            (b"a.pdf",                "application/pdf",                No),
            (b"x.tar.gz",             "application/gzip",               No),
            (b"x.html.zst",           "application/zstd",               No),
            (b"x.html.br",            UNKNOWN,                          No),
            (b"LICENSE",              UNKNOWN,                          No),
            (b"html",                 UNKNOWN,                          No),
            (b"a.html/b",             UNKNOWN,                          No),
            (b"a.html/",              UNKNOWN,                          No),
            (b".html",                UNKNOWN,                          No),
            (b"a/.html",              UNKNOWN,                          No),
            (b".eslintrc.json",       "application/json",               Yes),
            (b"a.",                   UNKNOWN,                          No),
            (b".",                    UNKNOWN,                          No),
            (b"",                     UNKNOWN,                          No),
            (b"a.nosuchextension",    UNKNOWN,                          No),
            (b"a.html ",              UNKNOWN,                          No),
            (b"a.\xff\xfe",           UNKNOWN,                          No),
            (b"\xff\xfe.html",        "text/html; charset=utf-8",       Yes),
        ];
        for (path, field, compressible) in cases {
            let types = MediaTypes::default();
            let found = types.of(path);
            assert_eq!(found.to_string(), *field, "{}", path.escape_ascii());
            assert_eq!(found.compressible, *compressible, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn the_tables_are_sorted_so_that_they_can_be_searched() {
        assert!(OVERLAY.is_sorted_by(|one, next| one.0 < next.0));
        assert!(COMPRESSIBLE.is_sorted_by(|one, next| one < next));
        assert!(
            OVERLAY
                .iter()
                .all(|(name, _)| *name == name.to_ascii_lowercase())
        );
    }

    #[test]
    fn every_text_type_but_xml_names_the_charset_of_the_site() {
        let known = mime_guess::get_extensions("text", "*").expect("there are some");
        let others = mime_guess::get_extensions("application", "*").expect("there are some");
        let extensions = known
            .iter()
            .chain(others)
            .copied()
            .chain(OVERLAY.iter().map(|(name, _)| *name));
        let named = |name: &str| MediaTypes {
            charset: Charset::Named(name.to_owned()),
        };
        let (utf_8, own) = (MediaTypes::default(), named("Shift_JIS"));
        let unsaid = MediaTypes {
            charset: Charset::Unsaid,
        };
        for extension in extensions {
            let path = format!("a.{extension}");
            let bare = unsaid.of(path.as_bytes()).to_string();
            assert!(!bare.contains(';'), "{extension}: {bare}");
            let is_text = bare.starts_with("text/") && bare != "text/xml";
            for (types, parameter) in [(&utf_8, "; charset=utf-8"), (&own, "; charset=Shift_JIS")] {
                let want = match is_text {
                    true => format!("{bare}{parameter}"),
                    false => bare.clone(),
                };
                assert_eq!(types.of(path.as_bytes()).to_string(), want);
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_look_up_panic(path: Vec<u8>) {
            let found = MediaTypes::default().of(&path).to_string();
            prop_assert!(found.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        }

        #[test]
        fn neither_case_nor_directory_matter(
            place in 0..OVERLAY.len(), directory in "[a-z./]{0,8}/", upper: u16,
        ) {
            let (name, _) = OVERLAY[place];
            let mixed: String = name
                .chars()
                .enumerate()
                .map(|(at, c)| if upper >> at & 1 == 1 { c.to_ascii_uppercase() } else { c })
                .collect();
            let types = MediaTypes::default();
            prop_assert_eq!(
                types.of(format!("{directory}a.{mixed}").as_bytes()),
                types.of(format!("a.{name}").as_bytes())
            );
        }
    }
}
