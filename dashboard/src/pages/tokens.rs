//! `/dash/tokens`: tokens of the management API. A person makes them for themselves, with scopes that their role has; who manages
//! people sees and revokes those of all.
//!
//! A token is shown once, in the answer that made it: only its hash is stored. Making one needs the same proof as a look at
//! a secret.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use tenancy::app::App;
use tenancy::membership;
use tenancy::token::{self, LIFETIMES_DAYS, NewToken, Scope, Token, TokenError};

use crate::Dashboard;
use crate::client::{ClientAddr, Endpoint};
use crate::error::PageError;
use crate::page::{self, Frame, OrgSection, Permission, html, html_with};
use crate::proof::{self, Ask, Refused};
use crate::scope::{Allowed, UseSecrets};
use crate::session::CurrentUser;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/tokens", get(show))
        .route("/dash/tokens/new", post(create))
        .route("/dash/tokens/{token}/revoke", post(revoke))
}

/// A token in the list.
struct Row {
    token: Token,
    over: bool,
    /// `Full`, or the names of its scopes.
    scopes: String,
    /// The name of its one app; empty: all.
    app: String,
    ends: String,
    used: String,
}

impl Row {
    fn new(token: Token, apps: &[App], now_ms: i64) -> Row {
        let names: Vec<&str> = token.scopes.iter().map(|scope| scope.name()).collect();
        let app = |id: u64| {
            let known = apps.iter().find(|app| app.id == id);
            known.map_or_else(|| format!("app {id}"), |app| format!("{} {id}", app.name))
        };
        Row {
            over: token.is_over(now_ms),
            scopes: names.join(" "),
            app: token.app_id.map(app).unwrap_or_default(),
            ends: match (token.revoked_ms, token.expires_ms) {
                (Some(at), _) => format!("revoked {}", page::at(at, "%-d %b %Y")),
                (None, Some(at)) if at <= now_ms => format!("ran out {}", page::at(at, "%-d %b %Y")),
                (None, Some(at)) => format!("until {}", page::at(at, "%-d %b %Y")),
                (None, None) => "without an end".to_owned(),
            },
            used: match token.last_used_ms {
                0 => "never used".to_owned(),
                at => format!("last used {} from {}", page::at(at, "%-d %b, %H:%M"), token.last_used_from),
            },
            token,
        }
    }
}

/// What stands in the form.
#[derive(Default)]
struct Fields {
    name: String,
    scopes: Vec<Scope>,
    app_id: Option<u64>,
    days: Option<i64>,
    password: String,
    code: String,
}

impl Fields {
    /// A repeated field doesn't fit into a struct.
    fn read(pairs: &[(String, String)]) -> Result<Fields, PageError> {
        let value = |name: &str| pairs.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
        let scope = |(_, text): &(String, String)| Scope::parse(text).ok_or(PageError::BadForm);
        Ok(Fields {
            name: value("name").ok_or(PageError::BadForm)?.trim().to_owned(),
            scopes: pairs.iter().filter(|(name, _)| name == "scope").map(scope).collect::<Result<_, _>>()?,
            app_id: match value("app").unwrap_or_default() {
                "" => None,
                id => Some(id.parse().map_err(|_| PageError::BadForm)?),
            },
            days: match value("days").unwrap_or_default() {
                "" => None,
                days => Some(days.parse().map_err(|_| PageError::BadForm)?),
            },
            password: value("password").unwrap_or_default().to_owned(),
            code: value("code").unwrap_or_default().to_owned(),
        })
    }
}

/// A token that was just made.
struct Made {
    name: String,
    text: String,
    example: String,
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    frame: Frame,
    section: OrgSection,
    ask: Ask,
    rows: Vec<Row>,
    /// Those of everybody are listed.
    all: bool,
    apps: Vec<App>,
    /// What the role of who looks has.
    scopes: Vec<Scope>,
    fields: Fields,
    made: Option<Made>,
    done: Option<&'static str>,
    error: Option<String>,
    password_error: Option<String>,
}

impl TokensPage {
    async fn load(
        current: &CurrentUser,
        allowed: &Allowed<UseSecrets>,
        dashboard: &Dashboard,
    ) -> Result<TokensPage, PageError> {
        let (db, role) = (dashboard.db(), allowed.membership.role);
        let apps = membership::apps(db, &allowed.membership).await?;
        let (all, now) = (role.allows(Permission::ManagePeople), tenancy::now_ms());
        let mut tokens = token::list(db, &allowed.account().id).await?;
        tokens.retain(|one| all || one.user_id == current.user().id);
        Ok(TokensPage {
            frame: Frame::new(current),
            section: OrgSection::Tokens,
            ask: proof::asked(dashboard, current).await?,
            rows: tokens.into_iter().map(|one| Row::new(one, &apps, now)).collect(),
            all,
            apps,
            scopes: Scope::ALL.iter().copied().filter(|scope| role.allows(scope.permission())).collect(),
            fields: Fields { days: Some(90), ..Fields::default() },
            made: None,
            done: None,
            error: None,
            password_error: None,
        })
    }

