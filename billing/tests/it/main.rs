//! Billing against a server that behaves as Stripe does: buying, changing, failing payments, and events that are late, lost, doubled,
//! turned around or forged.

mod buying;
mod events;
mod notices;
mod overage;
mod owing;
mod support;
