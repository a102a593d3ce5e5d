//! May this socket have this channel? Checks in the protocol's order; joining is the shard's.

use protocol::channel::ChannelName;
use protocol::client_message::Subscribe;
use protocol::member::Member;
use protocol::signature::verify_channel_auth;
use protocol::socket_id::SocketId;

use crate::app::App;
use crate::console::Hint;
use crate::shard::conn::SignedIn;

/// Why a subscription is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// As `type` of `pusher:subscription_error`.
    pub(crate) kind: &'static str,
    pub(crate) status: u16,
    pub(crate) message: String,
    pub(crate) hint: Option<Hint>,
}

pub(crate) fn auth(status: u16, message: String) -> Refusal {
    Refusal { kind: "AuthError", status, message, hint: None }
}

/// Checks name, signature and presence data. The member of a presence channel on success. Who is signed in need not name
/// itself again on presence channels.
pub(crate) fn check(
    app: &App,
    socket_id: SocketId,
    user: Option<&SignedIn>,
    wanted: &Subscribe<'_>,
) -> Result<Option<Member>, Refusal> {
    let channel = &*wanted.channel;
    let invalid = |message: String| Refusal { kind: "InvalidChannel", status: 400, message, hint: None };
    let name = ChannelName::parse(channel).map_err(|e| invalid(format!("Invalid channel name: {e}")))?;
    let kind = name.kind();
    if let Some(id) = name.server_to_user() {
        return match user {
            Some(user) if &*user.id == id => Ok(None),
            Some(_) => Err(auth(403, format!("{channel} is for another user than the one who signed in"))),
            None => Err(auth(
                403,
                format!("{channel} is for the user who is signed in with that id: sign in first"),
            )),
        };
    }
    if !kind.needs_auth() {
        return Ok(None);
    }
    let token = wanted.auth.as_deref().unwrap_or_default();
    let Some((key, signature)) = token.split_once(':') else {
        let what = "Subscription needs auth of the form KEY:SIGNATURE";
        return Err(auth(401, format!("{what}, from your server's auth endpoint ({channel})")));
    };
    let snapshot = app.snapshot();
    let Some(secret) = snapshot.secret_of(key) else {
        let (key, _) = protocol::json::clip(key, 40);
        return Err(auth(
            401,
            format!("Invalid key in subscription auth data: '{key}' is not a key of this app"),
        ));
    };
    let socket = socket_id.to_string();
    let data = wanted.channel_data.as_deref();
    if !verify_channel_auth(secret.expose(), &socket, channel, data, signature) {
        let text =
            data.map_or_else(|| format!("{socket}:{channel}"), |data| format!("{socket}:{channel}:{data}"));
        let (text, _) = protocol::json::clip(&text, 400);
        let (signature, _) = protocol::json::clip(signature, 80);
        let hint = diagnose(secret.expose(), &socket, channel, data, signature);
        let message =
            format!("Invalid signature: expected HMAC SHA256 hex digest of {text}, but got {signature}");
        return Err(Refusal { hint, ..auth(401, message) });
    }
    if !kind.is_presence() {
        return Ok(None);
    }
    let invalid = |message| Refusal { kind: "InvalidChannelData", status: 400, message, hint: None };
    let Some(data) = data else {
        let Some(user) = user else {
            let what = "channel_data is required to subscribe to presence channel";
            return Err(invalid(format!("{what} {channel}, unless the user is signed in")));
        };
        return Member::of_user(&user.id, &user.info)
            .map(Some)
            .map_err(|e| invalid(format!("Invalid user: {e}")));
    };
    Member::parse(data).map(Some).map_err(|e| invalid(format!("Invalid channel_data: {e}")))
}

/// A wrong signature that would be right for something near.
fn diagnose(secret: &str, socket: &str, channel: &str, data: Option<&str>, given: &str) -> Option<Hint> {
    let near = [
        (data.is_some()).then_some((None, channel, "it leaves channel_data out")),
        channel.split_once('-').map(|(_, rest)| (data, rest, "it is for the name without its prefix")),
    ];
    let found =
        near.into_iter().flatten().find(|(d, c, _)| verify_channel_auth(secret, socket, c, *d, given));
    let text = match found {
        Some((_, _, what)) => format!("The signature was made with the right secret, but {what}."),
        None => format!(
            "Either your server signs with another secret than this app's, or its auth endpoint got another socket_id than {socket}."
        ),
    };
    Some(Hint {
        id: "signature_mismatch",
        title: format!("The auth signature for {channel} does not match."),
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{AppMeter, ScopeMeter};
    use protocol::signature::channel_auth;
    use std::sync::Arc;

    fn try_with(channel: &str, auth: Option<&str>, data: Option<&str>) -> Result<Option<Member>, Refusal> {
        let snapshot = crate::app::tests::snapshot();
        let app = App::new(snapshot, AppMeter::new(0, 0), Arc::new(ScopeMeter::new(0, 0)), "n");
        let wanted = Subscribe {
            channel: channel.into(),
            auth: auth.map(Into::into),
            channel_data: data.map(Into::into),
        };
        check(&app, SocketId { node: 1, random: 2 }, None, &wanted)
    }

    #[test]
    fn signatures_decide_about_private_and_presence_channels() {
        let sign = |channel, data| format!("key:{}", channel_auth("hush", "1.2", channel, data));
        assert_eq!(try_with("orders", None, None).unwrap(), None);
        assert_eq!(try_with("private-a", Some(&sign("private-a", None)), None).unwrap(), None);
        assert_eq!(
            try_with("private-a", Some(&sign("private-a", Some("x"))), Some("x")).unwrap(),
            None,
            "data may be signed"
        );
        let data = r#"{"user_id":7}"#;
        let member =
            try_with("presence-a", Some(&sign("presence-a", Some(data))), Some(data)).unwrap().unwrap();
        assert_eq!(member.user_id, "7");
        for (channel, auth, data, status) in [
            ("private-a", None, None, 401),
            ("private-a", Some("key".to_owned()), None, 401),
            ("private-a", Some(sign("private-a", None).replace("key:", "other:")), None, 401),
            ("private-a", Some(sign("private-b", None)), None, 401),
            ("private-a", Some(sign("private-a", None)), Some("x"), 401),
            ("presence-a", Some(sign("presence-a", None)), None, 400),
            ("presence-a", Some(sign("presence-a", Some("{}"))), Some("{}"), 400),
            ("a b", None, None, 400),
            ("#server-to-user-1", None, None, 403),
        ] {
            let refusal = try_with(channel, auth.as_deref(), data).unwrap_err();
            assert_eq!(refusal.status, status, "{channel} {auth:?} {data:?}: {}", refusal.message);
        }
    }
}
