//! What a client says of itself when it connects: path and query.

use protocol::close::CloseCode;
use protocol::json::clip;
use protocol::limits::CLIENT_VERSION_CHARS_MAX;
use protocol::query::{self, Plus};

/// A client's introduction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// 5, 6 or 7.
    pub(crate) protocol: u8,
    /// Library and version, for people.
    pub(crate) sdk: Option<String>,
}

/// Reads the query of `/app/{key}`. Unknown parameters are ignored.
pub(crate) fn parse(query: &str) -> Result<Handshake, (CloseCode, String)> {
    let pairs = query::parse(query, Plus::Literal);
    let get = |name: &str| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| &**v).filter(|v| !v.is_empty());
    let version = get("version");
    if version.is_some_and(|v| v.len() > CLIENT_VERSION_CHARS_MAX || v.chars().any(char::is_control)) {
        return Err((
            CloseCode::BadVersion,
            format!("Invalid version: at most {CLIENT_VERSION_CHARS_MAX} printable characters"),
        ));
    }
    let Some(protocol) = get("protocol") else {
        return Err((CloseCode::NoProtocol, "No protocol version given: add protocol=7 to the query".into()));
    };
    let number = protocol.parse().ok().filter(|p| (5..=7).contains(p));
    let Some(protocol) = number else {
        let (given, _) = clip(protocol, 20);
        return Err((
            CloseCode::UnsupportedProtocol,
            format!("Unsupported protocol version {given}: this server speaks 5, 6 and 7"),
        ));
    };
    let client = get("client").map(|c| if c == "js" { "pusher-js" } else { clip(c, 64).0 });
    let sdk = match (client, version) {
        (Some(client), Some(version)) => Some(format!("{client} {version}")),
        (client, version) => client.or(version).map(str::to_owned),
    };
    Ok(Handshake { protocol, sdk })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_official_client_is_understood() {
        for (query, protocol, sdk) in [
            ("protocol=7&client=js&version=8.6.0&flash=false", 7, Some("pusher-js 8.6.0")),
            ("client=java-client&protocol=5&version=0.0.0-dev", 5, Some("java-client 0.0.0-dev")),
            ("protocol=6", 6, None),
        ] {
            assert_eq!(parse(query).unwrap(), Handshake { protocol, sdk: sdk.map(str::to_owned) });
        }
        for (query, code) in [
            ("", CloseCode::NoProtocol),
            ("protocol=", CloseCode::NoProtocol),
            ("protocol=4", CloseCode::UnsupportedProtocol),
            ("protocol=8", CloseCode::UnsupportedProtocol),
            ("protocol=seven", CloseCode::UnsupportedProtocol),
            ("protocol=99999999999", CloseCode::UnsupportedProtocol),
            ("protocol=7&version=%0a", CloseCode::BadVersion),
            (&*format!("protocol=7&version={}", "1".repeat(65)), CloseCode::BadVersion),
        ] {
            assert_eq!(parse(query).unwrap_err().0, code, "{query}");
        }
    }
}
