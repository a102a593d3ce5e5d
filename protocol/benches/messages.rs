//! Times what happens once for each message of a client and for each publish: parsing, signatures, encoding. `make bench`.

use divan::{Bencher, black_box};
use protocol::client_message::ClientMessage;
use protocol::query::{Plus, parse};
use protocol::server_message::channel_event;
use protocol::signature::{body_md5, channel_auth, string_to_sign, verify, verify_channel_auth};
use serde_json::value::RawValue;

const SECRET: &str = "7ad3773142a6692b25b8";
const PATH: &str = "/apps/1001/events";

fn main() {
    divan::main();
}

const MESSAGES: [(&str, &str); 4] = [
    ("ping", r#"{"event":"pusher:ping","data":{}}"#),
    ("subscribe_public", r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"prices"}}"#),
    (
        "subscribe_presence",
        r#"{"event":"pusher:subscribe","data":{"auth":"278d425bdf160c739803:31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80","channel":"presence-room","channel_data":"{\"user_id\":10,\"user_info\":{\"name\":\"Mr. Channels\"}}"}}"#,
    ),
    (
        "client_event",
        r#"{"event":"client-typing","channel":"private-room","data":{"user":"ann","at":[1,2,3]}}"#,
    ),
];

#[divan::bench(args = MESSAGES.map(|(name, _)| name))]
fn parse_client_message(bencher: Bencher, name: &str) {
    let (_, text) = MESSAGES.into_iter().find(|(other, _)| *other == name).unwrap_or(MESSAGES[0]);
    bencher.bench(|| ClientMessage::parse(black_box(text)).is_ok());
}

/// The whole check of a signed POST: query, text to sign, signature, MD5 of the body.
#[divan::bench(args = [64, 1_024, 10_240])]
fn check_signed_request(bencher: Bencher, data_bytes: usize) {
    let body = format!(r#"{{"name":"e","channel":"c","data":"{}"}}"#, "x".repeat(data_bytes));
    let unsigned = format!(
        "auth_key=278d425bdf160c739803&auth_timestamp=1700000000&auth_version=1.0&body_md5={}",
        body_md5(body.as_bytes())
    );
    let signature =
        protocol::signature::sign(SECRET, &string_to_sign("POST", PATH, &parse(&unsigned, Plus::Literal)));
    let query = format!("{unsigned}&auth_signature={signature}");
    let check = || {
        let pairs = parse(black_box(&query), Plus::Literal);
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value);
        verify(SECRET, &string_to_sign("POST", PATH, &pairs), value("auth_signature"))
            && value("body_md5") == body_md5(black_box(body.as_bytes()))
    };
    assert!(check(), "a right request is timed");
    bencher.bench(check);
}

#[divan::bench]
fn check_channel_token(bencher: Bencher) {
    let given = channel_auth(SECRET, "1234.1234", "private-foobar", None);
    bencher.bench(|| {
        verify_channel_auth(
            SECRET,
            black_box("1234.1234"),
            black_box("private-foobar"),
            None,
            black_box(&given),
        )
    });
}

#[divan::bench(args = [64, 1_024, 10_240])]
fn encode_channel_event(bencher: Bencher, data_bytes: usize) {
    let Ok(data) = RawValue::from_string(format!("\"{}\"", "x".repeat(data_bytes))) else { return };
    bencher.bench(|| {
        channel_event(black_box("order-shipped"), black_box("private-orders"), black_box(&data), None)
    });
}
