//! Sites: the one that the options describe, and those of `[[site]]` tables, which begin with its policy.

mod fields;
mod guards;
mod path_rules;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::builder::TypedValueParser;
use toml::Spanned;

use super::args::{Args, RANGE_COUNT_MAX, TIME_MAX};
use super::conflict;
use super::error::quote;
use super::file::{ConfigFile, Finished, Table};
use super::value::{
    charset, count, directories, dot_files, duration, entity_tags, host, index_name, own_type, root,
};
use super::{Origins, Usage};
use crate::settings::{AccessRules, MediaTypes, Naming, Policy, RangeLimits, SiteSettings};
use crate::site::sites::{HostError, Site, SiteId, Sites};

/// Keys that only a `[[site]]` table has.
pub(super) const KEYS: [&str; 4] = ["hosts", "error-pages", "redirect", "rewrite"];

/// Written in place of hosts for all that belong to no other site.
const ALL_HOSTS: &str = "*";

/// The site of the options, for all hosts.
pub(super) fn of_options(args: &Args) -> SiteSettings {
    let naming = Naming {
        index: args.index.clone(),
        dot_files: args.dotfiles,
        directories: args.directories,
        media_types: MediaTypes {
            charset: args.charset.clone(),
            own: args.own_types.clone(),
        },
    };
    SiteSettings {
        hosts: Vec::new(),
        root: args.root.clone(),
        root_fallback: None,
        policy: Policy {
            paths: path_rules::of_options(&args.paths, &naming),
            naming,
            fields: args.fields.rules(),
            access: AccessRules::default(),
            entity_tags: args.entity_tags,
            ranges: RangeLimits {
                count_max: args.peers.ranges_max,
            },
            revalidate: args.revalidate,
        },
    }
}

/// Puts the sites of the file in the place of the one of the options, if the file has any. Costs O(length of the file).
///
/// # Errors
/// One line about the first thing that is wrong.
pub(super) fn add_tables(
    sites: &mut Vec<SiteSettings>,
    file: &ConfigFile<'_>,
    origins: &Origins<'_>,
) -> Result<(), Usage> {
    let tables = file.sites()?;
    if tables.is_empty() {
        return Ok(());
    }
    if !origins.is_default("root") {
        return Err(root_beside_tables(file, origins));
    }
    let defaults = sites.remove(0);
    let mut hosts = Hosts::new(&defaults.policy);
    for table in tables {
        let site = SiteTable::read(table, &defaults.policy)?;
        hosts.add(&site)?;
        sites.push(SiteSettings {
            hosts: site.hosts.into_iter().map(Spanned::into_inner).collect(),
            root: site.root,
            root_fallback: None,
            policy: site.policy,
        });
    }
    Ok(())
}

fn root_beside_tables(file: &ConfigFile<'_>, origins: &Origins<'_>) -> Usage {
    let advice = "each [[site]] has a root of its own; leave this one out";
    match file.position("root") {
        Some(position) if origins.is_from_file("root") => {
            Usage::Wrong(file.source().at(position, &format!("root: {advice}")))
        }
        _ => Usage::Wrong(format!("ROOT: {advice}")),
    }
}

/// What a `[[site]]` table says.
struct SiteTable<'a> {
    table: Finished<'a>,
    /// Empty: all hosts that belong to no other site.
    hosts: Vec<Spanned<String>>,
    root: PathBuf,
    policy: Policy,
}

