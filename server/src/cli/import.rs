//! `fanfare import reverb|soketi|pusher FILE`: apps of another server with their ids, keys and secrets, so that nothing else
//! than a host name has to change. Each app by itself: what went wrong with one is told and does not stop the others. An app
//! that is here already is left as it is, so running it twice is harmless.

use std::collections::HashSet;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use protocol::webhook_url;
use serde_json::json;
use tenancy::account::Account;
use tenancy::app::{AppChange, FeatureChange, NAME_CHARS_MAX, NewApp};
use tenancy::db::Db;

use crate::config::Config;
use crate::import::{self, Found, Origin};
use crate::operator;

/// Bytes of a file: a thousand apps with webhooks are a tenth of it.
const FILE_BYTES_MAX: u64 = 16 * 1_024 * 1_024;

/// The arguments of `import`.
#[derive(Args)]
pub(super) struct Import {
    /// Whose apps.
    origin: Origin,
    /// A .env file, or JSON; `-` reads from standard input.
    file: PathBuf,
    /// E-mail of the owner; otherwise the first one.
    #[arg(long)]
    owner: Option<String>,
    /// Give an app whose id is no number (or is taken) a new one; its server's settings must then change too.
    #[arg(long)]
    new_ids: bool,
    /// Tell what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What became of an app.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Made,
    /// The same id, key and secret are here already.
    Here,
    /// It would be made.
    Would,
    /// It was made, but not all of it.
    Partly,
    Refused,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Made => "made",
            Outcome::Here => "already here",
            Outcome::Would => "would be made",
            Outcome::Partly => "partly made",
            Outcome::Refused => "refused",
        }
    }
}

struct Report {
    /// In the file.
    id: String,
    /// Here, if it has one.
    id_here: Option<u64>,
    key: Option<String>,
    outcome: Outcome,
    /// Endpoints that were taken over.
    webhooks: usize,
    notes: Vec<String>,
}

impl Report {
    fn refused(id: String, key: Option<String>, why: String) -> Report {
        Report { id, id_here: None, key, outcome: Outcome::Refused, webhooks: 0, notes: vec![why] }
    }
}

