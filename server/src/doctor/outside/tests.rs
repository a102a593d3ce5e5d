//! The way to servers that answer in a wrong way, and what is made of their answers.

use super::event::{encoded, signed};
use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;

/// A server that answers every connection with these bytes, after it read a request's head or the first bytes of TLS.
fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut got = Vec::new();
            let mut buffer = [0; 1_024];
            while got.first() != Some(&0x16) && !got.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => got.extend_from_slice(&buffer[..count]),
                }
            }
            let _ = stream.write_all(bytes);
        }
    });
    url
}

fn last(url: &str, app: &Credentials) -> Check {
    check(url, app).unwrap().pop().unwrap()
}

#[test]
fn a_proxy_that_drops_the_upgrade_gets_its_block() {
    let url = answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\nConnection: close\r\n\r\nspeak\n");
    let checks = check(&url, &Credentials::default()).unwrap();
    let states: Vec<_> = checks.iter().map(|check| (check.name, check.state)).collect();
    assert_eq!(
        states,
        [("name", State::Good), ("tcp", State::Good), ("http", State::Failed), ("websocket", State::Failed)]
    );
    assert!(checks[3].text.contains("answered 400: speak"), "{}", checks[3].text);
    assert!(checks[3].fix.iter().any(|line| line.contains("Upgrade $http_upgrade")));
}

#[test]
fn other_answers_are_told_apart() {
    for (bytes, says, fix) in [
        (&b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"[..], "answered 502", "proxy_pass"),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: https://x.test/\r\nContent-Length: 0\r\n\r\n",
            "301",
            "https://x.test/",
        ),
    ] {
        let check = last(&answering(bytes), &Credentials::default());
        assert_eq!((check.name, check.state), ("websocket", State::Failed));
        assert!(check.text.contains(says) && check.fix.concat().contains(fix), "{check:?}");
    }
    for (bytes, says) in [
        (&b"\x15\x03\x01\x00\x02\x02\x46"[..], "TLS"),
        (b"", "without an answer"),
        (b"SSH-2.0-x\r\n", "not HTTP"),
    ] {
        let check = last(&answering(bytes), &Credentials::default());
        assert_eq!((check.name, check.state), ("http", State::Failed));
        assert!(check.text.contains(says) && check.fix[0].contains("https://"), "{check:?}");
    }
}

#[test]
fn tls_to_a_port_without_it_is_named() {
    let url = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").replace("http://", "https://");
    let check = last(&url, &Credentials::default());
    assert_eq!((check.name, check.state), ("tls", State::Failed));
    assert_eq!(check.text, "the port doesn't speak TLS");
    assert!(check.fix.concat().contains("forceTLS: false"), "{check:?}");
}

#[test]
fn a_closed_port_and_a_missing_name_are_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let check = last(&format!("http://127.0.0.1:{port}"), &Credentials::default());
    assert_eq!((check.name, check.state), ("tcp", State::Failed));
    assert!(check.text.contains("nothing listens") && check.fix[0].contains("fanfare serve"), "{check:?}");
    let check = last("http://no-such-host.invalid", &Credentials::default());
    assert_eq!((check.name, check.state), ("name", State::Failed));
}

#[test]
fn clocks_are_compared_by_the_date_of_an_answer() {
    let now: Timestamp = "2026-11-24T12:10:26Z".parse().unwrap();
    for (date, state, says) in [
        ("Tue, 24 Nov 2026 12:10:26 GMT", State::Good, "agree"),
        ("Tue, 24 Nov 2026 12:10:24 GMT", State::Good, "2 s ahead of"),
        ("Tue, 24 Nov 2026 12:12:06 GMT", State::Noted, "100 s behind"),
        ("Tue, 24 Nov 2026 11:58:46 GMT", State::Failed, "700 s ahead of"),
    ] {
        let check = clock(date, now).unwrap();
        assert_eq!(check.state, state, "{date}");
        assert!(check.text.contains(says) && check.fix.is_empty() == (state == State::Good), "{check:?}");
    }
    assert!(clock("soon", now).is_none());
}

#[test]
fn a_publish_is_signed_as_the_server_checks_it() {
    let path = signed("3", "a key", "secret", "{}");
    let (path, query) = path.split_once('?').unwrap();
    let pairs = protocol::query::parse(query, protocol::query::Plus::Literal);
    let given = &pairs.iter().find(|(name, _)| name == "auth_signature").unwrap().1;
    let text = protocol::signature::string_to_sign("POST", path, &pairs);
    assert!(protocol::signature::verify("secret", &text, given) && path == "/apps/3/events");
}

#[test]
fn a_servers_words_are_one_short_line_without_control_characters() {
    assert_eq!(words("\n  first\u{1b}[31m\nsecond"), ": first[31m");
    assert_eq!(words(" \n"), "");
    assert!(words(&"x".repeat(5_000)).len() <= WORDS_MAX + 2);
    assert_eq!(encoded("a/b ?"), "a%2Fb%20%3F");
}
