//! `fanfare apps set`: an app's switches from the command line, as the settings page has them.

use anyhow::Context;
use clap::{Args, ValueEnum};
use tenancy::app::{App, AppChange, FeatureChange};
use tenancy::db::Db;

use crate::operator;

/// The flags of `apps set`. Without any it only tells how the switches stand.
#[derive(Args)]
pub(super) struct Switches {
    /// The app's id.
    id: u64,
    /// Clients may trigger events themselves.
    #[arg(long, value_name = "on|off")]
    client_events: Option<Position>,
    #[command(flatten)]
    features: FeatureFlags,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Flags of `apps create` too, where a switch that isn't named has its default.
#[derive(Args)]
pub(super) struct FeatureFlags {
    /// Subscribers are told how many they are.
    #[arg(long, value_name = "on|off")]
    subscription_counts: Option<Position>,
    /// Signed-in users are told when the users on their watchlist come and go.
    #[arg(long, value_name = "on|off")]
    watchlist: Option<Position>,
    /// A connection must sign in or join a private or presence channel in time.
    #[arg(long, value_name = "on|off")]
    authorized_connections: Option<Position>,
    /// Connections and requests without TLS are refused.
    #[arg(long, value_name = "on|off")]
    force_tls: Option<Position>,
    /// Several events travel in one webhook.
    #[arg(long, value_name = "on|off")]
    webhook_batching: Option<Position>,
    /// Clients over the connection limit are told to come back later (4100) instead of to stay away (4004).
    #[arg(long, value_name = "on|off")]
    retry_over_limit: Option<Position>,
}

impl FeatureFlags {
    pub(super) fn change(&self) -> FeatureChange {
        let set = |position: Option<Position>| position.map(Position::is_on);
        FeatureChange {
            subscription_counts: set(self.subscription_counts),
            watchlist: set(self.watchlist),
            authorized_connections: set(self.authorized_connections),
            force_tls: set(self.force_tls),
            webhook_batching: set(self.webhook_batching),
            retry_over_limit: set(self.retry_over_limit),
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Position {
    On,
    Off,
}

impl Position {
    fn is_on(self) -> bool {
        matches!(self, Position::On)
    }
}

impl Switches {
    fn change(&self) -> AppChange {
        AppChange {
            client_events: self.client_events.map(Position::is_on),
            features: self.features.change(),
            ..AppChange::default()
        }
    }

    /// Sets what is named, whoever owns the app, and prints how all switches stand then.
    pub(super) async fn run(&self, db: &Db) -> anyhow::Result<()> {
        let (found, _) = operator::find(db, self.id).await?;
        let change = self.change();
        let app = if change == AppChange::default() {
            found
        } else {
            tenancy::app::update(db, &found.account_id, self.id, change)
                .await?
                .with_context(|| format!("there is no app {}", self.id))?
        };
        println!("{}", if self.json { as_json(&app).to_string() } else { as_text(&app) });
        Ok(())
    }
}

/// Name, as its flag has it, and whether it is on.
fn positions(app: &App) -> [(&'static str, bool); 7] {
    let features = app.features;
    [
        ("client-events", app.client_events),
        ("subscription-counts", features.subscription_counts),
        ("watchlist", features.watchlist),
        ("authorized-connections", features.authorized_connections),
        ("force-tls", features.force_tls),
        ("webhook-batching", features.webhook_batching),
        ("retry-over-limit", features.retry_over_limit),
    ]
}

fn as_json(app: &App) -> serde_json::Value {
    let mut object = serde_json::Map::from_iter([("id".to_owned(), app.id.to_string().into())]);
    object.extend(positions(app).map(|(name, on)| (name.replace('-', "_"), on.into())));
    object.into()
}

fn as_text(app: &App) -> String {
    positions(app).map(|(name, on)| format!("{name:<24}{}", if on { "on" } else { "off" })).join("\n")
}
