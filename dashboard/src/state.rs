//! What the pages share: the database, the settings that pages show or obey, and the door to live numbers.
//!
//! It doesn't know the data plane: [`Live`] is implemented where both planes meet.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use billing::Billing;
use protocol::webhook_url::Allow;
use tenancy::app::App;
use tenancy::db::{Db, DbError};
use tenancy::identity::Provider;
use tenancy::instance::SystemApp;
use tenancy::plan::Plan;
use tenancy::throttle::{CodeThrottle, SignInThrottle};
use tokio::sync::Mutex;

use crate::client::Endpoint;
use crate::server_facts::{NodeRow, ProcessFacts, ServerFacts};
use crate::with::With;

/// Who may make an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignUpMode {
    /// Anybody.
    Open,
    /// Only people with an invitation, of an organisation or to the server.
    Invite,
    /// Nobody.
    Closed,
}

/// How mail leaves this server, as pages say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailOut {
    /// `host:port` of the mail server; `None`: there is none, and mails are only shown.
    pub server: Option<String>,
    /// Who mails come from.
    pub from: String,
}

impl SignUpMode {
    /// As in settings and in storage.
    pub fn name(self) -> &'static str {
        match self {
            SignUpMode::Open => "open",
            SignUpMode::Invite => "invite",
            SignUpMode::Closed => "closed",
        }
    }

    /// The mode of a name.
    pub fn parse(name: &str) -> Option<SignUpMode> {
        [SignUpMode::Open, SignUpMode::Invite, SignUpMode::Closed]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

/// The settings that pages show or obey.
#[derive(Clone)]
pub struct DashboardConfig {
    /// The public address (`FANFARE_URL`); without it, the request's `Host` is used.
    pub public_url: Option<String>,
    /// Who may make an account, unless a page of the server says otherwise.
    pub signup: SignUpMode,
    /// The plan of an account that signs up.
    pub signup_plan: Plan,
    /// Development mode: the one-time link signs a visitor from this machine in at once.
    pub dev: bool,
    /// The cluster of this node; offered first for new apps.
    pub cluster: String,
    /// Public addresses of the clusters, by name: where apps that live there have their sockets.
    pub cluster_urls: BTreeMap<String, String>,
    /// Opens `/setup` while nobody exists; `None` means there is no such page.
    pub setup_token: Option<String>,
    /// Where webhooks may go beside the public internet.
    pub webhook_allow: Allow,
    /// Payments; `None`: this server doesn't bill, and no page mentions it.
    pub billing: Option<Billing>,
    /// How mail leaves.
    pub mail: MailOut,
    /// What the pages of the server tell.
    pub server: ServerFacts,
    /// Where people may have accounts that they sign in with here.
    pub with: Vec<With>,
}

impl DashboardConfig {
    /// The public address of an app's cluster; `None`: the operator named none, so it is this server's.
    pub(crate) fn sockets_of(&self, app: &App) -> Option<Endpoint> {
        self.cluster_urls.get(&app.cluster).and_then(|url| Endpoint::parse(url))
    }
}

impl fmt::Debug for DashboardConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DashboardConfig")
            .field("public_url", &self.public_url)
            .field("signup", &self.signup)
            .field("dev", &self.dev)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Numbers from the data plane.
pub trait Live: Send + Sync + 'static {
    /// What an app uses now and today, against its limits.
    fn usage(&self, app: &App) -> AppUsage;

    /// What an organisation uses now and today, all its apps together without those on a plan of their own. `None`: the data plane
    /// knows none of them.
    fn organisation(&self, account_id: &str) -> Option<AppUsage> {
        let _ = account_id;
        None
    }

    /// Open connections of all these apps together, on this node. Without a data plane: none.
    fn connections(&self, apps: &[u64]) -> u64 {
        let _ = apps;
        0
    }

    /// What the process uses right now.
    fn process(&self) -> ProcessFacts {
        ProcessFacts::default()
    }

    /// The nodes of the cluster that are alive; empty where this one is alone.
    fn nodes(&self) -> Vec<NodeRow> {
        Vec::new()
    }

    /// Does this node reach the others? `None` where it is alone.
    fn is_in_touch(&self) -> Option<bool> {
        None
    }

    /// How an app's keys are used right now, on this node. Without a data plane: not at all.
    fn keys(&self, app: &App) -> Vec<KeyLive> {
        let _ = app;
        Vec::new()
    }
}

/// One key's use on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLive {
    /// The key; it may be one that was revoked and whose last connections are closing.
    pub key: String,
    /// Open connections that came with it.
    pub connections: u64,
    /// The last minute in which such a connection was open, in ms since the epoch; 0 is never since the start.
    pub last_ws_ms: i64,
    /// The last minute in which a request was signed with it.
    pub last_rest_ms: i64,
}

