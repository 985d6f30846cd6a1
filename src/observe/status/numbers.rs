//! The numbers of the status page, gathered for one answer.
//!
//! Field names are part of the interface: they are added, not renamed. `schema` counts changes
//! that are not additions. Only files that were served are named.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::descriptors::ShareNumbers;
use super::memory::MemoryNumbers;
use crate::conn::response_stats::ResponseStats;
use crate::histogram::{Bucket, micros};
use crate::observe::iterations::Iterations;
use crate::store::numbers::StoreNumbers;
use crate::sys::usage::ThreadUsage;

/// Everything that is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Snapshot {
    // A section of the page each, or a line of it.
    /// Version of these field names.
    pub schema: u32,
    /// Name of the program.
    pub server: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Since the start, in seconds.
    pub uptime_seconds: u64,
    /// Connections.
    pub connections: ConnectionNumbers,
    /// Descriptors.
    pub descriptors: ShareNumbers,
    /// Requests answered.
    pub requests: RequestNumbers,
    /// Bytes sent, by way of sending.
    pub bytes_sent: SentNumbers,
    /// Caches, disk and freshness.
    #[serde(flatten)]
    pub store: StoreNumbers,
    /// The loop.
    #[serde(rename = "loop")]
    pub turns: IterationNumbers,
    /// Memory, and the budget for it.
    pub memory: MemoryNumbers,
    /// Bytes of access log that could not be written.
    pub access_log_lost_bytes: u64,
    /// Lines of access log lost, those included of which a part was written.
    pub access_log_lost_lines: u64,
}

/// Open connections by what they are doing.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct ByActivity {
    /// Between requests.
    pub idle: usize,
    /// In the middle of a request.
    pub receiving: usize,
    /// Waiting for the disk, before an answer or within one.
    pub waiting: usize,
    /// With bytes to be sent.
    pub sending: usize,
    /// After the last answer.
    pub lingering: usize,
}

/// Connections.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ConnectionNumbers {
    /// Open now.
    pub open: usize,
    /// Those by what they are doing.
    pub by_state: ByActivity,
    /// Most that may be open.
    pub capacity: usize,
    /// Taken since the start.
    pub accepted: u64,
    /// Times that accepting had to pause for want of descriptors or room.
    pub accept_pauses: u64,
    /// Idle connections closed since the start because another needed the place or the descriptor.
    pub idle_given_up: u64,
    /// Connections closed at once since the start because their address had its share.
    pub refused_by_share: u64,
    /// Connections closed since the start because their buffers took more than their share of memory.
    pub closed_for_memory: u64,
}

/// Requests answered since the start.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RequestNumbers {
    /// In all.
    pub total: u64,
    /// By class of their status.
    pub by_status_class: ByClass,
    /// By their status; only those that were sent.
    pub by_status: BTreeMap<u16, u64>,
}

/// Counts by class of status.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs)]
pub(crate) struct ByClass {
    #[serde(rename = "2xx")]
    pub success: u64,
    #[serde(rename = "3xx")]
    pub redirection: u64,
    #[serde(rename = "4xx")]
    pub client_error: u64,
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

/// Bytes sent since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct SentNumbers {
    /// From mappings and memory, gathered.
    pub gathered: u64,
    /// By `sendfile`.
    pub sendfile: u64,
}

/// The loop: what it does between two waits.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IterationNumbers {
    /// Turns since the start.
    pub turns: u64,
    /// How long they were: how many were below each bound, in microseconds.
    pub turn_us: Vec<Bucket>,
    /// All of them together, in microseconds.
    pub turn_us_total: u64,
    /// The longest, in microseconds.
    pub longest_turn_us: u64,
    /// What took most of it.
    pub longest_turn_cause: Option<&'static str>,
    /// How long ago it was, in seconds.
    pub longest_turn_seconds_ago: Option<u64>,
    /// Times that the loop slept outside its wait: broken promises.
    pub sleeps_outside_poll: u64,
    /// What took most of the turn that the latest of them was in, as far as is known.
    pub last_sleep_cause: Option<&'static str>,
    /// How long ago it was noticed, in seconds.
    pub last_sleep_seconds_ago: Option<u64>,
    /// Pages that the loop touched and had to wait for.
    pub major_faults: u64,
    /// Times that the loop gave the processor up: about once a wait.
    pub voluntary_switches: u64,
    /// Times that the processor was taken from it.
    pub involuntary_switches: u64,
}

impl IterationNumbers {
    /// Of the thread that calls, which must be that of the loop.
    pub(crate) fn take(turns: &Iterations, now: Instant) -> IterationNumbers {
        let usage = ThreadUsage::now();
        let (longest, sleep) = (turns.longest(), turns.last_sleep());
        let seconds_since = |at: Instant| now.saturating_duration_since(at).as_secs();
        IterationNumbers {
            turns: turns.histogram().count(),
            turn_us: turns.histogram().to_vec(),
            turn_us_total: micros(turns.histogram().total()),
            longest_turn_us: longest.map_or(0, |longest| micros(longest.lasted)),
            longest_turn_cause: longest.map(|longest| longest.cause.name()),
            longest_turn_seconds_ago: longest.map(|longest| seconds_since(longest.at)),
            sleeps_outside_poll: turns.sleeps_outside(),
            last_sleep_cause: sleep.map(|sleep| sleep.cause.name()),
            last_sleep_seconds_ago: sleep.map(|sleep| seconds_since(sleep.at)),
            major_faults: usage.major_faults,
            voluntary_switches: usage.voluntary_switches,
            involuntary_switches: usage.involuntary_switches,
        }
    }
}

/// What only the loop knows.
#[derive(Clone, Debug)]
pub(crate) struct LoopNumbers {
    /// Since the start, in seconds.
    pub uptime_seconds: u64,
    /// Connections.
    pub connections: ConnectionNumbers,
    /// Descriptors.
    pub descriptors: ShareNumbers,
    /// Bytes sent.
    pub bytes_sent: SentNumbers,
    /// Memory.
    pub memory: MemoryNumbers,
    /// Bytes of access log lost.
    pub access_log_lost_bytes: u64,
    /// Lines of access log lost, those included of which a part was written.
    pub access_log_lost_lines: u64,
    /// Its turns.
    pub turns: IterationNumbers,
}

impl Snapshot {
    /// Gathers the numbers.
    pub(crate) fn take(
        store: StoreNumbers,
        response_stats: &ResponseStats,
        numbers: LoopNumbers,
    ) -> Snapshot {
        let LoopNumbers {
            uptime_seconds,
            connections,
            descriptors,
            bytes_sent,
            memory,
            access_log_lost_bytes,
            access_log_lost_lines,
            turns,
        } = numbers;
        let [_, _, success, redirection, client_error, server_error] = response_stats.by_class;
        let by_status_class = ByClass {
            success,
            redirection,
            client_error,
            server_error,
        };
        Snapshot {
            schema: 1,
            server: "spede",
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds,
            connections,
            descriptors,
            requests: RequestNumbers {
                total: response_stats.total(),
                by_status_class,
                by_status: response_stats.by_status().collect(),
            },
            bytes_sent,
            store,
            turns,
            memory,
            access_log_lost_bytes,
            access_log_lost_lines,
        }
    }
}
