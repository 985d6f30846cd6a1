//! Tests of the whole program over real sockets: one binary, one module per promise.

// A test reports a failure by panicking.
#![allow(clippy::unwrap_used)]
// One binary: what the harness offers is for its sibling modules.
#![allow(unreachable_pub)]

mod access_log;
mod browser;
mod clean_urls;
mod cli;
mod configuration;
mod connections;
mod counts;
mod dashboard;
mod defect;
mod descriptors;
mod differential;
mod draining;
mod explained;
mod faults;
mod fields;
mod files;
mod freshness;
mod freshness_events;
mod freshness_random;
mod freshness_root;
mod freshness_space;
mod freshness_stress;
#[path = "../fuse/mod.rs"]
mod fuse;
mod guards;
mod harness;
mod kernels;
mod listening;
mod listing;
mod live_tree;
mod log_files;
mod media_types;
mod memory;
mod memory_connections;
mod memory_parts;
mod metrics;
mod mounted;
mod mounts;
mod places;
mod promises;
mod recheck;
mod redirects;
mod refused;
mod reloading;
mod same_answers;
mod sending;
mod signals;
mod simulate;
mod simulate_program;
mod sites;
mod slow_disk;
mod slow_tree;
mod sources;
mod stale;
mod stand_ins;
mod status;
mod status_access;
mod terminal;
mod tidy;
mod traversal;
mod unix_socket;
mod validators;
mod warming;
mod wire;
