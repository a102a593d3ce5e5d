//! Sign-in sessions: a random token in a cookie, its SHA-256 in the database. A session ends by sign-out, by a day
//! without use, or after thirty days. Cookies themselves are the dashboard's work. Where a sign-in came from is kept for its
//! own person to look at, with the address cut to its network.

pub(crate) mod end;
pub(crate) mod watch;

pub use end::{end, end_all_but, end_of_user, sweep};
pub use watch::watches;

use crate::account::AccountId;
use crate::clock::{DAY_MS, HOUR_MS, SECOND_MS, now_ms};
use crate::db::{Db, DbError, read, write};
use crate::secret::{TOKEN_BYTES, is_token, random_hex, token_hash};
use crate::statements;
use crate::user::{User, UserId};
use std::fmt;
use std::net::IpAddr;

statements::sqls! {
    INSERT = "insert into sessions (token_hash, user_id, created_ms, last_seen_ms, address, user_agent)
        values ($1, $2, $3, $3, $4, $5)";
    FIND = "select u.id, u.email, u.created_ms, s.account_id, s.last_seen_ms, u.server_admin, u.email_confirmed_ms,
            (select count(*) from second_factors f where f.user_id = u.id and f.confirmed_ms is not null)
        from sessions s join users u on u.id = s.user_id
        where s.token_hash = $1 and s.last_seen_ms > $2 and s.created_ms > $3";
    WORK_IN = "update sessions set account_id = $3 where token_hash = $1 and user_id = $2";
    SEEN = "update sessions set last_seen_ms = $1 where token_hash = $2 and last_seen_ms < $1";
    OF_USER = "select token_hash, created_ms, last_seen_ms, address, user_agent from sessions
        where user_id = $1 and last_seen_ms > $2 and created_ms > $3
        order by last_seen_ms desc, created_ms desc, token_hash limit $4";
}

/// A session ends after this time without a request.
pub const IDLE_MS: i64 = 24 * HOUR_MS;
/// A session ends this long after sign-in, however much it is used.
pub const ABSOLUTE_MS: i64 = 30 * DAY_MS;
/// Use of a session is written down at most this often, so that reading a page is seldom a write.
pub const SEEN_EVERY_MS: i64 = 60 * SECOND_MS;
/// Sessions of one person that are listed, those used last first. Nobody reads further; "sign out everywhere else" ends the
/// others too.
pub const LISTED_MAX: u32 = 100;
/// Characters of a `User-Agent` that are kept: all that browsers send, a tenth of what a stranger may.
pub const USER_AGENT_CHARS_MAX: usize = 300;

/// Where a sign-in came from, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The network of the address, such as `198.51.100.x` or `2001:db8:7::x`. Empty: not known.
    pub address: String,
    /// What the browser called itself. Empty: not known.
    pub user_agent: String,
}

impl Client {
    /// Cuts the address to its network (the /24 of IPv4, the /48 of IPv6) and the name of the browser to
    /// [`USER_AGENT_CHARS_MAX`].
    pub fn new(ip: IpAddr, user_agent: &str) -> Client {
        let address = match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                format!("{a}.{b}.{c}.x")
            }
            IpAddr::V6(v6) => {
                let [a, b, c, ..] = v6.segments();
                format!("{a:x}:{b:x}:{c:x}::x")
            }
        };
        let user_agent = user_agent.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect();
        Client { address, user_agent }
    }
}

/// A session in the list that its person sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The stored hash of its token. It names the session and opens nothing.
    pub id_hash: String,
    /// When it began.
    pub created_ms: i64,
    /// When it was used last, up to [`SEEN_EVERY_MS`] ago.
    pub last_seen_ms: i64,
    /// Where it was begun.
    pub client: Client,
}

/// A session that has just begun; the only moment at which its token is known.
#[derive(Clone)]
pub struct NewSession {
    /// Goes into the cookie: 64 hex characters.
    pub token: String,
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSession { token: … }")
    }
}

/// Who is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    /// The stored hash of the token. It names the session and opens nothing.
    pub id_hash: String,
    /// Whose session it is.
    pub user: User,
    /// The organisation that they chose to work in. Empty, or one that they have left: none was chosen.
    pub account_id: AccountId,
    /// They look after this server, see [`crate::server_admin`].
    pub server_admin: bool,
    /// A mail to their address arrived.
    pub email_confirmed: bool,
    /// Their second factor is on.
    pub second_factor: bool,
}

/// Begins a session; call it at every sign-in, so that a token from before cannot be used after.
pub async fn start(db: &Db, user_id: &UserId, client: &Client) -> Result<NewSession, DbError> {
    start_at(db, user_id, client, now_ms()).await
}

