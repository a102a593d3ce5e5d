//! One file a page: its routes, its form, its template.

pub mod account;
pub mod account_export;
pub mod billing;
mod billing_steps;
pub mod debug_console;
pub mod errors;
pub mod front;
pub mod home;
mod key_rows;
pub mod keys;
pub mod login;
pub mod login_link;
pub mod logout;
pub mod new_app;
pub mod organisations;
pub mod overview;
pub mod settings;
pub mod setup;
pub mod signup;
pub mod start;
pub mod webhook_delivery;
pub mod webhook_endpoint;
pub mod webhook_form;
pub mod webhooks;
