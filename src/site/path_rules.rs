//! Which path of a site answers a request: its own, by the rules of the site another, or where its own leads to nothing
//! that is served, the page of an error or the fallback of a single-page application.
//!
//! | the request's path leads to | it is answered from |
//! | --- | --- |
//! | nothing, and it is a route: see `PathRules::is_route` | the fallback, with its status |
//! | an error, the fallback's errors included | the error page of that status, with the status of the error |
//! | an error without a page, or whose page leads to no file | nothing: it gets the small built-in page |
//!
//! Each row is tried once, so no request goes round in circles. Knows no files: that a path leads to nothing is found out
//! elsewhere.

use percent_encoding::percent_encode;

use super::redirect::{Moved, Rules};
use super::resolve::{self, DotFiles, LookupPlan, Naming, PAGE_SUFFIX};
use super::sites::Policy;
use crate::http::status::Status;
use crate::http::target::{ENCODED, SitePath};

/// A path of the site that the server itself asks for, in the spelling in which clients ask for it too: both share one
/// entry of the path cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerPath {
    /// In its usual spelling.
    given: Box<str>,
    /// Without the extension of a page, where clients ask for it so.
    clean: Option<Box<str>>,
}

/// Why a text is no [`InnerPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a path of the site; write one such as /404.html, with %3F for ? and %23 for #")]
pub struct InnerPathError;

impl InnerPath {
    /// Takes a path, percent-encoded or not, without a query.
    ///
    /// # Errors
    /// When it does not begin with a slash, or cannot lead to a file.
    pub fn new(text: &str) -> Result<InnerPath, InnerPathError> {
        if !text.starts_with('/') || text.contains(['?', '#']) {
            return Err(InnerPathError);
        }
        let path = SitePath::decode(text.as_bytes()).map_err(|_| InnerPathError)?;
        Ok(InnerPath {
            given: path.encoded().into(),
            clean: None,
        })
    }

    /// Its bytes, as a request has them.
    pub(crate) fn raw(&self) -> &[u8] {
        self.clean.as_deref().unwrap_or(&self.given).as_bytes()
    }

    /// The path as it was configured, in its usual spelling.
    pub(crate) fn given(&self) -> &str {
        &self.given
    }
}

/// A status, and the path whose content is sent with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// One of [`ErrorPage::STATUSES`].
    pub(crate) status: Status,
    /// Whose content is sent.
    pub(crate) path: InnerPath,
}

impl ErrorPage {
    /// The statuses that can have a page. Requests with other errors are refused before the path is looked up (400, 405,
    /// 414, 431, 501 …), or their answer is about a version of the file that they ask for (412, 416).
    pub(crate) const STATUSES: [Status; 5] = [
        Status::Forbidden,
        Status::NotFound,
        Status::InternalServerError,
        Status::ServiceUnavailable,
        Status::GatewayTimeout,
    ];

    /// The page of the status with this number, if it can have one.
    pub(crate) fn new(code: u16, path: InnerPath) -> Option<ErrorPage> {
        let mut statuses = ErrorPage::STATUSES.into_iter();
        let status = statuses.find(|status| status.code() == code)?;
        Some(ErrorPage { status, path })
    }
}

/// What answers paths that do not lead to files of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    /// At most one for each status.
    pub error_pages: Vec<ErrorPage>,
    /// Answers routes that lead to no file.
    pub fallback: Option<InnerPath>,
    /// Lead paths elsewhere, whether there is a file or not.
    pub rules: Rules,
    /// Whether pages are asked for without their extension.
    pub clean_urls: CleanUrls,
}

/// Whether pages are asked for without `.html`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CleanUrls {
    /// A path names a file as it is.
    #[default]
    Off,
    /// `/about` leads to `about.html`, and `/about.html` and `/about/` redirect to it.
    On,
}

/// What is known of a path without the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is answered with this status.
    Refused(Status),
    /// A rule sends its clients elsewhere.
    Moved(Moved),
}

