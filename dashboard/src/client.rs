//! Where a request comes from and which address it used: peer, scheme, host. Nothing here is a permission.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use http::header::HOST;
use http::request::Parts;

use crate::Dashboard;

/// The visitor's address, put into the request's extensions by the accept loop. Missing: 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(pub IpAddr);

/// Extension of a request that arrived over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverTls;

impl ClientAddr {
    pub(crate) fn of(extensions: &http::Extensions) -> ClientAddr {
        extensions.get::<ClientAddr>().copied().unwrap_or(ClientAddr(IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddr {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(ClientAddr::of(&parts.extensions))
    }
}

/// The public address of this server, as snippets and links need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Encrypted: `https` and `wss`.
    pub tls: bool,
    /// Host name or address, without a port; IPv6 in brackets.
    pub host: String,
    /// The port, written out even when it's the scheme's own.
    pub port: u16,
}

impl Endpoint {
    /// Reads `http[s]://host[:port]`; a path after it is ignored.
    pub fn parse(url: &str) -> Option<Endpoint> {
        let (tls, rest) = match url.trim().split_once("://")? {
            ("https", rest) => (true, rest),
            ("http", rest) => (false, rest),
            _ => return None,
        };
        Endpoint::from_authority(tls, rest.split(['/', '?', '#']).next().unwrap_or(rest))
    }

    /// Reads `host[:port]`. Only characters of host names pass, so the result can stand in headers and code.
    pub fn from_authority(tls: bool, authority: &str) -> Option<Endpoint> {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let valid = match bracketed {
            Some(inner) => {
                !inner.is_empty() && inner.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'))
            }
            None => !host.is_empty() && host.len() <= 253 && host.chars().all(plain),
        };
        (valid && port != 0).then(|| Endpoint { tls, host: host.to_ascii_lowercase(), port })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// `ws` or `wss`.
    pub fn ws_scheme(&self) -> &'static str {
        if self.tls { "wss" } else { "ws" }
    }

    /// Is the port the one that the scheme means anyway?
    pub fn default_port(&self) -> bool {
        self.port == if self.tls { 443 } else { 80 }
    }

    /// `host`, or `host:port` when the port isn't the scheme's own.
    pub fn authority(&self) -> String {
        if self.default_port() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// `scheme://host[:port]`.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }
}

/// The two addresses of a request: the public one for snippets, and whether this very request was encrypted.
#[derive(Clone, Debug)]
pub struct RequestOrigin {
    /// For snippets: `FANFARE_URL`, else the address this request used.
    pub endpoint: Endpoint,
    /// This request came over TLS, here or at the proxy in front.
    pub https: bool,
    /// `host[:port]` of this request, if it's well-formed.
    pub host: Option<String>,
}

impl RequestOrigin {
    /// Reads extensions and `Host`. What proxies say has been read by whoever put the extensions in.
    pub fn of(parts: &Parts, dashboard: &Dashboard) -> RequestOrigin {
        let config = dashboard.config();
        let public = config.public_url.as_deref().and_then(Endpoint::parse);
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(|a| a.as_str()));
        // A TLS proxy that we weren't told about still shows: the visitor asked for the https address we are known by.
        let by_name = public
            .as_ref()
            .is_some_and(|p| p.tls && host.is_some_and(|h| h.eq_ignore_ascii_case(&p.authority())));
        let https = parts.extensions.get::<OverTls>().is_some() || by_name;
        let own = host.and_then(|h| Endpoint::from_authority(https, h));
        let host = own.as_ref().map(Endpoint::authority);
        let fallback =
            Endpoint { tls: https, host: "localhost".to_owned(), port: if https { 443 } else { 80 } };
        RequestOrigin { endpoint: public.or(own).unwrap_or(fallback), https, host }
    }
}

impl FromRequestParts<Dashboard> for RequestOrigin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Dashboard) -> Result<Self, Infallible> {
        Ok(RequestOrigin::of(parts, state))
    }
}

impl FromRequestParts<Dashboard> for Endpoint {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Dashboard) -> Result<Self, Infallible> {
        Ok(RequestOrigin::of(parts, state).endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_reads_what_people_put_into_the_public_url() {
        let cases = [
            ("https://ws.example.com", Some((true, "ws.example.com", 443))),
            ("https://ws.example.com/", Some((true, "ws.example.com", 443))),
            ("http://127.0.0.1:6001", Some((false, "127.0.0.1", 6001))),
            ("http://[::1]:6001", Some((false, "[::1]", 6001))),
            ("http://[::1]", Some((false, "[::1]", 80))),
            ("ftp://x", None),
            ("https://a\"b", None),
            ("https://", None),
            ("http://x:0", None),
        ];
        for (url, expected) in cases {
            let got = Endpoint::parse(url);
            let expected = expected.map(|(tls, host, port)| Endpoint { tls, host: host.to_owned(), port });
            assert_eq!(got, expected, "{url}");
        }
    }
}
