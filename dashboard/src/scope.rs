//! What a handler may do, in its type. [`Allowed`] gives the organisation, [`CurrentApp`] an app; each names a permission, and a
//! person whose role doesn't have it is told who has. There is no other way from a signed-in person to either, so a page can't
//! forget to ask.
//!
//! An id that isn't a number, isn't an app's, is another organisation's, or wasn't granted: all the same 404.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use tenancy::account::Account;
use tenancy::app::App;
use tenancy::membership::Membership;
use tenancy::role::Permission;

use crate::Dashboard;
use crate::error::PageError;
use crate::session::CurrentUser;

/// A permission as a type.
pub trait Needs: Send + Sync + 'static {
    /// Which.
    const PERMISSION: Permission;
}

macro_rules! permissions {
    ($($name:ident)*) => {$(
        #[doc = concat!("[`Permission::", stringify!($name), "`]")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Needs for $name {
            const PERMISSION: Permission = Permission::$name;
        }
    )*};
}

permissions! {
    SeeStats SeeApps SeePayloads SendEvents UseSecrets ManageApps RemoveApps ManagePeople ManageBilling ManageOrganisation
}

/// The organisation that the person works in, who may do `P` there.
#[derive(Clone, Debug)]
pub struct Allowed<P> {
    /// Their place in it.
    pub membership: Membership,
    permission: PhantomData<P>,
}

impl<P> Allowed<P> {
    /// The organisation.
    pub fn account(&self) -> &Account {
        &self.membership.account
    }
}

impl<P: Needs> FromRequestParts<Dashboard> for Allowed<P> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &Dashboard) -> Result<Self, PageError> {
        let current = CurrentUser::from_request_parts(parts, state).await?;
        let membership = current.allowed(P::PERMISSION)?.clone();
        Ok(Allowed { membership, permission: PhantomData })
    }
}

/// The app named by `{id}` in the route, of a person who may do `P` with it.
#[derive(Clone, Debug)]
pub struct CurrentApp<P>(pub App, pub PhantomData<P>);

impl<P: Needs> FromRequestParts<Dashboard> for CurrentApp<P> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &Dashboard) -> Result<Self, PageError> {
        let current = CurrentUser::from_request_parts(parts, state).await?;
        let id = app_id(parts, state).await.ok_or(PageError::AppNotFound)?;
        // First whether it is there for them, then what they may do: who may nothing learns nothing of other apps.
        let Some(here) = current.here() else { return Err(PageError::NoOrganisation) };
        if here.is_locked {
            return Err(PageError::SecondFactorNeeded);
        }
        let app = tenancy::membership::app(state.db(), here, id).await?.ok_or(PageError::AppNotFound)?;
        current.allowed(P::PERMISSION)?;
        Ok(CurrentApp(app, PhantomData))
    }
}

/// The number in `{id}` of an app's address. Decimal digits only: `+7` and `007` aren't ids.
pub(crate) async fn app_id(parts: &mut Parts, state: &Dashboard) -> Option<u64> {
    if !parts.uri.path().starts_with("/dash/apps/") {
        return None;
    }
    let params = RawPathParams::from_request_parts(parts, state).await.ok()?;
    let text = params.iter().find(|(name, _)| *name == "id").map(|(_, value)| value)?;
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| canonical)
}
