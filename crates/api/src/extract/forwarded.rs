//! What proxies say of where a request came from: `X-Forwarded-For`, or `Forwarded` (RFC 7239).
//!
//! Everybody can write these headers, so they are read from the right, from what the nearest proxy added, and no further than the first hop
//! that is no proxy of ours: that is the client. Without a trusted peer they are not looked at. When both headers are there and name
//! different clients, one of them came from the client itself, and the peer's own address is what is known for sure.

use axum::http::{HeaderMap, HeaderName, header};
use bifrost_domain::network::Network;
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Hops that are looked at; nobody has as many proxies.
const MOST_HOPS: usize = 32;

/// Whether an address is one of a proxy of ours.
pub(super) fn is_proxy(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// The address of the client: the peer's own, unless the peer is a proxy of ours that says another.
pub(super) fn client(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let peer = peer?;
    let is_ours = |address: IpAddr| is_proxy(address, trusted);
    if !is_ours(peer) {
        return Some(peer);
    }
    let walked = [X_FORWARDED_FOR, header::FORWARDED].map(|name| {
        headers.contains_key(&name).then(|| {
            let hops = hops(headers, &name);
            let mut found = peer;
            for hop in hops.iter().rev().take(MOST_HOPS) {
                // What cannot be read was written by who is known last.
                let Some(address) = hop.as_deref().and_then(address) else { break };
                found = address;
                if !is_ours(address) {
                    break;
                }
            }
            found
        })
    });
    match walked {
        [None, None] => Some(peer),
        [Some(found), None] | [None, Some(found)] => Some(found),
        [Some(one), Some(other)] => Some(if one == other { one } else { peer }),
    }
}

/// The hops of a header, left to right; `None` for one that says nothing that can be read.
fn hops(headers: &HeaderMap, name: &HeaderName) -> Vec<Option<String>> {
    let mut found = Vec::new();
    for value in headers.get_all(name) {
        match value.to_str() {
            Ok(text) if *name == X_FORWARDED_FOR => {
                found.extend(text.split(',').map(|hop| Some(hop.trim().to_owned())));
            }
            Ok(text) => match split(text, ',') {
                Some(elements) => found.extend(elements.into_iter().map(|element| of_element(&element))),
                None => found.push(None),
            },
            Err(_) => found.push(None),
        }
    }
    found
}

/// The value of `for` of one element, without its quotes; `None` unless there is exactly one.
fn of_element(element: &str) -> Option<String> {
    let mut found = None;
    for pair in split(element, ';')? {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") && found.replace(unquoted(value.trim())?).is_some() {
            return None;
        }
    }
    found
}

/// The parts between separators that stand outside of quoted texts; `None` when a quote does not end.
fn split(text: &str, separator: char) -> Option<Vec<String>> {
    let (mut parts, mut part, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for letter in text.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            letter if letter == separator && !quoted => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(letter);
    }
    parts.push(part);
    (!quoted).then_some(parts)
}

/// A token as it is, or what stands between quotes. An address needs no escapes.
fn unquoted(value: &str) -> Option<String> {
    let inner = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (!inner.contains(['"', '\\'])).then(|| inner.to_owned())
}

