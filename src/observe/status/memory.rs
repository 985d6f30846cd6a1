//! Memory at /status and /metrics: the budget, and its use by parts.

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
    // Each is one row of the page and independent of the others.
    /// The budget for allocations.
    pub budget_bytes: u64,
    /// The current target; less than the budget under memory pressure.
    pub target_bytes: u64,
    /// Estimated kernel memory of open files, descriptors and connections. Counts towards the target.
    pub kernel_bytes: u64,
    /// Allocated memory, in whole blocks of the allocator.
    pub allocated_bytes: u64,
    /// The same by part, as the parts report it.
    pub parts: BTreeMap<&'static str, u64>,
    /// The smallest limit that applies to the process.
    pub limit_bytes: u64,
    /// Its source: `machine`, `cgroup`, `RLIMIT_AS` or `RLIMIT_DATA`.
    pub limit_source: &'static str,
    /// Resident memory of the process, mapped files included, when it was last measured.
    pub resident_bytes: u64,
    /// The private part of it.
    pub resident_own_bytes: u64,
    /// Free memory within that, retained by the allocator.
    pub unreturned_bytes: u64,
    /// Times that free memory was given back to the kernel.
    pub given_back: u64,
    /// Cache entries evicted because of memory pressure.
    pub given_way: u64,
    /// Memory pressure events of the kernel; `null` if not supported.
    pub pressures: Option<u64>,
    /// Failed allocations.
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
