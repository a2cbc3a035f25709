//! The few things we do with URLs: build them from checked parts, read one that a server sent,
//! and compare origins.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ureq::http::Uri;

/// The longest URL we follow. Presigned ones have about two thousand characters.
const URL_MAX: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Whom a connection is to: credentials belong to one origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    /// In lower case; an IPv6 address has its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// An absolute http or https URL without user and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Begins with a slash; has the query.
    path: String,
}

impl Url {
    /// Returns `scheme://authority/path`; `path` must be made of checked parts.
    pub(crate) fn build(scheme: Scheme, authority: &str, path: &str) -> Result<Self, String> {
        format!("{}://{authority}/{path}", scheme.name()).parse()
    }

    /// Returns the URL that `location`, from an answer to `self`, means.
    pub(crate) fn join(&self, location: &str) -> Result<Self, String> {
        let location = location.trim();
        if location.is_empty() {
            return Err("empty location".to_owned());
        }
        let scheme_end = location.find("://");
        if scheme_end.is_some_and(|end| !location[..end].contains(['/', '?', '#'])) {
            return location.parse();
        }
        let here = &self.origin;
        if let Some(rest) = location.strip_prefix("//") {
            return format!("{}://{rest}", here.scheme.name()).parse();
        }
        let base = self.path.split('?').next().unwrap_or("/");
        let path = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{base}{location}")
        } else {
            let folder = &base[..=base.rfind('/').unwrap_or(0)];
            format!("{folder}{location}")
        };
        format!("{here}{path}").parse()
    }

    /// Returns the same URL with one more query parameter, percent-encoded.
    #[must_use]
    pub(crate) fn with_query(mut self, name: &str, value: &str) -> Self {
        self.path
            .push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&percent_encode(value));
        self
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > URL_MAX {
            return Err("URL is too long".to_owned());
        }
        let text = text.split('#').next().unwrap_or(text);
        let uri: Uri = text.parse().map_err(|_| "malformed URL".to_owned())?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err("neither http nor https".to_owned()),
        };
        let authority = uri.authority().ok_or("URL without a host")?;
        if authority.as_str().contains('@') {
            return Err("URL with a user name".to_owned());
        }
        let host = authority.host().to_ascii_lowercase();
        let named = host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if host.is_empty() || !(named || bare_ip(&host).is_some()) {
            return Err("malformed host".to_owned());
        }
        let port_ok = authority.as_str().len() == host.len() || authority.port_u16().is_some();
        let port = authority.port_u16().unwrap_or(scheme.default_port());
        if port == 0 || !port_ok {
            return Err("malformed port".to_owned());
        }
        let path = uri.path_and_query().map_or("/", |p| {
            if p.as_str().is_empty() {
                "/"
            } else {
                p.as_str()
            }
        });
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Ok(Self {
            origin: Origin { scheme, host, port },
            path,
        })
    }
}

impl Origin {
    /// Returns `host:port`, for messages.
    pub(crate) fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Returns the address, if the host is one and not a name.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        bare_ip(&self.host)
    }

    /// Says whether this can only be this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }

    /// Says whether the host is an address of a link (where clouds serve their metadata), or none
    /// that can be connected to.
    pub(crate) fn is_link_local(&self) -> bool {
        match self.ip() {
            Some(IpAddr::V4(v4)) => v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast(),
            Some(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
                Some(v4) => v4.is_link_local() || v4.is_unspecified(),
                None => v6.is_unicast_link_local() || v6.is_unspecified(),
            },
            None => false,
        }
    }
}

/// Says whether a host, without port, can only be this machine.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    match bare_ip(&host) {
        Some(IpAddr::V6(v6)) => {
            v6 == Ipv6Addr::LOCALHOST || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
        }
        Some(IpAddr::V4(v4)) => v4.is_loopback(),
        None => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn bare_ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok().filter(IpAddr::is_ipv4),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Encodes all but RFC 3986's unreserved characters.
pub(crate) fn percent_encode(text: &str) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn joins_what_servers_send() {
        let base = url("https://r.example:8443/v2/a/blobs/x?y=1");
        for (location, means) in [
            ("https://cdn.example/b?s=%2f", "https://cdn.example/b?s=%2f"),
            ("//cdn.example/b", "https://cdn.example/b"),
            ("/other", "https://r.example:8443/other"),
            ("other", "https://r.example:8443/v2/a/blobs/other"),
            ("?z=2", "https://r.example:8443/v2/a/blobs/x?z=2"),
            (
                "/back?to=http://x/",
                "https://r.example:8443/back?to=http://x/",
            ),
            ("https://cdn.example#frag", "https://cdn.example/"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), means);
        }
        for bad in [
            "",
            "  ",
            "ftp://x/",
            "https://user:pw@x/",
            "https://",
            "https://x:0/",
            "https://x:99999/",
            "http://a b/",
        ] {
            assert!(base.join(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn origins_compare_by_scheme_host_and_port() {
        assert_eq!(url("https://A.b/").origin, url("https://a.B:443/x").origin);
        assert_ne!(url("https://a.b/").origin, url("http://a.b/").origin);
        assert_ne!(url("https://a.b/").origin, url("https://a.b:444/").origin);
    }

    #[test]
    fn knows_special_addresses() {
        for text in [
            "http://169.254.169.254/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.1.1]/",
        ] {
            assert!(url(text).origin.is_link_local(), "{text}");
        }
        for text in [
            "http://127.0.0.2/",
            "http://[::1]:5000/",
            "http://localhost:1/",
        ] {
            assert!(url(text).origin.is_loopback(), "{text}");
        }
        assert!(!url("http://localhost.evil.example/").origin.is_loopback());
    }
}
