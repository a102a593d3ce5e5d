//! The calls that we make, and no others: a form out, the fields that we read back.

pub(crate) mod client;
pub(crate) mod signature;
pub(crate) mod types;

use crate::BillingConfig;
use crate::config::is_id;
use client::{Client, StripeError};
use types::{Customer, Invoice, Item, List, MeterEvent, PortalSession, Price, Session, Subscription};

/// Subscriptions of a customer that are looked at: Stripe's largest page. We make one.
const SUBSCRIPTIONS_MAX: &str = "100";
/// Invoices on the page.
const INVOICES_MAX: &str = "12";

/// Stripe, as far as we use it.
#[derive(Debug)]
pub(crate) struct Stripe {
    client: Client,
    automatic_tax: bool,
}

/// A checkout to open.
#[derive(Debug)]
pub(crate) struct NewCheckout<'a> {
    pub(crate) account: &'a str,
    pub(crate) customer: &'a str,
    pub(crate) price: &'a str,
    pub(crate) success_url: &'a str,
    pub(crate) cancel_url: &'a str,
    /// The same for each try of the same checkout.
    pub(crate) key: String,
}

/// Use to tell.
#[derive(Debug)]
pub(crate) struct NewMeterEvent<'a> {
    pub(crate) name: &'a str,
    pub(crate) customer: &'a str,
    pub(crate) value: i64,
    /// The same for each try of the same event: Stripe refuses a second one for a day at least.
    pub(crate) identifier: &'a str,
    /// When it was used, in seconds since 1970; Stripe takes the last 35 days.
    pub(crate) at_s: i64,
}

/// What we ask about must be an id: it becomes part of a path.
fn path(before: &str, id: &str, after: &str) -> Result<String, StripeError> {
    if is_id(id) { Ok(format!("{before}/{id}{after}")) } else { Err(StripeError::Unreadable("an id")) }
}

impl Stripe {
    pub(crate) fn new(config: &BillingConfig) -> Stripe {
        let client = Client::new(config.api.clone(), config.secret_key.clone());
        Stripe { client, automatic_tax: config.automatic_tax }
    }

    /// The same customer for the same account, however often it is asked for.
    pub(crate) async fn create_customer(
        &self,
        account: &str,
        email: &str,
        name: &str,
    ) -> Result<Customer, StripeError> {
        let form = [("email", email), ("name", name), ("metadata[account]", account)];
        self.client.post("/v1/customers", &form, Some(format!("fanfare-customer-{account}"))).await
    }

    pub(crate) async fn open_checkout(&self, new: NewCheckout<'_>) -> Result<Session, StripeError> {
        let mut form = vec![
            ("mode", "subscription"),
            ("customer", new.customer),
            ("client_reference_id", new.account),
            ("line_items[0][price]", new.price),
            ("line_items[0][quantity]", "1"),
            ("success_url", new.success_url),
            ("cancel_url", new.cancel_url),
            ("subscription_data[metadata][account]", new.account),
            ("metadata[price]", new.price),
            ("tax_id_collection[enabled]", "true"),
            ("customer_update[name]", "auto"),
            ("customer_update[address]", "auto"),
            ("allow_promotion_codes", "true"),
        ];
        if self.automatic_tax {
            form.push(("automatic_tax[enabled]", "true"));
        }
        self.client.post("/v1/checkout/sessions", &form, Some(new.key)).await
    }

    pub(crate) async fn checkout(&self, id: &str) -> Result<Session, StripeError> {
        self.client.get(&path("/v1/checkout/sessions", id, "")?, &[]).await
    }

    pub(crate) async fn expire_checkout(&self, id: &str) -> Result<Session, StripeError> {
        self.client.post(&path("/v1/checkout/sessions", id, "/expire")?, &[], None).await
    }

