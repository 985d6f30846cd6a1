//! Media types by the name of a file, and whether files of a type are worth compressing.
//!
//! Looks at names only, never at content: sniffing would make the type depend on who wrote the
//! bytes. RFC 9110 §8.3 (Content-Type).

use std::fmt;

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

/// The type of a file whose extension is missing or says nothing.
const UNKNOWN: &str = "application/octet-stream";

/// What mime_guess does not know, or knows by another name than browsers and IANA do, or what must
/// not change when it does. By extension, in lower case, sorted.
#[rustfmt::skip]
const OVERLAY: &[(&str, &str)] = &[
    ("3mf",        "application/vnd.ms-3mfdocument"),
    ("afp",        "application/vnd.afpc.modca"),
    ("atom",        "application/atom+xml"),
    ("avif",        "image/avif"),
    ("br",          UNKNOWN), // Brotli has no type of its own
    ("cab",        "application/vnd.ms-cab-compressed"),
    ("cbor",       "application/cbor"),
    ("cbr",        "application/vnd.comicbook-rar"),
    ("cbz",        "application/vnd.comicbook+zip"),
    ("cer",        "application/pkix-cert"),
    ("cjs",         "text/javascript"),
    ("css",         "text/css"),
    ("deb",        "application/vnd.debian.binary-package"),
    ("diff",       "text/x-diff"),
    ("dtd",        "application/xml-dtd"),
    ("dv",         "video/dv"),
    ("dwf",        "model/vnd.dwf"),
    ("dwg",        "image/vnd.dwg"),
    ("dxf",        "image/vnd.dxf"),
    ("emf",        "image/emf"),
    ("fdf",        "application/fdf"),
    ("glb",         "model/gltf-binary"),
    ("gz",          "application/gzip"),
    ("htm",         "text/html"),
    ("html",        "text/html"),
    ("ico",         "image/x-icon"),
    ("java",       "text/x-java"),
    ("jpeg",        "image/jpeg"),
    ("jpg",         "image/jpeg"),
    ("js",          "text/javascript"), // RFC 9239
    ("json",        "application/json"),
    ("jsonl",       "application/jsonl"),
    ("jxl",         "image/jxl"),
    ("ktx2",       "image/ktx2"),
    ("lzh",        "application/x-lzh"),
    ("m3u8",        "application/vnd.apple.mpegurl"), // RFC 8216
    ("m4a",         "audio/mp4"),
    ("m4s",         "video/iso.segment"),
    ("m4v",         "video/mp4"),
    ("map",         "application/json"), // source maps, ECMA-426
    ("markdown",    "text/markdown"),
    ("md",          "text/markdown"), // RFC 7763
    ("mid",        "audio/midi"),
    ("midi",       "audio/midi"),
    ("mjs",         "text/javascript"), // RFC 9239
    ("mmf",        "application/vnd.smaf"),
    ("mp4",         "video/mp4"),
    ("nb",         "application/vnd.wolfram.mathematica"),
    ("ndjson",      "application/x-ndjson"),
    ("obj",        "model/obj"), // Wavefront, not Tgif
    ("odb",        "application/vnd.oasis.opendocument.base"),
    ("opus",        "audio/ogg"), // RFC 7845
    ("otf",         "font/otf"), // RFC 8081
    ("p12",        "application/pkcs12"),
    ("patch",      "text/x-diff"),
    ("pfx",        "application/pkcs12"),
    ("pgn",        "application/vnd.chess-pgn"),
    ("png",         "image/png"),
    ("psd",        "image/vnd.adobe.photoshop"),
    ("rpm",        "application/x-redhat-package-manager"), // as nginx and Debian have it
    ("rss",         "application/rss+xml"),
    ("sql",        "application/sql"),
    ("step",       "model/step"),
    ("stl",        "model/stl"), // a solid, not a trust list of Windows
    ("stp",        "model/step"),
    ("svg",         "image/svg+xml"),
    ("svgz",        "application/gzip"), // it would need a Content-Encoding to be SVG
    ("tgz",         "application/gzip"),
    ("toml",       "application/toml"),
    ("topojson",    "application/json"),
    ("ts",          "video/mp2t"), // segments of HLS, as IANA, nginx and Apache httpd have it; no browser runs TypeScript
    ("ttf",         "font/ttf"), // RFC 8081
    ("txt",         "text/plain"),
    ("udeb",       "application/vnd.debian.binary-package"),
    ("usda",       "model/vnd.usda"),
    ("usdz",        "model/vnd.usdz+zip"),
    ("vcf",        "text/vcard"),
    ("vtt",         "text/vtt"),
    ("wasm",        "application/wasm"),
    ("weba",        "audio/webm"),
    ("webm",        "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp",        "image/webp"),
    ("wgsl",        "text/wgsl"),
    ("wmf",        "image/wmf"),
    ("woff",        "font/woff"), // RFC 8081
    ("woff2",       "font/woff2"), // RFC 8081
    ("wrl",        "model/vrml"),
    ("wsdl",       "application/wsdl+xml"),
    ("xfdf",       "application/xfdf"),
    ("xlf",        "application/xliff+xml"),
    ("xml",         "application/xml"), // as all XML: its declaration says the encoding
    ("xsd",         "application/xml"),
    ("xsl",         "application/xslt+xml"),
    ("xslt",        "application/xslt+xml"),
    ("yaml",       "application/yaml"), // RFC 9512
    ("yml",        "application/yaml"),
    ("zst",         "application/zstd"), // RFC 8878
];

