//! The list of allowed origins as people type it: one a line, checked, and written as the data plane compares it.
//!
//! A line is `*`, a host (`shop.example`), a host with a leading wildcard (`*.shop.example`, any scheme and port), or a
//! full origin (`https://shop.example:8443`). Nothing of a URL after the port.

/// Most origins of one app.
pub const ORIGINS_MAX: usize = 50;
/// Most characters of one origin: a host name has at most 253.
const ORIGIN_CHARS_MAX: usize = 270;
/// Of a refused line, the message shows this many characters.
const SHOWN_CHARS: usize = 60;

/// What's wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginsError {
    /// Over [`ORIGINS_MAX`].
    TooMany,
    /// This line (from 1) isn't an origin; its text, shortened.
    Line(usize, String),
}

/// Reads one origin a line; empty lines and repetitions drop out, case and a closing slash don't matter.
pub fn parse_list(text: &str) -> Result<Vec<String>, OriginsError> {
    let mut list: Vec<String> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let origin = parse(line)
            .ok_or_else(|| OriginsError::Line(index + 1, line.chars().take(SHOWN_CHARS).collect()))?;
        if !list.contains(&origin) {
            list.push(origin);
        }
        if list.len() > ORIGINS_MAX {
            return Err(OriginsError::TooMany);
        }
    }
    Ok(list)
}

fn parse(line: &str) -> Option<String> {
    if line == "*" {
        return Some("*".to_owned());
    }
    let line = line.strip_suffix('/').unwrap_or(line);
    if line.len() > ORIGIN_CHARS_MAX {
        return None;
    }
    let mut origin = line.to_ascii_lowercase();
    // A browser leaves the scheme's own port out, so an origin with it would never match.
    for (scheme, port) in [("https://", ":443"), ("http://", ":80")] {
        if origin.starts_with(scheme) && origin.ends_with(port) {
            origin.truncate(origin.len() - port.len());
        }
    }
    let authority = match origin.split_once("://") {
        Some((scheme, rest)) => scheme_ok(scheme).then_some(rest)?,
        None => &origin,
    };
    if authority.starts_with("*.") && authority.len() < origin.len() {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port != 0)) {
        return None;
    }
    if port.is_some() && host.starts_with("*.") {
        return None;
    }
    host_ok(host).then(|| origin.clone())
}

/// Browsers send `https://…`; apps in a shell such as Capacitor or Tauri have schemes of their own.
fn scheme_ok(scheme: &str) -> bool {
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    scheme.bytes().next().is_some_and(|b| b.is_ascii_lowercase()) && scheme.bytes().all(rest)
}

fn host_ok(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let host = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    !host.is_empty() && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_host_with_perhaps_a_scheme_and_a_port() {
        let good = [
            ("*", "*"),
            ("shop.example", "shop.example"),
            ("*.shop.example", "*.shop.example"),
            ("https://Shop.Example/", "https://shop.example"),
            ("https://shop.example:443", "https://shop.example"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:5173", "http://[::1]:5173"),
            ("capacitor://localhost", "capacitor://localhost"),
        ];
        for (text, origin) in good {
            assert_eq!(parse_list(text), Ok(vec![origin.to_owned()]), "{text}");
        }
        let bad = [
            "https://shop.example/path",
            "https://",
            "https://*.shop.example",
            "*.shop.example:8443",
            "shop example",
            "a*.example",
            "*.*.example",
            "shop..example",
            "http://x:0",
            "http://x:99999",
            "-x.example",
            "https://user@shop.example",
            "javascript:alert(1)",
            "\"><script>",
        ];
        for text in bad {
            assert!(parse_list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_names_the_line_that_is_wrong() {
        assert_eq!(parse_list("a.example\n\nb c\n"), Err(OriginsError::Line(3, "b c".to_owned())));
        assert_eq!(parse_list("\r\na.example\r\nA.example\r\n"), Ok(vec!["a.example".to_owned()]));
        let many: Vec<String> = (0..=ORIGINS_MAX).map(|i| format!("h{i}.example")).collect();
        assert_eq!(parse_list(&many.join("\n")), Err(OriginsError::TooMany));
    }
}
