//! The server: sockets, clock, signals, changes of files, the log. Everything that does I/O and is
//! not the disk.

mod accept;
mod access_log;
mod addresses;
mod connections;
mod deadlines;
mod deliveries;
mod disk_queue;
mod draining;
mod driver;
#[cfg(test)]
mod entry_cost;
mod event_loop;
mod fetch;
mod histogram;
mod listeners;
mod memory;
mod places;
mod residency;
mod service;
pub mod settings;
mod signals;
mod start;
mod status;
mod turns;
mod unix_socket;
mod waiters;
mod warming;
mod watch;

pub use start::{StartError, run};
pub use status::STATUS_PATH;
pub use unix_socket::ListenError;
