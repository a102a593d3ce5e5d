//! `/login/link?token=…`: the one-time sign-in address that the terminal prints.
//!
//! It is the operator's door, so no code of a second factor is asked for: whoever reads the server's terminal could take that
//! away as well. GET only shows a button, so that a preview of the link doesn't use it up. In development, a visitor from this very
//! machine is signed in at once.

use std::net::IpAddr;

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use tenancy::login_token::redeem;

use crate::Dashboard;
use crate::client::{ClientAddr, RequestOrigin};
use crate::csrf::FormToken;
use crate::error::PageError;
use crate::page::{html_with, local_path};
use crate::session;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/login/link", get(show).post(submit))
}

#[derive(Template)]
#[template(path = "login_link.html")]
struct LinkPage<'a> {
    csrf: &'a str,
    token: &'a str,
    next: Option<&'a str>,
    spent: bool,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    token: String,
    next: Option<String>,
}

async fn show(
    method: Method,
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    Query(link): Query<Link>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let form = FormToken::of(&headers);
    let prefetch = ["sec-purpose", "purpose"].iter().any(|name| headers.contains_key(*name));
    if dashboard.config().dev && ip.is_loopback() && method == Method::GET && !prefetch {
        return enter(&dashboard, &link, &form, ip, &origin, &headers).await;
    }
    let page = LinkPage { csrf: &form.token, token: &link.token, next: link.next.as_deref(), spent: false };
    let mut response = html_with(StatusCode::OK, &page)?;
    form.put(response.headers_mut(), &origin);
    Ok(response)
}

async fn submit(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    origin: RequestOrigin,
    headers: HeaderMap,
    form: Result<Form<Link>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(link) = form?;
    enter(&dashboard, &link, &FormToken::of(&headers), ip, &origin, &headers).await
}

async fn enter(
    dashboard: &Dashboard,
    link: &Link,
    form: &FormToken,
    ip: IpAddr,
    origin: &RequestOrigin,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    match redeem(dashboard.db(), &link.token).await? {
        Some(user) => {
            let next = link.next.as_deref().and_then(local_path).unwrap_or("/dash");
            let mut response = Redirect::to(next).into_response();
            session::sign_in(dashboard, &user, ip, headers, origin, response.headers_mut()).await?;
            Ok(response)
        }
        None => {
            let page = LinkPage { csrf: &form.token, token: "", next: None, spent: true };
            html_with(StatusCode::GONE, &page)
        }
    }
}
