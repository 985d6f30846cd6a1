//! File names that contain a hash of the content, as bundlers make them: another content has another name.
//!
//! | form of the hash | made by | example |
//! | --- | --- | --- |
//! | 8 to 128 hexadecimal digits | webpack, Parcel, Next.js, Hugo, Angular, Rails, Django | `app.3f9a1c2b.js` |
//! | 8 characters of base64url | Vite, Rollup, Astro, SvelteKit | `index-BQx3k9Zf.css` |
//! | 8 characters of base32 | esbuild | `chunk-5TMT7WJM.js` |
//!
//! A name that is taken for such a one wrongly is served stale for a year, one that is not recognised costs a
//! revalidation. So words with a number (`chapter-lecture3.js`), dates, versions, sizes and UUIDs are left out, at the
//! price of some hashes that look like them, and only types that bundlers emit count: no HTML, no data, no documents.

/// Lengths of hashes in hexadecimal digits: from 32 bits to SHA-512.
const HEX_LENGTHS: std::ops::RangeInclusive<usize> = 8..=128;
/// Length of the hashes of Rollup and esbuild.
const SHORT_LENGTH: usize = 8;
/// Minimum number of changes between upper case, lower case and digits in a base64url hash. A word with an initial
/// capital and a number has one, two such words have three at most if they are longer than a hash.
const MIXED_CHANGE_COUNT_MIN: usize = 3;
/// The same between digits and letters of a hexadecimal hash; a date or a year beside a word has one.
const HEX_CHANGE_COUNT_MIN: usize = 2;

/// Directories in which two frameworks put hashed names only.
const HASHED_DIRECTORIES: [&[u8]; 2] = [b"_next/static/", b"_app/immutable/"];

/// What names without another part than the hash are recognised for: code, whose names nobody else makes so. Images and
/// fonts are also stored by ids of this form.
const CODE: [&str; 5] = ["js", "mjs", "css", "map", "wasm"];
/// What other names are recognised for.
const ASSETS: [&str; 13] = [
    "avif", "eot", "gif", "ico", "jpeg", "jpg", "otf", "png", "svg", "ttf", "webp", "woff", "woff2",
];

/// Whether the name of a file, relative to the root, contains a hash of its content.
pub(super) fn is_content_hashed(path: &[u8]) -> bool {
    let name_start = path.iter().rposition(|byte| *byte == b'/');
    let (directory, name) = path.split_at(name_start.map_or(0, |slash| slash + 1));
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    let is_code = CODE.contains(&extension);
    if !is_code && !ASSETS.contains(&extension) {
        return false;
    }
    let is_below = |other: &&[u8]| {
        let mut starts = memchr::memmem::find_iter(directory, other);
        starts.any(|start| start == 0 || directory[start - 1] == b'/')
    };
    if HASHED_DIRECTORIES.iter().any(is_below) {
        return true;
    }
    let mut parts = stem.split('.').enumerate();
    parts.any(|(index, part)| is_hash_of_part(part, index > 0 || is_code) || ends_with_hash(part))
}

/// Whether a part between dots is a hash and nothing else.
fn is_hash_of_part(part: &str, may_stand_alone: bool) -> bool {
    may_stand_alone && is_hash(part)
}

/// Whether a part ends with a separator and a hash.
fn ends_with_hash(part: &str) -> bool {
    // A hash in base64url may contain the separators itself.
    let short = part.len().checked_sub(SHORT_LENGTH);
    let short = short.and_then(|start| part.split_at_checked(start));
    let is_short = short.is_some_and(|(before, hash)| {
        before.len() > 1 && before.ends_with(['-', '_', '.']) && is_hash(hash)
    });
    let long = part.rsplit_once(['-', '_', '~']);
    is_short
        || long.is_some_and(|(before, hash)| is_hex(hash) && !before.is_empty() && !is_uuid(part))
}

fn is_hash(text: &str) -> bool {
    is_hex(text) || is_base64(text) || is_base32(text)
}

fn is_hex(text: &str) -> bool {
    HEX_LENGTHS.contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && change_count(text) >= HEX_CHANGE_COUNT_MIN
}

fn is_base64(text: &str) -> bool {
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() == SHORT_LENGTH
        && text.bytes().all(is_one)
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && change_count(text) >= MIXED_CHANGE_COUNT_MIN
}

