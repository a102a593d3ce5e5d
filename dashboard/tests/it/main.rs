//! The pages through the router, over a real database: what a browser, and what an attacker, would send.

mod account_delete;
mod account_page;
mod accounts;
mod apps;
mod billing;
mod console;
mod csrf;
mod errors;
mod headers;
mod keys;
mod mail;
mod people;
mod roles;
mod second_factor;
mod server_pages;
mod support;
mod tenants;
mod tokens;
mod usage;
mod webhooks;
