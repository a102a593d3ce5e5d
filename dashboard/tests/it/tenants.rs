//! Another tenant's app is the same as no app, on every address.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};

use tenancy::webhook_endpoint::NewEndpoint;
use tenancy::{webhook_delivery, webhook_endpoint};

use crate::support::{Browser, Site, form};

/// Pages under `/dash/apps/{id}`.
pub(crate) const GETS: &[&str] = &[
    "",
    "/start",
    "/keys",
    "/keys/use",
    "/console",
    "/stats",
    "/settings",
    "/webhooks",
    "/webhooks/new",
    "/webhooks/{ep}",
    "/webhooks/{ep}/edit",
    "/webhooks/{ep}/{delivery}",
];
/// Addresses under `/dash/apps/{id}` that take a POST, and whether they take JSON.
pub(crate) const POSTS: &[(&str, bool)] = &[
    ("/settings/name", false),
    ("/settings/origins", false),
    ("/settings/cap", false),
    ("/settings/messages-cap", false),
    ("/settings/enabled", false),
    ("/settings/{switch}", false),
    ("/keys/new", false),
    ("/keys/revoke", false),
    ("/keys/reveal", false),
    ("/transfer", false),
    ("/delete", false),
    ("/events/sign", true),
    ("/webhooks/new", false),
    ("/webhooks/{ep}/edit", false),
    ("/webhooks/{ep}/test", false),
    ("/webhooks/{ep}/recover", false),
    ("/webhooks/{ep}/resume", false),
    ("/webhooks/{ep}/{delivery}/resend", false),
    ("/webhooks/{ep}/delete", false),
];

/// An endpoint of an app, and a delivery to it.
pub(crate) struct Hook {
    pub(crate) endpoint: String,
    pub(crate) delivery: String,
}

impl Hook {
    /// Makes them in the app of this person.
    pub(crate) async fn of(site: &Site, email: &str, app: u64) -> Hook {
        let (_, account) = tenancy::user::find_by_email(&site.db, email).await.unwrap().unwrap();
        let new = NewEndpoint {
            url: "https://hooks.shop.example/pusher".to_owned(),
            kinds: vec!["channel_occupied".to_owned()],
            ..NewEndpoint::default()
        };
        let made = webhook_endpoint::create(&site.db, &account.id, app, new).await.unwrap().unwrap();
        let sent = webhook_delivery::send_test(&site.db, &account.id, app, &made.id, "channel_occupied");
        let delivery = sent.await.unwrap().unwrap();
        Hook { endpoint: made.id, delivery }
    }

    /// The address of a line of the tables, with something that exists in place of each name in braces.
    pub(crate) fn path(&self, app: &str, tail: &str) -> String {
        let tail = tail.replace("{switch}", "watchlist").replace("{ep}", &self.endpoint);
        format!("/dash/apps/{app}{}", tail.replace("{delivery}", &self.delivery))
    }
}

async fn all_answers(
    browser: &mut Browser,
    id: &str,
    hook: &Hook,
    token: &str,
) -> Vec<(String, StatusCode, String)> {
    let mut answers = Vec::new();
    for tail in GETS {
        let path = hook.path(id, tail);
        let answer = browser.get(&path).await;
        answers.push((format!("GET {tail}"), answer.status, answer.body));
    }
    for (tail, json) in POSTS {
        let path = hook.path(id, tail);
        let request = if *json {
            Request::post(&path)
                .header(CONTENT_TYPE, "application/json")
                .header("x-csrf-token", token)
                .body(Body::from(r#"{"channel":"a","event":"b","data":"c"}"#))
                .unwrap()
        } else {
            form(
                &path,
                &[
                    ("csrf", token),
                    ("name", "hijacked"),
                    ("origins", ""),
                    ("key", "x"),
                    ("confirm", "shop"),
                    ("url", "https://evil.example"),
                    ("kind", "cache_miss"),
                    ("hours", "24"),
                    ("to", "x"),
                ],
            )
        };
        let answer = browser.send(request).await;
        answers.push((format!("POST {tail}"), answer.status, answer.body));
    }
    answers
}

#[tokio::test]
async fn another_tenants_app_is_not_found_on_every_address() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let hook = Hook::of(&site, "ana@shop.example", id).await;
    let mut eve = site.person("eve@shop.example").await;
    eve.new_app("own").await;
    let token = eve.token("/dash").await;
    let theirs = all_answers(&mut eve, &id.to_string(), &hook, &token).await;
    let nobodys = all_answers(&mut eve, "987654321", &hook, &token).await;
    for (theirs, nobodys) in theirs.iter().zip(&nobodys) {
        assert_eq!(theirs.1, StatusCode::NOT_FOUND, "{}", theirs.0);
        assert_eq!(theirs, nobodys, "no difference to an id that nobody has");
    }
    assert!(!eve.get("/dash").await.body.contains(">shop<"));
    assert!(!eve.get("/dash/usage").await.body.contains(&id.to_string()));
    let token = ana.token("/dash").await;
    for (name, status, _) in all_answers(&mut ana, &id.to_string(), &hook, &token).await {
        assert_ne!(status, StatusCode::NOT_FOUND, "the owner: {name}");
    }
}

#[tokio::test]
async fn strange_ids_are_not_found() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    for strange in [
        format!("0{id}"),
        format!("+{id}"),
        "-1".into(),
        "1".into(),
        "x".into(),
        "99999999999999999999".into(),
        "%00".into(),
        format!("{id}%20"),
    ] {
        let answer = ana.get(&format!("/dash/apps/{strange}/keys")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{strange}");
    }
}

#[tokio::test]
async fn scripts_get_the_same_as_json() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let request =
        Request::get("/dash/apps/4242").header("accept", "application/json").body(Body::empty()).unwrap();
    let answer = ana.send(request).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.body.starts_with("{\"error\":{\"code\":\"not_found\""), "{}", answer.body);
    let request =
        Request::get("/dash/usage").header("accept", "application/json").body(Body::empty()).unwrap();
    let answer = site.browser().send(request).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

/// The table above is complete: every route literal in the sources is in it.
#[test]
fn the_table_knows_every_route_of_an_app() {
    let mut sources = Vec::new();
    for dir in ["src", "src/pages"] {
        for entry in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "rs") {
                sources.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut found = 0;
    for source in &sources {
        for piece in source.split("route(\"/dash/apps/{id}").skip(1) {
            let tail = piece.split('"').next().unwrap();
            let known = GETS.contains(&tail) || POSTS.iter().any(|(post, _)| *post == tail);
            assert!(known, "{tail:?} is not in the table of this test");
            found += 1;
        }
    }
    assert_eq!(found, GETS.len() + POSTS.len());
}
