//! Two-step sign-in on the pages: setting it up, the question after the password, what asks again, and organisations that
//! require it.

use http::StatusCode;
use tenancy::audit::{self, Filter};
use tenancy::role::Role;
use tenancy::second_factor::{self, totp};
use tenancy::user::{self, User};
use tenancy::{Secret, now_ms};

use crate::support::{Answer, Browser, PASSWORD, Site};

const PAGE: &str = "/dash/account/two-step";
const ANA: &str = "ana@shop.example";

async fn person(site: &Site, email: &str) -> User {
    user::find_by_email(&site.db, email).await.unwrap().unwrap().0
}

fn code(secret: &Secret, away: i64) -> String {
    totp::code(secret, totp::step_at(now_ms()) + away).unwrap()
}

/// Sets it up by the pages, with the code of the step before; gives secret and recovery codes.
async fn set_up(site: &Site, browser: &mut Browser, email: &str) -> (Secret, Vec<String>) {
    let begun = browser.submit(PAGE, &format!("{PAGE}/begin"), &[]).await;
    assert_eq!((begun.status, begun.location()), (StatusCode::SEE_OTHER, PAGE), "{}", begun.body);
    let page = browser.get(PAGE).await;
    let shown = page.test_text("factor-secret").replace(' ', "");
    assert!(page.body.contains("<svg class=\"qr\"") && !page.body.contains(" style="));
    let id = person(site, email).await.id;
    let secret = second_factor::set_up(&site.db, &id).await.unwrap().unwrap().secret;
    assert_eq!(shown, secret.expose());
    let done = browser.submit(PAGE, &format!("{PAGE}/confirm"), &[("code", &code(&secret, -1))]).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.body);
    let codes: Vec<String> = done.test_text("recovery-codes").lines().map(str::to_owned).collect();
    assert_eq!(codes.len(), 10);
    assert!(done.body.contains(&format!("{}%0A{}", codes[0], codes[1])), "they can be downloaded");
    (secret, codes)
}

async fn password(browser: &mut Browser, next: &str) -> Answer {
    let fields = [("email", ANA), ("password", PASSWORD), ("next", next)];
    browser.submit("/login", "/login", &fields).await
}

async fn give(browser: &mut Browser, code: &str) -> Answer {
    browser.submit("/login/code", "/login/code", &[("code", code), ("next", "/dash/people")]).await
}

async fn acts(site: &Site, email: &str) -> Vec<String> {
    let account = site.account(email).await;
    let rows = audit::list(&site.db, &account, Filter { limit: 100, ..Filter::default() }).await.unwrap();
    rows.into_iter().map(|row| row.action).collect()
}

#[tokio::test]
async fn a_sign_in_has_no_session_before_the_code_and_one_after_it() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    let mut elsewhere = site.browser();
    password(&mut elsewhere, "/dash").await;
    let (secret, codes) = set_up(&site, &mut ana, ANA).await;
    assert!(ana.get(PAGE).await.body.contains("factor-on"));
    assert_eq!(elsewhere.get("/dash").await.location(), "/login", "signed out where a password was enough");

    let mut browser = site.browser();
    let asked = password(&mut browser, "/dash/people").await;
    assert_eq!(asked.location(), "/login/code?next=/dash/people");
    assert!(!browser.cookies.contains_key("fanfare_session"));
    assert_eq!(browser.get("/dash").await.location(), "/login");
    assert!(asked.header("set-cookie").contains("HttpOnly; SameSite=Lax"));

    let used = give(&mut browser, &code(&secret, -1)).await;
    assert_eq!(used.status, StatusCode::UNAUTHORIZED, "it was given when it was set up");
    assert!(!browser.cookies.contains_key("fanfare_session"));
    let entered = give(&mut browser, &code(&secret, 0)).await;
    assert_eq!((entered.status, entered.location()), (StatusCode::SEE_OTHER, "/dash/people"));
    assert_eq!(browser.get("/dash/people").await.status, StatusCode::OK);
    assert!(!browser.cookies.contains_key("fanfare_pending"));

    let mut third = site.browser();
    password(&mut third, "/dash").await;
    assert_eq!(give(&mut third, &code(&secret, 0)).await.status, StatusCode::UNAUTHORIZED, "once");
    let by_recovery = give(&mut third, &codes[3].to_uppercase()).await;
    assert_eq!(by_recovery.status, StatusCode::SEE_OTHER);
    let acts = acts(&site, ANA).await;
    for one in ["person.second_factor_on", "person.second_factor_wrong", "person.recovery_code"] {
        assert!(acts.iter().any(|act| act == one), "{one} in {acts:?}");
    }
}

