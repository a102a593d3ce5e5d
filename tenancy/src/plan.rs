//! The plan catalogue: names and limits, in code. Prices are settings of billing and are not here.

/// What an account (or an app metered apart) may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Plan {
    /// The free plan of a new account.
    Sandbox,
    /// 500 connections.
    Startup,
    /// 2 000 connections.
    Pro,
    /// 5 000 connections.
    Business,
    /// 10 000 connections.
    Premium,
    /// 15 000 connections.
    Growth,
    /// 20 000 connections.
    Plus,
    /// 30 000 connections.
    GrowthPlus,
    /// No limits; for those who run Fanfare themselves.
    Unlimited,
}

impl Plan {
    /// All plans, smallest first.
    pub const ALL: [Plan; 9] = [
        Plan::Sandbox,
        Plan::Startup,
        Plan::Pro,
        Plan::Business,
        Plan::Premium,
        Plan::Growth,
        Plan::Plus,
        Plan::GrowthPlus,
        Plan::Unlimited,
    ];

    /// The name in settings, commands and the database.
    pub fn name(self) -> &'static str {
        match self {
            Plan::Sandbox => "sandbox",
            Plan::Startup => "startup",
            Plan::Pro => "pro",
            Plan::Business => "business",
            Plan::Premium => "premium",
            Plan::Growth => "growth",
            Plan::Plus => "plus",
            Plan::GrowthPlus => "growth-plus",
            Plan::Unlimited => "unlimited",
        }
    }

    /// The name on a page.
    pub fn title(self) -> &'static str {
        match self {
            Plan::Sandbox => "Sandbox",
            Plan::Startup => "Startup",
            Plan::Pro => "Pro",
            Plan::Business => "Business",
            Plan::Premium => "Premium",
            Plan::Growth => "Growth",
            Plan::Plus => "Plus",
            Plan::GrowthPlus => "Growth Plus",
            Plan::Unlimited => "Unlimited",
        }
    }

    /// The plan of a name, as [`Plan::name`] gives it.
    pub fn parse(name: &str) -> Option<Plan> {
        Plan::ALL.into_iter().find(|plan| plan.name() == name)
    }

    /// Connections open at the same time; `None` means no limit.
    pub fn connections_max(self) -> Option<u64> {
        match self {
            Plan::Sandbox => Some(100),
            Plan::Startup => Some(500),
            Plan::Pro => Some(2_000),
            Plan::Business => Some(5_000),
            Plan::Premium => Some(10_000),
            Plan::Growth => Some(15_000),
            Plan::Plus => Some(20_000),
            Plan::GrowthPlus => Some(30_000),
            Plan::Unlimited => None,
        }
    }

    /// Messages in one UTC day; `None` means no limit.
    pub fn messages_per_day_max(self) -> Option<u64> {
        match self {
            Plan::Sandbox => Some(200_000),
            Plan::Startup => Some(1_000_000),
            Plan::Pro => Some(4_000_000),
            Plan::Business => Some(10_000_000),
            Plan::Premium => Some(20_000_000),
            Plan::Growth => Some(40_000_000),
            Plan::Plus => Some(60_000_000),
            Plan::GrowthPlus => Some(90_000_000),
            Plan::Unlimited => None,
        }
    }

    /// Events that the HTTP API publishes in a second, per app and node; `None` means no limit.
    ///
    /// Pusher documents no rate for its HTTP API (the reference page of the API names a size and the quota of the day alone).
    /// So these are far above steady use: at the rate of the sandbox plan its day is used up in 200 s. They are there so that
    /// a loop gone wild in one app does not take the node from the others.
    pub fn publishes_per_second_max(self) -> Option<u32> {
        match self {
            Plan::Sandbox => Some(1_000),
            Plan::Startup => Some(2_000),
            Plan::Pro => Some(4_000),
            Plan::Business => Some(6_000),
            Plan::Premium => Some(8_000),
            Plan::Growth => Some(10_000),
            Plan::Plus => Some(15_000),
            Plan::GrowthPlus => Some(20_000),
            Plan::Unlimited => None,
        }
    }

    /// Other calls of the HTTP API in a second, per app and node; `None` means no limit. Half of the publishes, because
    /// listing channels costs more than an event.
    pub fn reads_per_second_max(self) -> Option<u32> {
        self.publishes_per_second_max().map(|publishes| publishes / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_plan() {
        for plan in Plan::ALL {
            assert_eq!(Plan::parse(plan.name()), Some(plan));
        }
        assert_eq!(Plan::parse("Sandbox"), None);
        assert_eq!(Plan::parse(""), None);
    }

    #[test]
    fn limits_rise_from_plan_to_plan() {
        let limit = |max: Option<u64>| max.unwrap_or(u64::MAX);
        for pair in Plan::ALL.windows(2) {
            assert!(limit(pair[0].connections_max()) < limit(pair[1].connections_max()));
            assert!(limit(pair[0].messages_per_day_max()) < limit(pair[1].messages_per_day_max()));
            let rate = |max: Option<u32>| max.unwrap_or(u32::MAX);
            assert!(rate(pair[0].publishes_per_second_max()) < rate(pair[1].publishes_per_second_max()));
            assert!(rate(pair[0].reads_per_second_max()) < rate(pair[1].reads_per_second_max()));
        }
    }
}
