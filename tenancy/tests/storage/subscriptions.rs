//! What accounts pay for: written once and in order, with the plan and the news for every app that it is for.

use std::collections::BTreeSet;

use crate::support::{make_app, named, on_both, sign_up};
use tenancy::account::{self, AccountId};
use tenancy::app::{self, NewApp};
use tenancy::clock::DAY_MS;
use tenancy::overage;
use tenancy::plan::Plan;
use tenancy::subscription::{self, Applied, Fetched, GRACE_MS, Standing, Status, Turn};
use tenancy::usage::{self, UsageDelta};
use tenancy::{Db, changes, now_ms};

fn paid(plan: Plan) -> Fetched {
    Fetched {
        subscription_id: "sub_1".to_owned(),
        plan,
        status: Status::Active,
        period_end_ms: Some(99),
        cancel_at_period_end: false,
        card: "visa •••• 4242".to_owned(),
    }
}

fn owing(plan: Plan) -> Fetched {
    Fetched { status: Status::PastDue, ..paid(plan) }
}

/// An account that Stripe knows as `cus_…`.
async fn customer(db: &Db, email: &str) -> AccountId {
    let (_, account) = sign_up(db, email).await;
    let known = subscription::put_customer(db, &account.id, &format!("cus_{email}"), 1).await.unwrap();
    assert_eq!((known.status, known.granted, known.is_live()), (Status::None, None, false));
    account.id
}

async fn apply_at(db: &Db, account: &AccountId, found: Option<Fetched>, now_ms: i64) -> Applied {
    let number = subscription::begin_fetch(db, account).await.unwrap().unwrap();
    subscription::apply(db, account, number, found, None, now_ms).await.unwrap().unwrap()
}

async fn plan_of(db: &Db, account: &AccountId) -> Plan {
    account::find(db, account).await.unwrap().unwrap().plan
}

#[tokio::test]
async fn a_payment_grants_the_plan_and_every_app_that_it_is_for_is_looked_at_again() {
    on_both(|db| async move {
        let account = customer(&db, "ana@example.com").await;
        let ana = account::find(&db, &account).await.unwrap().unwrap();
        let mut expected = BTreeSet::new();
        for _ in 0..3 {
            expected.insert(make_app(&db, &ana).await.0.id);
        }
        let own = NewApp { plan: Some(Plan::Pro), ..named("Own plan") };
        app::create(&db, &account, own).await.unwrap();
        let (_, ben) = sign_up(&db, "ben@example.com").await;
        make_app(&db, &ben).await;

        let before = changes::last(&db).await.unwrap();
        let applied = apply_at(&db, &account, Some(paid(Plan::Pro)), 5).await;
        assert_eq!(applied.turns, [Turn::Granted { from: Plan::Sandbox, to: Plan::Pro }]);
        assert_eq!(plan_of(&db, &account).await, Plan::Pro);
        let news = changes::since(&db, before, 100).await.unwrap();
        assert_eq!(news.iter().map(|change| change.app_id).collect::<BTreeSet<_>>(), expected);
        assert_eq!(plan_of(&db, &ben.id).await, Plan::Sandbox);

        let before = changes::last(&db).await.unwrap();
        assert_eq!(apply_at(&db, &account, Some(paid(Plan::Pro)), 6).await.turns, []);
        assert_eq!(changes::last(&db).await.unwrap(), before, "what changed nothing is no news");
    })
    .await;
}

#[tokio::test]
async fn a_fetch_that_began_earlier_and_ended_later_changes_nothing() {
    on_both(|db| async move {
        let account = customer(&db, "ana@example.com").await;
        let early = subscription::begin_fetch(&db, &account).await.unwrap().unwrap();
        apply_at(&db, &account, Some(paid(Plan::Pro)), 5).await;
        let late = subscription::apply(&db, &account, early, None, Some("evt_1"), 6).await.unwrap().unwrap();
        assert!(late.late && late.turns.is_empty());
        assert_eq!(plan_of(&db, &account).await, Plan::Pro);
        assert!(subscription::event_seen(&db, "evt_1").await.unwrap(), "it was worked in all the same");
    })
    .await;
}

