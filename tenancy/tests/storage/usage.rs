//! Meters: added up whoever reports them, kept over deletion, summed per account.

use crate::support::{make_app, named, on_both, sign_up};
use tenancy::app::{self, NewApp};
use tenancy::plan::Plan;
use tenancy::usage::{self, UsageDelta, account_messages, app_messages};

const DAY: u32 = 20_000;

fn delta(app_id: u64, publishes: i64) -> UsageDelta {
    UsageDelta { app_id, day: DAY, publishes, ..UsageDelta::default() }
}

#[tokio::test]
async fn reports_add_up_and_the_peak_is_the_largest() {
    on_both(|db| async move {
        let report = |peak: i64| UsageDelta {
            app_id: 1001,
            day: DAY,
            publishes: 1,
            deliveries: 20,
            client_events: 300,
            presence: 4_000,
            reads: 50_000,
            webhooks: 600_000,
            cached: 7_000_000,
            connections_peak: peak,
        };
        assert_eq!(app_messages(&db, 1001, DAY).await.unwrap(), 0);
        usage::add(&db, &[]).await.unwrap();
        usage::add(&db, &[report(3), report(9)]).await.unwrap();
        usage::add(&db, &[report(5)]).await.unwrap();
        assert_eq!(app_messages(&db, 1001, DAY).await.unwrap(), 3 * 7_654_321);
        let day = usage::app_day(&db, 1001, DAY).await.unwrap();
        let expected = UsageDelta {
            publishes: 3,
            deliveries: 60,
            client_events: 900,
            presence: 12_000,
            reads: 150_000,
            webhooks: 1_800_000,
            cached: 21_000_000,
            connections_peak: 9,
            ..report(0)
        };
        assert_eq!(day, expected);
        assert_eq!(app_messages(&db, 1001, DAY + 1).await.unwrap(), 0, "another day");
        assert_eq!(app_messages(&db, 1002, DAY).await.unwrap(), 0, "another app");
        let empty = UsageDelta { app_id: 1002, day: DAY, ..UsageDelta::default() };
        assert_eq!(usage::app_day(&db, 1002, DAY).await.unwrap(), empty);
    })
    .await;
}

#[tokio::test]
async fn an_account_has_the_days_of_its_apps_latest_first_and_of_no_other() {
    on_both(|db| async move {
        let (_, ana) = sign_up(&db, "ana@example.com").await;
        let (_, bea) = sign_up(&db, "bea@example.com").await;
        let (one, _) = make_app(&db, &ana).await;
        let (two, _) = make_app(&db, &ana).await;
        let (beas, _) = make_app(&db, &bea).await;
        let next = UsageDelta { day: DAY + 1, connections_peak: 7, ..delta(one.id, 5) };
        usage::add(&db, &[delta(one.id, 1), delta(two.id, 2), delta(beas.id, 4), next]).await.unwrap();
        app::delete(&db, &ana.id, two.id).await.unwrap();
        let days = usage::of_account(&db, &ana.id).await.unwrap();
        assert_eq!(days, [next, delta(one.id, 1), delta(two.id, 2)]);
    })
    .await;
}

#[tokio::test]
async fn an_account_is_the_sum_of_its_apps_without_those_on_a_plan_of_their_own() {
    on_both(|db| async move {
        let (_, ana) = sign_up(&db, "ana@example.com").await;
        let (_, bea) = sign_up(&db, "bea@example.com").await;
        let (one, _) = make_app(&db, &ana).await;
        let (two, _) = make_app(&db, &ana).await;
        let own = NewApp { plan: Some(Plan::Pro), ..named("Own plan") };
        let (own, _) = app::create(&db, &ana.id, own).await.unwrap();
        let (foreign, _) = make_app(&db, &bea).await;
        let from_settings = 7;
        let reports = [
            delta(one.id, 1),
            delta(two.id, 20),
            delta(own.id, 300),
            delta(foreign.id, 4_000),
            delta(from_settings, 50_000),
        ];
        usage::add(&db, &reports).await.unwrap();
        assert_eq!(account_messages(&db, &ana.id, DAY).await.unwrap(), 21);
        assert_eq!(account_messages(&db, &bea.id, DAY).await.unwrap(), 4_000);
        assert_eq!(app_messages(&db, own.id, DAY).await.unwrap(), 300);
        assert_eq!(app_messages(&db, from_settings, DAY).await.unwrap(), 50_000);

        app::delete(&db, &ana.id, two.id).await.unwrap();
        assert_eq!(account_messages(&db, &ana.id, DAY).await.unwrap(), 21, "deleting gives no messages back");
    })
    .await;
}

#[tokio::test]
async fn nodes_that_report_at_once_lose_nothing_and_do_not_block_each_other() {
    on_both(|db| async move {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let db = db.clone();
                let mut reports: Vec<_> = (1001..1011).map(|id| delta(id, 1)).collect();
                if n % 2 == 0 {
                    reports.reverse();
                }
                tokio::spawn(async move { usage::add(&db, &reports).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        for id in 1001..1011 {
            assert_eq!(app_messages(&db, id, DAY).await.unwrap(), 20);
        }
    })
    .await;
}
