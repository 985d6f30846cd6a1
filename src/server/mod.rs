//! The server: sockets, clock, signals, changes of files, the log. Everything that does I/O and is
//! not the disk.

mod accept;
mod addresses;
mod answers;
mod connections;
mod deadlines;
mod descriptors;
mod draining;
mod driver;
mod event_loop;
mod listeners;
mod memory;
mod origins;
mod places;
mod probe;
mod ready;
mod reload;
mod signals;
#[cfg(test)]
mod simulation;
mod stalled;
mod start;
mod unix_socket;
mod warning;

pub use reload::ReadSettings;
pub use start::{StartError, found_root, preflight, run};
pub use unix_socket::ListenError;
