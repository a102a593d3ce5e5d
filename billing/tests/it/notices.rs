//! Who pays is mailed when a payment is missing, when the plan ends, and when it is cancelled.

use tenancy::audit::{By, Via};
use tenancy::invitation;
use tenancy::now_ms;
use tenancy::plan::Plan;
use tenancy::role::Role;
use tenancy::session::Client;
use tenancy::subscription::{GRACE_MS, Status};

use crate::support::{EMAIL, Shop};

/// Makes somebody a member of the shop.
async fn join(shop: &Shop, email: &str, role: Role) {
    let (user, _) = tenancy::user::sign_up(&shop.db, email, "correct horse 7", Plan::Sandbox).await.unwrap();
    let by = By { user_id: None, label: EMAIL.to_owned(), client: Client::default(), via: Via::Dash };
    let asked = invitation::issue(&shop.db, &by, Role::Owner, &shop.account.id, email, role).await.unwrap();
    invitation::accept(&shop.db, &by, &user, &asked.1).await.unwrap();
}

/// Subjects to an address, oldest first.
async fn subjects(shop: &Shop, email: &str) -> Vec<String> {
    let mut all = tenancy::mail::list(&shop.db).await.unwrap();
    all.retain(|one| one.kind == "billing" && one.to == email);
    assert!(all.iter().all(|one| one.link.as_ref().is_some_and(|link| link.expose() == "/dash/billing")));
    all.into_iter().rev().map(|one| one.subject).collect()
}

#[tokio::test]
async fn owners_and_people_for_billing_are_told_of_a_missing_payment_and_of_the_end() {
    let shop = Shop::paying(Plan::Pro).await;
    join(&shop, "bil@shop.example", Role::Billing).await;
    join(&shop, "dev@shop.example", Role::Developer).await;
    assert!(subjects(&shop, EMAIL).await.is_empty(), "buying is no news to who buys");
    let customer = shop.known().await.customer_id;
    shop.stripe.with(|state| {
        state.card_works(&customer, false);
        state.renew(&customer);
    });
    shop.until(async || shop.known().await.status == Status::PastDue, "the failed payment").await;
    shop.until(async || !subjects(&shop, "bil@shop.example").await.is_empty(), "the mails").await;
    shop.billing.round(now_ms() + GRACE_MS + 1).await;
    assert_eq!(shop.plan().await, Plan::Sandbox);
    let name = &shop.account.name;
    let told = [format!("A payment for {name} is missing"), format!("{name} is on Sandbox now")];
    for email in [EMAIL, "bil@shop.example"] {
        assert_eq!(subjects(&shop, email).await, told, "{email}: each turn once");
    }
    assert!(subjects(&shop, "dev@shop.example").await.is_empty());
}
