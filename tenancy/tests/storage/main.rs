//! The storage of accounts, sessions, apps, meters and webhooks, through its public door. Every test runs twice: on a SQLite file
//! and on a real PostgreSQL, each time on a database of its own.

mod accounts;
mod api_answers;
mod apps;
mod audit;
mod backup;
mod changes;
mod db_move;
mod identities;
mod isolation;
mod keys;
mod mail;
mod organisations;
mod password_change;
mod rolling;
mod schema;
mod sealing;
mod second_factors;
mod server_admins;
mod sessions;
mod subscriptions;
mod support;
mod tenants;
mod tokens;
mod usage;
mod usage_reports;
mod webhook_notices;
mod webhooks;
