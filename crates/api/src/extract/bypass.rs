//! When a request without a token acts as the development user. One pure function, so that its table can be read in the
//! test below.

use super::body::{is_json, media_type};
use crate::state::{ApiSettings, DevBypass};
use axum::http::{HeaderMap, Method, Uri, header, uri::Authority};
use bifrost_app::auth::Environment;
use std::net::IpAddr;

/// What a request shows of where it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The peer of the connection.
    pub peer: Option<IpAddr>,
    /// The method.
    pub method: &'a Method,
    /// Names the host in HTTP/2.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Whether the request, which carries no token, acts as the development user. `Always` drops what binds it to this machine
/// (listener, peer, forwarding headers), and nothing that keeps other web sites out: a page may have its own name resolve to
/// this machine's address, so the name that was asked for has to be one of ours.
#[must_use]
pub fn holds(settings: &ApiSettings, head: Head<'_>) -> bool {
    if settings.environment != Environment::Development {
        return false;
    }
    let from_here = match settings.dev_bypass {
        DevBypass::Off => false,
        DevBypass::Always => host(head).is_some_and(|host| is_our_name(settings, &host)),
        DevBypass::Loopback => settings.listens_on_loopback && is_from_here(head),
    };
    from_here && is_own_origin(settings, head) && is_same_site(head.headers) && is_json_if_write(head)
}

/// Whether the request comes from this machine, straight and under this machine's name.
#[must_use]
pub fn is_from_here(head: Head<'_>) -> bool {
    head.peer.is_some_and(|peer| peer.to_canonical().is_loopback())
        && !is_forwarded(head.headers)
        && host(head).is_some_and(|host| is_this_machine(&host))
}

/// Whether anybody stands between: not every proxy says it in the same header.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        matches!(name.as_str(), "forwarded" | "via" | "x-real-ip")
            || name.as_str().starts_with("x-forwarded-")
    })
}

/// The host that was asked for; `None` when that is not clear.
fn host(head: Head<'_>) -> Option<Authority> {
    let mut values = head.headers.get_all(header::HOST).iter();
    let host = match (values.next(), values.next()) {
        (Some(host), None) => host.to_str().ok()?.parse().ok()?,
        (None, _) => head.uri.authority()?.clone(),
        (Some(_), Some(_)) => return None,
    };
    // `user@localhost` is no host.
    (!host.as_str().contains('@')).then_some(host)
}

fn is_this_machine(host: &Authority) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| host.host().eq_ignore_ascii_case(name))
}

/// The public URL's host, this machine's own name, or an address: nobody else can make a browser believe that these are theirs.
fn is_our_name(settings: &ApiSettings, host: &Authority) -> bool {
    let name = host.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    is_this_machine(host)
        || address.parse::<IpAddr>().is_ok()
        || settings.public_url.host_str().is_some_and(|ours| name.eq_ignore_ascii_case(ours))
}

/// No origin, or ours: the public URL's, or the host that was asked for.
fn is_own_origin(settings: &ApiSettings, head: Head<'_>) -> bool {
    let mut values = head.headers.get_all(header::ORIGIN).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(_), Some(_)) => false,
        (Some(origin), None) => origin.to_str().is_ok_and(|origin| {
            origin == settings.public_url.origin().ascii_serialization()
                || host(head).is_some_and(|host| origin.eq_ignore_ascii_case(&format!("http://{host}")))
        }),
    }
}

fn is_same_site(headers: &HeaderMap) -> bool {
    headers.get_all("sec-fetch-site").iter().all(|site| matches!(site.as_bytes(), b"none" | b"same-origin"))
}