impl Policy {
    /// Plans the look-up of a raw path, by the rules of the site.
    ///
    /// # Errors
    /// What the path leads to, if that takes no look-up.
    pub(crate) fn plan(&self, raw_path: &[u8]) -> Result<LookupPlan, Settled> {
        let Policy { naming, paths, .. } = self;
        let plan = |raw_path: &[u8]| resolve::plan(raw_path, naming).map_err(Settled::Refused);
        if paths.rules.is_empty() && paths.clean_urls == CleanUrls::Off {
            return plan(raw_path);
        }
        let Ok(path) = SitePath::decode(raw_path) else {
            return plan(raw_path);
        };
        if let Some(moved) = paths.moved(&path, naming) {
            return Err(Settled::Moved(moved));
        }
        let rewritten = paths.rules.rewritten(&path.decoded());
        let plan = plan(rewritten.as_deref().map_or(raw_path, str::as_bytes))?;
        Ok(match paths.clean_urls {
            CleanUrls::Off => plan,
            CleanUrls::On => plan.with_page(&naming.media_types),
        })
    }
}

impl PathRules {
    /// The path whose content is sent with this status.
    pub(crate) fn error_page(&self, status: Status) -> Option<&InnerPath> {
        let mut pages = self.error_pages.iter();
        let page = pages.find(|page| page.status == status)?;
        Some(&page.path)
    }

    /// Where the rules send a client that asks for this path, if they do.
    pub(crate) fn moved(&self, path: &SitePath, naming: &Naming) -> Option<Moved> {
        let moved = self.rules.redirected(&path.decoded());
        moved.or_else(|| match self.clean_urls {
            CleanUrls::Off => None,
            CleanUrls::On => Some(Moved {
                status: Status::PermanentRedirect,
                location: clean_path(path, naming)?.into(),
            }),
        })
    }

    /// Other paths whose files this path may lead to: that of a rewrite, and those of pages.
    pub(crate) fn other_names(&self, raw_path: &[u8]) -> Vec<Vec<u8>> {
        let decoded = SitePath::decode(raw_path).ok();
        let rewritten = decoded.and_then(|path| self.rules.rewritten(&path.decoded()));
        let mut names: Vec<Vec<u8>> = rewritten.map(String::into_bytes).into_iter().collect();
        if self.clean_urls == CleanUrls::On {
            let with_suffix = |path: &[u8]| [path, PAGE_SUFFIX].concat();
            let pages: Vec<Vec<u8>> = [raw_path]
                .into_iter()
                .chain(names.iter().map(Vec::as_slice))
                .map(with_suffix)
                .collect();
            names.extend(pages);
        }
        names
    }

    /// The path without its slash by which a page may be asked for instead of this one.
    pub(crate) fn page_of<'a>(&self, raw_path: &'a [u8]) -> Option<&'a [u8]> {
        let without = raw_path.strip_suffix(b"/")?;
        let is_one =
            self.clean_urls == CleanUrls::On && without.last().is_some_and(|last| *last != b'/');
        is_one.then_some(without)
    }

    /// With the paths that the server itself asks for in the spelling of clients, so that no redirect is between.
    #[must_use]
    pub fn with_clean_paths(mut self, naming: &Naming) -> PathRules {
        let pages = self.error_pages.iter_mut().map(|page| &mut page.path);
        for path in pages.chain(&mut self.fallback) {
            path.clean = match (self.clean_urls, SitePath::decode(path.given.as_bytes())) {
                (CleanUrls::On, Ok(given)) => clean_path(&given, naming).map(Into::into),
                _ => None,
            };
        }
        self
    }

    /// Whether the fallback answers for this path if it leads to no file.
    pub(crate) fn falls_back(&self, raw_path: &[u8], naming: &Naming) -> bool {
        self.fallback.is_some() && PathRules::is_route(raw_path, naming)
    }

    /// Whether a path may be a route of an application, which a script in the page understands. A path is one unless
    ///
    /// - its last name is that of an asset, see `MediaTypes::is_asset`: a missing script, style sheet or picture has to
    ///   be an error, because browsers would take the page for it;
    /// - it begins with `/.well-known/`: programs ask there what a site supports (RFC 8615), and take any 200 for a yes;
    /// - it has a hidden name, or is invalid.
    ///
    /// Depends on the path alone, so answers need no Vary.
    fn is_route(raw_path: &[u8], naming: &Naming) -> bool {
        let Ok(path) = SitePath::decode(raw_path) else {
            return false;
        };
        let is_well_known = path.segments().next() == Some(b".well-known");
        let is_hidden = naming.dot_files == DotFiles::Refused && path.is_hidden();
        let is_directory = path.is_directory_form();
        !is_well_known
            && !is_hidden
            && (is_directory || !naming.media_types.is_asset(path.relative()))
    }
}

