//! Asking somebody into an organisation: an address, a role, and a token that only the link holds. Whoever opens the link signed
//! in with that address, or signs up with it, becomes a member. One open invitation for each address.
//!
//! Accepting is in `invitation/accept.rs`. Nothing is mailed here: [`issue`] and [`renew`] give the token, the caller makes the link and sends or shows it.

pub(crate) mod accept;

pub use accept::{AcceptError, JoinError, accept, sign_up, sign_up_with};

use crate::account::{self, Account, AccountId, AccountRow};
use crate::audit::{self, Action, By, Entry};
use crate::clock::{DAY_MS, HOUR_MS, now_ms};
use crate::db::{Db, DbError, read, tx};
use crate::member::MEMBERS_MAX;
use crate::role::Role;
use crate::secret::{TOKEN_BYTES, is_token, random_hex, token_hash};
use crate::statements;
use crate::user::normal_email;
use serde_json::json;
use uuid::Uuid;

statements::sqls! {
    OF_ACCOUNT = "select id, email, role, invited_by, created_ms, expires_ms from invitations
        where account_id = $1 order by created_ms desc, id";
    BY_ID = "select id, email, role, invited_by, created_ms, expires_ms from invitations
        where account_id = $1 and id = $2";
    BY_TOKEN = "select i.id, i.email, i.role, i.invited_by, i.created_ms, i.expires_ms, a.id, a.name, a.plan, a.created_ms
        from invitations i join accounts a on a.id = i.account_id where i.token_hash = $1 and i.expires_ms > $2";
    COUNT = "select count(*) from invitations where account_id = $1";
    IS_MEMBER = "select count(*) from memberships m join users u on u.id = m.user_id
        where m.account_id = $1 and u.email = $2";
    ISSUED_SINCE = "select count(*) from audit_log
        where account_id = $1 and id >= $2 and action in ('invitation.create', 'invitation.renew')";
    /// Whoever is asked again is asked by the latest invitation alone.
    PUT = "insert into invitations (id, account_id, email, role, token_hash, invited_by, created_ms, expires_ms)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        on conflict (account_id, email) do update set id = excluded.id, role = excluded.role,
            token_hash = excluded.token_hash, invited_by = excluded.invited_by, created_ms = excluded.created_ms,
            expires_ms = excluded.expires_ms";
    RENEW = "update invitations set token_hash = $3, expires_ms = $4 where account_id = $1 and id = $2";
    REVOKE = "delete from invitations where account_id = $1 and id = $2";
    PURGE = "delete from invitations where account_id = $1 and expires_ms <= $2";
}

/// How long a link works.
pub const LIFETIME_MS: i64 = 7 * DAY_MS;
/// An invitation that ran out stays in the list this long, to be renewed.
const SHOWN_AFTER_MS: i64 = 30 * DAY_MS;
/// Open invitations of one organisation.
pub const OPEN_MAX: i64 = 100;
/// Links that one organisation makes in an hour, since each may become a mail to somebody who did not ask for it.
pub const PER_HOUR_MAX: i64 = 30;

/// A person who was asked in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// `inv_…`
    pub id: String,
    /// Who may accept it.
    pub email: String,
    /// What they will be.
    pub role: Role,
    /// The address of who asked.
    pub invited_by: String,
    /// When.
    pub created_ms: i64,
    /// The link works until then.
    pub expires_ms: i64,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// It cannot be an e-mail address.
    #[error("the e-mail address is not valid")]
    EmailInvalid,
    /// They belong to the organisation already.
    #[error("they are a member already")]
    Member,
    /// Only an Owner asks Owners in.
    #[error("only an owner may do that")]
    OwnersOnly,
    /// [`OPEN_MAX`] are open, or the organisation is full.
    #[error("there are too many members or open invitations")]
    TooMany,
    /// [`PER_HOUR_MAX`] links were made in the last hour.
    #[error("too many links in an hour")]
    TooOften,
    /// There is no such invitation.
    #[error("there is no such invitation")]
    NotFound,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

type Row = (String, String, String, String, i64, i64);
/// An invitation and its organisation.
type OpenRow = (String, String, String, String, i64, i64, String, String, String, i64);

fn from_row((id, email, role, invited_by, created_ms, expires_ms): Row) -> Result<Invitation, DbError> {
    let role = Role::parse(&role).ok_or(DbError::row("role"))?;
    Ok(Invitation { id, email, role, invited_by, created_ms, expires_ms })
}

/// The address of the page that accepts it, below the public address of this server.
pub fn link(origin: &str, token: &str) -> String {
    format!("{}/invite/{token}", origin.trim_end_matches('/'))
}

/// Whether one more link may be made; counts by the audit log, so it holds over restarts and nodes.
macro_rules! refuse_too_often {
    ($t:ident, $account_id:expr) => {
        let made: i64 = sqlx::query_scalar(ISSUED_SINCE)
            .bind($account_id)
            .bind(audit::first_id_at(now_ms() - HOUR_MS))
            .fetch_one(&mut *$t)
            .await
            .map_err(DbError::from)?;
        if made >= PER_HOUR_MAX {
            return Err(InviteError::TooOften);
        }
    };
}

