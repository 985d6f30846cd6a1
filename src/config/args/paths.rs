//! Options about what paths lead to.

use clap::Args;

use super::super::value::{clean_urls, error_page, inner_path, spa};
use super::SERVE;
use crate::settings::{CleanUrls, ErrorPage, InnerPath};

/// Whether the site is a single-page application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Spa {
    /// It is none, as far as this option says.
    Off,
    /// It is one with this page.
    On(InnerPath),
}

/// What answers paths that lead to nothing that is served.
#[derive(Debug, Args)]
pub(in crate::config) struct PathArgs {
    /// Page of an error, repeatable: STATUS=PATH.
    ///
    /// For example 404=/404.html, a path of the site. Its content is sent with the status of the
    /// error, which may be 403, 404, 500, 503 or 504. If it leads to no file, the small built-in
    /// page is sent. For several pages repeat the option or use commas.
    #[arg(long, value_name = "STATUS=PATH", env = "SPEDE_ERROR_PAGE", help_heading = SERVE)]
    #[arg(value_parser = error_page(), value_delimiter = ',')]
    pub(in crate::config) error_page: Vec<ErrorPage>,

    /// Path whose file answers routes that lead to nothing.
    ///
    /// For single-page applications: the page gets them with 200 and routes by itself. Names of
    /// assets (.js, .css, .png, .json and the like), hidden names and /.well-known/ are no routes:
    /// where they lead to nothing they are 404.
    #[arg(long, value_name = "PATH", env = "SPEDE_FALLBACK", help_heading = SERVE)]
    #[arg(value_parser = inner_path())]
    pub(in crate::config) fallback: Option<InnerPath>,

    /// Serve a single-page application: as --fallback /index.html, unless --fallback is given.
    #[arg(long, value_name = "SWITCH", env = "SPEDE_SPA", help_heading = SERVE)]
    #[arg(value_parser = spa(), default_value = "off", num_args = 0..=1)]
    #[arg(default_missing_value = "on", require_equals = true)]
    pub(in crate::config) spa: Spa,

    /// Ask for pages without .html.
    ///
    /// /about leads to about.html if there is no file about; /about.html and /about/ redirect to
    /// /about, and /docs/index.html to /docs/. If there are both about.html and a directory about,
    /// /about is the page and /about/ the directory.
    #[arg(long, value_name = "SWITCH", env = "SPEDE_CLEAN_URLS", help_heading = SERVE)]
    #[arg(value_parser = clean_urls(), default_value = "off", num_args = 0..=1)]
    #[arg(default_missing_value = "on", require_equals = true)]
    pub(in crate::config) clean_urls: CleanUrls,
}
