//! Networks: an address and how many of its bits count.

use std::{fmt, net::IpAddr, str::FromStr};

/// A network, e.g. `10.0.0.0/8` or `2001:db8::/32`; a single address is one of full length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an IP address, or a network like 10.0.0.0/8 without bits beyond its length")]
pub struct NotANetwork;

impl Network {
    /// Whether an address is in it; one of IPv4 is the same written as one of IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.bits) == Some(self.address)
    }

    /// Whether every address of its family is in it.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.bits == 0
    }
}

/// The first `bits` of an address; `None` when it has fewer.
fn masked(address: IpAddr, bits: u8) -> Option<IpAddr> {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(address) => {
            let beyond = u32::BITS.checked_sub(bits)?;
            Some(IpAddr::V4((address.to_bits() & u32::MAX.checked_shl(beyond).unwrap_or(0)).into()))
        }
        IpAddr::V6(address) => {
            let beyond = u128::BITS.checked_sub(bits)?;
            Some(IpAddr::V6((address.to_bits() & u128::MAX.checked_shl(beyond).unwrap_or(0)).into()))
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let full = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match length {
            None => full,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| NotANetwork)?
            }
            Some(_) => return Err(NotANetwork),
        };
        // `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
        let network = match address.to_canonical() {
            v4 @ IpAddr::V4(_) if address.is_ipv6() => {
                Self { address: v4, bits: bits.checked_sub(96).ok_or(NotANetwork)? }
            }
            address => Self { address, bits },
        };
        if masked(network.address, network.bits) == Some(network.address) {
            Ok(network)
        } else {
            Err(NotANetwork)
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_networks() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
        ] {
            let network: Network = network.parse().expect("a network");
            assert_eq!(network.contains(address.parse().expect("an address")), inside, "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "*",
            "example.org",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0.1/8",
            "2001:db8::/129",
            "2001:db8::1/32",
            "::ffff:10.0.0.0/8",
            "10.0.0.0/256",
            " 10.0.0.1",
            "10.0.0.1:80",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
        }
    }
}
