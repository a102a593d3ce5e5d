//! `subscription_count`: tells a channel's subscribers, and webhooks, how many they are. At once up to a hundred; on larger
//! channels at most every five seconds while the number changes. Never on presence channels.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::channel::{Access, ChannelKind};
use protocol::limits::{SUBSCRIPTION_COUNT_AT_ONCE_MAX, SUBSCRIPTION_COUNT_SECONDS};
use protocol::server_message;
use protocol::webhook::Event;

use crate::app::App;
use crate::frame;
use crate::hub::Channel;
use crate::later::Task;
use crate::node::Node;

const INTERVAL: Duration = Duration::from_secs(SUBSCRIPTION_COUNT_SECONDS);

impl Node {
    /// A channel's number changed. Called under its lock.
    pub(crate) fn count_changed(&self, app: &Arc<App>, channel: &mut Channel, now: Instant) {
        if !app.snapshot().features.subscription_counts
            || matches!(ChannelKind::of(&channel.name).access, Access::Presence | Access::ServerToUser)
        {
            return;
        }
        let next = channel.count_told.map(|told| told + INTERVAL).filter(|next| *next > now);
        match next.filter(|_| channel.subscriptions() > SUBSCRIPTION_COUNT_AT_ONCE_MAX) {
            None => self.tell_count(app, channel, now),
            Some(due) if !channel.count_due => {
                channel.count_due = true;
                self.later().at(due, Task::Count(app.clone(), channel.name.clone()));
            }
            Some(_) => {}
        }
    }

    /// The time of a large channel has come.
    pub(crate) fn tell_count_again(&self, app: &Arc<App>, name: &str, now: Instant) {
        app.channels.with(name, |channel| {
            if std::mem::take(&mut channel.count_due) {
                self.tell_count(app, channel, now);
            }
        });
    }

    fn tell_count(&self, app: &Arc<App>, channel: &mut Channel, now: Instant) {
        channel.count_told = Some(now);
        let count = channel.subscriptions();
        if count > 0 {
            let text = server_message::subscription_count(&channel.name, count);
            self.enter(channel, frame::text(&text), None);
        }
        self.webhooks().record(app, || Event::SubscriptionCount {
            channel: channel.name.clone(),
            subscription_count: count,
        });
    }
}
