//! The audit log: what is kept of an act, who may read it, and how it is bounded.

use crate::support::{on_both, sign_up, text};
use serde_json::json;
use tenancy::account::Account;
use tenancy::audit::{self, Action, By, Entry, Filter, KEPT_MS, Via};
use tenancy::session::Client;
use tenancy::user::User;
use tenancy::{Db, now_ms};

fn by(user: &User) -> By {
    let client = Client::new("198.51.100.7".parse().unwrap(), "Firefox");
    By { user_id: Some(user.id.clone()), label: user.email.clone(), client, via: Via::Dash }
}

fn entry(account: &Account, action: Action, app_id: Option<u64>) -> Entry<'_> {
    Entry { account_id: &account.id, action, app_id, target: "shop", details: json!({ "n": 1 }) }
}

async fn all(db: &Db, account: &Account) -> Vec<audit::Row> {
    audit::list(db, &account.id, Filter { limit: 100, ..Filter::default() }).await.unwrap()
}

#[tokio::test]
async fn an_act_is_kept_with_its_person_network_and_change_for_its_own_organisation() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (_, bakery) = sign_up(&db, "ben@example.com").await;
        audit::record(&db, &by(&ana), entry(&shop, Action::AppCreate, Some(1001))).await.unwrap();
        let rows = all(&db, &shop).await;
        let row = &rows[0];
        assert_eq!(
            (row.actor.as_str(), row.actor_id.as_str(), row.action.as_str(), row.app_id),
            ("ana@example.com", ana.id.as_str(), "app.create", Some(1001))
        );
        assert_eq!((row.client.address.as_str(), row.via.as_str()), ("198.51.100.x", "dash"));
        assert_eq!((row.target.as_str(), &row.details), ("shop", &json!({ "n": 1 })));
        assert!(all(&db, &bakery).await.is_empty(), "another organisation sees nothing of it");
        assert_eq!(audit::actors(&db, &shop.id).await.unwrap(), ["ana@example.com"]);
        assert!(audit::actors(&db, &bakery.id).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn rows_are_found_by_person_action_and_app_and_read_on_from_a_row() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let operator = By { user_id: None, label: "fanfare apps create".into(), via: Via::Cli, ..by(&ana) };
        let who = by(&ana);
        for (by, action, app) in [
            (&operator, Action::AppCreate, Some(1001)),
            (&who, Action::KeyCreate, Some(1001)),
            (&who, Action::KeyDelete, Some(1002)),
        ] {
            audit::record(&db, by, entry(&shop, action, app)).await.unwrap();
        }
        let find = async |filter: Filter<'_>| -> Vec<String> {
            let rows = audit::list(&db, &shop.id, Filter { limit: 10, ..filter }).await.unwrap();
            rows.into_iter().map(|row| row.action).collect()
        };
        let none = Filter::default();
        assert_eq!(find(none).await, ["key.delete", "key.create", "app.create"], "latest first");
        assert_eq!(find(Filter { actor: Some("fanfare apps create"), ..none }).await, ["app.create"]);
        assert_eq!(find(Filter { action: Some("key"), ..none }).await, ["key.delete", "key.create"]);
        assert_eq!(find(Filter { action: Some("key.create"), ..none }).await, ["key.create"]);
        assert_eq!(find(Filter { app_id: Some(1001), ..none }).await, ["key.create", "app.create"]);
        let rows = all(&db, &shop).await;
        assert_eq!(find(Filter { before: Some(&rows[0].id), ..none }).await, ["key.create", "app.create"]);
        for strange in ["%", "k%", "\0", "'", "ke_"] {
            assert!(find(Filter { action: Some(strange), ..none }).await.is_empty(), "{strange:?}");
        }
        assert!(find(Filter { actor: Some("\0"), ..none }).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_is_too_long_is_cut() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let long = "é\n".repeat(10_000);
        let details = json!({ "origins": long });
        let entry = Entry { target: &long, details, ..entry(&shop, Action::AppSettings, None) };
        audit::record(&db, &By { label: long.clone(), ..by(&ana) }, entry).await.unwrap();
        let row = &all(&db, &shop).await[0];
        assert_eq!((row.actor.chars().count(), row.target.chars().count()), (254, 254));
        assert!(!row.target.contains('\n') && row.details["left_out_bytes"].as_u64().unwrap() > 30_000);
    })
    .await;
}

#[tokio::test]
async fn after_ninety_days_or_too_many_rows_the_oldest_go() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (ben, bakery) = sign_up(&db, "ben@example.com").await;
        let now = now_ms();
        let (ana, ben) = (by(&ana), by(&ben));
        audit::record_at(&db, &ana, entry(&shop, Action::SignUp, None), now - KEPT_MS - 1).await.unwrap();
        for n in 0..4 {
            let at = now - 10 + n;
            audit::record_at(&db, &ana, entry(&shop, Action::KeyCreate, None), at).await.unwrap();
        }
        audit::record_at(&db, &ben, entry(&bakery, Action::SignUp, None), now - 60).await.unwrap();
        assert_eq!(all(&db, &shop).await.len(), 4, "what is too old is not shown even before it is removed");
        audit::prune(&db, &shop.id, 3, now).await.unwrap();
        let rows = all(&db, &shop).await;
        assert_eq!(rows.iter().map(|row| row.at_ms - now).collect::<Vec<_>>(), [-7, -8, -9]);
        assert_eq!(all(&db, &bakery).await.len(), 1, "the count is of each organisation");
        assert_eq!(text(&db, "select cast(count(*) as text) from audit_log").await.as_deref(), Some("4"));
    })
    .await;
}

#[tokio::test]
async fn what_is_told_seldom_is_told_once_for_each_person_and_app() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (ben, _) = sign_up(&db, "ben@example.com").await;
        for (user, app) in [(&ana, 1001), (&ana, 1001), (&ana, 1002), (&ben, 1001), (&ana, 1002)] {
            let entry = entry(&shop, Action::KeyReveal, Some(app));
            audit::record_seldom(&db, &by(user), entry, 60_000).await.unwrap();
        }
        assert_eq!(all(&db, &shop).await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn signing_in_is_told_to_the_persons_organisations_only() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (_, bakery) = sign_up(&db, "ben@example.com").await;
        audit::record_of_person(&db, &by(&ana), Action::SignIn, json!(null)).await.unwrap();
        assert_eq!(all(&db, &shop).await.len(), 1);
        assert!(all(&db, &bakery).await.is_empty());
    })
    .await;
}
