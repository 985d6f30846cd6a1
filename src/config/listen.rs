//! Addresses to listen on, and conflicts between them.
//!
//! Names are not resolved: a server should start before DNS does. `localhost` is 127.0.0.1.

use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::ValueError;
use crate::settings::ListenAddress;

/// Longest path of a socket: `sun_path` has 108 bytes, the last of them NUL, see `unix(7)`.
const SOCKET_PATH_LENGTH_MAX: usize = 107;

/// Parses `IP:PORT`, `:PORT` (every address, IPv6 and IPv4), `PORT` (loopback), `localhost:PORT` or
/// `unix:PATH`. The path may hold any bytes.
pub(super) fn parse_listen(word: &OsStr) -> Result<ListenAddress, ValueError> {
    if let Some(path) = word.as_bytes().strip_prefix(b"unix:") {
        let is_path = (1..=SOCKET_PATH_LENGTH_MAX).contains(&path.len()) && !path.contains(&0);
        return if is_path {
            Ok(ListenAddress::Unix(PathBuf::from(OsStr::from_bytes(path))))
        } else {
            Err(ValueError::NotSocketPath {
                max: SOCKET_PATH_LENGTH_MAX,
            })
        };
    }
    let text = word.to_str().ok_or(ValueError::NotListenAddress)?;
    parse_tcp(text).map(ListenAddress::Tcp)
}

/// Parses those forms of [`parse_listen`] that have a port.
pub(super) fn parse_tcp(text: &str) -> Result<SocketAddr, ValueError> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(canonical(address));
    }
    if is_ip_alone(text) {
        return Err(ValueError::NoPort);
    }
    let (ip, port) = match text.rsplit_once(':') {
        None => (IpAddr::V4(Ipv4Addr::LOCALHOST), text),
        Some(("", port)) => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
        Some((host, port)) if host.eq_ignore_ascii_case("localhost") => {
            (IpAddr::V4(Ipv4Addr::LOCALHOST), port)
        }
        Some(_) => return Err(ValueError::NotListenAddress),
    };
    // `u16` would accept "+80" too.
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if is_number => Ok(SocketAddr::new(ip, port)),
        _ => Err(ValueError::NotListenAddress),
    }
}

/// An IPv4-mapped address, `[::ffff:10.0.0.1]:80`, becomes IPv4: one address, one spelling.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

fn is_ip_alone(text: &str) -> bool {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>().is_ok()
}

/// Whether only one of two addresses can be bound: they are equal, or one includes the other. `[::]` includes
/// IPv4. Two ports chosen by the kernel never conflict.
pub(super) fn is_overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            let is_port_shared = one.port() == other.port() && one.port() != 0;
            is_port_shared && (takes(one, other) || takes(other, one))
        }
        _ => false,
    }
}

/// Whether `wide` includes the IP address of `narrow`.
fn takes(wide: &SocketAddr, narrow: &SocketAddr) -> bool {
    match (wide.ip(), narrow.ip()) {
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), _) => true,
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(_)) => true,
        // Link-local addresses of two interfaces differ in their scope only.
        (IpAddr::V6(wide_ip), IpAddr::V6(narrow_ip)) => {
            wide_ip == narrow_ip && scope(wide) == scope(narrow)
        }
        (wide_ip, narrow_ip) => wide_ip == narrow_ip,
    }
}

fn scope(address: &SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}

/// Displays an address in the syntax of the command line.
pub(super) struct Written<'a>(pub(super) &'a ListenAddress);

impl fmt::Display for Written<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ListenAddress::Tcp(address) => write!(formatter, "{address}"),
            ListenAddress::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}
