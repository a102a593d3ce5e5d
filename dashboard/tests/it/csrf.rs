//! Requests that change something, made by somebody else's page.

use axum::body::Body;
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{Method, Request, StatusCode};

use crate::account_page::ACCOUNT_POSTS;
use crate::people::ORGANISATION_POSTS;
use crate::support::{Browser, PASSWORD, Site, form};
use crate::tenants::{Hook, POSTS};

/// Every address that takes a POST from a signed-in person.
fn posts(id: u64) -> Vec<String> {
    let hook = Hook { endpoint: "whe_x".to_owned(), delivery: "whd_x".to_owned() };
    let mut paths = vec!["/logout".to_owned(), "/dash/apps/new".to_owned(), "/dash/rt/auth".to_owned()];
    paths.extend(ORGANISATION_POSTS.map(str::to_owned));
    paths.extend(ACCOUNT_POSTS.map(str::to_owned));
    paths.extend(POSTS.iter().map(|(tail, _)| hook.path(&id.to_string(), tail)));
    paths
}

async fn signed_in(site: &Site) -> (Browser, u64, String) {
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let token = ana.token("/dash").await;
    (ana, id, token)
}

#[tokio::test]
async fn no_token_or_anothers_token_changes_nothing() {
    let site = Site::open().await;
    let (mut ana, id, _) = signed_in(&site).await;
    let other = site.person("eve@shop.example").await.token("/dash").await;
    let before_sign_in = site.browser().token("/login").await;
    for path in posts(id) {
        for token in ["", "0", &other, &before_sign_in] {
            let fields = [("csrf", token), ("name", "hijacked"), ("confirm", "shop"), ("cluster", "eu")];
            assert_eq!(ana.post(&path, &fields).await.status, StatusCode::FORBIDDEN, "{path} {token}");
        }
        assert_eq!(ana.post(&path, &[("confirm", "shop")]).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(ana.get("/dash").await.body.contains(">shop</a>"));
}

#[tokio::test]
async fn the_right_token_from_a_foreign_page_changes_nothing() {
    let site = Site::open().await;
    let (mut ana, id, token) = signed_in(&site).await;
    for path in posts(id) {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "http://127.0.0.1:6002"),
            ("origin", "http://127.0.0.1:6001.evil.example"),
        ] {
            let mut request =
                form(&path, &[("csrf", &token), ("confirm", "shop"), ("name", "x"), ("cluster", "eu")]);
            request.headers_mut().insert(name, value.parse().unwrap());
            assert_eq!(ana.send(request).await.status, StatusCode::FORBIDDEN, "{path} {name}: {value}");
        }
    }
}

#[tokio::test]
async fn the_token_only_counts_in_a_form_or_in_the_header() {
    let site = Site::open().await;
    let (mut ana, id, token) = signed_in(&site).await;
    let path = format!("/dash/apps/{id}/settings/name");
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/json"] {
        let body = format!("csrf={token}&name=x");
        let request = Request::post(&path).header(CONTENT_TYPE, kind).body(Body::from(body)).unwrap();
        assert_eq!(ana.send(request).await.status, StatusCode::FORBIDDEN, "{kind}");
    }
    let request = Request::post(&path)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("x-csrf-token", "0".repeat(64))
        .body(Body::from(format!("csrf={token}&name=x")))
        .unwrap();
    let answer = ana.send(request).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.body.starts_with("{\"error\":{\"code\":\"forbidden\""), "{}", answer.body);
}

#[tokio::test]
async fn our_own_pages_pass_whatever_the_browser_tells() {
    let site = Site::open().await;
    let (mut ana, id, token) = signed_in(&site).await;
    let path = format!("/dash/apps/{id}/settings/name");
    // Referrer-Policy: no-referrer makes a form's origin null.
    for (name, value) in [
        (ORIGIN.as_str(), "null"),
        (ORIGIN.as_str(), "http://127.0.0.1:6001"),
        ("sec-fetch-site", "same-origin"),
    ] {
        let mut request = form(&path, &[("csrf", &token), ("name", "renamed")]);
        request.headers_mut().insert(name, value.parse().unwrap());
        request.headers_mut().insert(HOST, "127.0.0.1:6001".parse().unwrap());
        assert_eq!(ana.send(request).await.status, StatusCode::SEE_OTHER, "{name}: {value}");
    }
}

#[tokio::test]
async fn pages_before_sign_in_need_their_cookie_and_token() {
    let site = Site::open().await;
    for path in ["/login", "/signup", "/login/link"] {
        let mut browser = site.browser();
        let fields = [("email", "ana@shop.example"), ("password", PASSWORD), ("token", "x")];
        assert_eq!(browser.post(path, &fields).await.status, StatusCode::FORBIDDEN, "{path}");
        let token = browser.token("/login").await;
        let with =
            [("csrf", token.as_str()), ("email", "ana@shop.example"), ("password", PASSWORD), ("token", "x")];
        assert_eq!(site.browser().post(path, &with).await.status, StatusCode::FORBIDDEN, "{path}: no cookie");
        browser.cookies.insert("fanfare_form".to_owned(), "ab".repeat(32));
        assert_eq!(browser.post(path, &with).await.status, StatusCode::FORBIDDEN, "{path}: another cookie");
    }
    assert!(!tenancy::instance::setup_done(&site.db).await.unwrap());
}

#[tokio::test]
async fn signed_out_nothing_is_changed_either() {
    let site = Site::open().await;
    let (_, id, token) = signed_in(&site).await;
    for path in posts(id) {
        let answer = site.browser().post(&path, &[("csrf", &token), ("confirm", "shop")]).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/login"), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_refused() {
    let site = Site::open().await;
    let (mut ana, id, token) = signed_in(&site).await;
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let request = Request::builder()
            .method(&method)
            .uri(format!("/dash/apps/{id}/settings"))
            .header("x-csrf-token", &token)
            .body(Body::empty())
            .unwrap();
        assert_eq!(ana.send(request).await.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    assert_eq!(ana.get("/logout").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ana.get("/dash").await.status, StatusCode::OK, "GET signs nobody out");
}
