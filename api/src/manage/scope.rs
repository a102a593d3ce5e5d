//! What a handler may do, in its type: [`Granted`] gives the organisation, [`GrantedApp`] an app of it. Each names an act, which is
//! a scope of the token and a permission of its person; without both the request ends here. There is no other way from a
//! token to either, so a handler can't forget to ask.
//!
//! In this order: a token that works (401), its rate (429), its scope and the role of its person (403), the app (404). An id
//! that isn't a number, isn't an app's, is another organisation's, wasn't granted, or isn't the token's one app: the same 404.

use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{FromRequestParts, RawPathParams};
use http::header;
use http::request::Parts;
use realtime::ws::PeerAddr;
use tenancy::account::Account;
use tenancy::app::App;
use tenancy::audit::{By, Via};
use tenancy::membership;
use tenancy::role::Permission;
use tenancy::session::Client;
use tenancy::token::{self, Bearer, Scope};

use super::Manage;
use super::error::Refusal;

/// An act as a type.
pub(super) trait Act: Send + Sync + 'static {
    /// The scope that the token must have; `None`: every token has it.
    const SCOPE: Option<Scope>;
    /// What its person must be allowed.
    const PERMISSION: Permission;
    /// May a token that was made for one app do it, outside of that app?
    const FOR_ONE_APP: bool;
}

macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident $scope:expr, $permission:ident, $one:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name;

        impl Act for $name {
            const SCOPE: Option<Scope> = $scope;
            const PERMISSION: Permission = Permission::$permission;
            const FOR_ONE_APP: bool = $one;
        }
    )*};
}

acts! {
    /// What every token may: ask what it is.
    AskWho None, SeeStats, true;
    ReadApps Some(Scope::AppsRead), SeeApps, true;
    ManageApps Some(Scope::AppsWrite), ManageApps, false;
    RemoveApps Some(Scope::AppsWrite), RemoveApps, false;
    RevealKeys Some(Scope::KeysReveal), UseSecrets, false;
    MakeKeys Some(Scope::KeysWrite), UseSecrets, false;
    RevokeKeys Some(Scope::KeysWrite), ManageApps, false;
    ReadEvents Some(Scope::EventsRead), SeePayloads, false;
    SendEvents Some(Scope::EventsWrite), SendEvents, false;
    ReadWebhooks Some(Scope::WebhooksRead), SeePayloads, false;
    ManageWebhooks Some(Scope::WebhooksWrite), ManageApps, false;
    RepeatWebhooks Some(Scope::WebhooksWrite), SendEvents, false;
    ReadStats Some(Scope::StatsRead), SeeStats, false;
    ReadBilling Some(Scope::BillingRead), ManageBilling, false;
    ReadMembers Some(Scope::MembersRead), ManagePeople, false;
    ManageMembers Some(Scope::MembersWrite), ManagePeople, false;
    ReadAudit Some(Scope::AuditRead), ManagePeople, false;
}

/// A request whose token works.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The token and its person.
    pub(super) bearer: Bearer,
    /// Network and program, as far as they are kept.
    client: Client,
}

impl Caller {
    /// The organisation.
    pub(super) fn account(&self) -> &Account {
        &self.bearer.membership.account
    }

    /// As the audit log names who does something.
    pub(super) fn by(&self) -> By {
        let label = format!("{} ({})", self.bearer.user.email, self.bearer.token.name);
        By { user_id: Some(self.bearer.user.id.clone()), label, client: self.client.clone(), via: Via::Api }
    }

