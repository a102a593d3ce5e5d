//! The debug console's doors: who may join which live channel, who may have an event signed; and what the page loads.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use protocol::signature::{body_md5, channel_auth, sign_request};
use sha2::{Digest, Sha256};
use tenancy::user;

use crate::support::{Answer, Browser, Site, form};

/// The token as a page's script reads it.
async fn script_token(browser: &mut Browser) -> String {
    let page = browser.get("/dash").await;
    let (_, rest) = page.body.split_once("name=\"csrf-token\" content=\"").expect("a token for scripts");
    rest.split('"').next().unwrap().to_owned()
}

async fn auth(browser: &mut Browser, token: &str, socket_id: &str, channel: &str) -> Answer {
    let mut request = form("/dash/rt/auth", &[("socket_id", socket_id), ("channel_name", channel)]);
    if !token.is_empty() {
        request.headers_mut().insert("x-csrf-token", token.parse().unwrap());
    }
    browser.send(request).await
}

async fn sign(browser: &mut Browser, token: &str, app: u64, body: &str) -> Answer {
    let mut request = Request::post(format!("/dash/apps/{app}/events/sign"))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap();
    if !token.is_empty() {
        request.headers_mut().insert("x-csrf-token", token.parse().unwrap());
    }
    browser.send(request).await
}

const EVENT: &str = r#"{"channel":"hello","event":"first-event","data":"{\"message\":\"hi\"}"}"#;

#[tokio::test]
async fn the_pages_hold_what_their_scripts_need_and_no_secret_in_the_console() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let (_, account) = user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
    let key = tenancy::app::keys(&site.db, &account.id, id).await.unwrap().remove(0);
    let system = tenancy::instance::system_app(&site.db).await.unwrap();
    let console = ana.get(&format!("/dash/apps/{id}/console")).await;
    assert_eq!(console.status, StatusCode::OK);
    let start = ana.get(&format!("/dash/apps/{id}/start")).await;
    assert_eq!(start.status, StatusCode::OK);
    for page in [&console.body, &start.body] {
        assert!(
            page.contains(&format!("data-app-id=\"{id}\""))
                && page.contains(&format!("data-app-key=\"{}\"", key.key))
        );
        assert!(page.contains(&format!("data-system-key=\"{}\"", system.key)));
        assert!(page.contains("data-test=\"console-status\" data-state=\"offline\""));
        assert!(!page.contains(system.secret.expose()) && !page.contains(" style="));
    }
    assert!(!console.body.contains(key.secret.expose()));
    for hook in [
        "name=\"channel\"",
        "name=\"event\"",
        "name=\"data\"",
        "data-test=\"send-event\"",
        "data-test=\"pause\"",
    ] {
        assert!(console.body.contains(hook), "{hook}");
    }
    assert!(start.body.contains("data-test=\"simulate\""));
    assert!(start.test_text("env-block").contains(&key.key));
}

#[tokio::test]
async fn a_page_joins_the_groups_of_its_own_app_only() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let token = script_token(&mut ana).await;
    let system = tenancy::instance::system_app(&site.db).await.unwrap();
    for group in ["conn", "sub", "msg", "err", "hook", "stat"] {
        let channel = format!("private-dash-app-{id}-{group}");
        let answer = auth(&mut ana, &token, "123.456", &channel).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let signature = channel_auth(system.secret.expose(), "123.456", &channel, None);
        assert_eq!(answer.body, format!("{{\"auth\":\"{}:{signature}\"}}", system.key));
    }
    for (socket, channel) in [
        ("123.456", format!("private-dash-app-{id}-hooks")),
        ("123.456", format!("private-dash-app-{id}")),
        ("123.456", "private-orders".to_owned()),
        ("123.456", "private-dash-app-1-msg".to_owned()),
        ("123.456:x", format!("private-dash-app-{id}-msg")),
        ("", format!("private-dash-app-{id}-msg")),
    ] {
        let answer = auth(&mut ana, &token, socket, &channel).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{socket} {channel}");
        assert!(
            answer.header("content-type").starts_with("application/json") && !answer.body.contains("auth\":")
        );
    }
}

