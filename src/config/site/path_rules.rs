//! The keys and options about what paths lead to.

use toml::Spanned;

use super::super::Usage;
use super::super::args::{PathArgs, Spa};
use super::super::file::{Finished, Table};
use super::super::value::{
    any_text, clean_urls, error_page, inner_path, pattern, redirect_status, spa,
};
use super::{list, value};
use crate::http::status::Status;
use crate::settings::{ErrorPage, Naming, PathRules};
use crate::site::pattern::Pattern;
use crate::site::redirect::{RULE_COUNT_MAX, Redirect, Rewrite, RuleError, Rules};

/// The status of a redirect that has none: permanent, as most are, and the method stays what it was.
const REDIRECT_STATUS_DEFAULT: Status = Status::PermanentRedirect;

/// The rules of the options.
pub(super) fn of_options(args: &PathArgs, naming: &Naming) -> PathRules {
    let rules = PathRules {
        error_pages: args.error_page.clone(),
        fallback: match (&args.fallback, &args.spa) {
            (Some(path), _) => Some(path.clone()),
            (None, Spa::On(page)) => Some(page.clone()),
            (None, Spa::Off) => None,
        },
        rules: Rules::default(),
        clean_urls: args.clean_urls,
    };
    rules.with_clean_paths(naming)
}

/// The rules of a table; keys that it does not have are as in `defaults`.
///
/// # Errors
/// One line about the first thing that is wrong.
pub(super) fn of_table(
    table: &mut Table<'_>,
    naming: &Naming,
    defaults: &PathRules,
) -> Result<PathRules, Usage> {
    let clean_urls = value(table, "clean-urls", clean_urls(), &defaults.clean_urls)?;
    let redirects = redirects(table)?;
    let fallback = table.value("fallback", inner_path())?;
    let spa = table.value("spa", spa())?;
    let rules = PathRules {
        error_pages: error_pages(table, &defaults.error_pages)?,
        fallback: match (fallback, spa.map(Spanned::into_inner)) {
            (Some(path), _) => Some(path.into_inner()),
            (None, Some(Spa::On(page))) => Some(page),
            (None, Some(Spa::Off)) => None,
            (None, None) => defaults.fallback.clone(),
        },
        rules: Rules {
            redirects: redirects
                .iter()
                .map(|(redirect, _)| redirect.clone())
                .collect(),
            rewrites: rewrites(table)?,
        },
        clean_urls,
    };
    let found = rules.rules.first_loop(|path| rules.moved(path, naming));
    if let Some((place, way)) = found {
        let rule = &redirects[place].1;
        let message = format!("redirect: leads in a circle: {}", way.join(" → "));
        return Err(rule.table.wrong_at(&rule.from, &message));
    }
    Ok(rules.with_clean_paths(naming))
}

/// `error-pages = { 404 = "/404.html" }`, or a list of `error-page` as the option takes it.
fn error_pages(table: &mut Table<'_>, defaults: &[ErrorPage]) -> Result<Vec<ErrorPage>, Usage> {
    let entries = table.entries("error-pages", inner_path())?;
    let defaults = match entries.is_empty() {
        true => defaults,
        false => &[],
    };
    let mut pages = list(table, "error-page", error_page(), defaults)?;
    for (code, path) in entries {
        let number = code.get_ref().parse().unwrap_or_default();
        let page = ErrorPage::new(number, path.into_inner());
        pages.push(page.ok_or_else(|| {
            let message = "error-pages: a page is for 403, 404, 500, 503 or 504";
            table.wrong_at(&code, message)
        })?);
    }
    Ok(pages)
}

/// What a table of a rule says.
struct RuleTable<'a> {
    table: Finished<'a>,
    from: Spanned<Pattern>,
    to: Spanned<String>,
    status: Option<Status>,
}

impl<'a> RuleTable<'a> {
    fn read(mut table: Table<'a>, has_status: HasStatus) -> Result<RuleTable<'a>, Usage> {
        let from = table.value("from", pattern())?;
        let to = table.value("to", any_text())?;
        let status = match has_status {
            HasStatus::Yes => table.value("status", redirect_status())?,
            HasStatus::No => None,
        };
        let table = table.finish()?;
        let from = from.ok_or_else(|| table.missing("from", "write from = \"/old/*\""))?;
        let to = to.ok_or_else(|| table.missing("to", "write to = \"/new/$1\""))?;
        Ok(RuleTable {
            table,
            from,
            to,
            status: status.map(Spanned::into_inner),
        })
    }

    fn refused(&self, error: &RuleError) -> Usage {
        let message = format!("to: {} {error}", super::quote(self.to.get_ref()));
        self.table.wrong_at(&self.to, &message)
    }
}

/// Whether a rule has a status.
#[derive(Clone, Copy)]
enum HasStatus {
    Yes,
    No,
}

fn redirects<'a>(table: &mut Table<'a>) -> Result<Vec<(Redirect, RuleTable<'a>)>, Usage> {
    let mut read = Vec::new();
    for table in table.tables("redirect", "[[site.redirect]]")? {
        let rule = RuleTable::read(table, HasStatus::Yes)?;
        let status = rule.status.unwrap_or(REDIRECT_STATUS_DEFAULT);
        let redirect = Redirect::new(rule.from.get_ref(), rule.to.get_ref(), status);
        read.push((redirect.map_err(|error| rule.refused(&error))?, rule));
        if read.len() > RULE_COUNT_MAX {
            let message = format!("redirect: at most {RULE_COUNT_MAX} can be given");
            return Err(too_many(&read, &message));
        }
    }
    Ok(read)
}

fn rewrites(table: &mut Table<'_>) -> Result<Vec<Rewrite>, Usage> {
    let mut read = Vec::new();
    for table in table.tables("rewrite", "[[site.rewrite]]")? {
        let rule = RuleTable::read(table, HasStatus::No)?;
        let rewrite = Rewrite::new(rule.from.get_ref(), rule.to.get_ref());
        read.push((rewrite.map_err(|error| rule.refused(&error))?, rule));
        if read.len() > RULE_COUNT_MAX {
            let message = format!("rewrite: at most {RULE_COUNT_MAX} can be given");
            return Err(too_many(&read, &message));
        }
    }
    Ok(read.into_iter().map(|(rewrite, _)| rewrite).collect())
}

/// About the last of too many rules.
fn too_many<T>(read: &[(T, RuleTable<'_>)], message: &str) -> Usage {
    match read.last() {
        Some((_, rule)) => rule.table.wrong_at(&rule.from, message),
        None => Usage::Wrong(message.to_owned()),
    }
}
