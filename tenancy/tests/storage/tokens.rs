//! Tokens of the management API: what they open, for how long, and that they never open more than their person may.

use crate::support::{execute, make_app, on_both, sign_up, text};
use tenancy::audit::{By, Via};
use tenancy::clock::DAY_MS;
use tenancy::member::Place;
use tenancy::membership::{self, Membership};
use tenancy::role::{Permission, Role};
use tenancy::session::Client;
use tenancy::token::{self, NewToken, Scope, TokenError};
use tenancy::user::User;
use tenancy::{Db, app, invitation, member, now_ms};

fn by(user: &User) -> By {
    By {
        user_id: Some(user.id.clone()),
        label: user.email.clone(),
        client: Client::default(),
        via: Via::Dash,
    }
}

async fn place(db: &Db, user: &User, account_id: &str) -> Membership {
    let all = membership::of_user(db, &user.id).await.unwrap();
    all.into_iter().find(|one| one.account.id == account_id).unwrap()
}

fn new(scopes: &'static [Scope]) -> NewToken<'static> {
    NewToken { name: " CI ", scopes, app_id: None, days: Some(30) }
}

#[tokio::test]
async fn a_token_is_known_by_its_text_alone_and_only_until_its_day() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let place = place(&db, &ana, &shop.id).await;
        let scopes = &[Scope::StatsRead, Scope::AppsRead];
        let (made, secret) = token::create(&db, &by(&ana), &place, new(scopes)).await.unwrap();
        assert!(secret.starts_with("ff_") && secret.len() == 67 && secret.ends_with(&made.hint));
        assert_eq!(made.scopes, [Scope::AppsRead, Scope::StatsRead], "each in its place");
        let found = token::authenticate(&db, &secret).await.unwrap().unwrap();
        assert_eq!((found.token.name.as_str(), &found.user, &found.membership), ("CI", &ana, &place));
        assert!(found.has(Scope::AppsRead) && !found.has(Scope::AppsWrite));
        let kept = text(&db, "select token_hash || name || hint || scopes from api_tokens").await.unwrap();
        assert!(!kept.contains(&secret[3..]), "only a hash is kept");
        for wrong in ["", "ff_", &secret[3..], &secret[..66], &secret.replace("ff_", "fx_"), "ff_\0"] {
            assert_eq!(token::authenticate(&db, wrong).await.unwrap(), None, "{wrong:?}");
        }
        let end = made.expires_ms.unwrap();
        assert_eq!(end, made.created_ms + 30 * DAY_MS);
        assert!(token::authenticate_at(&db, &secret, end - 1).await.unwrap().is_some());
        assert!(token::authenticate_at(&db, &secret, end).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_revoked_token_opens_nothing_and_only_its_own_organisation_revokes_it() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (eve, evil) = sign_up(&db, "eve@example.com").await;
        let place = place(&db, &ana, &shop.id).await;
        let (made, secret) = token::create(&db, &by(&ana), &place, new(&[Scope::AppsRead])).await.unwrap();
        assert!(!token::revoke(&db, &by(&eve), &evil.id, &made.id).await.unwrap());
        assert!(!token::revoke(&db, &by(&ana), &shop.id, "tok_\0").await.unwrap());
        assert!(token::authenticate(&db, &secret).await.unwrap().is_some());
        assert!(token::list(&db, &evil.id).await.unwrap().is_empty());
        assert!(token::revoke(&db, &by(&ana), &shop.id, &made.id).await.unwrap());
        assert!(!token::revoke(&db, &by(&ana), &shop.id, &made.id).await.unwrap(), "once");
        assert!(token::authenticate(&db, &secret).await.unwrap().is_none());
        let listed = token::list(&db, &shop.id).await.unwrap();
        assert!(
            listed[0].revoked_ms.is_some() && listed[0].is_over(now_ms()),
            "it stays in the list a while"
        );
        let actions =
            text(&db, "select max(action) || min(action) from audit_log where action like 'token.%'").await;
        assert_eq!(actions.unwrap(), "token.revoketoken.create");
    })
    .await;
}

#[tokio::test]
async fn a_token_follows_the_role_of_its_person_and_ends_with_their_membership() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (ben, _) = sign_up(&db, "ben@example.com").await;
        let owner = by(&ana);
        let asked = invitation::issue(&db, &owner, Role::Owner, &shop.id, "ben@example.com", Role::Admin);
        let (_, link) = asked.await.unwrap();
        invitation::accept(&db, &by(&ben), &ben, &link).await.unwrap();
        let bens = place(&db, &ben, &shop.id).await;
        let (_, secret) = token::create(&db, &by(&ben), &bens, new(&[Scope::AppsWrite])).await.unwrap();
        let found = token::authenticate(&db, &secret).await.unwrap().unwrap();
        assert!(found.may(Permission::ManageApps));
        let viewer = Place { role: Role::Viewer, apps: None };
        member::change(&db, &by(&ana), Role::Owner, &shop.id, &ben.id, &viewer).await.unwrap();
        let found = token::authenticate(&db, &secret).await.unwrap().unwrap();
        assert!(found.has(Scope::AppsWrite) && !found.may(Permission::ManageApps), "no more than its person");
        let bens = place(&db, &ben, &shop.id).await;
        let refused = token::create(&db, &by(&ben), &bens, new(&[Scope::AppsRead, Scope::AppsWrite])).await;
        assert!(matches!(refused, Err(TokenError::BeyondRole(Scope::AppsWrite))), "{refused:?}");
        member::remove(&db, &by(&ana), Role::Owner, &shop.id, &ben.id).await.unwrap();
        assert!(token::authenticate(&db, &secret).await.unwrap().is_none());
        assert!(token::list(&db, &shop.id).await.unwrap().is_empty(), "and it does not come back with them");
    })
    .await;
}

