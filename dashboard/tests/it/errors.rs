//! The pages that explain codes, for anybody.

use dashboard::DashboardConfig;
use http::StatusCode;

use crate::support::{Site, config, strip};

#[tokio::test]
async fn the_list_leads_to_a_page_of_every_code_without_sign_in() {
    let site = Site::open().await;
    let mut nobody = site.browser();
    assert_eq!(nobody.get("/e").await.location(), "/e/");
    let list = nobody.get("/e/").await;
    let links: Vec<&str> =
        list.body.split("href=\"/e/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for code in [
        "1006", "1008", "1009", "1011", "4000", "4001", "4003", "4004", "4005", "4006", "4007", "4008",
        "4009", "4100", "4200", "4201", "4202", "4301", "4302", "null", "400", "401", "403", "404", "413",
        "503",
    ] {
        assert!(links.contains(&code), "{code}");
    }
    for code in links {
        let page = nobody.get(&format!("/e/{code}")).await;
        assert_eq!(page.status, StatusCode::OK, "{code}");
        for part in [code, "How to fix it", "does next"] {
            assert!(page.body.contains(part), "{code}: {part}");
        }
        assert!(!page.body.contains("{host}") && !page.body.contains('`'), "{code}");
    }
}

#[tokio::test]
async fn examples_name_this_server() {
    let site =
        Site::with(DashboardConfig { public_url: Some("https://ws.example.com".to_owned()), ..config() })
            .await;
    let text = strip(&site.browser().get("/e/4001").await.body);
    assert!(text.contains("wsHost: 'ws.example.com'") && text.contains("wsPort: 443"), "{text}");
    assert!(text.contains("forceTLS: true"));
}

#[tokio::test]
async fn a_code_that_there_is_not_leads_to_the_list() {
    let site = Site::open().await;
    for code in ["4002", "0", "%3Cscript%3E", "4001x", "4001/x"] {
        let page = site.browser().get(&format!("/e/{code}")).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{code}");
        assert!(!page.body.contains("<script>"), "{code}");
    }
    assert!(site.browser().get("/e/4002").await.body.contains("href=\"/e/\""));
}
