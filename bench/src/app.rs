//! The app that is measured with: its signatures, signed requests and subscriptions. Written from Pusher's documents and not
//! shared with the server, so that an error of one is not hidden by the same error of the other.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use serde_json::json;
use sha2::Sha256;

/// What a client calls itself in the address of its socket.
const CLIENT: &str = "protocol=7&client=fanfare-bench&version=";
/// `Sec-WebSocket-Key` of every client; nothing here needs another one each time. The RFC's own example.
const SOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to [`SOCKET_KEY`].
pub(crate) const SOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Credentials.
#[derive(Clone)]
pub(crate) struct App {
    id: String,
    key: String,
    mac: Hmac<Sha256>,
}

impl App {
    /// An app by id, key and secret.
    pub(crate) fn new(id: &str, key: &str, secret: &str) -> App {
        let mac = Hmac::new_from_slice(secret.as_bytes());
        let mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        App { id: id.to_owned(), key: key.to_owned(), mac }
    }

    fn sign(&self, parts: &[&str]) -> String {
        let mut mac = self.mac.clone();
        parts.iter().for_each(|part| mac.update(part.as_bytes()));
        hex::encode(mac.finalize().into_bytes())
    }

    /// The request that opens a socket.
    pub(crate) fn upgrade(&self, host: &str, out: &mut Vec<u8>) {
        let version = env!("CARGO_PKG_VERSION");
        out.extend_from_slice(
            format!(
                "GET /app/{}?{CLIENT}{version} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {SOCKET_KEY}\r\n\r\n",
                self.key
            )
            .as_bytes(),
        );
    }

    /// The message that subscribes a socket; `user` is the member's id on a presence channel.
    pub(crate) fn subscribe(&self, socket_id: &str, channel: &str, user: Option<&str>) -> String {
        let mut data = json!({ "channel": channel });
        if let Some(user) = user {
            let member = json!({ "user_id": user, "user_info": { "name": user } }).to_string();
            let auth = self.sign(&[socket_id, ":", channel, ":", &member]);
            data["auth"] = format!("{}:{auth}", self.key).into();
            data["channel_data"] = member.into();
        } else if channel.starts_with("private-") {
            data["auth"] = format!("{}:{}", self.key, self.sign(&[socket_id, ":", channel])).into();
        }
        json!({ "event": "pusher:subscribe", "data": data }).to_string()
    }

    /// A signed POST of `body` to `/apps/{id}/{what}`, on a connection that is kept.
    pub(crate) fn post(&self, host: &str, what: &str, body: &[u8], unix_seconds: u64, out: &mut Vec<u8>) {
        let path = format!("/apps/{}/{what}", self.id);
        let md5 = hex::encode(Md5::digest(body));
        let query =
            format!("auth_key={}&auth_timestamp={unix_seconds}&auth_version=1.0&body_md5={md5}", self.key);
        let signature = self.sign(&["POST\n", &path, "\n", &query]);
        out.extend_from_slice(
            format!(
                "POST {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: {host}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        );
        out.extend_from_slice(body);
    }

    /// As [`App::post`], but with one wrong digit in its signature.
    pub(crate) fn post_forged(
        &self,
        host: &str,
        what: &str,
        body: &[u8],
        unix_seconds: u64,
        out: &mut Vec<u8>,
    ) {
        let from = out.len();
        self.post(host, what, body, unix_seconds, out);
        let name = b"auth_signature=";
        if let Some(at) = out[from..].windows(name.len()).position(|part| part == name) {
            let digit = &mut out[from + at + name.len()];
            *digit = if *digit == b'0' { b'1' } else { b'0' };
        }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Pusher's documents.
    fn app() -> App {
        App::new("3", "278d425bdf160c739803", "7ad3773142a6692b25b8")
    }

    #[test]
    fn requests_are_signed_as_the_rest_reference_shows() {
        let body = br#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
        let mut out = Vec::new();
        app().post("h", "events", body, 1_353_088_179, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("POST /apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&")
        );
        assert!(text.contains("body_md5=ec365a775a4cd0599faeb73354201b6f&"));
        assert!(
            text.contains("auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c ")
        );
        assert!(text.ends_with(std::str::from_utf8(body).unwrap()));
    }

    #[test]
    fn a_forged_request_differs_in_one_digit_of_its_signature() {
        let (mut right, mut forged) = (Vec::new(), b"before".to_vec());
        app().post("h", "events", b"{}", 1_353_088_179, &mut right);
        app().post_forged("h", "events", b"{}", 1_353_088_179, &mut forged);
        let differs: Vec<usize> = (0..right.len()).filter(|at| right[*at] != forged[6 + at]).collect();
        let signature = String::from_utf8(right).unwrap().find("auth_signature=").unwrap() + 15;
        assert_eq!(differs, [signature]);
    }

    #[test]
    fn subscriptions_are_signed_as_the_auth_signatures_page_shows() {
        let text = app().subscribe("1234.1234", "private-foobar", None);
        let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            frame["data"]["auth"],
            "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
        );
        assert!(!app().subscribe("1.1", "open", None).contains("auth"));
        let member = app().subscribe("1.1", "presence-x", Some("ann"));
        let frame: serde_json::Value = serde_json::from_str(&member).unwrap();
        let data = frame["data"]["channel_data"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(data).unwrap()["user_id"], "ann");
    }
}