/// Asks somebody in; gives the invitation and its token, which is not kept in the clear. `giver` is the role of who asks.
pub async fn issue(
    db: &Db,
    by: &By,
    giver: Role,
    account_id: &AccountId,
    email: &str,
    role: Role,
) -> Result<(Invitation, String), InviteError> {
    let email = normal_email(email).ok_or(InviteError::EmailInvalid)?;
    if !giver.may_give(role) {
        return Err(InviteError::OwnersOnly);
    }
    let (token, now) = (random_hex::<TOKEN_BYTES>(), now_ms());
    let made = Invitation {
        id: format!("inv_{}", Uuid::now_v7().simple()),
        email,
        role,
        invited_by: by.label.clone(),
        created_ms: now,
        expires_ms: now + LIFETIME_MS,
    };
    tx!(db, |t| {
        sqlx::query(account::LOCK).bind(account_id).execute(&mut *t).await.map_err(DbError::from)?;
        sqlx::query(PURGE)
            .bind(account_id)
            .bind(now - SHOWN_AFTER_MS)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        refuse_too_often!(t, account_id);
        let member: i64 = sqlx::query_scalar(IS_MEMBER)
            .bind(account_id)
            .bind(&made.email)
            .fetch_one(&mut *t)
            .await
            .map_err(DbError::from)?;
        if member > 0 {
            return Err(InviteError::Member);
        }
        let open: i64 =
            sqlx::query_scalar(COUNT).bind(account_id).fetch_one(&mut *t).await.map_err(DbError::from)?;
        let members: i64 = sqlx::query_scalar(accept::MEMBERS)
            .bind(account_id)
            .fetch_one(&mut *t)
            .await
            .map_err(DbError::from)?;
        if open >= OPEN_MAX || members >= MEMBERS_MAX {
            return Err(InviteError::TooMany);
        }
        sqlx::query(PUT)
            .bind(&made.id)
            .bind(account_id)
            .bind(&made.email)
            .bind(role.name())
            .bind(token_hash(&token))
            .bind(&made.invited_by)
            .bind(now)
            .bind(made.expires_ms)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        let details = json!({ "role": role.name() });
        let action = Action::InvitationCreate;
        let entry = Entry { account_id, action, app_id: None, target: &made.email, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
    });
    Ok((made, token))
}

/// A new link for an open invitation, or one that ran out: the old link works no more.
pub async fn renew(
    db: &Db,
    by: &By,
    giver: Role,
    account_id: &AccountId,
    id: &str,
) -> Result<(Invitation, String), InviteError> {
    let found = find(db, account_id, id).await?.ok_or(InviteError::NotFound)?;
    if !giver.may_give(found.role) {
        return Err(InviteError::OwnersOnly);
    }
    let (token, expires_ms) = (random_hex::<TOKEN_BYTES>(), now_ms() + LIFETIME_MS);
    tx!(db, |t| {
        sqlx::query(account::LOCK).bind(account_id).execute(&mut *t).await.map_err(DbError::from)?;
        refuse_too_often!(t, account_id);
        let renewed = sqlx::query(RENEW)
            .bind(account_id)
            .bind(id)
            .bind(token_hash(&token))
            .bind(expires_ms)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if renewed == 0 {
            return Err(InviteError::NotFound);
        }
        let action = Action::InvitationRenew;
        let details = serde_json::Value::Null;
        let entry = Entry { account_id, action, app_id: None, target: &found.email, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
    });
    Ok((Invitation { expires_ms, ..found }, token))
}

/// Takes an invitation back. `giver` is the role of who does it.
pub async fn revoke(
    db: &Db,
    by: &By,
    giver: Role,
    account_id: &AccountId,
    id: &str,
) -> Result<(), InviteError> {
    let found = find(db, account_id, id).await?.ok_or(InviteError::NotFound)?;
    if !giver.may_give(found.role) {
        return Err(InviteError::OwnersOnly);
    }
    tx!(db, |t| {
        sqlx::query(REVOKE).bind(account_id).bind(id).execute(&mut *t).await.map_err(DbError::from)?;
        let action = Action::InvitationRevoke;
        let details = serde_json::Value::Null;
        let entry = Entry { account_id, action, app_id: None, target: &found.email, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
    });
    Ok(())
}

/// The invitations of an organisation, latest first, those that ran out of late included.
pub async fn list(db: &Db, account_id: &AccountId) -> Result<Vec<Invitation>, DbError> {
    let rows: Vec<Row> = read!(db, |p| sqlx::query_as(OF_ACCOUNT).bind(account_id).fetch_all(p).await)?;
    rows.into_iter().map(from_row).collect()
}

async fn find(db: &Db, account_id: &AccountId, id: &str) -> Result<Option<Invitation>, DbError> {
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(None);
    }
    let row: Option<Row> =
        read!(db, |p| sqlx::query_as(BY_ID).bind(account_id).bind(id).fetch_optional(p).await)?;
    row.map(from_row).transpose()
}

/// The invitation of a link, with its organisation. `None` if the link is unknown, used, revoked or ran out.
pub async fn find_by_token(db: &Db, token: &str) -> Result<Option<(Invitation, Account)>, DbError> {
    if !is_token(token) {
        return Ok(None);
    }
    let row: Option<OpenRow> = read!(db, |p| sqlx::query_as(BY_TOKEN)
        .bind(token_hash(token))
        .bind(now_ms())
        .fetch_optional(p)
        .await)?;
    let Some((id, email, role, by, created_ms, expires_ms, account_id, name, plan, account_ms)) = row else {
        return Ok(None);
    };
    let account: AccountRow = (account_id, name, plan, account_ms);
    Ok(Some((from_row((id, email, role, by, created_ms, expires_ms))?, Account::from_row(account)?)))
}
