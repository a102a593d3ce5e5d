//! Settings: flags over `FANFARE_*` over `fanfare.toml` over defaults. The only place that reads the environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use dashboard::SignUpMode;
use tenancy::identity::Provider;

use crate::metrics;
use crate::roles::{self, ControlAt, Role};
use crate::serve::reachable;
use crate::tls::CertificateFiles;

/// One setting's name, default and meaning. Shown by `config print`, documented in docs/CONFIG.md.
#[derive(Debug)]
pub struct Setting {
    /// As in `fanfare.toml`; `FANFARE_` and upper case make the environment variable.
    pub name: &'static str,
    /// Used when nothing else is said; empty means unset.
    pub default: &'static str,
    /// Never printed.
    pub secret: bool,
    /// One sentence.
    pub meaning: &'static str,
}

const fn setting(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default, secret: false, meaning }
}

const fn secret(name: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default: "", secret: true, meaning }
}

/// Every setting there is.
pub const SETTINGS: &[Setting] = &[
    setting(
        "listen",
        "0.0.0.0:6001",
        "Address of the one public port; `fanfare dev` listens on 127.0.0.1:6001.",
    ),
    setting("url", "", "Public address, such as https://ws.example.com; unset: the request's Host."),
    setting(
        "tls_cert",
        "",
        "PEM file of the public port's certificate and its chain; with tls_key the port speaks TLS only.",
    ),
    setting("tls_key", "", "PEM file of the certificate's private key."),
    setting("data_dir", "./data", "Folder of the SQLite file and generated secrets."),
    setting("database_url", "", "Where accounts and apps are; unset: SQLite in the data folder."),
    secret(
        "secret_key",
        "Master key that secrets in the database are sealed with: 64 hex digits, after a comma older ones; unset: a file.",
    ),
    setting("cluster", "local", "This node's region: local or a code such as mt1, eu, us2."),
    setting(
        "role",
        "all",
        "What this process serves: all, control (dashboard, management API, billing) or realtime (sockets and the HTTP API).",
    ),
    setting(
        "control_url",
        "",
        "Address of the control plane, such as https://fanfare.example.com; a realtime node with it needs no database.",
    ),
    secret("node_token", "What such a node shows the control plane: from `fanfare node token`."),
    setting(
        "cluster_urls",
        "",
        "Public addresses of the clusters, such as eu=https://ws-eu.example.com,us2=https://ws-us.example.com.",
    ),
    setting(
        "redis_url",
        "",
        "Redis that joins nodes into a cluster: redis://… or rediss://…; unset: this node is alone.",
    ),
    setting(
        "redis_prefix",
        "fanfare",
        "Before all keys and topics in Redis, so that clusters can share one.",
    ),
    setting("workers", "", "Threads of the data plane; unset: number of cores."),
    setting(
        "metrics_listen",
        "127.0.0.1:9601",
        "Address and port of Prometheus' /metrics, for this machine or a private network alone; off: none.",
    ),
    setting("app_id", "", "Id of one static app on the plan unlimited; needs app_key and app_secret too."),
    setting("app_key", "", "Key of the static app."),
    secret("app_secret", "Secret of the static app."),
    setting(
        "signup",
        "closed",
        "Who may make an account: open, invite (only with a link) or closed; `fanfare dev`: open. The page /dash/server/sign-up goes before it.",
    ),
    setting("admin_email", "", "E-mail of the first owner, made at start if nobody exists."),
    secret("admin_password", "Password of the first owner."),
    setting(
        "trust_proxy",
        "false",
        "Believe X-Forwarded-For and X-Forwarded-Proto; true only behind an own proxy.",
    ),
    setting("drain_seconds", "5", "On SIGTERM, sockets are closed over this time with 4200."),
    setting(
        "webhook_allow",
        "",
        "Where webhooks may go beside the public internet: addresses, networks and host names, separated by commas; `fanfare dev`: this machine.",
    ),
    setting(
        "smtp_url",
        "",
        "Mail server, such as smtp://user:password@host:587 or smtps://…; unset: mails are written to the log and to /dash/server/mail.",
    ),
    setting("mail_from", "", "Who mails come from; unset: fanfare@ the host of url."),
    secret(
        "stripe_secret_key",
        "Secret key of Stripe; unset: this server does not bill, and no page mentions it.",
    ),
    secret(
        "stripe_webhook_secret",
        "Secrets of Stripe's webhook endpoint, separated by commas while one is replaced.",
    ),
    setting(
        "stripe_prices",
        "",
        "Which price of Stripe is which plan, such as startup=price_…,pro=price_…; the first of a plan is sold.",
    ),
    setting("stripe_automatic_tax", "false", "Let Stripe Tax reckon the taxes."),
    setting(
        "stripe_overage",
        "",
        "Sells messages beyond the plan: METER=price_…, a meter's event name and its metered price for 1,000 messages.",
    ),
    setting("stripe_api_base", "", "Another server that behaves as Stripe; unset: Stripe."),
    setting(
        "github_client_id",
        "",
        "Client id of an OAuth app of GitHub; unset: nobody signs in with GitHub.",
    ),
    secret("github_client_secret", "Its secret."),
    setting(
        "github_base_url",
        "",
        "A GitHub of one's own, such as https://github.example.com; unset: github.com.",
    ),
    setting(
        "google_client_id",
        "",
        "Client id of Google for web applications; unset: nobody signs in with Google.",
    ),
    secret("google_client_secret", "Its secret."),
    setting("google_base_url", "", "Another server that behaves as Google, for tests; unset: Google."),
    setting("log", "info", "Filter of log lines, as of tracing."),
    setting("log_format", "text", "text or json."),
];

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Command line.
    Flag,
    /// `FANFARE_*`.
    Environment,
    /// `fanfare.toml`.
    File,
    /// Built in.
    Default,
}

