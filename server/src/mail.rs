//! Mail on its way out: reads its settings, and sends what `tenancy::mail` has queued, one after the other. Without a mail server each
//! mail is written to the log instead, and stands on `/dash/server/mail`. What is written in a mail is not decided here.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tenancy::clock::HOUR_MS;
use tenancy::db::{Db, DbError};
use tenancy::mail::{self, Claimed};

/// How often is looked for mails: one waits this long at the most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A mail server has this long for each of its answers.
const TIMEOUT: Duration = Duration::from_secs(20);
/// And this long for a whole mail; less than a lease lasts, however many go out in a row.
const MAIL_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    /// From the first byte: `smtps://`.
    Wrapped,
    /// STARTTLS, or nothing is sent.
    Required,
    /// STARTTLS if the server offers it.
    Offered,
    /// Never.
    Off,
}

/// A mail server.
#[derive(Clone)]
pub struct MailServer {
    host: String,
    port: u16,
    login: Option<(String, realtime::app::Secret)>,
    encryption: Encryption,
}

impl std::fmt::Debug for MailServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MailServer {}", self.address())
    }
}

/// The settings of mail.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// Where mails are handed over; `None`: they are written to the log.
    pub server: Option<MailServer>,
    /// Who they come from.
    pub from: Mailbox,
}

impl MailServer {
    /// `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Reads `smtp://[user:password@]host[:port][?starttls=required|offered|off]` or `smtps://…`.
    fn parse(text: &str) -> anyhow::Result<MailServer> {
        const SHAPE: &str =
            "smtp_url must look like smtp://user:password@host:587 or smtps://user:password@host";
        let (scheme, rest) = text.split_once("://").context(SHAPE)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, place) = match rest.trim_end_matches('/').rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest.trim_end_matches('/')),
        };
        let login = match login {
            Some(login) => {
                let (user, password) = login.split_once(':').context(SHAPE)?;
                Some((decoded(user)?, realtime::app::Secret::new(&decoded(password)?)))
            }
            None => None,
        };
        let starttls = match query.split_once('=') {
            None if query.is_empty() => None,
            Some(("starttls", value)) => Some(value),
            _ => bail!("smtp_url takes the option starttls and no other"),
        };
        // Port and brackets are what the reader of public addresses knows already.
        let endpoint = dashboard::Endpoint::from_authority(false, place).context(SHAPE)?;
        let port = place.ends_with(&format!(":{}", endpoint.port)).then_some(endpoint.port);
        let here =
            matches!(endpoint.host.as_str(), "localhost" | "[::1]") || endpoint.host.starts_with("127.");
        let encryption = match (scheme, starttls) {
            ("smtps", None) => Encryption::Wrapped,
            ("smtps", Some(_)) => bail!("smtp_url: smtps:// is encrypted from the start, leave starttls out"),
            ("smtp", Some("required")) => Encryption::Required,
            ("smtp", Some("offered")) => Encryption::Offered,
            ("smtp", Some("off")) => Encryption::Off,
            ("smtp", Some(_)) => bail!("smtp_url: starttls must be required, offered or off"),
            // A password must not go over the net in clear because somebody removed a line from an answer.
            ("smtp", None) if login.is_some() && !here => Encryption::Required,
            ("smtp", None) => Encryption::Offered,
            _ => bail!(SHAPE),
        };
        let port = port.unwrap_or(match encryption {
            Encryption::Wrapped => 465,
            Encryption::Required => 587,
            Encryption::Offered | Encryption::Off => 25,
        });
        Ok(MailServer { host: endpoint.host.trim_matches(['[', ']']).to_owned(), port, login, encryption })
    }

    fn transport(&self, from: &Mailbox) -> anyhow::Result<AsyncSmtpTransport<Tokio1Executor>> {
        let tls = match self.encryption {
            Encryption::Off => Tls::None,
            Encryption::Offered => Tls::Opportunistic(self.tls()?),
            Encryption::Required => Tls::Required(self.tls()?),
            Encryption::Wrapped => Tls::Wrapper(self.tls()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host.as_str())
            .port(self.port)
            .tls(tls)
            .timeout(Some(TIMEOUT))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()));
        if let Some((user, password)) = &self.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(builder.build())
    }

    /// The well-known roots, and those of this machine: a company's mail server may have a certificate of the company's.
    fn tls(&self) -> anyhow::Result<TlsParameters> {
        let mut builder =
            TlsParameters::builder(self.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
        for own in rustls_native_certs::load_native_certs().certs {
            if let Ok(own) = Certificate::from_der(own.to_vec()) {
                builder = builder.add_root_certificate(own);
            }
        }
        builder.build_rustls().context("the mail server's host is no name that a certificate can have")
    }
}