#[tokio::test]
async fn the_question_for_a_code_is_for_who_gave_the_password_only_and_guesses_are_few() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    let (_, codes) = set_up(&site, &mut ana, ANA).await;
    let mut nobody = site.browser();
    assert_eq!(nobody.get("/login/code").await.location(), "/login");
    let mut browser = site.browser();
    password(&mut browser, "/dash").await;
    for n in 0..5 {
        let wrong = give(&mut browser, &format!("00000{n}")).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "{n}");
    }
    let waits = give(&mut browser, &codes[0]).await;
    assert_eq!(waits.status, StatusCode::TOO_MANY_REQUESTS, "a right one neither");
    assert!(waits.header("retry-after").parse::<u64>().unwrap() > 50);
    assert!(!browser.cookies.contains_key("fanfare_session"));
    let mut another = site.browser();
    another.ip = "203.0.113.9".parse().unwrap();
    password(&mut another, "/dash").await;
    let waits = give(&mut another, &codes[0]).await;
    assert_eq!(waits.status, StatusCode::TOO_MANY_REQUESTS, "whatever the network");
}

#[tokio::test]
async fn a_question_from_before_a_new_password_is_void() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    let (_, codes) = set_up(&site, &mut ana, ANA).await;
    let mut thief = site.browser();
    password(&mut thief, "/dash").await;
    assert_eq!(thief.get("/login/code").await.status, StatusCode::OK);
    let fields = [("present", PASSWORD), ("new", "another horse 8")];
    ana.submit("/dash/account", "/dash/account/password", &fields).await;
    assert_eq!(thief.get("/login/code").await.location(), "/login");
    let token = thief.token("/login").await;
    let answer = thief.post("/login/code", &[("csrf", &token), ("code", &codes[0])]).await;
    assert_eq!(answer.location(), "/login");
}

