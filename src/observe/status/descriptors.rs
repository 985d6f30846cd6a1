//! Descriptors at /status and /metrics: the limit, and its use.

use std::fmt;

use maud::{Markup, html};
use serde::Serialize;

use super::writer::Writer;
use crate::text::number;

/// Use of the descriptors of the process.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ShareNumbers {
    /// The limit of the process.
    pub limit: usize,
    /// Descriptors of files of the site, until they are closed.
    pub files: usize,
    /// Free descriptors.
    pub free: usize,
    /// Number that should be free.
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
