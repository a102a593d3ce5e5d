//! A server's management API in memory, people with tokens, and the table of all operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use realtime::{Node, NodeConfig};
use serde_json::{Value, json};
use server::wiring;
use tenancy::account::Account;
use tenancy::app::{self, NewApp};
use tenancy::audit::{By, Via};
use tenancy::db::Db;
use tenancy::member::{self, Place};
use tenancy::plan::Plan;
use tenancy::role::Role;
use tenancy::session::Client;
use tenancy::token::{self, NewToken, Scope};
use tenancy::user::{self, User};
use tenancy::webhook_endpoint::NewEndpoint;
use tenancy::{invitation, membership, webhook_delivery, webhook_endpoint};
use tower::ServiceExt;

/// An operation: what is sent, what a token with just its scope gets, and whether a Viewer's token may do it.
pub(crate) struct Line {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    body: &'static str,
    pub(crate) status: u16,
    pub(crate) viewer: bool,
}

impl Line {
    pub(crate) fn body(&self) -> Option<Value> {
        (!self.body.is_empty()).then(|| {
            // An address is asked in once only.
            static ASKED: AtomicU64 = AtomicU64::new(0);
            let n = ASKED.fetch_add(1, Ordering::Relaxed).to_string();
            serde_json::from_str(&self.body.replace("{n}", &n)).unwrap()
        })
    }
}

const fn line(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    status: u16,
    viewer: bool,
) -> Line {
    Line { method, path, body, status, viewer }
}

