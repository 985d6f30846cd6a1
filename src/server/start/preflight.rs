//! What can be known of a start without one: for `spede check`, which may run beside a server.

use super::sites::open_sites;
use super::{StartError, with_found_root};
use crate::memory::measured::MemoryFiles;
use crate::memory::plan;
use crate::server::memory::sizes;
use crate::server::origins;
use crate::settings::Settings;
use crate::sys::needed;

/// Opens what a server would read, binds and writes nothing. Gives what the server would warn about.
///
/// # Errors
/// The first thing that would end the start.
pub fn preflight(settings: &Settings) -> Result<Vec<String>, StartError> {
    needed::try_out()?;
    let settings = &with_found_root(settings);
    let opened = open_sites(settings)?;
    opened.try_listings()?;
    origins::origins(settings)?;
    let limit = MemoryFiles::find().measure().limit;
    Ok(plan::warnings(&sizes(settings, limit)))
}
