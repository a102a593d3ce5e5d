//! Settings of billing: keys, and which price of Stripe is which plan. Reading the environment is the server's work.

use outbound::Place;
use tenancy::Secret;
use tenancy::plan::Plan;

/// Where Stripe is.
const STRIPE_API: &str = "https://api.stripe.com";
/// Where its pages are, which people are sent to.
const STRIPE_PAGES: [&str; 2] = ["https://checkout.stripe.com", "https://billing.stripe.com"];

/// What is wrong with a setting; it names the setting.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ConfigError(String);

/// How to bill.
#[derive(Clone, Debug)]
pub struct BillingConfig {
    pub(crate) secret_key: Secret,
    /// More than one while they are rotated.
    pub(crate) webhook_secrets: Vec<Secret>,
    pub(crate) api: Place,
    /// In the order of the setting: the first of a plan is sold, the others are known.
    pub(crate) prices: Vec<(Plan, String)>,
    pub(crate) automatic_tax: bool,
    /// Messages beyond the plan: the name of the meter's events, and the price.
    pub(crate) overage: Option<(String, String)>,
    pub(crate) page_origins: Vec<String>,
}

impl BillingConfig {
    /// Reads the settings as they are written: the secret key, webhook secrets separated by commas, the address of the API (`None`:
    /// Stripe's), prices as `plan=price_…` separated by commas. *Errors*: a sentence that names the setting.
    pub fn parse(
        secret_key: &str,
        webhook_secrets: &str,
        api_base: Option<&str>,
        prices: &str,
        automatic_tax: bool,
    ) -> Result<BillingConfig, ConfigError> {
        let wrong = |text: String| Err(ConfigError(text));
        if !["sk_", "rk_"].iter().any(|start| secret_key.starts_with(start)) || !is_id(secret_key) {
            return wrong("stripe_secret_key must begin with sk_ or rk_".to_owned());
        }
        let webhook_secrets: Vec<Secret> = list(webhook_secrets).map(Secret::new).collect();
        if webhook_secrets.is_empty() {
            return wrong("stripe_webhook_secret is missing: without it no event can be trusted".to_owned());
        }
        let base = api_base.unwrap_or(STRIPE_API);
        let Some(api) = Place::parse(base) else {
            return wrong(format!(
                "stripe_api_base must look like https://host or http://host:port, it is {base:?}"
            ));
        };
        let mut known: Vec<(Plan, String)> = Vec::new();
        for pair in list(prices) {
            let (plan, price) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(plan) = Plan::parse(plan.trim()).filter(|plan| is_sold(*plan)) else {
                return wrong(format!("stripe_prices: {plan:?} is no plan that can be sold"));
            };
            let price = price.trim();
            if !is_id(price) || known.iter().any(|(_, other)| other == price) {
                return wrong(format!("stripe_prices: {pair:?} must be plan=price_…, each price once"));
            }
            known.push((plan, price.to_owned()));
        }
        if known.is_empty() {
            return wrong("stripe_prices is missing: name a price of Stripe for each plan that is sold, such as startup=price_…".to_owned());
        }
        let page_origins = match api_base {
            None => STRIPE_PAGES.map(str::to_owned).to_vec(),
            Some(base) => vec![base.trim_end_matches('/').to_owned()],
        };
        Ok(BillingConfig {
            secret_key: Secret::new(secret_key),
            webhook_secrets,
            api,
            prices: known,
            automatic_tax,
            overage: None,
            page_origins,
        })
    }

    /// The same, and messages beyond the plan are sold: `meter=price_…`, the event name of a meter of Stripe and a metered price of it
    /// for a thousand messages. Empty: they are not. *Errors*: a sentence that names the setting.
    pub fn with_overage(self, overage: &str) -> Result<BillingConfig, ConfigError> {
        if overage.trim().is_empty() {
            return Ok(BillingConfig { overage: None, ..self });
        }
        let pair = overage.trim().split_once('=').map(|(meter, price)| (meter.trim(), price.trim()));
        let fits = |(meter, price): &(&str, &str)| {
            is_id(meter)
                && meter.len() <= 100
                && is_id(price)
                && !self.prices.iter().any(|(_, other)| other == price)
        };
        match pair.filter(fits) {
            Some((meter, price)) => {
                Ok(BillingConfig { overage: Some((meter.to_owned(), price.to_owned())), ..self })
            }
            None => Err(ConfigError(format!(
                "stripe_overage: {overage:?} must be METER=price_…, the event name of a meter and a metered price that is no plan's"
            ))),
        }
    }

