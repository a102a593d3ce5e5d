//! The doctor for signed requests: which part of a refused request probably differs, in words for the developer.

use std::borrow::Cow;

use protocol::signature::{body_md5, string_to_sign, verify};
use realtime::app::AppSnapshot;
use realtime::console::Hint;
use realtime::rate::Call;

/// Parameters up to which the doctor leaves one out after the other: each try is another signature.
const TRIED_PARAMETERS_MAX: usize = 32;

fn mismatch(text: String) -> Hint {
    Hint { id: "signature_mismatch", title: "The request's signature does not match.".into(), text }
}

/// No parameters arrived at all.
pub(super) fn no_query(query: &str) -> Option<Hint> {
    query.is_empty().then(|| {
        mismatch(
            "The request came without its query string: is a proxy dropping it ($is_args$args in nginx)?"
                .into(),
        )
    })
}

/// A key that the app does not have.
pub(super) fn unknown_key(key: &str, app: &AppSnapshot) -> Option<Hint> {
    let own = app.keys.first().map(|pair| &*pair.key).unwrap_or_default();
    let (title, text) = if key == app.id.to_string() {
        ("You used the app ID where the key belongs.", format!("This app's key is {own}."))
    } else {
        (
            "The key belongs to another app.",
            format!("App {} has the key {own}. Is an old .env cached? php artisan config:clear", app.id),
        )
    };
    let id = if key == app.id.to_string() { "app_id_as_key" } else { "unknown_key" };
    Some(Hint { id, title: title.into(), text })
}

/// The sender's clock is `skew` seconds ahead of ours (behind, if negative).
pub(super) fn clock_skew(skew: i64) -> Hint {
    let (minutes, seconds) = (skew.unsigned_abs() / 60, skew.unsigned_abs() % 60);
    let side = if skew < 0 { "behind" } else { "ahead of" };
    Hint {
        id: "clock_skew",
        title: format!("Your server's clock is {minutes} min {seconds} s {side} ours."),
        text: "Requests may be 600 s off. Set the clock (NTP), or send the request when it is signed.".into(),
    }
}

/// The signature is right, the body is another one.
pub(super) fn body_changed() -> Hint {
    mismatch("The signature is right, but body_md5 does not match the body we received: is a proxy rewriting the body?".into())
}

/// More calls in a second than the plan allows.
pub(super) fn over_rate(call: Call, limit: u32) -> Hint {
    let (title, text) = match call {
        Call::Publish => (
            format!("The app published more than {limit} events in a second."),
            "Is a loop publishing? An event for several channels counts once if one call names up to 100 of them; each event of a batch counts. Spread bursts over time, or take a larger plan.",
        ),
        Call::Read => (
            format!("The app asked the HTTP API more than {limit} times in a second."),
            "Keep answers for a while instead of asking again, or let webhooks tell what is occupied. A larger plan allows more.",
        ),
    };
    Hint { id: "over_rate", title, text: text.into() }
}

/// The app has used up what it may of the day; its organisation has not.
pub(super) fn own_cap(limit: u64) -> Hint {
    Hint {
        id: "own_message_cap",
        title: format!("This app has a cap of its own, {limit} messages a day, and it is used up."),
        text: "Other apps of the organisation go on. Raise the cap or take it away in the app's settings, under Cap on messages; it \
               holds within a second."
            .into(),
    }
}

/// Tries what people get wrong, and names what would have matched.
pub(super) fn signature(
    secret: &str,
    method: &str,
    path: &str,
    pairs: &[(Cow<'_, str>, Cow<'_, str>)],
    body: &[u8],
    given: &str,
) -> Hint {
    let text = string_to_sign(method, path, pairs);
    for (variant, what) in [
        (format!("{secret}\n"), "a line break at its end"),
        (format!("{secret}\r"), "a carriage return at its end"),
        (format!("{secret} "), "a blank at its end"),
        (format!(" {secret}"), "a blank at its beginning"),
        (format!("\"{secret}\""), "quotation marks around it"),
        (format!("'{secret}'"), "quotation marks around it"),
    ] {
        if verify(&variant, &text, given) {
            return mismatch(format!("Your secret is right but for {what}: look at the line in .env."));
        }
    }
    for other in ["GET", "POST"] {
        if other != method && verify(secret, &string_to_sign(other, path, pairs), given) {
            return mismatch(format!(
                "The request was signed as {other} and arrived as {method}: is a proxy redirecting it?"
            ));
        }
    }
    if verify(secret, &string_to_sign(method, path.trim_end_matches('/'), pairs), given) {
        return mismatch("The path has a slash at its end that was not signed.".into());
    }
    let md5 = body_md5(body);
    let with_our_md5: Vec<(&str, &str)> =
        pairs.iter().map(|(k, v)| (&**k, if k == "body_md5" { md5.as_str() } else { &**v })).collect();
    if verify(secret, &string_to_sign(method, path, &with_our_md5), given) {
        return mismatch(
            "body_md5 in the query is not the one that was signed: is something rewriting the query?".into(),
        );
    }
    if pairs.len() > TRIED_PARAMETERS_MAX {
        return mismatch("Is something adding or dropping parameters of the query?".into());
    }
    for at in 0..pairs.len() {
        let mut fewer = pairs.to_vec();
        let (name, _) = fewer.remove(at);
        if verify(secret, &string_to_sign(method, path, &fewer), given) {
            return mismatch(format!(
                "The parameter {} was not there when the request was signed.",
                protocol::json::clip(&name, 40).0
            ));
        }
    }
    mismatch("Method, path and parameters look whole, so the secret is probably another one: compare it with App keys.".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::signature::sign;

    #[test]
    fn the_part_that_differs_is_named() {
        let pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = vec![
            ("auth_key".into(), "k".into()),
            ("body_md5".into(), "x".into()),
            ("extra".into(), "1".into()),
        ];
        let guess = |given: &str| signature("s", "POST", "/apps/1/events", &pairs, b"{}", given).text;
        let text = string_to_sign("POST", "/apps/1/events", &pairs);
        assert!(guess(&sign("s\n", &text)).contains("line break"));
        assert!(guess(&sign("\"s\"", &text)).contains("quotation marks"));
        assert!(guess(&sign("s", &text.replace("POST", "GET"))).contains("signed as GET"));
        assert!(guess(&sign("s", &string_to_sign("POST", "/apps/1/events", &pairs[..2]))).contains("extra"));
        assert!(guess(&sign("other", &text)).contains("secret is probably another"));
    }
}
