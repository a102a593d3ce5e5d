//! Several key pairs of one app, made and deleted on the page of keys.

use http::StatusCode;
use tenancy::app::{AppKey, KEYS_PER_APP_MAX};
use tenancy::user;

use crate::support::{Site, strip};

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
    assert!(!alone.body.contains("/keys/delete"), "the last pair can't be deleted");
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

    let answer = ana.submit(&page, &format!("{page}/delete"), &[("key", &first.key)]).await;
    assert_eq!(answer.location(), format!("{page}?done=deleted"));
    assert_eq!(keys(&site, id).await, std::slice::from_ref(&second));
    let after = ana.get(&format!("{page}?done=deleted")).await;
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
        let answer = ana.submit(&page, &format!("{page}/delete"), &[("key", key)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{key}");
        assert!(answer.body.contains(sentence), "{key}");
    }
    let answer = ana.submit(&page, &format!("{page}/delete"), &[]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    for _ in 1..KEYS_PER_APP_MAX {
        assert_eq!(ana.submit(&page, &format!("{page}/new"), &[]).await.status, StatusCode::SEE_OTHER);
    }
    let answer = ana.submit(&page, &format!("{page}/new"), &[]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.body.contains("at most 10 key pairs"));
    assert_eq!(keys(&site, id).await.len(), 10);
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
    let answer = eve.submit(&page, &format!("{page}/delete"), &[("key", &key)]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(keys(&site, id).await.len(), 2);
}
