//! Mail that this server sends: the one door is [`queue`]. A mail is a row before it is a mail, so neither a restart nor a mail server
//! that is away loses it; sending is in `mail/sending.rs` and done by the process that holds the settings.
//!
//! ```text
//! let mail = Mail {
//!     to: "ana@shop.example",
//!     kind: "billing",
//!     subject: "A payment is missing",
//!     text: "We couldn't charge your card for shop.",
//!     link: Some("/dash/billing"),
//!     account: Some(&account.id),
//!     ..Mail::default()
//! };
//! tenancy::mail::queue(db, mail).await?;
//! ```
//!
//! A mail is plain text with one link at the most. A link that begins with `/` leads to this server: the public address is put before
//! it when the mail is sent, from the settings and never from what a visitor's request says. Nothing is sent from here, and nothing
//! says whether an address exists.

mod sending;

pub(crate) use sending::ALL as SENDING;
pub use sending::{Claimed, RETRY_AFTER_MS, claim, forget, sent, shown, try_again};

use crate::account::AccountId;
use crate::clock::{DAY_MS, now_ms};
use crate::db::{Db, DbError, read, write};
use crate::secret::Secret;
use crate::statements;
use crate::user::{new_id, normal_email};
use crate::vault::Purpose;

statements::sqls! {
    /// Nothing is written when one of the bounds is reached, or when `once` was there already.
    PUT = "insert into mail_outbox (id, kind, account_id, recipient, subject, body, link, once, state, attempts,
            created_ms, next_try_ms, lease_until_ms, expires_ms, error)
        select $1, $2, $3, $4, $5, $6, $7, $8, 'waiting', 0, $9, $9, 0, $10, ''
        where (select count(*) from mail_outbox where state = 'waiting') < $11
            and (select count(*) from mail_outbox where recipient = $4 and created_ms > $12) < $13
        on conflict (once) do nothing";
    /// Mails of one kind to an address.
    MAILED_SINCE = "select count(*) from mail_outbox where recipient = $1 and kind = $2 and created_ms > $3";
    ONCE = "select count(*) from mail_outbox where once = $1";
    LATEST = "select id, kind, recipient, subject, body, link, state, attempts, created_ms, next_try_ms, expires_ms, sent_ms,
        error from mail_outbox order by created_ms desc, id desc limit $1";
}

/// Mails that wait at the same time. More is a mail server that is away for long, or somebody who abuses us.
pub const WAITING_MAX: i64 = 10_000;
/// Mails to one address in an hour, whatever they are about: nobody shall be buried by us.
pub const PER_RECIPIENT_PER_HOUR_MAX: i64 = 20;
/// Characters of a subject.
pub const SUBJECT_CHARS_MAX: usize = 200;
/// Bytes of a text.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// How long a mail is worth sending when nothing else is said.
pub const LIFETIME_MS: i64 = 3 * DAY_MS;
/// Rows are kept this long for the list of the server's admin; texts and links are forgotten earlier.
pub const KEPT_MS: i64 = 14 * DAY_MS;
/// Mails that are listed.
pub const LISTED_MAX: u32 = 100;

/// A mail to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mail<'a> {
    /// Whom to.
    pub to: &'a str,
    /// What it is about in a word, for the list of the server's admin: `reset`, `invitation`, `billing`.
    pub kind: &'static str,
    /// One line.
    pub subject: &'a str,
    /// Plain text; say which organisation or app it is about.
    pub text: &'a str,
    /// Stands below the text: a path of this server, or a whole address. It is treated as a secret.
    pub link: Option<&'a str>,
    /// The organisation that it is about.
    pub account: Option<&'a AccountId>,
    /// How long it is worth sending; `None` is [`LIFETIME_MS`].
    pub lifetime_ms: Option<i64>,
    /// A name for what it tells: a second mail of the same name is not queued, whichever node tells it.
    pub once: Option<&'a str>,
}

/// The words of a mail whose link is made with it.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// One line.
    pub subject: &'a str,
    /// Plain text, above the link.
    pub text: &'a str,
}

/// Why a mail was not queued.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// It cannot be an e-mail address.
    #[error("the e-mail address is not valid")]
    AddressInvalid,
    /// [`WAITING_MAX`] wait, or the address had [`PER_RECIPIENT_PER_HOUR_MAX`] in the last hour.
    #[error("too many mails wait, or went to this address")]
    TooMany,
    /// The database failed, or there is no master key.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A row of [`queue`], within its bounds and with its link sealed.
pub(crate) struct Bound {
    pub(crate) id: String,
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) link: String,
    pub(crate) expires_ms: i64,
}

