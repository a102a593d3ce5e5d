//! Who our customers are, what they own and what they may use, and the storage of all of it.
//! It knows no HTTP, no socket and no page; it holds no cache: what a node keeps in memory is the node's affair.
//!
//! ```text
//!  user ── membership ── account ── app ── app key
//!   │       role, grants   │         │
//!  session, login token   plan      usage per day        changes: which app to look at again
//!              invitation, audit log webhook endpoint ── delivery ── attempt
//!                    subscription
//! ```
//!
//! Mail goes out through `mail::queue`; what its links open is in `mail_token`.
//!
//! Every customer-facing finder takes the account, so that the app of another account is the same as an unknown one.

mod access;
pub mod account;
pub mod api_answer;
pub mod app;
pub mod audit;
pub mod backup;
pub mod changes;
pub mod clock;
pub mod db;
pub mod db_move;
pub mod email_change;
pub mod email_proof;
pub mod fresh;
pub mod identity;
pub mod instance;
pub mod invitation;
pub mod limits;
pub mod login_token;
pub mod mail;
pub mod mail_token;
pub mod member;
pub mod membership;
mod migrations;
pub mod node_token;
pub mod organisation;
pub mod overage;
pub mod owner;
mod password;
pub mod password_change;
pub mod password_reset;
pub mod pending_sign_in;
pub mod plan;
pub mod quota;
pub mod require;
pub mod role;
pub mod sealing;
pub mod second_factor;
pub mod secret;
pub mod server_admin;
pub mod server_invitation;
pub mod session;
pub mod statements;
pub mod subscription;
pub mod tenants;
pub mod throttle;
pub mod token;
pub mod usage;
pub mod user;
pub mod user_end;
pub mod vault;
pub mod webhook_delivery;
pub mod webhook_endpoint;
pub mod webhook_notice;
pub mod webhook_outbox;

pub use clock::now_ms;
pub use db::{Db, DbError};
pub use secret::Secret;
pub use vault::Vault;