    fn restricted(&self, app: &App) -> bool {
        self.fields.app_id == Some(app.id)
    }

    fn lives(&self, days: i64) -> bool {
        self.fields.days == Some(days)
    }

    fn chosen(&self, scope: &Scope) -> bool {
        self.fields.scopes.contains(scope)
    }
}

#[derive(Deserialize)]
struct Done {
    done: Option<String>,
}

async fn show(
    current: CurrentUser,
    allowed: Allowed<UseSecrets>,
    State(dashboard): State<Dashboard>,
    Query(query): Query<Done>,
) -> Result<Response, PageError> {
    let mut page = TokensPage::load(&current, &allowed, &dashboard).await?;
    page.done = (query.done.as_deref() == Some("revoked")).then_some("Revoked. It opens nothing any more.");
    html(&page)
}

/// Did they prove who they are? Otherwise what stands below the fields for it.
async fn proved(
    current: &CurrentUser,
    dashboard: &Dashboard,
    ClientAddr(ip): ClientAddr,
    fields: &Fields,
) -> Result<Result<(), String>, PageError> {
    if proof::asked(dashboard, current).await? == Ask::Nothing {
        return Ok(Ok(()));
    }
    let proof = proof::prove(dashboard, current, ip, &fields.password, &fields.code).await?;
    Ok(proof.map_err(Refused::sentence))
}

async fn create(
    current: CurrentUser,
    allowed: Allowed<UseSecrets>,
    State(dashboard): State<Dashboard>,
    client: ClientAddr,
    endpoint: Endpoint,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(pairs) = form?;
    let fields = Fields::read(&pairs)?;
    let proof = proved(&current, &dashboard, client, &fields).await?;
    if let Err(sentence) = proof {
        let page = TokensPage::load(&current, &allowed, &dashboard).await?;
        let page = TokensPage { fields, password_error: Some(sentence), ..page };
        return html_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    let Fields { name, scopes, app_id, days, .. } = &fields;
    let new = NewToken { name, scopes, app_id: *app_id, days: *days };
    let made = token::create(dashboard.db(), &current.by(), &allowed.membership, new).await;
    let page = TokensPage::load(&current, &allowed, &dashboard).await?;
    match made {
        Ok((made, text)) => {
            let example = format!("curl -H \"Authorization: Bearer {text}\" {}/v1/me", endpoint.origin());
            html(&TokensPage { made: Some(Made { name: made.name, text, example }), ..page })
        }
        Err(error) => {
            let error = Some(sentence(error)?);
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &TokensPage { fields, error, ..page })
        }
    }
}

fn sentence(error: TokenError) -> Result<String, PageError> {
    Ok(match error {
        TokenError::NameInvalid => "A name has 1 to 60 characters.".to_owned(),
        TokenError::NoScope => "Choose at least one scope.".to_owned(),
        TokenError::BeyondRole(scope) => format!("Your role doesn't have {}.", scope.name()),
        TokenError::NoApp => "Choose an app from the list.".to_owned(),
        TokenError::TooMany => {
            "An organisation has at most 100 tokens. Revoke one that nothing uses any more.".to_owned()
        }
        TokenError::Lifetime => return Err(PageError::BadForm),
        TokenError::Db(error) => return Err(error.into()),
    })
}

const _: () = assert!(token::PER_ACCOUNT_MAX == 100, "the page says so");

/// Another person's token is the same as none, for who doesn't manage people.
async fn revoke(
    current: CurrentUser,
    allowed: Allowed<UseSecrets>,
    State(dashboard): State<Dashboard>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let (db, account_id) = (dashboard.db(), &allowed.account().id);
    let all = allowed.membership.role.allows(Permission::ManagePeople);
    let found = token::find(db, account_id, &id).await?;
    found.filter(|one| all || one.user_id == current.user().id).ok_or(PageError::TokenNotFound)?;
    token::revoke(db, &current.by(), account_id, &id).await?;
    Ok(Redirect::to("/dash/tokens?done=revoked").into_response())
}
