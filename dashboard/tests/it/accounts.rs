//! Sign-up, sign-in, sign-out, set-up, the one-time link.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use dashboard::{DashboardConfig, SignUpMode};
use http::{Method, Request, StatusCode};
use tenancy::{login_token, user};

use crate::support::{PASSWORD, Site, config};

#[tokio::test]
async fn from_sign_up_to_the_keys_page_with_the_apps_values() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let page = ana.get("/dash/apps/new").await;
    assert!(page.body.contains("value=\"My first app\""));
    let id = ana.new_app("My first app").await;
    let (_, account) = user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
    let key = &tenancy::app::keys(&site.db, &account.id, id).await.unwrap()[0];
    let page = ana.get(&format!("/dash/apps/{id}/keys")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.test_text("app-id"), id.to_string());
    assert_eq!(page.test_text("app-key"), key.key);
    assert_eq!(page.test_text("app-secret"), key.secret.expose());
    let env = page.test_text("env-block");
    for line in [
        "BROADCAST_CONNECTION=reverb".to_owned(),
        format!("REVERB_APP_ID={id}"),
        format!("REVERB_APP_KEY={}", key.key),
        format!("REVERB_APP_SECRET={}", key.secret.expose()),
        "REVERB_HOST=\"127.0.0.1\"".to_owned(),
        "REVERB_PORT=6001".to_owned(),
        "REVERB_SCHEME=http".to_owned(),
        "VITE_REVERB_APP_KEY=\"${REVERB_APP_KEY}\"".to_owned(),
    ] {
        assert!(env.lines().any(|l| l == line), "{line} is not in\n{env}");
    }
    assert!(page.body.contains("data-test=\"usage-connections\" data-value=\"42\""));
    assert!(page.body.contains("data-test=\"usage-messages\" data-value=\"18204\""));
}

