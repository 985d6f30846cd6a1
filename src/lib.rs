//! spede: a static web server with one event loop.
//!
//! One process and one thread serve everything: sockets, signals, timers, file changes and the
//! completions of disk jobs arrive in one wait. Hits are answered from caches; what must go to the
//! disk goes through an engine (`disk::Disk`). docs/architecture.md is the map of this crate.
//!
//! The layers, from the top; imports only go down, and nothing below `disk` touches a socket, a
//! file or a clock:
//!
//! ```text
//! config → simulate, check → server → observe → disk → store → conn → cache → job → site, clock, memory → http, sys
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!(
    "spede needs Linux: openat2, statx, inotify and sendfile have no portable equivalents"
);

pub mod cache;
pub mod check;
pub mod clock;
pub mod config;
pub mod conn;
pub mod defect;
pub(crate) mod disk;
pub(crate) mod histogram;
pub mod http;
pub mod job;
pub(crate) mod memory;
pub(crate) mod observe;
mod plot;
pub mod server;
pub mod settings;
pub mod simulate;
pub mod site;
pub(crate) mod store;
pub mod sys;
mod text;
mod transport;
