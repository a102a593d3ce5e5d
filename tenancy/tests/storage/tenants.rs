//! What whoever runs the server sees and does: organisations in a list, suspended and on other plans; plans edited; people asked in.

use crate::support::{PASSWORD, dump, make_app, on_both, sign_up};
use tenancy::audit::{By, Via};
use tenancy::plan::Plan;
use tenancy::quota::{self, Numbers, QuotaError};
use tenancy::server_invitation::{self, JoinError};
use tenancy::session::{self, Client};
use tenancy::tenants::{self, TenantError};
use tenancy::user::SignUpError;
use tenancy::{app, changes, instance, login_token, owner};

fn root() -> By {
    By { user_id: None, label: "root@server.example".to_owned(), client: Client::default(), via: Via::Dash }
}

#[tokio::test]
async fn organisations_are_listed_searched_suspended_and_put_on_plans() {
    on_both(|db| async move {
        let (_, ana) = sign_up(&db, "ana@example.com").await;
        let (_, ben) = sign_up(&db, "ben_100%@example.com").await;
        let (made, _) = make_app(&db, &ana).await;
        let (other, _) = make_app(&db, &ben).await;
        let ids = async |search: &str| {
            let (found, more) = tenants::list(&db, search, 0).await.unwrap();
            assert!(!more);
            found.into_iter().map(|one| one.account.id).collect::<Vec<_>>()
        };
        assert_eq!(ids("").await.len(), 2);
        for search in ["ANA", "ana@example.com", &ana.id] {
            assert_eq!(ids(search).await, std::slice::from_ref(&ana.id), "{search}");
        }
        assert_eq!(ids("_100%").await, std::slice::from_ref(&ben.id));
        for nobody in ["%%", "a_a", "!", "x@example.com", "\0", &"x".repeat(101)] {
            assert!(ids(nobody).await.is_empty(), "{nobody:?}");
        }
        assert_eq!(tenants::find(&db, "a\0b").await.unwrap(), None);

        let seq = changes::last(&db).await.unwrap();
        tenants::suspend(&db, &root(), &ana.id, " Spam. ").await.unwrap();
        let told: Vec<u64> =
            changes::since(&db, seq, 10).await.unwrap().into_iter().map(|change| change.app_id).collect();
        assert_eq!(told, [made.id], "its own apps and no others");
        let view = app::node_view_by_id(&db, made.id).await.unwrap().unwrap();
        assert!(view.suspended && view.app.enabled);
        assert!(!app::node_view_by_id(&db, other.id).await.unwrap().unwrap().suspended);
        assert_eq!(tenants::suspended_why(&db, &ana.id).await.unwrap().as_deref(), Some("Spam."));
        let counts = tenants::counts(&db).await.unwrap();
        assert_eq!((counts.organisations, counts.suspended, counts.apps, counts.people), (2, 1, 2, 2));
        tenants::resume(&db, &root(), &ana.id).await.unwrap();
        assert_eq!(tenants::suspended_why(&db, &ana.id).await.unwrap(), None);
        for why in ["", " ", "a\nb", &"x".repeat(301)] {
            let refused = tenants::suspend(&db, &root(), &ana.id, why).await;
            assert!(matches!(refused, Err(TenantError::ReasonInvalid)), "{why:?}");
        }
        let nobody = tenants::suspend(&db, &root(), "nobody", "x").await;
        assert!(matches!(nobody, Err(TenantError::NotFound)));
        tenants::set_plan(&db, &root(), &ana.id, "pro").await.unwrap();
        let view = app::node_view_by_id(&db, made.id).await.unwrap().unwrap();
        assert_eq!((view.account_plan, view.limits.connections_max), (Plan::Pro, Some(2_000)));
        let unknown = tenants::set_plan(&db, &root(), &ana.id, "huge").await;
        assert!(matches!(unknown, Err(TenantError::PlanUnknown)));
        assert!(instance::database_bytes(&db).await.unwrap() > 10_000);
    })
    .await;
}

