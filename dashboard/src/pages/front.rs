//! `/`: sends everybody to the right first page.

use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::get;

use crate::Dashboard;
use crate::error::PageError;
use crate::session::MaybeUser;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/", get(front))
}

async fn front(
    MaybeUser(user): MaybeUser,
    State(dashboard): State<Dashboard>,
) -> Result<Redirect, PageError> {
    if user.is_some() {
        return Ok(Redirect::to("/dash"));
    }
    let fresh =
        dashboard.config().setup_token.is_some() && !tenancy::instance::setup_done(dashboard.db()).await?;
    Ok(Redirect::to(if fresh { "/setup" } else { "/login" }))
}
