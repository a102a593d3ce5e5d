//! A server in memory, and browsers that keep cookies and fill in forms.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use dashboard::{AppUsage, ClientAddr, Dashboard, DashboardConfig, Live, MailOut, OwnCap, SignUpMode};
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use protocol::webhook_url::Allow;
use tenancy::app::App;
use tenancy::audit::{By, Via};
use tenancy::db::Db;
use tenancy::invitation;
use tenancy::plan::Plan;
use tenancy::role::Role;
use tenancy::session::Client;
use tower::ServiceExt;

pub(crate) const PASSWORD: &str = "correct horse 7";

struct Numbers;

impl Live for Numbers {
    fn usage(&self, app: &App) -> AppUsage {
        AppUsage {
            connections: 42,
            connections_max: Some(100),
            messages_today: 18_204,
            messages_max: Some(200_000),
            own_cap: app.messages_day_max.map(|max| OwnCap { messages_today: 420, messages_max: max }),
            resets_ms: tenancy::now_ms() + 3_600_000,
        }
    }
}

pub(crate) struct Site {
    pub(crate) router: Router,
    pub(crate) db: Db,
    _dir: tempfile::TempDir,
}

pub(crate) fn config() -> DashboardConfig {
    DashboardConfig {
        public_url: None,
        signup: SignUpMode::Open,
        signup_plan: Plan::Sandbox,
        dev: false,
        cluster: "local".to_owned(),
        cluster_urls: Default::default(),
        setup_token: None,
        webhook_allow: Allow::default(),
        billing: None,
        mail: MailOut::default(),
        server: Default::default(),
        with: Vec::new(),
    }
}

impl Site {
    pub(crate) async fn open() -> Site {
        Site::with(config()).await
    }

    pub(crate) async fn with(config: DashboardConfig) -> Site {
        Site::over(|_| config).await
    }

    /// With settings that need the database.
    pub(crate) async fn over(config: impl FnOnce(&Db) -> DashboardConfig) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::connect(&format!("sqlite:{}", dir.path().join("test.db").display())).await.unwrap();
        let db = db.with_vault(tenancy::Vault::fresh());
        db.migrate().await.unwrap();
        let system = tenancy::instance::system_app(&db).await.unwrap();
        let router = dashboard::router(Dashboard::new(db.clone(), config(&db), Arc::new(Numbers), system));
        Site { router, db, _dir: dir }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser {
            router: self.router.clone(),
            cookies: BTreeMap::new(),
            ip: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
            host: "127.0.0.1:6001".to_owned(),
        }
    }

    /// A browser that has signed up.
    pub(crate) async fn person(&self, email: &str) -> Browser {
        let mut browser = self.browser();
        let answer = browser.submit("/signup", "/signup", &[("email", email), ("password", PASSWORD)]).await;
        assert_eq!(
            (answer.status, answer.location()),
            (StatusCode::SEE_OTHER, "/dash/apps/new"),
            "{}",
            answer.body
        );
        browser
    }
}

impl Site {
    /// The id of the organisation that somebody owns.
    pub(crate) async fn account(&self, email: &str) -> String {
        tenancy::user::find_by_email(&self.db, email).await.unwrap().unwrap().1.id
    }

    /// A browser of somebody who signed up and then joined the organisation of `owner`, in which they work now.
    pub(crate) async fn member(&self, email: &str, role: Role, owner: &str) -> Browser {
        let mut browser = self.person(email).await;
        self.join(email, role, owner).await;
        self.work_in(&mut browser, owner).await;
        browser
    }

    /// Makes somebody who signed up a member of the organisation of `owner`.
    pub(crate) async fn join(&self, email: &str, role: Role, owner: &str) {
        let account = self.account(owner).await;
        let (user, _) = tenancy::user::find_by_email(&self.db, email).await.unwrap().unwrap();
        let by = By {
            user_id: Some(user.id.clone()),
            label: user.email.clone(),
            client: Client::default(),
            via: Via::Dash,
        };
        let asked = invitation::issue(&self.db, &by, Role::Owner, &account, email, role).await.unwrap();
        invitation::accept(&self.db, &by, &user, &asked.1).await.unwrap();
    }

    /// Somebody who signed up looks after the server from now on.
    pub(crate) async fn promote(&self, email: &str) {
        assert!(tenancy::server_admin::grant(&self.db, email).await.unwrap());
    }

    /// Switches a browser to the organisation of `owner`.
    pub(crate) async fn work_in(&self, browser: &mut Browser, owner: &str) {
        let account = self.account(owner).await;
        let token = browser.token("/dash/account").await;
        let answer = browser.post(&format!("/dash/organisations/{account}/open"), &[("csrf", &token)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    }
}

pub(crate) struct Browser {
    router: Router,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) ip: IpAddr,
    pub(crate) host: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |v| v.to_str().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The text of the element with this `data-test`, tags taken out.
    pub(crate) fn test_text(&self, name: &str) -> String {
        let start = self.body.find(&format!("data-test=\"{name}\"")).unwrap_or_else(|| panic!("no {name}"));
        let tag_start = self.body[..start].rfind('<').unwrap() + 1;
        let tag: String = self.body[tag_start..].chars().take_while(char::is_ascii_alphanumeric).collect();
        let open = start + self.body[start..].find('>').unwrap() + 1;
        let close = open + self.body[open..].find(&format!("</{tag}>")).unwrap();
        strip(&self.body[open..close])
    }
}

/// Text of a piece of HTML.
pub(crate) fn strip(html: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out.replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#38;", "&")
}

impl Browser {
    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        if !cookies.is_empty() {
            request.headers_mut().insert(COOKIE, cookies.join("; ").parse().unwrap());
        }
        if !request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, self.host.parse().unwrap());
        }
        request.extensions_mut().insert(ClientAddr(self.ip));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        for cookie in parts.headers.get_all(SET_COOKIE) {
            let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// A form's request as it stands, without looking for a token.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(form(path, fields)).await
    }

    /// Opens `page`, takes its token, and sends the form to `action`.
    pub(crate) async fn submit(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token(page).await;
        let mut all = vec![("csrf", token.as_str())];
        all.extend_from_slice(fields);
        self.post(action, &all).await
    }

    pub(crate) async fn token(&mut self, page: &str) -> String {
        let answer = self.get(page).await;
        let (_, rest) = answer
            .body
            .split_once("name=\"csrf\" value=\"")
            .unwrap_or_else(|| panic!("{page}: {}", answer.body));
        rest.split('"').next().unwrap().to_owned()
    }

    /// Makes an app through the form; its id.
    pub(crate) async fn new_app(&mut self, name: &str) -> u64 {
        let answer =
            self.submit("/dash/apps/new", "/dash/apps/new", &[("name", name), ("cluster", "local")]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        let id = answer.location().strip_prefix("/dash/apps/").and_then(|rest| rest.strip_suffix("/start"));
        id.unwrap_or_else(|| panic!("{}", answer.location())).parse().unwrap()
    }
}

pub(crate) fn form(path: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let body: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={}", encode(v))).collect();
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body.join("&")))
        .unwrap()
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}
