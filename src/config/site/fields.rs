//! Response fields of a `[[site]]` table: those of all answers, and rules by path.
//!
//! Within one rule `remove` comes first, then `set`, `add` and the rest: tables of TOML have no order.

use clap::builder::TypedValueParser;
use toml::Spanned;

use super::value as of_key;
use crate::config::Usage;
use crate::config::error::quote;
use crate::config::file::{Entries, Finished, Table};
use crate::config::value::{
    charset, content_type, disposition, field_name, field_value, header, immutable, origin,
    pattern, security_fields,
};
use crate::settings::{AllowedOrigins, FieldRules, Origin};
use crate::site::fields::cors::ORIGIN_COUNT_MAX;
use crate::site::fields::field::{FieldError, FieldValue, ResponseField};
use crate::site::fields::{Change, RULE_COUNT_MAX, Rule};
use crate::site::pattern::Pattern;

/// The keys that are options as well, and the rules.
pub(super) fn read(table: &mut Table<'_>, defaults: &FieldRules) -> Result<FieldRules, Usage> {
    let header = table.list("header", header())?;
    let cors = cors(table)?;
    let rules = table.tables("rule", "[[site.rule]]")?;
    let rules = rules.into_iter().enumerate();
    Ok(FieldRules {
        immutable: of_key(table, "immutable", immutable(), &defaults.immutable)?,
        security: of_key(
            table,
            "security-fields",
            security_fields(),
            &defaults.security,
        )?,
        cors: cors.or_else(|| defaults.cors.clone()),
        headers: header.map_or_else(
            || defaults.headers.clone(),
            |header| header.into_iter().map(Spanned::into_inner).collect(),
        ),
        rules: rules
            .map(|(index, table)| rule(index, table))
            .collect::<Result<_, _>>()?,
    })
}

fn cors(table: &mut Table<'_>) -> Result<Option<AllowedOrigins>, Usage> {
    let origins: Option<Vec<Spanned<Origin>>> = table.list("cors", origin())?;
    let origins = origins.unwrap_or_default().into_iter();
    let origins: Vec<Origin> = origins.map(Spanned::into_inner).collect();
    Ok(AllowedOrigins::new(&origins))
}

/// A rule as it was read, before names and values are put together.
struct RuleTable {
    pattern: Option<Spanned<Pattern>>,
    set: Entries<FieldValue>,
    add: Entries<FieldValue>,
    /// All others.
    changes: Vec<Change>,
}

fn rule(index: usize, mut table: Table<'_>) -> Result<Rule, Usage> {
    let mut read = RuleTable {
        pattern: table.value("match", pattern())?,
        set: table.entries("set", field_value())?,
        add: table.entries("add", field_value())?,
        changes: Vec::new(),
    };
    let removed = table.list("remove", field_name())?.unwrap_or_default();
    let removed = removed.into_iter().map(Spanned::into_inner);
    let first: Vec<Change> = removed.map(Change::Remove).collect();
    let rest = &mut read.changes;
    rest.extend(change(
        &mut table,
        "cache-control",
        field_value(),
        Change::CacheControl,
    )?);
    rest.extend(change(
        &mut table,
        "content-type",
        content_type(),
        Change::ContentType,
    )?);
    rest.extend(change(&mut table, "charset", charset(), Change::Charset)?);
    rest.extend(change(
        &mut table,
        "disposition",
        disposition(),
        Change::Disposition,
    )?);
    rest.extend(cors(&mut table)?.map(Change::Cors));
    let table = table.finish()?;
    if index >= RULE_COUNT_MAX {
        let message = format!("is one of more than {RULE_COUNT_MAX} rules; use wider patterns");
        return Err(table.wrong_about("match", &message));
    }
    let pattern = read.pattern.ok_or_else(|| {
        table.missing(
            "match",
            "write the paths that it is for, such as match = \"/assets/**\"",
        )
    })?;
    let mut changes = first;
    changes.extend(fields(&table, &read.set, ResponseField::new, Change::Set)?);
    changes.extend(fields(
        &table,
        &read.add,
        ResponseField::added,
        Change::Add,
    )?);
    changes.append(&mut read.changes);
    let rule = Rule {
        pattern: pattern.into_inner(),
        changes,
    };
    check(&table, rule)
}

fn check(table: &Finished<'_>, rule: Rule) -> Result<Rule, Usage> {
    if rule.changes.is_empty() {
        return Err(table.missing(
            "effect",
            "write set, add, remove, cache-control, content-type, charset, disposition or cors",
        ));
    }
    let mut origin_counts = rule.changes.iter().map(|change| match change {
        Change::Cors(origins) => origins.count(),
        _ => 0,
    });
    if origin_counts.any(|count| count > ORIGIN_COUNT_MAX) {
        let message = format!("at most {ORIGIN_COUNT_MAX} origins can be given");
        return Err(table.wrong_about("cors", &message));
    }
    Ok(rule)
}

fn change<T: Clone + Send + Sync + 'static>(
    table: &mut Table<'_>,
    key: &'static str,
    parser: impl TypedValueParser<Value = T>,
    of: impl Fn(T) -> Change,
) -> Result<Option<Change>, Usage> {
    let value = table.value(key, parser)?;
    Ok(value.map(|value| of(value.into_inner())))
}

/// Names and values as fields.
fn fields(
    table: &Finished<'_>,
    entries: &Entries<FieldValue>,
    field: impl Fn(&str, &str) -> Result<ResponseField, FieldError>,
    change: impl Fn(ResponseField) -> Change,
) -> Result<Vec<Change>, Usage> {
    let mut changes = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        match field(name.get_ref(), value.get_ref().text()) {
            Ok(field) => changes.push(change(field)),
            Err(error) => {
                let message = format!("{} {error}", quote(name.get_ref()));
                return Err(table.wrong_at(name, &message));
            }
        }
    }
    Ok(changes)
}