#[tokio::test]
async fn a_missing_payment_keeps_the_plan_for_the_grace_and_then_takes_it_back_once() {
    on_both(|db| async move {
        let account = customer(&db, "ana@example.com").await;
        apply_at(&db, &account, Some(paid(Plan::Startup)), 5).await;
        let missing = apply_at(&db, &account, Some(owing(Plan::Startup)), 10).await;
        assert_eq!(missing.turns, [Turn::PaymentMissing { until_ms: 10 + GRACE_MS }]);
        assert_eq!(missing.now.standing(11), Standing::Owing { until_ms: 10 + GRACE_MS });
        // Further failures don't begin the grace anew.
        assert_eq!(apply_at(&db, &account, Some(owing(Plan::Startup)), 900).await.turns, []);
        assert_eq!(subscription::end_grace(&db, &account, 9 + GRACE_MS).await.unwrap(), None);
        assert_eq!(plan_of(&db, &account).await, Plan::Startup);

        let ended = subscription::end_grace(&db, &account, 10 + GRACE_MS).await.unwrap().unwrap();
        assert_eq!(ended.turns, [Turn::Ended { from: Plan::Startup, unpaid: true }]);
        assert_eq!(plan_of(&db, &account).await, Plan::Sandbox);
        assert_eq!(subscription::end_grace(&db, &account, 11 + GRACE_MS).await.unwrap(), None);
        let later = apply_at(&db, &account, Some(owing(Plan::Startup)), 12 + GRACE_MS).await;
        assert_eq!(
            (later.turns.as_slice(), later.now.granted),
            (&[][..], None),
            "failing again grants nothing"
        );
        let ended = Standing::Ended { at_ms: 10 + GRACE_MS, unpaid: true };
        assert_eq!(later.now.standing(12 + GRACE_MS), ended);

        let back = apply_at(&db, &account, Some(paid(Plan::Startup)), 20 + GRACE_MS).await;
        assert_eq!(back.turns, [Turn::Granted { from: Plan::Sandbox, to: Plan::Startup }]);
        assert_eq!(back.now.standing(21 + GRACE_MS), Standing::Quiet);
    })
    .await;
}

#[tokio::test]
async fn each_turn_of_a_subscription_is_told() {
    on_both(|db| async move {
        let account = customer(&db, "ana@example.com").await;
        apply_at(&db, &account, Some(paid(Plan::Startup)), 5).await;
        apply_at(&db, &account, Some(owing(Plan::Startup)), 6).await;
        assert_eq!(apply_at(&db, &account, Some(paid(Plan::Startup)), 7).await.turns, [Turn::Paid]);
        let ending = Fetched { cancel_at_period_end: true, ..paid(Plan::Startup) };
        assert_eq!(apply_at(&db, &account, Some(ending), 8).await.turns, [Turn::WillEnd]);
        assert_eq!(apply_at(&db, &account, Some(paid(Plan::Startup)), 9).await.turns, [Turn::WillGoOn]);
        let to = Plan::Business;
        let grown = apply_at(&db, &account, Some(paid(to)), 10).await;
        assert_eq!(grown.turns, [Turn::Granted { from: Plan::Startup, to }]);
        let ended = Fetched { status: Status::Ended, ..paid(to) };
        let over = apply_at(&db, &account, Some(ended), 11).await;
        assert_eq!(over.turns, [Turn::Ended { from: to, unpaid: false }]);
        assert_eq!(plan_of(&db, &account).await, Plan::Sandbox);
        assert_eq!(over.now.standing(12), Standing::Ended { at_ms: 11, unpaid: false });
    })
    .await;
}

#[tokio::test]
async fn who_never_paid_keeps_the_plan_that_the_operator_gave() {
    on_both(|db| async move {
        let owner = tenancy::owner::make(&db, "owner@example.com", crate::support::PASSWORD).await.unwrap().1;
        assert_eq!(subscription::begin_fetch(&db, &owner.id).await.unwrap(), None);
        assert_eq!(
            subscription::apply(&db, &owner.id, 1, Some(paid(Plan::Pro)), None, 1).await.unwrap(),
            None
        );
        subscription::put_customer(&db, &owner.id, "cus_owner", 1).await.unwrap();
        apply_at(&db, &owner.id, None, 5).await;
        let unpaid = Fetched { status: Status::Incomplete, ..paid(Plan::Startup) };
        apply_at(&db, &owner.id, Some(unpaid), 6).await;
        assert_eq!(plan_of(&db, &owner.id).await, Plan::Unlimited);
    })
    .await;
}

#[tokio::test]
async fn many_at_once_make_one_turn_and_one_customer() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let customers: Vec<_> = (0..8)
            .map(|n| {
                let (db, id) = (db.clone(), account.id.clone());
                tokio::spawn(async move {
                    subscription::put_customer(&db, &id, &format!("cus_{n}"), 1).await.unwrap().customer_id
                })
            })
            .collect();
        let mut ids = BTreeSet::new();
        for one in customers {
            ids.insert(one.await.unwrap());
        }
        assert_eq!(ids.len(), 1, "the first one stays");
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (db, id) = (db.clone(), account.id.clone());
                tokio::spawn(async move {
                    let number = subscription::begin_fetch(&db, &id).await.unwrap().unwrap();
                    let event = format!("evt_{}", n % 2);
                    let found = Some(paid(Plan::Pro));
                    subscription::apply(&db, &id, number, found, Some(&event), 5)
                        .await
                        .unwrap()
                        .unwrap()
                        .turns
                        .len()
                })
            })
            .collect();
        let mut turns = 0;
        for one in tasks {
            turns += one.await.unwrap();
        }
        assert_eq!(turns, 1);
    })
    .await;
}

