//! The keys and options about what paths lead to.

use super::super::Usage;
use super::super::args::{PathArgs, Spa};
use super::super::file::Table;
use super::super::value::{error_page, inner_path, spa};
use super::list;
use crate::settings::PathRules;

/// The rules of the options.
pub(super) fn of_options(args: &PathArgs) -> PathRules {
    PathRules {
        error_pages: args.error_page.clone(),
        fallback: match (&args.fallback, &args.spa) {
            (Some(path), _) => Some(path.clone()),
            (None, Spa::On(page)) => Some(page.clone()),
            (None, Spa::Off) => None,
        },
    }
}

/// The rules of a table; keys that it does not have are as in `defaults`.
///
/// # Errors
/// One line about the first thing that is wrong.
pub(super) fn of_table(table: &mut Table<'_>, defaults: &PathRules) -> Result<PathRules, Usage> {
    let fallback = table.value("fallback", inner_path())?;
    let spa = table.value("spa", spa())?;
    Ok(PathRules {
        error_pages: list(table, "error-page", error_page(), &defaults.error_pages)?,
        fallback: match (fallback, spa.map(toml::Spanned::into_inner)) {
            (Some(path), _) => Some(path.into_inner()),
            (None, Some(Spa::On(page))) => Some(page),
            (None, Some(Spa::Off)) => None,
            (None, None) => defaults.fallback.clone(),
        },
    })
}
