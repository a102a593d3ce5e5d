//! `POST /logout`: ends the session, here and in the database.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use http::HeaderMap;
use serde_json::Value;
use tenancy::audit::Action;

use crate::Dashboard;
use crate::acts;
use crate::client::RequestOrigin;
use crate::error::PageError;
use crate::session::{MaybeUser, SESSION_COOKIE, session_token, set_cookie};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/logout", post(logout))
}

async fn logout(
    MaybeUser(current): MaybeUser,
    State(dashboard): State<Dashboard>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    if let Some(token) = session_token(&headers) {
        tenancy::session::end(dashboard.db(), token).await?;
        if let Some(current) = current {
            acts::of_person(&dashboard, &current.by(), Action::SignOut, Value::Null).await;
        }
    }
    let mut response = Redirect::to("/login").into_response();
    set_cookie(response.headers_mut(), SESSION_COOKIE, "", 0, origin.https);
    Ok(response)
}