#[tokio::test]
async fn a_plan_is_edited_made_used_and_removed() {
    on_both(|db| async move {
        let (_, ana) = sign_up(&db, "ana@example.com").await;
        let (made, _) = make_app(&db, &ana).await;
        let few = Numbers { connections_max: Some(3), ..Numbers::default() };
        let seq = changes::last(&db).await.unwrap();
        quota::put(&db, "sandbox", few, false).await.unwrap();
        assert_eq!(changes::since(&db, seq, 10).await.unwrap()[0].app_id, made.id);
        let limits = app::node_view_by_id(&db, made.id).await.unwrap().unwrap().plan_limits;
        assert_eq!((limits.connections_max, limits.messages_per_day_max), (Some(3), None));
        quota::put(&db, "own", few, true).await.unwrap();
        assert!(matches!(quota::put(&db, "own", few, true).await, Err(QuotaError::NameTaken)));
        assert!(matches!(quota::put(&db, "Own!", few, true).await, Err(QuotaError::NameInvalid)));
        assert!(matches!(quota::put(&db, "none", few, false).await, Err(QuotaError::NotFound)));
        tenants::set_plan(&db, &root(), &ana.id, "own").await.unwrap();
        let all = quota::all(&db).await.unwrap();
        assert_eq!(all.len(), Plan::ALL.len() + 1);
        let own = all.last().unwrap();
        assert_eq!((own.plan.name(), own.organisations, own.apps), ("own", 1, 0));
        assert!(matches!(quota::remove(&db, "own").await, Err(QuotaError::InUse)));
        tenants::set_plan(&db, &root(), &ana.id, "sandbox").await.unwrap();
        quota::remove(&db, "own").await.unwrap();
        quota::remove(&db, "sandbox").await.unwrap();
        assert_eq!(quota::limits_of(&db, Plan::Sandbox).await.unwrap().connections_max, Some(100));
        assert_eq!(quota::find(&db, "own").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn of_ten_who_sign_up_with_one_invitation_at_once_one_gets_in() {
    on_both(|db| async move {
        let (made, token) = server_invitation::issue(&db, "root@server.example", "Ben").await.unwrap();
        assert!(!dump(&db).await.contains(&token));
        sign_up(&db, "taken@example.com").await;
        let taken =
            server_invitation::sign_up(&db, &token, "taken@example.com", PASSWORD, Plan::Sandbox).await;
        assert!(matches!(taken, Err(JoinError::SignUp(SignUpError::EmailTaken))));
        assert_eq!(server_invitation::list(&db).await.unwrap(), [made], "a failed try does not use it up");
        let tries = (0..10).map(|n| {
            let (db, token) = (db.clone(), token.clone());
            tokio::spawn(async move {
                let email = format!("u{n}@example.com");
                server_invitation::sign_up(&db, &token, &email, PASSWORD, Plan::Sandbox).await.is_ok()
            })
        });
        let mut joined = 0;
        for one in tries.collect::<Vec<_>>() {
            joined += usize::from(one.await.unwrap());
        }
        assert_eq!(joined, 1);
        assert_eq!(tenants::counts(&db).await.unwrap().people, 2);
        assert_eq!(server_invitation::find_by_token(&db, &token).await.unwrap(), None);
        let (open, _) = server_invitation::issue(&db, "root@server.example", "Cas").await.unwrap();
        assert!(server_invitation::revoke(&db, &open.id).await.unwrap());
        assert!(!server_invitation::revoke(&db, &open.id).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn people_are_counted_who_can_sign_in_or_are_in() {
    on_both(|db| async move {
        let people = async || tenants::counts(&db).await.unwrap().people;
        let (owner, _) = owner::first_or_placeholder(&db).await.unwrap();
        assert_eq!(people().await, 0, "scripts made apps, and nobody is here yet");
        let old = login_token::issue_at(&db, &owner.id, 0).await.unwrap();
        assert_eq!(people().await, 0, "a link that is over lets nobody in");
        let link = login_token::issue(&db, &owner.id).await.unwrap();
        assert_eq!(people().await, 1);
        assert!(login_token::redeem(&db, &old).await.unwrap().is_none());
        assert!(login_token::redeem(&db, &link).await.unwrap().is_some());
        assert_eq!(people().await, 0);
        session::start(&db, &owner.id, &Client::default()).await.unwrap();
        assert_eq!(people().await, 1);
        sign_up(&db, "ana@example.com").await;
        assert_eq!(people().await, 2);
    })
    .await;
}
