//! The management API through its routes, over a real database and a real node: who may what, with which scope, and whose.

#[path = "manage/billing.rs"]
mod billing;
#[path = "manage/idempotency.rs"]
mod idempotency;
#[path = "manage/site.rs"]
mod site;

use std::collections::BTreeSet;
use std::path::Path;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use site::{Answer, Site, TABLE, fill};
use tenancy::audit::{self, Filter};
use tenancy::member::{self, Place};
use tenancy::quota::{self, Numbers};
use tenancy::role::Role;
use tenancy::token::Scope;

fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let methods = |(path, item): (&String, &Value)| {
        let path = path.clone();
        item.as_object()
            .unwrap()
            .keys()
            .map(move |method| (method.to_uppercase(), path.clone()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

/// The scope that an operation of the document names.
fn scope_of(document: &Value, method: &str, path: &str) -> Option<Scope> {
    let named = &document["paths"][path][method.to_lowercase()]["security"][0]["token"];
    let named = named.as_array().unwrap_or_else(|| panic!("{method} {path} names no token"));
    named.first().map(|name| Scope::parse(name.as_str().unwrap()).unwrap())
}

#[test]
fn the_document_is_openapi_3_1_and_has_exactly_the_operations_of_the_table() {
    let document = api::manage::document();
    assert_eq!(document["openapi"], "3.1.0");
    let table: BTreeSet<(String, String)> =
        TABLE.iter().map(|line| (line.method.to_owned(), line.path.to_owned())).collect();
    assert_eq!(
        operations(&document),
        table,
        "an operation without a line in the table, or the other way around"
    );
    let mut ids = BTreeSet::new();
    for (method, path) in &table {
        let operation = &document["paths"][path][method.to_lowercase()];
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
        assert!(operation["summary"].is_string(), "{method} {path} says what it does");
        for status in ["401", "403", "429"] {
            assert!(operation["responses"][status].is_object(), "{method} {path} {status}");
        }
    }
}

/// Whatever is mounted comes from `operations`, which makes the document too; what doesn't is named here.
#[test]
fn no_route_below_v1_goes_past_the_document() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/src");
    let mut found = BTreeSet::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(path).unwrap();
            let literals =
                source.split(".route(\"/v1").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
            found.extend(literals);
        }
    }
    // The document itself, the 404s, and two addresses for pages of signed-in people.
    let past = ["", "/apps/{id}/doctor", "/apps/{id}/events/stream", "/openapi.json", "/{*rest}"];
    assert_eq!(found, past.map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_for_a_token_for_its_scope_and_for_no_other() {
    let site = Site::open().await;
    let document = api::manage::document();
    let shop = site.person("ana@shop.example").await;
    let fallen = shop.fallen(&site).await;
    for line in TABLE {
        let needed = scope_of(&document, line.method, line.path);
        let at = |target: &site::Target| (fill(line.path, target), line.body());
        let target = match line.path.contains("{member}") || line.path.contains("{invitation}") {
            true => shop.full_target(&site).await,
            false => shop.target(&site).await,
        };
        let (path, body) = at(&target);
        let name = format!("{} {path}", line.method);

        let none = site.ask(line.method, &path, None, body.clone()).await;
        assert_eq!((none.status, none.code()), (StatusCode::UNAUTHORIZED, "no_token"), "{name}");
        let wrong = format!("ff_{}", "0".repeat(64));
        let none = site.ask(line.method, &path, Some(&wrong), body.clone()).await;
        assert_eq!((none.status, none.code()), (StatusCode::UNAUTHORIZED, "wrong_token"), "{name}");

        let others: Vec<Scope> = Scope::ALL.iter().copied().filter(|one| Some(*one) != needed).collect();
        if needed.is_some() {
            let refused =
                site.ask(line.method, &path, Some(&shop.token(&site, &others).await), body.clone()).await;
            assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "missing_scope"), "{name}");
            let refused = site.ask(line.method, &path, Some(&fallen), body.clone()).await;
            let may = line.viewer;
            assert_eq!(
                refused.status == StatusCode::FORBIDDEN,
                !may,
                "a viewer's token: {name}: {}",
                refused.body
            );
        }
        let only: Vec<Scope> = needed.or(Some(Scope::AppsRead)).into_iter().collect();
        let answer = site.ask(line.method, &path, Some(&shop.token(&site, &only).await), body).await;
        assert_eq!(answer.status.as_u16(), line.status, "{name}: {}", answer.body);
        assert!(answer.header("x-request-id").starts_with("req_"), "{name}");
        assert_eq!(answer.header("cache-control"), "no-store", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_organisation_is_the_same_as_what_never_was() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let evil = site.person("eve@evil.example").await;
    let (theirs, own) = (shop.full_target(&site).await, evil.target(&site).await);
    let token = evil.token(&site, Scope::ALL).await;
    let ask = async |line: &site::Line, target: &site::Target| {
        site.ask(line.method, &fill(line.path, target), Some(&token), line.body()).await
    };
    let nobodys = site::Target::nobodys();
    for line in TABLE.iter().filter(|line| line.path.contains('{')) {
        let (foreign, unknown) = (ask(line, &theirs).await, ask(line, &nobodys).await);
        assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{} {}", line.method, line.path);
        assert_eq!((foreign.status, foreign.without_id()), (unknown.status, unknown.without_id()));
        // Their things below an app of one's own.
        let mixed = site::Target { app: own.app, ..theirs.clone() };
        if line.path.matches('{').count() > 1 {
            assert_eq!(
                ask(line, &mixed).await.status,
                StatusCode::NOT_FOUND,
                "{} {}",
                line.method,
                line.path
            );
        }
    }
    for path in ["/cli/apps/{id}/tokens.json"] {
        let foreign = site.ask("GET", &fill(path, &theirs), Some(&token), None).await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    }
    let apps = site.ask("GET", "/v1/apps", Some(&token), None).await;
    assert!(!apps.body.contains(&theirs.app.to_string()), "{}", apps.body);
    // And all of it is still there.
    let token = shop.token(&site, Scope::ALL).await;
    let there =
        site.ask("GET", &fill("/v1/apps/{id}/webhooks/{endpoint}", &theirs), Some(&token), None).await;
    assert_eq!(there.status, StatusCode::OK, "{}", there.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_app_sees_that_app_alone() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let (one, other) = (shop.target(&site).await, shop.target(&site).await);
    let token = shop.token_for(&site, Scope::ALL, Some(one.app)).await;
    for line in TABLE {
        let answer = site.ask(line.method, &fill(line.path, &other), Some(&token), line.body()).await;
        let expected = match line.path {
            path if path.starts_with("/v1/apps/{id}") => Some("not_found"),
            "/v1/me" | "/v1/organisation" => None,
            "/v1/apps" if line.method == "GET" => None,
            _ => Some("for_one_app"),
        };
        match expected {
            Some(code) => assert_eq!(answer.code(), code, "{} {}: {}", line.method, line.path, answer.body),
            None => assert_eq!(answer.status, StatusCode::OK, "{} {}", line.method, line.path),
        }
    }
    let apps = site.ask("GET", "/v1/apps", Some(&token), None).await.json();
    let ids: Vec<u64> =
        apps["data"].as_array().unwrap().iter().map(|app| app["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [one.app]);
    let own = site.ask("GET", &format!("/v1/apps/{}", one.app), Some(&token), None).await;
    assert_eq!(own.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_revocation_and_falls_with_its_person() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let dev = site.member("dev@shop.example", Role::Developer, &shop).await;
    let token = dev.token(&site, &[Scope::EventsWrite, Scope::AppsRead]).await;
    let target = shop.target(&site).await;
    let ask = async |path: &str| site.ask("GET", path, Some(&token), None).await;
    assert_eq!(ask("/v1/apps").await.status, StatusCode::OK);
    let one_other = Place { role: Role::Developer, apps: Some(vec![]) };
    let change =
        |place| member::change(&site.db, &shop.by, Role::Owner, &shop.account.id, &dev.user.id, place);
    change(&one_other).await.unwrap();
    let app = format!("/v1/apps/{}", target.app);
    assert_eq!(ask(&app).await.status, StatusCode::NOT_FOUND, "what its person does not see it does not see");
    change(&Place { role: Role::Billing, apps: None }).await.unwrap();
    assert_eq!(ask(&app).await.code(), "role");
    member::remove(&site.db, &shop.by, Role::Owner, &shop.account.id, &dev.user.id).await.unwrap();
    assert_eq!(ask(&app).await.code(), "wrong_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_made_set_up_used_and_deleted_over_the_api() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let token = shop.token(&site, Scope::ALL).await;
    let ask = async |method: &str, path: &str, body: Value| -> Answer {
        site.ask(method, path, Some(&token), (!body.is_null()).then_some(body)).await
    };
    let made = ask("POST", "/v1/apps", json!({ "name": "shop" })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let id = made.json()["app"]["id"].as_u64().unwrap();
    assert_eq!(made.header("location"), format!("/v1/apps/{id}"));
    assert_eq!(made.json()["key"]["secret"].as_str().unwrap().len(), 20);
    let app = format!("/v1/apps/{id}");
    let patch = json!({ "name": "store", "watchlist": true, "allowed_origins": ["https://Shop.example/"] });
    let changed = ask("PATCH", &app, patch).await.json();
    assert_eq!(changed["name"], "store");
    assert_eq!(changed["settings"]["allowed_origins"], json!(["https://shop.example"]));
    let wrong = ask("PATCH", &app, json!({ "allowed_origins": ["not an origin"] })).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["error"]["field"]), (422, &json!("allowed_origins")));
    let wrong = ask("PATCH", &app, json!({ "colour": "blue" })).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (422, "invalid"));

    for (patch, connections, messages) in [
        (json!({ "connections_cap": 5, "messages_day_cap": 0 }), json!(5), json!(0)),
        (json!({ "name": "store" }), json!(5), json!(0)),
        (
            json!({ "connections_cap": null, "messages_day_cap": 999_999_999_999_u64 }),
            Value::Null,
            json!(999_999_999_999_u64),
        ),
        (json!({ "messages_day_cap": null }), Value::Null, Value::Null),
    ] {
        let settings = ask("PATCH", &app, patch.clone()).await.json()["settings"].clone();
        assert_eq!(
            (&settings["connections_cap"], &settings["messages_day_cap"]),
            (&connections, &messages),
            "{patch}"
        );
        assert_eq!(ask("GET", &app, Value::Null).await.json()["settings"], settings, "{patch}");
    }
    for (field, value) in [
        ("connections_cap", json!(1_000_000_000)),
        ("messages_day_cap", json!(1_000_000_000_000_u64)),
        ("messages_day_cap", json!(-1)),
        ("connections_cap", json!("5")),
    ] {
        let wrong = ask("PATCH", &app, json!({ field: value })).await;
        assert_eq!((wrong.status.as_u16(), wrong.code()), (422, "invalid"), "{field} {value}");
    }

    let key = ask("POST", &format!("{app}/keys"), json!({ "name": "worker" })).await.json();
    let (pair, secret) = (key["key"].as_str().unwrap(), key["secret"].as_str().unwrap());
    let listed = ask("GET", &format!("{app}/keys"), Value::Null).await;
    assert!(listed.body.contains(pair) && !listed.body.contains(secret), "a list has no secrets");
    let renamed = ask("PATCH", &format!("{app}/keys/{pair}"), json!({ "name": "fleet" })).await;
    assert_eq!(renamed.json()["name"], "fleet");
    let ordered = ask("POST", &format!("{app}/keys/{pair}/revoke"), json!({ "when": "24h" })).await;
    assert_eq!((ordered.status, &ordered.json()["gone"]), (StatusCode::OK, &json!(false)));
    let gone = ask("POST", &format!("{app}/keys/{pair}/revoke"), json!({ "when": "now" })).await;
    assert_eq!(gone.json()["gone"], true);
    let first = made.json()["key"]["key"].as_str().unwrap().to_owned();
    let last = ask("POST", &format!("{app}/keys/{first}/revoke"), json!({ "when": "now" })).await;
    assert_eq!((last.status, last.code()), (StatusCode::CONFLICT, "last_key"));

    let event = json!({ "name": "sale", "channels": ["orders"], "data": { "total": 5 } });
    let sent = ask("POST", &format!("{app}/events"), event).await;
    assert_eq!((sent.status, sent.json()), (StatusCode::OK, json!({ "recipients": 0 })));
    let rows = ask("GET", &format!("{app}/events"), Value::Null).await.json();
    let row =
        rows["rows"].as_array().unwrap().iter().find(|row| row["kind"] == "api_message").unwrap().clone();
    assert_eq!((&row["event"], &row["sdk"]), (&json!("sale"), &json!("management API")));
    let large = json!({ "name": "sale", "channels": ["orders"], "data": "x".repeat(11_000) });
    assert_eq!(ask("POST", &format!("{app}/events"), large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(ask("DELETE", &app, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask("GET", &app, Value::Null).await.status, StatusCode::NOT_FOUND);

    let rows =
        audit::list(&site.db, &shop.account.id, Filter { limit: 100, ..Filter::default() }).await.unwrap();
    let done: Vec<&str> =
        rows.iter().rev().filter(|row| row.via == "api").map(|row| row.action.as_str()).collect();
    let expected = [
        "app.create",
        "app.settings",
        "app.settings",
        "app.settings",
        "app.settings",
        "app.settings",
        "key.create",
        "key.rename",
        "key.delete",
        "key.delete",
        "event.send",
        "app.delete",
    ];
    assert_eq!(done, expected);
    assert!(rows.iter().filter(|row| row.via == "api").all(|row| row.actor == "ana@shop.example (tests)"));
    assert!(!format!("{rows:?}").contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_of_an_invitation_leads_where_the_request_came_unless_there_is_a_public_address() {
    for (public, over_tls, expected) in [
        (None, false, "http://node.shop.example:6001/invite/"),
        (None, true, "https://node.shop.example:6001/invite/"),
        (Some("https://ws.shop.example"), false, "https://ws.shop.example/invite/"),
    ] {
        let site = Site::at(public).await;
        let token = site.person("ana@shop.example").await.token(&site, Scope::ALL).await;
        let mut request = Request::post("/v1/invitations")
            .header("host", "node.shop.example:6001")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(r#"{"email":"ben@shop.example","role":"viewer"}"#))
            .unwrap();
        if over_tls {
            request.extensions_mut().insert(realtime::ws::OverTls);
        }
        let made = site.send(request).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        let link = made.json()["link"].as_str().unwrap().to_owned();
        assert!(link.starts_with(expected), "{link}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_told_as_this_server_has_them_and_not_as_the_catalogue_does() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let target = shop.target(&site).await;
    let token = shop.token(&site, Scope::ALL).await;
    let numbers = Numbers { connections_max: Some(7), messages_per_day_max: None, ..Numbers::default() };
    quota::put(&site.db, "sandbox", numbers, false).await.unwrap();
    for path in ["/v1/limits", "/v1/usage", &format!("/v1/apps/{}/usage", target.app)] {
        let told = site.ask("GET", path, Some(&token), None).await.json();
        assert_eq!(
            (&told["connections_max"], &told["messages_per_day_max"]),
            (&json!(7), &Value::Null),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_get_the_one_form_of_errors() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let token = shop.token(&site, Scope::ALL).await;
    for (method, path, kind, body, status, code) in [
        ("GET", "/v1/nothing", "", "", 404, "not_found"),
        ("GET", "/v1", "", "", 404, "not_found"),
        ("GET", "/v1/apps/%FF", "", "", 404, "not_found"),
        ("GET", "/v1/apps/01001", "", "", 404, "not_found"),
        ("PUT", "/v1/apps", "application/json", "{}", 405, "method_not_allowed"),
        ("POST", "/v1/apps", "text/plain", "{}", 415, "unsupported_media_type"),
        ("POST", "/v1/apps", "application/json", "{", 400, "bad_json"),
        ("POST", "/v1/apps", "application/json", "[]", 422, "invalid"),
        ("POST", "/v1/apps", "application/json", r#"{"name":" "}"#, 422, "invalid"),
        ("GET", "/v1/audit?limit=0", "", "", 422, "invalid"),
        ("GET", "/v1/audit?limit=x", "", "", 422, "invalid"),
        ("GET", "/cli/nothing", "", "", 404, "not_found"),
    ] {
        let answer = site.raw(method, path, Some(&token), kind, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (status, code),
            "{method} {path} {body}: {}",
            answer.body
        );
        let error = &answer.json()["error"];
        assert!(
            error["message"].is_string() && error["request_id"] == answer.header("x-request-id"),
            "{error}"
        );
    }
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(200_000));
    let answer = site.raw("POST", "/v1/apps", Some(&token), "application/json", &large).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (413, "too_large"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_asks_too_often_waits_and_others_do_not() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let (busy, calm) = (shop.token(&site, &[]).await, shop.token(&site, &[]).await);
    let mut answers = Vec::new();
    while answers.len() < 2_000 {
        let answer = site.ask("GET", "/v1/me", Some(&busy), None).await;
        let over = answer.status == StatusCode::TOO_MANY_REQUESTS;
        answers.push(answer);
        if over {
            break;
        }
    }
    let last = answers.last().unwrap();
    assert_eq!((last.status, last.code()), (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"));
    assert!(answers.len() > 200 && last.header("retry-after") == "1", "after {}", answers.len());
    assert_eq!(site.ask("GET", "/v1/me", Some(&calm), None).await.status, StatusCode::OK);
}

/// As `api/shared.go` of pusher/cli sends it.
#[tokio::test(flavor = "multi_thread")]
async fn pushers_own_program_lists_apps_and_their_credentials() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let target = shop.target(&site).await;
    let token = shop.token(&site, &[Scope::AppsRead, Scope::KeysReveal]).await;
    let apps = site.as_pusher_cli("/cli/apps.json", &token).await;
    assert_eq!(apps.status, StatusCode::OK, "{}", apps.body);
    assert_eq!(apps.json(), json!([{ "name": "shop", "id": target.app, "cluster": "local" }]));
    let tokens = site.as_pusher_cli(&format!("/cli/apps/{}/tokens.json", target.app), &token).await.json();
    let pair = &tenancy::app::keys(&site.db, &shop.account.id, target.app).await.unwrap()[0];
    assert_eq!(tokens[0], json!({ "key": pair.key, "secret": pair.secret.expose() }));
    let weak = shop.token(&site, &[Scope::AppsRead]).await;
    let refused = site.as_pusher_cli(&format!("/cli/apps/{}/tokens.json", target.app), &weak).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(site.as_pusher_cli("/cli/apps.json", "typo").await.status, StatusCode::UNAUTHORIZED);
}
