//! The URLs of a listener, for people to type or click.
//!
//! `[::]` and `0.0.0.0` are not addresses of a machine. A listener there is reached as localhost, and at each address
//! of this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// Maximum number of addresses; a machine with containers has dozens.
const NAMED_COUNT_MAX: usize = 8;

/// Which addresses a listener accepts that is bound to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Families {
    Ipv4,
    Ipv6,
    Both,
}

/// Names of a listener that is bound to this address, the shortest one for a user of this machine first.
pub(super) fn names(bound: SocketAddr, families: Families) -> Vec<String> {
    match bound.ip().is_unspecified() {
        true => names_of_all(bound.port(), families, &own_addresses()),
        false => vec![format!("http://{bound}")],
    }
}

fn names_of_all(port: u16, families: Families, own: &[IpAddr]) -> Vec<String> {
    let is_taken = |address: &&IpAddr| match families {
        Families::Ipv4 => address.is_ipv4(),
        Families::Ipv6 => address.is_ipv6(),
        Families::Both => true,
    };
    let taken: Vec<&IpAddr> = own.iter().filter(is_taken).collect();
    let mut names = vec![format!("http://localhost:{port}")];
    let named = taken.iter().take(NAMED_COUNT_MAX);
    names.extend(named.map(|address| format!("http://{}", SocketAddr::new(**address, port))));
    let others = taken.len().saturating_sub(NAMED_COUNT_MAX);
    if others > 0 {
        names.push(format!("port {port} of {others} more addresses"));
    }
    names
}

/// The addresses of this machine that other machines can use, IPv4 first. None if the kernel does not tell (a sandbox
/// without netlink).
fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    let mut own: Vec<IpAddr> = interfaces
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| {
            let address = interface.address?;
            let ipv4 = address.as_sockaddr_in().map(|one| IpAddr::V4(one.ip()));
            ipv4.or_else(|| address.as_sockaddr_in6().map(|one| IpAddr::V6(one.ip())))
        })
        .filter(is_for_others)
        .collect();
    // Stable: the order of interfaces stays.
    own.sort_by_key(IpAddr::is_ipv6);
    own.dedup();
    own
}

/// Whether an address is usable without more data. Link-local ones need the name of the interface, which no URL can
/// hold.
fn is_for_others(address: &IpAddr) -> bool {
    let is_of_link = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_of_link || address.is_loopback() || address.is_unspecified())
}

/// The same port of every IPv4 address.
pub(super) fn in_ipv4_only(address: SocketAddr) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn every_address_is_named_by_localhost_and_those_of_the_machine() {
        let own = [
            address("192.0.2.1"),
            address("10.0.0.7"),
            address("2001:db8::1"),
        ];
        let ipv4 = ["http://192.0.2.1:80", "http://10.0.0.7:80"];
        let ipv6 = "http://[2001:db8::1]:80";
        let localhost = "http://localhost:80";
        let of = |families| names_of_all(80, families, &own);
        assert_eq!(of(Families::Both), [localhost, ipv4[0], ipv4[1], ipv6]);
        assert_eq!(of(Families::Ipv4), [localhost, ipv4[0], ipv4[1]]);
        assert_eq!(of(Families::Ipv6), [localhost, ipv6]);
        let many: Vec<IpAddr> = (0..20).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        let names = names_of_all(80, Families::Both, &many);
        assert_eq!(names.len(), 1 + NAMED_COUNT_MAX + 1);
        assert_eq!(
            names.last().map(String::as_str),
            Some("port 80 of 12 more addresses")
        );
    }

    #[test]
    fn an_address_that_was_asked_for_is_its_own_name() {
        for text in ["127.0.0.1:80", "[::1]:80", "192.0.2.1:8080"] {
            let bound: SocketAddr = text.parse().expect("an address");
            let want = format!("http://{text}");
            assert_eq!(names(bound, Families::Both), [want]);
        }
    }

    #[test]
    fn what_nobody_else_can_use_is_not_named() {
        for text in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0"] {
            assert!(!is_for_others(&address(text)), "{text}");
        }
        for text in ["192.168.0.1", "fd00::1", "2001:db8::1"] {
            assert!(is_for_others(&address(text)), "{text}");
        }
    }
}
