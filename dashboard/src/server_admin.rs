//! Pages that look after the server itself, `/dash/server/…`. [`ServerAdmin`] is the only way in: a handler that takes it can't be
//! reached by anybody else. For them there is no such page, as for addresses that nothing answers.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::Dashboard;
use crate::error::PageError;
use crate::session::CurrentUser;

/// A signed-in person who looks after this server. Without a session the visitor is sent to sign in; anybody else gets 404.
#[derive(Clone, Debug)]
pub struct ServerAdmin(pub CurrentUser);

impl FromRequestParts<Dashboard> for ServerAdmin {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &Dashboard) -> Result<Self, PageError> {
        let current = CurrentUser::from_request_parts(parts, state).await?;
        if current.is_server_admin() { Ok(ServerAdmin(current)) } else { Err(PageError::NotFound) }
    }
}
