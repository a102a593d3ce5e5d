//! People who sign in: sign-up, e-mail and password. Sessions are in [`crate::session`], hashing in `password`.
//! A wrong password and an unknown e-mail are one answer here, after the same work.

use crate::account::Account;
use crate::clock::now_ms;
use crate::db::{Db, DbError, read, tx, write};
use crate::identity::Elsewhere;
use crate::password::{self, Refused};
use crate::plan::Plan;
use crate::statements;
use uuid::Uuid;

statements::sqls! {
    INSERT = "insert into users (id, email, password_hash, created_ms) values ($1, $2, $3, $4)
        on conflict (email) do nothing";
    BY_ID = "select id, email, created_ms from users where id = $1";
    HASH_BY_EMAIL = "select id, email, created_ms, password_hash from users where email = $1";
    /// Only if it is still the hash that was checked: a password change in between wins.
    REHASH = "update users set password_hash = $1 where id = $2 and password_hash = $3";
    FIRST_OWNER = "select u.id, u.email, u.created_ms, a.id, a.name, a.plan, a.created_ms
        from users u join memberships m on m.user_id = u.id join accounts a on a.id = m.account_id
        where m.role = 'owner' order by u.created_ms, u.id, m.created_ms limit 1";
    WITH_ACCOUNT_BY_EMAIL = "select u.id, u.email, u.created_ms, a.id, a.name, a.plan, a.created_ms
        from users u join memberships m on m.user_id = u.id join accounts a on a.id = m.account_id
        where u.email = $1 order by case when m.role = 'owner' then 0 else 1 end, m.created_ms, a.id limit 1";
}

/// A user's id: UUIDv7 as text.
pub type UserId = String;

/// Characters of an e-mail address: the longest that SMTP carries.
pub const EMAIL_CHARS_MAX: usize = 254;
pub use crate::password::{CHARS_MAX as PASSWORD_CHARS_MAX, CHARS_MIN as PASSWORD_CHARS_MIN};

/// Somebody who can sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Trimmed and lower-cased.
    pub email: String,
    /// When they signed up.
    pub created_ms: i64,
}

/// Why a sign-up was refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SignUpError {
    /// It cannot be an e-mail address.
    #[error("the e-mail address is not valid")]
    EmailInvalid,
    /// Somebody has it already.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Fewer than [`PASSWORD_CHARS_MIN`] characters.
    #[error("the password is too short")]
    PasswordTooShort,
    /// More than [`PASSWORD_CHARS_MAX`] characters.
    #[error("the password is too long")]
    PasswordTooLong,
    /// Among the passwords that attackers try first, or made of the product's name or of the e-mail address.
    #[error("the password is too common")]
    PasswordTooCommon,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<Refused> for SignUpError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Short => SignUpError::PasswordTooShort,
            Refused::Long => SignUpError::PasswordTooLong,
            Refused::Common => SignUpError::PasswordTooCommon,
        }
    }
}

