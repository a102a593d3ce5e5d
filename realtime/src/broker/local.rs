//! To the hub of this node, which in a cluster passes it on to the others under the channel's lock.

use std::sync::Arc;

use protocol::channel::ChannelKind;
use protocol::server_message::channel_event;

use super::Broker;
use crate::app::App;
use crate::node::Node;
use crate::publish::Publication;

/// The hub.
#[derive(Debug)]
pub(crate) struct Local;

impl Broker for Local {
    fn publish(&self, node: &Node, app: &Arc<App>, channel: &str, publication: &Publication<'_>) -> u64 {
        if node.cluster().is_none() && app.channels.get(channel).is_none() && !ChannelKind::of(channel).cache
        {
            return 0; // nobody to encode for
        }
        let text = channel_event(publication.event, channel, publication.data, None);
        node.hand_over(app, channel, &text, publication.exclude)
    }
}
