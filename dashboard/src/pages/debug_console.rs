//! `/dash/apps/{id}/console`: the frame of the debug console.
//!
//! Rows never pass through here: the page's script fetches and receives them itself (assets/console.js), so that the
//! console of a busy app costs this plane nothing.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use crate::Dashboard;
use crate::error::PageError;
use crate::page::{AppBar, Frame, Section, html};
use crate::pages::keys;
use crate::scope::{CurrentApp, SeeApps};
use crate::session::CurrentUser;

/// The page.
pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/{id}/console", get(show))
}

#[derive(Template)]
#[template(path = "console.html")]
struct ConsolePage {
    frame: Frame,
    bar: AppBar,
    app_key: String,
    system_key: String,
    sockets: Option<String>,
}

async fn show(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SeeApps>,
    State(dashboard): State<Dashboard>,
) -> Result<Response, PageError> {
    let key = keys::oldest(&dashboard, &app).await?;
    html(&ConsolePage {
        frame: Frame::new(&current),
        bar: AppBar::new(&dashboard, &app, Section::Console),
        app_key: key.key,
        system_key: dashboard.system().key.clone(),
        sockets: dashboard.config().sockets_of(&app).map(|own| own.origin()),
    })
}
