//! Looks after what no event told: a payment whose event was lost, a grace that is over. Each account has a time at which it is
//! looked at again; of several nodes one gets it. Bounded: a few accounts a round, none more often than its times say.

use std::time::{Duration, Instant};

use tenancy::account::{self, AccountId};
use tenancy::clock::HOUR_MS;
use tenancy::subscription::{self, Subscription};

use crate::{Billing, BillingError, overage};

/// Between two rounds. A round without work is one look into an index.
const EVERY: Duration = Duration::from_secs(5);
/// Old events are forgotten this often.
const FORGET_EVERY_MS: i64 = HOUR_MS;

impl Billing {
    /// Runs rounds until the process ends.
    pub async fn run(self) {
        let (mut forgot_ms, mut reckoned) = (0, Instant::now());
        loop {
            let now_ms = tenancy::now_ms();
            self.round(now_ms).await;
            if reckoned.elapsed() >= overage::EVERY {
                reckoned = Instant::now();
                self.overage_round(now_ms).await;
            }
            if now_ms - forgot_ms >= FORGET_EVERY_MS {
                forgot_ms = now_ms;
                if let Err(error) = subscription::forget_old_events(self.db(), now_ms).await {
                    tracing::warn!(%error, "old events can't be forgotten");
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// One round at a time: looks at the accounts that are due, gives how many those were. What fails is due again a minute later.
    pub async fn round(&self, now_ms: i64) -> usize {
        let due = match subscription::claim_due(self.db(), now_ms).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "it is not known which accounts to look at");
                return 0;
            }
        };
        for account_id in &due {
            if let Err(error) = self.look_at(account_id, now_ms).await {
                tracing::warn!(%error, account.id = %account_id, "an account's billing can't be looked at; again in a minute");
            }
        }
        due.len()
    }

    async fn look_at(&self, account_id: &AccountId, now_ms: i64) -> Result<(), BillingError> {
        let synced = self.sync(account_id, None).await;
        // Also when Stripe is away: the grace ends by our own clock.
        if let Some(ended) = subscription::end_grace(self.db(), account_id, now_ms).await? {
            self.tell(account_id, &ended.turns).await;
        }
        synced?;
        self.end_what_is_over(account_id).await
    }

    /// Ends a subscription that nobody may be charged for any more.
    pub(crate) async fn end_what_is_over(&self, account_id: &AccountId) -> Result<(), BillingError> {
        let known = subscription::of_account(self.db(), account_id).await?;
        let closed = account::is_closed(self.db(), account_id).await?;
        if let Some(known) = known
            && let Some(id) =
                known.subscription_id.as_deref().filter(|_| given_up(&known) || closed && known.is_live())
        {
            // Nothing may be charged any more: the plan was taken back, or the organisation is gone. What is paid of the period is
            // credited to who paid it.
            self.0.stripe.end(id, known.status.is_paid()).await?;
            self.sync(account_id, None).await?;
        }
        Ok(())
    }
}

/// The plan was taken back because the grace is over, while Stripe still tries to charge.
fn given_up(known: &Subscription) -> bool {
    known.status.is_owing() && known.granted.is_none()
}