/// One app's use against its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppUsage {
    /// Open connections now.
    pub connections: u64,
    /// Most connections at once; `None` is no limit.
    pub connections_max: Option<u64>,
    /// Messages counted since midnight UTC.
    pub messages_today: u64,
    /// Most messages a day; `None` is no limit.
    pub messages_max: Option<u64>,
    /// The app's own cap on messages, if it has one.
    pub own_cap: Option<OwnCap>,
    /// When the day's count starts again, in ms since the epoch.
    pub resets_ms: i64,
}

/// An app's own messages of the day against its own cap; [`AppUsage`] has those of all apps that share the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnCap {
    /// Messages of this app since midnight UTC.
    pub messages_today: u64,
    /// Its cap on them.
    pub messages_max: u64,
}

impl AppUsage {
    /// The messages against the limit of which less is left; `own_cap` stays only where that is the one.
    pub(crate) fn nearer(self) -> AppUsage {
        let left = self.messages_max.map(|max| max.saturating_sub(self.messages_today));
        match self.own_cap {
            Some(OwnCap { messages_today, messages_max })
                if left.is_none_or(|left| messages_max.saturating_sub(messages_today) < left) =>
            {
                AppUsage { messages_today, messages_max: Some(messages_max), ..self }
            }
            _ => AppUsage { own_cap: None, ..self },
        }
    }
}

struct Shared {
    db: Db,
    config: DashboardConfig,
    live: Arc<dyn Live>,
    system: SystemApp,
    throttle: SignInThrottle,
    codes: CodeThrottle,
    setup: Mutex<()>,
    backup: Mutex<()>,
}

/// The state of every page. Cloning is cheap.
#[derive(Clone)]
pub struct Dashboard(Arc<Shared>);

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Dashboard {
    /// Pages over this database. `system` signs the console's own subscriptions.
    pub fn new(db: Db, config: DashboardConfig, live: Arc<dyn Live>, system: SystemApp) -> Dashboard {
        let (throttle, codes, setup) = (SignInThrottle::new(), CodeThrottle::default(), Mutex::new(()));
        Dashboard(Arc::new(Shared {
            db,
            config,
            live,
            system,
            throttle,
            codes,
            setup,
            backup: Mutex::new(()),
        }))
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.0.db
    }

    /// The settings.
    pub fn config(&self) -> &DashboardConfig {
        &self.0.config
    }

    /// Who may make an account now: as a page of the server says, else as the setting does.
    pub(crate) async fn signup(&self) -> Result<SignUpMode, DbError> {
        let stored = tenancy::instance::signup_mode(self.db()).await?;
        Ok(stored.as_deref().and_then(SignUpMode::parse).unwrap_or(self.0.config.signup))
    }

    /// Open connections of these apps, on this node.
    pub(crate) fn connections_of(&self, apps: &[u64]) -> u64 {
        self.0.live.connections(apps)
    }

    /// What the process uses right now.
    pub(crate) fn process(&self) -> ProcessFacts {
        self.0.live.process()
    }

    /// The nodes of the cluster, and whether this one reaches them; `None` where it is alone.
    pub(crate) fn cluster(&self) -> Option<(Vec<NodeRow>, bool)> {
        self.0.live.is_in_touch().map(|in_touch| (self.0.live.nodes(), in_touch))
    }

    /// Held while a backup is made.
    pub(crate) fn backup_lock(&self) -> &Mutex<()> {
        &self.0.backup
    }

    /// Payments, on a server that bills.
    pub(crate) fn billing(&self) -> Option<&Billing> {
        self.0.config.billing.as_ref()
    }

    /// The providers of sign-ins, for buttons.
    pub(crate) fn with(&self) -> Vec<Provider> {
        self.0.config.with.iter().map(|with| with.provider).collect()
    }

    /// The hidden app whose channels carry the console's rows.
    pub fn system(&self) -> &SystemApp {
        &self.0.system
    }

    /// What an app uses now and today.
    pub fn usage(&self, app: &App) -> AppUsage {
        self.0.live.usage(app)
    }

    /// What an organisation uses right now.
    pub(crate) fn organisation_usage(&self, account_id: &str) -> Option<AppUsage> {
        self.0.live.organisation(account_id)
    }

    /// How an app's keys are used right now.
    pub(crate) fn key_use(&self, app: &App) -> Vec<KeyLive> {
        self.0.live.keys(app)
    }

    /// The brake on password guessing.
    pub(crate) fn throttle(&self) -> &SignInThrottle {
        &self.0.throttle
    }

    /// The brake on guessing of second factors.
    pub(crate) fn codes(&self) -> &CodeThrottle {
        &self.0.codes
    }

    /// Held while the first owner is made, so that two requests at once can't make two.
    pub(crate) fn setup_lock(&self) -> &Mutex<()> {
        &self.0.setup
    }
}
