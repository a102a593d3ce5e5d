//! Without a library: one command that is signed already, and a script that signs.

use protocol::signature::{body_md5, sign_request};
use tenancy::clock::now_ms;

use super::{Block, Snippet, Values};

/// What the command publishes.
const BODY: &str = r#"{"name":"greeting","channel":"hello","data":"{\"text\":\"Hi\"}"}"#;

/// A signed command is good for ten minutes: the protocol refuses older timestamps.
pub(super) fn curl(v: &Values<'_>) -> Snippet {
    let origin = v.endpoint.origin();
    Snippet {
        id: "curl",
        title: "curl",
        language: "shell",
        intro: "Signed already and valid for 10 minutes from when this page was made. Reload the page for a new one.".to_owned(),
        install: None,
        code: format!("curl -H 'Content-Type: application/json' \\\n  -d '{BODY}' \\\n  '{origin}{}'", signed_path(v)),
        more: vec![Block { title: "send.sh: signs and sends anything", language: "shell", code: script(v) }],
        notes: vec![
            "The answer is {} and status 200. 401 says what differs: the key, the timestamp or the signature.".to_owned(),
            "Quote the address: it contains &.".to_owned(),
        ],
    }
}

fn signed_path(v: &Values<'_>) -> String {
    let path = format!("/apps/{}/events", v.app.id);
    let timestamp = (now_ms() / 1000).to_string();
    let md5 = body_md5(BODY.as_bytes());
    let params =
        [("auth_key", v.key), ("auth_timestamp", &timestamp), ("auth_version", "1.0"), ("body_md5", &md5)];
    let signature = sign_request(v.secret, "POST", &path, &params);
    format!(
        "{path}?auth_key={}&auth_timestamp={timestamp}&auth_version=1.0&body_md5={md5}&auth_signature={signature}",
        v.key
    )
}

fn script(v: &Values<'_>) -> String {
    let Values { app, key, secret, endpoint } = v;
    let origin = endpoint.origin();
    format!(
        r#"#!/usr/bin/env bash
# bash send.sh hello greeting '{{"text":"Hi"}}'
key={key} secret={secret}
path=/apps/{id}/events
data=${{3//\\/\\\\}}; data=${{data//\"/\\\"}}
body="{{\"name\":\"$2\",\"channel\":\"$1\",\"data\":\"$data\"}}"
md5=$(printf %s "$body" | openssl dgst -md5 -r | cut -d' ' -f1)
query="auth_key=$key&auth_timestamp=$(date +%s)&auth_version=1.0&body_md5=$md5"
signature=$(printf 'POST\n%s\n%s' "$path" "$query" | openssl dgst -sha256 -hmac "$secret" -r | cut -d' ' -f1)
curl -H 'Content-Type: application/json' -d "$body" "{origin}$path?$query&auth_signature=$signature""#,
        id = app.id
    )
}
