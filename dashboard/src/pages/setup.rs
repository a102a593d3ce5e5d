//! `/setup?token=…`: makes the first owner of a server. Gone, for good, as soon as anybody exists.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;
use tenancy::audit::Action;
use tenancy::instance::setup_done;
use tenancy::user::SignUpError;

use super::signup::{email_sentence, password_sentence};
use crate::Dashboard;
use crate::acts;
use crate::client::{ClientAddr, RequestOrigin};
use crate::csrf::FormToken;
use crate::error::PageError;
use crate::page::html_with;
use crate::session;

/// Wrong setup tokens are slowed down under this name, as an e-mail's passwords are.
const THROTTLE_NAME: &str = "setup";

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/setup", get(show).post(submit))
}

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    csrf: String,
    token: String,
    token_given: bool,
    token_error: Option<String>,
    email: String,
    email_error: Option<&'static str>,
    password_error: Option<&'static str>,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    token: String,
}

/// The token that opens the page, while there is one.
async fn open(dashboard: &Dashboard) -> Result<&str, PageError> {
    let token = dashboard.config().setup_token.as_deref().ok_or(PageError::NotFound)?;
    if setup_done(dashboard.db()).await? { Err(PageError::NotFound) } else { Ok(token) }
}

async fn show(
    State(dashboard): State<Dashboard>,
    Query(link): Query<Link>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    open(&dashboard).await?;
    let form = FormToken::of(&headers);
    let page = SetupPage {
        csrf: form.token.clone(),
        token_given: !link.token.is_empty(),
        token: link.token,
        token_error: None,
        email: String::new(),
        email_error: None,
        password_error: None,
    };
    let mut response = html_with(StatusCode::OK, &page)?;
    form.put(response.headers_mut(), &origin);
    Ok(response)
}

#[derive(Deserialize)]
struct SetupForm {
    token: String,
    email: String,
    password: String,
}

async fn submit(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    origin: RequestOrigin,
    headers: HeaderMap,
    form: Result<Form<SetupForm>, FormRejection>,
) -> Result<Response, PageError> {
    // One at a time: between "nobody exists" and the first owner's row, another request must not slip in.
    let _alone = dashboard.setup_lock().lock().await;
    let expected = open(&dashboard).await?;
    let Form(form) = form?;
    let mut page = SetupPage {
        csrf: FormToken::of(&headers).token,
        token: form.token.trim().to_owned(),
        token_given: false,
        token_error: None,
        email: form.email.trim().to_owned(),
        email_error: None,
        password_error: None,
    };
    if dashboard.throttle().check(THROTTLE_NAME, ip).is_err() {
        page.token_error = Some("Too many tries. Wait a minute, then try again.".to_owned());
        return html_with(StatusCode::TOO_MANY_REQUESTS, &page);
    }
    if !bool::from(page.token.as_bytes().ct_eq(expected.as_bytes())) {
        dashboard.throttle().failed(THROTTLE_NAME, ip);
        page.token_error = Some("This is not the setup token. It stands in the server's log.".to_owned());
        return html_with(StatusCode::FORBIDDEN, &page);
    }
    dashboard.throttle().succeeded(THROTTLE_NAME, ip);
    page.token_given = true;
    match tenancy::owner::make(dashboard.db(), &page.email, &form.password).await {
        Ok((user, _)) => {
            let mut response = Redirect::to("/dash/apps/new").into_response();
            let by = acts::by(&user, session::client_of(ip, &headers));
            acts::of_person(&dashboard, &by, Action::SignUp, Value::Null).await;
            session::sign_in(&dashboard, &user, ip, &headers, &origin, response.headers_mut()).await?;
            Ok(response)
        }
        Err(SignUpError::Db(error)) => Err(error.into()),
        Err(error) => {
            page.email_error = email_sentence(&error);
            page.password_error = password_sentence(&error);
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}
