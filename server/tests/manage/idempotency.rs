//! `Idempotency-Key`: what comes again under its key is done once, on whichever node, and answered as the first time.

use http::StatusCode;
use serde_json::{Value, json};
use tenancy::member::{self, Place};
use tenancy::role::Role;
use tenancy::token::Scope;

use crate::site::{Answer, Site};

/// An answer without what every request has of its own.
fn told(answer: &Answer) -> (StatusCode, &str, &str, &str) {
    (answer.status, &answer.body, answer.header("location"), answer.header("content-type"))
}

async fn apps(site: &Site, token: &str) -> usize {
    let list = site.ask("GET", "/v1/apps", Some(token), None).await.json();
    list["data"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_done_once_and_answered_alike_on_every_node() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let token = shop.token(&site, Scope::ALL).await;
    let body = json!({ "name": "shop" });
    let first = site.under("order-1", "/v1/apps", &token, &body).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (StatusCode::CREATED, ""));
    for node in [&site, &site.beside().await] {
        let again = node.under("order-1", "/v1/apps", &token, &body).await;
        assert_eq!(told(&again), told(&first), "the secret that is shown once included");
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
        assert_eq!(again.header("cache-control"), "no-store");
    }
    assert_eq!(apps(&site, &token).await, 1);

    for (path, body) in [
        ("/v1/apps", json!({ "name": "store" })),
        ("/v1/invitations", body.clone()),
        ("/v1/apps?x=1", body.clone()),
    ] {
        let other = site.under("order-1", path, &token, &body).await;
        assert_eq!((other.status, other.code()), (StatusCode::CONFLICT, "idempotency_key_reused"), "{path}");
    }
    let another = site.under("order-2", "/v1/apps", &token, &body).await;
    assert_eq!(another.status, StatusCode::CREATED);
    let other_token = shop.token(&site, Scope::ALL).await;
    let another = site.under("order-1", "/v1/apps", &other_token, &body).await;
    assert_eq!((another.status, another.header("idempotent-replayed")), (StatusCode::CREATED, ""));
    assert_eq!(apps(&site, &token).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_done_and_the_others_are_told() {
    let site = std::sync::Arc::new(Site::open().await);
    let shop = site.person("ana@shop.example").await;
    let token = shop.token(&site, Scope::ALL).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (site, token) = (site.clone(), token.clone());
        callers.spawn(async move { site.under("k", "/v1/apps", &token, &json!({ "name": "shop" })).await });
    }
    let answers = callers.join_all().await;
    for answer in &answers {
        let fits = answer.status == StatusCode::CREATED || answer.code() == "idempotency_under_way";
        assert!(fits, "{} {}", answer.status, answer.body);
    }
    let fresh =
        |one: &&Answer| one.status == StatusCode::CREATED && one.header("idempotent-replayed").is_empty();
    assert_eq!(answers.iter().filter(fresh).count(), 1);
    assert_eq!(apps(&site, &token).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_frees_the_key_and_a_key_must_be_one() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let token = shop.token(&site, Scope::ALL).await;
    let refused = site.under("k", "/v1/apps", &token, &json!({ "name": " " })).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (422, "invalid"));
    let done = site.under("k", "/v1/apps", &token, &json!({ "name": "shop" })).await;
    assert_eq!((done.status, done.header("idempotent-replayed")), (StatusCode::CREATED, ""));
    for key in ["", "two words", &"x".repeat(256)] {
        let refused = site.under(key, "/v1/apps", &token, &json!({ "name": "shop" })).await;
        let error = &refused.json()["error"];
        assert_eq!((refused.status.as_u16(), &error["field"]), (422, &json!("Idempotency-Key")), "{key}");
    }
    let none = site.under("k", "/v1/apps", "ff_nothing", &json!({ "name": "shop" })).await;
    assert_eq!((none.status, none.code()), (StatusCode::UNAUTHORIZED, "wrong_token"));
    let weak = shop.token(&site, &[Scope::AppsRead]).await;
    let refused = site.under("w", "/v1/apps", &weak, &json!({ "name": "shop" })).await;
    assert_eq!(refused.code(), "missing_scope");
    assert_eq!(apps(&site, &token).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_again_only_to_who_may_still_have_it() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let dev = site.member("dev@shop.example", Role::Developer, &shop).await;
    let (target, token) = (shop.target(&site).await, dev.token(&site, &[Scope::KeysWrite]).await);
    let (path, body) = (format!("/v1/apps/{}/keys", target.app), json!({ "name": "worker" }));
    let ask = async || site.under("k", &path, &token, &body).await;
    let first = ask().await;
    let secret = first.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(told(&ask().await), told(&first));
    let change = async |place: Place| {
        member::change(&site.db, &shop.by, Role::Owner, &shop.account.id, &dev.user.id, &place)
            .await
            .unwrap();
    };
    change(Place { role: Role::Developer, apps: Some(vec![]) }).await;
    assert_eq!(ask().await.status, StatusCode::NOT_FOUND);
    change(Place { role: Role::Viewer, apps: None }).await;
    let refused = ask().await;
    assert_eq!(refused.code(), "role");
    assert!(!refused.body.contains(&secret));
    change(Place { role: Role::Developer, apps: None }).await;
    assert_eq!(told(&ask().await), told(&first), "and again when they may");
}

#[test]
fn every_post_of_the_document_takes_a_key_and_nothing_else_does() {
    let document = api::manage::document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let empty = vec![];
            let parameters = operation["parameters"].as_array().unwrap_or(&empty);
            let takes = parameters.iter().any(|one: &Value| one["name"] == "Idempotency-Key");
            assert_eq!(takes, method == "post", "{method} {path}");
            assert_eq!(
                operation["responses"]["409"].is_object() && takes,
                method == "post",
                "{method} {path}"
            );
        }
    }
}