/// Types beside `text/*`, `*+json` and `*+xml` that are worth compressing: a closed list, since a
/// precompressed variant that is looked for and never there costs an open. Sorted.
const COMPRESSIBLE: &[&str] = &[
    "application/javascript",
    "application/json",
    "application/json5",
    "application/jsonl",
    "application/sql",
    "application/toml",
    "application/wasm",
    "application/x-ndjson",
    "application/xml",
    "application/xml-dtd",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
    "model/obj",
    "model/step",
    "model/stl",
    "model/vrml",
];

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

    /// Where mime_guess, IANA, nginx and Debian's list (as Apache httpd uses it) do not agree.
    #[test]
    fn each_difference_between_the_lists_is_decided() {
        #[rustfmt::skip]
        let decided = [
            // extension, what we say, what another list says, why
            ("obj", "model/obj", "application/x-tgif", "registered"),
            ("stl", "model/stl", "application/vnd.ms-pki.stl", "registered"),
            ("rpm", "application/x-redhat-package-manager", "audio/x-pn-realaudio-plugin", "nginx and Debian agree"),
            ("ts", "video/mp2t", "text/typescript", "not registered; segments of HLS are"),
            ("yaml", "application/yaml", "text/x-yaml", "RFC 9512"),
            ("yml", "application/yaml", "text/x-yaml", "RFC 9512"),
            ("toml", "application/toml", "text/x-toml", "registered"),
            ("vcf", "text/vcard", "text/x-vcard", "RFC 6350"),
            ("mid", "audio/midi", "audio/mid", "nginx"),
            ("js", "text/javascript", "application/javascript", "RFC 9239, nginx has the old one"),
            ("mjs", "text/javascript", "application/javascript", "RFC 9239"),
            ("xml", "application/xml", "text/xml", "RFC 7303, nginx has the other"),
            ("bmp", "image/bmp", "image/x-ms-bmp", "RFC 7903, nginx has an old one"),
            ("m4a", "audio/mp4", "audio/x-m4a", "RFC 4337"),
            ("m4v", "video/mp4", "video/x-m4v", "RFC 4337"),
            ("svgz", "application/gzip", "image/svg+xml", "sent without Content-Encoding"),
            ("wav", "audio/wav", "audio/x-wav", "what browsers call it"),
            ("tgz", "application/gzip", "application/x-gtar-compressed", "RFC 6713"),
            ("rs", "text/x-rust", "application/rls-services+xml", "sources are more common"),
            ("dtd", "application/xml-dtd", "text/xml", "RFC 7303"),
            ("dxf", "image/vnd.dxf", "application/x-dxf", "registered"),
            ("dwg", "image/vnd.dwg", "application/acad", "registered"),
            ("step", "model/step", "application/step", "registered"),
            ("wrl", "model/vrml", "x-world/x-vrml", "registered"),
            ("psd", "image/vnd.adobe.photoshop", "application/octet-stream", "registered"),
            ("cab", "application/vnd.ms-cab-compressed", "application/octet-stream", "registered"),
            ("cbz", "application/vnd.comicbook+zip", "application/x-cbr", "registered"),
            ("p12", "application/pkcs12", "application/x-pkcs12", "registered"),
            ("sql", "application/sql", "application/x-sql", "RFC 6922"),
            ("emf", "image/emf", "application/x-msmetafile", "RFC 7903"),
            ("wmf", "image/wmf", "application/x-msmetafile", "RFC 7903"),
            ("deb", "application/vnd.debian.binary-package", "application/octet-stream", "registered"),
            ("wasm", "application/wasm", "application/octet-stream", "registered"),
            ("gltf", "model/gltf+json", "application/json", "registered"),
            ("glb", "model/gltf-binary", "application/octet-stream", "registered"),
            ("jxl", "image/jxl", "application/octet-stream", "registered"),
            ("avif", "image/avif", "application/octet-stream", "registered"),
            ("webmanifest", "application/manifest+json", "application/json", "registered"),
            ("woff2", "font/woff2", "application/font-woff2", "RFC 8081"),
            ("3mf", "application/vnd.ms-3mfdocument", "application/octet-stream", "registered"),
            ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "application/octet-stream", "registered"),
        ];
        let types = MediaTypes {
            charset: Charset::Unsaid,
            own: Vec::new(),
        };
        for (extension, ours, other, why) in decided {
            assert_ne!(ours, other);
            let found = types.of(format!("a.{extension}").as_bytes()).to_string();
            assert_eq!(found, ours, "{extension}: {why}");
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
            own: Vec::new(),
        };
        let (utf_8, own) = (MediaTypes::default(), named("Shift_JIS"));
        let unsaid = MediaTypes {
            charset: Charset::Unsaid,
            own: Vec::new(),
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