/// An address, with a port or without: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(hop: &str) -> Option<IpAddr> {
    let plain = hop.parse::<IpAddr>().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    plain.or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const XFF: &str = "x-forwarded-for";
    const FORWARDED: &str = "forwarded";

    fn found(peer: &str, pairs: &[(&'static str, &str)]) -> String {
        let trusted: Vec<Network> = ["10.0.0.0/8", "2001:db8:aaaa::/48", "127.0.0.1"]
            .iter()
            .map(|text| text.parse().expect("a network"))
            .collect();
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let peer = Some(peer.parse().expect("an address"));
        client(peer, &headers, &trusted).expect("an address").to_string()
    }

    #[test]
    fn the_table() {
        let long = vec!["10.0.0.1"; 5000].join(", ");
        let far = format!("203.0.113.9, {}", vec!["10.0.0.1"; 40].join(", "));
        for (name, peer, headers, expected) in [
            ("nobody's word", "192.0.2.1", vec![(XFF, "203.0.113.9")], "192.0.2.1"),
            (
                "nobody's word in the other header",
                "192.0.2.1",
                vec![(FORWARDED, "for=203.0.113.9")],
                "192.0.2.1",
            ),
            ("a proxy that says nothing", "10.0.0.1", vec![], "10.0.0.1"),
            ("a proxy", "10.0.0.1", vec![(XFF, "203.0.113.9")], "203.0.113.9"),
            ("a proxy over IPv6 as IPv4", "::ffff:10.0.0.1", vec![(XFF, "203.0.113.9")], "203.0.113.9"),
            ("a proxy of IPv6", "2001:db8:aaaa::1", vec![(XFF, "2001:db8::9")], "2001:db8::9"),
            ("two proxies", "10.0.0.1", vec![(XFF, "203.0.113.9, 10.0.0.2")], "203.0.113.9"),
            (
                "what the client wrote before",
                "10.0.0.1",
                vec![(XFF, "127.0.0.1, 8.8.8.8, 203.0.113.9")],
                "203.0.113.9",
            ),
            (
                "a trusted address that the client wrote",
                "10.0.0.1",
                vec![(XFF, "10.9.9.9, 203.0.113.9, 10.0.0.2")],
                "203.0.113.9",
            ),
            (
                "two headers are one list",
                "10.0.0.1",
                vec![(XFF, "8.8.8.8"), (XFF, "203.0.113.9")],
                "203.0.113.9",
            ),
            ("proxies alone", "10.0.0.1", vec![(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("a port", "10.0.0.1", vec![(XFF, "203.0.113.9:4711")], "203.0.113.9"),
            ("brackets", "10.0.0.1", vec![(XFF, "[2001:db8::9]")], "2001:db8::9"),
            ("brackets and a port", "10.0.0.1", vec![(XFF, "[2001:db8::9]:4711")], "2001:db8::9"),
            ("IPv4 as IPv6", "10.0.0.1", vec![(XFF, "::ffff:203.0.113.9")], "203.0.113.9"),
            ("a name", "10.0.0.1", vec![(XFF, "example.org")], "10.0.0.1"),
            ("garbage right of the client", "10.0.0.1", vec![(XFF, "203.0.113.9, x, 10.0.0.2")], "10.0.0.2"),
            (
                "garbage left of the client",
                "10.0.0.1",
                vec![(XFF, "'; DROP TABLE, 203.0.113.9")],
                "203.0.113.9",
            ),
            ("nothing", "10.0.0.1", vec![(XFF, "")], "10.0.0.1"),
            ("commas", "10.0.0.1", vec![(XFF, ",,,")], "10.0.0.1"),
            ("bytes that are no text", "10.0.0.1", vec![(XFF, "203.0.113.9, \u{e9}")], "10.0.0.1"),
            ("a list without end", "10.0.0.1", vec![(XFF, long.as_str())], "10.0.0.1"),
            (
                "a client behind more proxies than anybody has",
                "10.0.0.1",
                vec![(XFF, far.as_str())],
                "10.0.0.1",
            ),
            ("port too large", "10.0.0.1", vec![(XFF, "203.0.113.9:99999")], "10.0.0.1"),
            ("a zone", "10.0.0.1", vec![(XFF, "fe80::1%eth0")], "10.0.0.1"),
            (
                "RFC 7239",
                "10.0.0.1",
                vec![(FORWARDED, "for=203.0.113.9;proto=https;by=10.0.0.1")],
                "203.0.113.9",
            ),
            (
                "in another order and case",
                "10.0.0.1",
                vec![(FORWARDED, "proto=https; For=203.0.113.9")],
                "203.0.113.9",
            ),
            ("IPv6 in quotes", "10.0.0.1", vec![(FORWARDED, "for=\"[2001:db8::9]:4711\"")], "2001:db8::9"),
            (
                "several hops",
                "10.0.0.1",
                vec![(FORWARDED, "for=8.8.8.8, for=203.0.113.9, for=10.0.0.2")],
                "203.0.113.9",
            ),
            (
                "a comma in quotes is none",
                "10.0.0.1",
                vec![(FORWARDED, "for=203.0.113.9;x=\"a, for=8.8.8.8\"")],
                "203.0.113.9",
            ),
            ("a quote that does not end", "10.0.0.1", vec![(FORWARDED, "for=203.0.113.9;x=\"a")], "10.0.0.1"),
            ("unknown", "10.0.0.1", vec![(FORWARDED, "for=unknown")], "10.0.0.1"),
            ("hidden", "10.0.0.1", vec![(FORWARDED, "for=_secret")], "10.0.0.1"),
            (
                "twice in one element",
                "10.0.0.1",
                vec![(FORWARDED, "for=203.0.113.9;for=8.8.8.8")],
                "10.0.0.1",
            ),
            ("no pairs", "10.0.0.1", vec![(FORWARDED, "203.0.113.9")], "10.0.0.1"),
            (
                "both say the same",
                "10.0.0.1",
                vec![(XFF, "203.0.113.9"), (FORWARDED, "for=203.0.113.9")],
                "203.0.113.9",
            ),
            (
                "one of them came from the client",
                "10.0.0.1",
                vec![(XFF, "203.0.113.9"), (FORWARDED, "for=8.8.8.8")],
                "10.0.0.1",
            ),
        ] {
            assert_eq!(found(peer, &headers), expected, "{name}");
        }
    }

    #[test]
    fn without_trust_nothing_is_read() {
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"))]);
        let peer = Some("127.0.0.1".parse().expect("an address"));
        assert_eq!(client(peer, &headers, &[]), peer);
        assert_eq!(client(None, &headers, &["0.0.0.0/0".parse().expect("a network")]), None);
    }
}
