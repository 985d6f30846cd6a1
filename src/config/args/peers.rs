//! The flags that limit peers: what they may send, and how long they may take.

use std::time::Duration;

use clap::Args;

use super::super::value::{count, duration, length, networks, size};
use super::{COUNT_MAX, TIME_MAX, TIMEOUT_MIN};
use crate::http::request::FIELD_COUNT_MAX;
use crate::settings::Network;

/// Longest head, and so longest target: a connection buffers one in memory.
const HEAD_LENGTH_MAX: u32 = 1 << 20;
/// Smallest `--head-max`: room for a request line and the fields that every client sends.
const HEAD_LENGTH_MIN: u32 = 1 << 10;
/// Longest body, 1 TiB: bodies are discarded, and the time-out limits them too.
const BODY_LENGTH_MAX: u64 = 1 << 40;
/// Most ranges in one request: each costs a part with a head of its own.
pub(in crate::config) const RANGE_COUNT_MAX: usize = 1 << 10;

/// Highest minimum rate, 1 GiB a second: more than most network links have.
const SEND_RATE_MAX: u64 = 1 << 30;

const LIMITS: &str = "Limits";
const TIME_OUTS: &str = "Time-outs";

// No doc comment: clap would take it for that of the program.
#[derive(Debug, Args)]
pub(in crate::config) struct PeerArgs {
    // One field per flag, as clap requires.
    /// Most open connections [default: from RLIMIT_NOFILE and memory].
    ///
    /// By default they fit a quarter of the available memory, at 6,200 bytes each. Further ones
    /// wait in the kernel's accept queue until one has ended.
    #[arg(long, value_name = "N", env = "SPEDE_CONNECTIONS", help_heading = LIMITS)]
    #[arg(value_parser = count(1..=COUNT_MAX))]
    pub(in crate::config) connections: Option<usize>,

    /// Connection share of one address in percent, once half are in use.
    ///
    /// The first 64 bits of an IPv6 address count as the address. Further connections are closed.
    /// 100 sets no limit. At the limit of --connections the longest idle connection is closed.
    #[arg(long, value_name = "PERCENT", env = "SPEDE_ADDRESS_SHARE", help_heading = LIMITS)]
    #[arg(value_parser = count(1..=100), default_value = "25")]
    pub(in crate::config) address_share: usize,

    /// Addresses exempt from --address-share: ADDR, ADDR/LEN.
    ///
    /// A proxy stands for many clients. Proxies on this machine are exempt unless the option is
    /// set; none exempts no address. Unix sockets are always exempt. Repeatable.
    #[arg(long, value_name = "ADDR", env = "SPEDE_TRUSTED_PROXY", help_heading = LIMITS)]
    #[arg(value_parser = networks(), value_delimiter = ',', default_value = "127.0.0.0/8,::1")]
    pub(in crate::config) trusted_proxy: Vec<Option<Network>>,

    /// Longest request target; beyond it 414.
    #[arg(long, value_name = "SIZE", env = "SPEDE_TARGET_MAX", help_heading = LIMITS)]
    #[arg(value_parser = length(1..=HEAD_LENGTH_MAX), default_value = "8KiB")]
    pub(in crate::config) target_max: usize,

    /// Longest request head; beyond it 431.
    ///
    /// From the request line to the empty line. It must be at least 512 bytes longer than
    /// --target-max.
    #[arg(long, value_name = "SIZE", env = "SPEDE_HEAD_MAX", help_heading = LIMITS)]
    #[arg(value_parser = length(HEAD_LENGTH_MIN..=HEAD_LENGTH_MAX), default_value = "16KiB")]
    pub(in crate::config) head_max: usize,

    /// Most field lines in a head, at most 256; beyond it 431.
    #[arg(long, value_name = "N", env = "SPEDE_FIELDS_MAX", help_heading = LIMITS)]
    #[arg(value_parser = count(1..=FIELD_COUNT_MAX), default_value = "100")]
    pub(in crate::config) fields_max: usize,

    /// Longest request body; beyond it 413.
    ///
    /// A static server needs no body: it is read and discarded, so that the connection persists.
    #[arg(long, value_name = "SIZE", env = "SPEDE_BODY_MAX", help_heading = LIMITS)]
    #[arg(value_parser = size(0..=BODY_LENGTH_MAX), default_value = "1MiB")]
    pub(in crate::config) body_max: u64,

    /// Most ranges in a response; beyond it the whole file is sent.
    ///
    /// Counted after overlapping and adjacent ranges are merged; --head-max limits the ranges in a
    /// request. 0 ignores every Range field.
    #[arg(long, value_name = "N", env = "SPEDE_RANGES_MAX", help_heading = LIMITS)]
    #[arg(value_parser = count(0..=RANGE_COUNT_MAX), default_value = "256")]
    pub(in crate::config) ranges_max: usize,

    /// Time limit of a request head, from its first byte.
    #[arg(long, value_name = "TIME", env = "SPEDE_HEAD_TIMEOUT", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(TIMEOUT_MIN..=TIME_MAX), default_value = "10s")]
    pub(in crate::config) head_timeout: Duration,

    /// Time limit of a request body, from the end of its head.
    #[arg(long, value_name = "TIME", env = "SPEDE_BODY_TIMEOUT", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(TIMEOUT_MIN..=TIME_MAX), default_value = "30s")]
    pub(in crate::config) body_timeout: Duration,

    /// Time limit of an idle connection.
    #[arg(long, value_name = "TIME", env = "SPEDE_IDLE_TIMEOUT", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(TIMEOUT_MIN..=TIME_MAX), default_value = "60s")]
    pub(in crate::config) idle_timeout: Duration,

    /// Time limit without any acknowledged byte of a response.
    ///
    /// Each acknowledged byte restarts it: a slow peer is not a stalled one, nor is a player that
    /// pauses for less. A stalled peer is detected up to a quarter later.
    #[arg(long, value_name = "TIME", env = "SPEDE_SEND_TIMEOUT", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(TIMEOUT_MIN..=TIME_MAX), default_value = "60s")]
    pub(in crate::config) send_timeout: Duration,

    /// Minimum send rate in bytes a second; 0: no minimum.
    ///
    /// Averaged since the response began to wait for its peer, over --send-timeout at least.
    /// Closes connections of deliberately slow readers, and those on slow lines.
    #[arg(long, value_name = "SIZE", env = "SPEDE_SEND_RATE_MIN", help_heading = TIME_OUTS)]
    #[arg(value_parser = size(0..=SEND_RATE_MAX), default_value = "0")]
    pub(in crate::config) send_rate_min: u64,

    /// Silence after the last response before the connection is closed.
    ///
    /// An immediate close would reset a connection whose peer still sends, and the peer could lose
    /// the response. Received bytes are discarded until the peer is silent for this long.
    #[arg(long, value_name = "TIME", env = "SPEDE_LINGER_TIMEOUT", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = "5s")]
    pub(in crate::config) linger_timeout: Duration,

    /// Most time to discard input after the last response.
    ///
    /// Some clients read nothing before they have sent a whole body, even a refused one.
    #[arg(long, value_name = "TIME", env = "SPEDE_LINGER_TIME", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = "30s")]
    pub(in crate::config) linger_time: Duration,

    /// Time for responses to finish after SIGTERM or SIGINT.
    ///
    /// A second signal ends the process at once.
    #[arg(long, value_name = "TIME", env = "SPEDE_GRACE", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = "30s")]
    pub(in crate::config) grace: Duration,
}
