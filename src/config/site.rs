//! Sites: the one that the options describe, which is also what `[[site]]` tables begin with.

use super::args::Args;
use crate::settings::{MediaTypes, Naming, Policy, RangeLimits, SiteSettings};

/// The site of the options, for all hosts.
pub(super) fn of_options(args: &Args) -> SiteSettings {
    SiteSettings {
        hosts: Vec::new(),
        root: args.root.clone(),
        root_fallback: None,
        policy: Policy {
            naming: Naming {
                index: args.index.clone(),
                dot_files: args.dotfiles,
                directories: args.directories,
                media_types: MediaTypes {
                    charset: args.charset.clone(),
                    own: args.own_types.clone(),
                },
            },
            entity_tags: args.entity_tags,
            ranges: RangeLimits {
                count_max: args.ranges_max,
            },
            revalidate: args.revalidate,
        },
    }
}