/// With a digit before the last place: `VERSION2` is none.
fn is_base32(text: &str) -> bool {
    let is_one = |byte: u8| matches!(byte, b'A'..=b'Z' | b'2'..=b'7');
    let is_letter = |byte: u8| byte.is_ascii_uppercase();
    let end = text.trim_end_matches(|character: char| character.is_ascii_digit());
    text.len() == SHORT_LENGTH
        && text.bytes().all(is_one)
        && text.bytes().any(is_letter)
        && end.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether a name ends with a UUID: those are given to things, whose content may change.
fn is_uuid(part: &str) -> bool {
    const LENGTHS: [usize; 5] = [12, 4, 4, 4, 8];
    let lengths = part.rsplit('-').map(str::len);
    part.split('-').count() >= LENGTHS.len() && lengths.take(4).eq(LENGTHS[..4].iter().copied())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Upper,
    Lower,
    Digit,
    Other,
}

/// How often the kind of character changes, not counting an initial capital.
fn change_count(text: &str) -> usize {
    let kind = |byte: u8| match byte {
        b'A'..=b'Z' => Kind::Upper,
        b'a'..=b'z' => Kind::Lower,
        b'0'..=b'9' => Kind::Digit,
        _ => Kind::Other,
    };
    let pairs = text.bytes().zip(text.bytes().skip(1));
    pairs
        .filter(|(one, next)| match (kind(*one), kind(*next)) {
            (Kind::Upper, Kind::Lower) => false,
            (one, next) => one != next,
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHED: &[&str] = &[
        // Vite, Rollup
        "assets/index-BQx3k9Zf.css",
        "assets/index-CSsGzFyO.js",
        "assets/logo-B-x3k9_f.svg",
        "assets/vendor-Dk3_x9Qa.js",
        "assets/inter-latin-C9tJ0Rp2.woff2",
        "assets/index-BQx3k9Zf.js.map",
        // Astro, SvelteKit
        "_astro/hoisted.CSsGzFyO.js",
        "_app/immutable/chunks/entry.js",
        "base/_app/immutable/entry/start.js",
        // webpack, Create React App, Docusaurus
        "app.3f9a1c2b.js",
        "static/js/main.3f9a1c2b.chunk.js",
        "static/js/2.8a2b4c6d.chunk.js.map",
        "static/media/logo.6ce24c58023cc2f8fd88fe9d219db6c6.svg",
        "bundle.9f86d081884c7d659a2f.js",
        "9f86d081884c7d659a2f.js",
        // Next.js
        "_next/static/chunks/main-0c1f2e3d4b5a6978.js",
        "_next/static/chunks/webpack.js",
        "_next/static/media/e4af272ccee01ff0-s.p.woff2",
        "chunks/framework-0c1f2e3d4b5a6978.js",
        // Parcel
        "index.2c3d4e5f.css",
        "photo.0a1b2c3d.webp",
        // esbuild
        "chunk-5TMT7WJM.js",
        "app-7XSDTGZH.css",
        // Hugo: SHA-256 and MD5
        "css/style.min.e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.css",
        "js/main.d41d8cd98f00b204e9800998ecf8427e.js",
        // Angular, Rails, Django, Phoenix, gulp-rev
        "main.0c1f2e3d4b5a6978.js",
        "application-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.css",
        "admin/base.1f2e3d4b5a69.css",
        "app-d41d8cd98f00b204e9800998ecf8427e.css",
        "unicorn-d41d8cd98f.css",
    ];

    #[test]
    fn names_of_bundlers_are_recognised() {
        for name in HASHED {
            assert!(is_content_hashed(name.as_bytes()), "{name}");
        }
    }

    const OTHERS: &[&str] = &[
        "index.html",
        "app.js",
        "sw.js",
        "style.css",
        "jquery-3.6.0.min.js",
        "bootstrap.bundle.min.js",
        "font-awesome.min.css",
        "jquery.slim.min.js",
        // Types that bundlers do not emit.
        "app.3f9a1c2b.html",
        "data.3f9a1c2b.json",
        "report.3f9a1c2b.pdf",
        "talk.3f9a1c2b.mp4",
        "app.3f9a1c2b",
        "manifest.3f9a1c2b.webmanifest",
        // Dates, sizes, counters, versions.
        "photo-20240115.jpg",
        "photo-20240115a.jpg",
        "scan_20240115_101500.png",
        "IMG_20240115_101500.jpg",
        "banner-1920x1080.png",
        "icon-512x512.png",
        "photo-12345678.jpg",
        "v1.2.3/app.js",
        "app-v2.10.12.js",
        "lib-20240115.1.js",
        // Words, with numbers and capitals.
        "lesson-exercise1.js",
        "page-version2.css",
        "photo-Summer24.jpg",
        "widget-MyWidget.js",
        "photo-Picture1.png",
        "clip-Day1Talk.png",
        "track-Mp3Track.png",
        "user-UserName.js",
        "lib-VERSION2.js",
        "lib-READMEEN.js",
        "IMG-POSTER24.png",
        "theme-facade01.css",
        "menu-cafe2023.png",
        "deadbeef.js",
        "effaced.css",
        "decade80.css",
        "background.png",
        "component-library.js",
        "internationalization.js",
        // Ids of things.
        "507f1f77bcf86cd799439011.png",
        "0a1b2c3d.jpg",
        "avatar-550e8400-e29b-41d4-a716-446655440000.png",
        "avatar-550e8400-e29b-41d4-a716-44a6b5c4d000.png",
        "550e8400-e29b-41d4-a716-44a6b5c4d000.png",
        // In the right place or not at all.
        "3f9a1c2b/app.js",
        "x_next/static/app.js",
        "-3f9a1c2b",
        ".3f9a1c2b",
        "",
        "a/",
    ];

    #[test]
    fn other_names_are_not() {
        for name in OTHERS {
            assert!(!is_content_hashed(name.as_bytes()), "{name}");
        }
        assert!(!is_content_hashed(b"app.3f9a1c2b\xff.js"));
    }
}
