//! Serves the pages over a database in a temporary folder and invented numbers, to look at them: `cargo run -p dashboard
//! --example preview [PORT]`. It prints an address that signs in. There is no data plane behind it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use dashboard::{AppUsage, Dashboard, DashboardConfig, Live, SignUpMode};
use tenancy::app::{self, App, AppChange, NewApp};
use tenancy::clock::{DAY_MS, now_ms};
use tenancy::db::Db;
use tenancy::plan::Plan;
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
            resets_ms,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(6081);
    let dir = tempfile::tempdir()?;
    let db = Db::connect(&format!("sqlite:{}", dir.path().join("preview.db").display())).await?;
    db.migrate().await?;
    let (person, account) = user::sign_up(&db, "ana@shop.example", "correct horse 7", Plan::Sandbox).await?;
    for (name, cluster) in [
        ("My first app", "local"),
        ("shop-prod", "eu"),
        ("shop-staging", "eu"),
        ("Chat of the support team, Lisbon", "sa1"),
    ] {
        let new = NewApp {
            name,
            cluster,
            id: None,
            key: None,
            secret: None,
            plan: None,
            connections_max: None,
            client_events: name.starts_with("Chat"),
        };
        let (made, _) = app::create(&db, &account.id, new).await?;
        if name == "shop-prod" {
            app::create_key(&db, &account.id, made.id).await?;
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
        setup_token: None,
        trusted_proxies: false,
    };
    let router = dashboard::router(Dashboard::new(db, config, Arc::new(Invented), system))
        .fallback(async || dashboard::not_found());
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    println!("http://127.0.0.1:{port}/login/link?token={token}");
    axum::serve(listener, router).await?;
    Ok(())
}