    /// Once for each request: what went before a handler may have asked already.
    pub(super) async fn of(parts: &Parts, manage: &Manage) -> Result<Caller, Refusal> {
        if let Some(known) = parts.extensions.get::<Caller>() {
            return Ok(known.clone());
        }
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let text = given.and_then(token_in).ok_or_else(Refusal::no_token)?;
        let ip = parts.extensions.get::<PeerAddr>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0);
        let agent = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let client = Client::new(ip, agent);
        manage.rates.may_try(&client.address, text).map_err(Refusal::too_many)?;
        let Some(bearer) = token::authenticate(&manage.db, text).await? else {
            manage.rates.wrong_token(&client.address);
            return Err(Refusal::wrong_token());
        };
        manage.rates.take(text).map_err(Refusal::too_many)?;
        if let Err(error) = token::used(&manage.db, &bearer.token, &client.address).await {
            // A full disk must not stop who only reads.
            tracing::warn!(%error, "the use of a token could not be written down");
        }
        Ok(Caller { bearer, client })
    }

    fn check<A: Act>(&self) -> Result<(), Refusal> {
        if let Some(scope) = A::SCOPE.filter(|scope| !self.bearer.has(*scope)) {
            return Err(Refusal::missing_scope(scope));
        }
        if !self.bearer.may(A::PERMISSION) {
            return Err(Refusal::role(self.bearer.membership.role));
        }
        Ok(())
    }

    /// An app that both the token and its person see.
    pub(super) async fn app(&self, manage: &Manage, id: &str) -> Result<App, Refusal> {
        let canonical = id.bytes().all(|b| b.is_ascii_digit()) && !id.starts_with('0');
        let id: u64 = id.parse().ok().filter(|_| canonical).ok_or_else(Refusal::no_app)?;
        if self.bearer.token.app_id.is_some_and(|only| only != id) {
            return Err(Refusal::no_app());
        }
        membership::app(&manage.db, &self.bearer.membership, id).await?.ok_or_else(Refusal::no_app)
    }
}

/// `Bearer ff_…`, or `Token token=ff_…` as Pusher's CLI writes it. The scheme's case doesn't matter.
fn token_in(header: &str) -> Option<&str> {
    let (scheme, rest) = header.split_once(' ')?;
    let rest = rest.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest),
        "token" => rest.strip_prefix("token=").map(|text| text.trim_matches('"')),
        _ => None,
    }
}

/// The organisation of a token that may do `A` there.
#[derive(Clone, Debug)]
pub(super) struct Granted<A>(pub(super) Caller, pub(super) PhantomData<A>);

impl<A: Act> FromRequestParts<Manage> for Granted<A> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, manage: &Manage) -> Result<Self, Refusal> {
        let caller = Caller::of(parts, manage).await?;
        caller.check::<A>()?;
        if caller.bearer.token.app_id.is_some() && !A::FOR_ONE_APP {
            return Err(Refusal::for_one_app());
        }
        Ok(Granted(caller, PhantomData))
    }
}

/// The app named by `{id}` in the route, of a token that may do `A` with it.
#[derive(Clone, Debug)]
pub(super) struct GrantedApp<A> {
    /// Whose token.
    pub(super) caller: Caller,
    /// The app.
    pub(super) app: App,
    act: PhantomData<A>,
}

impl<A: Act> FromRequestParts<Manage> for GrantedApp<A> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, manage: &Manage) -> Result<Self, Refusal> {
        let caller = Caller::of(parts, manage).await?;
        caller.check::<A>()?;
        let params = RawPathParams::from_request_parts(parts, manage).await.map_err(|_| Refusal::no_app())?;
        let id = params.iter().find(|(name, _)| *name == "id").map(|(_, value)| value).unwrap_or_default();
        let app = caller.app(manage, id).await?;
        Ok(GrantedApp { caller, app, act: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_in_both_ways_of_writing_it() {
        assert_eq!(token_in("Bearer ff_1"), Some("ff_1"));
        assert_eq!(token_in("bearer  ff_1 "), Some("ff_1"));
        assert_eq!(token_in("Token token=ff_1"), Some("ff_1"));
        assert_eq!(token_in("Token token=\"ff_1\""), Some("ff_1"));
        for wrong in ["", "ff_1", "Basic ff_1", "Token ff_1"] {
            assert_eq!(token_in(wrong), None, "{wrong}");
        }
    }
}
