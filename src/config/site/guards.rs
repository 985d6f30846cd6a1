//! `[[site.guard]]`: who may have which paths.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;

use super::super::Usage;
use super::super::error::show;
use super::super::file::{Finished, Table};
use super::super::value::{guard, networks, path, realm};
use crate::settings::{AccessRules, Network};
use crate::site::access::users::Users;

/// Maximum number of guards of a site: a request for a guarded path is compared with all of them.
const GUARD_COUNT_MAX: usize = 256;
/// Maximum length of a file of users: some ten thousand of them.
const USERS_LENGTH_MAX: u64 = 1 << 20;

/// The guards of a site.
///
/// # Errors
/// One line about the first thing that is wrong, in the table or in a file that it names.
pub(super) fn of_table(table: &mut Table<'_>) -> Result<AccessRules, Usage> {
    let mut guards = Vec::new();
    for mut one in table.tables("guard", "[[site.guard]]")? {
        let matching = one.value("match", guard())?;
        let htpasswd = one.value("htpasswd", path())?;
        let realm = one.value("realm", realm())?;
        let allow = one.list("allow", networks())?;
        let deny = one.list("deny", networks())?;
        let one = one.finish()?;
        let matching = matching.ok_or_else(|| {
            one.missing(
                "match",
                "write match = and a pattern of paths, such as '/private/**'",
            )
        })?;
        if htpasswd.is_none() && allow.is_none() && deny.is_none() {
            let advice = "it admits everybody; write htpasswd = and a file, or allow or deny = and addresses";
            return Err(one.missing("htpasswd, allow or deny", advice));
        }
        if guards.len() == GUARD_COUNT_MAX {
            return Err(one.wrong_about(
                "match",
                &format!("a site has at most {GUARD_COUNT_MAX} guards"),
            ));
        }
        let mut guard = matching.into_inner();
        guard.allow = ranges(allow);
        guard.deny = ranges(deny);
        if let Some(realm) = realm {
            guard.realm = realm.into_inner();
        }
        if let Some(file) = htpasswd {
            guard.users = Some(Arc::new(users(&file, &one)?));
        }
        guards.push(guard);
    }
    Ok(AccessRules { guards })
}

fn ranges(values: Option<Vec<Spanned<Option<Network>>>>) -> Vec<Network> {
    let values = values.unwrap_or_default().into_iter();
    values.filter_map(Spanned::into_inner).collect()
}

/// Reads a file of users.
fn users(file: &Spanned<std::path::PathBuf>, table: &Finished<'_>) -> Result<Users, Usage> {
    let path: &Path = file.get_ref();
    let wrong = |why: &str| {
        let name = show(&path.to_string_lossy());
        table.wrong_at(file, &format!("htpasswd: {name} {why}"))
    };
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| {
        let mut start = file.take(USERS_LENGTH_MAX + 1);
        start.read_to_end(&mut text)
    });
    match read {
        Err(error) => return Err(wrong(&format!("cannot be read: {error}"))),
        Ok(length) if length as u64 > USERS_LENGTH_MAX => {
            return Err(wrong("is longer than 1 MiB"));
        }
        Ok(_) => {}
    }
    Users::parse(&text).map_err(|error| wrong(&error.to_string()))
}