/// The encoded path by which a page is asked for that this path names with its extension: `/about` for `/about.html`,
/// and `/docs/` for `/docs/index.html`.
fn clean_path(path: &SitePath, naming: &Naming) -> Option<String> {
    let page = path.relative();
    let stem = page
        .strip_suffix(PAGE_SUFFIX)
        .filter(|_| !path.is_directory_form())?;
    let (directory, name) = match memchr::memrchr(b'/', page) {
        Some(slash) => page.split_at(slash + 1),
        None => (&b""[..], page),
    };
    let is_index = naming.index.iter().any(|index| index.as_bytes() == name);
    let clean = match is_index {
        true => directory,
        false if stem.len() == directory.len() => return None,
        false => stem,
    };
    Some(format!("/{}", percent_encode(clean, ENCODED)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::media_type::MediaTypes;
    use crate::site::pattern::Pattern;
    use crate::site::redirect::Rewrite;
    use crate::site::resolve::Directories;

    fn naming(dot_files: DotFiles) -> Naming {
        Naming {
            index: Vec::new(),
            dot_files,
            directories: Directories::Hidden,
            media_types: MediaTypes::default(),
        }
    }

    #[test]
    fn a_path_of_the_site_is_kept_in_the_usual_spelling() {
        for (text, want) in [
            ("/404.html", "/404.html"),
            ("//errors/./404.html", "/errors/404.html"),
            ("/errors/", "/errors/"),
            ("/nicht gefunden.html", "/nicht%20gefunden.html"),
            ("/%66ehlt.html", "/fehlt.html"),
            ("/ö.html", "/%C3%B6.html"),
            ("/a%3Fb", "/a%3Fb"),
        ] {
            let path = InnerPath::new(text).expect(text);
            assert_eq!(path.raw(), want.as_bytes(), "{text}");
        }
        for text in [
            "",
            "404.html",
            "/a?b",
            "/a#b",
            "/%",
            "/%00",
            "/a%2Fb",
            "http://a/",
        ] {
            assert_eq!(InnerPath::new(text), Err(InnerPathError), "{text}");
        }
    }

    #[test]
    fn a_page_is_for_a_status_that_a_path_can_lead_to() {
        let path = InnerPath::new("/e").expect("a path");
        let page = |code| ErrorPage::new(code, path.clone());
        let possible: Vec<u16> = (0..=999).filter(|code| page(*code).is_some()).collect();
        assert_eq!(possible, [403, 404, 500, 503, 504]);
        let rules = PathRules {
            error_pages: vec![page(404).expect("possible")],
            ..PathRules::default()
        };
        assert_eq!(rules.error_page(Status::NotFound), Some(&path));
        assert_eq!(rules.error_page(Status::Forbidden), None);
    }

    #[test]
    fn a_route_is_a_path_that_names_no_asset() {
        #[rustfmt::skip]
        let cases = [
            ("/",                        true,  "the application itself"),
            ("/users/7",                 true,  "no extension"),
            ("/users/",                  true,  "a directory form"),
            ("/old.html",                true,  "a page"),
            ("/old.XHTML",               true,  "a page, in any case"),
            ("/users/john.doe",          true,  "an extension of no media type"),
            ("/users/me@example.com",    true,  "programs for DOS are not known as assets"),
            ("/sites/example.org",       true,  "files of Lotus Organizer are not either"),
            ("/v1.2/",                   true,  "a directory form"),
            ("/a.js/b",                  true,  "the last name counts"),
            ("/app.js",                  false, "a script"),
            ("/app.JS",                  false, "a script, in any case"),
            ("/app.js.map",              false, "a source map"),
            ("/style.css",               false, "a style sheet"),
            ("/api/users.json",          false, "data"),
            ("/logo.svg",                false, "a picture"),
            ("/logo.png",                false, "a picture"),
            ("/font.woff2",              false, "a font"),
            ("/clip.mp4",                false, "a video"),
            ("/manual.pdf",              false, "a document of another kind"),
            ("/all.tar.gz",              false, "an archive"),
            ("/robots.txt",              false, "robots read it as rules"),
            ("/x%2Ejs",                  false, "a script, decoded"),
            ("/.well-known/acme",        false, "asked for by programs"),
            ("/%2ewell-known/x/",        false, "asked for by programs, decoded"),
            ("/.git/config",             false, "hidden"),
            ("/.env",                    false, "hidden"),
            ("/a%2Fb",                   false, "names nothing"),
            ("/%",                       false, "invalid"),
        ];
        let naming = naming(DotFiles::Refused);
        for (path, want, because) in cases {
            let is_route = PathRules::is_route(path.as_bytes(), &naming);
            assert_eq!(is_route, want, "{path}: {because}");
        }
    }

    #[test]
    fn only_a_site_with_a_fallback_has_routes() {
        let naming = naming(DotFiles::Served);
        let with = PathRules {
            fallback: InnerPath::new("/index.html").ok(),
            ..PathRules::default()
        };
        assert!(with.falls_back(b"/a", &naming));
        assert!(with.falls_back(b"/.a", &naming), "it is not hidden here");
        assert!(!with.falls_back(b"/.well-known/a", &naming));
        assert!(!PathRules::default().falls_back(b"/a", &naming));
    }

    #[test]
    fn a_page_is_asked_for_without_its_extension() {
        let naming = Naming {
            index: vec!["index.html".to_owned(), "home.html".to_owned()],
            ..naming(DotFiles::Refused)
        };
        let rules = PathRules {
            clean_urls: CleanUrls::On,
            ..PathRules::default()
        };
        #[rustfmt::skip]
        let cases = [
            ("/about.html",         Some("/about"),     "a page"),
            ("/a/b%20c.html",       Some("/a/b%20c"),   "encoded again"),
            ("//evil.test/x.html",  Some("/evil.test/x"), "no other host"),
            ("/index.html",         Some("/"),          "the index of the root"),
            ("/docs/home.html",     Some("/docs/"),     "an index"),
            ("/a.html.html",        Some("/a.html"),    "one at a time"),
            ("/about",              None,               "as it should be"),
            ("/about.html/",        None,               "a directory"),
            ("/.html",              None,               "a name that is all extension"),
            ("/a/.html",            None,               "a name that is all extension"),
            ("/about.htm",          None,               "another extension"),
            ("/about.HTML",         None,               "names have a case"),
        ];
        for (path, want, because) in cases {
            let path = SitePath::decode(path.as_bytes()).expect(path);
            let moved = rules.moved(&path, &naming);
            let location = moved.map(|moved| (moved.status, String::from(moved.location)));
            let want = want.map(|want| (Status::PermanentRedirect, want.to_owned()));
            assert_eq!(location, want, "{because}");
            let moved = PathRules::default().moved(&path, &naming);
            assert_eq!(moved, None, "it is off");
        }
    }

    #[test]
    fn a_path_has_the_names_of_all_files_that_it_may_lead_to() {
        let pattern = Pattern::new("/a/*").expect("a pattern");
        let rewrite = Rewrite::new(&pattern, "/b/$1").expect("a path");
        let mut rules = PathRules::default();
        assert!(rules.other_names(b"/a/x").is_empty());
        rules.rules.rewrites.push(rewrite);
        assert_eq!(rules.other_names(b"/a/x"), [b"/b/x"]);
        rules.clean_urls = CleanUrls::On;
        let names = rules.other_names(b"/a/x");
        assert_eq!(names, [&b"/b/x"[..], b"/a/x.html", b"/b/x.html"]);
        assert_eq!(rules.other_names(b"/c"), [b"/c.html"]);
    }

    #[test]
    fn the_server_asks_for_its_own_pages_as_clients_do() {
        let page = |path| ErrorPage::new(404, InnerPath::new(path).expect(path));
        let rules = PathRules {
            error_pages: page("/404.html").into_iter().collect(),
            fallback: InnerPath::new("/app/index.html").ok(),
            clean_urls: CleanUrls::On,
            ..PathRules::default()
        };
        let naming = Naming {
            index: vec!["index.html".to_owned()],
            ..naming(DotFiles::Refused)
        };
        let raw = |rules: &PathRules| {
            let page = rules.error_page(Status::NotFound).map(InnerPath::raw);
            let fallback = rules.fallback.as_ref().map(InnerPath::raw);
            [page, fallback].map(|path| String::from_utf8_lossy(path.expect("a path")).into_owned())
        };
        let clean = rules.with_clean_paths(&naming);
        assert_eq!(raw(&clean), ["/404", "/app/"]);
        let off = PathRules {
            clean_urls: CleanUrls::Off,
            ..clean
        };
        let off = off.with_clean_paths(&naming);
        assert_eq!(raw(&off), ["/404.html", "/app/index.html"]);
    }
}