#[tokio::test]
async fn secrets_deletion_and_switching_it_off_ask_for_a_code_again() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    let id = ana.new_app("shop").await;
    let (_, codes) = set_up(&site, &mut ana, ANA).await;
    let keys = format!("/dash/apps/{id}/keys");
    let (reveal, delete) = (format!("{keys}/reveal"), format!("/dash/apps/{id}/delete"));
    crate::keys::an_hour_later(&site, &mut ana, &person(&site, ANA).await).await;
    assert!(ana.get(&keys).await.body.contains("name=\"code\""));
    for fields in [&[("password", PASSWORD)][..], &[("password", PASSWORD), ("code", "000000")]] {
        let answer = ana.submit(&keys, &reveal, fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let without = ana.submit(&keys, &reveal, &[("password", "wrong"), ("code", &codes[0])]).await;
    assert_eq!(without.status, StatusCode::UNPROCESSABLE_ENTITY, "and the password too");
    let shown = ana.submit(&keys, &reveal, &[("password", PASSWORD), ("code", &codes[0])]).await;
    assert_eq!(shown.location(), keys);

    let settings = format!("/dash/apps/{id}/settings");
    assert!(ana.get(&settings).await.body.contains("delete-code"));
    let kept = ana.submit(&settings, &delete, &[("confirm", "shop"), ("code", &codes[0])]).await;
    assert_eq!(kept.status, StatusCode::UNPROCESSABLE_ENTITY, "a used code deletes nothing");
    let gone = ana.submit(&settings, &delete, &[("confirm", "shop"), ("code", &codes[1])]).await;
    assert_eq!(gone.location(), "/dash?deleted=1");

    let stays = ana.submit(PAGE, &format!("{PAGE}/off"), &[("code", "123")]).await;
    assert_eq!(stays.status, StatusCode::UNPROCESSABLE_ENTITY);
    let off = ana.submit(PAGE, &format!("{PAGE}/off"), &[("code", &codes[2])]).await;
    assert_eq!(off.location(), "/dash/account?done=two-step-off");
    let mut browser = site.browser();
    assert_eq!(password(&mut browser, "/dash").await.location(), "/dash");
}

#[tokio::test]
async fn a_session_that_was_left_open_sets_nothing_up_without_the_password() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    crate::keys::an_hour_later(&site, &mut ana, &person(&site, ANA).await).await;
    assert!(ana.get(PAGE).await.body.contains("name=\"password\""));
    let refused = ana.submit(PAGE, &format!("{PAGE}/begin"), &[("password", "wrong")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let begun = ana.submit(PAGE, &format!("{PAGE}/begin"), &[("password", PASSWORD)]).await;
    assert_eq!(begun.location(), PAGE);
    let user = person(&site, ANA).await;
    assert!(ana.get(PAGE).await.body.contains("factor-secret"));

    crate::keys::an_hour_later(&site, &mut ana, &user).await;
    let later = ana.get(PAGE).await;
    assert!(!later.body.contains("factor-secret"), "what was begun isn't shown to who comes later");
    let secret = second_factor::set_up(&site.db, &user.id).await.unwrap().unwrap().secret;
    let confirmed = ana.submit(PAGE, &format!("{PAGE}/confirm"), &[("code", &code(&secret, 0))]).await;
    assert_eq!(confirmed.location(), PAGE);
    assert!(!second_factor::standing(&site.db, &user.id).await.unwrap().is_on());
}

#[tokio::test]
async fn an_organisation_that_requires_it_shows_who_has_none_the_page_that_sets_it_up_and_nothing_else() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    let id = ana.new_app("shop").await;
    let mut ben = site.member("ben@shop.example", Role::Admin, ANA).await;
    let require = "/dash/organisation/two-step";
    let own_first = ana.submit("/dash/organisation", require, &[("on", "true")]).await;
    assert_eq!(own_first.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(own_first.body.contains("you need it yourself"));
    let (_, codes) = set_up(&site, &mut ana, ANA).await;
    let done = ana.submit("/dash/organisation", require, &[("on", "true")]).await;
    assert_eq!(done.location(), "/dash/organisation?done=required");

    for path in ["/dash", "/dash/people", "/dash/organisation", "/dash/apps/new", &format!("/dash/apps/{id}")]
    {
        let answer = ben.get(path).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, PAGE), "{path}");
    }
    assert!(ben.get(PAGE).await.test_text("locked").contains("requires two-step sign-in"));
    let token = ben.token("/dash/account").await;
    let name = [("csrf", &*token), ("name", "mine now")];
    assert_eq!(ben.post(&format!("/dash/apps/{id}/settings/name"), &name).await.location(), PAGE);
    site.work_in(&mut ben, "ben@shop.example").await;
    assert_eq!(ben.get("/dash").await.status, StatusCode::OK, "his own organisation doesn't ask");
    site.work_in(&mut ben, ANA).await;
    set_up(&site, &mut ben, "ben@shop.example").await;
    assert_eq!(ben.get(&format!("/dash/apps/{id}")).await.status, StatusCode::OK);

    let stays = ana.submit(PAGE, &format!("{PAGE}/off"), &[("code", &codes[0])]).await;
    assert_eq!(stays.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(stays.body.contains("requires two-step sign-in"));
    let acts = acts(&site, ANA).await;
    assert!(acts.iter().any(|act| act == "organisation.second_factor_on"), "{acts:?}");
}
