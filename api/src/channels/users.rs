//! `POST users/{user_id}/terminate_connections`: closes the connections of a user who signed in. Counts one message.

use axum::extract::{Request, State};
use axum::response::Response;
use realtime::Node;

use super::At;
use super::error::ApiError;
use super::events::json_response;
use super::signed::{Signed, Whose};

pub(super) async fn terminate(
    State(node): State<Node>,
    At((app_id, user_id)): At<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, Whose::Id(&app_id), request).await?;
    Ok(signed.answer(end(&signed, &user_id)))
}

/// The path that the Python SDK uses, without the app.
pub(super) async fn terminate_by_key(
    State(node): State<Node>,
    At(user_id): At<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, Whose::Key, request).await?;
    Ok(signed.answer(end(&signed, &user_id)))
}

/// A user who isn't there is no error. The body says nothing.
fn end(signed: &Signed, user_id: &str) -> Result<Response, ApiError> {
    signed.admit_read()?;
    signed.node.terminate_user(&signed.app, user_id);
    Ok(json_response("{}"))
}