/// All settings as text with their sources.
#[derive(Clone, Debug)]
pub struct Raw(BTreeMap<&'static str, (String, Source)>);

/// Settings as the server uses them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the public port.
    pub listen: SocketAddr,
    /// Public address.
    pub url: Option<String>,
    /// Certificate and key of the public port; without them it is plain.
    pub tls: Option<CertificateFiles>,
    /// Folder of data and secrets.
    pub data_dir: PathBuf,
    /// Database.
    pub database_url: String,
    /// Master keys, the one that seals first; unset: a file.
    pub secret_key: Option<realtime::app::Secret>,
    /// Region.
    pub cluster: String,
    /// What this process serves.
    pub role: Role,
    /// Where apps come from if not from a database.
    pub control: Option<ControlAt>,
    /// Public addresses of the clusters, by name.
    pub cluster_urls: BTreeMap<String, String>,
    /// Redis of the cluster, and what stands before its keys.
    pub redis: Option<(String, String)>,
    /// Threads of the data plane.
    pub workers: usize,
    /// Where metrics are to be had; `None`: nowhere.
    pub metrics: Option<metrics::Listen>,
    /// Id, key and secret of the static app.
    pub static_app: Option<StaticApp>,
    /// Who may make an account.
    pub signup: SignUpMode,
    /// E-mail and password of the first owner.
    pub admin: Option<(String, realtime::app::Secret)>,
    /// Believe forwarded headers.
    pub trust_proxy: bool,
    /// Length of a drain.
    pub drain: std::time::Duration,
    /// Where webhooks may go beside the public internet.
    pub webhook_allow: protocol::webhook_url::Allow,
    /// Payments; `None`: this server does not bill.
    pub billing: Option<billing::BillingConfig>,
    /// Mail.
    pub mail: crate::mail::MailConfig,
    /// Where people may have accounts that they sign in with here.
    pub with: Vec<dashboard::With>,
    /// Development mode.
    pub dev: bool,
    /// Log filter.
    pub log: String,
    /// JSON log lines.
    pub log_json: bool,
}

/// An app that lives in settings only.
#[derive(Clone, Debug)]
pub struct StaticApp {
    /// Decimal.
    pub id: u64,
    /// Public half.
    pub key: String,
    /// Secret half.
    pub secret: realtime::app::Secret,
}

impl Config {
    /// The address for people: the public one, or where a browser on this machine finds a port that listens on `address`.
    pub fn base_url(&self, address: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.url.clone().unwrap_or_else(|| format!("{scheme}://{}", reachable(address)))
    }
}