#[tokio::test]
async fn another_tenant_gets_neither_a_channel_nor_a_signature() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let mut bob = site.person("bob@other.example").await;
    let token = script_token(&mut bob).await;
    let answer = auth(&mut bob, &token, "123.456", &format!("private-dash-app-{id}-msg")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let theirs = sign(&mut bob, &token, id, EVENT).await;
    let nobodys = sign(&mut bob, &token, 999_999, EVENT).await;
    assert_eq!((theirs.status, &theirs.body), (StatusCode::NOT_FOUND, &nobodys.body));
    for page in ["console", "start"] {
        assert_eq!(bob.get(&format!("/dash/apps/{id}/{page}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn without_the_token_or_a_session_nothing_is_signed() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let channel = format!("private-dash-app-{id}-msg");
    for token in ["", "0123"] {
        assert_eq!(auth(&mut ana, token, "123.456", &channel).await.status, StatusCode::FORBIDDEN, "{token}");
        assert_eq!(sign(&mut ana, token, id, EVENT).await.status, StatusCode::FORBIDDEN, "{token}");
    }
    let token = script_token(&mut ana).await;
    let mut stranger = site.browser();
    for answer in
        [auth(&mut stranger, &token, "123.456", &channel).await, sign(&mut stranger, &token, id, EVENT).await]
    {
        assert!(
            matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            "{}",
            answer.status
        );
    }
}

#[tokio::test]
async fn a_signed_event_is_what_the_api_verifies_and_any_text_is_data() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let token = script_token(&mut ana).await;
    let (_, account) = user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
    let key = tenancy::app::keys(&site.db, &account.id, id).await.unwrap().remove(0);
    let event = serde_json::json!({ "channel": "orders", "event": "e\u{202e}", "data": "not json", "socket_id": "1.2" });
    let answer = sign(&mut ana, &token, id, &event.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(!answer.body.contains(key.secret.expose()));
    let signed: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let body = signed["body"].as_str().unwrap();
    let parsed: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        parsed,
        serde_json::json!({ "name": "e\u{202e}", "channels": ["orders"], "data": "not json", "socket_id": "1.2" })
    );
    let (path, query) = signed["url"].as_str().unwrap().split_once('?').unwrap();
    assert_eq!(path, format!("/apps/{id}/events"));
    let pairs: Vec<(&str, &str)> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    let value = |name: &str| pairs.iter().find(|(n, _)| *n == name).unwrap().1;
    assert_eq!((value("auth_key"), value("body_md5")), (&*key.key, &*body_md5(body.as_bytes())));
    let params: Vec<(&str, &str)> =
        pairs.iter().copied().filter(|(name, _)| *name != "auth_signature").collect();
    assert_eq!(value("auth_signature"), sign_request(key.secret.expose(), "POST", path, &params));
    for bad in ["", "{", "[]", r#"{"channel":"a","event":"b"}"#, r#"{"channel":1,"event":"b","data":"c"}"#] {
        assert_eq!(sign(&mut ana, &token, id, bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let large = serde_json::json!({ "channel": "a", "event": "b", "data": "x".repeat(70_000) }).to_string();
    assert_eq!(sign(&mut ana, &token, id, &large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn vendored_files_are_the_published_ones() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/vendor");
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.md")).unwrap();
    let mut known = vec!["MANIFEST.md".to_owned()];
    for line in manifest.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let (file, licence, hash) = (cells[1], cells[4], cells[5]);
        assert_eq!(hex::encode(Sha256::digest(std::fs::read(folder.join(file)).unwrap())), hash, "{file}");
        let licence = licence.split('`').nth(1).expect("a licence file");
        assert!(
            std::fs::read_to_string(folder.join(licence)).unwrap().contains("Permission is hereby granted")
        );
        known.extend([file.to_owned(), licence.to_owned()]);
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} is not in the manifest");
    }
}
