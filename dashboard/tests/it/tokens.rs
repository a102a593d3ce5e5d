//! The page of API tokens: shown once, within one's own role, and revoked by who may.

use http::StatusCode;
use tenancy::role::Role;
use tenancy::session::{self, Client};
use tenancy::token::{self, Scope};

use crate::support::{Answer, Browser, PASSWORD, Site};

const PAGE: &str = "/dash/tokens";

async fn make(browser: &mut Browser, fields: &[(&str, &str)]) -> Answer {
    browser.submit(PAGE, "/dash/tokens/new", fields).await
}

/// Gives the browser a session of the same person that is older than a proof lasts.
async fn much_later(site: &Site, browser: &mut Browser, email: &str) {
    let (user, _) = tenancy::user::find_by_email(&site.db, email).await.unwrap().unwrap();
    let old = tenancy::now_ms() - tenancy::fresh::FRESH_MS - 1;
    let session = session::start_at(&site.db, &user.id, &Client::default(), old).await.unwrap();
    browser.cookies.insert("fanfare_session".to_owned(), session.token);
}

#[tokio::test]
async fn a_token_is_shown_once_and_opens_what_was_chosen() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await.to_string();
    let fields =
        [("name", "deploy"), ("scope", "apps:read"), ("scope", "stats:read"), ("app", &*id), ("days", "30")];
    let answer = make(&mut ana, &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let text = answer.test_text("new-token");
    let page = ana.get(PAGE).await.body;
    assert!(page.contains("deploy") && !page.contains(&text), "it is listed, and shown no more");
    assert!(page.contains(&format!("shop {id}")) && page.contains("never used"));
    let found = token::authenticate(&site.db, &text).await.unwrap().unwrap();
    assert_eq!(found.token.scopes, [Scope::AppsRead, Scope::StatsRead]);
    assert_eq!((found.user.email.as_str(), found.token.app_id), ("ana@shop.example", id.parse().ok()));
    assert!(found.token.expires_ms.is_some());
    let path = format!("/dash/tokens/{}/revoke", found.token.id);
    let answer = ana.submit(PAGE, &path, &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dash/tokens?done=revoked"));
    assert!(token::authenticate(&site.db, &text).await.unwrap().is_none());
    assert!(ana.get(PAGE).await.body.contains(">revoked "));
    let log = ana.get("/dash/audit").await.body;
    assert!(log.contains("made the API token") && log.contains("revoked the API token"));
    assert!(!log.contains(&text[3..]));
}

#[tokio::test]
async fn a_developer_makes_tokens_within_their_role_and_sees_only_their_own() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let mut dev = site.member("dev@shop.example", Role::Developer, "ana@shop.example").await;
    let page = dev.get(PAGE).await.body;
    assert!(page.contains("value=\"events:write\"") && !page.contains("value=\"apps:write\""));
    let refused = make(&mut dev, &[("name", "x"), ("scope", "apps:write")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.body.contains("have apps:write"), "{}", refused.body);
    let anas = make(&mut ana, &[("name", "of-ana"), ("scope", "apps:write")]).await.test_text("new-token");
    let devs = make(&mut dev, &[("name", "of-dev"), ("scope", "apps:read")]).await.test_text("new-token");
    let page = dev.get(PAGE).await.body;
    assert!(page.contains("of-dev") && !page.contains("of-ana"));
    let page = ana.get(PAGE).await.body;
    assert!(page.contains("of-dev") && page.contains("of-ana"), "who manages people sees all");
    let id_of = async |text: &str| token::authenticate(&site.db, text).await.unwrap().unwrap().token.id;
    let (anas_id, devs_id) = (id_of(&anas).await, id_of(&devs).await);
    let stolen = dev.submit(PAGE, &format!("/dash/tokens/{anas_id}/revoke"), &[]).await;
    let nobodys = dev.submit(PAGE, "/dash/tokens/tok_x/revoke", &[]).await;
    assert_eq!((stolen.status, nobodys.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert!(token::authenticate(&site.db, &anas).await.unwrap().is_some());
    let mut eve = site.person("eve@evil.example").await;
    let stolen = eve.submit(PAGE, &format!("/dash/tokens/{devs_id}/revoke"), &[]).await;
    assert_eq!(stolen.status, StatusCode::NOT_FOUND);
    let foreign = make(&mut eve, &[("name", "x"), ("scope", "apps:read"), ("app", &id.to_string())]).await;
    assert_eq!(foreign.status, StatusCode::UNPROCESSABLE_ENTITY);
    let answer = ana.submit(PAGE, &format!("/dash/tokens/{devs_id}/revoke"), &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(token::authenticate(&site.db, &devs).await.unwrap().is_none());
}

#[tokio::test]
async fn long_after_the_sign_in_a_token_needs_the_password() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let fields = [("name", "x"), ("scope", "apps:read")];
    assert!(!ana.get(PAGE).await.body.contains("name=\"password\""));
    much_later(&site, &mut ana, "ana@shop.example").await;
    assert!(ana.get(PAGE).await.body.contains("name=\"password\""));
    for wrong in ["", "wrong horse"] {
        let refused = make(&mut ana, &[fields[0], fields[1], ("password", wrong)]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            refused.body.contains("not your password") && !refused.body.contains("data-test=\"new-token\"")
        );
    }
    let made = make(&mut ana, &[fields[0], fields[1], ("password", PASSWORD)]).await;
    assert!(made.test_text("new-token").starts_with("ff_"));
    let made = make(&mut ana, &fields).await;
    assert_eq!(made.status, StatusCode::OK, "and for a while not again");
}