impl Raw {
    /// Collects the settings. `flags` come from the command line; `dev` changes some defaults.
    pub fn load(flags: &[(&'static str, Option<String>)], dev: bool) -> anyhow::Result<Raw> {
        Raw::from_parts(flags, dev, |name| std::env::var(name).ok(), read_file()?)
    }

    fn from_parts(
        flags: &[(&'static str, Option<String>)],
        dev: bool,
        env: impl Fn(&str) -> Option<String>,
        file: toml::Table,
    ) -> anyhow::Result<Raw> {
        for key in file.keys() {
            if !SETTINGS.iter().any(|s| s.name == key) {
                let near = SETTINGS
                    .iter()
                    .map(|s| s.name)
                    .min_by_key(|name| distance(name, key))
                    .unwrap_or_default();
                bail!("fanfare.toml: unknown setting `{key}`; did you mean `{near}`?");
            }
        }
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            let flag = flags.iter().find(|(name, _)| *name == setting.name).and_then(|(_, v)| v.clone());
            let env = || env(&format!("FANFARE_{}", setting.name.to_uppercase())).filter(|v| !v.is_empty());
            let file = || file.get(setting.name).map(text);
            let default = match (dev, setting.name) {
                (true, "listen") => "127.0.0.1:6001",
                (true, "signup") => "open",
                (true, "drain_seconds") => "0",
                (true, "webhook_allow") => "127.0.0.0/8,::1,localhost",
                _ => setting.default,
            };
            let value = flag
                .map(|v| (v, Source::Flag))
                .or_else(|| env().map(|v| (v, Source::Environment)))
                .or_else(|| file().map(|v| (v, Source::File)))
                .unwrap_or_else(|| (default.to_owned(), Source::Default));
            values.insert(setting.name, value);
        }
        Ok(Raw(values))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(v, _)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// The settings as a TOML file with each value's source; secrets hidden.
    pub fn print(&self) -> String {
        let lines = SETTINGS.iter().map(|setting| {
            let (value, source) = &self.0[setting.name];
            let shown = match (value.is_empty(), setting.secret) {
                (true, _) => "unset".to_owned(),
                (false, true) => "\"…\"".to_owned(),
                (false, false) => format!("{:?}", without_password(value)),
            };
            let source = match source {
                Source::Flag => "command line".to_owned(),
                Source::Environment => format!("FANFARE_{}", setting.name.to_uppercase()),
                Source::File => "fanfare.toml".to_owned(),
                Source::Default => "default".to_owned(),
            };
            let comment = if value.is_empty() { "# " } else { "" };
            format!("{comment}{} = {shown}  # {source}: {}\n", setting.name, setting.meaning)
        });
        lines.collect()
    }

    fn yes(&self, name: &str) -> anyhow::Result<bool> {
        match self.get(name) {
            Some("true" | "1") => Ok(true),
            Some("false" | "0") | None => Ok(false),
            Some(other) => bail!("{name} must be true or false, it is {other:?}"),
        }
    }

    fn billing(&self) -> anyhow::Result<Option<billing::BillingConfig>> {
        let Some(secret_key) = self.get("stripe_secret_key") else {
            if let Some(name) =
                ["stripe_webhook_secret", "stripe_prices"].into_iter().find(|name| self.get(name).is_some())
            {
                bail!("{name} is set and stripe_secret_key is not: set it too, or none of them");
            }
            return Ok(None);
        };
        let text = |name: &str| self.get(name).unwrap_or_default();
        let config = billing::BillingConfig::parse(
            secret_key,
            text("stripe_webhook_secret"),
            self.get("stripe_api_base"),
            text("stripe_prices"),
            self.yes("stripe_automatic_tax")?,
        );
        Ok(Some(config?.with_overage(text("stripe_overage"))?))
    }

    fn redis(&self) -> anyhow::Result<Option<(String, String)>> {
        let Some(url) = self.get("redis_url") else { return Ok(None) };
        if let Err(error) = realtime::cluster::check_url(url) {
            bail!(
                "redis_url must look like redis://host:6379 or rediss://user:password@host:6380/0: {error}"
            );
        }
        let prefix = self.get("redis_prefix").unwrap_or("fanfare");
        if !prefix.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c)) {
            bail!("redis_prefix must be letters, digits and -_.: alone, it is {prefix:?}");
        }
        Ok(Some((url.to_owned(), prefix.to_owned())))
    }

    /// The providers of sign-ins that are set up.
    fn with(&self) -> anyhow::Result<Vec<dashboard::With>> {
        let mut all = Vec::new();
        for provider in Provider::ALL {
            let name = |part: &str| format!("{}_{part}", provider.name());
            let (id, secret) = (name("client_id"), name("client_secret"));
            match (self.get(&id), self.get(&secret)) {
                (None, None) => {}
                (Some(client_id), Some(client_secret)) => {
                    let base = name("base_url");
                    let with = dashboard::With::new(provider, client_id, client_secret, self.get(&base));
                    all.push(with.with_context(|| format!("{base} must look like https://host"))?);
                }
                _ => bail!("{id} and {secret} belong together: set both or none"),
            }
        }
        Ok(all)
    }

    /// Checks the values; an error names the setting.
    pub fn check(&self, dev: bool) -> anyhow::Result<Config> {
        let role = Role::parse(self.get("role").unwrap_or("all"))?;
        let data_dir = PathBuf::from(self.get("data_dir").unwrap_or("./data"));
        let static_app = match (self.get("app_id"), self.get("app_key"), self.get("app_secret")) {
            (None, None, None) => None,
            (Some(id), Some(key), Some(secret)) => Some(StaticApp {
                id: id
                    .parse()
                    .ok()
                    .filter(|id| *id > 1)
                    .context("app_id must be a decimal number above 1")?,
                key: key.to_owned(),
                secret: realtime::app::Secret::new(secret),
            }),
            _ => bail!("app_id, app_key and app_secret belong together: set all three or none"),
        };
        let admin = match (self.get("admin_email"), self.get("admin_password")) {
            (None, None) => None,
            (Some(email), Some(password)) => Some((email.to_owned(), realtime::app::Secret::new(password))),
            _ => bail!("admin_email and admin_password belong together"),
        };
        let url = self.get("url").map(|u| u.trim_end_matches('/').to_owned());
        if let Some(url) = &url
            && dashboard::Endpoint::parse(url).is_none()
        {
            bail!("url must look like https://host or http://host:port, it is {url:?}");
        }
        let tls = match (self.get("tls_cert"), self.get("tls_key")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(CertificateFiles { certificate: certificate.into(), key: key.into() })
            }
            _ => bail!("tls_cert and tls_key belong together: set both or none"),
        };
        let number = |name: &str| {
            self.get(name)
                .map(|v| v.parse::<u64>().with_context(|| format!("{name} must be a number, it is {v:?}")))
                .transpose()
        };
        Ok(Config {
            listen: self
                .get("listen")
                .unwrap_or_default()
                .parse()
                .context("listen must be an address and port, such as 0.0.0.0:6001")?,
            url,
            tls,
            database_url: self
                .get("database_url")
                .map_or_else(|| format!("sqlite:{}", data_dir.join("fanfare.db").display()), str::to_owned),
            data_dir,
            secret_key: self.get("secret_key").map(realtime::app::Secret::new),
            cluster: self.get("cluster").unwrap_or("local").to_owned(),
            role,
            control: roles::control(role, self.get("control_url"), self.get("node_token"))?,
            cluster_urls: roles::cluster_urls(self.get("cluster_urls").unwrap_or_default())?,
            redis: self.redis()?,
            workers: match number("workers")? {
                Some(0) => bail!("workers must be at least 1"),
                Some(n) => n.min(256) as usize,
                None => std::thread::available_parallelism().map_or(1, usize::from),
            },
            metrics: metrics::parse(
                self.get("metrics_listen").unwrap_or(metrics::OFF),
                self.0.get("metrics_listen").is_some_and(|(_, source)| *source != Source::Default),
            )?,
            static_app,
            signup: match self.get("signup") {
                Some("open") => SignUpMode::Open,
                Some("invite") => SignUpMode::Invite,
                Some("closed") | None => SignUpMode::Closed,
                Some(other) => bail!("signup must be open, invite or closed, it is {other:?}"),
            },
            admin,
            trust_proxy: self.yes("trust_proxy")?,
            drain: std::time::Duration::from_secs(number("drain_seconds")?.unwrap_or(5)),
            webhook_allow: protocol::webhook_url::Allow::parse(self.get("webhook_allow").unwrap_or_default())
                .map_err(|entry| {
                    anyhow::anyhow!("webhook_allow must list addresses, networks such as 10.0.0.0/8 and host names, not {entry:?}")
                })?,
            billing: self.billing()?,
            mail: crate::mail::MailConfig::parse(self.get("smtp_url"), self.get("mail_from"), self.get("url"))?,
            with: self.with()?,
            dev,
            log: self.get("log").unwrap_or("info").to_owned(),
            log_json: match self.get("log_format") {
                Some("json") => true,
                Some("text") | None => false,
                Some(other) => bail!("log_format must be text or json, it is {other:?}"),
            },
        })
    }
}

/// An address without the user and password that it may carry.
pub(crate) fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// A TOML value as the text that an environment variable would hold.
fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(n) => n.to_string(),
        toml::Value::Boolean(b) => b.to_string(),
        other => format!("{other:?}"),
    }
}

