//! What to change when a check fails: sentences and blocks to paste.

use std::io;

fn text(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// The block of nginx that passes WebSockets; each line of it has its reason in docs/OPERATING.md.
const NGINX: &[&str] = &[
    "the proxy must pass the upgrade on; nginx, in its server block:",
    "    location / {",
    "        proxy_pass http://127.0.0.1:6001;",
    "        proxy_http_version 1.1;",
    "        proxy_set_header Upgrade $http_upgrade;",
    "        proxy_set_header Connection \"upgrade\";",
    "        proxy_set_header Host $host;",
    "        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    "        proxy_set_header X-Forwarded-Proto $scheme;",
    "        proxy_read_timeout 300s;",
    "    }",
];

pub(super) fn upgrade() -> Vec<String> {
    text(NGINX)
}

pub(super) fn lookup(host: &str) -> Vec<String> {
    vec![format!("make an A or AAAA record for {host}, or name the server by its address")]
}

pub(super) fn connect(error: &io::Error, port: u16) -> Vec<String> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => vec![
            "start the server: fanfare serve, or systemctl start fanfare".to_owned(),
            format!(
                "if it runs: FANFARE_LISTEN=0.0.0.0:{port} (127.0.0.1 is reached from its own machine alone)"
            ),
        ],
        io::ErrorKind::TimedOut => {
            vec![format!("let port {port} through the firewall, of the machine and of its provider")]
        }
        _ => text(&["look at the route to this address: ip route get ADDRESS"]),
    }
}

pub(super) fn tls_port() -> Vec<String> {
    text(&[
        "name the port on which the proxy speaks TLS (443 as a rule)",
        "or http:// here, and forceTLS: false with wsPort in pusher-js",
    ])
}

pub(super) fn plain_port() -> Vec<String> {
    text(&["if the port speaks TLS: https:// here, and forceTLS: true with wssPort in pusher-js"])
}

pub(super) fn renew() -> Vec<String> {
    text(&["certbot renew, then reload the proxy (systemctl reload nginx)"])
}

pub(super) fn clock() -> Vec<String> {
    text(&["set the clocks by NTP: timedatectl set-ntp true"])
}

pub(super) fn name(host: &str) -> Vec<String> {
    vec![format!("get a certificate for this name: certbot --nginx -d {host}")]
}

pub(super) fn chain() -> Vec<String> {
    text(&[
        "give the proxy the whole chain: fullchain.pem, not cert.pem",
        "of an authority of your own: SSL_CERT_FILE=ca.pem fanfare doctor …",
    ])
}

/// A plain HTTP answer that is not the wanted one.
pub(super) fn status(status: u16, location: Option<&str>) -> Vec<String> {
    match status {
        301 | 302 | 307 | 308 => {
            vec![format!("name the address where it leads: {}", location.unwrap_or("see Location"))]
        }
        502..=504 => text(&[
            "the proxy doesn't reach the server: is it running, and does proxy_pass name its FANFARE_LISTEN?",
        ]),
        404 => text(&[
            "another program answers here, or the proxy passes some paths only: pass all of them (location /)",
        ]),
        401 | 403 => {
            text(&["something in front asks for a password or blocks: let /app/, /apps/ and /up through"])
        }
        _ => log(),
    }
}

pub(super) fn log() -> Vec<String> {
    text(&["see the log of the proxy and of the server (journalctl -u fanfare)"])
}

/// A close code of the protocol; see docs/PROTOCOL.md.
pub(super) fn close(code: u16) -> Vec<String> {
    match code {
        4000 => text(&[
            "the app takes TLS only: https:// here; behind a proxy that ends TLS, FANFARE_TRUST_PROXY=true and X-Forwarded-Proto",
        ]),
        4001 => text(&["compare the key with `fanfare apps env ID`; is this the server that has the app?"]),
        4003 => text(&["the app is disabled: enable it on its settings page"]),
        4004 => text(&["the app's or its plan's connections are all in use: raise the limit, or close some"]),
        4009 => {
            text(&["the app lists origins, and the doctor comes with none: the rest can't be told from here"])
        }
        4100 | 4200..=4299 => {
            text(&["the server, or the app, is full, or the server is going away: try again in a moment"])
        }
        _ => text(&["see docs/PROTOCOL.md for this code"]),
    }
}

/// A refused request of the HTTP API.
pub(super) fn refused(status_code: u16, body: &str) -> Vec<String> {
    match status_code {
        401 if body.starts_with("Timestamp") => clock(),
        401 => text(&[
            "compare key and secret with `fanfare apps env ID`: no blank, no quotation mark, no line break",
            "if they are right, the proxy changes the request: proxy_pass without a path keeps path and query",
        ]),
        404 => text(&["compare the id with `fanfare apps list`; it is a number, not the key"]),
        403 => text(&["the app is disabled, or over its plan's messages for the day"]),
        other => status(other, None),
    }
}

pub(super) fn not_delivered() -> Vec<String> {
    text(&["the request and the socket reached different servers: one app's traffic must go to one of them"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_something_to_change() {
        for code in [200, 301, 400, 401, 403, 404, 426, 500, 502] {
            assert!(!status(code, None).is_empty() && !refused(code, "").is_empty(), "{code}");
        }
        assert!(upgrade().iter().any(|line| line.contains("proxy_set_header Upgrade $http_upgrade")));
        assert!(status(308, Some("https://x/"))[0].ends_with("https://x/"));
        assert!(refused(401, "Timestamp expired")[0].contains("clock"));
        for code in [4000, 4001, 4003, 4004, 4009, 4100, 4200, 4301] {
            assert!(!close(code).is_empty());
        }
    }
}
