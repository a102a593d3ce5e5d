//! From plans and caps to the limits that are enforced. Enforcing them is the data plane's work.

use crate::plan::Plan;

/// Members of one presence channel. Each join is announced to all others, so cost grows with the square.
pub const PRESENCE_MEMBERS_MAX: u32 = 100;
/// Members of one presence channel on the plan `unlimited`: a bound on the member list a node keeps and sends.
pub const PRESENCE_MEMBERS_MAX_UNLIMITED: u32 = 10_000;

/// What an app may use. `None` means no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections open at the same time.
    pub connections_max: Option<u64>,
    /// Messages in one UTC day.
    pub messages_per_day_max: Option<u64>,
    /// Events that the HTTP API publishes in a second, per app and node.
    pub publishes_per_second_max: Option<u32>,
    /// Other calls of the HTTP API in a second, per app and node.
    pub reads_per_second_max: Option<u32>,
    /// Members of one presence channel.
    pub presence_members_max: u32,
}

impl Limits {
    /// The limits of a plan.
    pub fn of(plan: Plan) -> Limits {
        Limits {
            connections_max: plan.connections_max(),
            messages_per_day_max: plan.messages_per_day_max(),
            publishes_per_second_max: plan.publishes_per_second_max(),
            reads_per_second_max: plan.reads_per_second_max(),
            presence_members_max: match plan {
                Plan::Unlimited => PRESENCE_MEMBERS_MAX_UNLIMITED,
                Plan::Sandbox
                | Plan::Startup
                | Plan::Pro
                | Plan::Business
                | Plan::Premium
                | Plan::Growth
                | Plan::Plus
                | Plan::GrowthPlus
                | Plan::Own(_) => PRESENCE_MEMBERS_MAX,
            },
        }
    }

    /// The same with an app's own caps on connections and messages a day, which only ever lower.
    pub fn capped(self, connections_max: Option<u64>, messages_day_max: Option<u64>) -> Limits {
        let smaller = |plan: Option<u64>, cap: Option<u64>| plan.into_iter().chain(cap).min();
        Limits {
            connections_max: smaller(self.connections_max, connections_max),
            messages_per_day_max: smaller(self.messages_per_day_max, messages_day_max),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_lowers_and_never_raises() {
        let sandbox = Limits::of(Plan::Sandbox);
        assert_eq!(sandbox.capped(None, None), sandbox);
        for (cap, of_connections, of_messages) in [(5, 5, 5), (300_000, 100, 200_000), (0, 0, 0)] {
            let capped = sandbox.capped(Some(cap), None);
            assert_eq!(capped, Limits { connections_max: Some(of_connections), ..sandbox });
            let capped = sandbox.capped(None, Some(cap));
            assert_eq!(capped, Limits { messages_per_day_max: Some(of_messages), ..sandbox });
        }
        let unlimited = Limits::of(Plan::Unlimited).capped(Some(7), Some(8));
        assert_eq!((unlimited.connections_max, unlimited.messages_per_day_max), (Some(7), Some(8)));
        assert_eq!(Limits::of(Plan::Unlimited).capped(None, None).connections_max, None);
        assert_eq!(Limits::of(Plan::Unlimited).presence_members_max, 10_000);
    }
}
