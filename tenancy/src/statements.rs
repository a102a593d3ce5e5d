//! All SQL of this crate in one list, gathered from the consts beside each noun.
//! Nothing runs from here; a test prepares every statement on both engines, which stands in for compile-time checks.

/// Declares SQL texts as consts, and the list of them, so that none can be forgotten.
macro_rules! sqls {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $text;)*
        pub(crate) const ALL: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}
pub(crate) use sqls;

/// Every SQL text that this crate sends, as (name, text).
pub fn all() -> Vec<(&'static str, &'static str)> {
    [
        crate::access::ALL,
        crate::account::ALL,
        crate::api_answer::ALL,
        crate::app::ALL,
        crate::app::create::ALL,
        crate::app::edit::ALL,
        crate::app::key_life::ALL,
        crate::app::keys::ALL,
        crate::app::node_view::ALL,
        crate::app::transfer::ALL,
        crate::audit::ALL,
        crate::audit::OF_PERSON,
        crate::changes::ALL,
        crate::db::ALL,
        crate::email_change::ALL,
        crate::email_proof::ALL,
        crate::fresh::ALL,
        crate::identity::ALL,
        crate::instance::ALL,
        crate::invitation::ALL,
        crate::invitation::accept::ALL,
        crate::login_token::ALL,
        crate::mail::ALL,
        crate::mail::SENDING,
        crate::mail_token::ALL,
        crate::member::ALL,
        crate::membership::ALL,
        crate::node_token::ALL,
        crate::organisation::ALL,
        crate::overage::ALL,
        crate::owner::ALL,
        crate::password_change::ALL,
        crate::pending_sign_in::ALL,
        crate::quota::ALL,
        crate::require::ALL,
        crate::password_reset::ALL,
        crate::sealing::ALL,
        crate::second_factor::ALL,
        crate::second_factor::end::ALL,
        crate::second_factor::setup::ALL,
        crate::server_invitation::ALL,
        crate::server_admin::ALL,
        crate::session::ALL,
        crate::session::end::ALL,
        crate::session::watch::ALL,
        crate::subscription::ALL,
        crate::subscription::apply::ALL,
        crate::subscription::due::ALL,
        crate::tenants::ALL,
        crate::token::ALL,
        crate::usage::ALL,
        crate::usage::report::ALL,
        crate::usage::series::ALL,
        crate::user::ALL,
        crate::user_end::ALL,
        crate::webhook_delivery::ALL,
        crate::webhook_endpoint::ALL,
        crate::webhook_endpoint::headers::ALL,
        crate::webhook_notice::ALL,
        crate::webhook_outbox::ALL,
    ]
    .concat()
}