/// A form of another web site could send anything but JSON. DELETE without a body is no form's either: browsers ask before.
fn is_json_if_write(head: Head<'_>) -> bool {
    match *head.method {
        Method::GET | Method::HEAD | Method::OPTIONS => true,
        Method::DELETE if !head.headers.contains_key(header::CONTENT_TYPE) => true,
        _ => is_json(&media_type(head.headers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    struct Case {
        settings: ApiSettings,
        peer: Option<IpAddr>,
        method: Method,
        headers: Vec<(&'static str, &'static str)>,
    }

    fn case() -> Case {
        let mut settings =
            ApiSettings::new(Environment::Development, "http://localhost:8000".parse().expect("a URL"));
        settings.dev_bypass = DevBypass::Loopback;
        settings.listens_on_loopback = true;
        Case {
            settings,
            peer: Some("127.0.0.1".parse().expect("an address")),
            method: Method::GET,
            headers: vec![("host", "localhost:8000")],
        }
    }

    fn check(change: impl FnOnce(&mut Case)) -> bool {
        let mut case = case();
        change(&mut case);
        let mut headers = HeaderMap::new();
        for (name, value) in case.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let head =
            Head { peer: case.peer, method: &case.method, uri: &Uri::from_static("/"), headers: &headers };
        holds(&case.settings, head)
    }

    #[test]
    fn the_table() {
        type Change = Box<dyn FnOnce(&mut Case)>;
        fn header(name: &'static str, value: &'static str) -> Change {
            Box::new(move |case| case.headers.push((name, value)))
        }
        fn host(value: &'static str) -> Change {
            Box::new(move |case| case.headers = vec![("host", value)])
        }
        fn write(method: Method, media_type: Option<&'static str>) -> Change {
            Box::new(move |case| {
                case.method = method;
                case.headers.extend(media_type.map(|value| ("content-type", value)));
            })
        }
        fn always(then: impl FnOnce(&mut Case) + 'static) -> Change {
            Box::new(move |case| {
                case.settings.dev_bypass = DevBypass::Always;
                then(case);
            })
        }
        let table: Vec<(&str, bool, Change)> = vec![
            ("plain", true, Box::new(|_| {})),
            ("switched off", false, Box::new(|c| c.settings.dev_bypass = DevBypass::Off)),
            ("testing", false, Box::new(|c| c.settings.environment = Environment::Testing)),
            ("production", false, Box::new(|c| c.settings.environment = Environment::Production)),
            ("listens elsewhere", false, Box::new(|c| c.settings.listens_on_loopback = false)),
            ("peer elsewhere", false, Box::new(|c| c.peer = Some([192, 0, 2, 1].into()))),
            ("peer unknown", false, Box::new(|c| c.peer = None)),
            ("peer ::1", true, Box::new(|c| c.peer = Some("::1".parse().expect("an address")))),
            (
                "peer mapped",
                true,
                Box::new(|c| c.peer = Some("::ffff:127.0.0.1".parse().expect("an address"))),
            ),
            ("forwarded", false, header("forwarded", "for=192.0.2.1")),
            ("x-forwarded-for", false, header("x-forwarded-for", "127.0.0.1")),
            ("x-forwarded-proto", false, header("x-forwarded-proto", "http")),
            ("x-forwarded-anything", false, header("x-forwarded-prefix", "")),
            ("via", false, header("via", "1.1 proxy")),
            ("x-real-ip", false, header("x-real-ip", "127.0.0.1")),
            ("host 127.0.0.1", true, host("127.0.0.1:8000")),
            ("host [::1]", true, host("[::1]:8000")),
            ("host upper case", true, host("LocalHost")),
            ("host rebound", false, host("attacker.example:8000")),
            ("host that begins like ours", false, host("localhost.attacker.example")),
            ("host with user", false, host("localhost@attacker.example")),
            ("host with user, reversed", false, host("attacker@localhost")),
            ("no host", false, Box::new(|c| c.headers.clear())),
            ("two hosts", false, header("host", "localhost:8000")),
            ("own origin", true, header("origin", "http://localhost:8000")),
            ("other origin", false, header("origin", "https://attacker.example")),
            ("other port", false, header("origin", "http://localhost:3000")),
            ("null origin", false, header("origin", "null")),
            ("fetched by us", true, header("sec-fetch-site", "same-origin")),
            ("typed in", true, header("sec-fetch-site", "none")),
            ("same site is not same origin", false, header("sec-fetch-site", "same-site")),
            ("cross site", false, header("sec-fetch-site", "cross-site")),
            ("write in JSON", true, write(Method::POST, Some("application/json; charset=utf-8"))),
            ("write in a JSON type", true, write(Method::PATCH, Some("application/merge-patch+json"))),
            ("write a form", false, write(Method::POST, Some("application/x-www-form-urlencoded"))),
            ("write text", false, write(Method::POST, Some("text/plain"))),
            ("write nothing", false, write(Method::POST, None)),
            ("delete", true, write(Method::DELETE, None)),
            ("delete with text", false, write(Method::DELETE, Some("text/plain"))),
            ("always: listener", true, always(|c| c.settings.listens_on_loopback = false)),
            ("always: peer", true, always(|c| c.peer = None)),
            ("always: proxy", true, always(|c| c.headers.push(("x-forwarded-for", "192.0.2.1")))),
            ("always: no host", false, always(|c| c.headers.clear())),
            ("always: address", true, always(|c| c.headers = vec![("host", "192.0.2.7:8000")])),
            ("always: IPv6 address", true, always(|c| c.headers = vec![("host", "[2001:db8::7]:8000")])),
            ("always: other host", false, always(|c| c.headers = vec![("host", "box.lan:8000")])),
            (
                "always: host of the public URL",
                true,
                always(|c| {
                    c.settings.public_url = "http://box.lan:8000".parse().expect("a URL");
                    c.headers = vec![("host", "Box.lan:8000"), ("origin", "http://box.lan:8000")];
                }),
            ),
            (
                "always: rebound with its own origin",
                false,
                always(|c| {
                    c.headers =
                        vec![("host", "attacker.example:8000"), ("origin", "http://attacker.example:8000")];
                }),
            ),
            ("always: cross site", false, always(|c| c.headers.push(("sec-fetch-site", "cross-site")))),
            ("always: origin", false, always(|c| c.headers.push(("origin", "https://attacker.example")))),
            ("always: form", false, always(|c| c.method = Method::POST)),
            ("always: production", false, always(|c| c.settings.environment = Environment::Production)),
        ];
        for (name, expected, change) in table {
            assert_eq!(check(change), expected, "{name}");
        }
    }
}
