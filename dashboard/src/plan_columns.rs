//! Plans side by side, each with the workspace's own use of the last 30 days drawn onto it, and what a smaller plan would have
//! refused. It decides nothing: numbers in, words out.

use billing::Offer;
use tenancy::plan::Plan;
use tenancy::quota::{Numbers, Template};
use tenancy::usage::AccountDay;

use crate::page::count;

/// The use of the last 30 days.
#[derive(Clone, Debug, Default)]
pub(crate) struct Use {
    days: Vec<AccountDay>,
    /// Most connections at once, all apps together.
    pub(crate) connections: u64,
    /// Most messages in a day.
    pub(crate) messages: u64,
}

impl Use {
    pub(crate) fn new(days: Vec<AccountDay>) -> Use {
        let connections = days.iter().map(|day| day.connections_peak).max().unwrap_or(0);
        let messages = days.iter().map(|day| day.messages).max().unwrap_or(0);
        Use { days, connections, messages }
    }

    /// What these limits would have refused, a sentence each; empty: nothing.
    pub(crate) fn refused_by(&self, numbers: Numbers) -> Vec<String> {
        let mut refused = Vec::new();
        if let Some(max) = numbers.messages_per_day_max {
            let over: Vec<u64> = self
                .days
                .iter()
                .map(|day| day.messages.saturating_sub(max))
                .filter(|over| *over > 0)
                .collect();
            if !over.is_empty() {
                let days = if over.len() == 1 { "1 day".to_owned() } else { format!("{} days", over.len()) };
                let sum = count(over.iter().fold(0, |sum: u64, over| sum.saturating_add(*over)));
                refused.push(format!(
                    "On {days} more than {} messages were counted: {sum} messages would have been refused.",
                    count(max)
                ));
            }
        }
        if let Some(over) = numbers.connections_max.and_then(|max| self.connections.checked_sub(max + 1)) {
            refused.push(format!(
                "Up to {} clients were connected at once: up to {} would have been turned away.",
                count(self.connections),
                count(over + 1)
            ));
        }
        refused
    }
}

/// What can be done with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is the present plan.
    Present,
    /// To Stripe's checkout.
    Buy,
    /// To the page that asks whether to change.
    Change,
    /// Nothing: the free plan of who pays nothing.
    Nothing,
}

/// One plan.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) plan: Plan,
    /// Its limits on this server.
    pub(crate) numbers: Numbers,
    /// `EUR 49.00`, `Free`, or empty when Stripe did not say.
    pub(crate) price: String,
    /// `a month`.
    pub(crate) interval: String,
    pub(crate) step: Step,
    pub(crate) bars: [Bar; 2],
}

/// A limit with the use drawn onto it.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) what: &'static str,
    /// `None`: there is no limit.
    pub(crate) max: Option<u64>,
    pub(crate) used: u64,
}

impl Bar {
    pub(crate) fn limit(&self) -> String {
        self.max.map(count).unwrap_or_default()
    }

    pub(crate) fn peak(&self) -> String {
        count(self.used)
    }

    pub(crate) fn fits(&self) -> bool {
        self.max.is_none_or(|max| self.used <= max)
    }

    /// As the bars of the pages have it: near the limit from 80 % on.
    pub(crate) fn level(&self) -> &'static str {
        match self.max.map_or(0, |max| self.used.saturating_mul(100) / max.max(1)) {
            0..80 => "ok",
            80..=100 => "warn",
            _ => "bad",
        }
    }

    pub(crate) fn drawn(&self) -> u64 {
        self.max.map_or(0, |max| self.used.min(max))
    }
}

