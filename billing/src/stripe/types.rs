//! The fields that we read of Stripe's objects. A new field of theirs changes nothing here.

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Customer {
    pub(crate) id: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PortalSession {
    pub(crate) url: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// Only while it is open.
    pub(crate) url: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) customer: Option<String>,
    #[serde(default)]
    metadata: Value,
}

impl Session {
    pub(crate) fn is_open(&self) -> bool {
        self.status.as_deref() == Some("open")
    }

    /// Does it sell this price?
    pub(crate) fn is_for(&self, price: &str) -> bool {
        self.metadata["price"] == price
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.status.as_deref() == Some("complete")
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) created: i64,
    #[serde(default)]
    pub(crate) cancel_at_period_end: bool,
    pub(crate) items: List<Item>,
    #[serde(default)]
    default_payment_method: Value,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) price: PriceId,
    pub(crate) current_period_start: Option<i64>,
    pub(crate) current_period_end: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PriceId {
    pub(crate) id: String,
}

/// Characters of a card's words that are kept.
const CARD_CHARS_MAX: usize = 60;

impl Subscription {
    /// `visa •••• 4242`; empty when Stripe tells no card.
    pub(crate) fn card(&self) -> String {
        let card = &self.default_payment_method["card"];
        match (card["brand"].as_str(), card["last4"].as_str()) {
            (Some(brand), Some(last)) => {
                format!("{brand} •••• {last}").chars().take(CARD_CHARS_MAX).collect()
            }
            _ => String::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Price {
    pub(crate) unit_amount: Option<i64>,
    /// With up to twelve digits behind the point, for what is cheaper than the smallest coin.
    pub(crate) unit_amount_decimal: Option<String>,
    pub(crate) currency: String,
    pub(crate) recurring: Option<Recurring>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Recurring {
    pub(crate) interval: String,
    /// `licensed` or `metered`.
    pub(crate) usage_type: Option<String>,
}

/// What Stripe keeps of a meter event; nothing of it is needed.
#[derive(Debug, Deserialize)]
pub(crate) struct MeterEvent {}

/// An invoice, made or to come.
#[derive(Clone, Debug, Deserialize)]
pub struct Invoice {
    /// Such as `F-0007`; a draft has none.
    pub number: Option<String>,
    /// `paid`, `open`, `draft`, `void` or `uncollectible`.
    pub status: Option<String>,
    /// What it comes to, taxes included, in the currency's smallest unit.
    pub total: i64,
    /// Three lower-case letters.
    pub currency: String,
    /// When it was made, or will be, in seconds since 1970.
    pub created: i64,
    /// When the next payment is tried, in seconds since 1970.
    pub next_payment_attempt: Option<i64>,
    /// Its page at Stripe.
    pub hosted_invoice_url: Option<String>,
    /// Its file at Stripe.
    pub invoice_pdf: Option<String>,
}

impl Invoice {
    /// What it comes to.
    pub fn money(&self) -> Money {
        Money { amount: self.total, currency: self.currency.clone() }
    }
}

/// An amount of a currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    /// In the currency's smallest unit.
    pub amount: i64,
    /// Three lower-case letters.
    pub currency: String,
}

/// Currencies of Stripe without a smaller unit.
const WHOLE: [&str; 16] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof",
    "xpf",
];

impl Money {
    /// An amount as a person writes it, `50`, `49.90` or `49,9`, in the smallest unit of a currency; `None`: it is none.
    pub fn read(text: &str, currency: &str) -> Option<i64> {
        let text = text.trim().replace(',', ".");
        let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let places = if WHOLE.contains(&currency) { 0 } else { 2 };
        if whole.is_empty() || whole.len() > 9 || part.len() > places || !digits(whole) || !digits(part) {
            return None;
        }
        format!("{whole}{part:0<places$}").parse().ok()
    }

    /// The number alone, as a field of a form has it: `49.90`.
    pub fn number(&self) -> String {
        self.to_string().split_once(' ').map(|(_, number)| number.to_owned()).unwrap_or_default()
    }
}

impl std::fmt::Display for Money {
    /// `EUR 49.00`; `JPY 500`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.currency.to_ascii_uppercase();
        if WHOLE.contains(&self.currency.as_str()) {
            return write!(f, "{code} {}", self.amount);
        }
        let sign = if self.amount < 0 { "-" } else { "" };
        let cents = self.amount.unsigned_abs();
        write!(f, "{code} {sign}{}.{:02}", cents / 100, cents % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_the_digits_of_its_currency() {
        let money = |amount, currency: &str| Money { amount, currency: currency.to_owned() }.to_string();
        assert_eq!(money(4_900, "eur"), "EUR 49.00");
        assert_eq!(money(-5, "usd"), "USD -0.05");
        assert_eq!(money(500, "jpy"), "JPY 500");
        assert_eq!(Money { amount: 4_990, currency: "eur".into() }.number(), "49.90");
    }

    #[test]
    fn an_amount_is_read_as_it_is_written() {
        for (text, currency, amount) in [
            ("50", "eur", Some(5_000)),
            (" 49.9 ", "eur", Some(4_990)),
            ("0,05", "usd", Some(5)),
            ("0", "usd", Some(0)),
            ("500", "jpy", Some(500)),
            ("500.5", "jpy", None),
            ("1.234", "eur", None),
            ("-5", "eur", None),
            ("", "eur", None),
            ("1e3", "eur", None),
            ("1 000", "eur", None),
            ("9999999999", "eur", None),
        ] {
            assert_eq!(Money::read(text, currency), amount, "{text:?}");
        }
    }
}