/// All operations.
pub(crate) const TABLE: &[Line] = &[
    line("GET", "/v1/me", "", 200, true),
    line("GET", "/v1/organisation", "", 200, true),
    line("GET", "/v1/apps", "", 200, true),
    line("POST", "/v1/apps", r#"{"name":"new"}"#, 201, false),
    line("GET", "/v1/apps/{id}", "", 200, true),
    line("PATCH", "/v1/apps/{id}", r#"{"watchlist":true}"#, 200, false),
    line("DELETE", "/v1/apps/{id}", "", 204, false),
    line("GET", "/v1/apps/{id}/keys", "", 200, true),
    line("POST", "/v1/apps/{id}/keys", r#"{"name":"x"}"#, 201, false),
    line("PATCH", "/v1/apps/{id}/keys/{key}", r#"{"name":"x"}"#, 200, false),
    line("POST", "/v1/apps/{id}/keys/{key}/revoke", r#"{"when":"1h"}"#, 200, false),
    line("GET", "/v1/apps/{id}/events", "", 200, false),
    line("POST", "/v1/apps/{id}/events", r#"{"name":"e","channels":["c"],"data":1}"#, 200, false),
    line("GET", "/v1/apps/{id}/usage", "", 200, true),
    line("GET", "/v1/usage", "", 200, true),
    line("GET", "/v1/limits", "", 200, true),
    line("GET", "/v1/billing", "", 200, false),
    line("GET", "/v1/apps/{id}/webhooks", "", 200, false),
    line(
        "POST",
        "/v1/apps/{id}/webhooks",
        r#"{"url":"https://a.example/","kinds":["cache_miss"]}"#,
        201,
        false,
    ),
    line("GET", "/v1/apps/{id}/webhooks/{endpoint}", "", 200, false),
    line("PATCH", "/v1/apps/{id}/webhooks/{endpoint}", r#"{"enabled":false}"#, 200, false),
    line("DELETE", "/v1/apps/{id}/webhooks/{endpoint}", "", 204, false),
    line("GET", "/v1/apps/{id}/webhooks/{endpoint}/deliveries", "", 200, false),
    line("GET", "/v1/apps/{id}/webhooks/{endpoint}/deliveries/{delivery}", "", 200, false),
    // The one that the target has is still on its way.
    line("POST", "/v1/apps/{id}/webhooks/{endpoint}/deliveries/{delivery}/resend", "", 409, false),
    line("POST", "/v1/apps/{id}/webhooks/{endpoint}/recover", r#"{"hours":24}"#, 202, false),
    line("POST", "/v1/apps/{id}/webhooks/{endpoint}/test", r#"{"kind":"cache_miss"}"#, 202, false),
    line("GET", "/v1/members", "", 200, false),
    line("PATCH", "/v1/members/{member}", r#"{"role":"viewer"}"#, 200, false),
    line("DELETE", "/v1/members/{member}", "", 204, false),
    line("GET", "/v1/invitations", "", 200, false),
    line("POST", "/v1/invitations", r#"{"email":"asked-{n}@shop.example","role":"viewer"}"#, 201, false),
    line("DELETE", "/v1/invitations/{invitation}", "", 204, false),
    line("GET", "/v1/audit", "", 200, false),
];

/// Things that exist, for the names in braces.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) app: u64,
    pub(crate) key: String,
    pub(crate) endpoint: String,
    pub(crate) delivery: String,
    pub(crate) member: String,
    pub(crate) invitation: String,
}

impl Target {
    /// Well-formed ids of nothing.
    pub(crate) fn nobodys() -> Target {
        let hex = "0123456789abcdef0123456789abcdef";
        Target {
            app: 987_654_321,
            key: hex[..20].to_owned(),
            endpoint: format!("whe_{hex}"),
            delivery: format!("whd_{hex}"),
            member: "01890000-0000-7000-8000-000000000000".to_owned(),
            invitation: format!("inv_{hex}"),
        }
    }
}

pub(crate) fn fill(path: &str, target: &Target) -> String {
    path.replace("{id}", &target.app.to_string())
        .replace("{key}", &target.key)
        .replace("{endpoint}", &target.endpoint)
        .replace("{delivery}", &target.delivery)
        .replace("{member}", &target.member)
        .replace("{invitation}", &target.invitation)
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub(crate) fn code(&self) -> &'static str {
        let code = self.json()["error"]["code"].as_str().unwrap_or("none").to_owned();
        Box::leak(code.into_boxed_str())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body without what differs from request to request.
    pub(crate) fn without_id(&self) -> Value {
        let mut body = self.json();
        body["error"]["request_id"] = json!(null);
        body
    }
}

pub(crate) struct Site {
    router: Router,
    pub(crate) db: Db,
    _node: Node,
}

impl Site {
    pub(crate) async fn open() -> Site {
        Site::at(Some("https://ws.shop.example")).await
    }

    /// With this public address, or none.
    pub(crate) async fn at(public_url: Option<&str>) -> Site {
        let db = Site::database().await;
        Site::over(db, public_url, true).await
    }

    pub(crate) async fn that_bills_nobody() -> Site {
        Site::over(Site::database().await, None, false).await
    }

    async fn database() -> Db {
        let db = Db::connect("sqlite::memory:").await.unwrap();
        db.migrate().await.unwrap();
        db
    }

    /// Another node over the same database.
    pub(crate) async fn beside(&self) -> Site {
        Site::over(self.db.clone(), None, true).await
    }

    async fn over(db: Db, public_url: Option<&str>, bills: bool) -> Site {
        let system = tenancy::instance::system_app(&db).await.unwrap();
        let source = wiring::Source {
            db: db.clone(),
            system,
            static_app: None,
            cluster: "local".to_owned(),
            elsewhere: Default::default(),
        };
        let sink = Arc::new(wiring::Sink(db.clone()));
        let node =
            Node::start(NodeConfig { workers: 1, cluster: None }, Arc::new(source), sink).await.unwrap();
        let settings = api::manage::Settings {
            public_url: public_url.map(str::to_owned),
            cluster: "local".to_owned(),
            cluster_urls: Default::default(),
            webhook_allow: protocol::webhook_url::Allow::default(),
            bills,
        };
        let router = api::manage::router(node.clone(), db.clone(), settings);
        Site { router, db, _node: node }
    }

    pub(crate) async fn person(&self, email: &str) -> Person {
        let (user, account) = user::sign_up(&self.db, email, "correct horse 7", Plan::Sandbox).await.unwrap();
        let by = By {
            user_id: Some(user.id.clone()),
            label: email.to_owned(),
            client: Client::default(),
            via: Via::Dash,
        };
        Person { user, account, by }
    }

    /// Somebody who belongs to the organisation of another.
    pub(crate) async fn member(&self, email: &str, role: Role, owner: &Person) -> Person {
        let person = self.person(email).await;
        let asked = invitation::issue(&self.db, &owner.by, Role::Owner, &owner.account.id, email, role).await;
        invitation::accept(&self.db, &person.by, &person.user, &asked.unwrap().1).await.unwrap();
        Person { account: owner.account.clone(), ..person }
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        match body {
            Some(body) => self.raw(method, path, token, "application/json", &body.to_string()).await,
            None => self.raw(method, path, token, "", "").await,
        }
    }

    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        kind: &str,
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// A POST under an `Idempotency-Key`.
    pub(crate) async fn under(&self, key: &str, path: &str, token: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header("host", "127.0.0.1")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn as_pusher_cli(&self, path: &str, token: &str) -> Answer {
        let request = Request::get(path)
            .header("content-type", "application/json")
            .header("authorization", format!("Token token={token}"))
            .header("user-agent", "PusherCLI/v0.15")
            .header("accept", "application/json");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) user: User,
    pub(crate) account: Account,
    pub(crate) by: By,
}

impl Person {
    pub(crate) async fn token(&self, site: &Site, scopes: &[Scope]) -> String {
        self.token_for(site, scopes, None).await
    }

    /// Without scopes it gets one that is needed nowhere in particular.
    pub(crate) async fn token_for(&self, site: &Site, scopes: &[Scope], app_id: Option<u64>) -> String {
        let places = membership::of_user(&site.db, &self.user.id).await.unwrap();
        let place = places.into_iter().find(|place| place.account.id == self.account.id).unwrap();
        let scopes = if scopes.is_empty() { &[Scope::AppsRead] } else { scopes };
        let new = NewToken { name: "tests", scopes, app_id, days: None };
        let (made, text) = token::create(&site.db, &self.by, &place, new).await.unwrap();
        // An organisation has room for a hundred.
        let old = token::list(&site.db, &self.account.id).await.unwrap();
        let own = |one: &&token::Token| {
            one.id != made.id && one.user_id == self.user.id && one.revoked_ms.is_none()
        };
        for one in old.iter().filter(own).skip(50) {
            token::revoke(&site.db, &self.by, &self.account.id, &one.id).await.unwrap();
        }
        text
    }

    /// A token with all scopes, of somebody who was an Owner and is a Viewer now.
    pub(crate) async fn fallen(&self, site: &Site) -> String {
        let fallen = site.member("fallen@shop.example", Role::Owner, self).await;
        let token = fallen.token(site, Scope::ALL).await;
        let viewer = Place { role: Role::Viewer, apps: None };
        member::change(&site.db, &self.by, Role::Owner, &self.account.id, &fallen.user.id, &viewer)
            .await
            .unwrap();
        token
    }

    /// An app with everything that an address can name, a member, and an invitation.
    pub(crate) async fn full_target(&self, site: &Site) -> Target {
        let target = self.target(site).await;
        let email = format!("member-{}@shop.example", target.app);
        let member = site.member(&email, Role::Developer, self).await;
        let asked = format!("waits-{}@shop.example", target.app);
        let invited =
            invitation::issue(&site.db, &self.by, Role::Owner, &self.account.id, &asked, Role::Viewer).await;
        Target { member: member.user.id, invitation: invited.unwrap().0.id, ..target }
    }

    /// The same without people: an organisation asks only so many in an hour.
    pub(crate) async fn target(&self, site: &Site) -> Target {
        let (db, account_id) = (&site.db, &self.account.id);
        let new = NewApp { name: "shop", cluster: "local", ..NewApp::default() };
        let (app, pair) = app::create(db, account_id, new).await.unwrap();
        app::create_key(db, account_id, app.id).await.unwrap().unwrap();
        let new = NewEndpoint {
            url: "https://hooks.shop.example/".to_owned(),
            kinds: vec!["cache_miss".to_owned()],
            ..NewEndpoint::default()
        };
        let endpoint = webhook_endpoint::create(db, account_id, app.id, new).await.unwrap().unwrap();
        let delivery = webhook_delivery::send_test(db, account_id, app.id, &endpoint.id, "cache_miss").await;
        Target {
            app: app.id,
            key: pair.key,
            endpoint: endpoint.id,
            delivery: delivery.unwrap().unwrap(),
            ..Target::nobodys()
        }
    }
}
