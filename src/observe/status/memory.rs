//! Memory at /status and /metrics: the budget, what is used of it, and by what.

use std::collections::BTreeMap;
use std::fmt;

use maud::{Markup, html};
use prometheus_client::registry::Unit;
use serde::Serialize;

use super::writer::Writer;
use crate::text::{bytes, number};

/// Memory. All lengths are in bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MemoryNumbers {
    // One row of the page each; nothing else has them.
    /// What may be allocated.
    pub budget_bytes: u64,
    /// What may be used now; less than the budget while memory is short.
    pub target_bytes: u64,
    /// What the kernel keeps for files, descriptors and connections that are held, about. Counts for the target.
    pub kernel_bytes: u64,
    /// What is allocated, in whole blocks of the allocator.
    pub allocated_bytes: u64,
    /// The same by what it is used for, as those say who use it.
    pub parts: BTreeMap<&'static str, u64>,
    /// The smallest limit that the process is under.
    pub limit_bytes: u64,
    /// What sets it: `machine`, `cgroup`, `RLIMIT_AS` or `RLIMIT_DATA`.
    pub limit_source: &'static str,
    /// Resident memory of the process, mapped files included, when it was last measured.
    pub resident_bytes: u64,
    /// What of it belongs to this process alone.
    pub resident_own_bytes: u64,
    /// What of that is free memory, kept by the allocator.
    pub unreturned_bytes: u64,
    /// Times that free memory was given back to the kernel.
    pub given_back: u64,
    /// Entries of caches that gave way because memory was short.
    pub given_way: u64,
    /// Times that the kernel told of memory pressure; `null` where it does not.
    pub pressures: Option<u64>,
    /// Times that the system refused memory.
    pub allocation_failures: u64,
}

/// The rows of the page.
pub(super) fn section(memory: &MemoryNumbers) -> Markup {
    let parts = memory.parts.iter().filter(|(_, length)| **length > 0);
    html! {
        section aria-labelledby="memory" {
            h2 id="memory" { "Memory" }
            dl {
                div { dt { "budget" } dd { (bytes(memory.budget_bytes)) } }
                div { dt { "target" } dd { (bytes(memory.target_bytes)) } }
                div { dt { "kernel memory (estimate)" } dd { (bytes(memory.kernel_bytes)) } }
                div { dt { "allocated" } dd { (bytes(memory.allocated_bytes)) } }
                @for (name, length) in parts {
                    div { dt { (name.replace('_', " ")) } dd { (bytes(*length)) } }
                }
                div {
                    dt { "limit (" (memory.limit_source) ")" }
                    dd { (bytes(memory.limit_bytes)) }
                }
                div { dt { "resident" } dd { (bytes(memory.resident_bytes)) } }
                div { dt { "resident without file pages" } dd { (bytes(memory.resident_own_bytes)) } }
                div { dt { "free but resident" } dd { (bytes(memory.unreturned_bytes)) } }
                div { dt { "returns of free memory" } dd { (number(memory.given_back)) } }
                div { dt { "entries dropped" } dd { (number(memory.given_way)) } }
                @if let Some(pressures) = memory.pressures {
                    div { dt { "memory pressure events" } dd { (number(pressures)) } }
                }
                div { dt { "refused allocations" } dd { (number(memory.allocation_failures)) } }
            }
        }
    }
}

#[rustfmt::skip]
pub(super) fn metrics(writer: &mut Writer<'_, '_>, memory: &MemoryNumbers) -> fmt::Result {
    let unit = Some(&Unit::Bytes);
    let one = |value| [(Vec::new(), value)];
    let parts: Vec<_> = memory.parts.iter().map(|(name, length)| (vec![("part", *name)], *length)).collect();
    writer.gauges("memory_budget", "Budget of allocated memory", unit, &one(memory.budget_bytes))?;
    writer.gauges("memory_allocated", "Allocated memory", unit, &one(memory.allocated_bytes))?;
    writer.gauges("memory_used", "Allocated memory by use", unit, &parts)?;
    let limit = [(vec![("source", memory.limit_source)], memory.limit_bytes)];
    writer.gauges("memory_limit", "Smallest memory limit and its source", unit, &limit)?;
    writer.gauges("memory_resident", "Resident memory, mapped files included", unit, &one(memory.resident_bytes))?;
    writer.gauges("memory_resident_own", "Resident memory of this process alone", unit, &one(memory.resident_own_bytes))?;
    writer.gauges("memory_unreturned", "Free memory of the allocator that is resident", unit, &one(memory.unreturned_bytes))?;
    writer.counters("memory_given_back", "Returns of free memory to the kernel", None, &one(memory.given_back))?;
    writer.gauges("memory_target", "Memory that may be used now", unit, &one(memory.target_bytes))?;
    writer.gauges("memory_kernel", "Estimated kernel memory for watches, open files and connections", unit, &one(memory.kernel_bytes))?;
    writer.counters("memory_given_way", "Cache entries dropped because memory was short", None, &one(memory.given_way))?;
    writer.counters("memory_pressures", "Reports of memory pressure by the kernel", None, &one(memory.pressures.unwrap_or(0)))?;
    writer.counters("memory_allocation_failures", "Allocations refused by the system", None, &one(memory.allocation_failures))
}
