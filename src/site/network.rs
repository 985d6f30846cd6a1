//! Ranges of addresses, for access rules and trusted proxies.

use std::net::IpAddr;

/// A range of addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_length: u8,
}

impl Network {
    /// The addresses that share the first `prefix_length` bits of `address`; its other bits are ignored.
    pub fn new(address: IpAddr, prefix_length: u8) -> Network {
        Network {
            address,
            prefix_length,
        }
    }

    /// Whether `address` belongs to it. IPv4 and IPv6 never match each other.
    pub fn contains(&self, address: IpAddr) -> bool {
        let length = u32::from(self.prefix_length);
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= length
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= length
            }
            _ => false,
        }
    }
}
