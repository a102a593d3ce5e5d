//! What every page says about the billing of the workspace: a payment that is missing, a plan that was taken back. Without billing
//! on this server it says nothing, and costs no look into the database.

use tenancy::account::AccountId;
use tenancy::clock::DAY_MS;
use tenancy::now_ms;
use tenancy::subscription::{self, Standing};

use crate::Dashboard;
use crate::error::PageError;
use crate::page::at;

/// From here on a missing payment is red: half of the grace.
const SOON_MS: i64 = 7 * DAY_MS;

/// Billing, as the frame of a page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillingFrame {
    /// A strip under the top bar.
    pub notice: Option<Notice>,
}

/// A strip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `warn` or `bad`.
    pub level: &'static str,
    /// What happened.
    pub happened: String,
    /// What follows.
    pub follows: String,
    /// What to do about it, on the page of the billing.
    pub action: &'static str,
}

/// `None`: there is no billing here.
pub(crate) async fn of(
    dashboard: &Dashboard,
    account_id: &AccountId,
) -> Result<Option<BillingFrame>, PageError> {
    if dashboard.billing().is_none() {
        return Ok(None);
    }
    let now_ms = now_ms();
    let known = subscription::of_account(dashboard.db(), account_id).await?;
    let notice = known.and_then(|known| notice(known.standing(now_ms), &known.card, now_ms));
    Ok(Some(BillingFrame { notice }))
}

fn notice(standing: Standing, card: &str, now_ms: i64) -> Option<Notice> {
    let day = |ms: i64| at(ms, "%-d %B");
    match standing {
        Standing::Quiet => None,
        Standing::Owing { until_ms } => {
            let card = if card.is_empty() { "your card" } else { card };
            Some(Notice {
                level: if until_ms - now_ms <= SOON_MS { "bad" } else { "warn" },
                happened: format!("We couldn't charge {card}."),
                follows: format!("Your plan stays until {}.", day(until_ms)),
                action: "Update card",
            })
        }
        Standing::Ended { at_ms, unpaid } => Some(Notice {
            level: if unpaid { "bad" } else { "warn" },
            happened: format!("Your plan ended on {}.", day(at_ms)),
            follows: if unpaid {
                "A payment was missing, so this workspace is on Sandbox now.".to_owned()
            } else {
                "This workspace is on Sandbox now.".to_owned()
            },
            action: "Choose a plan",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_payment_turns_red_in_its_last_week() {
        let until_ms = 14 * DAY_MS;
        let at = |now_ms| notice(Standing::Owing { until_ms }, "visa •••• 4242", now_ms).unwrap();
        assert_eq!((at(0).level, at(7 * DAY_MS).level), ("warn", "bad"));
        assert_eq!(at(0).happened, "We couldn't charge visa •••• 4242.");
        assert_eq!(at(0).follows, "Your plan stays until 15 January.");
        assert_eq!(notice(Standing::Quiet, "", 0), None);
    }
}
