//! HMAC-SHA256 signatures: channel tokens, HTTP requests, webhook bodies. Comparison takes constant time.
//!
//! Source: auth signatures page, REST reference; vectors from the SDKs' own test suites.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// How the name of a parameter ends that holds one of several values.
pub const ARRAY: &str = "[]";

fn mac(secret: &str) -> HmacSha256 {
    // HMAC takes keys of any length, so this can't fail.
    HmacSha256::new_from_slice(secret.as_bytes()).unwrap_or_else(|_| unreachable!("any length is a key"))
}

fn hex_of(mac: HmacSha256) -> String {
    hex::encode(mac.finalize().into_bytes())
}

fn matches(mac: HmacSha256, given_hex: &str) -> bool {
    let mut given = [0u8; 32];
    // Lower-case hex only, as Pusher and every SDK write it.
    if given_hex.bytes().any(|b| b.is_ascii_uppercase())
        || hex::decode_to_slice(given_hex, &mut given).is_err()
    {
        return false;
    }
    mac.verify_slice(&given).is_ok()
}

fn channel_mac(secret: &str, socket_id: &str, channel: &str, channel_data: Option<&str>) -> HmacSha256 {
    let mut mac = mac(secret);
    mac.update(socket_id.as_bytes());
    mac.update(b":");
    mac.update(channel.as_bytes());
    if let Some(data) = channel_data {
        mac.update(b":");
        mac.update(data.as_bytes());
    }
    mac
}

/// Signs a subscription: over `socket_id:channel[:channel_data]`. Lower-case hex.
pub fn channel_auth(secret: &str, socket_id: &str, channel: &str, channel_data: Option<&str>) -> String {
    hex_of(channel_mac(secret, socket_id, channel, channel_data))
}

/// Does `given` sign this subscription with `secret`?
pub fn verify_channel_auth(
    secret: &str,
    socket_id: &str,
    channel: &str,
    channel_data: Option<&str>,
    given: &str,
) -> bool {
    matches(channel_mac(secret, socket_id, channel, channel_data), given)
}

/// Signs a user's sign-in: over `socket_id::user::user_data`. Lower-case hex.
pub fn user_auth(secret: &str, socket_id: &str, user_data: &str) -> String {
    hex_of(user_mac(secret, socket_id, user_data))
}

/// Does `given` sign this sign-in with `secret`?
pub fn verify_user_auth(secret: &str, socket_id: &str, user_data: &str, given: &str) -> bool {
    matches(user_mac(secret, socket_id, user_data), given)
}

fn user_mac(secret: &str, socket_id: &str, user_data: &str) -> HmacSha256 {
    let mut mac = mac(secret);
    for part in [socket_id, "::user::", user_data] {
        mac.update(part.as_bytes());
    }
    mac
}

/// Signs a webhook's raw body. Lower-case hex.
pub fn webhook(secret: &str, body: &[u8]) -> String {
    let mut mac = mac(secret);
    mac.update(body);
    hex_of(mac)
}

/// Lower-case hex MD5 of a request's raw body.
pub fn body_md5(body: &[u8]) -> String {
    hex::encode(Md5::digest(body))
}

