//! Becoming a member by an invitation: as somebody who has an account with its address, or by signing up with it.

use super::find_by_token;
use crate::account::{self, AccountId};
use crate::audit::{self, Action, By, Entry, Via};
use crate::clock::now_ms;
use crate::db::{Db, DbError, tx};
use crate::identity::{self, Elsewhere};
use crate::member::MEMBERS_MAX;
use crate::secret::{is_token, token_hash};
use crate::session::Client;
use crate::user::{self, SignUpError, User};
use crate::{membership, statements};
use serde_json::json;

statements::sqls! {
    MEMBERS = "select count(*) from memberships where account_id = $1";
    PLACES_OF_USER = "select count(*) from memberships where user_id = $1";
    /// One statement finds and takes it: of two that accept at once, one gets the row.
    TAKE = "delete from invitations where token_hash = $1 and email = $2 and expires_ms > $3 returning account_id, role";
    JOIN = "insert into memberships (user_id, account_id, role, created_ms) values ($1, $2, $3, $4)
        on conflict (user_id, account_id) do nothing";
}

/// Why somebody did not become a member. The invitation is still open.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Unknown, used, revoked, run out, or for another address.
    #[error("the invitation is not valid")]
    NotValid,
    /// The organisation has [`MEMBERS_MAX`] people, or the person [`membership::PER_PERSON_MAX`] organisations.
    #[error("there is no place left")]
    Full,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Why somebody who was asked in did not get in.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The invitation.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// The address or the password.
    #[error(transparent)]
    SignUp(#[from] SignUpError),
}

impl From<DbError> for JoinError {
    fn from(error: DbError) -> Self {
        JoinError::Accept(error.into())
    }
}

/// Takes the invitation of a token and makes `user` a member; gives the organisation's id.
macro_rules! join {
    ($t:ident, $by:expr, $user:expr, $token:expr) => {{
        let (by, user, token): (&By, &User, &str) = ($by, $user, $token);
        let taken: Option<(String, String)> = sqlx::query_as(TAKE)
            .bind(token_hash(token))
            .bind(&user.email)
            .bind(now_ms())
            .fetch_optional(&mut *$t)
            .await
            .map_err(DbError::from)?;
        let Some((account_id, role)) = taken else { return Err(From::from(AcceptError::NotValid)) };
        sqlx::query(account::LOCK).bind(&account_id).execute(&mut *$t).await.map_err(DbError::from)?;
        for (count, of, max) in
            [(MEMBERS, &account_id, MEMBERS_MAX), (PLACES_OF_USER, &user.id, membership::PER_PERSON_MAX)]
        {
            let held: i64 =
                sqlx::query_scalar(count).bind(of).fetch_one(&mut *$t).await.map_err(DbError::from)?;
            if held >= max {
                return Err(From::from(AcceptError::Full));
            }
        }
        sqlx::query(JOIN)
            .bind(&user.id)
            .bind(&account_id)
            .bind(&role)
            .bind(now_ms())
            .execute(&mut *$t)
            .await
            .map_err(DbError::from)?;
        let details = json!({ "role": role });
        let action = Action::InvitationAccept;
        let entry = Entry { account_id: &account_id, action, app_id: None, target: &user.email, details };
        audit::insert!(&mut *$t, by, &entry, None).map_err(DbError::from)?;
        account_id
    }};
}

/// Makes `user` a member, if the invitation is for their address; gives the organisation's id. Who is a member already stays
/// what they are.
pub async fn accept(db: &Db, by: &By, user: &User, token: &str) -> Result<AccountId, AcceptError> {
    if !is_token(token) {
        return Err(AcceptError::NotValid);
    }
    let account_id: AccountId = tx!(db, |t| { join!(t, by, user, token) });
    Ok(account_id)
}

/// Makes a person with the address of the invitation, and a member; without an organisation of their own. `client` is where
/// they are.
pub async fn sign_up(
    db: &Db,
    client: Client,
    token: &str,
    password: &str,
) -> Result<(User, AccountId), JoinError> {
    let email = asked(db, token).await?;
    let (email, hash) = user::judge_and_hash(&email, password).await?;
    make(db, client, token, email, &hash, None).await
}

/// [`sign_up`] of who has an account elsewhere and no password. It must have the address of the invitation.
pub async fn sign_up_with(
    db: &Db,
    client: Client,
    token: &str,
    account: &Elsewhere,
) -> Result<(User, AccountId), JoinError> {
    let email = user::normal_email(&account.email).ok_or(SignUpError::EmailInvalid)?;
    if asked(db, token).await? != email {
        return Err(AcceptError::NotValid.into());
    }
    make(db, client, token, email, identity::NO_PASSWORD, Some(account)).await
}

/// The address that an open invitation is for.
async fn asked(db: &Db, token: &str) -> Result<String, JoinError> {
    let found = find_by_token(db, token).await.map_err(AcceptError::from)?;
    found.map(|(invitation, _)| invitation.email).ok_or_else(|| AcceptError::NotValid.into())
}

async fn make(
    db: &Db,
    client: Client,
    token: &str,
    email: String,
    hash: &str,
    elsewhere: Option<&Elsewhere>,
) -> Result<(User, AccountId), JoinError> {
    let user = User { id: user::new_id(), email, created_ms: now_ms() };
    let by = By { user_id: Some(user.id.clone()), label: user.email.clone(), client, via: Via::Dash };
    let account_id: AccountId = tx!(db, |t| {
        user::insert_person!(t, user, hash, elsewhere);
        join!(t, &by, &user, token)
    });
    Ok((user, account_id))
}
