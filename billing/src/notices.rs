//! Mails to those who pay for an organisation: its Owners and its people for billing. One for each turn that needs somebody, or that
//! ends the worry of an earlier one; that a plan was bought is what they see themselves.

use tenancy::account::AccountId;
use tenancy::clock::DAY_MS;
use tenancy::db::DbError;
use tenancy::mail::{self, Mail, MailError};
use tenancy::member;
use tenancy::plan::Plan;
use tenancy::quota;
use tenancy::role::{Permission, Role};
use tenancy::subscription::Turn;

use crate::Billing;

/// People who are told, owners first: an organisation may have very many.
const TOLD_MAX: usize = 20;

struct Notice {
    subject: String,
    text: String,
}

impl Billing {
    /// Mails a turn, if it is one to be mailed. What can't be queued stops nothing; the page says it too.
    pub(crate) async fn notify(&self, account_id: &AccountId, turn: Turn) {
        match self.queue(account_id, turn).await {
            Ok(0) => {}
            Ok(people) => tracing::info!(account.id = %account_id, people, "a change of billing is mailed"),
            Err(error) => tracing::error!(%error, "a change of billing could not be mailed"),
        }
    }

    async fn queue(&self, account_id: &AccountId, turn: Turn) -> Result<usize, DbError> {
        let Some(account) = tenancy::account::find(self.db(), account_id).await? else { return Ok(0) };
        if let Turn::Granted { from, to } = turn {
            let (from, to) =
                (quota::numbers_of(self.db(), from).await?, quota::numbers_of(self.db(), to).await?);
            if !from.are_more_than(to) {
                return Ok(0);
            }
        }
        let Some(notice) = notice(&account.name, turn, tenancy::now_ms()) else { return Ok(0) };
        let mut people = member::list(self.db(), account_id).await?;
        people.retain(|one| one.role.allows(Permission::ManageBilling));
        people.sort_by_key(|one| one.role != Role::Owner);
        let mut queued = 0;
        for one in people.iter().take(TOLD_MAX) {
            let mail = Mail {
                to: &one.email,
                kind: "billing",
                subject: &notice.subject,
                text: &notice.text,
                link: Some("/dash/billing"),
                account: Some(account_id),
                ..Mail::default()
            };
            match mail::queue(self.db(), mail).await {
                Ok(()) => queued += 1,
                Err(MailError::Db(error)) => return Err(error),
                // The others are told all the same.
                Err(error) => tracing::warn!(%error, "somebody is not told of a change of billing"),
            }
        }
        Ok(queued)
    }
}

/// The words of a turn; of a plan that was granted those for a smaller one than before.
fn notice(name: &str, turn: Turn, now_ms: i64) -> Option<Notice> {
    let of = |plan: Plan| plan.title();
    let (subject, text) = match turn {
        Turn::PaymentMissing { until_ms } => {
            let days =
                (until_ms - now_ms).max(0) / DAY_MS + i64::from((until_ms - now_ms).max(0) % DAY_MS > 0);
            let subject = format!("A payment for {name} is missing");
            let text = format!(
                "We couldn't charge the card of {name}. Everything stays as it is for {days} more days; without a payment {name} is on Sandbox then, with fewer connections and messages.\n\nUpdate the card here, and the payment is tried again:"
            );
            (subject, text)
        }
        Turn::Ended { from, unpaid } => {
            let why = if unpaid { "because a payment was missing" } else { "as its subscription is over" };
            let text = format!(
                "The plan {} of {name} ended, {why}. {name} is on Sandbox now: nobody was disconnected, but beyond its limits new connections and messages are refused.\n\nChoose a plan here:",
                of(from)
            );
            (format!("{name} is on Sandbox now"), text)
        }
        Turn::Granted { from, to } => {
            let text = format!(
                "{name} changed from {} to {}. Nobody was disconnected; the smaller limits hold from now on.\n\nThe plan stands here:",
                of(from),
                of(to)
            );
            (format!("{name} changed to the plan {}", of(to)), text)
        }
        Turn::WillEnd => {
            let text = format!(
                "The plan of {name} was cancelled. It stays until what is paid is over, and nothing more is charged; then {name} is on Sandbox.\n\nTake it back, or see until when it stays, here:"
            );
            (format!("The plan of {name} was cancelled"), text)
        }
        Turn::Paid => {
            let text =
                format!("The missing payment of {name} arrived. Everything goes on.\n\nInvoices stand here:");
            (format!("The payment for {name} arrived"), text)
        }
        Turn::WillGoOn => return None,
    };
    Some(Notice { subject, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_shrinks_is_named_and_one_that_goes_on_is_no_news() {
        let subject = |turn| notice("Acme", turn, 0).map(|notice| notice.subject);
        let granted = Turn::Granted { from: Plan::Pro, to: Plan::Startup };
        assert_eq!(subject(granted).as_deref(), Some("Acme changed to the plan Startup"));
        assert_eq!(subject(Turn::WillGoOn), None);
        let missing = notice("Acme", Turn::PaymentMissing { until_ms: 14 * DAY_MS - 5 }, 0).unwrap();
        assert!(missing.text.contains("for 14 more days"), "{}", missing.text);
    }
}
