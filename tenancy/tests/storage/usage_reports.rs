//! Reports of nodes: each counts once, minutes, hours and days are the same numbers, and old minutes go.

use crate::support::{make_app, named, on_both, sign_up};
use tenancy::Db;
use tenancy::app::{self, NewApp};
use tenancy::clock::{HOUR_MS, MINUTE_MS};
use tenancy::plan::Plan;
use tenancy::usage::report::{self, MinuteUse, Report, Totals};
use tenancy::usage::series::{self, Step};
use tenancy::usage::{Counts, app_messages};

const DAY: u32 = 20_000;
/// The last minute of [`DAY`] is this plus 1,439.
const MINUTE: u32 = DAY * 1_440;

fn use_of(app_id: u64, minute: u32, publishes: i64, connections_peak: i64) -> MinuteUse {
    MinuteUse { app_id, minute, counts: Counts { publishes, ..Counts::default() }, connections_peak }
}

fn report(node: &str, seq: u64, rows: &[MinuteUse]) -> Report {
    Report { node: node.into(), seq, rows: rows.to_vec(), asks: Vec::new(), day: DAY }
}

/// Sums of an app over minutes, hours and days, which are one number.
async fn sum(db: &Db, app: u64) -> i64 {
    let mut sums = Vec::new();
    for step in [Step::Minute, Step::Hour, Step::Day] {
        let points = series::of_app(db, app, step, 0, u32::MAX).await.unwrap();
        sums.push(points.iter().map(|point| point.counts.total()).sum::<i64>());
    }
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    sums[0]
}

#[tokio::test]
async fn a_report_counts_once_however_often_and_late_it_comes() {
    on_both(|db| async move {
        let first = report("a", 1, &[use_of(1001, MINUTE, 5, 2)]);
        let second = report("a", 2, &[use_of(1001, MINUTE, 70, 1), use_of(1001, MINUTE + 1_440, 900, 3)]);
        let told = report::take(&db, &first).await.unwrap();
        assert_eq!(report::take(&db, &first).await.unwrap(), told, "the answer of a repetition is the same");
        assert_eq!(sum(&db, 1001).await, 5);
        report::take(&db, &second).await.unwrap();
        for late in [&first, &second, &first] {
            report::take(&db, late).await.unwrap();
        }
        assert_eq!(sum(&db, 1001).await, 975);
        assert_eq!(app_messages(&db, 1001, DAY).await.unwrap(), 75);
        assert_eq!(app_messages(&db, 1001, DAY + 1).await.unwrap(), 900);
        let minutes = series::of_app(&db, 1001, Step::Minute, 0, u32::MAX).await.unwrap();
        let peaks: Vec<_> = minutes.iter().map(|one| (one.at, one.connections_peak)).collect();
        assert_eq!(peaks, [(MINUTE, 2), (MINUTE + 1_440, 3)], "the largest");
    })
    .await;
}

#[tokio::test]
async fn two_nodes_and_a_node_after_its_restart_add_up_and_are_told_the_sum_of_all() {
    on_both(|db| async move {
        let (_, ana) = sign_up(&db, "ana@example.com").await;
        let (one, _) = make_app(&db, &ana).await;
        let (two, _) = make_app(&db, &ana).await;
        let own = NewApp { plan: Some(Plan::Pro), ..named("Own plan") };
        let (own, _) = app::create(&db, &ana.id, own).await.unwrap();
        report::take(&db, &report("a", 1, &[use_of(one.id, MINUTE, 1, 0)])).await.unwrap();
        report::take(&db, &report("b", 1, &[use_of(two.id, MINUTE, 20, 0)])).await.unwrap();
        let asked = Report { asks: vec![two.id], ..report("c", 1, &[use_of(own.id, MINUTE, 300, 0)]) };
        let told = report::take(&db, &asked).await.unwrap();
        let account = Some(ana.id.clone());
        assert_eq!(
            told,
            [
                Totals { app_id: two.id, app_messages: 20, account, scope_messages: 21 },
                Totals { app_id: own.id, app_messages: 300, account: None, scope_messages: 300 },
            ]
        );
        let static_app = report::take(&db, &report("a", 2, &[use_of(7, MINUTE, 4, 0)])).await.unwrap();
        assert_eq!(static_app, [Totals { app_id: 7, app_messages: 4, account: None, scope_messages: 4 }]);
        let days = series::of_account(&db, &ana.id, Step::Day, DAY, DAY + 1).await.unwrap();
        assert_eq!(days.iter().map(|day| day.counts.total()).sum::<i64>(), 21);
    })
    .await;
}

#[tokio::test]
async fn the_same_report_from_many_at_once_counts_once() {
    on_both(|db| async move {
        let one = report("a", 1, &[use_of(1001, MINUTE, 5, 0), use_of(1002, MINUTE, 5, 0)]);
        let tries: Vec<_> = (0..8)
            .map(|_| {
                let (db, one) = (db.clone(), one.clone());
                tokio::spawn(async move { report::take(&db, &one).await.unwrap() })
            })
            .collect();
        for one in tries {
            one.await.unwrap();
        }
        assert_eq!((sum(&db, 1001).await, sum(&db, 1002).await), (5, 5));
    })
    .await;
}

/// Reports of three nodes with answers that get lost, so that each comes up to four times, in the order that a node keeps.
#[tokio::test]
async fn whatever_gets_lost_on_the_way_every_message_counts_once() {
    on_both(|db| async move {
        let mut state: u64 = 42;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut true_sum = 0;
        let mut last: Vec<Report> = Vec::new();
        for seq in 1..40 {
            for node in ["a", "b", "c"] {
                let publishes = next(1_000) as i64 + 1;
                true_sum += publishes;
                let one = report(node, seq, &[use_of(1001, MINUTE + next(3_000) as u32, publishes, 0)]);
                for _ in 0..=next(3) {
                    report::take(&db, &one).await.unwrap();
                }
                if let Some(late) = last.get(next(last.len() as u64 + 1) as usize) {
                    report::take(&db, late).await.unwrap();
                }
                last.push(one);
            }
        }
        assert_eq!(sum(&db, 1001).await, true_sum);
    })
    .await;
}

#[tokio::test]
async fn old_minutes_and_hours_go_and_their_days_stay() {
    on_both(|db| async move {
        let now_ms = i64::from(MINUTE) * MINUTE_MS;
        let ago = |ms: i64| ((now_ms - ms) / MINUTE_MS) as u32;
        let kept = [report::MINUTES_KEPT_MS, report::HOURS_KEPT_MS];
        let rows = [
            use_of(1001, ago(0), 1, 0),
            use_of(1001, ago(kept[0]), 20, 0),
            use_of(1001, ago(kept[0] + MINUTE_MS), 300, 0),
            use_of(1001, ago(kept[1]), 4_000, 0),
            use_of(1001, ago(kept[1] + HOUR_MS), 50_000, 0),
        ];
        report::take(&db, &report("a", 1, &rows)).await.unwrap();
        report::forget_old(&db, now_ms).await.unwrap();
        let mut sums = Vec::new();
        for step in [Step::Minute, Step::Hour, Step::Day] {
            let points = series::of_app(&db, 1001, step, 0, u32::MAX).await.unwrap();
            sums.push(points.iter().map(|point| point.counts.total()).sum::<i64>());
        }
        assert_eq!(sums, [21, 4_321, 54_321]);
    })
    .await;
}
