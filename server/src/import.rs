//! Apps of other servers, read out of what those keep them in: `.env` files and JSON. Reading only; what is made of them in
//! storage is `cli::import`'s. Nothing is guessed: what has no counterpart here is named in a note.

use std::collections::HashMap;

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use tenancy::webhook_endpoint::{ChannelFilter, KINDS, NewEndpoint};

/// Where the apps come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Origin {
    /// Laravel Reverb.
    Reverb,
    /// Soketi, and what reads its apps.
    Soketi,
    /// Pusher Channels.
    Pusher,
}

/// An app as it was found.
#[derive(Clone, Default)]
pub struct Found {
    /// As it stands there; Soketi's need be no number.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Its secret.
    pub secret: String,
    /// Its name, if it had one.
    pub name: Option<String>,
    /// Off there.
    pub disabled: bool,
    /// May clients trigger events?
    pub client_events: bool,
    /// Empty: any.
    pub allowed_origins: Vec<String>,
    /// Must connections sign in or join a private or presence channel in time?
    pub authorized_connections: bool,
    /// A cap on its connections.
    pub connections_max: Option<u64>,
    /// Endpoints of webhooks.
    pub webhooks: Vec<NewEndpoint>,
    /// What is not taken over, and why.
    pub notes: Vec<String>,
}

/// One entry of a file: an app, or which entry it is and why it is none.
pub type Entry = Result<Found, (String, String)>;

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("id", &self.id).field("key", &self.key).finish_non_exhaustive()
    }
}

/// Reads a file. An error is one of the file as a whole.
pub fn read(origin: Origin, text: &str) -> anyhow::Result<Vec<Entry>> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with("<?php") {
        bail!(
            "this is PHP, which only PHP can read: print its apps as JSON with\n  php artisan tinker --execute=\"echo json_encode(config('reverb.apps.apps'));\" > apps.json\nand import that file"
        );
    }
    let apps =
        if text.starts_with(['[', '{']) { from_json(origin, text)? } else { from_env(origin, &env(text))? };
    if apps.is_empty() {
        bail!("there are no apps in it");
    }
    Ok(apps)
}

// ---- .env

/// Names and values of a `.env` file: comments, `export`, quotes; blanks around the `=` as on Pusher's page of keys.
fn env(text: &str) -> HashMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
            let value = value.trim();
            let quoted = |mark: char| value.strip_prefix(mark)?.split(mark).next();
            let value = quoted('"').or_else(|| quoted('\'')).unwrap_or_else(|| {
                // Without quotes a comment may follow.
                value.split_once(" #").map_or(value, |(before, _)| before.trim_end())
            });
            Some((name.trim().to_owned(), value.to_owned()))
        })
        .collect()
}

fn from_env(origin: Origin, env: &HashMap<String, String>) -> anyhow::Result<Vec<Entry>> {
    let get = |name: &str| env.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if origin == Origin::Soketi
        && let Some(apps) = get("SOKETI_APP_MANAGER_ARRAY_APPS")
    {
        return from_json(origin, &apps.replace("\\\"", "\""));
    }
    let prefixes: &[&str] = match origin {
        Origin::Reverb => &["REVERB_APP_"],
        Origin::Soketi => &["SOKETI_DEFAULT_APP_", "PUSHER_APP_"],
        Origin::Pusher => &["PUSHER_APP_", "PUSHER_", "app_"],
    };
    let part = |prefix: &str, part: &str| {
        let lower = part.to_ascii_lowercase();
        match prefix {
            // As the keys stand on Pusher's page: app_id, key, secret.
            "app_" => get(if lower == "id" { "app_id" } else { lower.as_str() }),
            "PUSHER_" => get(&format!("PUSHER_{}", if part == "ID" { "APP_ID" } else { part })),
            _ => get(&format!("{prefix}{part}")),
        }
    };
    let mut missing = Vec::new();
    for prefix in prefixes {
        let parts = ["ID", "KEY", "SECRET"].map(|name| part(prefix, name));
        if let [Some(id), Some(key), Some(secret)] = parts {
            if let Some(value) = parts.into_iter().flatten().find(|value| value.contains("${")) {
                bail!("{value} refers to another variable: write the value itself");
            }
            let mut found =
                Found { id: id.into(), key: key.into(), secret: secret.into(), ..Found::default() };
            found.name = get("APP_NAME").map(str::to_owned);
            found.client_events = match origin {
                Origin::Reverb => get("REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM").is_none_or(|who| who != "none"),
                Origin::Soketi => get("SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES")
                    .is_some_and(|on| matches!(on, "1" | "true" | "yes")),
                Origin::Pusher => false,
            };
            if origin == Origin::Pusher {
                found.notes.push(CLIENT_EVENTS_UNKNOWN.into());
            }
            let cap = match origin {
                Origin::Reverb => get("REVERB_APP_MAX_CONNECTIONS"),
                Origin::Soketi => get("SOKETI_DEFAULT_APP_MAX_CONNECTIONS"),
                Origin::Pusher => None,
            };
            found.connections_max = cap.and_then(|cap| cap.parse().ok()).filter(|cap| *cap > 0);
            return Ok(vec![Ok(found)]);
        }
        if parts.iter().any(Option::is_some) && missing.is_empty() {
            let names = ["ID", "KEY", "SECRET"].iter().zip(parts).filter(|(_, value)| value.is_none());
            missing = names.map(|(name, _)| format!("{prefix}{name}")).collect();
        }
    }
    if missing.is_empty() {
        missing = ["ID", "KEY", "SECRET"].iter().map(|name| format!("{}{name}", prefixes[0])).collect();
    }
    bail!("there is no app in it: {} missing or empty", missing.join(", "))
}