/// [`start`] at a given time.
pub async fn start_at(
    db: &Db,
    user_id: &UserId,
    client: &Client,
    now_ms: i64,
) -> Result<NewSession, DbError> {
    let token = random_hex::<TOKEN_BYTES>();
    // Sign-ins are rare enough to sweep the floor on the way; a sweep that fails must not refuse one.
    if let Err(error) = end::sweep_at(db, now_ms).await {
        tracing::warn!(%error, "expired sessions could not be removed");
    }
    write!(db, |p| sqlx::query(INSERT)
        .bind(token_hash(&token))
        .bind(user_id)
        .bind(now_ms)
        .bind(&client.address)
        .bind(&client.user_agent)
        .execute(p)
        .await
        .map(drop))?;
    Ok(NewSession { token })
}

type FindRow = (String, String, i64, String, i64, i64, Option<i64>, i64);

/// The live session of a token. `None` if it never was, has ended or expired.
pub async fn find(db: &Db, token: &str) -> Result<Option<Session>, DbError> {
    find_at(db, token, now_ms()).await
}

/// [`find`] at a given time.
pub async fn find_at(db: &Db, token: &str, now_ms: i64) -> Result<Option<Session>, DbError> {
    if !is_token(token) {
        return Ok(None);
    }
    let id_hash = token_hash(token);
    let row: Option<FindRow> = read!(db, |p| sqlx::query_as(FIND)
        .bind(&id_hash)
        .bind(now_ms - IDLE_MS)
        .bind(now_ms - ABSOLUTE_MS)
        .fetch_optional(p)
        .await)?;
    let Some((id, email, created_ms, account_id, last_seen_ms, server_admin, confirmed_ms, factors)) = row
    else {
        return Ok(None);
    };
    let second_factor = factors > 0;
    let user = User { id, email, created_ms };
    if now_ms - last_seen_ms >= SEEN_EVERY_MS {
        let seen = write!(db, |p| sqlx::query(SEEN).bind(now_ms).bind(&id_hash).execute(p).await.map(drop));
        // A full disk must not sign anybody out: the page is read-only for this purpose.
        if let Err(error) = seen {
            tracing::warn!(%error, "the use of a session could not be written down");
        }
    }
    let (server_admin, email_confirmed) = (server_admin != 0, confirmed_ms.is_some());
    Ok(Some(Session { id_hash, user, account_id, server_admin, email_confirmed, second_factor }))
}

/// Chooses the organisation that a session of this user works in; whether they belong to it is asked at every use.
pub async fn work_in(
    db: &Db,
    user_id: &UserId,
    id_hash: &str,
    account_id: &AccountId,
) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(WORK_IN)
        .bind(id_hash)
        .bind(user_id)
        .bind(account_id)
        .execute(p)
        .await
        .map(drop))?;
    Ok(())
}

/// The live sessions of a user, used last first, at most [`LISTED_MAX`].
pub async fn list(db: &Db, user_id: &UserId) -> Result<Vec<Listed>, DbError> {
    list_at(db, user_id, now_ms()).await
}

/// [`list`] at a given time.
pub async fn list_at(db: &Db, user_id: &UserId, now_ms: i64) -> Result<Vec<Listed>, DbError> {
    let rows: Vec<(String, i64, i64, String, String)> = read!(db, |p| sqlx::query_as(OF_USER)
        .bind(user_id)
        .bind(now_ms - IDLE_MS)
        .bind(now_ms - ABSOLUTE_MS)
        .bind(i64::from(LISTED_MAX))
        .fetch_all(p)
        .await)?;
    let listed = |(id_hash, created_ms, last_seen_ms, address, user_agent)| Listed {
        id_hash,
        created_ms,
        last_seen_ms,
        client: Client { address, user_agent },
    };
    Ok(rows.into_iter().map(listed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_only_the_network_is_kept() {
        for (ip, kept) in [
            ("198.51.100.7", "198.51.100.x"),
            ("::ffff:198.51.100.7", "198.51.100.x"),
            ("2001:db8:7:1234:5::9", "2001:db8:7::x"),
            ("::1", "0:0:0::x"),
        ] {
            assert_eq!(Client::new(ip.parse().unwrap(), "").address, kept);
        }
    }

    #[test]
    fn a_user_agent_is_bounded_and_printable() {
        let ip = "::1".parse().unwrap();
        let kept = Client::new(ip, &format!("a\u{7}b\n{}", "é".repeat(10_000))).user_agent;
        assert_eq!(kept.chars().count(), USER_AGENT_CHARS_MAX);
        assert!(kept.starts_with("abé"));
    }
}
