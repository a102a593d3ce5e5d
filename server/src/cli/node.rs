//! `fanfare node`: tokens for nodes without a database, straight in the control plane's database.

use anyhow::ensure;
use clap::Subcommand;
use tenancy::db::Db;
use tenancy::node_token::{self, DAYS_MAX, NodeToken};

use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum NodeCommand {
    /// Print a token for FANFARE_NODE_TOKEN; it is shown once.
    Token {
        /// The cluster whose apps its nodes get; otherwise that of FANFARE_CLUSTER.
        #[arg(long)]
        cluster: Option<String>,
        /// For people.
        #[arg(long, default_value = "realtime")]
        name: String,
        /// It is good for so long.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
        days: u32,
    },
    /// List all tokens: id, cluster, name, end.
    List,
    /// End a token at once; its nodes go on with the apps that they know.
    Revoke {
        /// From the list.
        id: String,
    },
}

impl NodeCommand {
    pub(super) async fn run(&self, db: &Db, config: &Config) -> anyhow::Result<()> {
        match self {
            NodeCommand::Token { cluster, name, days } => {
                let cluster = cluster.as_deref().unwrap_or(&config.cluster);
                let (made, token) = node_token::issue(db, cluster, name, *days).await?;
                eprintln!("token {} for nodes of the cluster {cluster}, good for {days} days", made.id);
                println!("{}", token.expose());
            }
            NodeCommand::List => node_token::list(db).await?.iter().for_each(|one| println!("{}", line(one))),
            NodeCommand::Revoke { id } => {
                ensure!(node_token::revoke(db, id).await?, "there is no node token {id}");
                println!("{id} is revoked");
            }
        }
        Ok(())
    }
}

fn line(one: &NodeToken) -> String {
    let end = jiff::Timestamp::from_millisecond(one.expires_ms).unwrap_or_default();
    let state = match one.revoked {
        true => "revoked".to_owned(),
        false if one.expires_ms <= tenancy::now_ms() => "over".to_owned(),
        false => format!("until {end:.0}"),
    };
    format!("{}  {:<12} {:<20} {state}", one.id, one.cluster, one.name)
}
