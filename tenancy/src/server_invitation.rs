//! Asking somebody to this server who belongs to no organisation yet: a link that lets one person sign up, once, on a server where
//! not everybody may. They get an organisation of their own, as by any sign-up. Asking into an organisation is [`crate::invitation`].

use crate::account::Account;
use crate::clock::{DAY_MS, now_ms};
use crate::db::{Db, DbError, read, tx, write};
use crate::plan::Plan;
use crate::secret::{TOKEN_BYTES, is_token, random_hex, token_hash};
use crate::statements;
use crate::user::{self, SignUpError, User};
use uuid::Uuid;

statements::sqls! {
    OPEN = "select id, label, invited_by, created_ms, expires_ms from server_invitations
        where expires_ms > $1 order by created_ms desc, id";
    BY_TOKEN = "select id, label, invited_by, created_ms, expires_ms from server_invitations
        where token_hash = $1 and expires_ms > $2";
    COUNT = "select count(*) from server_invitations";
    PUT = "insert into server_invitations (id, label, token_hash, invited_by, created_ms, expires_ms)
        values ($1, $2, $3, $4, $5, $6)";
    /// One statement finds and takes it: of two that sign up at once, one gets the row.
    TAKE = "delete from server_invitations where token_hash = $1 and expires_ms > $2";
    REVOKE = "delete from server_invitations where id = $1";
    PURGE = "delete from server_invitations where expires_ms <= $1";
}

/// How long a link works.
pub const LIFETIME_MS: i64 = 7 * DAY_MS;
/// Open invitations.
pub const OPEN_MAX: i64 = 200;
/// Characters of a label.
pub const LABEL_CHARS_MAX: usize = 100;

/// An open invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInvitation {
    /// `sin_…`
    pub id: String,
    /// For whom, in the words of who made it.
    pub label: String,
    /// The address of who made it.
    pub invited_by: String,
    /// When.
    pub created_ms: i64,
    /// The link works until then.
    pub expires_ms: i64,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// Empty, too long, or with control characters.
    #[error("say for whom, in 1 to {LABEL_CHARS_MAX} characters")]
    LabelInvalid,
    /// [`OPEN_MAX`] are open.
    #[error("{OPEN_MAX} invitations are open")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Why somebody who was asked in did not get in. The invitation is still open, unless it is not valid.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Unknown, used, revoked, or run out.
    #[error("the invitation is not valid")]
    NotValid,
    /// The address or the password.
    #[error(transparent)]
    SignUp(#[from] SignUpError),
}

impl From<DbError> for JoinError {
    fn from(error: DbError) -> Self {
        JoinError::SignUp(error.into())
    }
}

type Row = (String, String, String, i64, i64);

fn from_row((id, label, invited_by, created_ms, expires_ms): Row) -> ServerInvitation {
    ServerInvitation { id, label, invited_by, created_ms, expires_ms }
}

/// The address of the page that it opens, below the public address of this server.
pub fn link(origin: &str, token: &str) -> String {
    format!("{}/signup?invitation={token}", origin.trim_end_matches('/'))
}

/// Makes one; gives its token, which is not kept in the clear.
pub async fn issue(
    db: &Db,
    invited_by: &str,
    label: &str,
) -> Result<(ServerInvitation, String), InviteError> {
    let label = label.trim().to_owned();
    if label.is_empty() || label.chars().count() > LABEL_CHARS_MAX || label.chars().any(char::is_control) {
        return Err(InviteError::LabelInvalid);
    }
    let (token, now) = (random_hex::<TOKEN_BYTES>(), now_ms());
    let made = ServerInvitation {
        id: format!("sin_{}", Uuid::now_v7().simple()),
        label,
        invited_by: invited_by.to_owned(),
        created_ms: now,
        expires_ms: now + LIFETIME_MS,
    };
    tx!(db, |t| {
        sqlx::query(PURGE).bind(now).execute(&mut *t).await.map_err(DbError::from)?;
        let open: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *t).await.map_err(DbError::from)?;
        if open >= OPEN_MAX {
            return Err(InviteError::TooMany);
        }
        sqlx::query(PUT)
            .bind(&made.id)
            .bind(&made.label)
            .bind(token_hash(&token))
            .bind(&made.invited_by)
            .bind(now)
            .bind(made.expires_ms)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
    });
    Ok((made, token))
}

/// Those that are open, latest first.
pub async fn list(db: &Db) -> Result<Vec<ServerInvitation>, DbError> {
    let rows: Vec<Row> = read!(db, |p| sqlx::query_as(OPEN).bind(now_ms()).fetch_all(p).await)?;
    Ok(rows.into_iter().map(from_row).collect())
}

/// The invitation of a link.
pub async fn find_by_token(db: &Db, token: &str) -> Result<Option<ServerInvitation>, DbError> {
    if !is_token(token) {
        return Ok(None);
    }
    let row: Option<Row> = read!(db, |p| sqlx::query_as(BY_TOKEN)
        .bind(token_hash(token))
        .bind(now_ms())
        .fetch_optional(p)
        .await)?;
    Ok(row.map(from_row))
}

/// Takes one back; false if it was not there.
pub async fn revoke(db: &Db, id: &str) -> Result<bool, DbError> {
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(false);
    }
    let gone =
        write!(db, |p| sqlx::query(REVOKE).bind(id).execute(p).await.map(|done| done.rows_affected()))?;
    Ok(gone > 0)
}

/// Makes a person, an organisation and the membership between them, and uses the invitation up: all of it or nothing.
pub async fn sign_up(
    db: &Db,
    token: &str,
    email: &str,
    password: &str,
    plan: Plan,
) -> Result<(User, Account), JoinError> {
    if find_by_token(db, token).await?.is_none() {
        return Err(JoinError::NotValid);
    }
    let (email, hash) = user::judge_and_hash(email, password).await?;
    let now = now_ms();
    let user = User { id: user::new_id(), email, created_ms: now };
    let name = user::workspace_name(&user.email);
    let account = Account { id: user::new_id(), name, plan, created_ms: now };
    tx!(db, |t| {
        let taken = sqlx::query(TAKE)
            .bind(token_hash(token))
            .bind(now)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if taken == 0 {
            return Err(JoinError::NotValid);
        }
        user::insert_person!(t, user, &hash, None);
        user::insert_organisation!(t, user, account);
    });
    Ok((user, account))
}