fn read_file() -> anyhow::Result<toml::Table> {
    match std::fs::read_to_string("fanfare.toml") {
        Ok(text) => text.parse().context("fanfare.toml is not valid TOML"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(toml::Table::new()),
        Err(error) => Err(error).context("fanfare.toml can't be read"),
    }
}

/// Characters that two names don't share, roughly: enough to guess what was meant.
fn distance(a: &str, b: &str) -> usize {
    let missing = |x: &str, y: &str| x.chars().filter(|c| !y.contains(*c)).count();
    missing(a, b) + missing(b, a) + a.len().abs_diff(b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        flags: &[(&'static str, Option<String>)],
        env: &[(&str, &str)],
        file: &str,
    ) -> anyhow::Result<Raw> {
        let env = |name: &str| env.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        Raw::from_parts(flags, false, env, file.parse().unwrap())
    }

    #[test]
    fn flags_beat_the_environment_and_the_environment_beats_the_file() {
        let file = "cluster = \"eu\"\nworkers = 3\nlog = \"debug\"";
        let env = [("FANFARE_CLUSTER", "us2"), ("FANFARE_LOG", "warn")];
        let config = load(&[("log", Some("error".into()))], &env, file).unwrap().check(false).unwrap();
        assert_eq!((&*config.cluster, config.workers, &*config.log), ("us2", 3, "error"));
    }

    #[test]
    fn unknown_and_wrong_settings_are_named() {
        let error = load(&[], &[], "clustr = \"eu\"").unwrap_err().to_string();
        assert!(error.contains("`clustr`") && error.contains("`cluster`"), "{error}");
        for (env, part) in [
            (("FANFARE_WORKERS", "x"), "workers"),
            (("FANFARE_WORKERS", "0"), "workers"),
            (("FANFARE_LISTEN", "here"), "listen"),
            (("FANFARE_SIGNUP", "maybe"), "signup"),
            (("FANFARE_APP_ID", "7"), "app_id"),
            (("FANFARE_ADMIN_EMAIL", "a@b.c"), "admin_email"),
            (("FANFARE_URL", "ftp://x"), "url"),
            (("FANFARE_TLS_CERT", "cert.pem"), "tls_key"),
            (("FANFARE_WEBHOOK_ALLOW", "10.0.0.0/33"), "webhook_allow"),
            (("FANFARE_SMTP_URL", "smtp://127.0.0.1:25"), "url"),
            (("FANFARE_STRIPE_SECRET_KEY", "sk_test_x"), "stripe_webhook_secret"),
            (("FANFARE_STRIPE_PRICES", "pro=price_1"), "stripe_secret_key"),
            (("FANFARE_GITHUB_CLIENT_ID", "x"), "github_client_secret"),
            (("FANFARE_REDIS_URL", "http://x"), "redis_url"),
            (("FANFARE_ROLE", "sockets"), "role"),
            (("FANFARE_NODE_TOKEN", "x"), "control_url"),
            (("FANFARE_CLUSTER_URLS", "eu"), "cluster_urls"),
        ] {
            let error = load(&[], &[env], "").unwrap().check(false).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let env = [
            ("FANFARE_APP_SECRET", "hush-hush"),
            ("FANFARE_ADMIN_PASSWORD", "hush-hush"),
            ("FANFARE_SECRET_KEY", "hush-hush"),
            ("FANFARE_STRIPE_SECRET_KEY", "sk_live_hush"),
            ("FANFARE_STRIPE_WEBHOOK_SECRET", "whsec_hush"),
            ("FANFARE_SMTP_URL", "smtp://ana:hush@mail.example.com"),
            ("FANFARE_GOOGLE_CLIENT_SECRET", "hush-hush"),
            ("FANFARE_REDIS_URL", "redis://ana:hush@redis.example.com"),
            ("FANFARE_NODE_TOKEN", "hush-hush"),
        ];
        let raw = load(&[], &env, "").unwrap();
        assert!(!raw.print().contains("hush"));
        assert!(raw.print().contains("FANFARE_APP_SECRET"));
    }
}
