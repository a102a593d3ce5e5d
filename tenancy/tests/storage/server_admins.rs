//! Who looks after the server: the first owner, by whatever door, and nobody who merely signs up.

use crate::support::{PASSWORD, execute, on_both, sign_up};
use tenancy::session::{self, Client};
use tenancy::user::User;
use tenancy::{Db, owner, server_admin};

/// Whether they are the server's admin and whether their address counts as confirmed, as a signed-in person has it.
async fn marks(db: &Db, user: &User) -> (bool, bool) {
    let new = session::start(db, &user.id, &Client::default()).await.unwrap();
    let found = session::find(db, &new.token).await.unwrap().unwrap();
    (found.server_admin, found.email_confirmed)
}

#[tokio::test]
async fn the_first_owner_looks_after_the_server_and_later_ones_and_sign_ups_do_not() {
    on_both(|db| async move {
        let (stranger, _) = sign_up(&db, "eve@evil.example").await;
        assert_eq!(marks(&db, &stranger).await, (false, false), "an open sign-up is no operator's door");
        let (ana, _) = owner::make(&db, "ana@shop.example", PASSWORD).await.unwrap();
        assert_eq!(marks(&db, &ana).await, (true, true));
        let (ben, _) = owner::make(&db, "ben@shop.example", PASSWORD).await.unwrap();
        assert_eq!(marks(&db, &ben).await, (false, true));
        assert!(!server_admin::has_other(&db, &ana.id).await.unwrap());
        assert!(server_admin::grant(&db, " Ben@shop.example").await.unwrap());
        assert!(!server_admin::grant(&db, "nobody@shop.example").await.unwrap());
        assert_eq!(marks(&db, &ben).await, (true, true));
        assert!(server_admin::has_other(&db, &ana.id).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn who_takes_the_placeholder_over_takes_the_server_over() {
    on_both(|db| async move {
        let (placeholder, _) = owner::first_or_placeholder(&db).await.unwrap();
        assert_eq!(marks(&db, &placeholder).await, (true, true));
        let (ana, _) = owner::make(&db, "ana@shop.example", PASSWORD).await.unwrap();
        assert_eq!((ana.id.clone(), marks(&db, &ana).await), (placeholder.id, (true, true)));
    })
    .await;
}

/// What the migration does to a database from before.
#[tokio::test]
async fn in_an_older_database_the_first_person_looks_after_the_server() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@shop.example").await;
        let (ben, _) = sign_up(&db, "ben@shop.example").await;
        let migration = include_str!("../../../migrations/postgres/0008_mail.sql");
        let update = migration.split(';').find(|one| one.trim_start().starts_with("update users")).unwrap();
        execute(&db, update.to_owned()).await;
        assert_eq!((marks(&db, &ana).await, marks(&db, &ben).await), ((true, true), (false, false)));
    })
    .await;
}