#[tokio::test]
async fn an_account_that_is_due_goes_to_one_node_and_a_checkout_to_one_press() {
    on_both(|db| async move {
        let account = customer(&db, "ana@example.com").await;
        assert!(
            subscription::claim_due(&db, now_ms()).await.unwrap().is_empty(),
            "a mere customer is never due"
        );
        assert!(subscription::put_checkout(&db, &account, 0, "cs_1", 100).await.unwrap());
        assert!(!subscription::put_checkout(&db, &account, 0, "cs_2", 100).await.unwrap());
        let known = subscription::of_customer(&db, "cus_ana@example.com").await.unwrap().unwrap();
        assert_eq!((known.checkout.as_deref(), known.checkout_tries), (Some("cs_1"), 1));

        assert!(subscription::claim_due(&db, 99).await.unwrap().is_empty());
        let nodes: Vec<_> = (0..6)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move { subscription::claim_due(&db, 100).await.unwrap().len() })
            })
            .collect();
        let mut claims = 0;
        for node in nodes {
            claims += node.await.unwrap();
        }
        assert_eq!(claims, 1);

        // Open, so looked at again soon; ended, and there is nothing more to look for.
        apply_at(&db, &account, None, 200).await;
        assert_eq!(subscription::claim_due(&db, 200 + 60_000).await.unwrap(), std::slice::from_ref(&account));
        subscription::end_checkout(&db, &account, "cs_1").await.unwrap();
        apply_at(&db, &account, None, 300).await;
        assert!(subscription::claim_due(&db, i64::MAX).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn events_are_remembered_for_a_month() {
    on_both(|db| async move {
        let account = customer(&db, "ana@example.com").await;
        let number = subscription::begin_fetch(&db, &account).await.unwrap().unwrap();
        subscription::apply(&db, &account, number, None, Some("evt_old"), 1_000).await.unwrap();
        let kept = subscription::EVENTS_KEPT_MS;
        assert_eq!(subscription::forget_old_events(&db, 1_000 + kept).await.unwrap(), 0);
        assert!(subscription::event_seen(&db, "evt_old").await.unwrap());
        assert_eq!(subscription::forget_old_events(&db, 1_001 + kept).await.unwrap(), 1);
        assert!(!subscription::event_seen(&db, "evt_old").await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_report_of_overage_is_given_unchanged_until_it_is_known_to_have_come() {
    on_both(|db| async move {
        let account = customer(&db, "ana@example.com").await;
        let owner = account::find(&db, &account).await.unwrap().unwrap();
        let (app, _) = make_app(&db, &owner).await;
        let (day, noon) = (20_000, 20_000 * DAY_MS + DAY_MS / 2);
        overage::allow(&db, &account, Plan::Startup, 50, 50, noon).await.unwrap();
        assert_eq!(overage::extra_on(&db, &account, day).await.unwrap(), 0, "nothing to charge it to");
        overage::stand(&db, &account, true, Some(noon - DAY_MS)).await.unwrap();
        let uses = async |messages: i64| {
            let delta = UsageDelta { app_id: app.id, day, deliveries: messages, ..UsageDelta::default() };
            usage::add(&db, &[delta]).await.unwrap();
            overage::settle(&db, &account, Plan::Startup, noon).await.unwrap();
        };
        uses(1_030_500).await;
        assert_eq!(overage::extra_on(&db, &account, day).await.unwrap(), 50_000);
        let first = overage::reports(&db).await.unwrap();
        assert_eq!((first.len(), first[0].from, first[0].to, first[0].day), (1, 0, 30, day));
        uses(5_000).await;
        assert_eq!(overage::reports(&db).await.unwrap(), first);
        overage::reported(&db, &first[0]).await.unwrap();
        overage::reported(&db, &first[0]).await.unwrap();
        let second = overage::reports(&db).await.unwrap();
        assert_eq!((second[0].from, second[0].to), (30, 35));
        overage::reported(&db, &second[0]).await.unwrap();
        uses(100_000).await;
        assert_eq!(overage::reports(&db).await.unwrap()[0].to, 50, "no more than was allowed");
        let known = overage::of_account(&db, &account).await.unwrap().unwrap();
        assert_eq!(overage::thousands_of_period(&db, &account, &known, noon).await.unwrap(), 50);
        assert_eq!(overage::thousands_of_period(&db, &account, &known, noon + DAY_MS).await.unwrap(), 50);
    })
    .await;
}
