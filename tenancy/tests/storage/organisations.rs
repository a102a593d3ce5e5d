//! Organisations: roles, grants, invitations, leaving, moving apps, and the end.

use crate::support::{dump, make_app, named, on_both, sign_up, text};
use tenancy::account::Account;
use tenancy::app::{self, TransferError};
use tenancy::audit::{self, By, Filter, Via};
use tenancy::clock::DAY_MS;
use tenancy::invitation::{self, AcceptError, InviteError, OPEN_MAX, PER_HOUR_MAX};
use tenancy::member::{self, MemberError, Place};
use tenancy::membership::{self, Membership};
use tenancy::organisation::{self, OWNED_MAX, OrganisationError};
use tenancy::plan::Plan;
use tenancy::role::{Permission, Role};
use tenancy::session::Client;
use tenancy::usage::{self, UsageDelta};
use tenancy::user::User;
use tenancy::{Db, changes, now_ms};

fn by(user: &User) -> By {
    let label = user.email.clone();
    By { user_id: Some(user.id.clone()), label, client: Client::default(), via: Via::Dash }
}

/// Signs somebody up and makes them a member.
async fn join(db: &Db, account: &Account, owner: &User, email: &str, role: Role) -> User {
    let (user, _) = sign_up(db, email).await;
    let (_, token) = invitation::issue(db, &by(owner), Role::Owner, &account.id, email, role).await.unwrap();
    assert_eq!(invitation::accept(db, &by(&user), &user, &token).await.unwrap(), account.id);
    user
}

async fn place(db: &Db, user: &User, account: &Account) -> Option<Membership> {
    let all = membership::of_user(db, &user.id).await.unwrap();
    all.into_iter().find(|one| one.account.id == account.id)
}

fn all_apps(role: Role) -> Place {
    Place { role, apps: None }
}

async fn access_version(db: &Db, account: &Account) -> i64 {
    let sql = format!("select cast(access_version as text) from accounts where id = '{}'", account.id);
    text(db, &sql).await.unwrap().parse().unwrap()
}

#[test]
fn the_roles_allow_what_the_table_says() {
    use Permission::*;
    let table = [
        (SeeStats, "OADVB"),
        (SeeApps, "OADV"),
        (SeePayloads, "OAD"),
        (SendEvents, "OAD"),
        (UseSecrets, "OAD"),
        (ManageApps, "OA"),
        (RemoveApps, "OA"),
        (ManagePeople, "OA"),
        (ManageBilling, "OB"),
        (ManageOrganisation, "O"),
    ];
    for (permission, who) in table {
        for role in Role::ALL {
            assert_eq!(role.allows(permission), who.contains(&role.title()[..1]), "{role:?} {permission:?}");
        }
    }
}