#[tokio::test]
async fn sign_up_says_what_is_wrong_and_keeps_the_email() {
    let site = Site::open().await;
    for (email, password, text) in [
        ("nobody", PASSWORD, "like an e-mail address"),
        ("a@shop.example", "short", "at least 8 characters"),
        ("a@shop.example", "password1", "Too common"),
    ] {
        let mut browser = site.browser();
        let answer = browser.submit("/signup", "/signup", &[("email", email), ("password", password)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{email} {password}");
        assert!(answer.body.contains(text) && answer.body.contains(email), "{email} {password}");
        assert!(!answer.body.contains(&format!("value=\"{password}\"")));
    }
    site.person("ana@shop.example").await;
    let answer = site
        .browser()
        .submit("/signup", "/signup", &[("email", "ANA@shop.example"), ("password", PASSWORD)])
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.body.contains("You already have an account."));
}

#[tokio::test]
async fn closed_sign_up_makes_no_account() {
    for mode in [SignUpMode::Closed, SignUpMode::Invite] {
        let site = Site::with(DashboardConfig { signup: mode, ..config() }).await;
        let mut browser = site.browser();
        assert!(browser.get("/signup").await.body.contains("Sign-up is closed"));
        let answer = browser
            .submit("/login", "/signup", &[("email", "ana@shop.example"), ("password", PASSWORD)])
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(!tenancy::instance::setup_done(&site.db).await.unwrap());
    }
}

#[tokio::test]
async fn signing_in_rotates_the_session_and_a_planted_one_opens_nothing() {
    let site = Site::open().await;
    site.person("ana@shop.example").await;
    let mut browser = site.browser();
    let planted = "ab".repeat(32);
    browser.cookies.insert("fanfare_session".to_owned(), planted.clone());
    let answer =
        browser.submit("/login", "/login", &[("email", "ana@shop.example"), ("password", PASSWORD)]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dash"));
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"),
        "{cookie}"
    );
    assert!(!cookie.contains("Secure"));
    let first = browser.cookies["fanfare_session"].clone();
    assert_ne!(first, planted);
    assert_eq!(browser.get("/dash").await.status, StatusCode::OK);

    // A second sign-in in the same browser ends the first session.
    let mut copy = site.browser();
    copy.cookies.insert("fanfare_session".to_owned(), first.clone());
    browser.cookies.remove("fanfare_session");
    let token = browser.token("/login").await;
    browser.cookies.insert("fanfare_session".to_owned(), first);
    let fields = [("csrf", token.as_str()), ("email", "ana@shop.example"), ("password", PASSWORD)];
    assert_eq!(browser.post("/login", &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(copy.get("/dash").await.location(), "/login");
    copy.cookies.insert("fanfare_session".to_owned(), planted);
    assert_eq!(copy.get("/dash").await.location(), "/login");
}

#[tokio::test]
async fn the_cookie_is_secure_under_https() {
    let site =
        Site::with(DashboardConfig { public_url: Some("https://ws.example.com".to_owned()), ..config() })
            .await;
    let mut browser = site.browser();
    browser.host = "ws.example.com".to_owned();
    let answer =
        browser.submit("/signup", "/signup", &[("email", "a@shop.example"), ("password", PASSWORD)]).await;
    assert!(answer.header("set-cookie").contains("; Secure"), "{}", answer.header("set-cookie"));
    assert!(answer.header("strict-transport-security").contains("max-age"));
}

#[tokio::test]
async fn signing_out_ends_the_session_in_the_database() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let mut thief = site.browser();
    thief.cookies = ana.cookies.clone();
    let answer = ana.submit("/dash", "/logout", &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/login"));
    assert_eq!(thief.get("/dash").await.status, StatusCode::SEE_OTHER);
    assert!(!ana.cookies.contains_key("fanfare_session"));
}

#[tokio::test]
async fn unknown_and_wrong_get_the_same_answer() {
    let site = Site::open().await;
    site.person("ana@shop.example").await;
    let mut browser = site.browser();
    let mut bodies = Vec::new();
    for email in ["ana@shop.example", "ben@shop.example"] {
        let answer =
            browser.submit("/login", "/login", &[("email", email), ("password", "not this one")]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        bodies.push(answer.body.replace(email, ""));
    }
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn guessing_is_slowed_down_with_the_wait_stated() {
    let site = Site::open().await;
    site.person("ana@shop.example").await;
    let mut guesser = site.browser();
    let token = guesser.token("/login").await;
    let mut stopped = None;
    for n in 0..30 {
        let fields =
            [("csrf", token.as_str()), ("email", "ana@shop.example"), ("password", &format!("guess {n}"))];
        let answer = guesser.post("/login", &fields).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            stopped = Some(answer);
            break;
        }
    }
    let answer = stopped.expect("thirty guesses went through");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(answer.body.contains("Too many tries."));
    let mut owner = site.browser();
    owner.ip = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    let answer =
        owner.submit("/login", "/login", &[("email", "ana@shop.example"), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "the owner signs in from elsewhere");
}

#[tokio::test]
async fn after_sign_in_one_lands_on_the_wanted_page_of_this_server_only() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let wanted = format!("/dash/apps/{id}/keys");
    let answer = site.browser().get(&wanted).await;
    assert_eq!(answer.location(), format!("/login?next={wanted}"));
    for (next, landed) in [
        (wanted.as_str(), wanted.as_str()),
        ("https://evil.example/dash", "/dash"),
        ("//evil.example/dash", "/dash"),
        ("/\\evil.example", "/dash"),
        ("/dash\\@evil.example", "/dash"),
        ("/dashboard.evil", "/dash"),
        ("/dash\r\nSet-Cookie: x=y", "/dash"),
        ("javascript:alert(1)", "/dash"),
        ("/logout", "/dash"),
    ] {
        let mut browser = site.browser();
        let fields = [("email", "ana@shop.example"), ("password", PASSWORD), ("next", next)];
        assert_eq!(browser.submit("/login", "/login", &fields).await.location(), landed, "{next:?}");
        let query: String = next.bytes().map(|b| format!("%{b:02X}")).collect();
        assert_eq!(browser.get(&format!("/login?next={query}")).await.location(), landed, "{next:?}");
    }
}

#[tokio::test]
async fn setup_makes_one_owner_and_is_gone() {
    let site = Site::with(DashboardConfig {
        setup_token: Some("t0k3n".to_owned()),
        signup: SignUpMode::Closed,
        ..config()
    })
    .await;
    let mut browser = site.browser();
    assert_eq!(browser.get("/").await.location(), "/setup");
    assert!(browser.get("/setup?token=t0k3n").await.body.contains("value=\"t0k3n\""));
    let wrong = [("token", "other"), ("email", "ana@shop.example"), ("password", PASSWORD)];
    assert_eq!(browser.submit("/setup", "/setup", &wrong).await.status, StatusCode::FORBIDDEN);
    let token = browser.token("/setup").await;
    let right =
        [("csrf", token.as_str()), ("token", "t0k3n"), ("email", "ana@shop.example"), ("password", PASSWORD)];
    let mut second = site.browser();
    let token = second.token("/setup").await;
    let also =
        [("csrf", token.as_str()), ("token", "t0k3n"), ("email", "ben@shop.example"), ("password", PASSWORD)];
    let (one, two) = tokio::join!(browser.post("/setup", &right), second.post("/setup", &also));
    let mut got = [one.status, two.status];
    got.sort();
    assert_eq!(got, [StatusCode::SEE_OTHER, StatusCode::NOT_FOUND]);
    for path in ["/setup", "/setup?token=t0k3n"] {
        assert_eq!(site.browser().get(path).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(site.browser().get("/").await.location(), "/login");
}

#[tokio::test]
async fn there_is_no_setup_without_a_token() {
    let site = Site::open().await;
    assert_eq!(site.browser().get("/setup").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.browser().get("/").await.location(), "/login");
}

#[tokio::test]
async fn a_sign_in_link_works_once_and_only_for_a_click() {
    let site = Site::open().await;
    site.person("ana@shop.example").await;
    let (ana, _) = user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
    let token = login_token::issue(&site.db, &ana.id).await.unwrap();
    let path = format!("/login/link?token={token}");
    for _ in 0..2 {
        assert!(site.browser().get(&path).await.body.contains("Continue"), "a preview doesn't use it up");
    }
    let mut browser = site.browser();
    let answer = browser.submit(&path, "/login/link", &[("token", &token)]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dash"));
    assert_eq!(browser.get("/dash").await.status, StatusCode::OK);
    let answer = site.browser().submit(&path, "/login/link", &[("token", &token)]).await;
    assert_eq!(answer.status, StatusCode::GONE);
    assert!(answer.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn in_development_the_link_signs_a_local_visitor_in_at_once() {
    let site = Site::with(DashboardConfig { dev: true, ..config() }).await;
    site.person("ana@shop.example").await;
    let (ana, _) = user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
    let token = login_token::issue(&site.db, &ana.id).await.unwrap();
    let path = format!("/login/link?token={token}&next=/dash/apps/new");
    let mut local = site.browser();
    assert!(local.get(&path).await.body.contains("Continue"), "not from another machine");
    local.ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    local.send(Request::builder().method(Method::HEAD).uri(&path).body(Body::empty()).unwrap()).await;
    assert!(!local.cookies.contains_key("fanfare_session"), "HEAD is a preview");
    let answer = local.get(&path).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dash/apps/new"));
    assert_eq!(local.get(&path).await.status, StatusCode::GONE);
}
