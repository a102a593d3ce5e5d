//! The command line. Without a command it is `fanfare dev`.

mod backup;
mod db;
mod doctor;
mod healthcheck;
mod import;
mod node;
mod secrets;
mod switches;
mod webhooks;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tenancy::app::NewApp;
use tenancy::plan::Plan;

use crate::config::{Config, Raw};
use crate::{dev, operator, serve, telemetry};

#[derive(Parser)]
#[command(
    name = "fanfare",
    version,
    about = "Broadcasting that speaks the Pusher protocol: one binary, a dashboard, a debug console."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Flags,
}

#[derive(Args, Default)]
struct Flags {
    /// Address of the public port, such as 127.0.0.1:6001.
    #[arg(long, global = true)]
    listen: Option<String>,
    /// Public address, such as https://ws.example.com.
    #[arg(long, global = true)]
    url: Option<String>,
    /// Folder of the SQLite file and generated secrets.
    #[arg(long, global = true)]
    data_dir: Option<String>,
    /// Database: sqlite:PATH or postgres://….
    #[arg(long, global = true)]
    database_url: Option<String>,
    /// Threads of the data plane.
    #[arg(long, global = true)]
    workers: Option<String>,
    /// Filter of log lines.
    #[arg(long, global = true)]
    log: Option<String>,
}

impl Flags {
    fn pairs(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("listen", self.listen.clone()),
            ("url", self.url.clone()),
            ("data_dir", self.data_dir.clone()),
            ("database_url", self.database_url.clone()),
            ("workers", self.workers.clone()),
            ("log", self.log.clone()),
        ]
    }
}

