//! Tokens of the management API: in the name of one person, within one organisation, for some scopes, perhaps for one app, perhaps
//! until a day. Shown once, kept as SHA-256. What a token may do never exceeds what its person may do at that moment; it ends
//! with their membership. Reading it from a request is the API's work.

mod scope;

pub use scope::Scope;

use crate::account::{self, Account, AccountId, AccountRow};
use crate::app;
use crate::audit::{self, Action, By, Entry};
use crate::clock::{DAY_MS, MINUTE_MS, now_ms};
use crate::db::{Db, DbError, read, tx, write};
use crate::membership::Membership;
use crate::role::{Permission, Role};
use crate::secret::{TOKEN_BYTES, is_token, random_hex, token_hash};
use crate::statements;
use crate::user::{User, UserId};
use serde_json::json;
use uuid::Uuid;

/// The columns of [`TokenRow`]; they name their table.
macro_rules! token_columns {
    () => {
        "t.id, t.user_id, u.email, t.name, t.hint, t.scopes, t.app_id, t.created_ms, t.expires_ms, t.last_used_ms, \
         t.last_used_from, t.revoked_ms"
    };
}

statements::sqls! {
    OF_ACCOUNT = concat!("select ", token_columns!(), " from api_tokens t join users u on u.id = t.user_id
        where t.account_id = $1 order by t.created_ms desc, t.id");
    BY_ID = concat!("select ", token_columns!(), " from api_tokens t join users u on u.id = t.user_id
        where t.account_id = $1 and t.id = $2");
    BY_HASH = concat!("select ", token_columns!(), " from api_tokens t join users u on u.id = t.user_id
        where t.token_hash = $1 and t.revoked_ms is null and (t.expires_ms is null or t.expires_ms > $2)");
    /// Nobody, while the organisation asks for a second factor that its person doesn't have.
    OWNER_BY_HASH = "select u.created_ms, a.id, a.name, a.plan, a.created_ms, m.role, m.all_apps, a.second_factor_required
        from api_tokens t join users u on u.id = t.user_id join accounts a on a.id = t.account_id
            join memberships m on m.user_id = t.user_id and m.account_id = t.account_id
        where t.token_hash = $1 and a.deleted_ms is null and (a.second_factor_required = 0 or exists (
            select 1 from second_factors f where f.user_id = t.user_id and f.confirmed_ms is not null))";
    COUNT = "select count(*) from api_tokens where account_id = $1 and revoked_ms is null";
    HAS_APP = "select count(*) from apps where account_id = $1 and id = $2";
    INSERT = "insert into api_tokens (id, account_id, user_id, name, token_hash, hint, scopes, app_id, created_ms, expires_ms,
            last_used_ms, last_used_from)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, '')";
    USED = "update api_tokens set last_used_ms = $2, last_used_from = $3 where id = $1 and last_used_ms <= $4";
    REVOKE = "update api_tokens set revoked_ms = $3 where account_id = $1 and id = $2 and revoked_ms is null";
    /// In the order of their end, after the one of `$3` and `$4`.
    ENDING = "select t.id, t.account_id, a.name, u.email, t.name, t.hint, t.expires_ms
        from api_tokens t join users u on u.id = t.user_id join accounts a on a.id = t.account_id
        where t.revoked_ms is null and a.deleted_ms is null and t.expires_ms > $1 and t.expires_ms <= $2
            and (t.expires_ms > $3 or (t.expires_ms = $3 and t.id > $4))
        order by t.expires_ms, t.id limit $5";
    PURGE = "delete from api_tokens where account_id = $1 and (revoked_ms <= $2 or expires_ms <= $2)";
}

/// What every token begins with, so that scanners for leaked secrets know one.
pub const PREFIX: &str = "ff_";
/// Characters of a token's name.
pub const NAME_CHARS_MAX: usize = 60;
/// Tokens of one organisation that were not revoked. All are listed on one page.
pub const PER_ACCOUNT_MAX: i64 = 100;
/// A token that was revoked or ran out stays in the list this long.
pub const SHOWN_AFTER_MS: i64 = 30 * DAY_MS;
/// Use is written down at most this often.
pub const USED_EVERY_MS: i64 = MINUTE_MS;
/// Days that a token can be made for, beside for ever.
pub const LIFETIMES_DAYS: [i64; 3] = [30, 60, 90];
/// The last characters of a token, by which its owner knows it again.
const HINT_CHARS: usize = 4;

/// A token, without itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// `tok_…`
    pub id: String,
    /// In whose name it acts.
    pub user_id: UserId,
    /// Their address.
    pub email: String,
    /// What it is for.
    pub name: String,
    /// Its last four characters.
    pub hint: String,
    /// What it was made for.
    pub scopes: Vec<Scope>,
    /// The one app that it sees; `None`: all that its person sees.
    pub app_id: Option<u64>,
    /// When it was made.
    pub created_ms: i64,
    /// When it ends; `None`: never.
    pub expires_ms: Option<i64>,
    /// When it was used last, up to [`USED_EVERY_MS`] ago; 0 is never.
    pub last_used_ms: i64,
    /// The network it was used from last, such as `198.51.100.x`.
    pub last_used_from: String,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
}