/// The free plan, those that are sold, and the present one, smallest first, with the limits that they have on this server.
/// `templates` are all plans there are.
pub(crate) fn columns(
    templates: &[Template],
    offers: &[Offer],
    present: Plan,
    paying: bool,
    used: &Use,
) -> Vec<Column> {
    let column = |template: &Template| {
        let (plan, numbers) = (template.plan, template.numbers);
        let amount = offers.iter().find(|offer| offer.plan == plan).and_then(|offer| offer.amount.as_ref());
        let sold = offers.iter().any(|offer| offer.plan == plan);
        Column {
            plan,
            numbers,
            price: match (plan, amount) {
                (Plan::Sandbox, _) => "Free".to_owned(),
                (_, Some(amount)) => amount.money.to_string(),
                (_, None) => String::new(),
            },
            interval: amount
                .map(|a| a.interval.clone())
                .filter(|i| !i.is_empty())
                .map(|i| format!("a {i}"))
                .unwrap_or_default(),
            step: match (plan == present, paying, sold || plan == Plan::Sandbox) {
                (true, ..) => Step::Present,
                (_, _, false) => Step::Nothing,
                (_, true, true) => Step::Change,
                (_, false, true) if plan == Plan::Sandbox => Step::Nothing,
                (_, false, true) => Step::Buy,
            },
            bars: [
                Bar { what: "connections", max: numbers.connections_max, used: used.connections },
                Bar { what: "messages a day", max: numbers.messages_per_day_max, used: used.messages },
            ],
        }
    };
    let shown = |template: &&Template| {
        let plan = template.plan;
        let named = plan == Plan::Sandbox || plan == present || offers.iter().any(|offer| offer.plan == plan);
        // The operator's own is no plan to choose.
        named && plan != Plan::Unlimited
    };
    let mut columns: Vec<Column> = templates.iter().filter(shown).map(column).collect();
    // As the numbers are here: an edit may have changed the catalogue's order. Equal ones keep it.
    columns.sort_by(|a, b| match (a.numbers.are_more_than(b.numbers), b.numbers.are_more_than(a.numbers)) {
        (true, _) => std::cmp::Ordering::Greater,
        (_, true) => std::cmp::Ordering::Less,
        _ => std::cmp::Ordering::Equal,
    });
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates() -> Vec<Template> {
        let of = |plan| Template {
            plan,
            numbers: Numbers::of_catalogue(plan),
            edited: false,
            organisations: 0,
            apps: 0,
        };
        Plan::ALL.map(of).to_vec()
    }

    fn day(messages: u64, connections_peak: u64) -> AccountDay {
        AccountDay { day: 0, messages, connections_peak }
    }

    #[test]
    fn a_smaller_plan_tells_what_it_would_have_refused() {
        let used = Use::new(vec![day(200_001, 99), day(1_200_000, 587), day(200_000, 3)]);
        assert_eq!((used.connections, used.messages), (587, 1_200_000));
        assert_eq!(
            used.refused_by(Numbers::of_catalogue(Plan::Sandbox)),
            [
                "On 2 days more than 200,000 messages were counted: 1,000,001 messages would have been refused.",
                "Up to 587 clients were connected at once: up to 487 would have been turned away."
            ]
        );
        assert_eq!(used.refused_by(Numbers::of_catalogue(Plan::Pro)), [""; 0]);
        assert_eq!(Use::new(vec![day(1, 100)]).refused_by(Numbers::of_catalogue(Plan::Sandbox)), [""; 0]);
        assert_eq!(Use::new(vec![day(1, 101)]).refused_by(Numbers::of_catalogue(Plan::Sandbox)).len(), 1);
    }

    #[test]
    fn what_a_column_offers_follows_from_what_is_paid() {
        let offers = [Offer { plan: Plan::Startup, amount: None }, Offer { plan: Plan::Pro, amount: None }];
        let steps = |present, paying| -> Vec<_> {
            let columns = columns(&templates(), &offers, present, paying, &Use::default());
            columns.into_iter().map(|c| (c.plan, c.step)).collect()
        };
        let (sandbox, startup, pro) = (Plan::Sandbox, Plan::Startup, Plan::Pro);
        assert_eq!(steps(sandbox, false), [(sandbox, Step::Present), (startup, Step::Buy), (pro, Step::Buy)]);
        assert_eq!(
            steps(startup, true),
            [(sandbox, Step::Change), (startup, Step::Present), (pro, Step::Change)]
        );
        // A plan that is sold no more is still shown to who has it.
        assert_eq!(steps(Plan::Plus, true)[3], (Plan::Plus, Step::Present));
    }

    #[test]
    fn columns_have_the_limits_of_this_server_and_their_order() {
        let mut templates = templates();
        let offers = [Offer { plan: Plan::Startup, amount: None }, Offer { plan: Plan::Pro, amount: None }];
        templates[1].numbers = Numbers { connections_max: None, ..Numbers::of_catalogue(Plan::Startup) };
        let own = Plan::stored("team-large").unwrap();
        let numbers = Numbers { connections_max: Some(7), ..Numbers::default() };
        templates.push(Template { plan: own, numbers, ..templates[0] });
        let used = Use::new(vec![day(3, 8)]);
        let all = columns(&templates, &offers, own, false, &used);
        let of: Vec<_> = all.iter().map(|c| (c.plan, c.bars[0].max, c.bars[0].fits())).collect();
        assert_eq!(
            of,
            [
                (own, Some(7), false),
                (Plan::Sandbox, Some(100), true),
                (Plan::Pro, Some(2_000), true),
                (Plan::Startup, None, true)
            ]
        );
        assert_eq!((all[3].bars[0].level(), all[3].bars[0].limit()), ("ok", String::new()));
    }
}
