//! Serves the pages over a database in a temporary folder and invented numbers, to look at them: `cargo run -p dashboard
//! --example preview [PORT]`. It prints an address that signs in. There is no data plane behind it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use dashboard::{AppUsage, Dashboard, DashboardConfig, Live, MailOut, OwnCap, SignUpMode};
use protocol::webhook_url::Allow;
use tenancy::app::{self, App, AppChange, NewApp};
use tenancy::clock::{DAY_MS, now_ms};
use tenancy::db::Db;
use tenancy::plan::Plan;
use tenancy::webhook_delivery::{self, Attempt, State as Stage};
use tenancy::webhook_endpoint::{self, ChannelFilter, KINDS, NewEndpoint};
use tenancy::webhook_outbox::{self, NewDelivery, Outcome};
use tenancy::{instance, login_token, user};

struct Invented;

impl Live for Invented {
    fn usage(&self, app: &App) -> AppUsage {
        let (connections, messages_today) = match app.id % 4 {
            1 => (42, 18_204),
            2 => (100, 171_020),
            3 => (0, 0),
            _ => (83, 4_100),
        };
        let resets_ms = (now_ms() / DAY_MS + 1) * DAY_MS;
        AppUsage {
            connections,
            connections_max: Some(100),
            messages_today,
            messages_max: Some(200_000),
            own_cap: app.messages_day_max.map(|max| OwnCap { messages_today: 420, messages_max: max }),
            resets_ms,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(6081);
    let dir = tempfile::tempdir()?;
    let db = Db::connect(&format!("sqlite:{}", dir.path().join("preview.db").display())).await?;
    let db = db.with_vault(tenancy::Vault::fresh());
    db.migrate().await?;
    let (person, account) = user::sign_up(&db, "ana@shop.example", "correct horse 7", Plan::Sandbox).await?;
    for (name, cluster) in [
        ("My first app", "local"),
        ("shop-prod", "eu"),
        ("shop-staging", "eu"),
        ("Chat of the support team, Lisbon", "sa1"),
    ] {
        let new = NewApp { name, cluster, client_events: name.starts_with("Chat"), ..NewApp::default() };
        let (made, _) = app::create(&db, &account.id, new).await?;
        if name == "shop-prod" {
            app::create_key(&db, &account.id, made.id).await?;
            webhooks(&db, &account.id, made.id).await?;
        }
        if name == "shop-staging" {
            let change = AppChange {
                enabled: Some(false),
                allowed_origins: Some(vec![
                    "https://staging.shop.example".to_owned(),
                    "*.shop.example".to_owned(),
                ]),
                ..AppChange::default()
            };
            app::update(&db, &account.id, made.id, change).await?;
        }
    }
    let token = login_token::issue(&db, &person.id).await?;
    let system = instance::system_app(&db).await?;
    let config = DashboardConfig {
        public_url: None,
        signup: SignUpMode::Open,
        signup_plan: Plan::Sandbox,
        dev: true,
        cluster: "local".to_owned(),
        cluster_urls: Default::default(),
        setup_token: None,
        webhook_allow: Allow::parse("127.0.0.0/8").unwrap_or_default(),
        billing: None,
        mail: MailOut::default(),
        server: Default::default(),
        with: Vec::new(),
    };
    let router = dashboard::router(Dashboard::new(db, config, Arc::new(Invented), system))
        .fallback(async || dashboard::not_found());
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    println!("http://127.0.0.1:{port}/login/link?token={token}");
    axum::serve(listener, router).await?;
    Ok(())
}

/// Endpoints that do well, fail, and were never called, with deliveries of each state.
async fn webhooks(db: &Db, account: &str, app: u64) -> Result<(), Box<dyn std::error::Error>> {
    let account = account.to_owned();
    let events = r#"[{"name":"channel_occupied","channel":"presence-checkout"},{"name":"member_added","channel":"presence-checkout","user_id":"ana"}]"#;
    for (url, failing) in [
        ("https://shop.example/webhooks/pusher", false),
        ("https://staging.shop.example/hooks/a-path-that-is-rather-long/and-goes-on?token=1", true),
        ("https://audit.example/", true),
    ] {
        let new = NewEndpoint {
            url: url.to_owned(),
            kinds: if failing { KINDS[..4].to_vec() } else { KINDS.to_vec() }
                .into_iter()
                .map(str::to_owned)
                .collect(),
            channel_filter: if failing {
                ChannelFilter::Prefix("presence-".to_owned())
            } else {
                ChannelFilter::None
            },
            ..NewEndpoint::default()
        };
        let made = webhook_endpoint::create(db, &account, app, new).await?.ok_or("no app")?;
        if url.contains("audit") {
            continue;
        }
        for i in 0..60 {
            let id = webhook_outbox::delivery_id();
            let new = NewDelivery {
                id: id.clone(),
                endpoint_id: made.id.clone(),
                created_ms: now_ms(),
                events: events.to_owned(),
                events_count: 2,
                claimed: true,
            };
            webhook_outbox::put(db, "preview", now_ms() + 600_000, &[new]).await?;
            let tries = if failing && i > 2 { 3 } else { 1 };
            for n in 1..=tries {
                let ok = tries == 1;
                let last = n == tries;
                let attempt = Attempt {
                    at_ms: now_ms() + n * 1_000,
                    status: if ok { Some(204) } else { Some(500).filter(|_| n > 1) },
                    duration_ms: if ok { 38 + i } else { 4_000 },
                    error: (!ok).then(|| {
                        if n == 1 { "no answer within 4 s" } else { "the answer was 500" }.to_owned()
                    }),
                    request_headers: [
                        ("Content-Type", "application/json"),
                        ("X-Pusher-Key", "91e26a54fd4f8921141f"),
                        (
                            "X-Pusher-Signature",
                            "5d2f8c5e0c1a7d0f3b6f6f3c4d2b1a09f8e7d6c5b4a3928170605f4e3d2c1b0a",
                        ),
                    ]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .to_vec(),
                    response_headers: if n == 1 && !ok {
                        Vec::new()
                    } else {
                        vec![
                            ("server".to_owned(), "nginx".to_owned()),
                            ("content-type".to_owned(), "text/html".to_owned()),
                        ]
                    },
                    response_body: if ok || n == 1 {
                        String::new()
                    } else {
                        "<h1>Server Error</h1>".to_owned()
                    },
                };
                let state = match (ok, last && i < 58) {
                    (true, _) => Stage::Delivered,
                    (false, true) => Stage::Failed,
                    (false, false) => Stage::Pending,
                };
                let outcome = Outcome {
                    id: id.clone(),
                    endpoint_id: made.id.clone(),
                    attempt: Some(attempt),
                    state,
                    next_try_ms: (state == Stage::Pending).then(|| now_ms() + 8_000),
                };
                webhook_outbox::finish(db, "preview", &[outcome]).await?;
                if state == Stage::Pending {
                    webhook_outbox::claim(
                        db,
                        "preview",
                        now_ms() + 60_000,
                        now_ms() + 600_000,
                        &made.id,
                        100,
                    )
                    .await?;
                }
            }
        }
        webhook_delivery::send_test(db, &account, app, &made.id, "client_event").await?;
    }
    Ok(())
}