#[tokio::test]
async fn an_invitation_is_for_one_address_once_and_its_token_is_not_stored() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (ben, _) = sign_up(&db, "ben@example.com").await;
        let (eve, _) = sign_up(&db, "eve@example.com").await;
        let who = by(&ana);
        let issue =
            async |email: &str, role| invitation::issue(&db, &who, Role::Admin, &shop.id, email, role).await;
        assert!(matches!(issue("nonsense", Role::Viewer).await, Err(InviteError::EmailInvalid)));
        assert!(matches!(issue("ben@example.com", Role::Owner).await, Err(InviteError::OwnersOnly)));
        assert!(matches!(issue("ANA@example.com", Role::Viewer).await, Err(InviteError::Member)));
        let (asked, token) = issue("Ben@Example.com", Role::Developer).await.unwrap();
        assert_eq!((asked.email.as_str(), asked.invited_by.as_str()), ("ben@example.com", "ana@example.com"));
        assert!(!dump(&db).await.contains(&token));
        assert_eq!(
            invitation::link("https://x.example/", &token),
            format!("https://x.example/invite/{token}")
        );

        let (found, account) = invitation::find_by_token(&db, &token).await.unwrap().unwrap();
        assert_eq!((&found, &account), (&asked, &shop));
        for (user, token) in [(&eve, token.as_str()), (&ben, "x"), (&ben, &"0".repeat(64)), (&ben, "\0")] {
            let refused = invitation::accept(&db, &by(user), user, token).await;
            assert!(matches!(refused, Err(AcceptError::NotValid)), "{token}");
        }
        let (_, newer) = invitation::renew(&db, &who, Role::Admin, &shop.id, &asked.id).await.unwrap();
        assert!(
            invitation::find_by_token(&db, &token).await.unwrap().is_none(),
            "the old link works no more"
        );
        invitation::accept(&db, &by(&ben), &ben, &newer).await.unwrap();
        assert_eq!(place(&db, &ben, &shop).await.unwrap().role, Role::Developer);
        let again = invitation::accept(&db, &by(&ben), &ben, &newer).await;
        assert!(matches!(again, Err(AcceptError::NotValid)), "once only");
        assert!(invitation::list(&db, &shop.id).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn invitations_are_taken_back_run_out_and_are_bounded() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (ben, bakery) = sign_up(&db, "ben@example.com").await;
        let who = by(&ana);
        let issue = async |email: &str| {
            invitation::issue(&db, &who, Role::Owner, &shop.id, email, Role::Viewer).await
        };
        let (asked, token) = issue("ben@example.com").await.unwrap();
        let strangers = invitation::revoke(&db, &by(&ben), Role::Owner, &bakery.id, &asked.id).await;
        assert!(matches!(strangers, Err(InviteError::NotFound)), "another organisation's is none");
        invitation::revoke(&db, &who, Role::Owner, &shop.id, &asked.id).await.unwrap();
        let refused = invitation::accept(&db, &by(&ben), &ben, &token).await;
        assert!(matches!(refused, Err(AcceptError::NotValid)));

        let (_, token) = issue("ben@example.com").await.unwrap();
        let past = now_ms() - DAY_MS;
        crate::support::execute(&db, format!("update invitations set expires_ms = {past}")).await;
        assert!(invitation::find_by_token(&db, &token).await.unwrap().is_none());
        let late = invitation::accept(&db, &by(&ben), &ben, &token).await;
        assert!(matches!(late, Err(AcceptError::NotValid)));
        assert_eq!(invitation::list(&db, &shop.id).await.unwrap().len(), 1, "it can be renewed");

        for n in 2..PER_HOUR_MAX {
            issue(&format!("p{n}@example.com")).await.unwrap();
        }
        assert!(matches!(issue("last@example.com").await, Err(InviteError::TooOften)));
        crate::support::execute(&db, "delete from audit_log".to_owned()).await;
        let mut made = PER_HOUR_MAX - 1;
        while made < OPEN_MAX {
            issue(&format!("q{made}@example.com")).await.unwrap();
            crate::support::execute(&db, "delete from audit_log".to_owned()).await;
            made += 1;
        }
        assert!(matches!(issue("last@example.com").await, Err(InviteError::TooMany)));
    })
    .await;
}

#[tokio::test]
async fn the_last_owner_stays_and_admins_do_not_touch_owners() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let ben = join(&db, &shop, &ana, "ben@example.com", Role::Admin).await;
        let (a, b) = (by(&ana), by(&ben));
        let (make, admin) = (all_apps(Role::Owner), Role::Admin);
        for (giver, whom, place) in [(admin, &ana, all_apps(Role::Viewer)), (admin, &ben, make.clone())] {
            let refused = member::change(&db, &b, giver, &shop.id, &whom.id, &place).await;
            assert!(matches!(refused, Err(MemberError::OwnersOnly)));
        }
        let refused = member::remove(&db, &b, admin, &shop.id, &ana.id).await;
        assert!(matches!(refused, Err(MemberError::OwnersOnly)));
        let demoted = member::change(&db, &a, Role::Owner, &shop.id, &ana.id, &all_apps(admin)).await;
        assert!(matches!(demoted, Err(MemberError::LastOwner)));
        let left = member::remove(&db, &a, Role::Owner, &shop.id, &ana.id).await;
        assert!(matches!(left, Err(MemberError::LastOwner)));
        assert_eq!(place(&db, &ana, &shop).await.unwrap().role, Role::Owner, "nothing was written");

        member::change(&db, &a, Role::Owner, &shop.id, &ben.id, &make).await.unwrap();
        member::remove(&db, &a, Role::Owner, &shop.id, &ana.id).await.unwrap();
        assert!(place(&db, &ana, &shop).await.is_none());
        let nobody = member::remove(&db, &b, Role::Owner, &shop.id, &ana.id).await;
        assert!(matches!(nobody, Err(MemberError::NotFound)));
        let rows = audit::list(&db, &shop.id, Filter { limit: 10, ..Filter::default() }).await.unwrap();
        let told: Vec<&str> = rows.iter().map(|row| row.action.as_str()).collect();
        let expected = ["member.leave", "member.change", "invitation.accept", "invitation.create"];
        assert_eq!(told, expected, "refusals leave no row");
    })
    .await;
}