impl Bound {
    pub(crate) fn new(db: &Db, mail: &Mail<'_>, now_ms: i64) -> Result<Bound, MailError> {
        let id = new_id();
        let link = match mail.link {
            Some(link) => seal(db, &id, link)?,
            None => String::new(),
        };
        // A line break in a subject would begin another header.
        let subject =
            mail.subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT_CHARS_MAX);
        let mut end = mail.text.len().min(TEXT_BYTES_MAX);
        while !mail.text.is_char_boundary(end) {
            end -= 1;
        }
        Ok(Bound {
            to: normal_email(mail.to).ok_or(MailError::AddressInvalid)?,
            subject: subject.collect(),
            text: mail.text[..end].chars().filter(|c| *c == '\n' || !c.is_control()).collect(),
            link,
            id,
            expires_ms: now_ms + mail.lifetime_ms.unwrap_or(LIFETIME_MS),
        })
    }
}

pub(crate) fn seal(db: &Db, id: &str, link: &str) -> Result<String, DbError> {
    Ok(db.vault().seal(Purpose::MailLink, id, &Secret::new(link))?)
}

/// Sends [`PUT`] to an executor; gives how many rows were written.
macro_rules! put {
    ($executor:expr, $mail:expr, $bound:expr, $now_ms:expr) => {{
        let (mail, bound): (&$crate::mail::Mail<'_>, &$crate::mail::Bound) = ($mail, $bound);
        sqlx::query($crate::mail::PUT)
            .bind(&bound.id)
            .bind(mail.kind)
            .bind(mail.account.map(String::as_str).unwrap_or_default())
            .bind(&bound.to)
            .bind(&bound.subject)
            .bind(&bound.text)
            .bind(&bound.link)
            .bind(mail.once)
            .bind($now_ms)
            .bind(bound.expires_ms)
            .bind($crate::mail::WAITING_MAX)
            .bind($now_ms - $crate::clock::HOUR_MS)
            .bind($crate::mail::PER_RECIPIENT_PER_HOUR_MAX)
            .execute($executor)
            .await
            .map(|done| done.rows_affected())
    }};
}
pub(crate) use put;

/// Queues a mail. `Ok` does not say that it was sent, and `once` may have kept it out.
pub async fn queue(db: &Db, mail: Mail<'_>) -> Result<(), MailError> {
    queue_at(db, mail, now_ms()).await
}

/// [`queue`] at a given time.
pub async fn queue_at(db: &Db, mail: Mail<'_>, now_ms: i64) -> Result<(), MailError> {
    let bound = Bound::new(db, &mail, now_ms)?;
    let queued = write!(db, |p| put!(p, &mail, &bound, now_ms)).map_err(DbError::from)?;
    if queued > 0 {
        return Ok(());
    }
    let known: i64 =
        read!(db, |p| sqlx::query_scalar(ONCE).bind(mail.once).fetch_one(p).await).map_err(DbError::from)?;
    if known > 0 { Ok(()) } else { Err(MailError::TooMany) }
}

/// How a mail stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It will be tried at this time.
    Waiting {
        /// When.
        next_try_ms: i64,
    },
    /// A mail server took it.
    Sent {
        /// When.
        at_ms: i64,
    },
    /// No mail server took it, and it is not tried again.
    Failed,
    /// No mail server is set: it stands in the log and in the list only.
    Shown,
}

/// A mail in the list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// What it is about in a word.
    pub kind: String,
    /// Whom to.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Empty when it was forgotten: the mail is out, or its time is over.
    pub text: String,
    /// Its link, as long as it may still be of use: not sent, and not out of time.
    pub link: Option<Secret>,
    /// How it stands.
    pub state: State,
    /// Tries so far.
    pub attempts: u32,
    /// When it was queued.
    pub created_ms: i64,
    /// What the mail server said last. Empty: nothing.
    pub error: String,
}

type Row = (String, String, String, String, String, String, String, i64, i64, i64, i64, Option<i64>, String);

/// The latest [`LISTED_MAX`] mails, for the server's admin.
pub async fn list(db: &Db) -> Result<Vec<Listed>, DbError> {
    list_at(db, now_ms()).await
}

/// [`list`] at a given time.
pub async fn list_at(db: &Db, now_ms: i64) -> Result<Vec<Listed>, DbError> {
    let rows: Vec<Row> =
        read!(db, |p| sqlx::query_as(LATEST).bind(i64::from(LISTED_MAX)).fetch_all(p).await)?;
    Ok(rows.into_iter().map(|row| listed(db, row, now_ms)).collect())
}

fn listed(db: &Db, row: Row, now_ms: i64) -> Listed {
    let (
        id,
        kind,
        to,
        subject,
        text,
        link,
        state,
        attempts,
        created_ms,
        next_try_ms,
        expires_ms,
        sent_ms,
        error,
    ) = row;
    let state = match (state.as_str(), sent_ms) {
        ("waiting", _) => State::Waiting { next_try_ms },
        ("sent", at_ms) => State::Sent { at_ms: at_ms.unwrap_or(created_ms) },
        ("shown", _) => State::Shown,
        _ => State::Failed,
    };
    let live = expires_ms > now_ms;
    // One that can't be opened any more is no reason to show no list.
    let link =
        (live && !link.is_empty()).then(|| db.vault().open(Purpose::MailLink, &id, &link).ok()).flatten();
    let text = if live { text } else { String::new() };
    let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    Listed { id, kind, to, subject, text, link, state, attempts, created_ms, error }
}