/// Percent signs undone, as an address needs them for `@` and `:` in a password.
fn decoded(text: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail.get(..2)) {
            (b'%', Some(digits)) => {
                let mut one = [0u8];
                hex::decode_to_slice(digits, &mut one).context("smtp_url has a % that is none: write %25")?;
                bytes.push(one[0]);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).context("smtp_url is not UTF-8")
}

impl MailConfig {
    /// Reads the settings. `url` is the public address: mails come from its host unless something else is said, and their links
    /// lead there, so a mail server needs it.
    pub(crate) fn parse(
        smtp_url: Option<&str>,
        from: Option<&str>,
        url: Option<&str>,
    ) -> anyhow::Result<MailConfig> {
        let server = smtp_url.map(MailServer::parse).transpose()?;
        let host = url.and_then(dashboard::Endpoint::parse).map(|endpoint| endpoint.host);
        ensure!(
            server.is_none() || host.is_some(),
            "smtp_url needs url: the links in mails lead there, and never to what a request calls this server"
        );
        let from = match from {
            Some(from) => from.parse().context(
                "mail_from must be an address, such as fanfare@example.com or Fanfare <fanfare@example.com>",
            )?,
            None => {
                let host =
                    host.filter(|host| !host.starts_with('[')).unwrap_or_else(|| "localhost".to_owned());
                let numbers = host.parse::<std::net::IpAddr>().is_ok();
                ensure!(
                    server.is_none() || !numbers,
                    "mail_from must be set: {host} is no name that mails can come from"
                );
                let domain = if numbers { "localhost" } else { host.as_str() };
                format!("Fanfare <fanfare@{domain}>").parse().context("mail_from must be set")?
            }
        };
        Ok(MailConfig { server, from })
    }
}

/// Sends mails until the process ends. `links` is the public address that paths in mails are put behind.
pub(crate) async fn run(db: Db, config: MailConfig, links: String) {
    let transport = match config.server.as_ref().map(|server| server.transport(&config.from)).transpose() {
        Ok(transport) => transport,
        Err(error) => {
            tracing::error!(%error, "mails can't be sent with these settings, they wait");
            return;
        }
    };
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut forgot_ms = 0;
    loop {
        tick.tick().await;
        // As long as there are some, without a pause.
        loop {
            match round(&db, transport.as_ref(), &config.from, &links).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "it is not known which mails wait; it is tried again");
                    break;
                }
            }
        }
        let now_ms = tenancy::now_ms();
        if now_ms - forgot_ms >= HOUR_MS {
            forgot_ms = now_ms;
            if let Err(error) = mail::forget(&db, now_ms).await {
                tracing::warn!(%error, "old mails can't be forgotten");
            }
        }
    }
}

/// Sends what is due, a few mails; gives how many that were.
async fn round(
    db: &Db,
    transport: Option<&AsyncSmtpTransport<Tokio1Executor>>,
    from: &Mailbox,
    links: &str,
) -> Result<usize, DbError> {
    let due = mail::claim(db, tenancy::now_ms()).await?;
    for one in &due {
        let text = whole_text(one, links);
        let Some(transport) = transport else {
            tracing::info!(
                mail.kind = one.kind,
                "no mail server is set, so this mail is only here and on /dash/server/mail\nTo: {}\nSubject: {}\n\n{text}",
                one.to,
                one.subject
            );
            mail::shown(db, &one.id).await?;
            continue;
        };
        let outcome = hand_over(transport, from, one, text).await;
        let now_ms = tenancy::now_ms();
        match outcome {
            Ok(()) => mail::sent(db, &one.id, now_ms).await?,
            Err(refused) => {
                let again = mail::try_again(db, one, refused.for_good, &refused.why, now_ms).await?;
                tracing::warn!(
                    mail.id = one.id,
                    mail.kind = one.kind,
                    again,
                    "a mail was not taken: {}",
                    refused.why
                );
            }
        }
    }
    Ok(due.len())
}