/// In the caller's transaction: a person, with an account elsewhere as their way in if there is one. Gives up with
/// [`SignUpError::EmailTaken`].
macro_rules! insert_person {
    ($t:ident, $user:expr, $hash:expr, $elsewhere:expr) => {{
        let (user, hash): (&$crate::user::User, &str) = (&$user, $hash);
        let elsewhere: Option<&$crate::identity::Elsewhere> = $elsewhere;
        let inserted = sqlx::query($crate::user::INSERT)
            .bind(&user.id)
            .bind(&user.email)
            .bind(hash)
            .bind(user.created_ms)
            .execute(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?
            .rows_affected();
        if inserted == 0 {
            return Err(From::from($crate::user::SignUpError::EmailTaken));
        }
        // Another sign-up with the same account was quicker, perhaps under another address.
        if let Some(elsewhere) = elsewhere
            && $crate::identity::insert!($t, user, elsewhere) == 0
        {
            return Err(From::from($crate::user::SignUpError::EmailTaken));
        }
    }};
}
pub(crate) use insert_person;

/// In the caller's transaction: an organisation, and a person's place in it as its owner.
macro_rules! insert_organisation {
    ($t:ident, $user:expr, $account:expr) => {{
        let (user, account): (&$crate::user::User, &$crate::account::Account) = (&$user, &$account);
        sqlx::query($crate::account::INSERT)
            .bind(&account.id)
            .bind(&account.name)
            .bind(account.plan.name())
            .bind(account.created_ms)
            .execute(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?;
        sqlx::query($crate::account::INSERT_MEMBERSHIP)
            .bind(&user.id)
            .bind(&account.id)
            .bind($crate::role::Role::Owner.name())
            .bind(account.created_ms)
            .execute(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?;
    }};
}
pub(crate) use insert_organisation;

/// Makes a user, an account and the membership between them, in one transaction.
pub async fn sign_up(
    db: &Db,
    email: &str,
    password: &str,
    plan: Plan,
) -> Result<(User, Account), SignUpError> {
    let (email, hash) = judge_and_hash(email, password).await?;
    insert(db, email, &hash, plan).await
}

/// The address as we keep it and the password's hash, if both are acceptable.
pub(crate) async fn judge_and_hash(email: &str, password: &str) -> Result<(String, String), SignUpError> {
    let email = normal_email(email).ok_or(SignUpError::EmailInvalid)?;
    password::judge(password, &email)?;
    // Hash before asking whether the address is taken: both answers take the same time.
    let hash = password::hash(password).await?;
    Ok((email, hash))
}

/// Writes a user, their account and the membership. An empty hash fits no password.
pub(crate) async fn insert(
    db: &Db,
    email: String,
    hash: &str,
    plan: Plan,
) -> Result<(User, Account), SignUpError> {
    insert_with(db, email, hash, plan, None).await
}

/// [`insert`], with an account elsewhere as their way in.
pub(crate) async fn insert_with(
    db: &Db,
    email: String,
    hash: &str,
    plan: Plan,
    elsewhere: Option<&Elsewhere>,
) -> Result<(User, Account), SignUpError> {
    let now = now_ms();
    let user = User { id: new_id(), email, created_ms: now };
    let account = Account { id: new_id(), name: workspace_name(&user.email), plan, created_ms: now };
    tx!(db, |t| {
        insert_person!(t, user, hash, elsewhere);
        insert_organisation!(t, user, account);
    });
    Ok((user, account))
}

/// The user whose e-mail and password these are. `None` for a wrong password, an unknown or impossible e-mail and an
/// impossible password alike; an unknown e-mail costs the same hashing as a known one. A hash made with weaker
/// parameters than today's is replaced on the way.
pub async fn check_password(db: &Db, email: &str, password: &str) -> Result<Option<User>, DbError> {
    if !password::may_be_password(password) {
        // Before anything is looked up, so this says nothing about the e-mail either.
        return Ok(None);
    }
    let row: Option<(String, String, i64, String)> = match normal_email(email) {
        Some(email) => read!(db, |p| sqlx::query_as(HASH_BY_EMAIL).bind(email).fetch_optional(p).await)?,
        None => None,
    };
    let (user, hash) = match row {
        Some((id, email, created_ms, hash)) => {
            (Some(User { id, email, created_ms }), Some(hash).filter(|h| password::is_hash(h)))
        }
        None => (None, None),
    };
    let fits = password::verify(password, hash.as_deref()).await?;
    let (Some(user), Some(hash), true) = (user, hash, fits) else { return Ok(None) };
    if password::is_weaker_than_today(&hash) {
        let new = password::hash(password).await?;
        write!(db, |p| sqlx::query(REHASH).bind(&new).bind(&user.id).bind(&hash).execute(p).await.map(drop))?;
    }
    Ok(Some(user))
}

/// How many Argon2 computations this process has done; a measure of load, and of "the same work".
pub fn password_hashes_done() -> u64 {
    password::hashes_done()
}

/// The owner of the oldest account; the operator's commands use it when no owner is named.
pub async fn first_owner(db: &Db) -> Result<Option<(User, Account)>, DbError> {
    let row: Option<UserAccountRow> = read!(db, |p| sqlx::query_as(FIRST_OWNER).fetch_optional(p).await)?;
    row.map(from_row).transpose()
}

/// The user of an e-mail address, with their account. For the operator's commands, never for a page.
pub async fn find_by_email(db: &Db, email: &str) -> Result<Option<(User, Account)>, DbError> {
    let Some(email) = normal_email(email) else { return Ok(None) };
    let row: Option<UserAccountRow> =
        read!(db, |p| sqlx::query_as(WITH_ACCOUNT_BY_EMAIL).bind(email).fetch_optional(p).await)?;
    row.map(from_row).transpose()
}

/// Whether somebody has this address. For who may know it: the holder of an invitation to it.
pub async fn exists(db: &Db, email: &str) -> Result<bool, DbError> {
    let Some(email) = normal_email(email) else { return Ok(false) };
    let row: Option<(String, String, i64, String)> =
        read!(db, |p| sqlx::query_as(HASH_BY_EMAIL).bind(email).fetch_optional(p).await)?;
    Ok(row.is_some())
}

/// The user of an id.
pub async fn find(db: &Db, id: &UserId) -> Result<Option<User>, DbError> {
    let row: Option<(String, String, i64)> =
        read!(db, |p| sqlx::query_as(BY_ID).bind(id).fetch_optional(p).await)?;
    Ok(row.map(|(id, email, created_ms)| User { id, email, created_ms }))
}

/// A user and their account as a row.
pub(crate) type UserAccountRow = (String, String, i64, String, String, String, i64);

pub(crate) fn from_row(row: UserAccountRow) -> Result<(User, Account), DbError> {
    let (id, email, created_ms, account_id, name, plan, account_created_ms) = row;
    let account = Account::from_row((account_id, name, plan, account_created_ms))?;
    Ok((User { id, email, created_ms }, account))
}

pub(crate) fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// An address as we keep it: trimmed and lower-cased. `None` if it cannot be one. This is a sanity check; only a mail
/// that arrives proves an address.
pub fn normal_email(text: &str) -> Option<String> {
    let text = text.trim();
    // Bytes first: a megabyte is not worth lower-casing.
    if text.len() > EMAIL_CHARS_MAX * 4 {
        return None;
    }
    let email = text.to_lowercase();
    let (local, domain) = email.split_once('@')?;
    let well_formed = !local.is_empty()
        && !domain.contains('@')
        && email.chars().count() <= EMAIL_CHARS_MAX
        && !email.chars().any(|c| c.is_control() || c.is_whitespace())
        && is_domain(domain);
    well_formed.then_some(email)
}

fn is_domain(domain: &str) -> bool {
    domain == "localhost" || (domain.contains('.') && domain.split('.').all(|label| !label.is_empty()))
}

/// `ana@example.com` works in `ana's workspace`.
pub(crate) fn workspace_name(email: &str) -> String {
    format!("{}'s workspace", email.split('@').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_trimmed_and_lower_cased() {
        assert_eq!(normal_email("  Ana@Example.COM\n").as_deref(), Some("ana@example.com"));
        assert_eq!(normal_email("root@localhost").as_deref(), Some("root@localhost"));
        assert_eq!(normal_email("ana+x@mail.example.co.uk").as_deref(), Some("ana+x@mail.example.co.uk"));
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(EMAIL_CHARS_MAX));
        let huge = "a@b.c".repeat(200_000);
        for bad in [
            "",
            "ana",
            "@example.com",
            "ana@",
            "ana@example",
            "a@b@c.de",
            "a na@example.com",
            "ana@.com",
            "ana@example..com",
            "ana@example.com.",
            "ana\0@example.com",
            "ana@exam\tple.com",
            &long,
            &huge,
        ] {
            assert_eq!(normal_email(bad), None, "{:.40}", bad);
        }
    }

    #[test]
    fn a_workspace_is_named_after_its_maker() {
        assert_eq!(workspace_name("ana@example.com"), "ana's workspace");
    }
}