impl Import {
    fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut read = |source: &mut dyn Read| source.take(FILE_BYTES_MAX).read_to_string(&mut text);
        if self.file.as_os_str() == "-" {
            read(&mut std::io::stdin().lock()).context("standard input can't be read")?;
        } else {
            let mut file = std::fs::File::open(&self.file)
                .with_context(|| format!("{} can't be read", self.file.display()))?;
            read(&mut file).with_context(|| format!("{} can't be read", self.file.display()))?;
        }
        Ok(text)
    }

    pub(super) async fn run(&self, db: &Db, config: &Config) -> anyhow::Result<()> {
        let entries = import::read(self.origin, &self.text()?)
            .with_context(|| format!("nothing was imported from {}", self.file.display()))?;
        let (_, account) = operator::owner(db, self.owner.as_deref()).await?;
        let (mut reports, mut names) = (Vec::new(), HashSet::new());
        for entry in entries {
            reports.push(match entry {
                Ok(found) if !names.insert(found.key.clone()) => {
                    Report::refused(found.id, Some(found.key), "the file has this key twice".into())
                }
                Ok(found) => self.take_over(db, config, &account, found).await?,
                Err((place, why)) => Report::refused(place, None, why),
            });
        }
        self.tell(&reports);
        match reports.iter().filter(|r| matches!(r.outcome, Outcome::Refused | Outcome::Partly)).count() {
            0 => Ok(()),
            n => bail!(
                "{n} of {} apps were not taken over as they were; the others are as told above",
                reports.len()
            ),
        }
    }

    /// One app. An error is one of the database, after which nothing more is tried.
    async fn take_over(
        &self,
        db: &Db,
        config: &Config,
        account: &Account,
        found: Found,
    ) -> anyhow::Result<Report> {
        let mut id = found.id.parse::<u64>().ok().filter(|_| found.id.bytes().all(|b| b.is_ascii_digit()));
        let refuse = |why: String| Ok(Report::refused(found.id.clone(), Some(found.key.clone()), why));
        if let Some(view) = tenancy::app::node_view_by_key(db, &found.key).await? {
            let same_secret =
                view.keys.iter().any(|pair| pair.key == found.key && pair.secret.expose() == found.secret);
            let same_id = id == Some(view.app.id) || self.new_ids;
            return match same_secret && same_id {
                true => Ok(Report {
                    id: found.id,
                    id_here: Some(view.app.id),
                    key: Some(found.key),
                    outcome: Outcome::Here,
                    webhooks: 0,
                    notes: vec!["left as it is".into()],
                }),
                false => {
                    refuse(format!("app {} has this key already, with another id or secret", view.app.id))
                }
            };
        }
        let mut notes = found.notes;
        let taken = match id {
            Some(id) => tenancy::app::node_view_by_id(db, id).await?.is_some(),
            None => true,
        };
        if taken || id.is_some_and(|id| id <= tenancy::app::SYSTEM_ID) {
            let why = match id {
                None => format!(
                    "the id {:?} is no number, and the SDKs for Python and Go take numbers only",
                    found.id
                ),
                Some(id) if taken => format!("another app here has the id {id}"),
                Some(id) => format!("the id {id} is kept for the server itself"),
            };
            if !self.new_ids {
                return refuse(format!("{why}; --new-ids gives it another one"));
            }
            notes.push(format!("{why}: it gets a new id, which its server's settings must name"));
            id = None;
        }
        let fallback = format!("{} {}", self.origin_name(), found.id);
        let name: String = found.name.as_deref().unwrap_or(&fallback).chars().take(NAME_CHARS_MAX).collect();
        let new = NewApp {
            name: &name,
            cluster: &config.cluster,
            id,
            key: Some(&found.key),
            secret: Some(&found.secret),
            plan: None,
            connections_max: found.connections_max,
            client_events: found.client_events,
            features: FeatureChange {
                authorized_connections: Some(found.authorized_connections),
                ..FeatureChange::default()
            },
            created_by: "",
        };
        if let Err(why) = new.check() {
            return refuse(why.to_string());
        }
        if self.dry_run {
            let (file_id, key, webhooks) = (found.id, Some(found.key), found.webhooks.len());
            return Ok(Report { id: file_id, id_here: id, key, outcome: Outcome::Would, webhooks, notes });
        }
        let app = match tenancy::app::create(db, &account.id, new).await {
            Ok((app, _)) => app,
            Err(tenancy::app::CreateAppError::Db(error)) => return Err(error.into()),
            Err(why) => return refuse(why.to_string()),
        };
        let mut failed = Vec::new();
        if found.disabled || !found.allowed_origins.is_empty() {
            let change = AppChange {
                enabled: found.disabled.then_some(false),
                allowed_origins: Some(found.allowed_origins),
                ..AppChange::default()
            };
            if let Err(error) = tenancy::app::update(db, &account.id, app.id, change).await {
                failed.push(format!(
                    "its allowed origins and whether it is enabled were not taken over: {error}"
                ));
            }
        }
        let mut webhooks = 0;
        for (index, webhook) in found.webhooks.into_iter().enumerate() {
            if let Err(refusal) = webhook_url::parse(&webhook.url, &config.webhook_allow) {
                let url = &webhook.url;
                failed.push(format!("webhook {} was not taken over: {url}: {refusal}", index + 1));
                continue;
            }
            match tenancy::webhook_endpoint::create(db, &account.id, app.id, webhook).await {
                Ok(_) => webhooks += 1,
                Err(error) => failed.push(format!("webhook {} was not taken over: {error}", index + 1)),
            }
        }
        let outcome = if failed.is_empty() { Outcome::Made } else { Outcome::Partly };
        failed.extend(notes);
        Ok(Report {
            id: found.id,
            id_here: Some(app.id),
            key: Some(found.key),
            outcome,
            webhooks,
            notes: failed,
        })
    }

    fn origin_name(&self) -> &'static str {
        match self.origin {
            Origin::Reverb => "Reverb",
            Origin::Soketi => "Soketi",
            Origin::Pusher => "Pusher",
        }
    }

    fn tell(&self, reports: &[Report]) {
        if self.json {
            let rows: Vec<serde_json::Value> = reports
                .iter()
                .map(|report| {
                    json!({
                        "id": report.id,
                        "app": report.id_here.map(|id| id.to_string()),
                        "key": report.key,
                        "outcome": report.outcome.name(),
                        "webhooks": report.webhooks,
                        "notes": report.notes,
                    })
                })
                .collect();
            println!("{}", serde_json::Value::Array(rows));
            return;
        }
        for report in reports {
            let id = report.id_here.map_or_else(|| report.id.clone(), |id| id.to_string());
            let key = report.key.as_deref().unwrap_or_default();
            let webhooks = match report.webhooks {
                0 => String::new(),
                1 => "  1 webhook".to_owned(),
                n => format!("  {n} webhooks"),
            };
            println!("{:<13} {id:>8}  {key}{webhooks}", report.outcome.name());
            report.notes.iter().for_each(|note| println!("              {note}"));
        }
    }
}
