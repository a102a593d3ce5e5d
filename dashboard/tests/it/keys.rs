//! Several key pairs of one app, made and deleted on the page of keys.

use http::StatusCode;
use tenancy::app::{AppKey, KEYS_PER_APP_MAX, NewApp};
use tenancy::audit::{self, Filter};
use tenancy::owner;
use tenancy::session::{self, Client};
use tenancy::user::{self, User};

use crate::support::{Browser, PASSWORD, Site, strip};

async fn keys(site: &Site, id: u64) -> Vec<AppKey> {
    let (_, account) = user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
    tenancy::app::keys(&site.db, &account.id, id).await.unwrap()
}

#[tokio::test]
async fn a_rotation_makes_a_pair_shows_it_everywhere_and_deletes_the_old_one() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let page = format!("/dash/apps/{id}/keys");
    let first = keys(&site, id).await.remove(0);
    let alone = ana.get(&page).await;
    assert!(!alone.body.contains("/keys/revoke"), "the last pair can't be revoked");
    assert_eq!(alone.test_text("app-key"), first.key);

    let answer = ana.submit(&page, &format!("{page}/new"), &[]).await;
    let second = keys(&site, id).await.remove(1);
    assert_eq!(answer.location(), format!("{page}?done=new&key={}", second.key));
    let shown = ana.get(answer.location()).await;
    assert_eq!(shown.test_text("app-key"), second.key);
    assert_eq!(shown.test_text("app-secret"), second.secret.expose());
    let snippet = shown.test_text("env-block");
    assert!(snippet.contains(&second.key) && !snippet.contains(&first.key), "{snippet}");
    let text = strip(&shown.body);
    assert!(text.contains(&format!("Webhooks are signed with the oldest pair, {}", first.key)));
    assert!(text.contains(&format!("Webhooks are then signed with {}", second.key)));
    assert_eq!(ana.get(&page).await.test_text("app-key"), first.key, "without a choice, the oldest");
    let strange = ana.get(&format!("{page}?key=%3Cscript%3E")).await;
    assert_eq!(strange.test_text("app-key"), first.key);

    let answer = ana.submit(&page, &format!("{page}/revoke"), &[("key", &first.key), ("when", "now")]).await;
    assert_eq!(answer.location(), format!("{page}?done=revoked"));
    assert_eq!(keys(&site, id).await, std::slice::from_ref(&second));
    let after = ana.get(&format!("{page}?done=revoked")).await;
    assert_eq!(after.test_text("app-key"), second.key);
    assert!(!after.body.contains(&first.key) && !after.body.contains(first.secret.expose()));
}

