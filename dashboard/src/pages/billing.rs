//! `/dash/billing`: the plan and how it is paid, invoices, and the plans side by side. These routes are there only on a server that
//! bills. What is pressed here is done in `billing_steps.rs`.

use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use billing::{Billing, Invoice, Offer, OverageFacts};
use serde::Deserialize;
use tenancy::account::Account;
use tenancy::clock::{DAY_MS, day_of};
use tenancy::now_ms;
use tenancy::plan::Plan;
use tenancy::quota::{self, Numbers};
use tenancy::subscription::{self, Subscription};
use tokio::time::timeout;

use crate::Dashboard;
use crate::error::PageError;
use crate::page::{Frame, at, count, html, local_path};
use crate::plan_columns::{Column, Step, Use, columns};
use crate::scope::{Allowed, ManageBilling};
use crate::session::CurrentUser;

/// Days whose peak is drawn onto the plans.
const DAYS: u32 = 30;
/// A page waits this long for Stripe, and is shown without what it would have said.
const WAIT: Duration = Duration::from_secs(4);

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/billing", get(show))
        .route("/dash/billing/change/{plan}", get(change))
        .merge(super::billing_steps::routes())
}

/// An invoice as a line.
struct Line {
    number: String,
    day: String,
    amount: String,
    state: String,
    level: &'static str,
    page: Option<String>,
    file: Option<String>,
}

impl Line {
    fn new(invoice: Invoice) -> Line {
        let state = invoice.status.clone().unwrap_or_default();
        Line {
            day: at(invoice.created.saturating_mul(1_000), "%-d %B %Y"),
            amount: invoice.money().to_string(),
            level: match state.as_str() {
                "paid" => "ok",
                "open" | "uncollectible" => "bad",
                _ => "off",
            },
            state,
            number: invoice.number.unwrap_or_else(|| "draft".to_owned()),
            page: invoice.hosted_invoice_url.filter(|url| is_web(url)),
            file: invoice.invoice_pdf.filter(|url| is_web(url)),
        }
    }
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

#[derive(Template)]
#[template(path = "billing.html")]
struct BillingPage {
    frame: Frame,
    plan: Plan,
    /// The operator's own workspace: nothing to pay.
    unlimited: bool,
    known: Option<Subscription>,
    said: Option<(&'static str, &'static str)>,
    /// A payment was made and is not known here yet.
    waiting: bool,
    used: Use,
    columns: Vec<Column>,
    /// `None`: Stripe did not answer.
    invoices: Option<Vec<Line>>,
    next: Option<(String, String)>,
    /// Messages beyond the plan; `None`: not sold here, or there is no subscription to put them on.
    overage: Option<Beyond>,
    /// Where to go back to after buying.
    from: String,
}

/// Messages beyond the plan, in words.
struct Beyond {
    /// The plan's limit.
    limit: String,
    million: String,
    currency: String,
    allowed: Option<String>,
    /// For the field of the form.
    amount: String,
    messages: String,
    spent: String,
}

impl Beyond {
    fn new(numbers: Numbers, facts: OverageFacts) -> Option<Beyond> {
        let (limit, price) = (numbers.messages_per_day_max?, facts.price?);
        let cap = price.money(facts.known.cap);
        Some(Beyond {
            limit: count(limit),
            million: price.of_million().to_string(),
            currency: price.currency().to_ascii_uppercase(),
            allowed: (cap.amount > 0).then(|| cap.to_string()),
            amount: cap.number(),
            messages: count(facts.thousands.unsigned_abs().saturating_mul(1_000)),
            spent: price.of(facts.thousands).to_string(),
        })
    }
}

impl BillingPage {
    fn live(&self) -> Option<&Subscription> {
        self.known.as_ref().filter(|known| known.is_live())
    }

    fn peak_connections(&self) -> String {
        count(self.used.connections)
    }

    fn peak_messages(&self) -> String {
        count(self.used.messages)
    }

