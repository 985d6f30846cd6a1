//! Paths that are to answer for others, and lead to no file themselves.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::http::target::SitePath;
use crate::server;
use crate::settings::{InnerPath, SiteSettings};

/// A line for each that leads to no file.
pub(super) fn warnings(site: &SiteSettings) -> Vec<String> {
    let rules = &site.policy.paths;
    let mut warnings = Vec::new();
    if let Some(path) = &rules.fallback
        && !leads_to_file(site, path)
    {
        let path = shown(path);
        warnings.push(format!(
            "fallback {path} leads to no file, so routes are 404; put it there"
        ));
    }
    for page in rules
        .error_pages
        .iter()
        .filter(|page| !leads_to_file(site, &page.path))
    {
        let (status, path) = (page.status.code(), shown(&page.path));
        warnings.push(format!(
            "error page {path} leads to no file, so {status} has the built-in page; put it there"
        ));
    }
    warnings
}

fn leads_to_file(site: &SiteSettings, path: &InnerPath) -> bool {
    let Ok(path) = SitePath::decode(path.given().as_bytes()) else {
        return false;
    };
    let file = server::found_root(site).join(OsStr::from_bytes(path.relative()));
    let is_file = |file: &Path| file.is_file();
    match path.is_directory_form() {
        true => site
            .policy
            .naming
            .index
            .iter()
            .any(|name| is_file(&file.join(name))),
        false => is_file(&file),
    }
}

fn shown(path: &InnerPath) -> String {
    path.given().to_owned()
}
