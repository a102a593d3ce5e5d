//! The one binary as a library, so that tests boot the same code: command line, settings, accept loop, and the wiring where
//! the two planes meet. Everything that is not wiring belongs into a crate below.

pub mod accept;
pub mod cli;
pub mod config;
mod dev;
mod doctor;
mod edge;
pub mod import;
pub mod mail;
mod master_key;
pub mod metrics;
mod operator;
mod process;
pub mod roles;
pub mod serve;
pub mod telemetry;
pub mod tls;
pub mod wiring;