    fn period_end(&self) -> String {
        self.live().and_then(|known| known.period_end_ms).map(|ms| at(ms, "%-d %B %Y")).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Asked {
    done: Option<String>,
    from: Option<String>,
}

fn billing(dashboard: &Dashboard) -> Result<&Billing, PageError> {
    dashboard.billing().ok_or(PageError::NotFound)
}

async fn used(dashboard: &Dashboard, account: &Account) -> Result<Use, PageError> {
    let since = day_of(now_ms() - i64::from(DAYS) * DAY_MS);
    Ok(Use::new(tenancy::usage::account_days(dashboard.db(), &account.id, since).await?))
}

/// Invoices and the next one; `None`: Stripe did not answer in time.
async fn invoices(billing: &Billing, known: &Subscription) -> Option<(Vec<Invoice>, Option<Invoice>)> {
    match timeout(WAIT, billing.invoices(known)).await {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            tracing::warn!(%error, "invoices can't be read");
            None
        }
        Err(_) => None,
    }
}

async fn offers(billing: &Billing) -> Vec<Offer> {
    timeout(WAIT, billing.offers()).await.unwrap_or_else(|_| billing.offers_without_amounts())
}

async fn show(
    allowed: Allowed<ManageBilling>,
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let billing = billing(&dashboard)?;
    let known = subscription::of_account(dashboard.db(), &allowed.account().id).await?;
    let used = used(&dashboard, allowed.account()).await?;
    let (found, offers, facts) = tokio::join!(
        async {
            match &known {
                Some(known) => invoices(billing, known).await,
                None => Some((Vec::new(), None)),
            }
        },
        offers(billing),
        timeout(WAIT, billing.overage(&allowed.account().id)),
    );
    let facts = facts.ok().transpose().unwrap_or_default().flatten();
    let plan = allowed.account().plan;
    let templates = quota::all(dashboard.db()).await?;
    let numbers = quota::numbers_of(dashboard.db(), plan).await?;
    let paying = known.as_ref().is_some_and(Subscription::is_live);
    let (lines, next) =
        found.map_or((None, None), |(made, next)| (Some(made.into_iter().map(Line::new).collect()), next));
    let next = next.map(|next| {
        let at_s = next.next_payment_attempt.unwrap_or(next.created);
        (next.money().to_string(), at(at_s.saturating_mul(1_000), "%-d %B %Y"))
    });
    let waiting = asked.done.as_deref() == Some("waiting") && !paying;
    let said = asked.done.as_deref().and_then(|done| said(done, paying));
    html(&BillingPage {
        frame: Frame::new(&current),
        plan,
        unlimited: plan == Plan::Unlimited,
        overage: facts.filter(|_| paying).and_then(|facts| Beyond::new(numbers, facts)),
        columns: columns(&templates, &offers, plan, paying, &used),
        known,
        said,
        waiting,
        used,
        invoices: lines,
        next,
        from: asked.from.as_deref().and_then(local_path).unwrap_or_default().to_owned(),
    })
}

/// What the page says about what was just done: a level and a sentence.
fn said(done: &str, paying: bool) -> Option<(&'static str, &'static str)> {
    Some(match done {
        "granted" | "waiting" if paying => {
            ("ok", "Paid. The new limits are in force; nobody was disconnected.")
        }
        "changed" if paying => {
            ("ok", "The plan was changed. The new limits are in force; nobody was disconnected.")
        }
        "canceled" if paying => {
            ("ok", "Your plan ends with the period that is paid. Until then nothing changes.")
        }
        "resumed" if paying => ("ok", "Your plan goes on."),
        "declined" => {
            ("bad", "The card was declined, so nothing was changed. Use another card and try again.")
        }
        "subscribed" => ("warn", "You have a plan already, so nothing was charged. Change it below."),
        "busy" => ("warn", "This was being done in another window at the same moment. Try again."),
        "overage" if paying => ("ok", "Publishing goes on past the plan's limit, up to that amount."),
        "no-overage" => ("ok", "Publishing stops at the plan's limit. Nothing is charged beyond the plan."),
        "no-amount" => ("bad", "Write an amount such as 50 or 49.90; 0 stops at the plan's limit."),
        "away" => ("bad", "Stripe is not answering. Your service is unaffected. Try again in a moment."),
        _ => return None,
    })
}

#[derive(Template)]
#[template(path = "billing_change.html")]
struct ChangePage {
    frame: Frame,
    present: Plan,
    to: Plan,
    /// A larger plan is charged at once.
    larger: bool,
    /// `EUR 49.00 a month`; empty when Stripe did not say.
    price: String,
    period_end: String,
    /// What it would have refused in the last 30 days.
    refused: Vec<String>,
}

async fn change(
    allowed: Allowed<ManageBilling>,
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    Path(plan): Path<String>,
) -> Result<Response, PageError> {
    let billing = billing(&dashboard)?;
    let known = subscription::of_account(dashboard.db(), &allowed.account().id).await?;
    let known = known.filter(Subscription::is_live).ok_or(PageError::NotFound)?;
    let present = allowed.account().plan;
    let (offers, used) = (offers(billing).await, used(&dashboard, allowed.account()).await?);
    let templates = quota::all(dashboard.db()).await?;
    let found = Plan::parse(&plan).and_then(|plan| {
        columns(&templates, &offers, present, true, &used).into_iter().find(|column| column.plan == plan)
    });
    let column = found.filter(|column| column.step == Step::Change).ok_or(PageError::NotFound)?;
    html(&ChangePage {
        frame: Frame::new(&current),
        present,
        to: column.plan,
        larger: column.numbers.are_more_than(quota::numbers_of(dashboard.db(), present).await?),
        price: format!("{} {}", column.price, column.interval).trim().to_owned(),
        period_end: known.period_end_ms.map(|ms| at(ms, "%-d %B %Y")).unwrap_or_default(),
        refused: used.refused_by(column.numbers),
    })
}