#[derive(Subcommand)]
enum Command {
    /// Everything with no settings: SQLite in ./data, a first owner and a first app, on 127.0.0.1:6001.
    Dev,
    /// The server for production.
    Serve,
    /// Apps, straight in the database.
    #[command(subcommand)]
    Apps(Apps),
    /// An app's webhook endpoints and their log, straight in the database.
    #[command(subcommand)]
    Webhooks(webhooks::Webhooks),
    /// Apps of another server, with their ids, keys and secrets, straight into the database.
    Import(import::Import),
    /// People, straight in the database.
    #[command(subcommand)]
    Admin(Admin),
    /// Tokens for realtime nodes without a database.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// The master key that secrets are sealed with.
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// Bring the database's schema up to date.
    Migrate,
    /// Back a SQLite database up into one file; the server may run.
    Backup(backup::Backup),
    /// Put a backup where the server looks for its SQLite database; the server must not run.
    Restore(backup::Restore),
    /// The database as a whole.
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Exit 0 when the server on this machine is ready.
    Healthcheck,
    /// How many sockets this machine holds, which limit stops first and what lifts it; with a URL, whether a running server is
    /// reached.
    Doctor(doctor::Doctor),
    /// Measure a server that speaks the Pusher protocol; `fanfare bench --help` lists the scenarios.
    #[command(disable_help_flag = true)]
    Bench {
        /// A scenario and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

#[derive(Subcommand)]
enum Apps {
    /// Make an app.
    Create(CreateApp),
    /// List all apps.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print an app's `.env` block.
    Env {
        /// The app's id.
        id: u64,
        /// laravel, laravel-pusher, pusher-js, node, php, python, ruby, go or curl.
        #[arg(default_value = "laravel")]
        kind: String,
    },
    /// Switch an app's features on and off, as its settings page does; a running server follows within a second.
    Set(switches::Switches),
}

#[derive(Args)]
struct CreateApp {
    /// For people.
    #[arg(long)]
    name: String,
    /// Decimal id; otherwise the next free one from 1001 on.
    #[arg(long)]
    id: Option<u64>,
    /// Key; otherwise 20 random hex digits.
    #[arg(long)]
    key: Option<String>,
    /// Secret; otherwise 20 random hex digits.
    #[arg(long)]
    secret: Option<String>,
    /// Region.
    #[arg(long)]
    cluster: Option<String>,
    /// A plan of the app's own, metered apart from its account.
    #[arg(long)]
    plan: Option<String>,
    /// At most this many concurrent connections for this app.
    #[arg(long)]
    max_connections: Option<u64>,
    /// Let clients trigger events.
    #[arg(long)]
    client_events: bool,
    #[command(flatten)]
    features: switches::FeatureFlags,
    /// E-mail of the owner; otherwise the first one.
    #[arg(long)]
    owner: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Admin {
    /// Make an owner without a browser.
    Create {
        /// E-mail to sign in with.
        #[arg(long)]
        email: String,
        /// Password.
        #[arg(long)]
        password: String,
    },
    /// Take away the second factor of somebody who lost it; all their sessions end.
    #[command(name = "reset-2fa")]
    ResetSecondFactor {
        /// Whose.
        #[arg(long)]
        email: String,
    },
    /// Print a link with which somebody sets a new password; it works once, for an hour.
    ResetLink {
        /// Their e-mail.
        #[arg(long)]
        email: String,
    },
    /// Let somebody look after this server: the pages below /dash/server. The first owner may anyway.
    Promote {
        /// Their e-mail.
        #[arg(long)]
        email: String,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the effective settings with their sources; secrets hidden.
    Print,
}

/// Runs the command of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    // These need no settings.
    match cli.command {
        Some(Command::Bench { args }) => return bench::run(args),
        Some(Command::Doctor(doctor)) => return doctor.run(),
        _ => {}
    }
    match execute(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanfare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: &Cli) -> anyhow::Result<()> {
    let dev = matches!(cli.command, None | Some(Command::Dev));
    let raw = Raw::load(&cli.settings.pairs(), dev)?;
    if let Some(Command::Config(ConfigCommand::Print)) = cli.command {
        print!("{}", raw.print());
        raw.check(dev)?;
        return Ok(());
    }
    let config = raw.check(dev)?;
    if let Some(Command::Healthcheck) = cli.command {
        return healthcheck::run(&config);
    }
    telemetry::start(&config.log, config.log_json);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("http").build()?;
    runtime.block_on(async {
        match &cli.command {
            None | Some(Command::Dev) => {
                let running = serve::start(&config).await?;
                dev::greet(&running, &config).await?;
                running.run(serve::signalled()).await;
                Ok(())
            }
            Some(Command::Serve) => {
                let running = serve::start(&config).await?;
                tracing::info!("listening on {}", running.address()?);
                running.run(serve::signalled()).await;
                Ok(())
            }
            Some(Command::Apps(command)) => apps(&config, command).await,
            Some(Command::Webhooks(command)) => {
                let db = serve::open_db(&config).await?;
                command.run(&db, &config).await
            }
            Some(Command::Import(command)) => {
                let db = serve::open_db(&config).await?;
                command.run(&db, &config).await
            }
            Some(Command::Admin(Admin::Create { email, password })) => {
                let db = serve::open_db(&config).await?;
                operator::make_owner(&db, email, password).await?;
                println!("{email} can sign in now");
                Ok(())
            }
            Some(Command::Admin(Admin::ResetLink { email })) => {
                let db = serve::open_db(&config).await?;
                println!("{}", operator::reset_link(&db, email, &config.base_url(config.listen)).await?);
                Ok(())
            }
            Some(Command::Admin(Admin::Promote { email })) => {
                let db = serve::open_db(&config).await?;
                anyhow::ensure!(
                    tenancy::server_admin::grant(&db, email).await?,
                    "nobody has the e-mail {email}"
                );
                println!("{email} looks after this server now");
                Ok(())
            }
            Some(Command::Admin(Admin::ResetSecondFactor { email })) => {
                let db = serve::open_db(&config).await?;
                operator::reset_second_factor(&db, email).await?;
                println!(
                    "{email} signs in with the password alone now, and can set two-step sign-in up anew"
                );
                Ok(())
            }
            Some(Command::Node(command)) => {
                let db = serve::open_db(&config).await?;
                command.run(&db, &config).await
            }
            Some(Command::Secrets(command)) => {
                let db = serve::open_db(&config).await?;
                command.run(&db).await
            }
            Some(Command::Migrate) => {
                serve::open_db(&config).await?;
                println!("the schema is up to date");
                Ok(())
            }
            Some(Command::Backup(command)) => command.run(&config).await,
            Some(Command::Restore(command)) => command.run(&config).await,
            Some(Command::Db(command)) => command.run(&config).await,
            // answered above, without a runtime
            Some(Command::Config(_) | Command::Healthcheck | Command::Doctor(_) | Command::Bench { .. }) => {
                Ok(())
            }
        }
    })
}

async fn apps(config: &Config, command: &Apps) -> anyhow::Result<()> {
    let db = serve::open_db(config).await?;
    match command {
        Apps::Create(wanted) => {
            let plan = match wanted.plan.as_deref() {
                None => None,
                Some(name) => Some(tenancy::quota::find(&db, name).await?.with_context(|| {
                    let names: Vec<&str> = Plan::ALL.iter().map(|p| p.name()).collect();
                    format!("there is no plan {name:?}; there are {}", names.join(", "))
                })?),
            };
            let (_, account) = operator::owner(&db, wanted.owner.as_deref()).await?;
            let new = NewApp {
                name: &wanted.name,
                cluster: wanted.cluster.as_deref().unwrap_or(&config.cluster),
                id: wanted.id,
                key: wanted.key.as_deref(),
                secret: wanted.secret.as_deref(),
                plan,
                connections_max: wanted.max_connections,
                client_events: wanted.client_events,
                features: wanted.features.change(),
                created_by: "",
            };
            let (app, key) = tenancy::app::create(&db, &account.id, new).await?;
            if wanted.json {
                println!("{}", described(&app, Some(&key)));
            } else {
                println!("app {} made\nkey     {}\nsecret  {}", app.id, key.key, key.secret.expose());
            }
        }
        Apps::List { json } => {
            let all = tenancy::app::list_all(&db).await?;
            if *json {
                let rows: Vec<serde_json::Value> = all.iter().map(|app| described(app, None)).collect();
                println!("{}", serde_json::Value::Array(rows));
            } else {
                all.iter().for_each(|app| println!("{:>6}  {:<24} {}", app.id, app.name, app.cluster));
            }
        }
        Apps::Env { id, kind } => {
            let (app, key) = operator::find(&db, *id).await?;
            let own = config.cluster_urls.get(&app.cluster).cloned();
            let endpoint = dashboard::Endpoint::parse(&own.unwrap_or_else(|| config.base_url(config.listen)))
                .context("the public address can't be read")?;
            println!("{}", operator::env_block(&app, &key, &endpoint, kind)?);
        }
        Apps::Set(switches) => switches.run(&db).await?,
    }
    Ok(())
}

fn described(app: &tenancy::app::App, key: Option<&tenancy::app::AppKey>) -> serde_json::Value {
    match key {
        Some(key) => serde_json::json!({
            "id": app.id.to_string(), "key": key.key, "secret": key.secret.expose(), "cluster": app.cluster,
        }),
        None => serde_json::json!({
            "id": app.id.to_string(), "name": app.name, "cluster": app.cluster, "enabled": app.enabled,
        }),
    }
}
