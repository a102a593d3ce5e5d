//! The web pages: sign-up, sign-in, apps, keys, settings, and the frame for the debug console.
//!
//! Rendered on the server, usable without scripts. They read and write the control plane through `tenancy` and see live
//! numbers only through [`Live`]; they never touch the data plane.

mod acts;
pub mod api_reference;
pub mod assets;
mod billing_notice;
mod browser_name;
mod charts;
pub mod client;
mod console_auth;
pub mod csrf;
pub mod error;
mod errors_index;
mod event_creator;
mod headers;
mod hook_kinds;
mod letters;
pub mod page;
pub mod pages;
mod plan_columns;
mod proof;
mod qr;
mod reveal;
pub mod scope;
pub mod server_admin;
mod server_facts;
pub mod session;
pub mod snippets;
mod state;
mod switches;
mod with;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

pub use client::{ClientAddr, Endpoint, OverTls};
pub use server_facts::{NodeRow, ProcessFacts, ServerFacts};
pub use state::{AppUsage, Dashboard, DashboardConfig, KeyLive, Live, MailOut, OwnCap, SignUpMode};
pub use with::With;

/// The largest form or JSON body that a page takes, in bytes.
pub const FORM_BYTES_MAX: usize = 64 * 1024;

/// All pages, those of the billing only on a server that bills: `/ /signup /login /forgot /reset/** /verify/** /change-email/** /logout /setup /invite/** /dash/** /e/** /assets/** /js/pusher.min.js`. No fallback for other paths, so it
/// can be merged with other routers; [`not_found`] is the page for those.
pub fn router(dashboard: Dashboard) -> Router {
    let before_sign_in = Router::new()
        .merge(pages::front::routes())
        .merge(pages::signup::routes())
        .merge(pages::login::routes())
        .merge(pages::login_code::routes())
        .merge(pages::with::routes())
        .merge(pages::login_link::routes())
        .merge(pages::forgot::routes())
        .merge(pages::verify::routes())
        .merge(pages::setup::routes())
        .merge(pages::invite::routes())
        .route_layer(from_fn_with_state(dashboard.clone(), csrf::guard_form));
    let billing = match dashboard.billing() {
        Some(_) => pages::billing::routes(),
        None => Router::new(),
    };
    let signed_in = Router::new()
        .merge(billing)
        .merge(pages::logout::routes())
        .merge(pages::home::routes())
        .merge(pages::account::routes())
        .merge(pages::account_delete::routes())
        .merge(pages::account_email::routes())
        .merge(pages::account_export::routes())
        .merge(pages::second_factor::routes())
        .merge(pages::with::signed_in_routes())
        .merge(pages::organisations::routes())
        .merge(pages::organisation::routes())
        .merge(pages::people::routes())
        .merge(pages::invite::signed_in_routes())
        .merge(pages::audit::routes())
        .merge(pages::tokens::routes())
        .merge(pages::server_mail::routes())
        .merge(pages::server_nodes::routes())
        .merge(pages::transfer::routes())
        .merge(pages::server_overview::routes())
        .merge(pages::server_tenants::routes())
        .merge(pages::server_plans::routes())
        .merge(pages::server_signup::routes())
        .merge(pages::server_backups::routes())
        .merge(pages::new_app::routes())
        .merge(pages::overview::routes())
        .merge(pages::stats::routes())
        .merge(pages::usage::routes())
        .merge(pages::keys::routes())
        .merge(reveal::routes())
        .merge(pages::settings::routes())
        .merge(pages::webhooks::routes())
        .merge(pages::webhook_form::routes())
        .merge(pages::webhook_endpoint::routes())
        .merge(pages::webhook_delivery::routes())
        .merge(pages::start::routes())
        .merge(pages::debug_console::routes())
        .merge(console_auth::routes())
        .merge(event_creator::routes())
        .route_layer(from_fn_with_state(dashboard.clone(), csrf::guard_session));
    Router::new()
        .merge(before_sign_in)
        .merge(signed_in)
        .merge(pages::errors::routes())
        .merge(assets::routes())
        .route("/dash/{*rest}", axum::routing::any(async || error::PageError::NotFound))
        .method_not_allowed_fallback(async || error::PageError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn(error::as_json_when_asked))
        .layer(from_fn_with_state(dashboard.clone(), headers::secure))
        .with_state(dashboard)
}

/// The page for an address that nothing answers, for the server's fallback.
pub fn not_found() -> Response {
    let mut response = error::PageError::NotFound.into_response();
    headers::secure_alone(&mut response);
    response
}