/// The text with its link below.
fn whole_text(mail: &Claimed, links: &str) -> String {
    match mail.link.as_ref().map(|link| link.expose()) {
        Some(path) if path.starts_with('/') => {
            format!("{}\n\n{}{path}\n", mail.text.trim_end(), links.trim_end_matches('/'))
        }
        Some(link) => format!("{}\n\n{link}\n", mail.text.trim_end()),
        None => format!("{}\n", mail.text.trim_end()),
    }
}

/// Why a mail was not taken.
struct Refused {
    /// Another try is in vain.
    for_good: bool,
    why: String,
}

async fn hand_over(
    transport: &AsyncSmtpTransport<Tokio1Executor>,
    from: &Mailbox,
    mail: &Claimed,
    text: String,
) -> Result<(), Refused> {
    let in_vain = |why: String| Refused { for_good: true, why };
    let to: Mailbox = mail.to.parse().map_err(|_| in_vain("no mail server takes this address".to_owned()))?;
    let message = Message::builder()
        .from(from.clone())
        .to(to)
        // The same at each try, so that whoever gets it twice sees it once.
        .message_id(Some(format!("<{}@{}>", mail.id, from.email.domain())))
        .subject(mail.subject.clone())
        .header(ContentType::TEXT_PLAIN)
        .body(text)
        .map_err(|error| in_vain(error.to_string()))?;
    match tokio::time::timeout(MAIL_TIMEOUT, transport.send(message)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Refused { for_good: error.is_permanent(), why: told(&error) }),
        Err(_) => Err(Refused { for_good: false, why: "the mail server did not answer in time".to_owned() }),
    }
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Option<(String, String)>, Encryption) {
        let server = MailServer::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let login =
            server.login.as_ref().map(|(user, password)| (user.clone(), password.expose().to_owned()));
        (server.address(), login, server.encryption)
    }

    #[test]
    fn a_mail_server_is_read_with_what_is_safe_where_nothing_is_said() {
        let login = Some(("ana@x.example".to_owned(), "p:w@d".to_owned()));
        for (text, expected) in [
            ("smtp://127.0.0.1:2525", ("127.0.0.1:2525", None, Encryption::Offered)),
            ("smtp://mail.example.com", ("mail.example.com:25", None, Encryption::Offered)),
            ("smtp://mail.example.com/?starttls=off", ("mail.example.com:25", None, Encryption::Off)),
            (
                "smtp://ana%40x.example:p:w%40d@mail.example.com",
                ("mail.example.com:587", login.clone(), Encryption::Required),
            ),
            (
                "smtp://ana%40x.example:p:w%40d@localhost:1025",
                ("localhost:1025", login.clone(), Encryption::Offered),
            ),
            (
                "smtps://ana%40x.example:p:w%40d@mail.example.com",
                ("mail.example.com:465", login, Encryption::Wrapped),
            ),
        ] {
            assert_eq!(read(text), (expected.0.to_owned(), expected.1, expected.2), "{text}");
        }
        for bad in [
            "mail.example.com",
            "http://x",
            "smtp://",
            "smtp://u@h",
            "smtp://h?tls=off",
            "smtps://h?starttls=off",
        ] {
            assert!(MailServer::parse(bad).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", MailServer::parse("smtp://u:hush@h")).contains("hush"));
    }

    #[test]
    fn a_mail_server_needs_a_public_address_and_mails_come_from_its_host() {
        let (smtp, url) = (Some("smtp://127.0.0.1:25"), Some("https://ws.example.com"));
        assert!(MailConfig::parse(smtp, None, None).unwrap_err().to_string().contains("url"));
        assert!(
            MailConfig::parse(smtp, None, Some("http://10.0.0.1"))
                .unwrap_err()
                .to_string()
                .contains("mail_from")
        );
        assert!(MailConfig::parse(smtp, Some("nobody"), url).is_err());
        let from = |from, url| MailConfig::parse(smtp, from, url).unwrap().from.to_string();
        assert_eq!(from(None, url), "Fanfare <fanfare@ws.example.com>");
        assert_eq!(from(Some("Acme <ws@acme.example>"), url), "Acme <ws@acme.example>");
        assert!(MailConfig::parse(None, None, None).unwrap().server.is_none());
    }
}
