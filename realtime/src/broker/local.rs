//! The broker of a single node: straight to the hub.

use std::sync::Arc;

use protocol::channel::ChannelKind;
use protocol::server_message::channel_event;

use super::Broker;
use crate::app::App;
use crate::node::Node;
use crate::publish::Publication;

/// No other node to reach.
#[derive(Debug)]
pub(crate) struct Local;

impl Broker for Local {
    fn publish(&self, node: &Node, app: &Arc<App>, channel: &str, publication: &Publication<'_>) -> u64 {
        if app.channels.get(channel).is_none() && !ChannelKind::of(channel).cache {
            return 0; // nobody to encode for
        }
        let text = channel_event(publication.event, channel, publication.data, None);
        node.hand_over(app, channel, &text, publication.exclude)
    }
}
