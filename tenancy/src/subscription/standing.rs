//! How a subscription stands, and what an account may have because of it. Pure: facts and a time in, a plan out.

use super::Subscription;
use crate::clock::DAY_MS;
use crate::plan::Plan;

/// How long a plan is kept while a payment is missing: as long as cards take to be replaced. Stripe tries again meanwhile.
pub const GRACE_MS: i64 = 14 * DAY_MS;
/// How long pages tell that a plan was taken back.
pub const SHOWN_ENDED_MS: i64 = 14 * DAY_MS;

/// Stripe's word for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is none.
    None,
    /// Paid.
    Active,
    /// Not yet to be paid.
    Trialing,
    /// A renewal could not be charged; Stripe tries again.
    PastDue,
    /// A renewal could not be charged, and Stripe has given up trying.
    Unpaid,
    /// The first payment is missing.
    Incomplete,
    /// Ended, or paused, or a word that this version does not know: nothing is charged.
    Ended,
}

impl Status {
    /// Reads Stripe's word; what is not known grants nothing.
    pub fn parse(word: &str) -> Status {
        match word {
            "" => Status::None,
            "active" => Status::Active,
            "trialing" => Status::Trialing,
            "past_due" => Status::PastDue,
            "unpaid" => Status::Unpaid,
            "incomplete" => Status::Incomplete,
            _ => Status::Ended,
        }
    }

    /// The word that is stored; [`Status::parse`] reads it.
    pub fn word(self) -> &'static str {
        match self {
            Status::None => "",
            Status::Active => "active",
            Status::Trialing => "trialing",
            Status::PastDue => "past_due",
            Status::Unpaid => "unpaid",
            Status::Incomplete => "incomplete",
            Status::Ended => "canceled",
        }
    }

    /// Does Stripe go on charging for it?
    pub fn is_live(self) -> bool {
        self.is_paid() || self.is_owing()
    }

    /// All that was due is paid.
    pub fn is_paid(self) -> bool {
        matches!(self, Status::Active | Status::Trialing)
    }

    /// A renewal was not paid.
    pub fn is_owing(self) -> bool {
        matches!(self, Status::PastDue | Status::Unpaid)
    }
}

/// The plan that a subscription grants at a time; `None`: none.
pub(super) fn entitled(
    plan: Option<Plan>,
    status: Status,
    unpaid_since_ms: Option<i64>,
    now_ms: i64,
) -> Option<Plan> {
    match status {
        Status::Active | Status::Trialing => plan,
        Status::PastDue | Status::Unpaid => {
            plan.filter(|_| unpaid_since_ms.is_some_and(|since| now_ms < since.saturating_add(GRACE_MS)))
        }
        Status::None | Status::Incomplete | Status::Ended => None,
    }
}

/// What pages say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing to say.
    Quiet,
    /// A payment is missing; the plan is kept until then.
    Owing {
        /// When the plan is taken back.
        until_ms: i64,
    },
    /// The plan was taken back.
    Ended {
        /// When.
        at_ms: i64,
        /// For a missing payment, and not because it was cancelled.
        unpaid: bool,
    },
}

impl Subscription {
    /// What pages say about it at a time.
    pub fn standing(&self, now_ms: i64) -> Standing {
        if let (Some(since), Some(_)) = (self.unpaid_since_ms, self.granted) {
            return Standing::Owing { until_ms: since.saturating_add(GRACE_MS) };
        }
        match self.ended_ms {
            Some(at_ms) if self.granted.is_none() && now_ms < at_ms.saturating_add(SHOWN_ENDED_MS) => {
                Standing::Ended { at_ms, unpaid: self.ended_unpaid }
            }
            _ => Standing::Quiet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_granted_while_it_is_paid_and_for_the_grace() {
        let plan = Some(Plan::Pro);
        assert_eq!(entitled(plan, Status::Active, None, 0), plan);
        assert_eq!(entitled(plan, Status::PastDue, Some(5), 5 + GRACE_MS - 1), plan);
        assert_eq!(entitled(plan, Status::PastDue, Some(5), 5 + GRACE_MS), None);
        assert_eq!(entitled(plan, Status::Unpaid, Some(5), 5 + GRACE_MS), None);
        for status in [Status::None, Status::Incomplete, Status::Ended] {
            assert_eq!(entitled(plan, status, None, 0), None);
        }
    }

    #[test]
    fn a_word_that_is_not_known_grants_nothing() {
        for word in ["active", "trialing", "past_due", "unpaid", "incomplete", "canceled", ""] {
            assert_eq!(Status::parse(word).word(), word);
        }
        for word in ["incomplete_expired", "paused", "Active", "something new"] {
            assert_eq!(Status::parse(word), Status::Ended);
        }
    }
}