impl Token {
    /// Does it work no more?
    pub fn is_over(&self, now_ms: i64) -> bool {
        self.revoked_ms.is_some() || self.expires_ms.is_some_and(|at| at <= now_ms)
    }
}

/// What a new token shall be.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    /// 1 to [`NAME_CHARS_MAX`] characters after trimming.
    pub name: &'a str,
    /// At least one, all within the power of its person.
    pub scopes: &'a [Scope],
    /// The one app that it shall see; `None`: all.
    pub app_id: Option<u64>,
    /// Days until it ends; `None`: never.
    pub days: Option<i64>,
}

/// A token that works, and who it acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The token.
    pub token: Token,
    /// Its person.
    pub user: User,
    /// Their place in the organisation, as it is now.
    pub membership: Membership,
}

impl Bearer {
    /// Was it made for this?
    pub fn has(&self, scope: Scope) -> bool {
        self.token.scopes.contains(&scope)
    }

    /// May its person do this now?
    pub fn may(&self, permission: Permission) -> bool {
        self.membership.role.allows(permission)
    }
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Empty, too long, or with control characters.
    #[error("the name must have 1 to 60 characters")]
    NameInvalid,
    /// No scope.
    #[error("choose at least one scope")]
    NoScope,
    /// A scope beyond the role of its person.
    #[error("{} is beyond your role", .0.name())]
    BeyondRole(Scope),
    /// Not an app that its person sees.
    #[error("there is no such app")]
    NoApp,
    /// Not one of [`LIFETIMES_DAYS`].
    #[error("a token lives 30, 60 or 90 days, or until it is revoked")]
    Lifetime,
    /// The organisation has [`PER_ACCOUNT_MAX`].
    #[error("the organisation has as many tokens as it may have")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

type TokenRow =
    (String, String, String, String, String, String, Option<i64>, i64, Option<i64>, i64, String, Option<i64>);

fn from_row(row: TokenRow) -> Token {
    let (
        id,
        user_id,
        email,
        name,
        hint,
        scopes,
        app_id,
        created_ms,
        expires_ms,
        last_used_ms,
        from,
        revoked_ms,
    ) = row;
    Token {
        id,
        user_id,
        email,
        name,
        hint,
        // A scope of a newer release opens nothing here.
        scopes: scopes.split(' ').filter_map(Scope::parse).collect(),
        app_id: app_id.map(i64::cast_unsigned),
        created_ms,
        expires_ms,
        last_used_ms,
        last_used_from: from,
        revoked_ms,
    }
}

/// Makes a token for a member, in the audit log too; gives it with its text, which is not kept in the clear.
pub async fn create(
    db: &Db,
    by: &By,
    of: &Membership,
    new: NewToken<'_>,
) -> Result<(Token, String), TokenError> {
    let name = app::normal_name(new.name).ok_or(TokenError::NameInvalid)?;
    if new.scopes.is_empty() {
        return Err(TokenError::NoScope);
    }
    if let Some(beyond) = new.scopes.iter().find(|scope| !of.role.allows(scope.permission())) {
        return Err(TokenError::BeyondRole(*beyond));
    }
    if new.days.is_some_and(|days| !LIFETIMES_DAYS.contains(&days)) {
        return Err(TokenError::Lifetime);
    }
    if let Some(id) = new.app_id
        && crate::membership::app(db, of, id).await?.is_none()
    {
        return Err(TokenError::NoApp);
    }
    let text = format!("{PREFIX}{}", random_hex::<TOKEN_BYTES>());
    let scopes: Vec<Scope> = Scope::ALL.iter().copied().filter(|one| new.scopes.contains(one)).collect();
    let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
    let (now, account_id) = (now_ms(), &of.account.id);
    let made = Token {
        id: format!("tok_{}", Uuid::now_v7().simple()),
        user_id: of.user_id.clone(),
        email: by.label.clone(),
        name,
        hint: text[text.len() - HINT_CHARS..].to_owned(),
        app_id: new.app_id,
        created_ms: now,
        expires_ms: new.days.map(|days| now + days * DAY_MS),
        last_used_ms: 0,
        last_used_from: String::new(),
        revoked_ms: None,
        scopes,
    };
    tx!(db, |t| {
        sqlx::query(account::LOCK).bind(account_id).execute(&mut *t).await.map_err(DbError::from)?;
        sqlx::query(PURGE)
            .bind(account_id)
            .bind(now - SHOWN_AFTER_MS)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        let count: i64 =
            sqlx::query_scalar(COUNT).bind(account_id).fetch_one(&mut *t).await.map_err(DbError::from)?;
        if count >= PER_ACCOUNT_MAX {
            return Err(TokenError::TooMany);
        }
        let app = new.app_id.map(u64::cast_signed);
        if let Some(app) = app {
            // Deleted since it was looked up.
            let there: i64 = sqlx::query_scalar(HAS_APP)
                .bind(account_id)
                .bind(app)
                .fetch_one(&mut *t)
                .await
                .map_err(DbError::from)?;
            if there == 0 {
                return Err(TokenError::NoApp);
            }
        }
        sqlx::query(INSERT)
            .bind(&made.id)
            .bind(account_id)
            .bind(&made.user_id)
            .bind(&made.name)
            .bind(token_hash(&text))
            .bind(&made.hint)
            .bind(names.join(" "))
            .bind(app)
            .bind(now)
            .bind(made.expires_ms)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        let details = json!({ "id": made.id, "scopes": names, "days": new.days });
        let action = Action::TokenCreate;
        let entry = Entry { account_id, action, app_id: new.app_id, target: &made.name, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
    });
    Ok((made, text))
}

/// The tokens of an organisation, latest first, those of late that work no more included.
pub async fn list(db: &Db, account_id: &AccountId) -> Result<Vec<Token>, DbError> {
    let rows: Vec<TokenRow> = read!(db, |p| sqlx::query_as(OF_ACCOUNT).bind(account_id).fetch_all(p).await)?;
    let after = now_ms() - SHOWN_AFTER_MS;
    let gone = |token: &Token| token.revoked_ms.or(token.expires_ms).is_some_and(|at| at <= after);
    Ok(rows.into_iter().map(from_row).filter(|token| !gone(token)).collect())
}

/// A token that ends soon, and whom that concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// `tok_…`
    pub id: String,
    /// Its organisation.
    pub account_id: AccountId,
    /// How that is called.
    pub account_name: String,
    /// The address of its person.
    pub email: String,
    /// What it is for.
    pub name: String,
    /// Its last four characters.
    pub hint: String,
    /// When it ends.
    pub expires_ms: i64,
}

/// Tokens of all organisations that work and end after `now_ms` and until `until_ms`, soonest first; those after `after`, at most
/// `limit`. For the server itself, never for a page of a customer.
pub async fn ending(
    db: &Db,
    now_ms: i64,
    until_ms: i64,
    after: Option<&Ending>,
    limit: u32,
) -> Result<Vec<Ending>, DbError> {
    let (after_ms, after_id) = after.map_or((now_ms, ""), |one| (one.expires_ms, one.id.as_str()));
    let rows: Vec<(String, String, String, String, String, String, i64)> =
        read!(db, |p| sqlx::query_as(ENDING)
            .bind(now_ms)
            .bind(until_ms)
            .bind(after_ms)
            .bind(after_id)
            .bind(i64::from(limit))
            .fetch_all(p)
            .await)?;
    let one = |(id, account_id, account_name, email, name, hint, expires_ms)| Ending {
        id,
        account_id,
        account_name,
        email,
        name,
        hint,
        expires_ms,
    };
    Ok(rows.into_iter().map(one).collect())
}

/// A token of an organisation. `None` for an unknown one and another organisation's alike.
pub async fn find(db: &Db, account_id: &AccountId, id: &str) -> Result<Option<Token>, DbError> {
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(None);
    }
    let row: Option<TokenRow> =
        read!(db, |p| sqlx::query_as(BY_ID).bind(account_id).bind(id).fetch_optional(p).await)?;
    Ok(row.map(from_row))
}

