//! What it keeps, and what happens to it: a checkout is paid, a subscription renews or can't be charged, ends. Everything that
//! happens makes an event with a copy of the object as it was then.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::events::{Event, Posting};
use crate::{METERED, PRICES};

/// A month, in seconds.
const PERIOD_S: i64 = 30 * 86_400;

/// A request as it came, for a test to look at.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST`, `GET` or `DELETE`.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Its form or query.
    pub params: BTreeMap<String, String>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The status of the answer.
    pub status: u16,
}

/// Something that is to go wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The beginning of the path, such as `/v1/subscriptions`.
    pub path: String,
    /// The status of the answer; 0: the connection is closed without one.
    pub status: u16,
    /// Do first what was asked, and lose only the answer.
    pub after: bool,
    /// How often.
    pub times: u32,
    /// How long it takes, in milliseconds.
    pub delay_ms: u64,
}

/// Everything that it keeps.
#[derive(Debug)]
pub struct State {
    base: String,
    ids: u64,
    /// Added to the clock, in seconds.
    pub clock_ahead_s: i64,
    /// By id, of all kinds, with the order in which they were made.
    objects: BTreeMap<String, (u64, &'static str, Value)>,
    /// Customers whose card is declined.
    declined: Vec<String>,
    pub(crate) requests: Vec<Request>,
    pub(crate) replays: BTreeMap<String, (String, u16, Value)>,
    /// What goes wrong next.
    pub failures: Vec<Failure>,
    pub(crate) endpoint: Option<String>,
    /// How events are sent.
    pub posting: Posting,
    pub(crate) held: VecDeque<Event>,
    due: Vec<Event>,
    /// Events that are being sent.
    pub(crate) on_their_way: usize,
    /// Answers to events that were sent: type and status.
    pub answers: Vec<(String, u16)>,
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

impl State {
    pub(crate) fn new(base: &str) -> State {
        let mut state = State {
            base: base.to_owned(),
            ids: 0,
            clock_ahead_s: 0,
            objects: BTreeMap::new(),
            declined: Vec::new(),
            requests: Vec::new(),
            replays: BTreeMap::new(),
            failures: Vec::new(),
            endpoint: None,
            posting: Posting::AtOnce,
            held: VecDeque::new(),
            due: Vec::new(),
            on_their_way: 0,
            answers: Vec::new(),
        };
        for (plan, id, amount) in PRICES {
            let price = json!({ "id": id, "object": "price", "active": true, "currency": "eur", "unit_amount": amount,
                "type": "recurring", "recurring": { "interval": "month", "usage_type": "licensed" }, "nickname": plan });
            state.put("prices", price);
        }
        let (_, id, amount) = METERED;
        let metered = json!({ "id": id, "object": "price", "active": true, "currency": "eur", "unit_amount": amount,
            "unit_amount_decimal": amount.to_string(), "type": "recurring",
            "recurring": { "interval": "month", "usage_type": "metered", "meter": "mtr_1" } });
        state.put("prices", metered);
        state
    }

    pub(crate) fn now_s(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_secs() as i64 + self.clock_ahead_s
    }

    pub(crate) fn new_id(&mut self, prefix: &str) -> String {
        self.ids += 1;
        format!("{prefix}_{:014}", self.ids)
    }

    pub(crate) fn put(&mut self, kind: &'static str, object: Value) {
        self.ids += 1;
        let made = self.objects.get(text(&object, "id")).map_or(self.ids, |(made, ..)| *made);
        self.objects.insert(text(&object, "id").to_owned(), (made, kind, object));
    }

    pub(crate) fn find(&self, kind: &str, id: &str) -> Option<Value> {
        self.objects.get(id).filter(|(_, of, _)| *of == kind).map(|(.., object)| object.clone())
    }

    pub(crate) fn all(&self, kind: &str) -> Vec<Value> {
        let mut found: Vec<_> = self.objects.values().filter(|(_, of, _)| *of == kind).collect();
        found.sort_by_key(|(made, ..)| *made);
        found.into_iter().map(|(.., object)| object.clone()).collect()
    }

    /// Those of a customer, newest first.
    pub(crate) fn of_customer(&self, kind: &str, customer: &str) -> Vec<Value> {
        let mut found = self.all(kind);
        found.retain(|object| text(object, "customer") == customer);
        found.reverse();
        found
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn take_due(&mut self) -> Vec<Event> {
        self.on_their_way += self.due.len();
        std::mem::take(&mut self.due)
    }

    pub(crate) fn tell(&mut self, kind: &str, object: &Value) {
        let id = self.new_id("evt");
        let body = json!({ "id": id, "object": "event", "type": kind, "created": self.now_s(), "livemode": false,
            "api_version": crate::API_VERSION, "data": { "object": object } });
        let event = Event { kind: kind.to_owned(), body: body.to_string() };
        match self.posting {
            Posting::AtOnce => self.due.push(event),
            Posting::Held => self.held.push_back(event),
            Posting::Lost => {}
        }
    }

    /// Sends what was held, each `times` times, the last first if `reversed`.
    pub fn release(&mut self, reversed: bool, times: usize) {
        let mut held: Vec<Event> = self.held.drain(..).collect();
        if reversed {
            held.reverse();
        }
        self.due.extend(held.into_iter().flat_map(|event| std::iter::repeat_n(event, times)));
    }

    /// Whether a customer's card works from now on.
    pub fn card_works(&mut self, customer: &str, works: bool) {
        self.declined.retain(|one| one != customer);
        if !works {
            self.declined.push(customer.to_owned());
        }
    }

    pub(crate) fn is_declined(&self, customer: &str) -> bool {
        self.declined.iter().any(|one| one == customer)
    }

    pub(crate) fn amount_of(&self, price: &str) -> i64 {
        self.find("prices", price).and_then(|price| price["unit_amount"].as_i64()).unwrap_or(0)
    }

    /// A button on the page of a checkout or of the portal; where the browser goes.
    pub(crate) fn press(&mut self, id: &str, button: &str) -> Option<String> {
        if let Some(portal) = self.find("portals", id) {
            let customer = text(&portal, "customer").to_owned();
            match button {
                "card" => {
                    self.card_works(&customer, true);
                    self.retry(&customer);
                }
                "cancel" => self.change_all(&customer, |one| one["cancel_at_period_end"] = json!(true)),
                _ => {}
            }
            return Some(text(&portal, "return_url").to_owned());
        }
        let mut session = self.find("sessions", id)?;
        if text(&session, "status") != "open" {
            return None;
        }
        match button {
            "pay" => {
                let customer = text(&session, "customer").to_owned();
                let subscription = self.subscribe(&customer, text(&session, "price"));
                session["status"] = json!("complete");
                session["payment_status"] = json!("paid");
                session["subscription"] = json!(subscription);
                self.put("sessions", session.clone());
                self.tell("checkout.session.completed", &session);
                Some(text(&session, "success_url").replace("{CHECKOUT_SESSION_ID}", id))
            }
            "leave" => Some(text(&session, "cancel_url").to_owned()),
            _ => None,
        }
    }

    /// A paid subscription, as a checkout makes it.
    pub fn subscribe(&mut self, customer: &str, price: &str) -> String {
        let (id, item) = (self.new_id("sub"), self.new_id("si"));
        let (now, price) = (self.now_s(), self.find("prices", price).unwrap_or_default());
        let card = json!({ "id": "pm_1", "object": "payment_method", "type": "card", "card": { "brand": "visa", "last4": "4242" } });
        let subscription = json!({ "id": id, "object": "subscription", "customer": customer, "status": "active", "created": now,
            "cancel_at_period_end": false, "default_payment_method": card, "livemode": false,
            "items": { "object": "list", "data": [{ "id": item, "object": "subscription_item", "price": price, "quantity": 1,
                "current_period_start": now, "current_period_end": now + PERIOD_S }] } });
        self.put("subscriptions", subscription.clone());
        self.tell("customer.subscription.created", &subscription);
        let amount = price["unit_amount"].as_i64().unwrap_or(0);
        self.invoice(customer, &id, amount, true);
        id
    }

    pub(crate) fn invoice(&mut self, customer: &str, subscription: &str, amount: i64, paid: bool) {
        let id = self.new_id("in");
        let page = format!("{}/invoice/{id}", self.base);
        let invoice = json!({ "id": id, "object": "invoice", "number": format!("F-{:04}", self.ids), "customer": customer, "created": self.now_s(),
            "status": if paid { "paid" } else { "open" }, "total": amount, "amount_due": amount, "currency": "eur",
            "hosted_invoice_url": page, "invoice_pdf": format!("{page}.pdf"),
            "parent": { "type": "subscription_details", "subscription_details": { "subscription": subscription } } });
        self.put("invoices", invoice.clone());
        self.tell(if paid { "invoice.paid" } else { "invoice.payment_failed" }, &invoice);
    }

    /// What a subscription's metered use comes to since its period began, in cents; nothing without the metered price.
    pub(crate) fn metered(&self, subscription: &Value) -> i64 {
        let items = subscription["items"]["data"].as_array().cloned().unwrap_or_default();
        if !items.iter().any(|item| text(&item["price"], "id") == METERED.1) {
            return 0;
        }
        let since = items[0]["current_period_start"].as_i64().unwrap_or(0);
        let used: i64 = self
            .all("meter_events")
            .iter()
            .filter(|event| text(&event["payload"], "stripe_customer_id") == text(subscription, "customer"))
            .filter(|event| event["timestamp"].as_i64() >= Some(since))
            .filter_map(|event| text(&event["payload"], "value").parse::<i64>().ok())
            .sum();
        used * METERED.2
    }

    /// Changes a customer's living subscriptions and tells it.
    pub(crate) fn change_all(&mut self, customer: &str, change: impl Fn(&mut Value)) {
        for mut one in self.of_customer("subscriptions", customer) {
            if text(&one, "status") != "canceled" {
                change(&mut one);
                self.put("subscriptions", one.clone());
                self.tell("customer.subscription.updated", &one);
            }
        }
    }

    /// The period ends: it is charged for the next, or can't be; or it was to end.
    pub fn renew(&mut self, customer: &str) {
        for one in self.of_customer("subscriptions", customer) {
            if text(&one, "status") == "canceled" {
                continue;
            }
            if one["cancel_at_period_end"] == json!(true) {
                self.end(text(&one, "id"));
                continue;
            }
            let paid = !self.is_declined(customer);
            let amount = self.amount_of(text(&one["items"]["data"][0]["price"], "id")) + self.metered(&one);
            self.invoice(customer, text(&one, "id"), amount, paid);
            self.change_all(customer, |one| {
                for item in one["items"]["data"].as_array_mut().into_iter().flatten() {
                    let end = item["current_period_end"].as_i64().unwrap_or(0);
                    item["current_period_start"] = json!(end);
                    item["current_period_end"] = json!(end + PERIOD_S);
                }
                one["status"] = json!(if paid { "active" } else { "past_due" });
            });
        }
    }

    /// Stripe tries a missing payment again.
    pub fn retry(&mut self, customer: &str) {
        if self.is_declined(customer) {
            return;
        }
        let mut paid = false;
        for mut invoice in self.of_customer("invoices", customer) {
            if text(&invoice, "status") == "open" {
                invoice["status"] = json!("paid");
                self.put("invoices", invoice.clone());
                self.tell("invoice.paid", &invoice);
                paid = true;
            }
        }
        if paid {
            self.change_all(customer, |one| one["status"] = json!("active"));
        }
    }

    /// Ends a subscription at once.
    pub fn end(&mut self, id: &str) -> Option<Value> {
        let mut one = self.find("subscriptions", id)?;
        one["status"] = json!("canceled");
        one["ended_at"] = json!(self.now_s());
        self.put("subscriptions", one.clone());
        self.tell("customer.subscription.deleted", &one);
        Some(one)
    }
}
