//! Where the two planes meet: apps and usage go from the control plane's storage to the data plane and back, through the
//! traits that each side declares.

mod about;
mod app_source;
mod change_notices;
mod key_ends;
mod live_numbers;
mod quota_notices;
mod remote;
mod session_ends;
mod token_notices;
mod usage_keep;
mod usage_sink;
mod webhook_store;

pub(crate) use about::about;
pub use app_source::Source;
pub use change_notices::follow;
pub use key_ends::carry_out;
pub use live_numbers::LiveNumbers;
pub use quota_notices::tell;
pub use remote::{Remote, follow_remote};
pub use session_ends::sweep_sessions;
pub use token_notices::remind;
pub use usage_keep::keep;
pub use usage_sink::Sink;
pub use webhook_store::Webhooks;