#[tokio::test]
async fn the_last_pair_an_unknown_one_and_an_eleventh_are_refused_with_a_sentence() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let page = format!("/dash/apps/{id}/keys");
    let first = keys(&site, id).await.remove(0);
    for (key, sentence) in [(first.key.as_str(), "at least one pair"), ("<b>", "no such pair")] {
        let answer = ana.submit(&page, &format!("{page}/revoke"), &[("key", key), ("when", "now")]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{key}");
        assert!(answer.body.contains(sentence), "{key}");
    }
    let answer = ana.submit(&page, &format!("{page}/revoke"), &[("key", "x")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    for _ in 1..KEYS_PER_APP_MAX {
        assert_eq!(ana.submit(&page, &format!("{page}/new"), &[]).await.status, StatusCode::SEE_OTHER);
    }
    let answer = ana.submit(&page, &format!("{page}/new"), &[]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.body.contains("at most 10 key pairs"));
    assert_eq!(keys(&site, id).await.len(), 10);
}

/// Gives the browser a session of `user` that was begun an hour ago.
pub(crate) async fn an_hour_later(site: &Site, browser: &mut Browser, user: &User) {
    let then = tenancy::now_ms() - 3_600_000;
    let old = session::start_at(&site.db, &user.id, &Client::default(), then).await.unwrap();
    browser.cookies.insert("fanfare_session".to_owned(), old.token);
}

#[tokio::test]
async fn a_secret_is_shown_after_a_sign_in_or_the_password_and_each_time_is_in_the_audit_log() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let page = format!("/dash/apps/{id}/keys");
    let secret = keys(&site, id).await.remove(0).secret;
    assert_eq!(ana.get(&page).await.test_text("app-secret"), secret.expose());
    let (person, account) = user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
    let shown = async || {
        let filter = Filter { action: Some("key.reveal"), limit: 10, ..Filter::default() };
        audit::list(&site.db, &account.id, filter).await.unwrap().len()
    };
    assert_eq!(shown().await, 1);

    an_hour_later(&site, &mut ana, &person).await;
    for tail in ["keys", "start", "webhooks"] {
        let answer = ana.get(&format!("/dash/apps/{id}/{tail}")).await;
        assert!(!answer.body.contains(secret.expose()), "{tail} holds it");
        assert!(answer.body.contains("data-test=\"ask-password\""), "{tail} asks");
    }
    let reveal = format!("{page}/reveal");
    let wrong = ana.submit(&page, &reveal, &[("password", "not this one")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!ana.get(&page).await.body.contains(secret.expose()));
    let right =
        ana.submit(&page, &reveal, &[("password", PASSWORD), ("back", "https://evil.example/")]).await;
    assert_eq!(right.location(), page, "it leads nowhere else");
    assert_eq!(ana.get(&page).await.test_text("app-secret"), secret.expose());
    assert!(!ana.get(&page).await.body.contains("ask-password"));
    assert_eq!(shown().await, 1, "once in a quarter of an hour");

    an_hour_later(&site, &mut ana, &person).await;
    for _ in 0..20 {
        let answer = ana.submit(&page, &reveal, &[("password", "guess")]).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            return;
        }
    }
    panic!("guesses are not slowed down");
}

#[tokio::test]
async fn who_has_no_password_is_told_to_sign_in_anew() {
    let site = Site::open().await;
    let (holder, account) = owner::first_or_placeholder(&site.db).await.unwrap();
    let new = NewApp { name: "shop", cluster: "local", ..NewApp::default() };
    let (made, pair) = tenancy::app::create(&site.db, &account.id, new).await.unwrap();
    let mut browser = site.browser();
    an_hour_later(&site, &mut browser, &holder).await;
    let answer = browser.get(&format!("/dash/apps/{}/keys", made.id)).await;
    assert!(answer.body.contains("data-test=\"ask-sign-in\""));
    assert!(!answer.body.contains(pair.secret.expose()));
}

#[tokio::test]
async fn an_end_can_be_ordered_and_taken_back_and_says_who_made_the_pair() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let page = format!("/dash/apps/{id}/keys");
    ana.submit(&page, &format!("{page}/new"), &[("name", "  api <b>servers</b> ")]).await;
    let first = keys(&site, id).await.remove(0);
    let answer = ana.get(&page).await;
    assert!(!answer.body.contains("<b>servers"));
    let shown = strip(&answer.body);
    assert!(shown.contains("api <b>servers</b>"), "{shown}");
    assert!(shown.contains("by ana@shop.example"));
    assert!(shown.contains("Waiting for the first use of"));
    for (when, words) in [("1h", "ends "), ("24h", "ends "), ("idle", "10 minutes without traffic")] {
        let answer =
            ana.submit(&page, &format!("{page}/revoke"), &[("key", &first.key), ("when", when)]).await;
        assert_eq!(answer.location(), format!("{page}?done=ordered"), "{when}");
        assert!(ana.get(&page).await.test_text("key-ends").contains(words), "{when}");
    }
    let second = keys(&site, id).await.remove(1);
    let last = ana.submit(&page, &format!("{page}/revoke"), &[("key", &second.key), ("when", "1h")]).await;
    assert_eq!(last.status, StatusCode::UNPROCESSABLE_ENTITY, "one pair stays");
    let kept = ana.submit(&page, &format!("{page}/revoke"), &[("key", &first.key), ("when", "never")]).await;
    assert_eq!(kept.location(), format!("{page}?done=kept"));
    assert!(!ana.get(&page).await.body.contains("key-ends"));
    let odd = ana.submit(&page, &format!("{page}/revoke"), &[("key", &first.key), ("when", "soon")]).await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_pair_of_another_app_is_not_deleted_through_ones_own() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    ana.submit(&format!("/dash/apps/{id}/keys"), &format!("/dash/apps/{id}/keys/new"), &[]).await;
    let key = keys(&site, id).await.remove(0).key;
    let mut eve = site.person("eve@shop.example").await;
    let own = eve.new_app("own").await;
    let page = format!("/dash/apps/{own}/keys");
    let answer = eve.submit(&page, &format!("{page}/revoke"), &[("key", &key), ("when", "now")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(keys(&site, id).await.len(), 2);
}