    /// Does the key move real money?
    pub(crate) fn live(&self) -> bool {
        self.secret_key.expose().split('_').nth(1) == Some("live")
    }

    /// The price that is sold for a plan.
    pub(crate) fn price_of(&self, plan: Plan) -> Option<&str> {
        self.prices.iter().find(|(of, _)| *of == plan).map(|(_, price)| price.as_str())
    }

    /// The plan of a price, sold or sold once.
    pub(crate) fn plan_of(&self, price: &str) -> Option<Plan> {
        self.prices.iter().find(|(_, id)| id == price).map(|(plan, _)| *plan)
    }
}

/// A plan that can have a price: not the free one, and not the operator's.
fn is_sold(plan: Plan) -> bool {
    !matches!(plan, Plan::Sandbox | Plan::Unlimited)
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Stripe's ids: nothing that would have to be escaped in a path or a header.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str, hook: &str, base: Option<&str>, prices: &str) -> Result<BillingConfig, String> {
        BillingConfig::parse(key, hook, base, prices, false).map_err(|error| error.to_string())
    }

    #[test]
    fn prices_are_read_and_the_first_of_a_plan_is_sold() {
        let config =
            parse("sk_live_x", "whsec_a, whsec_b", None, "startup=price_2, startup=price_1,pro=price_3")
                .unwrap();
        assert_eq!(config.price_of(Plan::Startup), Some("price_2"));
        assert_eq!(config.plan_of("price_1"), Some(Plan::Startup));
        assert_eq!((config.price_of(Plan::Business), config.plan_of("price_9")), (None, None));
        assert!(config.live() && config.webhook_secrets.len() == 2);
        assert!(!parse("rk_test_x", "w", None, "pro=p").unwrap().live());
    }

    #[test]
    fn a_wrong_setting_is_named_and_no_secret_is_shown() {
        for (key, hook, base, prices, part) in [
            ("pk_live_x", "w", None, "pro=p", "stripe_secret_key"),
            ("sk_live x", "w", None, "pro=p", "stripe_secret_key"),
            ("sk_x", " ", None, "pro=p", "stripe_webhook_secret"),
            ("sk_x", "w", Some("stripe.test"), "pro=p", "stripe_api_base"),
            ("sk_x", "w", None, "", "stripe_prices"),
            ("sk_x", "w", None, "sandbox=price_1", "sandbox"),
            ("sk_x", "w", None, "unlimited=price_1", "unlimited"),
            ("sk_x", "w", None, "pro=price_1,startup=price_1", "each price once"),
            ("sk_x", "w", None, "pro", "plan=price"),
            ("sk_x", "w", None, "pro=price/../1", "plan=price"),
        ] {
            let error = parse(key, hook, base, prices).unwrap_err();
            assert!(error.contains(part) && !error.contains(key), "{error}");
        }
        let plain = || BillingConfig::parse("sk_x", "w", None, "pro=price_1", false).unwrap();
        assert_eq!(plain().with_overage(" ").unwrap().overage, None);
        let sold = plain().with_overage("fanfare_messages = price_2").unwrap().overage;
        assert_eq!(sold, Some(("fanfare_messages".to_owned(), "price_2".to_owned())));
        for wrong in ["price_2", "a=", "=price_2", "a b=price_2", "a=price_1"] {
            let error = plain().with_overage(wrong).unwrap_err().to_string();
            assert!(error.contains("stripe_overage"), "{error}");
        }
        let shown = format!("{:?}", parse("sk_test_hush", "whsec_hush", None, "pro=p").unwrap());
        assert!(!shown.contains("hush"), "{shown}");
    }
}
