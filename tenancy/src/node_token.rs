//! What a node without a database shows the control plane: a signed token (JWT, HS256) that names its cluster. The key is made once and
//! kept sealed with the master key; a token can be revoked before its time. What its bearer may ask for is `api::node`'s affair.

use crate::clock::{DAY_MS, now_ms};
use crate::db::{Db, DbError, read};
use crate::instance::{self, NODE_TOKEN_KEY};
use crate::secret::{Secret, TOKEN_BYTES, random_hex};
use crate::statements;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

statements::sqls! {
    LIST = "select value from instance where name like 'node_token:%' order by name";
}

/// A token's life in days, at most.
pub const DAYS_MAX: u32 = 3_650;
/// Characters of a token that are looked at.
const TOKEN_LENGTH_MAX: usize = 2_048;

/// A token as it is listed; the token itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeToken {
    /// To revoke it by.
    pub id: String,
    /// For people.
    pub name: String,
    /// The only cluster whose apps it gives.
    pub cluster: String,
    /// When it was made.
    pub created_ms: i64,
    /// When it ends.
    pub expires_ms: i64,
    /// It was revoked.
    pub revoked: bool,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    cluster: String,
    iat: i64,
    exp: i64,
    jti: String,
}

fn row(id: &str) -> String {
    format!("node_token:{id}")
}

async fn key(db: &Db) -> Result<Secret, DbError> {
    if let Some(kept) = instance::get(db, NODE_TOKEN_KEY).await? {
        return instance::opened(db, NODE_TOKEN_KEY, &kept);
    }
    let fresh = instance::sealed(db, NODE_TOKEN_KEY, &Secret::new(random_hex::<TOKEN_BYTES>()))?;
    instance::opened(db, NODE_TOKEN_KEY, &instance::get_or_put(db, NODE_TOKEN_KEY, &fresh).await?)
}

/// Makes a token for nodes of a cluster. The text is shown once.
pub async fn issue(db: &Db, cluster: &str, name: &str, days: u32) -> Result<(NodeToken, Secret), DbError> {
    issue_at(db, cluster, name, days, now_ms()).await
}

/// [`issue`] at a given time.
pub async fn issue_at(
    db: &Db,
    cluster: &str,
    name: &str,
    days: u32,
    now_ms: i64,
) -> Result<(NodeToken, Secret), DbError> {
    let made = NodeToken {
        id: random_hex::<6>(),
        name: name.to_owned(),
        cluster: cluster.to_owned(),
        created_ms: now_ms,
        expires_ms: now_ms + i64::from(days.min(DAYS_MAX)) * DAY_MS,
        revoked: false,
    };
    let claims = Claims {
        sub: made.name.clone(),
        cluster: made.cluster.clone(),
        iat: made.created_ms / 1_000,
        exp: made.expires_ms / 1_000,
        jti: made.id.clone(),
    };
    let key = EncodingKey::from_secret(key(db).await?.expose().as_bytes());
    // Texts and numbers of ours under a key of ours can be signed.
    let text = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap_or_default();
    instance::put(db, &row(&made.id), &serde_json::to_string(&made).unwrap_or_default()).await?;
    Ok((made, Secret::new(text)))
}

/// Whose token it is; `None`: it is not ours, not whole, over, or revoked.
pub async fn verify(db: &Db, text: &str) -> Result<Option<NodeToken>, DbError> {
    if text.len() > TOKEN_LENGTH_MAX {
        return Ok(None);
    }
    let key = DecodingKey::from_secret(key(db).await?.expose().as_bytes());
    let mut rules = Validation::new(Algorithm::HS256);
    rules.leeway = 0;
    let Ok(read) = decode::<Claims>(text, &key, &rules) else { return Ok(None) };
    let kept = instance::get(db, &row(&read.claims.jti)).await?;
    let kept: Option<NodeToken> = kept.and_then(|kept| serde_json::from_str(&kept).ok());
    Ok(kept.filter(|kept| !kept.revoked && kept.cluster == read.claims.cluster))
}

/// All tokens that were ever made.
pub async fn list(db: &Db) -> Result<Vec<NodeToken>, DbError> {
    let rows: Vec<String> = read!(db, |p| sqlx::query_scalar(LIST).fetch_all(p).await)?;
    Ok(rows.iter().filter_map(|kept| serde_json::from_str(kept).ok()).collect())
}

/// Ends a token before its time; false: there is none of this id.
pub async fn revoke(db: &Db, id: &str) -> Result<bool, DbError> {
    let kept = instance::get(db, &row(id)).await?;
    let Some(mut token) = kept.and_then(|kept| serde_json::from_str::<NodeToken>(&kept).ok()) else {
        return Ok(false);
    };
    token.revoked = true;
    instance::put(db, &row(id), &serde_json::to_string(&token).unwrap_or_default()).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vault;

    async fn fresh() -> Db {
        let db = Db::connect("sqlite::memory:").await.unwrap().with_vault(Vault::fresh());
        db.migrate().await.unwrap();
        db
    }

    #[tokio::test]
    async fn a_token_names_its_cluster_until_it_ends_or_is_revoked() {
        let db = fresh().await;
        let (made, text) = issue(&db, "eu", "node 1", 30).await.unwrap();
        assert_eq!(verify(&db, text.expose()).await.unwrap(), Some(made.clone()));
        assert_eq!(list(&db).await.unwrap(), std::slice::from_ref(&made));
        let (_, over) = issue_at(&db, "eu", "old", 1, now_ms() - 2 * DAY_MS).await.unwrap();
        assert_eq!(verify(&db, over.expose()).await.unwrap(), None);
        assert!(revoke(&db, &made.id).await.unwrap());
        assert_eq!(verify(&db, text.expose()).await.unwrap(), None);
        assert!(!revoke(&db, "0000").await.unwrap());
    }

    #[tokio::test]
    async fn what_is_changed_foreign_or_unsigned_is_no_token() {
        let (db, other) = (fresh().await, fresh().await);
        let (_, text) = issue(&db, "eu", "node 1", 30).await.unwrap();
        let (_, foreign) = issue(&other, "eu", "node 1", 30).await.unwrap();
        let text = text.expose();
        let parts: Vec<&str> = text.split('.').collect();
        // {"alg":"none","typ":"JWT"}
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
        let cut = &text[..text.len() - 2];
        let long = "x".repeat(TOKEN_LENGTH_MAX + 1);
        for wrong in ["", "x", "a.b.c", cut, &unsigned, foreign.expose(), &long] {
            assert_eq!(verify(&db, wrong).await.unwrap(), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_key_is_kept_sealed_and_its_tokens_outlive_a_new_master_key() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::make_file(&folder.path().join("secret-key")).unwrap();
        let db = Db::connect("sqlite::memory:").await.unwrap().with_vault(vault.clone());
        db.migrate().await.unwrap();
        let (made, text) = issue(&db, "eu", "node 1", 30).await.unwrap();
        let id = vault.rotate_file(&[]).unwrap();
        crate::sealing::seal_all(&db).await.unwrap();
        let kept = instance::get(&db, NODE_TOKEN_KEY).await.unwrap().unwrap();
        assert_eq!(crate::vault::sealed_with(&kept), Some(&*id));
        assert_eq!(verify(&db, text.expose()).await.unwrap(), Some(made));
    }
}
