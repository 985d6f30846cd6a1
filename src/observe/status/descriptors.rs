//! Descriptors at /status and /metrics: the limit, and its use.

use std::fmt;

use maud::{Markup, html};
use serde::Serialize;

use super::writer::Writer;
use crate::store::numbers::ReopenNumbers;
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

/// Descriptors, and what was done where they were short.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct DescriptorNumbers {
    /// How they are shared out.
    #[serde(flatten)]
    pub shares: ShareNumbers,
    /// Connections with answers that have given their files up, now.
    pub parked: usize,
    /// How often that happened, and what came of it.
    #[serde(flatten)]
    pub reopening: ReopenNumbers,
}

/// The rows of the page.
pub(super) fn section(descriptors: DescriptorNumbers) -> Markup {
    let (shares, reopening) = (descriptors.shares, descriptors.reopening);
    html! {
        section aria-labelledby="descriptors" {
            h2 id="descriptors" { "Descriptors" }
            dl {
                div { dt { "limit" } dd { (number(shares.limit as u64)) } }
                div { dt { "open files" } dd { (number(shares.files as u64)) } }
                div { dt { "free" } dd { (number(shares.free as u64)) } }
                div { dt { "reserve" } dd { (number(shares.reserve as u64)) } }
                div { dt { "parked responses" } dd { (number(descriptors.parked as u64)) } }
                div { dt { "parked in all" } dd { (number(reopening.parked_total)) } }
                div { dt { "files reopened" } dd { (number(reopening.reopened)) } }
                div { dt { "responses broken off" } dd { (number(reopening.broken_off)) } }
            }
        }
    }
}

#[rustfmt::skip]
pub(super) fn metrics(writer: &mut Writer<'_, '_>, descriptors: DescriptorNumbers) -> fmt::Result {
    let (shares, reopening) = (descriptors.shares, descriptors.reopening);
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
    writer.gauge("responses_parked_now", "Responses whose files are closed until their clients go on", descriptors.parked as u64)?;
    writer.counter("responses_parked", "Times that a response gave its files up", reopening.parked_total)?;
    writer.counter("files_reopened", "Files opened again for responses that go on", reopening.reopened)?;
    writer.counter("responses_broken_off", "Responses whose file had changed before it was opened again", reopening.broken_off)
}
