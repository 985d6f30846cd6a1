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

use super::redirect::{Moved, Rules};
use super::resolve::{self, DotFiles, LookupPlan, Naming};
use super::sites::Policy;
use crate::http::status::Status;
use crate::http::target::SitePath;

/// A path of the site that the server itself asks for, in the spelling in which clients ask for it too: both share one
/// entry of the path cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerPath(Box<str>);

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
        Ok(InnerPath(path.encoded().into()))
    }

    /// Its bytes, as a request has them.
    pub(crate) fn raw(&self) -> &[u8] {
        self.0.as_bytes()
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
        let rules = &self.paths.rules;
        if !rules.is_empty()
            && let Ok(path) = SitePath::decode(raw_path)
        {
            let path = path.decoded();
            if let Some(moved) = rules.redirected(&path) {
                return Err(Settled::Moved(moved));
            }
            if let Some(path) = rules.rewritten(&path) {
                return resolve::plan(path.as_bytes(), &self.naming).map_err(Settled::Refused);
            }
        }
        resolve::plan(raw_path, &self.naming).map_err(Settled::Refused)
    }
}

impl PathRules {
    /// The path whose content is sent with this status.
    pub(crate) fn error_page(&self, status: Status) -> Option<&InnerPath> {
        let mut pages = self.error_pages.iter();
        let page = pages.find(|page| page.status == status)?;
        Some(&page.path)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::media_type::MediaTypes;
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
}
