//! Accounts that people have elsewhere and sign in with here. Which account is whose is decided by the provider's own id of it,
//! never by an address: an address that somebody has here already is theirs to link, after their password. Talking to providers is
//! the dashboard's work.

use crate::account::Account;
use crate::clock::now_ms;
use crate::db::{Db, DbError, read, tx, write};
use crate::plan::Plan;
use crate::statements;
use crate::user::{self, SignUpError, User, UserId};

statements::sqls! {
    FIND = "select u.id, u.email, u.created_ms from identities i join users u on u.id = i.user_id
        where i.provider = $1 and i.subject = $2";
    OWNER = "select user_id from identities where provider = $1 and subject = $2";
    INSERT = "insert into identities (provider, subject, user_id, email, created_ms) values ($1, $2, $3, $4, $5)
        on conflict do nothing";
    OF_USER = "select provider, email, created_ms from identities where user_id = $1 order by provider";
    REMOVE = "delete from identities where user_id = $1 and provider = $2";
    /// Locks the person, so that of two unlinks at once one sees the other.
    LOCK = "update users set password_hash = password_hash where id = $1";
    WAYS = "select (select count(*) from users where id = $1 and password_hash not in ('', '!'))
        + (select count(*) from identities where user_id = $1)";
    CONFIRMED = "update users set email_confirmed_ms = $2 where id = $1 and email_confirmed_ms is null";
}

/// Stands in place of a password's hash for who has none.
pub(crate) const NO_PASSWORD: &str = "!";
/// Characters of a provider's id of an account.
pub const SUBJECT_CHARS_MAX: usize = 255;

/// Whose accounts are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// github.com, or a GitHub of one's own.
    GitHub,
    /// Google.
    Google,
}

impl Provider {
    /// All of them.
    pub const ALL: [Provider; 2] = [Provider::GitHub, Provider::Google];

    /// As stored and in addresses.
    pub fn name(self) -> &'static str {
        match self {
            Provider::GitHub => "github",
            Provider::Google => "google",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Provider::GitHub => "GitHub",
            Provider::Google => "Google",
        }
    }

    /// The provider of a name.
    pub fn parse(name: &str) -> Option<Provider> {
        Provider::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// An account elsewhere, as its provider told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Whose.
    pub provider: Provider,
    /// The provider's id of it.
    pub subject: String,
    /// Its address, which the provider has verified.
    pub email: String,
}

/// A linked account in the list of its person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Whose.
    pub provider: Provider,
    /// The address that it had when it was linked.
    pub email: String,
    /// Since when.
    pub since_ms: i64,
}

/// Why an account was not linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It is another person's here.
    #[error("the account is linked to another person")]
    Taken,
    /// The person has another account of this provider.
    #[error("another account of the provider is linked")]
    Another,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Why an account stays linked.
#[derive(Debug, thiserror::Error)]
pub enum UnlinkError {
    /// They would have no way to sign in.
    #[error("it is the only way in")]
    OnlyWay,
    /// It isn't linked.
    #[error("it is not linked")]
    NotFound,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Whose account this is here.
pub async fn find(db: &Db, provider: Provider, subject: &str) -> Result<Option<User>, DbError> {
    let row: Option<(String, String, i64)> =
        read!(db, |p| sqlx::query_as(FIND).bind(provider.name()).bind(subject).fetch_optional(p).await)?;
    Ok(row.map(|(id, email, created_ms)| User { id, email, created_ms }))
}

/// The accounts of a person.
pub async fn list(db: &Db, user_id: &UserId) -> Result<Vec<Linked>, DbError> {
    let rows: Vec<(String, String, i64)> =
        read!(db, |p| sqlx::query_as(OF_USER).bind(user_id).fetch_all(p).await)?;
    let linked = |(provider, email, since_ms): (String, String, i64)| {
        Ok(Linked { provider: Provider::parse(&provider).ok_or(DbError::row("provider"))?, email, since_ms })
    };
    rows.into_iter().map(linked).collect()
}

/// Makes an account elsewhere a way in for this person. One that is linked to them already stays so.
pub async fn link(db: &Db, user_id: &UserId, account: &Elsewhere) -> Result<(), LinkError> {
    let made = write!(db, |p| sqlx::query(INSERT)
        .bind(account.provider.name())
        .bind(&account.subject)
        .bind(user_id)
        .bind(&account.email)
        .bind(now_ms())
        .execute(p)
        .await
        .map(|done| done.rows_affected()))
    .map_err(DbError::from)?;
    if made > 0 {
        return Ok(());
    }
    let owner: Option<String> = read!(db, |p| sqlx::query_scalar(OWNER)
        .bind(account.provider.name())
        .bind(&account.subject)
        .fetch_optional(p)
        .await)
    .map_err(DbError::from)?;
    match owner {
        Some(owner) if owner == *user_id => Ok(()),
        Some(_) => Err(LinkError::Taken),
        None => Err(LinkError::Another),
    }
}

/// Takes a way in away, unless it is the only one.
pub async fn unlink(db: &Db, user_id: &UserId, provider: Provider) -> Result<(), UnlinkError> {
    tx!(db, |t| {
        sqlx::query(LOCK).bind(user_id).execute(&mut *t).await.map_err(DbError::from)?;
        let removed = sqlx::query(REMOVE)
            .bind(user_id)
            .bind(provider.name())
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if removed == 0 {
            return Err(UnlinkError::NotFound);
        }
        let ways: i64 =
            sqlx::query_scalar(WAYS).bind(user_id).fetch_one(&mut *t).await.map_err(DbError::from)?;
        if ways == 0 {
            return Err(UnlinkError::OnlyWay);
        }
    });
    Ok(())
}

/// Makes a person without a password, whose way in is this account, and an organisation of theirs. Their address is confirmed: the
/// provider says so. Error `EmailTaken`: somebody has the address here, and only they may link the account.
pub async fn sign_up(db: &Db, account: &Elsewhere, plan: Plan) -> Result<(User, Account), SignUpError> {
    let email = user::normal_email(&account.email).ok_or(SignUpError::EmailInvalid)?;
    user::insert_with(db, email, NO_PASSWORD, plan, Some(account)).await
}

/// In the caller's transaction, for a person who was just made.
macro_rules! insert {
    ($t:ident, $user:expr, $account:expr) => {{
        let made = sqlx::query($crate::identity::INSERT)
            .bind($account.provider.name())
            .bind(&$account.subject)
            .bind(&$user.id)
            .bind(&$account.email)
            .bind($user.created_ms)
            .execute(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?
            .rows_affected();
        sqlx::query($crate::identity::CONFIRMED)
            .bind(&$user.id)
            .bind($user.created_ms)
            .execute(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?;
        made
    }};
}
pub(crate) use insert;
