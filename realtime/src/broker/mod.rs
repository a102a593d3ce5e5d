//! Carries publications between nodes. One node is a cluster of one: the local broker is a broker, so there is one delivery
//! path.

mod local;

use std::sync::Arc;

pub(crate) use local::Local;

use crate::app::App;
use crate::node::Node;
use crate::publish::Publication;

/// The contract: an accepted publication reaches every subscriber of the channel, in the order in which one node accepted
/// the channel's publications. Never waits. Gives the connections reached on this node.
pub(crate) trait Broker: Send + Sync + 'static {
    fn publish(&self, node: &Node, app: &Arc<App>, channel: &str, publication: &Publication<'_>) -> u64;
}
