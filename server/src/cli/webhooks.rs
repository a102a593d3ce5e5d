//! `fanfare webhooks …`: an app's webhook endpoints and their log from the command line, as the webhook pages have them. A
//! running server follows within a second.

use std::net::IpAddr;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use protocol::webhook_url::{self, Host};
use serde_json::json;
use tenancy::account::AccountId;
use tenancy::db::Db;
use tenancy::webhook_delivery::{self as log, Delivery, Filter, State};
use tenancy::webhook_endpoint::{
    self as endpoint, ChannelFilter, EndpointChange, KINDS, NewEndpoint, WebhookEndpoint,
};

use crate::config::Config;
use crate::operator;

#[derive(Subcommand)]
pub(super) enum Webhooks {
    /// Make an endpoint.
    Add(Add),
    /// List an app's endpoints.
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Switch an endpoint on, which also ends a pause.
    On {
        #[command(flatten)]
        of: Of,
        /// The endpoint's id.
        endpoint: String,
    },
    /// Switch an endpoint off.
    Off {
        #[command(flatten)]
        of: Of,
        /// The endpoint's id.
        endpoint: String,
    },
    /// Delete an endpoint with its log.
    Delete {
        #[command(flatten)]
        of: Of,
        /// The endpoint's id.
        endpoint: String,
    },
    /// Send a test event.
    Test {
        #[command(flatten)]
        of: Of,
        /// The endpoint's id.
        endpoint: String,
        /// Its kind.
        #[arg(long, default_value = "channel_occupied")]
        kind: String,
    },
    /// Show what was sent, newest first; with an id, one delivery and its attempts.
    Deliveries {
        #[command(flatten)]
        of: Of,
        /// A delivery's id.
        delivery: Option<String>,
        /// Only those to this endpoint.
        #[arg(long)]
        endpoint: Option<String>,
        /// pending, delivered or failed.
        #[arg(long)]
        state: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Send a delivery again.
    Resend {
        #[command(flatten)]
        of: Of,
        /// The delivery's id.
        delivery: String,
    },
    /// Send again what failed.
    Recover {
        #[command(flatten)]
        of: Of,
        /// The endpoint's id.
        endpoint: String,
        /// Only what was made in the last so many hours.
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
}

/// Which app, and how to answer.
#[derive(Args)]
pub(super) struct Of {
    /// The app's id.
    #[arg(long)]
    app: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Add {
    #[command(flatten)]
    of: Of,
    /// Where to, such as https://example.com/pusher/webhooks.
    #[arg(long)]
    url: String,
    /// Kinds of events, separated by commas; otherwise all but quota_threshold.
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<String>,
    /// Only channels that match: prefix:TEXT, exact:NAME or glob:PATTERN.
    #[arg(long)]
    channels: Option<String>,
    /// A header to send along, as NAME:VALUE; can be given several times.
    #[arg(long = "header")]
    headers: Vec<String>,
}

impl Webhooks {
    fn of(&self) -> &Of {
        match self {
            Webhooks::Add(add) => &add.of,
            Webhooks::List { of }
            | Webhooks::On { of, .. }
            | Webhooks::Off { of, .. }
            | Webhooks::Delete { of, .. }
            | Webhooks::Test { of, .. }
            | Webhooks::Deliveries { of, .. }
            | Webhooks::Resend { of, .. }
            | Webhooks::Recover { of, .. } => of,
        }
    }

    pub(super) async fn run(&self, db: &Db, config: &Config) -> anyhow::Result<()> {
        let Of { app, json } = *self.of();
        let (found, _) = operator::find(db, app).await?;
        let account: AccountId = found.account_id;
        let no_endpoint = |id: &str| format!("app {app} has no endpoint {id}");
        match self {
            Webhooks::Add(add) => {
                check(&add.url, config).await?;
                let made = endpoint::create(db, &account, app, add.wanted()?)
                    .await?
                    .with_context(|| format!("there is no app {app}"))?;
                print(json, &endpoint_json(&made), || format!("endpoint {} made", made.id));
            }
            Webhooks::List { .. } => {
                let all = endpoint::list(db, &account, app).await?;
                let lines: Vec<String> = all.iter().map(endpoint_line).collect();
                print(json, &all.iter().map(endpoint_json).collect(), || lines.join("\n"));
            }
            Webhooks::On { endpoint: id, .. } | Webhooks::Off { endpoint: id, .. } => {
                let enabled = Some(matches!(self, Webhooks::On { .. }));
                let change = EndpointChange { enabled, ..EndpointChange::default() };
                let changed = endpoint::update(db, &account, app, id, change)
                    .await?
                    .with_context(|| no_endpoint(id))?;
                print(json, &endpoint_json(&changed), || endpoint_line(&changed));
            }
            Webhooks::Delete { endpoint: id, .. } => {
                if !endpoint::delete(db, &account, app, id).await? {
                    bail!(no_endpoint(id));
                }
                print(json, &json!({ "deleted": id }), || format!("endpoint {id} deleted"));
            }
            Webhooks::Test { endpoint: id, kind, .. } => {
                if !KINDS.contains(&kind.as_str()) {
                    bail!("there is no kind {kind:?}; there are {}", KINDS.join(", "));
                }
                let sent =
                    log::send_test(db, &account, app, id, kind).await?.with_context(|| no_endpoint(id))?;
                print(json, &json!({ "delivery": sent }), || format!("delivery {sent} is on its way"));
            }
            Webhooks::Deliveries { delivery: Some(id), .. } => {
                let one = log::find(db, &account, app, id)
                    .await?
                    .with_context(|| format!("app {app} has no delivery {id}"))?;
                print(json, &delivery_json(&one), || delivery_line(&one));
            }
            Webhooks::Deliveries { delivery: None, endpoint, state, limit, .. } => {
                let state = match state.as_deref() {
                    None => None,
                    Some(name) => Some(State::parse(name).with_context(|| {
                        format!("the state is pending, delivered or failed, not {name:?}")
                    })?),
                };
                let filter = Filter { endpoint_id: endpoint.as_deref(), state, before: None, limit: *limit };
                let all = log::list(db, &account, app, filter).await?;
                let lines: Vec<String> = all.iter().map(delivery_line).collect();
                print(json, &all.iter().map(delivery_json).collect(), || lines.join("\n"));
            }
            Webhooks::Resend { delivery: id, .. } => {
                if !log::resend(db, &account, app, id).await? {
                    bail!("app {app} has no delivery {id}, or it is on its way");
                }
                print(json, &json!({ "delivery": id }), || format!("delivery {id} is on its way again"));
            }
            Webhooks::Recover { endpoint: id, hours, .. } => {
                let since = tenancy::now_ms() - i64::from(*hours) * tenancy::clock::HOUR_MS;
                let count = log::recover(db, &account, app, id, since).await?;
                print(json, &json!({ "count": count }), || {
                    format!("{count} deliveries are on their way again")
                });
            }
        }
        Ok(())
    }
}

impl Add {
    fn wanted(&self) -> anyhow::Result<NewEndpoint> {
        let kinds = if self.kinds.is_empty() { endpoint::default_kinds() } else { self.kinds.clone() };
        let channel_filter = match self.channels.as_deref().map(|text| text.split_once(':')) {
            None => ChannelFilter::None,
            Some(Some(("prefix", text))) => ChannelFilter::Prefix(text.to_owned()),
            Some(Some(("exact", text))) => ChannelFilter::Exact(text.to_owned()),
            Some(Some(("glob", text))) => ChannelFilter::Glob(text.to_owned()),
            Some(_) => bail!("channels must be prefix:TEXT, exact:NAME or glob:PATTERN"),
        };
        let headers = self.headers.iter().map(|line| {
            let (name, value) =
                line.split_once(':').with_context(|| format!("{line:?} is not NAME:VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        });
        let headers = headers.collect::<anyhow::Result<_>>()?;
        Ok(NewEndpoint { url: self.url.clone(), kinds, channel_filter, headers })
    }
}

/// Refuses an address that the server would refuse to call. A name that can't be resolved here and now may be one later.
async fn check(url: &str, config: &Config) -> anyhow::Result<()> {
    let allow = &config.webhook_allow;
    let target = webhook_url::parse(url.trim(), allow)?;
    if let Host::Name(name) = &target.host
        && let Ok(found) = tokio::net::lookup_host((name.as_str(), target.port)).await
    {
        let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        for ip in found {
            allow.permits(&target, ip)?;
        }
    }
    Ok(())
}

fn print(as_json: bool, value: &serde_json::Value, text: impl FnOnce() -> String) {
    println!("{}", if as_json { value.to_string() } else { text() });
}

fn condition(one: &WebhookEndpoint) -> &'static str {
    match (one.enabled, one.paused_ms, one.failing_since_ms) {
        (false, _, _) => "off",
        (true, Some(_), _) => "paused",
        (true, None, Some(_)) => "failing",
        (true, None, None) => "healthy",
    }
}

fn endpoint_line(one: &WebhookEndpoint) -> String {
    format!("{}  {:<8}{}  {}", one.id, condition(one), one.url, one.kinds.join(","))
}

fn endpoint_json(one: &WebhookEndpoint) -> serde_json::Value {
    // Values of headers may be secrets of the customer's.
    let headers: Vec<&str> = one.headers.iter().map(|(name, _)| name.as_str()).collect();
    json!({
        "id": one.id, "app": one.app_id.to_string(), "url": one.url, "kinds": one.kinds, "channels": one.channel_filter,
        "headers": headers, "enabled": one.enabled, "state": condition(one), "failing_since_ms": one.failing_since_ms,
        "paused_ms": one.paused_ms, "created_ms": one.created_ms,
    })
}

fn delivery_line(one: &Delivery) -> String {
    let last = one.attempts.last();
    let answer = last.and_then(|a| a.status.map(|s| s.to_string()).or_else(|| a.error.clone()));
    format!(
        "{}  {:<10}{} events  {} attempts  {}",
        one.id,
        one.state.name(),
        one.events_count,
        one.attempts.len(),
        answer.unwrap_or_default()
    )
}

fn delivery_json(one: &Delivery) -> serde_json::Value {
    let attempts: Vec<serde_json::Value> = one
        .attempts
        .iter()
        .map(|a| {
            json!({
                "at_ms": a.at_ms, "status": a.status, "duration_ms": a.duration_ms, "error": a.error,
                "request_headers": a.request_headers, "response_headers": a.response_headers,
                "response_body": a.response_body,
            })
        })
        .collect();
    json!({
        "id": one.id, "endpoint": one.endpoint_id, "created_ms": one.created_ms, "body": one.body,
        "events_count": one.events_count, "test": one.test, "by_hand": one.by_hand, "state": one.state.name(),
        "attempts": attempts, "next_try_ms": one.next_try_ms,
    })
}
