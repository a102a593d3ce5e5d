//! `/dash/apps/new`: a name and a cluster make an app with its key and secret, ready to use.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tenancy::app::{CreateAppError, NewApp};
use tenancy::audit::Action;

use crate::Dashboard;
use crate::acts;
use crate::error::PageError;
use crate::page::{Frame, html, html_with};
use crate::scope::{Allowed, ManageApps};
use crate::session::CurrentUser;

/// The clusters that every Pusher client knows, with their places.
const PUSHER_CLUSTERS: [(&str, &str); 9] = [
    ("mt1", "N. Virginia"),
    ("us2", "Ohio"),
    ("us3", "Oregon"),
    ("eu", "Ireland"),
    ("ap1", "Singapore"),
    ("ap2", "Mumbai"),
    ("ap3", "Tokyo"),
    ("ap4", "Sydney"),
    ("sa1", "São Paulo"),
];

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/new", get(show).post(submit))
}

struct Choice {
    code: String,
    place: String,
    selected: bool,
}

#[derive(Template)]
#[template(path = "new_app.html")]
struct NewAppPage {
    frame: Frame,
    first: bool,
    name: String,
    name_error: Option<&'static str>,
    clusters: Vec<Choice>,
    cluster_error: Option<&'static str>,
    error: Option<&'static str>,
}

/// This node's own cluster first, then the others.
fn choices(own: &str, chosen: &str) -> Vec<Choice> {
    let known = PUSHER_CLUSTERS.iter().copied();
    let place = |code: &str| match known.clone().find(|(known, _)| *known == code) {
        Some((_, place)) => format!("{place} (this server)"),
        None => "this server".to_owned(),
    };
    let own_choice = (own.to_owned(), place(own));
    let others = known
        .clone()
        .filter(|(code, _)| *code != own)
        .map(|(code, place)| (code.to_owned(), place.to_owned()));
    std::iter::once(own_choice)
        .chain(others)
        .map(|(code, place)| Choice { selected: code == chosen, code, place })
        .collect()
}

async fn show(
    current: CurrentUser,
    allowed: Allowed<ManageApps>,
    State(dashboard): State<Dashboard>,
) -> Result<Response, PageError> {
    let first = tenancy::app::list(dashboard.db(), &allowed.account().id).await?.is_empty();
    let own = &dashboard.config().cluster;
    html(&NewAppPage {
        frame: Frame::new(&current),
        first,
        name: if first { "My first app".to_owned() } else { String::new() },
        name_error: None,
        clusters: choices(own, own),
        cluster_error: None,
        error: None,
    })
}

#[derive(Deserialize)]
struct NewAppForm {
    name: String,
    cluster: String,
}

async fn submit(
    current: CurrentUser,
    allowed: Allowed<ManageApps>,
    State(dashboard): State<Dashboard>,
    form: Result<Form<NewAppForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let new = NewApp {
        name: &form.name,
        cluster: &form.cluster,
        created_by: &current.user().id,
        ..NewApp::default()
    };
    let error = match tenancy::app::create(dashboard.db(), &allowed.account().id, new).await {
        Ok((app, _)) => {
            let details = json!({ "cluster": app.cluster });
            acts::in_app(&dashboard, &current.by(), Action::AppCreate, &app, &app.name, details).await;
            return Ok(Redirect::to(&format!("/dash/apps/{}/start", app.id)).into_response());
        }
        Err(error) => error,
    };
    let mut page = NewAppPage {
        frame: Frame::new(&current),
        first: false,
        clusters: choices(&dashboard.config().cluster, &form.cluster),
        name: form.name,
        name_error: None,
        cluster_error: None,
        error: None,
    };
    match error {
        CreateAppError::NameInvalid => page.name_error = Some(NAME_SENTENCE),
        CreateAppError::ClusterInvalid => page.cluster_error = Some("Choose a cluster from the list."),
        CreateAppError::TooMany => {
            page.error = Some(
                "This workspace has 100 apps, the most there can be. Delete one that you don't need any more.",
            );
        }
        CreateAppError::Db(error) => return Err(error.into()),
        // Nothing of these came from the form.
        CreateAppError::IdTaken
        | CreateAppError::IdInvalid
        | CreateAppError::KeyTaken
        | CreateAppError::KeyInvalid
        | CreateAppError::SecretInvalid => return Err(PageError::Internal),
    }
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

/// What the name field says about a name that can't be.
pub(super) const NAME_SENTENCE: &str = "A name has 1 to 60 characters.";
