//! What mails lead to: confirming an address, a new password, another address, the page of the server's mail.

use std::time::Duration;

use axum::body::Body;
use dashboard::{DashboardConfig, MailOut};
use http::header::HOST;
use http::{Request, StatusCode};
use tenancy::audit::{self, Filter};
use tenancy::mail::Listed;
use tenancy::role::Role;

use crate::support::{Answer, Browser, PASSWORD, Site, config, form};

const NEW: &str = "a quieter harbour";
const ANA: &str = "ana@shop.example";
const PAGE: &str = "/dash/server/mail";

/// A server with a mail server and a public address.
async fn mailing() -> Site {
    let mail = MailOut { server: Some("127.0.0.1:25".to_owned()), from: "fanfare@ws.example".to_owned() };
    let public_url = Some("https://ws.example".to_owned());
    Site::with(DashboardConfig { mail, public_url, ..config() }).await
}

async fn mails(site: &Site, kind: &str, to: &str) -> Vec<Listed> {
    let all = tenancy::mail::list(&site.db).await.unwrap();
    all.into_iter().filter(|one| one.kind == kind && one.to == to).collect()
}

/// The link of the latest mail of a kind to somebody, once there are `count`.
async fn link(site: &Site, kind: &str, to: &str, count: usize) -> String {
    for _ in 0..500 {
        let found = mails(site, kind, to).await;
        if found.len() >= count {
            return found[0].link.as_ref().unwrap().expose().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{count} mails of {kind} to {to}: {:?}", tenancy::mail::list(&site.db).await.unwrap());
}

async fn ask(browser: &mut Browser, email: &str) -> Answer {
    browser.submit("/forgot", "/forgot", &[("email", email)]).await
}

async fn set(browser: &mut Browser, path: &str, password: &str) -> Answer {
    browser.submit("/forgot", path, &[("password", password)]).await
}

async fn signs_in(site: &Site, email: &str, password: &str) -> bool {
    let fields = [("email", email), ("password", password)];
    site.browser().submit("/login", "/login", &fields).await.status == StatusCode::SEE_OTHER
}

/// What was done in the organisation of somebody, latest last.
async fn done(site: &Site, email: &str) -> Vec<String> {
    let account = site.account(email).await;
    let rows = audit::list(&site.db, &account, Filter { limit: 100, ..Filter::default() }).await.unwrap();
    rows.into_iter().rev().map(|row| row.action).collect()
}

#[tokio::test]
async fn whoever_asks_for_a_new_password_gets_the_same_answer() {
    let site = mailing().await;
    site.person(ANA).await;
    let mut answers = Vec::new();
    // Ana last: what is done behind the answers is done in turn.
    for email in ["eve@shop.example", "not an address", "owner@localhost", ANA] {
        let answer = ask(&mut site.browser(), email).await;
        assert!(answer.body.contains(email), "{}", answer.body);
        answers.push((answer.status, answer.body.replace(email, "…")));
    }
    assert!(answers.iter().all(|one| one == &answers[0] && one.0 == StatusCode::OK), "{answers:?}");
    link(&site, "reset", ANA, 1).await;
    let all = tenancy::mail::list(&site.db).await.unwrap();
    assert!(all.iter().all(|one| one.to == ANA), "{all:?}");
}

#[tokio::test]
async fn a_reset_link_works_once_and_ends_all_sessions() {
    let site = mailing().await;
    let mut ana = site.person(ANA).await;
    ask(&mut site.browser(), ANA).await;
    let path = link(&site, "reset", ANA, 1).await;
    let mut other = site.browser();
    let page = other.get(&path).await;
    assert!(page.status == StatusCode::OK && page.body.contains(ANA), "{}", page.body);
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let short = set(&mut other, &path, "short").await;
    assert!(short.status == StatusCode::UNPROCESSABLE_ENTITY && short.body.contains("at least 8"));
    let answer = set(&mut other, &path, NEW).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/login?done=reset"));
    assert!(other.get(answer.location()).await.body.contains("The new password is set"));
    assert!(!other.cookies.contains_key("fanfare_session"), "what a sign-in asks for is asked");
    assert_eq!(ana.get("/dash").await.status, StatusCode::SEE_OTHER, "their session has ended");
    assert!(!signs_in(&site, ANA, PASSWORD).await && signs_in(&site, ANA, NEW).await);
    assert_eq!(set(&mut other, &path, PASSWORD).await.status, StatusCode::GONE);
    assert_eq!(other.get(&path).await.status, StatusCode::GONE);
    assert_eq!(mails(&site, "reset-done", ANA).await.len(), 1);
    assert!(done(&site, ANA).await.contains(&"person.reset".to_owned()));
}

#[tokio::test]
async fn a_link_is_for_its_purpose_and_a_new_one_makes_the_older_void() {
    let site = mailing().await;
    let mut ana = site.person(ANA).await;
    let fields = [("email", "ana@new.example"), ("password", PASSWORD)];
    ana.submit("/dash/account", "/dash/account/email", &fields).await;
    ask(&mut site.browser(), ANA).await;
    let first = link(&site, "reset", ANA, 1).await;
    let tokens = [
        ("/verify/", link(&site, "confirm", ANA, 1).await),
        ("/change-email/", link(&site, "change-email", "ana@new.example", 1).await),
        ("/reset/", first.clone()),
    ];
    let mut eve = site.browser();
    for (own, path) in &tokens {
        let token = path.strip_prefix(own).unwrap_or_else(|| panic!("{path}"));
        for page in ["/verify/", "/change-email/", "/reset/"].iter().filter(|page| *page != own) {
            let path = format!("{page}{token}");
            assert_eq!(eve.get(&path).await.status, StatusCode::GONE, "{own} at {page}");
            assert_eq!(set(&mut eve, &path, NEW).await.status, StatusCode::GONE, "{own} at {page}");
        }
    }
    ask(&mut site.browser(), ANA).await;
    let second = link(&site, "reset", ANA, 2).await;
    assert_eq!(eve.get(&first).await.status, StatusCode::GONE);
    assert_eq!(eve.get(&second).await.status, StatusCode::OK);
    assert!(signs_in(&site, ANA, PASSWORD).await, "nothing was changed by all this");
}

#[tokio::test]
async fn the_host_of_a_request_is_in_no_mail_and_in_no_link_of_a_server_with_an_address() {
    let site = mailing().await;
    let mut ana = site.person(ANA).await;
    site.promote(ANA).await;
    let mut eve = site.browser();
    eve.host = "evil.example".to_owned();
    let token = eve.token("/forgot").await;
    let mut request = form("/forgot", &[("csrf", &token), ("email", ANA)]);
    request.headers_mut().insert("x-forwarded-host", "evil.example".parse().unwrap());
    request.headers_mut().insert(HOST, "evil.example".parse().unwrap());
    assert_eq!(eve.send(request).await.status, StatusCode::OK);
    let path = link(&site, "reset", ANA, 1).await;
    assert!(path.starts_with("/reset/"), "the address of the server comes from its settings: {path}");
    let mail = &mails(&site, "reset", ANA).await[0];
    assert!(!mail.text.contains("evil") && !mail.subject.contains("evil"));
    ana.host = "evil.example".to_owned();
    let made = ana.submit(PAGE, "/dash/server/mail/reset-link", &[("email", ANA)]).await;
    assert!(made.test_text("reset-link").starts_with("https://ws.example/reset/"), "{}", made.body);
}

#[tokio::test]
async fn who_signs_up_is_reminded_to_confirm_and_stopped_by_nothing() {
    let site = mailing().await;
    let mut ana = site.person(ANA).await;
    ana.new_app("shop").await;
    let path = link(&site, "confirm", ANA, 1).await;
    assert!(ana.get("/dash").await.body.contains("data-test=\"confirm-note\""));
    assert_eq!(ana.get("/dash/account").await.test_text("email-state"), "not confirmed");
    let again = ana.submit("/dash", "/dash/account/email/confirm", &[]).await;
    assert_eq!(again.location(), "/dash/account?done=confirm");
    let second = link(&site, "confirm", ANA, 2).await;
    let mut anybody = site.browser();
    assert_eq!(anybody.get(&path).await.status, StatusCode::GONE, "the older one is void");
    assert!(anybody.get(&second).await.body.contains("Confirm your address"), "looking uses nothing up");
    assert_eq!(ana.get("/dash/account").await.test_text("email-state"), "not confirmed");
    let answer = anybody.submit(&second, &second, &[]).await;
    assert!(answer.status == StatusCode::OK && answer.test_text("proved").contains("is confirmed"));
    assert!(!ana.get("/dash").await.body.contains("data-test=\"confirm-note\""));
    assert_eq!(ana.get("/dash/account").await.test_text("email-state"), "confirmed");
    assert_eq!(anybody.submit("/login", &second, &[]).await.status, StatusCode::GONE);
    assert!(done(&site, ANA).await.contains(&"person.email_confirm".to_owned()));
    for _ in 0..5 {
        let answer = ana.submit("/dash", "/dash/account/email/confirm", &[]).await;
        assert_eq!(answer.location(), "/dash/account?done=confirmed", "nothing is mailed any more");
    }
    let silent = Site::open().await.person(ANA).await.get("/dash").await;
    assert!(!silent.body.contains("confirm-note"), "no strip where no mail can have arrived");
}

#[tokio::test]
async fn send_again_is_bounded() {
    let site = mailing().await;
    let mut ana = site.person(ANA).await;
    let mut last = String::new();
    for _ in 0..6 {
        last = ana.submit("/dash", "/dash/account/email/confirm", &[]).await.location().to_owned();
    }
    assert_eq!(last, "/dash/account?done=confirm-wait");
    assert_eq!(mails(&site, "confirm", ANA).await.len(), 5);
    assert!(ana.get(&last).await.body.contains("Five such mails"));
}

#[tokio::test]
async fn an_address_changes_when_the_new_one_is_proved_and_both_are_told() {
    let site = mailing().await;
    let mut ana = site.person(ANA).await;
    let (account, action) = ("/dash/account", "/dash/account/email");
    let wrong = ana.submit(account, action, &[("email", "ana@new.example"), ("password", NEW)]).await;
    assert!(wrong.status == StatusCode::UNPROCESSABLE_ENTITY && wrong.body.contains("not your password"));
    let same = ana.submit(account, action, &[("email", ANA), ("password", PASSWORD)]).await;
    assert_eq!(same.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(mails(&site, "change-email", ANA).await.is_empty());
    let asked = ana.submit(account, action, &[("email", "Ana@New.example"), ("password", PASSWORD)]).await;
    assert_eq!(asked.location(), "/dash/account?done=email");
    let notice = &mails(&site, "change-email", ANA).await[0];
    assert!(notice.text.contains("ana@new.example") && notice.link.as_ref().unwrap().expose() == "/forgot");
    let path = link(&site, "change-email", "ana@new.example", 1).await;
    assert_eq!(ana.get(&path).await.status, StatusCode::OK);
    assert!(signs_in(&site, ANA, PASSWORD).await, "nothing changes before the link is opened");
    let answer = site.browser().submit(&path, &path, &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(!signs_in(&site, ANA, PASSWORD).await && signs_in(&site, "ana@new.example", PASSWORD).await);
    let page = ana.get(account).await;
    assert!(page.body.contains("ana@new.example") && page.test_text("email-state") == "confirmed");
    for to in [ANA, "ana@new.example"] {
        assert_eq!(mails(&site, "change-email-done", to).await.len(), 1, "{to}");
    }
    let acts = done(&site, "ana@new.example").await;
    assert!(acts.contains(&"person.email_ask".to_owned()) && acts.contains(&"person.email".to_owned()));
}

#[tokio::test]
async fn an_address_that_somebody_has_is_not_taken_and_the_asker_is_not_told() {
    let site = mailing().await;
    let mut ana = site.person(ANA).await;
    site.person("ben@shop.example").await;
    let fields = [("email", "ben@shop.example"), ("password", PASSWORD)];
    let asked = ana.submit("/dash/account", "/dash/account/email", &fields).await;
    assert_eq!(asked.location(), "/dash/account?done=email", "as for any address");
    let path = link(&site, "change-email", "ben@shop.example", 1).await;
    let answer = site.browser().submit(&path, &path, &[]).await;
    assert!(answer.status == StatusCode::CONFLICT && answer.body.contains("has an account"));
    assert!(signs_in(&site, ANA, PASSWORD).await && signs_in(&site, "ben@shop.example", PASSWORD).await);
}

#[tokio::test]
async fn the_page_of_the_servers_mail_is_for_who_looks_after_the_server() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    let mut ben = site.member("ben@shop.example", Role::Owner, ANA).await;
    assert_eq!(site.browser().get(PAGE).await.location(), "/login?next=/dash/server/mail");
    assert_eq!(ana.get(PAGE).await.status, StatusCode::NOT_FOUND);
    assert!(!ana.get("/dash").await.body.contains("/dash/server"));
    site.promote(ANA).await;
    let page = ana.get(PAGE).await;
    assert!(page.test_text("mail-server").contains("No mail server is set"), "{}", page.body);
    assert!(ana.get("/dash").await.body.contains("href=\"/dash/server\""));
    assert!(ana.get("/dash/server").await.body.contains(PAGE));
    let sent = ana.submit(PAGE, "/dash/server/mail/test", &[("to", "ana@home.example")]).await;
    assert_eq!(sent.location(), "/dash/server/mail?done=test");
    assert_eq!(mails(&site, "test", "ana@home.example").await.len(), 1);
    let bad = ana.submit(PAGE, "/dash/server/mail/test", &[("to", "nobody")]).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    // Ben is not an admin of the server, an Owner though he is.
    let token = ben.token("/dash").await;
    for path in ["/dash/server/mail/test", "/dash/server/mail/reset-link"] {
        let answer = ben.post(path, &[("csrf", &token), ("to", ANA), ("email", ANA)]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(ben.get(PAGE).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_looks_after_the_server_makes_a_link_for_somebody_and_their_organisation_sees_it() {
    let site = Site::open().await;
    let mut ana = site.person(ANA).await;
    site.promote(ANA).await;
    site.person("ben@shop.example").await;
    let nobody = ana.submit(PAGE, "/dash/server/mail/reset-link", &[("email", "eve@shop.example")]).await;
    assert_eq!(nobody.status, StatusCode::UNPROCESSABLE_ENTITY);
    let made = ana.submit(PAGE, "/dash/server/mail/reset-link", &[("email", "ben@shop.example")]).await;
    let url = made.test_text("reset-link");
    let path = url.strip_prefix("http://127.0.0.1:6001").unwrap_or_else(|| panic!("{url}")).to_owned();
    assert!(!ana.get(PAGE).await.body.contains(&path), "it is shown once");
    assert_eq!(set(&mut site.browser(), &path, NEW).await.status, StatusCode::SEE_OTHER);
    assert!(signs_in(&site, "ben@shop.example", NEW).await);
    let account = site.account("ben@shop.example").await;
    let rows = audit::list(&site.db, &account, Filter { limit: 100, ..Filter::default() }).await.unwrap();
    let row = rows.iter().find(|row| row.action == "person.reset_link").unwrap();
    assert_eq!((row.actor.as_str(), row.target.as_str()), (ANA, "ben@shop.example"));
    // Mails that nobody sends stand on the page with their links.
    let page = ana.get(PAGE).await;
    let mail = mails(&site, "confirm", "ben@shop.example").await;
    assert!(mail.len() == 1 && page.body.contains("http://127.0.0.1:6001/verify/"), "{}", page.body);
}

#[tokio::test]
async fn an_invitation_is_mailed_with_the_link_that_the_page_shows() {
    let site = mailing().await;
    let mut ana = site.person(ANA).await;
    let fields = [("email", "ben@shop.example"), ("role", "viewer")];
    let page = ana.submit("/dash/people", "/dash/people/invite", &fields).await;
    let shown = page.test_text("invite-link");
    let mailed = link(&site, "invitation", "ben@shop.example", 1).await;
    assert_eq!(shown, format!("https://ws.example{mailed}"));
    let mail = &mails(&site, "invitation", "ben@shop.example").await[0];
    assert!(mail.subject.contains("ana's workspace") && mail.text.contains("as Viewer"), "{mail:?}");
    assert_eq!(site.browser().get(&mailed).await.status, StatusCode::OK);
}

#[tokio::test]
async fn asking_for_links_is_slowed_down_for_one_network() {
    let site = mailing().await;
    let mut eve = site.browser();
    let mut asked = 0;
    while ask(&mut eve, &format!("somebody-{asked}@shop.example")).await.status == StatusCode::OK {
        asked += 1;
        assert!(asked < 40, "nobody stops them");
    }
    assert!(asked >= 10, "an office may ask some times");
    let mut other = site.browser();
    other.ip = std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));
    assert_eq!(ask(&mut other, ANA).await.status, StatusCode::OK, "other networks are not");
    let answer = eve.send(Request::get("/forgot").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
}