#[tokio::test]
async fn grants_narrow_developers_and_viewers_and_nobody_else() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (_, bakery) = sign_up(&db, "eve@example.com").await;
        let ben = join(&db, &shop, &ana, "ben@example.com", Role::Developer).await;
        let (one, _) = make_app(&db, &shop).await;
        let (two, _) = make_app(&db, &shop).await;
        let (foreign, _) = make_app(&db, &bakery).await;
        let sees = async || {
            let place = place(&db, &ben, &shop).await.unwrap();
            let apps = membership::apps(&db, &place).await.unwrap();
            for id in [one.id, two.id, foreign.id] {
                let found = membership::app(&db, &place, id).await.unwrap().is_some();
                assert_eq!(found, apps.iter().any(|app| app.id == id), "list and finder agree");
                let anywhere = membership::for_app(&db, &ben.id, id).await.unwrap();
                assert_eq!(anywhere.is_some(), found);
            }
            apps.into_iter().map(|app| app.id).collect::<Vec<_>>()
        };
        assert_eq!(sees().await, [one.id, two.id]);
        let give = async |role, apps: &[u64]| {
            let place = Place { role, apps: Some(apps.to_vec()) };
            member::change(&db, &by(&ana), Role::Owner, &shop.id, &ben.id, &place).await.unwrap();
        };
        let before = (access_version(&db, &shop).await, changes::last(&db).await.unwrap());
        give(Role::Developer, &[two.id, foreign.id, two.id]).await;
        assert_eq!(sees().await, [two.id], "an app of another organisation can't be granted");
        assert_eq!(access_version(&db, &shop).await, before.0 + 1);
        let told = changes::since(&db, before.1, 10).await.unwrap();
        let told: Vec<u64> = told.iter().map(|change| change.app_id).collect();
        assert_eq!(told, [one.id, two.id], "nodes look at every app of the organisation again");
        give(Role::Viewer, &[]).await;
        assert_eq!(sees().await, [0u64; 0]);
        give(Role::Admin, &[one.id]).await;
        assert_eq!(sees().await, [one.id, two.id]);
        give(Role::Developer, &[one.id]).await;
        app::delete(&db, &shop.id, one.id).await.unwrap();
        assert_eq!(sees().await, [0u64; 0]);
        let members = member::list(&db, &shop.id).await.unwrap();
        assert_eq!((members.len(), members[1].all_apps, members[1].granted.len()), (2, false, 0));
    })
    .await;
}

