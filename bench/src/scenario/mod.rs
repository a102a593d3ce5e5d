//! The scenarios: each has its arguments and a function that measures and reports.

pub(crate) mod churn;
pub(crate) mod client_events;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod presence;
pub(crate) mod publish;
pub(crate) mod slow;
pub(crate) mod soak;
pub(crate) mod tenants;

use anyhow::ensure;
use serde::Serialize;
use serde_json::Value;

use crate::payload::STAMP_BYTES;
use crate::target::Target;

/// A payload must hold its stamp.
fn check_size(size: usize) -> anyhow::Result<()> {
    ensure!(size >= STAMP_BYTES, "--size is at least {STAMP_BYTES} bytes: each payload holds a stamp");
    Ok(())
}

/// Times that are times.
fn check_times(warmup: f64, secs: f64) -> anyhow::Result<()> {
    let good = warmup >= 0.0 && secs > 0.0 && warmup + secs < 86_400.0;
    ensure!(good, "--secs is more than 0, --warmup at least 0, both together less than a day");
    Ok(())
}

/// All arguments of a run in one object, without secrets.
fn parameters(target: &Target, scenario: &impl Serialize) -> Value {
    let mut all = serde_json::Map::new();
    for part in [serde_json::to_value(target), serde_json::to_value(scenario)] {
        if let Ok(Value::Object(part)) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}