/// Ends a token of an organisation at once. False for one that [`find`] does not find, and for one that was revoked already.
pub async fn revoke(db: &Db, by: &By, account_id: &AccountId, id: &str) -> Result<bool, DbError> {
    let Some(token) = find(db, account_id, id).await? else { return Ok(false) };
    tx!(db, |t| {
        let revoked = sqlx::query(REVOKE)
            .bind(account_id)
            .bind(id)
            .bind(now_ms())
            .execute(&mut *t)
            .await?
            .rows_affected();
        if revoked == 0 {
            return Ok(false);
        }
        let details = json!({ "id": token.id, "of": token.email });
        let action = Action::TokenRevoke;
        let entry = Entry { account_id, action, app_id: token.app_id, target: &token.name, details };
        audit::insert!(&mut *t, by, &entry, None)?;
    });
    Ok(true)
}

type OwnerRow = (i64, String, String, String, i64, String, i64, i64);

/// The token of a text, while it works. `None` if it is none of ours, unknown, revoked or ran out, or its person is no member any
/// more.
pub async fn authenticate(db: &Db, text: &str) -> Result<Option<Bearer>, DbError> {
    authenticate_at(db, text, now_ms()).await
}

/// [`authenticate`] at a given time.
pub async fn authenticate_at(db: &Db, text: &str, now_ms: i64) -> Result<Option<Bearer>, DbError> {
    if !text.strip_prefix(PREFIX).is_some_and(is_token) {
        return Ok(None);
    }
    let hash = token_hash(text);
    let token: Option<TokenRow> =
        read!(db, |p| sqlx::query_as(BY_HASH).bind(&hash).bind(now_ms).fetch_optional(p).await)?;
    let Some(token) = token.map(from_row) else { return Ok(None) };
    let owner: Option<OwnerRow> =
        read!(db, |p| sqlx::query_as(OWNER_BY_HASH).bind(&hash).fetch_optional(p).await)?;
    let Some((user_ms, id, name, plan, account_ms, role, all_apps, required)) = owner else {
        return Ok(None);
    };
    let account: AccountRow = (id, name, plan, account_ms);
    let membership = Membership {
        user_id: token.user_id.clone(),
        account: Account::from_row(account)?,
        role: Role::parse(&role).ok_or(DbError::row("role"))?,
        all_apps: all_apps != 0,
        second_factor_required: required != 0,
        is_locked: false,
    };
    let user = User { id: token.user_id.clone(), email: token.email.clone(), created_ms: user_ms };
    Ok(Some(Bearer { token, user, membership }))
}

/// Writes down that a token was used, from which network; at most every [`USED_EVERY_MS`].
pub async fn used(db: &Db, token: &Token, network: &str) -> Result<(), DbError> {
    used_at(db, token, network, now_ms()).await
}

/// [`used`] at a given time.
pub async fn used_at(db: &Db, token: &Token, network: &str, now_ms: i64) -> Result<(), DbError> {
    if now_ms - token.last_used_ms < USED_EVERY_MS {
        return Ok(());
    }
    write!(db, |p| sqlx::query(USED)
        .bind(&token.id)
        .bind(now_ms)
        .bind(network)
        .bind(now_ms - USED_EVERY_MS)
        .execute(p)
        .await
        .map(drop))?;
    Ok(())
}
