//! The app of a page, found only through the account of the person who asks.
//!
//! An id that isn't a number, isn't an app's, or is another account's: all the same 404.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use tenancy::app::App;

use crate::Dashboard;
use crate::error::PageError;
use crate::session::CurrentUser;

/// The app named by `{id}` in the route.
#[derive(Clone, Debug)]
pub struct CurrentApp(pub App);

impl FromRequestParts<Dashboard> for CurrentApp {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &Dashboard) -> Result<Self, PageError> {
        let current = CurrentUser::from_request_parts(parts, state).await?;
        let params =
            RawPathParams::from_request_parts(parts, state).await.map_err(|_| PageError::AppNotFound)?;
        let id = params.iter().find(|(name, _)| *name == "id").map(|(_, value)| value);
        let id = id.and_then(parse_id).ok_or(PageError::AppNotFound)?;
        let app = tenancy::app::find(state.db(), &current.account().id, id).await?;
        app.map(CurrentApp).ok_or(PageError::AppNotFound)
    }
}

/// Decimal digits only: `+7` and `007` aren't ids.
fn parse_id(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| canonical)
}
