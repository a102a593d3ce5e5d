//! The plan catalogue: names and limits, in code. Prices are settings of billing and are not here; limits that were edited, and
//! plans that this server has beside the catalogue, are in [`crate::quota`].

use parking_lot::Mutex;
use std::collections::BTreeSet;

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
    /// A plan that this server has beside the catalogue; its limits are in storage.
    Own(OwnPlan),
}

/// The name of a plan that is not of the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct OwnPlan(&'static str);

/// Characters of a plan's name.
pub const NAME_CHARS_MAX: usize = 30;
/// Different names of own plans that a process may meet before it needs a new start; each is kept for good.
const OWN_NAMES_MAX: usize = 10_000;

/// One copy of each name, so that a plan is copied as freely as the variants of the catalogue.
static OWN_NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

impl OwnPlan {
    fn of(name: &str) -> Option<OwnPlan> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.bytes().all(plain) {
            return None;
        }
        let mut names = OWN_NAMES.lock();
        let kept = match names.get(name) {
            Some(kept) => kept,
            None if names.len() >= OWN_NAMES_MAX => return None,
            None => {
                let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
                names.insert(kept);
                kept
            }
        };
        Some(OwnPlan(kept))
    }
}

impl Plan {
    /// All plans of the catalogue, smallest first.
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
            Plan::Own(OwnPlan(name)) => name,
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
            Plan::Own(OwnPlan(name)) => name,
        }
    }

    /// The plan of a stored name: of the catalogue, or an own one. Whether this server has it, [`crate::quota::find`] knows.
    pub fn stored(name: &str) -> Option<Plan> {
        Plan::parse(name).or_else(|| OwnPlan::of(name).map(Plan::Own))
    }

    /// The plan of the catalogue with a name, as [`Plan::name`] gives it.
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
            Plan::Unlimited | Plan::Own(_) => None,
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
            Plan::Unlimited | Plan::Own(_) => None,
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
            Plan::Unlimited | Plan::Own(_) => None,
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
    fn an_own_plan_is_its_name() {
        let own = Plan::stored("team-large").unwrap();
        assert_eq!(
            (own, own.name(), own.title()),
            (Plan::stored("team-large").unwrap(), "team-large", "team-large")
        );
        assert_eq!(Plan::stored("sandbox"), Some(Plan::Sandbox));
        for bad in ["", "Team", "a b", "a\0", &"x".repeat(31)] {
            assert_eq!(Plan::stored(bad), None, "{bad:?}");
        }
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