impl<'a> SiteTable<'a> {
    fn read(mut table: Table<'a>, defaults: &Policy) -> Result<SiteTable<'a>, Usage> {
        let hosts = table.list("hosts", host())?.unwrap_or_default();
        let root = table.value("root", root())?;
        let policy = policy(&mut table, defaults)?;
        let table = table.finish()?;
        let root = root.ok_or_else(|| {
            table.missing("root", "write root = and the directory to serve in quotes")
        })?;
        if let Some(conflict) = conflict::site(&policy) {
            return Err(table.wrong_about(conflict.key, &conflict.message));
        }
        let hosts = match hosts.iter().find(|host| host.get_ref() == ALL_HOSTS) {
            Some(all) if hosts.len() > 1 => {
                let message = "hosts: '*' stands for all hosts; leave the others out";
                return Err(table.wrong_at(all, message));
            }
            Some(_) => Vec::new(),
            None => hosts,
        };
        Ok(SiteTable {
            table,
            hosts,
            root: root.into_inner(),
            policy,
        })
    }
}

/// The keys that are options as well.
fn policy(table: &mut Table<'_>, defaults: &Policy) -> Result<Policy, Usage> {
    let Policy {
        naming,
        paths,
        fields,
        access: _,
        entity_tags: tags,
        ranges,
        revalidate,
    } = defaults;
    let types = &naming.media_types;
    let naming = Naming {
        index: list(table, "index", index_name(), &naming.index)?,
        dot_files: value(table, "dotfiles", dot_files(), &naming.dot_files)?,
        directories: value(table, "directories", directories(), &naming.directories)?,
        media_types: MediaTypes {
            charset: value(table, "charset", charset(), &types.charset)?,
            own: list(table, "type", own_type(), &types.own)?,
        },
    };
    Ok(Policy {
        paths: path_rules::of_table(table, &naming, paths)?,
        naming,
        fields: fields::read(table, fields)?,
        access: guards::of_table(table)?,
        entity_tags: value(table, "entity-tags", entity_tags(), tags)?,
        ranges: RangeLimits {
            count_max: value(
                table,
                "ranges-max",
                count(0..=RANGE_COUNT_MAX),
                &ranges.count_max,
            )?,
        },
        revalidate: value(
            table,
            "revalidate",
            duration(Duration::ZERO..=TIME_MAX),
            revalidate,
        )?,
    })
}

/// The value of a key, or the default.
fn value<T: Clone + Send + Sync + 'static>(
    table: &mut Table<'_>,
    key: &'static str,
    parser: impl TypedValueParser<Value = T>,
    default: &T,
) -> Result<T, Usage> {
    let value = table.value(key, parser)?;
    Ok(value.map_or_else(|| default.clone(), Spanned::into_inner))
}

/// The values of a key, or the default ones.
fn list<T: Clone + Send + Sync + 'static>(
    table: &mut Table<'_>,
    key: &'static str,
    parser: impl TypedValueParser<Value = T>,
    default: &[T],
) -> Result<Vec<T>, Usage> {
    Ok(match table.list(key, parser)? {
        Some(values) => values.into_iter().map(Spanned::into_inner).collect(),
        None => default.to_vec(),
    })
}

/// Which table has which hosts, by the rules by which requests are matched.
struct Hosts {
    sites: Sites,
    /// The policy of every site in there; only their ids matter.
    policy: Policy,
    /// The hosts so far, each with the line of its table.
    taken: Vec<(String, usize)>,
    /// The line of the table without hosts.
    default_line: Option<usize>,
}

impl Hosts {
    fn new(policy: &Policy) -> Hosts {
        Hosts {
            sites: Sites::new(Some(site(SiteId::FIRST, policy))),
            policy: policy.clone(),
            taken: Vec::new(),
            default_line: None,
        }
    }

    fn add(&mut self, added: &SiteTable<'_>) -> Result<(), Usage> {
        let line = added.table.line();
        if added.hosts.is_empty() {
            return match self.default_line.replace(line) {
                None => Ok(()),
                Some(other) => Err(added.table.wrong_about(
                    "hosts",
                    &format!("the table of line {other} takes all other hosts already; name the hosts of this one"),
                )),
            };
        }
        // Each table has one host or more, so this differs for each.
        let id = SiteId::new(u32::try_from(self.taken.len() + 1).unwrap_or(u32::MAX));
        let own = site(id, &self.policy);
        for host in &added.hosts {
            match self.sites.add(host.get_ref(), Rc::clone(&own)) {
                Ok(()) => self.taken.push((host.get_ref().clone(), line)),
                Err(HostError::Taken(name)) => {
                    let other = self.line_of(&name);
                    let message = format!(
                        "hosts: {} belongs to the site of line {other} already; leave it out here or there",
                        quote(&name)
                    );
                    return Err(added.table.wrong_at(host, &message));
                }
                Err(error @ HostError::Invalid(_)) => {
                    return Err(added.table.wrong_at(host, &format!("hosts: {error}")));
                }
            }
        }
        Ok(())
    }

    /// The line of the table that has this host, in whatever spelling.
    fn line_of(&self, name: &str) -> usize {
        let is_same = |other: &str| {
            let mut both = Sites::new(Some(site(SiteId::FIRST, &self.policy)));
            let first = both.add(other, site(SiteId::new(1), &self.policy));
            let second = both.add(name, site(SiteId::new(2), &self.policy));
            first.is_ok() && second.is_err()
        };
        let other = self.taken.iter().find(|(other, _)| is_same(other));
        other.map_or(0, |(_, line)| *line)
    }
}

fn site(id: SiteId, policy: &Policy) -> Rc<Site> {
    let policy = policy.clone();
    Rc::new(Site { id, policy })
}
