//! The numbers of the status page, collected for one response.
//!
//! Field names are part of the interface: they are added, never renamed. `schema` counts incompatible
//! changes. Only files that were served are named.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::descriptors::DescriptorNumbers;
use super::memory::MemoryNumbers;
use crate::conn::response_stats::ResponseStats;
use crate::histogram::{Bucket, micros};
use crate::observe::iterations::Iterations;
use crate::store::numbers::StoreNumbers;
use crate::sys::usage::ThreadUsage;

/// All numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Snapshot {
    // A section of the page each, or a line of it.
    /// Version of these field names.
    pub schema: u32,
    /// Name of the program.
    pub server: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Connections.
    pub connections: ConnectionNumbers,
    /// Descriptors.
    pub descriptors: DescriptorNumbers,
    /// Requests answered.
    pub requests: RequestNumbers,
    /// Bytes sent, by method.
    pub bytes_sent: SentNumbers,
    /// Caches, disk and freshness.
    #[serde(flatten)]
    pub store: StoreNumbers,
    /// The loop.
    #[serde(rename = "loop")]
    pub iterations: IterationNumbers,
    /// Memory, and the budget for it.
    pub memory: MemoryNumbers,
    /// Bytes of access log lost because they could not be written.
    pub access_log_lost_bytes: u64,
    /// Lines of access log lost, including partly written ones.
    pub access_log_lost_lines: u64,
}

/// Open connections by state.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct ByActivity {
    /// Between requests.
    pub idle: usize,
    /// In the middle of a request.
    pub receiving: usize,
    /// Waiting for the disk, before an answer or within one.
    pub waiting: usize,
    /// Sending a response.
    pub sending: usize,
    /// Closing, after the last response.
    pub lingering: usize,
}

/// Connections.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ConnectionNumbers {
    /// Open now.
    pub open: usize,
    /// Those by state.
    pub by_state: ByActivity,
    /// Their limit.
    pub capacity: usize,
    /// Accepted since the start.
    pub accepted: u64,
    /// Pauses of accepting, for lack of descriptors or at the limit.
    pub accept_pauses: u64,
    /// Idle connections closed since the start to make room for another one.
    pub idle_given_up: u64,
    /// Connections refused since the start because their address had used up its share.
    pub refused_by_share: u64,
    /// Connections closed since the start because their buffers exceeded their share of memory.
    pub closed_for_memory: u64,
}

/// Requests answered since the start.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RequestNumbers {
    /// In all.
    pub total: u64,
    /// By class of their status.
    pub by_status_class: ByClass,
    /// By status; only those that occurred.
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

/// Event loop statistics.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IterationNumbers {
    // Names of the JSON, flat since the first version.
    /// Iterations since the start.
    pub turns: u64,
    /// Their durations: counts below each bound, in microseconds.
    pub turn_us: Vec<Bucket>,
    /// The sum of their durations, in microseconds.
    pub turn_us_total: u64,
    /// The longest, in microseconds.
    pub longest_turn_us: u64,
    /// The activity that took most of it.
    pub longest_turn_cause: Option<&'static str>,
    /// How long ago it was, in seconds.
    pub longest_turn_seconds_ago: Option<u64>,
    /// The most bytes sent in one.
    pub turn_bytes_max: u64,
    /// Sleeps of the loop outside its wait: defects.
    pub sleeps_outside_poll: u64,
    /// The main activity of the iteration with the latest of them, as far as known.
    pub last_sleep_cause: Option<&'static str>,
    /// How long ago it was noticed, in seconds.
    pub last_sleep_seconds_ago: Option<u64>,
    /// Major page faults of the loop.
    pub major_faults: u64,
    /// Voluntary context switches of the loop: about one per wait.
    pub voluntary_switches: u64,
    /// Involuntary context switches of the loop.
    pub involuntary_switches: u64,
}

impl IterationNumbers {
    /// Reads the counters of the calling thread, which must be the loop's.
    pub(crate) fn take(
        iterations: &Iterations,
        turn_bytes_max: u64,
        now: Instant,
    ) -> IterationNumbers {
        let usage = ThreadUsage::now();
        let (longest, sleep) = (iterations.longest(), iterations.last_sleep());
        let seconds_since = |at: Instant| now.saturating_duration_since(at).as_secs();
        IterationNumbers {
            turns: iterations.histogram().count(),
            turn_us: iterations.histogram().to_vec(),
            turn_us_total: micros(iterations.histogram().total()),
            longest_turn_us: longest.map_or(0, |longest| micros(longest.lasted)),
            longest_turn_cause: longest.map(|longest| longest.cause.name()),
            longest_turn_seconds_ago: longest.map(|longest| seconds_since(longest.at)),
            turn_bytes_max,
            sleeps_outside_poll: iterations.sleeps_outside(),
            last_sleep_cause: sleep.map(|sleep| sleep.cause.name()),
            last_sleep_seconds_ago: sleep.map(|sleep| seconds_since(sleep.at)),
            major_faults: usage.major_faults,
            voluntary_switches: usage.voluntary_switches,
            involuntary_switches: usage.involuntary_switches,
        }
    }
}

/// Numbers that only the loop knows.
#[derive(Clone, Debug)]
pub(crate) struct LoopNumbers {
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Connections.
    pub connections: ConnectionNumbers,
    /// Descriptors.
    pub descriptors: DescriptorNumbers,
    /// Bytes sent.
    pub bytes_sent: SentNumbers,
    /// Memory.
    pub memory: MemoryNumbers,
    /// Bytes of access log lost.
    pub access_log_lost_bytes: u64,
    /// Lines of access log lost, including partly written ones.
    pub access_log_lost_lines: u64,
    /// Its iterations.
    pub iterations: IterationNumbers,
}

impl Snapshot {
    /// Collects the numbers.
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
            iterations,
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
            iterations,
            memory,
            access_log_lost_bytes,
            access_log_lost_lines,
        }
    }
}
