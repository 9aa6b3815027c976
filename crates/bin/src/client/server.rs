//! Which server, and what is allowed towards it.

use super::Failure;
use std::{fmt, net::IpAddr};
use url::{Host, Url};

/// Asked when nothing says otherwise: what `bifrost dev` serves.
pub(super) const DEFAULT: &str = "http://localhost:8000";

/// Which server a command asks, and as whom.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArguments {
    /// Its address.
    #[arg(
        long,
        value_name = "URL",
        env = "BIFROST_URL",
        hide_env_values = true,
        help = "Address of the server [default: the one signed in to last, else http://localhost:8000]"
    )]
    pub url: Option<String>,
    /// Work in this organization (its id; for platform administrators)
    #[arg(long, value_name = "ID")]
    pub organization: Option<String>,
}

/// The address of a server, in one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(Url);

impl Server {
    /// Reads an address as a person writes it: without a scheme it is https, on this machine http.
    ///
    /// # Errors
    /// When it is none, or carries what does not belong there.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        let bad = |why: &str| {
            Failure::usage(format!(
                "`{}` is no address of a server: {why}",
                text.chars().take(200).collect::<String>()
            ))
        };
        let read = |text: &str| Url::parse(text).map_err(|error| bad(&error.to_string()));
        let mut url = if text.contains("://") {
            read(text)?
        } else {
            let here = read(&format!("http://{text}"))?;
            if is_this_machine(&here) { here } else { read(&format!("https://{text}"))? }
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("expected http://… or https://…"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("it names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Failure::usage(
                "an address carries no user name and no password: `bifrost login` asks for them",
            ));
        }
        url.set_query(None);
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// The address below it; each segment may be any text.
    pub(super) fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_this_machine(&self) -> bool {
        is_this_machine(&self.0)
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether what is sent can be read on the way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.is_tls() && !self.is_this_machine()
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Server::parse(text).expect("an address").to_string()
    }

    #[test]
    fn an_address_has_one_spelling() {
        for (given, wanted) in [
            ("http://localhost:8000", "http://localhost:8000"),
            (" HTTP://LocalHost:8000/ ", "http://localhost:8000"),
            ("localhost:8000", "http://localhost:8000"),
            ("127.0.0.1:80", "http://127.0.0.1"),
            ("localhost:443", "http://localhost:443"),
            ("[::1]:9", "http://[::1]:9"),
            ("bifrost.example", "https://bifrost.example"),
            ("https://example.org:443/bifrost/?x=1#y", "https://example.org/bifrost"),
        ] {
            assert_eq!(shown(given), wanted, "{given}");
        }
        for bad in ["", "ftp://x", "http://", "http://user:geheim@host", "http://host:99999", "a b"] {
            let failure = Server::parse(bad).expect_err(bad);
            assert!(!failure.to_string().contains("geheim"), "{failure}");
        }
    }

    #[test]
    fn segments_cannot_leave_their_place() {
        let server = Server::parse("https://example.org/bifrost").expect("an address");
        assert_eq!(
            server.at(&["api", "executions", "../x?y#z"]).as_str(),
            "https://example.org/bifrost/api/executions/..%2Fx%3Fy%23z"
        );
        let server = Server::parse("http://localhost:8000").expect("an address");
        assert_eq!(server.at(&["auth", "me"]).as_str(), "http://localhost:8000/auth/me");
    }

    #[test]
    fn what_is_open_is_known() {
        for (text, open) in [
            ("http://localhost:8000", false),
            ("http://127.8.8.8", false),
            ("http://[::1]", false),
            ("http://bifrost.localhost", false),
            ("https://bifrost.example", false),
            ("http://bifrost.example", true),
            ("http://192.168.1.4:8000", true),
            ("http://localhost.example", true),
        ] {
            assert_eq!(Server::parse(text).expect("an address").is_open(), open, "{text}");
        }
    }
}
