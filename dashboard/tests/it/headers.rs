//! What every answer carries, and the assets.

use axum::body::Body;
use http::{Request, StatusCode};

use crate::support::{Answer, Site};
use crate::tenants::{GETS, Hook};

fn check(answer: &Answer, what: &str) {
    let policy = answer.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{what}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{what}: {policy}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(answer.header("referrer-policy"), "no-referrer", "{what}");
    assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{what}");
    let cache = answer.header("cache-control");
    assert!(!cache.is_empty(), "{what}");
    if answer.header("content-type").starts_with("text/html") {
        assert_eq!(cache, "no-store", "{what}");
        for inline in [" style=", " onclick=", "<style", "javascript:"] {
            assert!(!answer.body.contains(inline), "{what} has {inline}");
        }
        for script in answer.body.split("<script").skip(1) {
            let tag = script.split('>').next().unwrap();
            assert!(
                tag.contains("src=\"/") || tag.contains("type=\"application/json\""),
                "{what}: <script{tag}>"
            );
        }
    }
}

#[tokio::test]
async fn every_answer_is_locked_down() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let mut paths: Vec<String> = [
        "/",
        "/dash",
        "/dash/",
        "/dash/apps/new",
        "/dash/usage",
        "/dash/people",
        "/dash/organisation",
        "/dash/organisations/new",
        "/dash/audit",
        "/dash/audit/export?format=csv",
        "/invite/x",
        "/dash/nowhere",
        "/setup",
        "/logout",
        "/js/pusher.min.js",
        "/assets/x/app.css",
        "/assets/x/nothing",
        "/favicon.ico",
    ]
    .map(str::to_owned)
    .to_vec();
    let hook = Hook::of(&site, "ana@shop.example", id).await;
    paths.extend(GETS.iter().map(|tail| hook.path(&id.to_string(), tail)));
    paths.extend(["/dash/apps/9".to_owned(), format!("/dash/apps/{id}/delete")]);
    for path in &paths {
        check(&ana.get(path).await, path);
    }
    let mut nobody = site.browser();
    for path in ["/login", "/signup", "/login/link?token=x", "/dash", "/e", "/e/", "/e/4001", "/e/9"] {
        check(&nobody.get(path).await, path);
    }
    check(&nobody.post("/login", &[]).await, "403");
    check(&ana.post("/logout", &[]).await, "403");
    let response = dashboard::not_found();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(response.headers().contains_key("content-security-policy"));
}

#[tokio::test]
async fn sockets_may_go_to_this_host_only() {
    let site = Site::open().await;
    let mut browser = site.browser();
    let policy = browser.get("/login").await.header("content-security-policy").to_owned();
    assert!(policy.contains("connect-src 'self' ws://127.0.0.1:6001 wss://127.0.0.1:6001;"), "{policy}");
    browser.host = "evil.example; script-src *".to_owned();
    let policy = browser.get("/login").await.header("content-security-policy").to_owned();
    assert!(!policy.contains("evil") && !policy.contains('*'), "{policy}");
}

#[tokio::test]
async fn assets_keep_for_ever_under_their_hash() {
    let site = Site::open().await;
    let mut browser = site.browser();
    let page = browser.get("/login").await.body;
    let path = page.split('"').find(|part| part.ends_with("/app.css")).unwrap().to_owned();
    let answer = browser.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/css; charset=utf-8");
    assert!(answer.header("cache-control").contains("immutable"));
    let old = browser.get("/assets/000000000000/app.css").await;
    assert_eq!((old.status, old.header("cache-control")), (StatusCode::OK, "no-cache"));
    let again =
        Request::get(&path).header("if-none-match", answer.header("etag")).body(Body::empty()).unwrap();
    assert_eq!(browser.send(again).await.status, StatusCode::NOT_MODIFIED);
    for bad in ["/assets/x/../Cargo.toml", "/assets/x/..%2fCargo.toml", "/assets/x/nothing.css"] {
        assert_eq!(browser.get(bad).await.status, StatusCode::NOT_FOUND, "{bad}");
    }
    let pusher = browser.get("/js/pusher.min.js").await;
    assert_eq!(pusher.header("content-type"), "text/javascript; charset=utf-8");
    assert!(pusher.body.contains("pusher:subscribe"));
}
