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
    /// A channel's number changed, here (`own`) or on another node, which then tells the webhooks. Called under its lock.
    pub(crate) fn count_changed(&self, app: &Arc<App>, channel: &mut Channel, now: Instant, own: bool) {
        if !app.snapshot().features.subscription_counts
            || matches!(ChannelKind::of(&channel.name).access, Access::Presence | Access::ServerToUser)
        {
            return;
        }
        let next = channel.count_told.map(|told| told + INTERVAL).filter(|next| *next > now);
        match next.filter(|_| channel.subscriptions() > SUBSCRIPTION_COUNT_AT_ONCE_MAX) {
            None => self.tell_count(app, channel, now, own),
            Some(due) if !channel.count_due => {
                channel.count_due = true;
                channel.count_own = false;
                self.later().at(due, Task::Count(app.clone(), channel.name.clone()));
            }
            Some(_) => {}
        }
        channel.count_own |= own;
    }

    /// The time of a large channel has come.
    pub(crate) fn tell_count_again(&self, app: &Arc<App>, name: &str, now: Instant) {
        app.channels.with(name, |channel| {
            if std::mem::take(&mut channel.count_due) {
                let own = channel.count_own;
                self.tell_count(app, channel, now, own);
            }
        });
    }

    fn tell_count(&self, app: &Arc<App>, channel: &mut Channel, now: Instant, own: bool) {
        channel.count_told = Some(now);
        let count = channel.subscriptions();
        if count > 0 {
            let text = server_message::subscription_count(&channel.name, count);
            self.enter(channel, frame::text(&text), None);
        }
        if own {
            self.webhooks().record(app, || Event::SubscriptionCount {
                channel: channel.name.clone(),
                subscription_count: count,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{AppSnapshot, Features};
    use crate::hub::Joining;
    use crate::testing::node_with;
    use protocol::socket_id::SocketId;

    async fn node() -> (Node, Arc<App>) {
        let features = Features { subscription_counts: true, ..Features::default() };
        node_with(AppSnapshot { features, ..crate::app::tests::snapshot() }).await
    }

    fn join(node: &Node, app: &Arc<App>, name: &str, n: u64, now: Instant) {
        let who = Joining {
            shard: 0,
            socket_id: SocketId { node: 1, random: n },
            member: None,
            members_max: 100,
            attached: false,
            clustered: false,
        };
        let settled =
            |channel: &mut Channel, _: &crate::hub::Joined| node.count_changed(app, channel, now, true);
        app.channels.join(name, who, |_| (), settled).unwrap();
    }

    /// Frames that the channel was given.
    fn told(app: &App, name: &str) -> u64 {
        app.channels.with(name, |channel| channel.seq).unwrap()
    }

    #[tokio::test]
    async fn up_to_a_hundred_are_counted_at_once_and_more_every_five_seconds() {
        let ((node, app), now) = (node().await, Instant::now());
        (1..=100).for_each(|n| join(&node, &app, "busy", n, now));
        assert_eq!(told(&app, "busy"), 100);
        (101..=150).for_each(|n| join(&node, &app, "busy", n, now + Duration::from_secs(1)));
        assert_eq!(told(&app, "busy"), 100, "they wait for the interval");
        // The node's own clock is far from due; the test's is moved.
        node.do_due(now + INTERVAL - Duration::from_millis(1));
        assert_eq!(told(&app, "busy"), 100);
        node.do_due(now + INTERVAL);
        assert_eq!(told(&app, "busy"), 101, "one frame for fifty");
        node.do_due(now + INTERVAL * 3);
        assert_eq!(told(&app, "busy"), 101, "nothing changed since");
        join(&node, &app, "busy", 151, now + INTERVAL * 2);
        assert_eq!(told(&app, "busy"), 102);
    }

    #[tokio::test]
    async fn presence_and_user_channels_are_not_counted_nor_any_while_the_switch_is_off() {
        let ((node, app), now) = (node().await, Instant::now());
        join(&node, &app, "presence-a", 1, now);
        join(&node, &app, "#server-to-user-a", 1, now);
        assert_eq!((told(&app, "presence-a"), told(&app, "#server-to-user-a")), (0, 0));
        let (node, app) = node_with(crate::app::tests::snapshot()).await;
        join(&node, &app, "a", 1, now);
        assert_eq!(told(&app, "a"), 0);
    }
}
