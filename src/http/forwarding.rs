//! Signs that a request was passed on by a proxy, and hosts that name this machine and nothing else.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::facts::Facts;

/// Fields that proxies and content delivery networks add, by their whole name in lower case. `Forwarded` is
/// RFC 7239, `Via` RFC 9110 §7.6.3, `CDN-Loop` RFC 8586, `Early-Data` RFC 8470.
#[rustfmt::skip]
const NAMES: [&str; 20] = [
    "forwarded", "via", "cdn-loop", "early-data",
    "client-ip", "true-client-ip", "incap-client-ip", "front-end-https", "max-forwards",
    "x-client-ip", "x-cluster-client-ip", "x-host", "x-remote-addr", "x-remote-ip", "x-request-start", "x-scheme",
    "x-url-scheme", "x-varnish", "x-cloud-trace-context", "x-appengine-user-ip",
];

/// The same by how their names begin.
#[rustfmt::skip]
const PREFIXES: [&str; 16] = [
    "x-forward", "x-real-", "x-original-", "x-proxy", "proxy-", "x-envoy-", "x-traefik-", "x-amz-cf-", "x-amzn-",
    "x-azure-", "x-arr-", "cf-", "cloudfront-", "fastly-", "fly-", "akamai-",
];

/// Whether a request says that a proxy passed it on. A proxy need not say so: that none does proves nothing.
/// O(head).
pub(crate) fn is_forwarded(request: &Facts<'_>) -> bool {
    request.all_lines().any(|(name, _)| {
        let begins = |prefix: &str| {
            let begin = name.get(..prefix.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        NAMES.iter().any(|name| is(name)) || PREFIXES.iter().any(|prefix| begins(prefix))
    })
}

/// Whether a request names this machine as such: its Host, and its target where that has an authority.
/// Names from DNS do not: whoever owns one can have it lead here, and read the answer in a browser of
/// this machine (DNS rebinding). A request without Host names nothing. O(head).
pub(crate) fn names_this_machine(request: &Facts<'_>) -> bool {
    let mut hosts = request
        .all_lines()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"host"))
        .map(|(_, value)| value);
    let host = hosts.next().is_some_and(is_loopback);
    host && hosts.next().is_none() && request.authority().is_none_or(is_loopback)
}

/// Whether a host, perhaps with a port, is `localhost` or a literal loopback address.
fn is_loopback(authority: &[u8]) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else {
        return false;
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((host, rest)) => (
                host,
                rest.strip_prefix(':').or(rest.is_empty().then_some("")),
            ),
            None => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let is_port = port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let is_host = match authority.starts_with('[') {
        true => host
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| address.to_canonical().is_loopback()),
        false => {
            host.eq_ignore_ascii_case("localhost")
                || host
                    .parse::<Ipv4Addr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    };
    is_port && is_host
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::facts::list::of_both;
    use crate::http::request::{self, HeadLimits};

    const LIMITS: HeadLimits = HeadLimits {
        target_length_max: 1_000,
        head_length_max: 8_000,
        field_count_max: 50,
    };

    fn check<T>(text: &str, of: impl FnOnce(&Facts<'_>) -> T) -> T {
        let head = request::parse(text.as_bytes(), &LIMITS)
            .expect("valid")
            .expect("complete");
        of(&head.facts(text.as_bytes()))
    }

    #[test]
    fn what_proxies_add_is_a_sign_of_them() {
        #[rustfmt::skip]
        let cases = [
            ("Forwarded: for=192.0.2.1",         true),
            ("VIA: 1.1 p",                       true),
            ("x-forwarded-for: 192.0.2.1",       true),
            ("X-Forwarded-Port: 80",             true),
            ("X-Forwarded-Server: p",            true),
            ("X-Forward-For: 192.0.2.1",         true),
            ("X-Real-IP: 192.0.2.1",             true),
            ("CF-Connecting-IP: 192.0.2.1",      true),
            ("CF-Ray: 1",                        true),
            ("True-Client-IP: 192.0.2.1",        true),
            ("X-Envoy-External-Address: x",      true),
            ("Fastly-Client-IP: x",              true),
            ("X-Original-URL: /",                true),
            ("Proxy-Connection: keep-alive",     true),
            ("CDN-Loop: x",                      true),
            ("Accept: */*",                      false),
            ("X-Requested-With: XMLHttpRequest", false),
            ("Viable: yes",                      false),
            ("Cookie: via: 1",                   false),
        ];
        for (field, want) in cases {
            let (name, value) = field.split_once(": ").expect("a field line");
            let got = of_both("GET", "a", "/", &[(name, value)], is_forwarded);
            assert_eq!(got, want, "{field}");
        }
    }

    #[test]
    fn only_literal_addresses_and_localhost_name_this_machine() {
        #[rustfmt::skip]
        let cases = [
            ("localhost",                true),
            ("LocalHost:8080",           true),
            ("127.0.0.1",                true),
            ("127.0.0.1:8080",           true),
            ("127.8.9.1:",               true),
            ("[::1]",                    true),
            ("[::1]:8080",               true),
            ("[::ffff:127.0.0.1]:80",    true),
            ("[0:0:0:0:0:0:0:1]",        true),
            ("localhost.",               false),
            ("localhost.example",        false),
            ("a.localhost",              false),
            ("rebind.example:8080",      false),
            ("127.0.0.1.example",        false),
            ("127.1",                    false),
            ("0.0.0.0:8080",             false),
            ("[::]",                     false),
            ("10.0.0.1",                 false),
            ("[2001:db8::1]",            false),
            ("2130706433",               false),
            ("0x7f.0.0.1",               false),
        ];
        for (host, want) in cases {
            assert_eq!(is_loopback(host.as_bytes()), want, "{host}");
            let got = of_both("GET", host, "/", &[], names_this_machine);
            assert_eq!(got, want, "{host}");
            let text = format!("GET http://{host}/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(
                check(&text, names_this_machine),
                want,
                "{host} in the target"
            );
        }
        for junk in [
            "",
            ":80",
            "[::1",
            "[::1]x",
            "[127.0.0.1]",
            "::1",
            "localhost:http",
        ] {
            assert!(!is_loopback(junk.as_bytes()), "{junk}");
        }
        let text = "GET / HTTP/1.0\r\n\r\n";
        assert!(!check(text, names_this_machine), "no Host at all");
    }
}
