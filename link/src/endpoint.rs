//! Where others are called over HTTP: today's axis, receivers of webhooks, time-stamping authorities. In the clear only on this machine, unless what
//! is said is no secret and what is answered is signed.

use std::{fmt, net::IpAddr, str::FromStr};

use hyper::Uri;

/// `http://` or `https://`, host, port, path with query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host name or address, in lower case, an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

/// Why a text is no endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not such an address.
    #[error("not an address such as https://qlvb.example.gov.vn/hooks")]
    Malformed,
    /// In the clear over the network.
    #[error(
        "http is spoken with this machine alone (127.0.0.1, ::1, localhost), for everyone on the way could read along; others need https"
    )]
    Clear,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let endpoint = Self::clear_too(text)?;
        let host = &endpoint.host;
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if endpoint.tls || here { Ok(endpoint) } else { Err(EndpointError::Clear) }
    }
}

impl Endpoint {
    /// As its [`FromStr`], and in the clear over the network, too.
    ///
    /// # Errors
    /// When it is no such address.
    pub fn clear_too(text: &str) -> Result<Self, EndpointError> {
        let uri: Uri = text.parse().map_err(|_| EndpointError::Malformed)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(EndpointError::Malformed),
        };
        let authority = uri.authority().ok_or(EndpointError::Malformed)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let climbs = uri.path().split('/').any(|segment| {
            let segment = segment.to_ascii_lowercase().replace("%2e", ".");
            segment == ".." || segment == "."
        });
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        if host.is_empty() || port == 0 || authority.as_str().contains('@') || climbs || uri.path().contains('\\') {
            return Err(EndpointError::Malformed);
        }
        Ok(Self { tls, host, port, path: path.to_owned() })
    }

    /// Whether this is at or below `allowed`: the same host and port, and a path that goes on from its path.
    #[must_use]
    pub fn is_below(&self, allowed: &Self) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        let goes_on = path
            .strip_prefix(&allowed.path)
            .is_some_and(|rest| rest.is_empty() || allowed.path.ends_with('/') || rest.starts_with('/'));
        (self.tls, &self.host, self.port) == (allowed.tls, &allowed.host, allowed.port) && goes_on
    }

    /// As the header `Host` has it.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_those_that_leak_or_climb_are_not() {
        let read = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.to_string());
        assert_eq!(read("https://QLVB.example.gov.vn/a?b=1").as_deref(), Ok("https://qlvb.example.gov.vn:443/a?b=1"));
        assert_eq!(read("http://127.0.0.1:9000").as_deref(), Ok("http://127.0.0.1:9000/"));
        assert_eq!(read("http://[::1]:9/x").as_deref(), Ok("http://[::1]:9/x"));
        for clear in ["http://qlvb.example.gov.vn/", "http://10.0.0.1/", "http://127.0.0.1.example.org/"] {
            assert_eq!(read(clear), Err(EndpointError::Clear), "{clear}");
        }
        for bad in [
            "",
            "qlvb",
            "/a",
            "ftp://a/",
            "https://",
            "https://u:p@a/",
            "https://a/b/../c",
            "https://a/%2E%2e/c",
            "https://a/b\\c",
            "https://a b/",
            "https://a:0/",
            "axis.example",
        ] {
            assert_eq!(read(bad), Err(EndpointError::Malformed), "{bad}");
        }
    }

    #[test]
    fn what_is_allowed_is_a_host_with_a_port_and_whole_steps_of_a_path() {
        let below = |text: &str, allowed: &str| {
            text.parse::<Endpoint>().unwrap().is_below(&allowed.parse::<Endpoint>().unwrap())
        };
        assert!(below("https://a/hooks/x?y", "https://a/hooks"));
        assert!(below("https://a/hooks?y=/", "https://a/hooks"));
        assert!(below("https://a/anything", "https://a/"));
        assert!(!below("https://a/hooksome", "https://a/hooks"));
        assert!(!below("https://a:444/hooks", "https://a/hooks"));
        assert!(!below("https://b/hooks", "https://a/hooks"));
        assert!(!below("http://127.0.0.1/", "https://127.0.0.1/"));
        assert!(!below("https://a/?/hooks", "https://a/hooks"));
    }
}