#[tokio::test]
async fn a_token_for_one_app_needs_one_that_its_person_sees_and_ends_with_it() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (eve, evil) = sign_up(&db, "eve@example.com").await;
        let (shops, _) = make_app(&db, &shop).await;
        let eves = place(&db, &eve, &evil.id).await;
        let stolen = NewToken { app_id: Some(shops.id), ..new(&[Scope::AppsRead]) };
        let refused = token::create(&db, &by(&eve), &eves, stolen.clone()).await;
        assert!(matches!(refused, Err(TokenError::NoApp)), "{refused:?}");
        let anas = place(&db, &ana, &shop.id).await;
        let (_, secret) = token::create(&db, &by(&ana), &anas, stolen).await.unwrap();
        assert_eq!(token::authenticate(&db, &secret).await.unwrap().unwrap().token.app_id, Some(shops.id));
        app::delete(&db, &shop.id, shops.id).await.unwrap();
        assert!(token::authenticate(&db, &secret).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn use_is_written_down_at_most_once_a_minute() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let place = place(&db, &ana, &shop.id).await;
        token::create(&db, &by(&ana), &place, new(&[Scope::AppsRead])).await.unwrap();
        let held = async || token::list(&db, &shop.id).await.unwrap().remove(0);
        let before = held().await;
        let now = now_ms();
        token::used_at(&db, &before, "198.51.100.x", now).await.unwrap();
        assert_eq!((held().await.last_used_ms, held().await.last_used_from.as_str()), (now, "198.51.100.x"));
        // Neither by who knows of the last use, nor by a node that read the row before it.
        token::used_at(&db, &held().await, "203.0.113.x", now + 59_999).await.unwrap();
        token::used_at(&db, &before, "203.0.113.x", now + 59_999).await.unwrap();
        assert_eq!(held().await.last_used_from, "198.51.100.x");
        token::used_at(&db, &held().await, "203.0.113.x", now + 60_000).await.unwrap();
        assert_eq!(held().await.last_used_from, "203.0.113.x");
    })
    .await;
}

#[tokio::test]
async fn what_a_token_can_not_be_is_refused() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let place = place(&db, &ana, &shop.id).await;
        let make = async |new| token::create(&db, &by(&ana), &place, new).await.map(drop);
        assert!(matches!(make(new(&[])).await, Err(TokenError::NoScope)));
        let named = |name| NewToken { name, ..new(&[Scope::AppsRead]) };
        assert!(matches!(make(named("  ")).await, Err(TokenError::NameInvalid)));
        let days = NewToken { days: Some(31), ..named("x") };
        assert!(matches!(make(days).await, Err(TokenError::Lifetime)));
        for _ in 0..token::PER_ACCOUNT_MAX {
            make(NewToken { days: None, ..named("x") }).await.unwrap();
        }
        assert!(matches!(make(named("x")).await, Err(TokenError::TooMany)));
        // What ended long ago makes room and leaves the list.
        let old = now_ms() - token::SHOWN_AFTER_MS - 1;
        execute(&db, format!("update api_tokens set revoked_ms = {old}")).await;
        assert!(token::list(&db, &shop.id).await.unwrap().is_empty());
        make(named("x")).await.unwrap();
        assert_eq!(text(&db, "select cast(count(*) as text) from api_tokens").await.unwrap(), "1");
    })
    .await;
}

#[tokio::test]
async fn tokens_that_end_soon_come_in_their_order_and_page_by_page() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let place = place(&db, &ana, &shop.id).await;
        let (mut ids, now) = (Vec::new(), now_ms());
        for (name, days) in
            [("third", 3), ("first", 1), ("second", 1), ("late", 8), ("over", 0), ("revoked", 2)]
        {
            let (made, _) = token::create(&db, &by(&ana), &place, new(&[Scope::AppsRead])).await.unwrap();
            let expires = now + days * DAY_MS;
            let set = format!(
                "update api_tokens set name = '{name}', expires_ms = {expires} where id = '{}'",
                made.id
            );
            execute(&db, set).await;
            ids.push(made.id);
        }
        assert!(token::revoke(&db, &by(&ana), &shop.id, &ids[5]).await.unwrap());
        let forever = NewToken { days: None, ..new(&[Scope::AppsRead]) };
        token::create(&db, &by(&ana), &place, forever).await.unwrap();

        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = token::ending(&db, now, now + 7 * DAY_MS, after.as_ref(), 1).await.unwrap();
            let Some(one) = page.into_iter().next() else { break };
            assert_eq!((one.email.as_str(), &one.account_id), ("ana@example.com", &shop.id));
            names.push(one.name.clone());
            after = Some(one);
        }
        assert_eq!(names, ["first", "second", "third"]);
    })
    .await;
}
