//! Usage of the organisation and stats of an app: the same rows in bars, tables and charts, for those who may see them.

use tenancy::clock::MINUTE_MS;
use tenancy::role::Role;
use tenancy::usage::Counts;
use tenancy::usage::report::{self, MinuteUse, Report};

use crate::people::user_id;
use crate::support::Site;

async fn used(site: &Site, seq: u64, app_id: u64, counts: Counts, connections_peak: i64) {
    let minute = u32::try_from(tenancy::now_ms() / MINUTE_MS).unwrap();
    let rows = vec![MinuteUse { app_id, minute, counts, connections_peak }];
    let report = Report { node: "test".into(), seq, rows, asks: Vec::new(), day: 0 };
    report::take(&site.db, &report).await.unwrap();
}

#[tokio::test]
async fn a_message_is_in_the_table_the_chart_and_the_sums_of_every_range() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let empty = ana.get(&format!("/dash/apps/{id}/stats")).await.body;
    assert!(empty.contains("No data for this range."), "{empty}");
    used(&site, 1, id, Counts { publishes: 1_000, cached: 234, ..Counts::default() }, 97).await;
    for range in ["", "?range=1h", "?range=24h", "?range=30d", "?range=nonsense"] {
        for path in [format!("/dash/apps/{id}/stats{range}"), format!("/dash/usage{range}")] {
            let body = ana.get(&path).await.body;
            assert!(body.contains(r#"data-test="range-total">1,234<"#), "{path}: {body}");
            assert!(body.contains("Peak: 97 of 100 at once"), "{path}: {body}");
            assert_eq!(body.matches(r#"<rect class="of-connections""#).count(), 1, "{path}");
            assert!(body.contains(r#"<td data-label="Cache" class="num">234</td>"#), "{path}");
        }
    }
    let body = ana.get("/dash/usage").await.body;
    assert!(body.contains(r#"data-test="usage-messages" data-value="18204""#), "{body}");
    assert!(body.contains(r#"data-test="usage-app-messages">1,234<"#), "{body}");
    assert!(body.contains("peak today 97") && body.contains("81 % are publishes."), "{body}");
}

#[tokio::test]
async fn who_sees_some_apps_is_not_told_the_names_of_the_others() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let (one, two) = (ana.new_app("shop").await, ana.new_app("hidden-lab").await);
    used(&site, 1, one, Counts { publishes: 5, ..Counts::default() }, 0).await;
    used(&site, 2, two, Counts { publishes: 70, ..Counts::default() }, 0).await;
    let mut ben = site.member("ben@shop.example", Role::Viewer, "ana@shop.example").await;
    let place = format!("/dash/people/{}/place", user_id(&site, "ben@shop.example").await);
    let app = one.to_string();
    ana.submit("/dash/people", &place, &[("role", "viewer"), ("apps", "some"), ("app", &app)]).await;
    let body = ben.get("/dash/usage").await.body;
    assert!(body.contains("shop") && body.contains("Other and deleted apps"), "{body}");
    assert!(!body.contains("hidden-lab") && !body.contains(&two.to_string()), "{body}");
}