/// The text that an HTTP request's signature covers: method, path and parameters, each on its line; `auth_signature` left
/// out, keys lower-cased and sorted, values as they are, not escaped. Of a parameter that comes twice the last one counts;
/// those of an array (`channels[]`) all count, in their order, and stand where the name without brackets would. Source: REST
/// reference and the `signature` gem, which gets its parameters as a hash.
pub fn string_to_sign<K: AsRef<str>, V: AsRef<str>>(method: &str, path: &str, params: &[(K, V)]) -> String {
    let mut pairs: Vec<(Cow<'_, str>, &str)> = params
        .iter()
        .map(|(k, v)| {
            let key = k.as_ref();
            let key = if key.bytes().any(|b| b.is_ascii_uppercase()) {
                key.to_ascii_lowercase().into()
            } else {
                key.into()
            };
            (key, v.as_ref())
        })
        .filter(|(k, _)| k != "auth_signature")
        .collect();
    fn name<'a>(pair: &'a (Cow<'_, str>, &str)) -> &'a str {
        pair.0.strip_suffix(ARRAY).unwrap_or(&pair.0)
    }
    // Stable, so that what came later stands behind its equals.
    pairs.sort_by(|a, b| name(a).cmp(name(b)).then_with(|| a.0.len().cmp(&b.0.len())));
    let length =
        method.len() + path.len() + 2 + pairs.iter().map(|(k, v)| k.len() + v.len() + 2).sum::<usize>();
    let mut text = String::with_capacity(length);
    text.push_str(method);
    text.push('\n');
    text.push_str(path);
    text.push('\n');
    let start = text.len();
    for (i, (key, value)) in pairs.iter().enumerate() {
        if pairs.get(i + 1).is_some_and(|(next, _)| next == key) && !key.ends_with(ARRAY) {
            continue;
        }
        if text.len() > start {
            text.push('&');
        }
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// Signs any text. Lower-case hex.
pub fn sign(secret: &str, text: &str) -> String {
    webhook(secret, text.as_bytes())
}

/// Does `given` sign `text` with `secret`?
pub fn verify(secret: &str, text: &str, given: &str) -> bool {
    let mut mac = mac(secret);
    mac.update(text.as_bytes());
    matches(mac, given)
}

/// Signs an HTTP request (see [`string_to_sign`]). `method` in upper case, `path` without the query.
pub fn sign_request<K: AsRef<str>, V: AsRef<str>>(
    secret: &str,
    method: &str,
    path: &str,
    params: &[(K, V)],
) -> String {
    sign(secret, &string_to_sign(method, path, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "278d425bdf160c739803";
    const SECRET: &str = "7ad3773142a6692b25b8";

    /// Vectors 1–11, 21–23: text, secret, signature.
    #[test]
    fn published_vectors_of_plain_texts_are_met() {
        for (number, secret, text, signature) in [
            (
                "1",
                SECRET,
                "1234.1234:private-foobar",
                "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
            ),
            (
                "2",
                SECRET,
                r#"1234.1234::user::{"id":"12345"}"#,
                "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba",
            ),
            (
                "3",
                SECRET,
                r#"1234.1234:presence-foobar:{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#,
                "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
            ),
            (
                "3b",
                SECRET,
                r#"1234.1234:presence-foobar:{"user_id":10,"user_info":{"name":"Mr. Pusher"}}"#,
                "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c",
            ),
            (
                "4",
                "bar",
                "345.23:private-channel",
                "89955e77e1b40e33df6d515a5ecbba86a01dc816a5b720da18a06fd26f7d92ff",
            ),
            (
                "5",
                "bar",
                r#"345.43245:presence-channel:{"user_id":"fred","user_info":{"key":"value"}}"#,
                "e80ba6439492c2113022c39297a87a948de14061cc67b5788e045645a68b8ccd",
            ),
            (
                "6",
                "bar",
                "345.23:private-encrypted-channel",
                "fff0503dfe4929f5162efe4d1dacbce524b0d8e7e1331117a8651c0e74d369e3",
            ),
            (
                "7",
                "thisisasecret",
                r#"12345.6789::user::{"id":"123","name":"John Smith"}"#,
                "0dddb208b53c7649f3fbbb86254a6e1986bc6f8b566423ea690c9ca773497373",
            ),
            (
                "8",
                "tofu",
                r#"123.456::user::{"id":"45678"}"#,
                "f4b1fdeea7c93e32648c7230e32b172057c5623cace6cfce791c6e7035e0babd",
            ),
            ("9", "tofu", "123.456:test", "efa6cf7644a0b35cba36aa0f776f3cbf7bb60e95ea2696bde1dbe8403b61bd7c"),
            (
                "10",
                "tofu",
                r#"123.456:test:{"foo":"bar"}"#,
                "f41faf9ead2ea76772cc6b1168363057459f02499ae4d92e88229dc7f4efa2d4",
            ),
            (
                "11",
                "tofu",
                r#"1.1::user::{"id":"ą§¶™€łü€ß£"}"#,
                "620494cee53d6c568b49598313194088afda37218f0d059af03c0c898ed61ff4",
            ),
            (
                "21",
                "tofu",
                r#"{"time_ms":1403175510755,"events":[{"channel":"test_channel","name":"channel_vacated"}]}"#,
                "c17257e92037cd7de407ebc1ed174ceb7b2e518db127f44411b9ffc4f5b28cc5",
            ),
            (
                "22",
                SECRET,
                r#"{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"my-channel"}]}"#,
                "c19001ae3963ccb13bf618e5b16ba9848e7e74df0993aa0689168e341c6833cf",
            ),
            (
                "23",
                "secret",
                r#"{"hello":"world"}"#,
                "2677ad3e7c090b2fa2c0fb13020d66d5420879b8316eb356a2d60fb9073bc778",
            ),
        ] {
            assert_eq!(webhook(secret, text.as_bytes()), signature, "vector {number}");
            assert!(verify(secret, text, signature), "vector {number}");
        }
        let data = r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#;
        let vector_3 = "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80";
        assert_eq!(channel_auth(SECRET, "1234.1234", "presence-foobar", Some(data)), vector_3);
        assert!(verify_channel_auth(SECRET, "1234.1234", "presence-foobar", Some(data), vector_3));
        assert!(!verify_channel_auth(SECRET, "1234.1235", "presence-foobar", Some(data), vector_3));
        assert!(!verify_channel_auth(
            SECRET,
            "1234.1234",
            "presence-foobar",
            Some(data),
            &vector_3.to_uppercase()
        ));
        assert!(!verify_channel_auth(SECRET, "1234.1234", "presence-foobar", Some(data), &vector_3[..63]));
        assert!(!verify_channel_auth(SECRET, "1234.1234", "presence-foobar", Some(data), ""));
        assert_eq!(
            user_auth("tofu", "123.456", r#"{"id":"45678"}"#),
            "f4b1fdeea7c93e32648c7230e32b172057c5623cace6cfce791c6e7035e0babd"
        );
    }

    /// Vector 13: the customer's side of encrypted channels derives its key by plain SHA-256; ours only has to agree on the digest.
    #[test]
    fn vectors_12_and_13_of_shared_secrets_are_met() {
        use sha2::Sha256;
        let digest = |parts: &[&[u8]]| {
            let mut hash = Sha256::new();
            parts.iter().for_each(|p| hash.update(p));
            hex::encode(hash.finalize())
        };
        assert_eq!(
            digest(&[b"pvUPIk0YG6MnxCEMIUUVFrbDmQwbhICXUcy", b"OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"]),
            "709ef3090a24bfa98382cb5d025ca3622c82d31fa27f10b005c0dca27bae6516"
        );
        // Vector 12, both sides decoded from base64 (VmIsNZtC…uyVI=).
        assert_eq!(
            digest(&[b"private-encrypted-channel", b"8tW5FQLniQ1sBQFwrw7t6TVEsJZd10yY"]),
            "56622c359b424ad7a1f246b3776b6873ea1f868841b54a2e411483b51beec952"
        );
    }

    #[test]
    fn published_vectors_of_requests_are_met() {
        let body_15 = br#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
        assert_eq!(body_md5(body_15), "ec365a775a4cd0599faeb73354201b6f");
        let mut params = vec![
            ("auth_version", "1.0"),
            ("auth_key", KEY),
            ("body_md5", "ec365a775a4cd0599faeb73354201b6f"),
            ("auth_timestamp", "1353088179"),
            ("auth_signature", "anything"),
        ];
        assert_eq!(
            string_to_sign("POST", "/apps/3/events", &params),
            "POST\n/apps/3/events\nauth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f"
        );
        let vector_15 = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";
        assert_eq!(sign_request(SECRET, "POST", "/apps/3/events", &params), vector_15);
        params[1].0 = "AUTH_Key";
        assert_eq!(
            sign_request(SECRET, "POST", "/apps/3/events", &params),
            vector_15,
            "keys are lower-cased"
        );

        let of = |key, secret, timestamp, method, path, more: &[(&str, &str)]| {
            let mut params = vec![("auth_key", key), ("auth_timestamp", timestamp), ("auth_version", "1.0")];
            params.extend_from_slice(more);
            sign_request(secret, method, path, &params)
        };
        let empty = body_md5(b"");
        assert_eq!(empty, "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(
            of("key", "secret", "1000", "GET", "/some/obscure/api", &[("foo", "bar"), ("body_md5", &empty)]),
            "5c49f04a95eedc9028b1e0e8de7c2c7ad63504a0e3b5c145d2accaef6c14dbac"
        );
        let md5_17 = body_md5(br#"{"foo": "bar"}"#);
        assert_eq!(md5_17, "94232c5b8fc9272f6f73a1e36eb68fcf");
        assert_eq!(
            of("key", "secret", "1000", "POST", "/some/obscure/api", &[("body_md5", &md5_17)]),
            "e05fa4cafee86311746ee3981d5581a5e4e87c27bbab0aeb1059e2df5c90258b"
        );
        let event = [("foo", "bar"), ("baz", "123454321")];
        assert_eq!(
            of("f00d", "tofu", "1234567890", "GET", "/event", &event),
            "d8bdbd31911fb7400a14fbd36fd7de053494725b64400ae5856deafe304b34a9"
        );
        let md5_19 = body_md5(b"example body");
        assert_eq!(md5_19, "165d5e6d7ca8f73b3853ce45addf42fc");
        assert_eq!(
            of("f00d", "tofu", "1234567890", "GET", "/event", &[("body_md5", &md5_19)]),
            "a650196dc427ebe837226f8565ca9232198c6d1b9455eaa72374a9dc0b620e7b"
        );
        assert_eq!(
            of(
                KEY,
                SECRET,
                "1353088179",
                "POST",
                "/apps/3/events",
                &[("channels[]", "a"), ("channels[]", "b"), ("data", r#"{"x":1}"#), ("name", "foo")]
            ),
            "778123f73824f1f770e993609ba86e5b3551ab43ce6c883111b8ba5b592cd61a"
        );
    }
    #[test]
    fn of_duplicates_the_last_counts_and_arrays_keep_all() {
        let text = |params: &[(&str, &str)]| string_to_sign("GET", "/p", params);
        for (params, expected) in [
            (&[][..], ""),
            (&[("a", "1"), ("a", "2")], "a=2"),
            (&[("a", "1"), ("b", "0"), ("A", "2")], "a=2&b=0"),
            (&[("c[]", "x"), ("C[]", "w"), ("c[]", "x")], "c[]=x&c[]=w&c[]=x"),
            // The brackets don't count in the order, as they are no part of the gem's keys.
            (&[("info2", "z"), ("info[]", "x"), ("info", "y")], "info=y&info[]=x&info2=z"),
            (&[("auth_signature", "s"), ("Auth_Signature", "t"), ("info", "")], "info="),
            (&[("x", "a=b&c=d")], "x=a=b&c=d"),
        ] {
            assert_eq!(text(params), format!("GET\n/p\n{expected}"), "{params:?}");
        }
    }
}