#[tokio::test]
async fn a_moved_app_counts_and_is_found_in_its_new_organisation_only() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let acme = organisation::create(&db, &by(&ana), &ana.id, "Acme", Plan::Pro).await.unwrap();
        let ben = join(&db, &shop, &ana, "ben@example.com", Role::Developer).await;
        let (moved, key) = make_app(&db, &shop).await;
        let (stays, _) = make_app(&db, &shop).await;
        let place = Place { role: Role::Developer, apps: Some(vec![moved.id]) };
        member::change(&db, &by(&ana), Role::Owner, &shop.id, &ben.id, &place).await.unwrap();
        let day = tenancy::clock::day_of(now_ms());
        for id in [moved.id, stays.id] {
            usage::add(&db, &[UsageDelta { app_id: id, day, publishes: 7, ..UsageDelta::default() }])
                .await
                .unwrap();
        }
        let seq = changes::last(&db).await.unwrap();
        let now = app::transfer(&db, &by(&ana), &shop.id, moved.id, &acme.id).await.unwrap();
        assert_eq!((&now.account_id, now.version), (&acme.id, moved.version + 1));
        assert!(app::find(&db, &shop.id, moved.id).await.unwrap().is_none());
        assert!(membership::for_app(&db, &ben.id, moved.id).await.unwrap().is_none());
        let view = app::node_view_by_key(&db, &key.key).await.unwrap().unwrap();
        assert_eq!((view.app.account_id, view.account_plan), (acme.id.clone(), Plan::Pro));
        assert_eq!(usage::account_messages(&db, &shop.id, day).await.unwrap(), 7);
        assert_eq!(usage::account_messages(&db, &acme.id, day).await.unwrap(), 7);
        let told = changes::since(&db, seq, 10).await.unwrap();
        assert!(told.iter().any(|change| change.app_id == moved.id));
        for account in [&shop, &acme] {
            let filter = Filter { action: Some("app.transfer"), limit: 5, ..Filter::default() };
            assert_eq!(audit::list(&db, &account.id, filter).await.unwrap().len(), 1);
        }
        for (from, id, to) in [
            (&shop.id, moved.id, &acme.id),
            (&shop.id, stays.id, &shop.id),
            (&shop.id, stays.id, &"nowhere".to_owned()),
        ] {
            let refused = app::transfer(&db, &by(&ana), from, id, to).await;
            assert!(matches!(refused, Err(TransferError::NotFound)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_deleted_organisation_leaves_ids_usage_and_log_and_nothing_else() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (ben, bakery) = sign_up(&db, "ben@example.com").await;
        let (gone, key) = make_app(&db, &shop).await;
        let (stays, _) = make_app(&db, &bakery).await;
        let who = by(&ana);
        let asked = invitation::issue(&db, &who, Role::Owner, &shop.id, "ben@example.com", Role::Admin).await;
        let token = asked.unwrap().1;
        let day = tenancy::clock::day_of(now_ms());
        usage::add(&db, &[UsageDelta { app_id: gone.id, day, publishes: 7, ..UsageDelta::default() }])
            .await
            .unwrap();
        let seq = changes::last(&db).await.unwrap();
        assert!(organisation::delete(&db, &who, &shop.id).await.unwrap());
        assert!(!organisation::delete(&db, &who, &shop.id).await.unwrap(), "once");
        assert!(place(&db, &ana, &shop).await.is_none());
        assert!(app::node_view_by_key(&db, &key.key).await.unwrap().is_none());
        assert!(matches!(invitation::accept(&db, &by(&ben), &ben, &token).await, Err(AcceptError::NotValid)));
        let told = changes::since(&db, seq, 10).await.unwrap();
        assert_eq!(told.iter().map(|change| change.app_id).collect::<Vec<_>>(), [gone.id]);
        assert_eq!(usage::account_messages(&db, &shop.id, day).await.unwrap(), 7);
        let fresh = app::create(&db, &bakery.id, app::NewApp { id: Some(gone.id), ..named("again") }).await;
        assert!(matches!(fresh, Err(app::CreateAppError::IdTaken)), "the id was given out");
        let name = format!("select name from accounts where id = '{}'", shop.id);
        assert_eq!(text(&db, &name).await.as_deref(), Some(""), "its name is forgotten");
        assert!(app::find(&db, &bakery.id, stays.id).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_person_owns_a_bounded_number_of_organisations_with_proper_names() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let who = by(&ana);
        for bad in ["", "  ", "a\nb", &"x".repeat(61)] {
            let made = organisation::create(&db, &who, &ana.id, bad, Plan::Sandbox).await;
            assert!(matches!(made, Err(OrganisationError::NameInvalid)));
            let renamed = organisation::rename(&db, &who, &shop.id, bad).await;
            assert!(matches!(renamed, Err(OrganisationError::NameInvalid)));
        }
        organisation::rename(&db, &who, &shop.id, " Shop ").await.unwrap();
        assert_eq!(place(&db, &ana, &shop).await.unwrap().account.name, "Shop");
        for n in 1..OWNED_MAX {
            organisation::create(&db, &who, &ana.id, &format!("{n}"), Plan::Sandbox).await.unwrap();
        }
        let made = organisation::create(&db, &who, &ana.id, "more", Plan::Sandbox).await;
        assert!(matches!(made, Err(OrganisationError::TooMany)));
    })
    .await;
}
