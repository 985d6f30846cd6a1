//! Media types by the name of a file, and whether files of a type are worth compressing.
//!
//! Looks at names only, never at content: sniffing would make the type depend on who wrote the
//! bytes. RFC 9110 §8.3 (Content-Type).

/// Whether precompressed twins of a file are looked for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Compressible {
    /// Text and other formats that do not compress themselves.
    Yes,
    /// Everything else: images, sound, video, archives, what is not known.
    No,
}

/// What is known of a file by its name.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct MediaType {
    /// The value of the Content-Type field, with its charset if it should have one.
    pub field: &'static str,
    /// Whether files of this type are worth compressing.
    pub compressible: Compressible,
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

/// Pairs each type with the same type in UTF-8.
macro_rules! in_utf8 {
    ($($media_type:literal)*) => {
        &[$(($media_type, concat!($media_type, "; charset=utf-8"))),*]
    };
}

/// All text types of mime_guess and of the overlay, sorted, so that none is built at run time.
/// Without a charset, browsers guess one. `text/xml` is not here: the charset would overrule the
/// encoding that the file itself declares (RFC 7303 §3).
#[rustfmt::skip]
const TEXT: &[(&str, &str)] = in_utf8![
    "text/cache-manifest" "text/calendar" "text/coffeescript" "text/css" "text/csv" "text/dlm"
    "text/gemini" "text/h323" "text/html" "text/iuls" "text/jade" "text/javascript" "text/less"
    "text/markdown" "text/mathml" "text/n3" "text/plain" "text/prs.lines.tag" "text/richtext"
    "text/scriptlet" "text/sgml" "text/shex" "text/slim" "text/stylus" "text/tab-separated-values"
    "text/turtle" "text/uri-list" "text/vbscript" "text/vcard" "text/vnd.curl"
    "text/vnd.curl.dcurl" "text/vnd.curl.mcurl" "text/vnd.curl.scurl" "text/vnd.dvb.subtitle"
    "text/vnd.fly" "text/vnd.fmi.flexstor" "text/vnd.graphviz" "text/vnd.in3d.3dml"
    "text/vnd.in3d.spot" "text/vnd.sun.j2me.app-descriptor" "text/vnd.wap.wml"
    "text/vnd.wap.wmlscript" "text/vtt" "text/webviewhtml" "text/wgsl" "text/x-c"
    "text/x-component" "text/x-fortran" "text/x-gherkin" "text/x-handlebars-template"
    "text/x-hdml" "text/x-html-insertion" "text/x-lua" "text/x-markdown" "text/x-ms-contact"
    "text/x-ms-group" "text/x-ms-iqy" "text/x-ms-rqy" "text/x-nfo" "text/x-opml" "text/x-pascal"
    "text/x-processing" "text/x-rust" "text/x-sass" "text/x-scss" "text/x-setext" "text/x-sfv"
    "text/x-suse-ymp" "text/x-toml" "text/x-uuencode" "text/x-vcard" "text/x-yaml"
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

/// The media type of a file, by the extension of the last segment of its path, in any case.
///
/// A name without a dot, with its only dot first (`.htaccess`) or with a dot last has no extension.
/// Of two extensions the last counts: `x.tar.gz` is `application/gzip`, and is sent without
/// Content-Encoding, for the archive itself is what was asked for. For a precompressed twin give
/// the name of the file it stands for.
///
/// Text is said to be UTF-8. JSON has no charset (RFC 8259 §11), XML and SVG declare their own.
/// Runs in `O(path.len())` and does not allocate.
pub fn media_type(path: &[u8]) -> MediaType {
    let field = extension(path).and_then(of_extension).unwrap_or(UNKNOWN);
    let compressible = compressible(field);
    let field = match TEXT.binary_search_by_key(&field, |(media_type, _)| media_type) {
        Ok(place) => TEXT[place].1,
        Err(_) => field,
    };
    MediaType {
        field,
        compressible,
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
            let want = MediaType {
                field,
                compressible: *compressible,
            };
            assert_eq!(media_type(path), want, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn the_tables_are_sorted_so_that_they_can_be_searched() {
        assert!(OVERLAY.is_sorted_by(|one, next| one.0 < next.0));
        assert!(TEXT.is_sorted_by(|one, next| one.0 < next.0));
        assert!(COMPRESSIBLE.is_sorted_by(|one, next| one < next));
        assert!(
            OVERLAY
                .iter()
                .all(|(name, _)| *name == name.to_ascii_lowercase())
        );
    }

    /// Fails when a new version of mime_guess knows a text type that is not in the table.
    #[test]
    fn every_text_type_but_xml_is_said_to_be_utf_8() {
        let known = mime_guess::get_extensions("text", "*").expect("there are some");
        let extensions = known
            .iter()
            .copied()
            .chain(OVERLAY.iter().map(|(name, _)| *name));
        for extension in extensions {
            let field = media_type(format!("a.{extension}").as_bytes()).field;
            let text = field.starts_with("text/") && field != "text/xml";
            assert_eq!(
                field.ends_with("; charset=utf-8"),
                text,
                "{extension}: {field}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_look_up_panic(path: Vec<u8>) {
            let found = media_type(&path);
            prop_assert!(found.field.bytes().all(|byte| matches!(byte, b' '..=b'~')));
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
            prop_assert_eq!(
                media_type(format!("{directory}a.{mixed}").as_bytes()),
                media_type(format!("a.{name}").as_bytes())
            );
        }
    }
}