const CLIENT_EVENTS_UNKNOWN: &str = "whether clients may trigger events is not in the file: off here; switch it on with `fanfare apps set ID --client-events on`";

// ---- JSON

fn from_json(origin: Origin, text: &str) -> anyhow::Result<Vec<Entry>> {
    let value: Value = serde_json::from_str(text).context("it can't be read as JSON")?;
    let list = match value {
        Value::Array(list) => list,
        Value::Object(mut object) => match nested(&mut object) {
            Some(list) => list,
            None => vec![Value::Object(object)],
        },
        _ => bail!("JSON of apps is an array, or an object with one"),
    };
    Ok(list.iter().enumerate().map(|(index, app)| one(origin, index, app)).collect())
}

/// Apps within a whole configuration: Soketi's and Reverb's.
fn nested(object: &mut Map<String, Value>) -> Option<Vec<Value>> {
    if let Some(Value::Array(list)) = object.remove("appManager.array.apps") {
        return Some(list);
    }
    for path in [
        &["appManager", "array", "apps"][..],
        &["app_manager", "array", "apps"],
        &["apps", "apps"],
        &["apps"],
        &["data"],
    ] {
        let mut at = path[1..].iter().fold(object.get(path[0]), |at, name| at?.get(*name));
        if let Some(Value::Array(list)) = at.take() {
            return Some(list.clone());
        }
    }
    None
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    /// The first of several names that is there and says something.
    fn get(&self, names: &[&str]) -> Option<&Value> {
        names.iter().filter_map(|name| self.0.get(*name)).find(|value| !value.is_null())
    }

    fn text(&self, names: &[&str]) -> Option<String> {
        match self.get(names)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// As JSON, as SQL writes it, or as a text.
    fn flag(&self, names: &[&str]) -> Option<bool> {
        match self.get(names)? {
            Value::Bool(on) => Some(*on),
            Value::Number(number) => Some(number.as_f64() != Some(0.0)),
            Value::String(text) => match text.as_str() {
                "1" | "true" | "t" | "on" => Some(true),
                "0" | "false" | "f" | "off" | "" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    fn number(&self, names: &[&str]) -> Option<i64> {
        match self.get(names)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

fn one(origin: Origin, index: usize, value: &Value) -> Entry {
    let place = format!("entry {}", index + 1);
    let Value::Object(object) = value else { return Err((place, "it is no object".into())) };
    let fields = Fields(object);
    let id = fields.text(&["app_id", "id", "appId", "AppId"]);
    let place = id.clone().unwrap_or(place);
    let tokens = fields.get(&["tokens", "keys"]).and_then(|list| list.as_array()?.first()?.as_object());
    let token = |names: &[&str]| fields.text(names).or_else(|| Fields(tokens?).text(names));
    let (key, secret) = (token(&["key", "AppKey"]), token(&["secret", "AppSecret"]));
    let (id, key, secret) = match (id, key, secret) {
        (Some(id), Some(key), Some(secret)) => (id, key, secret),
        (id, key, secret) => {
            let names = [("id", id.is_none()), ("key", key.is_none()), ("secret", secret.is_none())];
            let missing: Vec<&str> = names.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
            return Err((place, format!("it has no {}", missing.join(" and no "))));
        }
    };
    let mut found = Found { id, key, secret, name: fields.text(&["name"]), ..Found::default() };
    found.disabled = fields.flag(&["enabled", "Enabled", "active"]) == Some(false);
    let cap = fields.number(&["max_connections", "maxConnections", "MaxConnections"]);
    found.connections_max = cap.filter(|cap| *cap > 0).map(i64::cast_unsigned);
    match origin {
        Origin::Reverb => reverb(&fields, &mut found),
        Origin::Soketi => soketi(&fields, &mut found),
        Origin::Pusher => {
            let on = fields.flag(&["client_events", "client_events_enabled"]);
            found.client_events = on == Some(true);
            if on.is_none() {
                found.notes.push(CLIENT_EVENTS_UNKNOWN.into());
            }
        }
    }
    if let Some(list) =
        fields.get(&["tokens", "keys"]).and_then(Value::as_array).filter(|list| list.len() > 1)
    {
        found.notes.push(format!(
            "{} more key pairs are not taken over: make them on the page of keys",
            list.len() - 1
        ));
    }
    Ok(found)
}

fn reverb(fields: &Fields<'_>, found: &mut Found) {
    found.client_events = fields.text(&["accept_client_events_from"]).is_none_or(|who| who != "none");
    if let Some(Value::Array(origins)) = fields.get(&["allowed_origins"]) {
        let origins = origins.iter().filter_map(Value::as_str).map(str::to_owned);
        found.allowed_origins = origins.collect();
    }
    if found.allowed_origins.iter().any(|origin| origin == "*") {
        found.allowed_origins.clear();
    }
    if fields.get(&["rate_limiting"]).and_then(|limit| limit.get("enabled")).and_then(Value::as_bool)
        == Some(true)
    {
        found.notes.push("rate_limiting is not taken over: the plan limits client events".into());
    }
    if let Some(bytes) = fields.number(&["max_message_size"]).filter(|bytes| *bytes != 10_000) {
        found.notes.push(format!("max_message_size {bytes} is not taken over: messages may have 32 KiB"));
    }
}

/// Limits of Soketi's that have no counterpart, in its three spellings.
const SOKETI_LIMITS: [(&str, &str); 10] = [
    ("maxBackendEventsPerSecond", "max_backend_events_per_sec"),
    ("maxClientEventsPerSecond", "max_client_events_per_sec"),
    ("maxReadRequestsPerSecond", "max_read_req_per_sec"),
    ("maxPresenceMembersPerChannel", "max_presence_members_per_channel"),
    ("maxPresenceMemberSizeInKb", "max_presence_member_size_in_kb"),
    ("maxChannelNameLength", "max_channel_name_length"),
    ("maxEventChannelsAtOnce", "max_event_channels_at_once"),
    ("maxEventNameLength", "max_event_name_length"),
    ("maxEventPayloadInKb", "max_event_payload_in_kb"),
    ("maxEventBatchSize", "max_event_batch_size"),
];

fn soketi(fields: &Fields<'_>, found: &mut Found) {
    found.client_events =
        fields.flag(&["enableClientMessages", "EnableClientMessages", "enable_client_messages"])
            == Some(true);
    for (camel, snake) in SOKETI_LIMITS {
        if let Some(limit) = fields.number(&[camel, snake]).filter(|limit| *limit >= 0) {
            found.notes.push(format!("{camel} {limit} is not taken over: the plan has its own limits"));
        }
    }
    found.authorized_connections =
        fields.flag(&["enableUserAuthentication", "enable_user_authentication"]) == Some(true);
    // In a database's table they are a text.
    let parsed;
    let webhooks = match fields.get(&["webhooks", "Webhooks"]) {
        Some(Value::Array(list)) => list,
        Some(Value::String(text)) if !text.trim().is_empty() => {
            match serde_json::from_str::<Vec<Value>>(text) {
                Ok(list) => {
                    parsed = list;
                    &parsed
                }
                Err(error) => {
                    found.notes.push(format!("webhooks can't be read and are not taken over: {error}"));
                    return;
                }
            }
        }
        _ => return,
    };
    for (index, webhook) in webhooks.iter().enumerate() {
        match endpoint(webhook) {
            Ok((endpoint, note)) => {
                found.webhooks.push(endpoint);
                found.notes.extend(note.map(|note| format!("webhook {}: {note}", index + 1)));
            }
            Err(why) => found.notes.push(format!("webhook {} is not taken over: {why}", index + 1)),
        }
    }
}

/// A webhook of Soketi's, and what of it is left out.
fn endpoint(webhook: &Value) -> Result<(NewEndpoint, Option<String>), String> {
    let url = webhook.get("url").and_then(Value::as_str).filter(|url| !url.is_empty());
    let Some(url) = url else {
        let lambda = webhook.get("lambda_function").and_then(Value::as_str);
        return Err(match lambda {
            Some(_) => "it calls an AWS Lambda function, and webhooks here go to addresses only".into(),
            None => "it has no url".into(),
        });
    };
    let named = webhook.get("event_types").and_then(Value::as_array).ok_or("it has no event_types")?;
    let named: Vec<&str> = named.iter().filter_map(Value::as_str).collect();
    let mut kinds = Vec::new();
    let mut unknown = Vec::new();
    for name in named {
        // Soketi has another name for Pusher's cache_miss.
        let name = if name == "cache_missed" { "cache_miss" } else { name };
        match KINDS.iter().find(|known| **known == name) {
            Some(known) if !kinds.iter().any(|k| k == known) => kinds.push((*known).to_owned()),
            Some(_) => {}
            None => unknown.push(name),
        }
    }
    if kinds.is_empty() {
        return Err(format!("it has no kind of event that there is: {}", unknown.join(", ")));
    }
    let filter = |name: &str| {
        let text = webhook.get("filter").and_then(|filter| filter.get(name)).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    let channel_filter = match (filter("channel_name_starts_with"), filter("channel_name_ends_with")) {
        (None, None) => ChannelFilter::None,
        (Some(start), None) => ChannelFilter::Prefix(start.to_owned()),
        (start, Some(end)) => ChannelFilter::Glob(format!("{}*{end}", start.unwrap_or_default())),
    };
    let headers = webhook.get("headers").and_then(Value::as_object);
    let headers = headers.into_iter().flatten().filter_map(|(name, value)| {
        Some((name.clone(), value.as_str().map(str::to_owned).or_else(|| Some(value.as_i64()?.to_string()))?))
    });
    let endpoint = NewEndpoint { url: url.to_owned(), kinds, channel_filter, headers: headers.collect() };
    let note = (!unknown.is_empty()).then(|| format!("there is no kind of event {}", unknown.join(", ")));
    Ok((endpoint, note))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(origin: Origin, text: &str) -> Found {
        let mut all = read(origin, text).expect(text);
        assert_eq!(all.len(), 1);
        all.remove(0).expect("an app")
    }

    fn brief(found: &Found) -> (&str, &str, &str) {
        (&found.id, &found.key, &found.secret)
    }

    #[test]
    fn env_files_are_read_as_frameworks_write_them() {
        let reverb = "# a comment\nAPP_NAME=\"My Shop\"\nBROADCAST_CONNECTION=reverb\nREVERB_APP_ID=256980\nexport REVERB_APP_KEY='abc-1' # here\nREVERB_APP_SECRET=s3cret # note\nREVERB_HOST=\"localhost\"\r\nVITE_REVERB_APP_KEY=\"${REVERB_APP_KEY}\"\n";
        let found = only(Origin::Reverb, reverb);
        assert_eq!(brief(&found), ("256980", "abc-1", "s3cret"));
        assert_eq!((found.name.as_deref(), found.client_events), (Some("My Shop"), true));
        let soketi = "SOKETI_DEFAULT_APP_ID=app-id\nSOKETI_DEFAULT_APP_KEY=k\nSOKETI_DEFAULT_APP_SECRET=s\nSOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES=1\nSOKETI_DEFAULT_APP_MAX_CONNECTIONS=-1";
        let found = only(Origin::Soketi, soketi);
        assert_eq!(brief(&found), ("app-id", "k", "s"));
        assert_eq!((found.client_events, found.connections_max), (true, None));
        let array =
            r#"SOKETI_APP_MANAGER_ARRAY_APPS='[{"id":"5","key":"k","secret":"s","maxConnections":7}]'"#;
        assert_eq!(only(Origin::Soketi, array).connections_max, Some(7));
        for pusher in [
            "PUSHER_APP_ID=9\nPUSHER_APP_KEY=k\nPUSHER_APP_SECRET=s\nPUSHER_APP_CLUSTER=eu",
            "PUSHER_APP_ID=9\nPUSHER_KEY=k\nPUSHER_SECRET=s",
            "app_id = \"9\"\nkey = \"k\"\nsecret = \"s\"\ncluster = \"eu\"",
        ] {
            assert_eq!(brief(&only(Origin::Pusher, pusher)), ("9", "k", "s"), "{pusher}");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_never_filled_in() {
        let error = |origin, text: &str| read(origin, text).expect_err(text).to_string();
        assert!(
            error(Origin::Reverb, "REVERB_APP_ID=1\nREVERB_APP_KEY=")
                .contains("REVERB_APP_KEY, REVERB_APP_SECRET missing")
        );
        assert!(error(Origin::Pusher, "A=1").contains("PUSHER_APP_ID"));
        assert!(
            error(Origin::Pusher, "PUSHER_APP_ID=1\nPUSHER_APP_KEY=${K}\nPUSHER_APP_SECRET=s")
                .contains("${K}")
        );
        assert!(error(Origin::Reverb, "<?php return [];").contains("json_encode"));
        assert!(error(Origin::Soketi, "[]").contains("no apps"));
        assert!(error(Origin::Soketi, "[").contains("JSON"));
        let apps =
            read(Origin::Soketi, r#"[{"id":"1","key":"k"},5,{"id":2,"key":"k","secret":"s"}]"#).unwrap();
        assert_eq!(apps[0].as_ref().unwrap_err(), &("1".to_owned(), "it has no secret".to_owned()));
        assert_eq!(apps[1].as_ref().unwrap_err().0, "entry 2");
        assert_eq!(brief(apps[2].as_ref().unwrap()), ("2", "k", "s"));
    }

    #[test]
    fn reverb_keeps_origins_limits_and_whispers() {
        let text = r#"[{"key":"k","secret":"s","app_id":"77","options":{"host":"x"},"allowed_origins":["shop.test","*.shop.test"],
            "ping_interval":60,"activity_timeout":30,"max_connections":500,"max_message_size":20000,"accept_client_events_from":"none"}]"#;
        let found = only(Origin::Reverb, text);
        assert_eq!(brief(&found), ("77", "k", "s"));
        assert_eq!(found.allowed_origins, ["shop.test", "*.shop.test"]);
        assert_eq!((found.connections_max, found.client_events), (Some(500), false));
        assert_eq!(found.notes, ["max_message_size 20000 is not taken over: messages may have 32 KiB"]);
        let found = only(
            Origin::Reverb,
            r#"{"apps":{"provider":"config","apps":[{"key":"k","secret":"s","app_id":7,"allowed_origins":["*"]}]}}"#,
        );
        assert!(found.allowed_origins.is_empty() && found.client_events);
    }

    #[test]
    fn soketi_keeps_switches_and_webhooks_and_names_the_rest() {
        let text = r#"{"debug":true,"appManager.array.apps":[{"id":"8","key":"k","secret":"s","enabled":false,"enableClientMessages":true,"enableUserAuthentication":true,
            "maxBackendEventsPerSecond":100,"maxClientEventsPerSecond":-1,"webhooks":[
            {"url":"https://a.test/h","event_types":["channel_occupied","cache_missed","mystery"],"headers":{"X-A":"1","X-B":2},"filter":{"channel_name_starts_with":"p-","channel_name_ends_with":"-x"}},
            {"lambda_function":"f","event_types":["client_event"]},{"url":"https://a.test","event_types":["mystery"]}]}]}"#;
        let found = only(Origin::Soketi, text);
        assert!(found.disabled && found.client_events && found.authorized_connections);
        assert_eq!(found.webhooks.len(), 1);
        let webhook = &found.webhooks[0];
        assert_eq!(webhook.kinds, ["channel_occupied", "cache_miss"]);
        assert_eq!(webhook.channel_filter, ChannelFilter::Glob("p-*-x".into()));
        assert_eq!(webhook.headers.len(), 2);
        assert_eq!(found.notes.len(), 4, "{:?}", found.notes);
        let row = r#"[{"id":"8","key":"k","secret":"s","enabled":1,"enable_client_messages":0,"max_connections":10,"max_read_req_per_sec":5,
            "webhooks":"[{\"url\":\"https://a.test\",\"event_types\":[\"client_event\"],\"filter\":{\"channel_name_starts_with\":\"p-\"}}]"}]"#;
        let found = only(Origin::Soketi, row);
        assert!(!found.disabled && !found.client_events);
        assert_eq!(found.webhooks[0].channel_filter, ChannelFilter::Prefix("p-".into()));
        assert_eq!(
            found.notes,
            ["maxReadRequestsPerSecond 5 is not taken over: the plan has its own limits"]
        );
    }

    #[test]
    fn apps_of_pushers_command_line_come_with_their_tokens() {
        let text = r#"[{"id":1234567,"name":"Shop","cluster":"eu","tokens":[{"key":"k","secret":"s"},{"key":"k2","secret":"s2"}]}]"#;
        let found = only(Origin::Pusher, text);
        assert_eq!(brief(&found), ("1234567", "k", "s"));
        assert_eq!(found.name.as_deref(), Some("Shop"));
        assert_eq!(found.notes.len(), 2);
    }
}