    /// All of a customer, ended ones too.
    pub(crate) async fn subscriptions(&self, customer: &str) -> Result<Vec<Subscription>, StripeError> {
        let query = [
            ("customer", customer),
            ("status", "all"),
            ("limit", SUBSCRIPTIONS_MAX),
            ("expand[]", "data.default_payment_method"),
        ];
        let list: List<Subscription> = self.client.get("/v1/subscriptions", &query).await?;
        Ok(list.data)
    }

    /// Puts another price in place of the present one. What is dearer is charged at once, for the rest of the period, and changed only
    /// if the payment succeeds; what is cheaper is credited.
    pub(crate) async fn change_price(
        &self,
        subscription: &str,
        item: &str,
        price: &str,
        dearer: bool,
    ) -> Result<Subscription, StripeError> {
        let mut form = vec![("items[0][id]", item), ("items[0][price]", price)];
        if dearer {
            form.extend([
                ("proration_behavior", "always_invoice"),
                ("payment_behavior", "error_if_incomplete"),
            ]);
        } else {
            form.push(("proration_behavior", "create_prorations"));
        }
        self.client.post(&path("/v1/subscriptions", subscription, "")?, &form, None).await
    }

    pub(crate) async fn cancel_at_period_end(
        &self,
        subscription: &str,
        cancel: bool,
    ) -> Result<Subscription, StripeError> {
        let form = [("cancel_at_period_end", if cancel { "true" } else { "false" })];
        self.client.post(&path("/v1/subscriptions", subscription, "")?, &form, None).await
    }

    /// Ends it at once. With `credit`, the rest of the period is credited.
    pub(crate) async fn end(&self, subscription: &str, credit: bool) -> Result<Subscription, StripeError> {
        let form: &[(&str, &str)] =
            if credit { &[("prorate", "true"), ("invoice_now", "true")] } else { &[] };
        self.client.delete(&path("/v1/subscriptions", subscription, "")?, form).await
    }

    /// Puts a metered price beside the plan's; the same item for the same subscription, however often it is asked for.
    pub(crate) async fn add_metered(&self, subscription: &str, price: &str) -> Result<Item, StripeError> {
        let form = [("subscription", subscription), ("price", price)];
        let key = format!("fanfare-overage-{subscription}-{price}");
        self.client.post("/v1/subscription_items", &form, Some(key)).await
    }

    /// Tells use that is charged for. One that Stripe has already is no error.
    pub(crate) async fn meter(&self, event: NewMeterEvent<'_>) -> Result<(), StripeError> {
        let (value, at) = (event.value.to_string(), event.at_s.to_string());
        let form = [
            ("event_name", event.name),
            ("identifier", event.identifier),
            ("payload[stripe_customer_id]", event.customer),
            ("payload[value]", &value),
            ("timestamp", &at),
        ];
        match self.client.post::<MeterEvent>("/v1/billing/meter_events", &form, None).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_known_already() => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn portal(
        &self,
        customer: &str,
        return_url: &str,
    ) -> Result<PortalSession, StripeError> {
        let form = [("customer", customer), ("return_url", return_url)];
        self.client.post("/v1/billing_portal/sessions", &form, None).await
    }

    /// Latest first.
    pub(crate) async fn invoices(&self, customer: &str) -> Result<Vec<Invoice>, StripeError> {
        let query = [("customer", customer), ("limit", INVOICES_MAX)];
        let list: List<Invoice> = self.client.get("/v1/invoices", &query).await?;
        Ok(list.data)
    }

    /// What will be charged next; `None`: nothing.
    pub(crate) async fn next_invoice(
        &self,
        customer: &str,
        subscription: &str,
    ) -> Result<Option<Invoice>, StripeError> {
        let form = [("customer", customer), ("subscription", subscription)];
        match self.client.post("/v1/invoices/create_preview", &form, None).await {
            Ok(invoice) => Ok(Some(invoice)),
            Err(StripeError::Refused { code, .. }) if code == "invoice_upcoming_none" => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn price(&self, id: &str) -> Result<Price, StripeError> {
        self.client.get(&path("/v1/prices", id, "")?, &[]).await
    }
}
