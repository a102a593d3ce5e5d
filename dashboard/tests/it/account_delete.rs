//! The end of a person's account: what goes with it, what stays, and what stands in the way.

use http::StatusCode;
use tenancy::account;
use tenancy::audit::{self, Filter};
use tenancy::role::Role;
use tenancy::{changes, user};

use crate::support::{Answer, Browser, PASSWORD, Site};

const ANA: &str = "ana@shop.example";
const PAGE: &str = "/dash/account/delete";

async fn delete(browser: &mut Browser, confirm: &str, password: &str) -> Answer {
    browser.submit("/dash", PAGE, &[("confirm", confirm), ("password", password)]).await
}

async fn exists(site: &Site, email: &str) -> bool {
    user::exists(&site.db, email).await.unwrap()
}

#[tokio::test]
async fn who_is_alone_goes_with_organisation_and_apps_and_nodes_learn_of_it() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    let mut phone = site.browser();
    phone.submit("/login", "/login", &[("email", ANA), ("password", PASSWORD)]).await;
    let id = ana.new_app("shop").await;
    let account = site.account(ANA).await;
    let page = ana.get(PAGE).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.test_text("ends").contains("ana's workspace, 1 app"), "{}", page.body);
    for (confirm, password) in [("ben@shop.example", PASSWORD), (ANA, "another one"), ("", "")] {
        let answer = delete(&mut ana, confirm, password).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{confirm} {password}");
        assert!(answer.body.to_lowercase().contains("nothing was deleted"), "{}", answer.body);
    }
    let seq = changes::last(&site.db).await.unwrap();
    let gone = delete(&mut ana, "ANA@shop.example", PASSWORD).await;
    assert_eq!((gone.status, gone.location()), (StatusCode::SEE_OTHER, "/login?done=deleted"));
    assert!(ana.get("/login?done=deleted").await.body.contains("Your account is deleted"));
    assert!(!exists(&site, ANA).await && account::is_closed(&site.db, &account).await.unwrap());
    // The row by which nodes close the sockets of the app.
    let changed = changes::since(&site.db, seq, 10).await.unwrap();
    assert!(changed.iter().any(|change| change.app_id == id), "{changed:?}");
    assert!(tenancy::app::node_view_by_id(&site.db, id).await.unwrap().is_none());
    for browser in [&mut ana, &mut phone] {
        assert_eq!(browser.get("/dash").await.status, StatusCode::SEE_OTHER, "signed out everywhere");
    }
    let fields = [("email", ANA), ("password", PASSWORD)];
    assert_eq!(ana.submit("/login", "/login", &fields).await.status, StatusCode::UNAUTHORIZED);
    let mails = tenancy::mail::list(&site.db).await.unwrap();
    assert_eq!(
        mails.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(),
        ["deleted"],
        "older ones are forgotten"
    );
    site.person(ANA).await;
}

#[tokio::test]
async fn the_only_owner_of_others_stays_until_somebody_else_is_one() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    let id = ana.new_app("shop").await;
    site.member("ben@shop.example", Role::Developer, ANA).await;
    let page = ana.get(PAGE).await;
    assert!(page.test_text("stuck").contains("ana's workspace") && !page.body.contains("name=\"confirm\""));
    let refused = delete(&mut ana, ANA, PASSWORD).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(exists(&site, ANA).await && tenancy::app::node_view_by_id(&site.db, id).await.unwrap().is_some());

    let account = site.account(ANA).await;
    site.member("cem@shop.example", Role::Owner, ANA).await;
    let gone = delete(&mut ana, ANA, PASSWORD).await;
    assert_eq!(gone.location(), "/login?done=deleted", "{}", gone.body);
    assert!(!exists(&site, ANA).await && !account::is_closed(&site.db, &account).await.unwrap());
    assert!(tenancy::app::node_view_by_id(&site.db, id).await.unwrap().is_some(), "it goes on without them");
    let rows = audit::list(&site.db, &account, Filter { limit: 100, ..Filter::default() }).await.unwrap();
    let left: Vec<&str> = rows.iter().take(2).map(|row| row.action.as_str()).collect();
    assert_eq!(left, ["member.leave", "person.delete"]);
}

#[tokio::test]
async fn a_server_keeps_somebody_who_looks_after_it() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    site.promote(ANA).await;
    site.person("ben@shop.example").await;
    assert!(ana.get(PAGE).await.test_text("last-admin").contains("fanfare admin promote"));
    assert_eq!(delete(&mut ana, ANA, PASSWORD).await.status, StatusCode::CONFLICT);
    site.promote("ben@shop.example").await;
    assert_eq!(delete(&mut ana, ANA, PASSWORD).await.status, StatusCode::SEE_OTHER);
    assert!(!exists(&site, ANA).await);
}

#[tokio::test]
async fn guesses_of_the_password_are_slowed_down_here_too() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    let mut tries = 0;
    while delete(&mut ana, ANA, "a wrong password").await.status == StatusCode::UNPROCESSABLE_ENTITY {
        tries += 1;
        assert!(tries < 40, "nobody stops them");
    }
    assert!(exists(&site, ANA).await);
}
