//! Descriptors at /status and /metrics: how many there may be, and who has them.

use std::fmt;

use maud::{Markup, html};
use serde::Serialize;

use super::writer::Writer;
use crate::text::number;

/// How the descriptors of the process are shared out.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ShareNumbers {
    /// All that the process may have.
    pub limit: usize,
    /// Those of files of the site that are not closed.
    pub files: usize,
    /// Those that are free.
    pub free: usize,
    /// Free ones that there should be.
    pub reserve: usize,
}

/// The rows of the page.
pub(super) fn section(shares: ShareNumbers) -> Markup {
    html! {
        section aria-labelledby="descriptors" {
            h2 id="descriptors" { "Descriptors" }
            dl {
                div { dt { "limit" } dd { (number(shares.limit as u64)) } }
                div { dt { "open files" } dd { (number(shares.files as u64)) } }
                div { dt { "free" } dd { (number(shares.free as u64)) } }
                div { dt { "reserve" } dd { (number(shares.reserve as u64)) } }
            }
        }
    }
}

pub(super) fn metrics(writer: &mut Writer<'_, '_>, shares: ShareNumbers) -> fmt::Result {
    let rows = [
        (
            "limit",
            "Descriptors that the process may have",
            shares.limit,
        ),
        ("files", "Descriptors of files of the site", shares.files),
        ("free", "Free descriptors", shares.free),
        (
            "reserve",
            "Free descriptors that there should be",
            shares.reserve,
        ),
    ];
    for (name, help, value) in rows {
        writer.gauge(&format!("descriptors_{name}"), help, value as u64)?;
    }
    Ok(())
}
